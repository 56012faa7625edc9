"""GaussianMixture on data with holes: time of an iteration beside complete data and a loop over rows; peak memory."""
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.harness import in_turns, ratio
from emlit import GaussianMixture
from emlit.missing import _patterns, expected_by_row

# N, D, K, share of the values missing, covariance type, and how many times as long as on complete data an iteration may take
ITERATIONS = [(100_000, 10, 5, .1, "full", 6), (100_000, 10, 5, .3, "full", None), (100_000, 4, 8, .1, "full", None),
              (100_000, 10, 5, .1, "tied", None), (100_000, 10, 5, .1, "diag", None), (100_000, 10, 5, .1, "spherical", None),
              (20_000, 30, 5, .02, "full", None), (1000, 40, 5, .3, "full", None)]  # the last: each row has a pattern of its own
MEMORY = [(1_000_000, 10, 5, .1)]
ROUNDS, LOOPED = 5, 400  # rows that the loop is timed on


def problem(n, d, k, share, seed=0):
    "Complete rows from k Gaussians, the same rows with holes, and a start."
    rng = np.random.default_rng(seed)
    centres = 4 / np.sqrt(d) * rng.normal(size=(k, d))             # they overlap, so that no run ends before its time
    X = rng.normal(size=(n, d)) @ (np.eye(d) + .3 * np.eye(d, k=1)) + centres[rng.integers(k, size=n)]
    holes = rng.random((n, d)) < share
    holes[np.arange(n), rng.integers(d, size=n)] = False
    return X, np.where(holes, np.nan, X), centres


def fitter(X, centres, kind):
    "A function that runs so many iterations from the same start, on all cores, and returns seconds and the means."
    k, d = centres.shape
    precisions = {"full": np.tile(np.eye(d), (k, 1, 1)), "tied": np.eye(d), "diag": np.ones((k, d)), "spherical": np.ones(k)}[kind]
    def run(count):
        fit = GaussianMixture(k, covariance_type=kind, tol=0, max_iter=count, n_jobs=-1, weights_init=np.full(k, 1 / k),
                              means_init=centres, precisions_init=precisions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            started = time.perf_counter()
            fit.fit(X)
            return time.perf_counter() - started, fit
    return run


def looped(X, centres, rows):
    "Seconds of an E-step by a loop over rows, timed on some of them."
    k, d = centres.shape
    started = time.perf_counter()
    expected_by_row(X[:rows], np.full(k, 1 / k), centres, np.tile(np.eye(d), (k, 1, 1)))
    return (time.perf_counter() - started) * len(X) / rows


def per_iteration(n, d, k, share, kind, goal):
    "Milliseconds of an EM iteration, in turns: the time of 1 + m iterations less that of 1, over m."
    X, holes, centres = problem(n, d, k, share)
    found = {"complete": fitter(X, centres, kind), "holes": fitter(holes, centres, kind)}
    counts = {name: int(np.clip(0.5 / max(1e-4, (run(3)[0] - run(1)[0]) / 2), 2, 100)) for name, run in found.items()}
    def one(name):
        def measure():
            (short, first), (long, last) = found[name](1), found[name](1 + counts[name])
            return (long - short) / (last.n_iter_ - first.n_iter_)
        return measure
    runners = {name: one(name) for name in found}
    if kind == "full":
        runners["loop"] = lambda: looped(holes, centres, min(n, LOOPED))
    seconds, disturbed = in_turns(runners, ROUNDS)
    fit = found["holes"](8)[1]
    return {"N": n, "D": d, "K": k, "share": share, "type": kind, "patterns": len(_patterns(holes)[1]),
            "complete_rows": float((~np.isnan(holes).any(axis=1)).mean()), "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()},
            "times_complete": ratio(seconds["holes"], seconds["complete"]), "goal": goal, "disturbed": disturbed,
            **({"times_as_fast_as_loop": ratio(seconds["loop"], seconds["holes"])} if "loop" in seconds else {}),
            "rises": bool((np.diff(fit.history_["log_likelihood"]) > -1e-6).all())}


CHILD = """
import sys, warnings, numpy as np
from pathlib import Path
from emlit import GaussianMixture
warnings.simplefilter("ignore")
def memory(name):
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)).split()[1]) / 1024
X = np.load(sys.argv[1])
small = np.random.default_rng(0).normal(size=(500, 3))
small[::3, 0] = np.nan
GaussianMixture(2, n_jobs=-1).fit(small)                                       # what every fit loads
before = memory("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")
GaussianMixture(int(sys.argv[2]), max_iter=3, random_state=0, n_jobs=-1).fit(X)
print(memory("VmHWM:") - before)
"""


def peak_memory(n, d, k, share):
    "MB beyond the data at the peak of `fit`, start included."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, problem(n, d, k, share)[1])
        done = subprocess.run([sys.executable, "-c", CHILD, path, str(k)], capture_output=True, text=True, check=True)
        size = n * d * 8 / 2**20
        return {"N": n, "D": d, "K": k, "share": share, "X": size, "limit": 2 * size, "MB": float(done.stdout)}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All tables of this module."
    return {"iteration": [show(per_iteration(*row)) for row in ITERATIONS], "memory": [show(peak_memory(*row)) for row in MEMORY]}
