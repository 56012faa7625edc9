"""Filling holes by a fitted mixture: time of `impute` beside a loop over rows, scikit-learn's imputers, and a pass over complete data."""
import json
import warnings

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from benchmarks.harness import in_turns, ratio
from benchmarks.peers import timed
from emlit import conditional  # noqa: F401
from emlit.gaussian import GaussianMixture

N, D, K, MISSING = 100_000, 10, 5, 0.1
FEW = 2_000     # rows for what is slow
ROUNDS = 3


def problem(n=N, d=D, k=K, seed=0):
    "A mixture with known parameters, rows drawn from it, and the rows with holes at random."
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((k, d, d)) + 2 * np.eye(d)
    C, means = A @ A.mT, 3 * rng.standard_normal((k, d))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = means[rng.integers(k, size=2 * k)] + rng.standard_normal((2 * k, d))
        mixture = GaussianMixture(k, max_iter=0, reg_covar=0, weights_init=np.full(k, 1 / k), means_init=means, precisions_init=np.linalg.inv(C)).fit(start)
    labels = rng.integers(k, size=n)
    X = means[labels] + (np.linalg.cholesky(C)[labels] @ rng.standard_normal((n, d, 1)))[..., 0]
    return mixture, X, np.where(rng.random((n, d)) < MISSING, np.nan, X)


def row_by_row(mixture, X):
    "Conditional means by the textbook formula, a row at a time."
    filled = X.copy()
    for row in filled:
        u = np.isnan(row)
        if not u.any():
            continue
        logs, means = [], []
        for w, m, C in zip(mixture.weights_, mixture.means_, mixture.covariances_):
            inner = C[~u][:, ~u]
            logs.append(np.log(w) + multivariate_normal.logpdf(row[~u], m[~u], inner))
            means.append(m[u] + C[u][:, ~u] @ np.linalg.solve(inner, row[~u] - m[~u]))
        row[u] = np.exp(logs - logsumexp(logs)) @ means
    return filled


def compared(n, few=False):
    "Seconds to fill the holes of n rows, in turns; the slow ways only on few rows."
    mixture, X, holed = problem(n)
    linear = IterativeImputer(random_state=0).fit(X[:FEW])
    runs = {"emlit": lambda: mixture.impute(holed), "emlit, draws": lambda: mixture.impute(holed, "draw", 0),
            "predict_proba, nothing missing": lambda: mixture.predict_proba(X), "IterativeImputer": lambda: linear.transform(holed)}
    if few:
        nearest = KNNImputer().fit(X)
        runs |= {"row by row": lambda: row_by_row(mixture, holed), "KNNImputer": lambda: nearest.transform(holed)}
    seconds, disturbed = in_turns({name: lambda run=run: timed(run)[0] for name, run in runs.items()}, ROUNDS)
    error = {name: float(np.sqrt(np.mean((runs[name]() - X)[np.isnan(holed)]**2))) for name in runs if "proba" not in name}
    return {"N": n, "D": D, "K": K, "missing": MISSING, "patterns": len(np.unique(np.isnan(holed), axis=0)),
            "seconds": {name: float(np.median(s)) for name, s in seconds.items()}, "error": error,
            "ratio": {name: ratio(s, seconds["emlit"]) for name, s in seconds.items() if name != "emlit"}, "disturbed": disturbed}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All tables of this module."
    return {"impute": [show(compared(FEW, few=True)), show(compared(N))]}
