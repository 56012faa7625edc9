"""Beyond memory and beyond one process: Dask and Spark beside this process, a file beside an array, and the curve up to 1e8 rows."""
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import emlit
from benchmarks.harness import in_turns, ratio, wait_until_idle
from benchmarks.peers import ROOT, estimator, iteration, problem, timed
from emlit.em import e_step, in_blocks

N, D, K, JOBS, ROUNDS = 1_000_000, 8, 8, 2, 5
BLOCKS = [2, 8, 32]                                                    # in how many blocks Dask gets the rows
SPARK = {"iterations": 5, "memory": "4g", "seeds": 1}
FILE_ROWS, FILE_ITERATIONS = 10_000_000, 4
CURVE, GENERATED = [100_000, 1_000_000, 10_000_000], 100_000_000


# ---- Dask ----------------------------------------------------------------------------------------


def rows_of(path, a, b):
    "Rows of a file, read where they are needed."
    return np.array(np.load(path, mmap_mode="r")[a:b])


@contextmanager
def workers(n):
    "A cluster of processes on this machine, one thread each."
    from dask.distributed import Client, LocalCluster
    with LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster, Client(cluster) as client:
        yield client


def dask(n=N, rounds=ROUNDS, iterations=10):
    "Milliseconds of an EM iteration in this process and on two workers, in turns; and of a pass on the workers over hardly any rows."
    from dask import delayed
    from dask.distributed import wait

    from emlit.distributed import message_sizes, partitions
    start = problem(n, D, K, "full")
    X = start["X"]
    with tempfile.TemporaryDirectory() as folder, workers(JOBS):
        path = Path(folder) / "X.npy"
        np.save(path, X)
        data = {}
        for b in BLOCKS:
            for size, name in ((n, f"Dask, {b} blocks"), (16 * b, f"Dask, {b} blocks of 16 rows")):
                edges = np.linspace(0, size, b + 1).astype(int)
                data[name] = partitions([delayed(rows_of)(str(path), *edge) for edge in zip(edges, edges[1:])])
                wait(list(data[name].blocks))
        runners = {"in process, 2 threads": lambda: iteration(start, X, iterations, n_jobs=JOBS),
                   "in process, 1 thread": lambda: iteration(start, X, iterations)}
        for name, blocks in data.items():
            empty = name.endswith("rows")
            runners[name] = (lambda blocks=blocks: passes(start, blocks, iterations)) if empty else (lambda blocks=blocks: iteration(start, blocks, iterations))
        seconds, disturbed = in_turns(runners, rounds)
    return {"N": n, "D": D, "K": K, "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(s, seconds["in process, 2 threads"]) for name, s in seconds.items() if not name.endswith("rows")},
            "overhead_ms": {b: 1e3 * float(np.median(seconds[f"Dask, {b} blocks of 16 rows"])) for b in BLOCKS},
            "bytes": dict(zip(("down", "up"), message_sizes(emlit.families.MixtureModel(emlit.families.Full()), theta(start), X[:10]))), "disturbed": disturbed}


def theta(start):
    "The start as parameters for `em`."
    return start["weights"], start["means"], start["covariances"]


def passes(start, blocks, iterations):
    "Seconds of a pass, where there are too few rows for a fit."
    model, params = emlit.families.MixtureModel(emlit.families.Full()), theta(start)
    def run():
        for _ in range(iterations):
            e_step(model, params, blocks, mapper=blocks.mapper)
    return timed(run)[0] / iterations


# ---- Spark ---------------------------------------------------------------------------------------


