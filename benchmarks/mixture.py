"""GaussianMixture beside scikit-learn's and oneDAL's: time of an iteration, of a whole fit, by size; peak memory."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import sklearn.mixture

import emlit
from benchmarks.harness import in_turns, ratio
from benchmarks.peers import iteration, peers, problem, timed

# N, D, K, covariance type, and how many times as fast as scikit-learn and oneDAL an iteration should be
ITERATIONS = [(100_000, 2, 8, "full", 28, 1.4), (100_000, 8, 8, "full", 28, 1.5), (200_000, 4, 32, "full", 45, 2.0),
              (100_000, 16, 16, "full", 14, 1.6), (100_000, 32, 16, "full", 9, 1.3), (50_000, 64, 16, "full", 5.5, 1.15),
              (20_000, 128, 8, "full", 4, 1.0), (1_000_000, 8, 8, "full", 28, 1.5), (100_000, 32, 32, "diag", 7, 1.5),
              (100_000, 16, 16, "tied", 30, None), (100_000, 16, 16, "spherical", 7, None)]
FITS = [(272, 2, 3, "full"), (10_000, 4, 3, "full"), (100_000, 8, 8, "full"), (100_000, 16, 16, "diag"), (50_000, 16, 8, "tied")]
SIZES = [10_000, 100_000, 1_000_000, 10_000_000]
ROUNDS = 5


def features(d, k, kind):
    "Numbers of a row that the two matrix products run over. For tied, the scatter of all rows counts once, not k times."
    return {"full": 1 + d + d * (d + 1) // 2, "tied": 1 + d + d * d / (2 * k), "diag": 1 + 2 * d, "spherical": 2 + d}[kind]


def iterations_for(run, seconds):
    "How many iterations take about so long."
    once = max(1e-4, (run(3)[0] - run(1)[0]) / 2)
    return int(np.clip(seconds / once, 2, 200))


def per_iteration(n, d, k, kind, goal_sklearn, goal_onedal):
    "Milliseconds of an EM iteration, in turns: the time of 1 + m iterations less that of 1, over m."
    found = peers(problem(n, d, k, kind))
    apart = max(abs(run(4)[1] - found["emlit"](4)[1]).max() for run in found.values())
    counts = {name: iterations_for(run, 0.5) for name, run in found.items()}
    def one(name):
        return lambda: (found[name](1 + counts[name])[0] - found[name](1)[0]) / counts[name]
    seconds, disturbed = in_turns({name: one(name) for name in found}, ROUNDS)
    for run in found.values():
        run.close()
    best = np.median(seconds["emlit"])
    return {"N": n, "D": d, "K": k, "type": kind, "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(s, seconds["emlit"]) for name, s in seconds.items() if name != "emlit"},
            "goal": {"scikit-learn": goal_sklearn, "oneDAL": goal_onedal}, "apart": float(apart), "disturbed": disturbed,
            "gflops": 4 * n * k * features(d, k, kind) / best / 1e9}


def whole_fit(n, d, k, kind):
    """From `fit` to convergence, the start included, at the same tolerance; and scikit-learn with its own default tolerance.

    Each round has a random_state of its own; the times and the heights are those of all of them."""
    X, ends = problem(n, d, k, kind)["X"], {}
    settings = {"emlit": (emlit.GaussianMixture, {"n_jobs": -1}), "emlit, start": (emlit.GaussianMixture, {"n_jobs": -1, "max_iter": 0}),
                "scikit-learn": (sklearn.mixture.GaussianMixture, {"tol": 1e-6, "max_iter": 1000}),
                "scikit-learn, default tol": (sklearn.mixture.GaussianMixture, {"max_iter": 1000})}
    def fit(name):
        cls, more = settings[name]
        fitted = cls(k, covariance_type=kind, random_state=len(ends.setdefault(name, [])), **more)
        seconds = timed(lambda: fitted.fit(X))[0]
        ends[name].append((float(fitted.score(X)), int(fitted.n_iter_)))
        return seconds
    seconds, disturbed = in_turns({name: lambda name=name: fit(name) for name in settings}, ROUNDS)
    return {"N": n, "D": d, "K": k, "type": kind, "seconds": {name: float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(seconds[name], seconds["emlit"]) for name in ("scikit-learn", "scikit-learn, default tol")},
            "log_likelihood": {name: [l for l, _ in ends[name]] for name in settings if name != "emlit, start"},
            "n_iter": {name: [m for _, m in ends[name]] for name in settings if name != "emlit, start"}, "disturbed": disturbed}


# ---- memory: each fit in a process of its own ----------------------------------------------------

CHILD = """
import sys, warnings, numpy as np
from pathlib import Path
warnings.simplefilter("ignore")
def memory(name):
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)).split()[1]) / 1024
library, file, k, kind, mapped = sys.argv[1:]
if library == "emlit":
    from emlit import GaussianMixture as G
    more = {"n_jobs": -1}
else:
    from sklearn.mixture import GaussianMixture as G
    more = {}
X = np.load(file, mmap_mode="r" if mapped == "mapped" else None)
G(2, **more).fit(np.random.default_rng(0).normal(size=(500, 3)))            # what every fit loads
before = memory("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")
G(int(k), covariance_type=kind, max_iter=3, random_state=0, **more).fit(X)
print(memory("VmHWM:") - before)
"""


def peak_memory(n, d, k, kind, mapped=False):
    "MB beyond the data at the peak of `fit`, k-means start included. With `mapped`, the pages of the file count as well."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, problem(n, d, k, kind)["X"])
        def once(library):
            done = subprocess.run([sys.executable, "-c", CHILD, library, path, str(k), kind, "mapped" if mapped else ""],
                                  capture_output=True, text=True, check=True)
            return float(done.stdout)
        size = n * d * 8 / 2**20
        return {"N": n, "D": d, "K": k, "type": kind, "mapped": mapped, "X": size, "limit": 1.2 * size + 50,
                "MB": {library: once(library) for library in (("emlit",) if mapped else ("emlit", "scikit-learn"))}}


def by_size(n, d=8, k=8):
    "Seconds of an iteration on n rows in memory, and on the same rows in a memory-mapped file."
    data = problem(min(n, 1_000_000), d, k, "full")
    with tempfile.TemporaryDirectory() as folder:
        path, size = Path(folder) / "X.npy", len(data["X"])
        mapped = np.lib.format.open_memmap(path, "w+", dtype=float, shape=(n, d))
        for a in range(0, n, size):
            mapped[a:a + size] = data["X"]
        mapped.flush()
        m = int(np.clip(10_000_000 // n, 5, 200))
        runners = {name: lambda X=X: iteration(data, X, m, n_jobs=-1) for name, X in {"in memory": np.array(mapped), "mapped": np.load(path, mmap_mode="r")}.items()}
        seconds = in_turns(runners, 3)[0]
    return {"N": n, "D": d, "K": k, "seconds": {name: float(s.min()) for name, s in seconds.items()}}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All tables of this module."
    return {"iteration": [show(per_iteration(*row)) for row in ITERATIONS], "fit": [show(whole_fit(*row)) for row in FITS],
            "memory": [show(peak_memory(1_000_000, 8, 8, "full")), show(peak_memory(100_000, 32, 16, "full"))],
            "size": [show(by_size(n)) for n in SIZES]}
