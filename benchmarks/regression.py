"""LinearRegression and LogisticRegression beside scikit-learn's and statsmodels', to the same gradient; and from a file beside an array."""
import json
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import sklearn.linear_model
from scipy.special import expit

from benchmarks.harness import in_turns, ratio
from benchmarks.peers import timed
from emlit.regression import LinearRegression, LogisticRegression
from emlit.stream import npy_blocks
from emlit.tall import with_target

SIZES = [(100_000, 10), (100_000, 100)]  # rows and columns
GOAL = 1e-7                              # largest entry of the gradient of the mean log-likelihood
TOLERANCES = [10.0**-k for k in range(3, 13)]
ROUNDS = 3
FILE_ROWS, FILE_COLUMNS, FILE_BLOCK = 4_000_000, 10, 50_000


def problem(n, p, seed=0):
    "Columns of which neighbours are correlated, numbers that depend on them, and classes."
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    X[:, 1:] += X[:, :-1]
    eta = X @ rng.standard_normal(p) / np.sqrt(2 * p)
    return X, eta + rng.standard_normal(n), (rng.random(n) < expit(eta)).astype(int)


def statsmodels():
    "statsmodels, or None."
    try:
        import statsmodels.api
        return statsmodels.api
    except ImportError:
        return None


def gradient(X, y, intercept, coefficients, link=lambda eta: eta):
    "Largest entry of the gradient of the mean log-likelihood (unit variance)."
    r = y - link(X @ coefficients + intercept)
    return float(max(abs(r.mean()), abs(r @ X).max() / len(y)))


def lines(X, y):
    "Name -> function that fits a line and returns intercept and coefficients. All but scikit-learn also give standard errors."
    def scikit_learn(fit=sklearn.linear_model.LinearRegression):
        model = fit().fit(X, y)
        return model.intercept_, model.coef_
    found, sm = {"emlit": lambda: scikit_learn(LinearRegression), "scikit-learn": scikit_learn}, statsmodels()
    if sm:
        def fitted():
            result = sm.OLS(y, sm.add_constant(X)).fit()
            return result.params[0], result.params[1:], result.bse
        found["statsmodels"] = lambda: fitted()[:2]
    return found


def curves(X, y):
    "Name -> function of a tolerance that fits a logistic model and returns intercept and coefficients."
    def model(estimator):
        estimator.fit(X, y)
        return estimator.intercept_[0], estimator.coef_[0]
    def peer(solver):
        return lambda tol: model(sklearn.linear_model.LogisticRegression(C=np.inf, solver=solver, tol=tol, max_iter=10_000))
    found = {"emlit": lambda tol: model(LogisticRegression()),  # at its own tolerance, whatever is asked
             "scikit-learn, lbfgs": peer("lbfgs"), "scikit-learn, newton-cholesky": peer("newton-cholesky")}
    if sm := statsmodels():
        def fitted(tol):
            result = sm.Logit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=tol)
            return result.params[0], result.params[1:], result.bse
        found["statsmodels"] = lambda tol: fitted(tol)[:2]
    return found


def loosest(run, X, y):
    "The loosest tolerance with which the gradient falls below the goal (or the tightest), and the gradient there."
    for tol in TOLERANCES:
        if (reached := gradient(X, y, *run(tol), expit)) <= GOAL:
            break
    return tol, reached


def compared(kind, n, p):
    "Seconds of a fit, in turns."
    X, numbers, classes = problem(n, p)
    y = numbers if kind == "linear" else classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "linear":
            runs = lines(X, y)
            reached = {name: gradient(X, y, *run()) for name, run in runs.items()}
        else:
            chosen = {name: (run, *loosest(run, X, y)) for name, run in curves(X, y).items()}
            runs = {name: lambda run=run, tol=tol: run(tol) for name, (run, tol, _) in chosen.items()}
            reached = {name: g for name, (_, _, g) in chosen.items()}
        seconds, disturbed = in_turns({name: lambda run=run: timed(run)[0] for name, run in runs.items()}, ROUNDS)
    return {"model": kind, "N": n, "P": p, "seconds": {name: float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(s, seconds["emlit"]) for name, s in seconds.items() if name != "emlit"}, "gradient": reached, "disturbed": disturbed}


def peak(run):
    "MB that NumPy and Python hold at once, at most."
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return most


def from_file(kind, n=FILE_ROWS, p=FILE_COLUMNS, rounds=ROUNDS):
    "Seconds of a fit from a file in blocks, of reading it whole and fitting, and of a fit to what was read before; and the memory of the first two."
    X, numbers, classes = problem(n, p)
    y, make = (numbers, LinearRegression) if kind == "linear" else (classes, LogisticRegression)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, np.column_stack([X, y]))
        def whole():
            rows = np.load(path)
            return make().fit(rows[:, :-1], rows[:, -1])
        runs = {"in blocks": lambda: make().fit(with_target(npy_blocks(path, FILE_BLOCK))), "read and fitted": whole, "in memory": lambda: make().fit(X, y)}
        fits = [run() for run in runs.values()]
        np.testing.assert_allclose(fits[0].estimates_, fits[2].estimates_, rtol=1e-7)
        seconds, disturbed = in_turns({name: lambda run=run: timed(run)[0] for name, run in runs.items()}, rounds)
        return {"model": kind, "N": n, "P": p, "seconds": {name: float(np.median(s)) for name, s in seconds.items()}, "rows_MB": n * (p + 1) * 8 / 2**20,
                "ratio": {name: ratio(seconds["in blocks"], s) for name, s in seconds.items() if name != "in blocks"},
                "MB": {name: peak(runs[name]) for name in ("in blocks", "read and fitted")}, "disturbed": disturbed}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All tables of this module."
    kinds = "linear", "logistic"
    return {"fit": [show(compared(kind, n, p)) for kind in kinds for n, p in SIZES], "file": [show(from_file(kind)) for kind in kinds]}
