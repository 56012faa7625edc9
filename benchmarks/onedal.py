"""Intel's oneDAL in an environment and a process of its own, as daal4py wants older versions of NumPy and scikit-learn.

Reads lines 'file.npz iterations', runs EM from the start in the file, writes the seconds that it took."""
import sys
import time

import daal4py
import numpy as np


def fit(problem, iterations):
    "Seconds and result of so many EM iterations from the start in the file."
    kind = {"full": "full", "diag": "diagonal"}[str(problem["kind"])]
    algorithm = daal4py.em_gmm(nComponents=len(problem["weights"]), maxIterations=iterations, accuracyThreshold=0.0,
                               regularizationFactor=1e-300, covarianceStorage=kind)
    covariances = [np.atleast_2d(c) for c in problem["covariances"]]
    started = time.perf_counter()
    result = algorithm.compute(problem["X"], problem["weights"][None], problem["means"], covariances)
    seconds = time.perf_counter() - started
    if int(result.nIterations.ravel()[0]) != iterations:
        raise RuntimeError(f"oneDAL stopped after {result.nIterations} of {iterations} iterations")
    return seconds, result


if __name__ == "__main__":
    files = {}
    for line in sys.stdin:
        path, iterations = line.split()
        if path not in files:
            files = {path: dict(np.load(path))}
        seconds, result = fit(files[path], int(iterations))
        np.savez(path + ".result.npz", means=result.means)
        print(seconds, flush=True)
