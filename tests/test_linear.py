"""Linear regression: certified values, exact fractions, statsmodels, scikit-learn, invariances, dependent columns, refusals."""
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from strict import equal, no_warnings  # noqa: F401, a fixture
import emlit.linear as linear
from emlit.data import load_faithful
from emlit.likelihood import numerical_gradient
from emlit.linear import LeastSquares, least_squares

pd, sm = pytest.importorskip("pandas"), pytest.importorskip("statsmodels.api")
NIST = Path(__file__).parent / "nist"
DEGREE = {"filip": 10, "pontius": 2, "norris": 1, **{f"wampler{i}": 5 for i in range(1, 6)}}
SETS = ["norris", "pontius", "longley", "wampler1", "wampler2", "wampler3", "wampler4", "wampler5", "filip"]
EPS = np.finfo(float).eps


def nist(name):
    "Columns and response as fractions, certified estimates and standard deviations as text."
    source, estimates, deviations, _, *rows = (NIST / f"{name}.csv").read_text().splitlines()
    assert "NIST" in source
    rows = [[Fraction(v) for v in row.split(",")] for row in rows]
    X = [row[1:] if name == "longley" else [row[1]**j for j in range(1, DEGREE[name] + 1)] for row in rows]
    return X, [row[0] for row in rows], estimates.split(": ")[1].split(), deviations.split(": ")[1].split()


def solve(A, B):
    "Gauss and Jordan in exact fractions."
    M = [[*a, *b] for a, b in zip(A, B)]
    for i in range(len(M)):
        pivot = next(k for k in range(i, len(M)) if M[k][i])
        M[i], M[pivot] = M[pivot], M[i]
        M[i] = [v / M[i][i] for v in M[i]]
        M = [row if k == i or not row[i] else [a - row[i] * b for a, b in zip(row, M[i])] for k, row in enumerate(M)]
    return [row[len(M):] for row in M]


def exact(X, y, w=None, intercept=True):
    "Estimates, inverse Gram matrix and residual sum of squares in exact fractions."
    D = [[Fraction(1)] * intercept + [Fraction(v) for v in row] for row in X]
    y, w, q = [Fraction(v) for v in y], [Fraction(v) for v in ([1] * len(D) if w is None else w)], len(D[0])
    G = [[sum(u * a[i] * a[j] for u, a in zip(w, D)) for j in range(q)] for i in range(q)]
    S = solve(G, [[sum(u * a[i] * v for u, a, v in zip(w, D, y)), *(Fraction(i == j) for j in range(q))] for i in range(q)])
    b = [row[0] for row in S]
    return b, [row[1:] for row in S], sum(u * (v - sum(p * c for p, c in zip(b, a)))**2 for u, a, v in zip(w, D, y))


def digits(computed, true):
    "Log relative error of the worst entry, at most 15."
    worst = max(abs(Fraction(float(a)) - b) / abs(b) for a, b in zip(computed, true, strict=True))
    return min(15.0, -np.log10(float(worst))) if worst else 15.0


def all_of(fit):
    return np.append(fit.intercept, fit.coefficients)


def same_fit(a, b, rtol=1e-9):
    for one, other in zip(vars(a).values(), vars(b).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-9 * np.max(np.abs(other)))


