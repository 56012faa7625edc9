"""The same EM, from the same start, for the same number of iterations, by emlit and by its peers."""
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn.mixture

import emlit

ROOT = Path(__file__).resolve().parent.parent
ONEDAL = ROOT / "_build" / "onedal" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def problem(n, d, k, kind, seed=0):
    "Rows from k overlapping Gaussians, and a start: rough centres, the covariance of all."
    rng = np.random.default_rng(seed)
    labels, centres = rng.integers(k, size=n), rng.normal(size=(k, d)) * 3 / np.sqrt(d)
    X, mix = rng.normal(size=(n, d)), 0.5 * rng.normal(size=(k, d, d)) / np.sqrt(d) + np.eye(d)
    for j in range(k):
        X[labels == j] = X[labels == j] @ mix[j].T + centres[j]
    C = np.cov(X.T).reshape(d, d)
    shape = {"full": np.repeat(C[None], k, axis=0), "tied": C, "diag": np.repeat(C.diagonal()[None], k, axis=0),
             "spherical": np.full(k, C.trace() / d)}[kind]
    return {"X": X, "weights": np.full(k, 1 / k), "means": centres + rng.normal(size=(k, d)) / 3, "covariances": shape, "kind": kind}


def timed(run):
    "Seconds, and what `run` returned. Warnings that EM has not converged are expected."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        result = run()
    return time.perf_counter() - started, result


class InProcess:
    "An estimator with scikit-learn's face."
    def __init__(self, estimator, problem, **settings):
        kind, C = problem["kind"], problem["covariances"]
        precisions = np.linalg.inv(C) if kind in ("full", "tied") else 1 / C
        self.X, self.estimator = problem["X"], lambda rounds: estimator(
            len(problem["weights"]), covariance_type=kind, tol=0, reg_covar=0, max_iter=rounds, weights_init=problem["weights"],
            means_init=problem["means"], precisions_init=precisions, **settings)

    def __call__(self, rounds):
        "Seconds of so many iterations, and the means after them."
        seconds, fitted = timed(lambda: self.estimator(rounds).fit(self.X))
        return seconds, fitted.means_

    def close(self):
        pass


def estimator(start, iterations, **settings):
    "One of emlit that takes so many iterations from the start of a problem."
    return emlit.GaussianMixture(len(start["weights"]), tol=0, reg_covar=0, max_iter=iterations, weights_init=start["weights"], means_init=start["means"],
                                 precisions_init=np.linalg.inv(start["covariances"]), **settings)


def iteration(start, X, iterations, **settings):
    "Seconds of an iteration by the log of a fit, which leaves out what comes before the first."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = estimator(start, iterations, **settings).fit(X).history_["seconds"]
    return float(seconds[-1] - seconds[0]) / (len(seconds) - 1)


class OneDAL:
    "oneDAL, asked line by line."
    def __init__(self, problem):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "problem.npz"
        np.savez(self.path, **problem)
        self.process = subprocess.Popen([ONEDAL, ROOT / "benchmarks" / "onedal.py"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self(1)                                     # read the file and start the threads

    def __call__(self, rounds):
        "Seconds of so many iterations, and the means after them."
        print(self.path, rounds, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline()), np.load(f"{self.path}.result.npz")["means"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


def peers(problem):
    "Name -> function of a number of iterations, emlit's first."
    found = {"emlit": InProcess(emlit.GaussianMixture, problem, n_jobs=-1), "emlit, one thread": InProcess(emlit.GaussianMixture, problem),
             "scikit-learn": InProcess(sklearn.mixture.GaussianMixture, problem)}
    if ONEDAL.exists() and problem["kind"] in ("full", "diag"):
        found["oneDAL"] = OneDAL(problem)
    return found