class Spark:
    "Spark in a process of its own, asked line by line."
    def __init__(self, X, k):
        import pyarrow
        import pyarrow.parquet
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "X.parquet"
        pyarrow.parquet.write_table(pyarrow.table({f"x{j}": column for j, column in enumerate(X.T)}), path)
        command = [sys.executable, "-m", "benchmarks.spark", str(path), str(k), str(JOBS), SPARK["memory"]]
        self.log = open(Path(self.folder.name) / "spark.log", "w+")
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def __call__(self, iterations, tol=0.0, seed=0):
        print(iterations, tol, seed, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            self.log.seek(0)
            raise RuntimeError("Spark: " + self.log.read()[-2000:])
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


def height(theta, X):
    "Log-likelihood of the rows under weights, means and covariances."
    weights, means, covariances = map(np.array, theta)
    model = emlit.families.MixtureModel(emlit.families.Full())
    return e_step(model, (weights / weights.sum(), means, covariances), in_blocks(X, 50_000)).log_likelihood


def until(X, k, target, tol):
    "Seconds of whole fits, the start included, until one has the target; those that end below it count as well."
    spent = 0.0
    for seed in range(10):
        seconds, gm = timed(lambda: emlit.GaussianMixture(k, tol=tol / len(X), n_jobs=JOBS, random_state=seed).fit(X))
        history = gm.history_
        reached = np.flatnonzero(history["log_likelihood"] >= target)
        if len(reached):
            before = seconds - history["seconds"][-1]                  # checks, start and results
            return {"seconds": spent + before + float(history["seconds"][reached[0]]), "starts": seed + 1, "whole_fit": seconds,
                    "n_iter": int(history["iteration"][reached[0]]), "log_likelihood": float(history["log_likelihood"][-1])}
        spent += seconds
    return {"seconds": None, "starts": 10, "spent": spent}


def spark(n=N, rounds=3):
    """Milliseconds of an iteration by Spark and by emlit, in turns, and what each needs until the log-likelihood that Spark's fit, with
    its own start and settings (100 iterations, tolerance .01 nats), ends with, less that tolerance. Spark's rows are in memory before the
    clock starts."""
    start, m = problem(n, D, K, "full"), SPARK["iterations"]
    X, theirs = start["X"], Spark(start["X"], K)
    theirs(2)                                                          # what Java compiles on the way
    runners = {"Spark": lambda: (theirs(1 + m)["seconds"] - theirs(1)["seconds"]) / m, "emlit": lambda: iteration(start, X, 5 * m, n_jobs=JOBS)}
    seconds, disturbed = in_turns(runners, rounds)
    ends = []
    for seed in range(SPARK["seeds"]):
        wait_until_idle()
        end = theirs(100, 0.01, seed)
        end["height"] = height(end.pop("theta"), X)
        ends.append({"Spark": end, "emlit": until(X, K, end["height"] - 0.01, 0.01)})
    theirs.close()
    return {"N": n, "D": D, "K": K, "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()}, "ratio": ratio(seconds["Spark"], seconds["emlit"]),
            "to_the_same": ends, "disturbed": disturbed, "MB": ends[-1]["Spark"]["MB"], "emlit_MB": peak_memory("array", n)["MB"]}


# ---- files ---------------------------------------------------------------------------------------


def write_rows(path, start, n):
    "The rows of a problem, again and again and each time a little shifted, until there are n."
    X = start["X"]
    mapped = np.lib.format.open_memmap(path, "w+", dtype=float, shape=(n, X.shape[1]))
    for i, a in enumerate(range(0, n, len(X))):
        mapped[a:a + len(X)] = X[:n - a] + 1e-4 * i
    mapped.flush()


CHILD = """
import sys
from pathlib import Path
import numpy as np
from benchmarks.scale import D, K, shifted
from benchmarks.peers import estimator, problem, timed
def memory(name):
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)).split()[1]) / 1024
way, path, n = sys.argv[1:]
start = problem(100_000, D, K, "full")
timed(lambda: estimator(start, 2, n_jobs=2).fit(start["X"]))                 # what every fit loads
base = start.pop("X")
before = memory("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")
X = {"array": lambda: np.load(path), "file": lambda: np.load(path, mmap_mode="r"), "function": lambda: shifted(base, int(n))}[way]()
timed(lambda: estimator(start, 2, n_jobs=2).fit(X))
print(memory("VmHWM:") - before)
"""


def peak_memory(way, n, path=None):
    "MB at the peak of a fit beyond what the process had before it opened its data, the data and the pages of files among them."
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "X.npy"
            if way != "function":
                write_rows(path, problem(100_000, D, K, "full"), n)
        done = subprocess.run([sys.executable, "-c", CHILD, way, str(path), str(n)], cwd=ROOT, capture_output=True, text=True, check=True)
    return {"N": n, "way": way, "rows_MB": n * D * 8 / 2**20, "MB": float(done.stdout)}


def file(n=FILE_ROWS, rounds=ROUNDS, iterations=FILE_ITERATIONS):
    "Seconds of an iteration over an .npy file and over the same rows in memory, in turns, and the peak memory of both."
    start = problem(min(n, 1_000_000), D, K, "full")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        write_rows(path, start, n)
        X, mapped = np.load(path), np.load(path, mmap_mode="r")
        runners = {"memory": lambda: iteration(start, X, iterations, n_jobs=JOBS), "file": lambda: iteration(start, mapped, iterations, n_jobs=JOBS)}
        seconds, disturbed = in_turns(runners, rounds)
        del X
        peaks = [peak_memory(way, n, path) for way in ("array", "file")]
    return {"N": n, "D": D, "K": K, "file_MB": n * D * 8 / 2**20, "seconds": {name: float(np.median(s)) for name, s in seconds.items()},
            "ratio": ratio(seconds["file"], seconds["memory"]), "peak": peaks, "disturbed": disturbed}


def shifted(base, n):
    "A function over n rows that are nowhere all at once: `base` again and again, each time a little shifted."
    return lambda: (base + 1e-4 * i for i in range(-(-n // len(base))))


def curve(sizes=CURVE, generated=GENERATED):
    "Seconds of an iteration by the number of rows: from files, and from a function that makes its blocks, with the seconds of making them alone."
    start, found = problem(1_000_000, D, K, "full"), []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "X.npy"
            write_rows(path, start, n)
            mapped, m = np.load(path, mmap_mode="r"), int(np.clip(20_000_000 // n, 2, 100))
            seconds = in_turns({"file": lambda: iteration(start, mapped, m, n_jobs=JOBS)}, 3)[0]["file"]
            found.append({"N": n, "from": "file", "seconds": float(np.median(seconds)), "MB": peak_memory("file", n, path)["MB"]})
    blocks = shifted(start["X"][:100_000], generated)
    making = timed(lambda: [len(block) for block in blocks()])[0]
    once = iteration(start, blocks, 1, n_jobs=JOBS)
    return [*found, {"N": generated, "from": "function", "seconds": once, "making": making, "MB": peak_memory("function", generated)["MB"]}]


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All tables of this module."
    return {"dask": show(dask()), "spark": show(spark()), "file": show(file()), "curve": show(curve())}
