"""How everything here is measured: in turns, on a machine that is otherwise idle, as ratios with their spread."""
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

DISTURBED = 0.1  # of a core, taken by other processes while a turn ran
TRIES = 4        # a turn that was disturbed is run again, at most so often


def in_turns(runners, rounds):
    """Run each of `runners` (name -> function that returns seconds) once a round, in turn.

    Returns name -> array of seconds, one a round, and the number of turns that other processes disturbed to the last."""
    seconds, disturbed = {name: [] for name in runners}, 0
    for _ in range(rounds):
        for name, run in runners.items():
            for _ in range(TRIES):
                wait_until_idle()
                measured, others = watched(run)
                if others <= DISTURBED:
                    break
            seconds[name].append(measured)
            disturbed += others > DISTURBED
    return {name: np.array(s) for name, s in seconds.items()}, disturbed


def ratio(theirs, ours):
    "Median, lowest and highest of their seconds over ours, taken round by round."
    r = theirs / ours
    return {"median": float(np.median(r)), "lowest": float(r.min()), "highest": float(r.max())}


# ---- other processes -----------------------------------------------------------------------------


def _busy():
    "CPU seconds used by everything, and by this process and its children, so far. None where the system does not say."
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    ticks = [int(t) for t in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), sum(_own(os.getpid()))


def _own(pid):
    "CPU seconds of a process and of those that it started."
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return [sum(int(f) for f in fields[11:15]) / os.sysconf("SC_CLK_TCK"), *(s for child in children for s in _own(child))]


def watched(run):
    "What `run` returns, and the share of a core that other processes took meanwhile."
    before, started = _busy(), time.perf_counter()
    result = run()
    after, seconds = _busy(), time.perf_counter() - started
    others = 0 if before is None else after[0] - before[0] - (after[1] - before[1])
    return result, max(0, others - 0.03) / seconds


def wait_until_idle(seconds=0.1, limit=20):
    "Wait until other processes have left the cores for a moment, but not for ever."
    for _ in range(int(limit / seconds)):
        if watched(lambda: time.sleep(seconds))[1] < DISTURBED:
            return


# ---- the machine ---------------------------------------------------------------------------------


def machine():
    "What the figures were measured on."
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    blas = {f"{i['internal_api']} {i['version']} ({i.get('architecture')})" for i in threadpool_info() if i["user_api"] == "blas"}
    packages = ("emlit", "numpy", "scipy", "scikit-learn")
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(), "blas": sorted(blas), "packages": {p: version(p) for p in packages},
            "date": time.strftime("%Y-%m-%d"), "dgemm_gflops": peak_gflops(os.cpu_count())}


def peak_gflops(threads):
    "Floating-point operations in 1e9 a second of double-precision matrix products, one on each thread: the best of some tries."
    A = np.random.default_rng(0).random((threads, 1000, 1000))
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        def once():
            started = time.perf_counter()
            list(pool.map(lambda a: [a @ a for _ in range(4)], A))
            return 8 * threads / (time.perf_counter() - started)
        return max(once() for _ in range(15))