def made(n=200, p=4, seed=1, spread=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10.0**rng.uniform(-spread, spread, p) + 10.0**rng.uniform(-spread, spread, p)
    return X, X @ rng.normal(size=p) + rng.normal(size=n) + 3


def test_every_public_name_is_tested_here():
    assert set(linear.__all__) == {"LeastSquares", "least_squares"}
    fit = least_squares(*made())
    assert isinstance(fit, LeastSquares) and isinstance(fit.intercept, float) and isinstance(fit.rss, float)
    with pytest.raises(AttributeError):
        fit.rss = 1.


# ---- digits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_certified_values_are_the_exact_solution(name):
    "All 15 printed digits of the estimates and of their standard deviations."
    X, y, estimates, deviations = nist(name)
    b, V, rss = exact(X, y)
    for value, printed in zip(b, estimates, strict=True):
        assert abs(value - Fraction(printed)) <= Fraction(51, 100) * Fraction(10)**(Decimal(printed).adjusted() - 14)
    for i, printed in enumerate(deviations):
        squared, unit = rss / (len(y) - len(b)) * V[i][i], Fraction(51, 100) * Fraction(10)**(Decimal(printed).adjusted() - 14)
        assert squared == 0 == float(printed) or (Fraction(printed) - unit)**2 <= squared <= (Fraction(printed) + unit)**2


@pytest.mark.parametrize("name", SETS)
def test_certified_digits_are_reached(name):
    "From floats as far as floats can hold the data, from fractions to the last digit; and never behind the others."
    X, y, estimates, deviations = nist(name)
    columns, response = np.array(X, dtype=float), np.array(y, dtype=float)
    fit, truth = least_squares(columns, response), exact(X, y)
    assert digits(all_of(least_squares(X, y)), truth[0]) > 13.9
    assert digits(all_of(least_squares(X, y)), map(Fraction, estimates)) > 13.9
    mine = digits(all_of(fit), truth[0])
    assert mine > (7.3 if name == "filip" else 13)
    handed_over = exact(columns.tolist(), response.tolist())
    assert digits(all_of(fit), handed_over[0]) > 13.9
    assert digits(fit.inverse_gram.ravel(), sum(handed_over[1], [])) > (5 if name == "filip" else 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        D = sm.add_constant(columns)
        rivals = [sm.OLS(response, D).fit().params, sm.OLS(response, D).fit(method="qr").params]
        sk = LinearRegression().fit(columns, response)
    assert all(mine >= digits(b, truth[0]) - .1 for b in (*rivals, [sk.intercept_, *sk.coef_]))
    if float(deviations[0]):
        deviation = np.sqrt(fit.rss / fit.dof * np.diag(fit.inverse_gram))
        assert digits(deviation, map(Fraction, deviations)) > (6.5 if name == "filip" else 12)


def test_perfect_fits():
    "Wampler1 has no residuals: RSS 0 up to rounding, an infinite log-likelihood is allowed and nothing warns."
    X, y, *_ = nist("wampler1")
    fit = least_squares(X, y)
    assert fit.rss < 1e-20 and fit.log_likelihood > 500
    assert least_squares([[1.], [2.], [3.]], [0., 0., 0.]).log_likelihood == np.inf


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("noise", [1e-8, 1.0, 1e4])
def test_nearly_equal_columns_against_fractions(gap, noise):
    "Condition numbers to 1e12, small and large residuals: the exact solution of the numbers given."
    rng = np.random.default_rng(2)
    a, b, e = rng.normal(size=(3, 30))
    X = np.c_[a, a + gap * b, 100 + e]
    y = 50 + X @ [1., 2, 3] + noise * rng.normal(size=30)
    for w in (None, rng.uniform(.1, 2, 30)):
        fit, (truth, V, rss) = least_squares(X, y, w), exact(X.tolist(), y.tolist(), w)
        assert digits(all_of(fit), truth) > 13.5
        equal(np.float64(fit.rss), float(rss), rtol=1e-12)


def test_large_residuals_with_weights_against_fractions():
    "Small coefficients under residuals 1e5 times as large, weighted: roots of the weights need their low parts."
    rng = np.random.default_rng(12)
    a, b, e = rng.normal(size=(3, 30))
    X, w = np.c_[a, a + 1e-6 * b], rng.uniform(.1, 2, 30)
    D = np.sqrt(w)[:, None] * np.c_[np.ones(30), X]
    Q, _ = np.linalg.qr(D)
    y = 5 + X @ [1., 2.] + 1e5 * (np.sqrt(w) * e - Q @ (Q.T @ (np.sqrt(w) * e))) / np.sqrt(w)
    fit, (truth, V, rss) = least_squares(X, y, w), exact(X.tolist(), y.tolist(), w)
    assert abs(float(truth[1])) < 100 and digits(all_of(fit), truth) > 12


def test_far_from_zero():
    "Columns with a mean 1e7 times their spread, as seconds since 1970 have."
    rng = np.random.default_rng(3)
    X = np.c_[1.7e9 + rng.normal(size=40) * 100, rng.normal(size=40)]
    y = 1e6 + (X - [1.7e9, 0]) @ [.1, 2] + rng.normal(size=40)
    fit, (truth, V, rss) = least_squares(X, y), exact(X.tolist(), y.tolist())
    assert digits(all_of(fit), truth) > 13.5
    assert digits(np.sqrt(np.diag(fit.inverse_gram)), [Fraction(float(V[i][i])**.5) for i in range(3)]) > 8


def test_the_quick_way_is_as_good_as_qr_and_known_where_it_is_not():
    "Over condition numbers, whenever the quick way takes a problem it is right to eps kappa, like QR."
    taken = []
    for e in np.arange(.5, 8, .5):
        rng = np.random.default_rng(int(10 * e))
        a, b = rng.normal(size=(2, 40))
        X = np.c_[a, a + 10**-e * b]
        y = a + b + rng.normal(size=40)
        found = linear._quick(X, y, None, True)
        taken.append(found is not None)
        if found is not None:
            kappa = np.linalg.cond(X - X.mean(axis=0))
            truth = exact(X.tolist(), y.tolist())[0]
            worst = max(abs(float(Fraction(float(v)) - t)) for v, t in zip(found[1], truth[1:]))
            assert worst <= 20 * EPS * kappa * max(abs(float(t)) for t in truth[1:])
    assert taken[0] and not taken[-1] and taken == sorted(taken, reverse=True)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("p", [1, 3, 12])
def test_quick_and_careful_ways_agree(p, intercept, weighted):
    X, y = made(40_000 // p, p, seed=p, spread=2.0)
    w = np.random.default_rng(1).integers(0, 4, len(y)).astype(float) if weighted else None
    found = linear._quick(X, y, w, intercept)
    quick, slow = least_squares(X, y, w, intercept=intercept), least_squares(X, y, w, intercept=intercept, careful=True)
    assert found is not None and (quick.coefficients == found[1]).all()
    same_fit(quick, slow)
    same_fit(least_squares(np.asfortranarray(X), y, w, intercept=intercept), slow)


def test_fractions_weights_and_two_parts():
    "Exact numbers and weights that no double holds, against fractions."
    X, y, *_ = nist("wampler2")
    w = [Fraction(k % 5 + 1, 7) for k in range(21)]
    rounded = [float(v) for v in w]
    fit = least_squares(X, [v + Fraction(k % 3, 3) for k, v in enumerate(y)], rounded)
    truth, V, rss = exact(X, [v + Fraction(k % 3, 3) for k, v in enumerate(y)], rounded)
    assert digits(all_of(fit), truth) > 13.5
    equal(np.float64(fit.rss), float(rss), rtol=1e-12)
    equal(np.diag(fit.inverse_gram), [float(V[i][i]) for i in range(6)], rtol=1e-9)


def test_two_part_arithmetic_is_exact():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 500)) * 10.0**rng.integers(-30, 30, (2, 500))
    for pair, operation in ((linear._two_sum(a, b), Fraction.__add__), (linear._two_product(a, b), Fraction.__mul__)):
        assert all(Fraction(h) + Fraction(e) == operation(Fraction(u), Fraction(v)) for u, v, h, e in zip(a, b, *pair))
    high, low = linear._sum(np.array([[1e16, 1], [1, 2], [-1e16, 3], [3, 4], [5, 5]]))
    equal(high + low, [9, 15])


# ---- other libraries -----------------------------------------------------------------------------


def six_sets():
    diabetes, faithful = load_diabetes(), load_faithful().X
    X, y = made(500, 6, seed=9, spread=3.0)
    return {"diabetes": (diabetes.data, diabetes.target), "faithful": (faithful[:, :1], faithful[:, 1]), "made": (X, y),
            "longley": tuple(np.array(v, dtype=float) for v in nist("longley")[:2]), "large": made(8000, 5, seed=4),
            "pontius": tuple(np.array(v, dtype=float) * [1, 1][0] for v in nist("norris")[:2])}


@pytest.mark.parametrize("name", ["diabetes", "faithful", "made", "longley", "large", "pontius"])
@pytest.mark.parametrize("intercept", [True, False])
def test_statsmodels(name, intercept):
    X, y = six_sets()[name]
    theirs = sm.OLS(y, sm.add_constant(X) if intercept else X).fit(method="qr")
    fit = least_squares(X, y, intercept=intercept)
    equal(all_of(fit)[1 - intercept:], theirs.params, rtol=1e-8)
    equal(fit.inverse_gram, theirs.normalized_cov_params, rtol=1e-6 if name == "longley" else 1e-8,
          atol=1e-12 * abs(fit.inverse_gram).max())
    equal(np.array([fit.rss, fit.log_likelihood, fit.tss, fit.dof]),
          [theirs.ssr, theirs.llf, theirs.centered_tss if intercept else theirs.uncentered_tss, theirs.df_resid], rtol=1e-8)
    equal(fit.predict(X), theirs.fittedvalues, rtol=1e-8)


def test_statsmodels_with_weights():
    "Weights that count, and weights as precisions, which give the same line."
    X, y = made(150, 3)
    w = np.random.default_rng(5).integers(0, 5, 150).astype(float)
    fit = least_squares(X, y, w)
    D = sm.add_constant(X)
    counted = sm.GLM(y, D, freq_weights=w).fit()
    equal(all_of(fit), counted.params, rtol=1e-8)
    equal(np.sqrt(fit.rss / fit.dof * np.diag(fit.inverse_gram)), counted.bse, rtol=1e-8)
    equal(np.float64(fit.log_likelihood), sm.OLS(np.repeat(y, w.astype(int)), np.repeat(D, w.astype(int), axis=0)).fit().llf, rtol=1e-8)
    precise = sm.WLS(y[w > 0], D[w > 0], weights=w[w > 0]).fit()
    equal(all_of(fit), precise.params, rtol=1e-8)
    equal(np.sqrt(fit.rss / ((w > 0).sum() - 4) * np.diag(fit.inverse_gram)), precise.bse, rtol=1e-8)


def test_scikit_learn():
    X, y = made(3000, 10)
    w = np.random.default_rng(6).uniform(size=3000)
    for weight in (None, w):
        theirs, fit = LinearRegression().fit(X, y, weight), least_squares(X, y, weight)
        equal(fit.coefficients, theirs.coef_, rtol=1e-8)
        equal(np.float64(fit.intercept), theirs.intercept_, rtol=1e-8)
        equal(np.float64(1 - fit.rss / fit.tss), theirs.score(X, y, weight), rtol=1e-8)


# ---- mathematics ---------------------------------------------------------------------------------


def test_the_likelihood_is_highest_there():
    X, y = made(60, 3, spread=.3)
    w = np.random.default_rng(7).uniform(.1, 2, 60)
    fit = least_squares(X, y, w)
    f = lambda t: w @ stats.norm(t[0] + X @ t[1:4], np.sqrt(t[4])).logpdf(y) if t[4] > 0 else -np.inf
    top = np.array([*all_of(fit), fit.sigma2])
    equal(np.float64(fit.log_likelihood), f(top))
    assert abs(numerical_gradient(f, top)).max() < 1e-5
    rng, deviation = np.random.default_rng(8), np.append(np.sqrt(fit.sigma2 * np.diag(fit.inverse_gram)), fit.sigma2 / 5)
    assert all(f(top + rng.normal(size=5) * deviation * 10**rng.uniform(-3, .5)) < f(top) for _ in range(200))


@pytest.mark.parametrize("size", [50, 6000])
@pytest.mark.parametrize("intercept", [True, False])
def test_invariances(size, intercept):
    "Units, shifts, order of rows and columns, combinations added to y, weights times a constant, rows repeated."
    X, y = made(size, 5)
    rng = np.random.default_rng(9)
    w, fit = rng.integers(1, 4, size).astype(float), least_squares(X, y, intercept=intercept)
    units = np.array([1e6, 1e-6, 3., .1, 1.])
    other = least_squares(X * units, 10 * y, intercept=intercept)
    equal(other.coefficients * units, 10 * fit.coefficients, rtol=1e-9)
    equal(np.float64(other.rss), 100 * fit.rss)
    equal(other.inverse_gram[intercept:, intercept:] * np.outer(units, units), fit.inverse_gram[intercept:, intercept:], rtol=1e-8,
          atol=1e-10 * abs(fit.inverse_gram).max())
    order, columns = rng.permutation(size), [3, 1, 4, 0, 2]
    equal(least_squares(X[order][:, columns], y[order], intercept=intercept).coefficients, fit.coefficients[columns], rtol=1e-9)
    added = least_squares(X, y + X @ np.arange(5.), intercept=intercept)
    equal(added.coefficients, fit.coefficients + np.arange(5), rtol=1e-8, atol=1e-10)
    equal(np.float64(added.rss), fit.rss, rtol=1e-8)
    if intercept:
        shifted = least_squares(X + 100., y - 7)
        equal(shifted.coefficients, fit.coefficients, rtol=1e-8)
        equal(np.float64(shifted.tss), fit.tss)
    weighted = least_squares(X, y, w, intercept=intercept)
    same_fit(weighted, least_squares(np.repeat(X, w.astype(int), axis=0), np.repeat(y, w.astype(int)), intercept=intercept))
    tenfold = least_squares(X, y, 10 * w, intercept=intercept)
    equal(tenfold.coefficients, weighted.coefficients)
    equal(np.array([tenfold.rss, tenfold.total, tenfold.sigma2]), [10 * weighted.rss, 10 * weighted.total, weighted.sigma2])
    unseen = least_squares(np.r_[X, 1e6 * X[:3]], np.r_[y, [1e9, -1e9, 0]], np.r_[w, 0, 0, 0], intercept=intercept)
    same_fit(unseen, weighted)


def test_only_an_intercept():
    fit = least_squares(np.empty((4, 0)), [1., 2., 3., 6.])
    assert fit.intercept == 3 and fit.coefficients.shape == (0,) and fit.rss == fit.tss == 14 and fit.dof == 3
    equal(fit.inverse_gram, [[.25]])


def test_extreme_units():
    "Powers of two bring columns of any size to 1."
    X, y = made(30, 2)
    fit = least_squares(X, y)
    with pytest.raises(ValueError, match="overflows in the units"):
        least_squares(X * 1e-310, y)
    equal(least_squares(X / abs(X).max() * 1.7e308, y * 1e100).coefficients * 1.7e208, fit.coefficients * abs(X).max())
    for unit in (1e-150, 1e150):
        equal(least_squares(X * unit, y).coefficients * unit, fit.coefficients)
    big = least_squares(np.tile(X, (500, 1)) * 1e200, np.tile(y, 500))
    equal(big.coefficients * 1e200, fit.coefficients)


def test_kinds_of_numbers():
    X, y = np.arange(20).reshape(10, 2)**2, np.arange(10)**3
    fit = least_squares(X.astype(float), y.astype(float))
    for other in (X.astype(np.int8), X.astype(np.float32), X.tolist(), pd.DataFrame(X, columns=["a", "b"]), X.astype(object),
                  [[Decimal(int(v)) for v in row] for row in X], X.astype(np.longdouble), pd.DataFrame(X).astype("Int64")):
        if np.asarray(other).dtype != np.int8:
            same_fit(least_squares(other, y), fit)
    same_fit(least_squares(X, pd.Series(y, index=range(5, 15))), fit)
    long = np.array([[2**56 + 1000 * k * k + 1] for k in range(6)])
    truth = exact(long.tolist(), [0, 1, 5, 2, 8, 3])[0]
    assert digits(all_of(least_squares(long, [0, 1, 5, 2, 8, 3])), truth) > 13
    large = np.random.default_rng(1).normal(size=(9000, 4)).astype(np.float32)
    same_fit(least_squares(large, large @ np.ones(4) + large[:, 0]**2), least_squares(large.astype(float), (large @ np.ones(4) + large[:, 0]**2).astype(float)))


def test_arguments_are_left_alone():
    X, y = made(30, 2)
    w = np.arange(30.)
    before = X.copy(), y.copy(), w.copy()
    for values in (X, y, w):
        values.setflags(write=False)
    least_squares(X, y, w)
    assert all((a == b).all() for a, b in zip(before, (X, y, w)))


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("trial", range(40))
def test_dependent_columns_are_found_and_named(trial):
    "A random combination among columns of all sizes, far from zero or not, with many rows or few, is found; without it nothing is."
    rng = np.random.default_rng(trial)
    n, p, intercept = rng.choice([20, 300, 21_000]), rng.choice([3, 6]), bool(trial % 2)
    X = rng.normal(size=(n, p)) * 10.0**rng.integers(-4, 5, p) + 10.0**rng.integers(-3, 5, p) * (rng.random(p) < .5)
    y, used = rng.normal(size=n), np.sort(rng.choice(p, 2, replace=False))
    least_squares(X, y, intercept=intercept)
    a = rng.integers(1, 9, 2) * 1.0
    names = [f"<{j}>" for j in range(p + 1)]
    X = np.c_[X, X[:, used] @ a + (rng.normal() if intercept else 0)]
    with pytest.raises(ValueError, match="depend on each other") as error:
        least_squares(X, y, intercept=intercept, names=names)
    said = str(error.value)
    assert f"<{p}> = {a[0]:.6g} <{used[0]}> + {a[1]:.6g} <{used[1]}>" + " + a constant" * intercept in said


def test_a_column_twice_and_a_nearly_constant_one():
    X, y = made(50, 3)
    with pytest.raises(ValueError, match="depend on each other: column 3 = 1 column 1 [+] a constant"):
        least_squares(np.c_[X, X[:, 1]], y)
    with pytest.raises(ValueError, match="c = -2.5 a - 4 b [+] a constant"):
        least_squares(np.c_[X[:, :2], -2.5 * X[:, 0] - 4 * X[:, 1]], y, names="abc")
    with pytest.raises(ValueError, match="X: b is constant, and so is the intercept: leave it out, or say intercept=False"):
        least_squares(pd.DataFrame({"a": X[:, 0], "b": .1}), y)
    assert least_squares(pd.DataFrame({"a": X[:, 0], "b": .1}), y, intercept=False).coefficients.shape == (2,)
    with pytest.raises(ValueError, match="column 1 is constant 0: leave it out"):
        least_squares(np.c_[X[:, 0], 0 * y], y, intercept=False)
    with pytest.raises(ValueError, match="column 0 is constant"):
        least_squares(np.full((30_000, 1), .1), np.arange(30_000.))
    with pytest.raises(ValueError, match="column 0 is constant"):
        least_squares([[1.], [1.], [2.]], [1., 2., 3.], [1., 1., 0.])
    least_squares(np.c_[X, X[:, 1] * (1 + 1e-11 * X[:, 2])], y)


X3, Y3 = [[1., 2.], [2., 1.], [4., 4.], [5., 3.], [7., 7.]], [1., 2., 3., 4., 6.]


@pytest.mark.parametrize("call, error, words", [
    (lambda: least_squares([1., 2.], [1., 2.]), ValueError, r"X has shape \(2,\) and y \(2,\): .*X\[:, None\]"),
    (lambda: least_squares(X3, [Y3]), ValueError, r"y \(1, 5\)"),
    (lambda: least_squares(X3, Y3[:4]), ValueError, r"X has shape \(5, 2\) and y \(4,\)"),
    (lambda: least_squares(X3[:2], Y3[:2]), ValueError, "X has 2 rows .with weight. and 3 coefficients"),
    (lambda: least_squares(X3, Y3, [1, 1, 0, 0, 0]), ValueError, "X has 2 rows .with weight. and 3 coefficients"),
    (lambda: least_squares(np.empty((5, 0)), Y3, intercept=False), ValueError, "there must be a coefficient"),
    (lambda: least_squares(np.empty((0, 2)), []), ValueError, "X has 0 rows"),
    (lambda: least_squares(X3, Y3, [1, 1, 1, 1]), ValueError, r"weight of shape \(4,\) for 5 rows"),
    (lambda: least_squares(X3, Y3, [1, 1, 1, 1, -1]), ValueError, "not negative"),
    (lambda: least_squares(X3, Y3, [1, 1, 1, 1, np.nan]), ValueError, "weight of shape"),
    (lambda: least_squares(X3, Y3, [1, 1, 1, 1, np.inf]), ValueError, "weight of shape"),
    (lambda: least_squares([*X3[:4], [1., np.nan]], Y3), ValueError, "X holds nan in row 4, column 1: leave such rows out"),
    (lambda: least_squares(pd.DataFrame(X3, columns=["u", "v"]).replace(7., np.inf), Y3), ValueError, "X holds inf in row 4, u"),
    (lambda: least_squares(X3, [*Y3[:4], -np.inf]), ValueError, "y holds -inf in row 4"),
    (lambda: least_squares([[10**400], [1], [2]], [1, 2, 3]), ValueError, "X holds inf in row 0"),
    (lambda: least_squares([[Decimal("NaN")], [1], [2]], [1, 2, 3]), ValueError, "X holds nan in row 0"),
    (lambda: least_squares(csr_matrix(X3), Y3), TypeError, "X is a csr_matrix: pass a plain array"),
    (lambda: least_squares(None, Y3), TypeError, "X is a NoneType"),
    (lambda: least_squares(X3, np.ma.masked_array(Y3, mask=np.eye(5)[0])), TypeError, "y is a MaskedArray: .* without masked entries"),
    (lambda: least_squares(X3, Y3, intercept="no"), ValueError, "intercept must be True or False, got 'no'"),
    (lambda: least_squares(X3, Y3, names=["a"]), ValueError, "names has 1 entries and X 2 columns"),
    (lambda: least_squares(np.array(X3) + 1j, Y3), TypeError, "X holds complex128"),
    (lambda: least_squares([["a", "b"]] * 5, Y3), TypeError, "X holds <U1"),
    (lambda: least_squares(X3, np.array(["1"] * 5, dtype=object)), TypeError, "y holds '1', a str"),
    (lambda: least_squares([[1], [None], [3]], [1, 2, 3]), TypeError, "X holds None, a NoneType"),
    (lambda: least_squares(np.array(X3), np.array(Y3) * 1e200), ValueError, "overflows in the units"),
])
def test_errors_name_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", ["X", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_numbers_in_large_arrays(name, value):
    "The quick way meets them as well."
    X, y = made(10_000, 3)
    (X if name == "X" else y)[7777] = value
    with pytest.raises(ValueError, match=f"{name} holds {value} in row 7777"):
        least_squares(X, y)
