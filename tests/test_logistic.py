"""Logistic regression: values against other libraries, derivatives, separation, dependent columns, invariances, refusals."""
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

import emlit.logistic as logistic
from emlit.likelihood import numerical_gradient, numerical_hessian
from emlit.logistic import LogisticFit, SeparationError, fit_logistic, log_probabilities, separation, symmetric

TEMPERATURE = np.array([66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58.])[:, None]
DISTRESS = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1])


def close(actual, desired, rtol=1e-10, atol=0.0):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=np.float64), rtol=rtol, atol=atol, strict=True)


def sample(n, p, classes, seed, size=1.0):
    "Columns that are correlated, and classes that depend on them."
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + .3 * rng.standard_normal((p, p))) + rng.standard_normal(p)
    eta = X @ (size * rng.standard_normal((p, classes)) / np.sqrt(p))
    return X, (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)


def theta(fit): return np.column_stack([fit.intercept, fit.coefficients])


def total(X, y, weight=1.0):
    "The log-likelihood as a function of the flat parameters, written anew."
    X1, classes = np.column_stack([np.ones(len(X)), X]), y.max() + 1
    def f(flat):
        eta = np.hstack([np.zeros((len(X), 1)), X1 @ flat.reshape(classes - 1, -1).T])
        return (weight * (eta[np.arange(len(y)), y] - np.logaddexp.reduce(eta, axis=1))).sum()
    return f


def agrees_with_derivatives(X, y, fit, weight=1.0, rtol=1e-5):
    f, at = total(X, y, weight), theta(fit).ravel()
    close(fit.log_likelihood, f(at), rtol=1e-9)
    se = np.sqrt(fit.covariance.diagonal())
    assert abs(numerical_gradient(f, at) * se).max() < 1e-5
    H = numerical_hessian(f, at)
    close(-H * se * se[:, None], fit.information * se * se[:, None], rtol=rtol, atol=rtol)
    close(fit.covariance @ fit.information, np.eye(len(at)), rtol=0, atol=1e-6)


def test_every_public_name_is_tested_here():
    assert set(logistic.__all__) == {"LogisticFit", "SeparationError", "fit_logistic", "log_probabilities", "separation", "symmetric"}


# ---- published numbers and other libraries -------------------------------------------------------


def test_challenger():
    fit = fit_logistic(TEMPERATURE, DISTRESS)
    assert theta(fit).round(4).tolist() == [[15.0429, -.2322]]
    assert np.sqrt(fit.covariance.diagonal()).round(4).tolist() == [7.3786, .1082]
    close(-2 * fit.log_likelihood, 20.315, rtol=1e-4)  # the residual deviance that R prints
    agrees_with_derivatives(TEMPERATURE, DISTRESS, fit)


CASES = {"binary": (400, 4, 2, 1.0), "nine columns": (300, 9, 2, .5), "three classes": (500, 3, 3, 1.0), "five classes": (900, 4, 5, .7)}


@pytest.mark.parametrize("n, p, classes, size", CASES.values(), ids=CASES)
def test_statsmodels_agrees(n, p, classes, size):
    sm = pytest.importorskip("statsmodels.api")
    X, y = sample(n, p, classes, 3, size)
    fit = fit_logistic(X, y)
    theirs = sm.MNLogit(y, sm.add_constant(X)).fit(disp=0, method="newton", tol=1e-13, maxiter=60)
    close(theta(fit), theirs.params.T, rtol=1e-8)
    close(fit.log_likelihood, theirs.llf)
    close(np.sqrt(fit.covariance.diagonal()), theirs.bse.T.ravel(), rtol=1e-8)


def test_statsmodels_agrees_with_weights_and_without_a_constant():
    sm = pytest.importorskip("statsmodels.api")
    X, y = sample(300, 5, 2, 4)
    weight = np.random.default_rng(0).gamma(2, size=300)
    for constant in (True, False):
        fit = fit_logistic(X, y, weight, constant)
        theirs = sm.GLM(y, sm.add_constant(X) if constant else X, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-14, tol_criterion="params")
        close(theta(fit)[:, 1 - constant:].ravel(), theirs.params, rtol=1e-8)
        close(np.sqrt(fit.covariance.diagonal()), theirs.bse, rtol=1e-8)
        close(fit.log_likelihood, theirs.llf, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 4])
def test_scikit_learn_agrees(classes):
    X, y = sample(500, 4, classes, 5)
    fit = fit_logistic(X, y)
    theirs = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-12, max_iter=5000).fit(X, y)
    ours = symmetric(theta(fit)) if classes > 2 else theta(fit)
    close(np.column_stack([theirs.intercept_, theirs.coef_]), ours, rtol=1e-3, atol=1e-4)
    p = np.exp(log_probabilities(fit.intercept + X @ fit.coefficients.T))
    close(theirs.predict_proba(X), p, rtol=1e-3, atol=1e-4)
    assert fit.log_likelihood >= np.log(theirs.predict_proba(X)[np.arange(500), y]).sum() - 1e-9


def test_real_tables():
    X, y = load_wine(return_X_y=True)
    fit = fit_logistic(X[:, [1, 4]], y)
    agrees_with_derivatives(X[:, [1, 4]], y, fit)
    X, y = load_iris(return_X_y=True)
    fit = fit_logistic(X[50:], y[50:] - 1)
    close(theta(fit)[0], [-42.637804, -2.465220, -6.680887, 9.429385, 18.286137], rtol=1e-6)  # as in R's documentation and statsmodels
    X, y = load_breast_cancer(return_X_y=True)
    agrees_with_derivatives(X[:, :4], y, fit_logistic(X[:, :4], y), rtol=1e-3)


# ---- closed forms, derivatives, invariances ------------------------------------------------------


def test_groups_have_a_closed_form():
    counts = np.array([[12, 3, 4], [4, 9, 2]])
    X = np.repeat([0., 1.], counts.sum(axis=1))[:, None]
    y = np.concatenate([np.repeat(np.arange(3), row) for row in counts])
    fit = fit_logistic(X, y)
    logs = np.log(counts[:, 1:] / counts[:, :1])
    close(fit.intercept, logs[0])
    close(fit.coefficients[:, 0], logs[1] - logs[0])
    close(np.sqrt(fit.covariance[1, 1]), np.sqrt((1 / counts[:, :2]).sum()))
    alone = fit_logistic(np.zeros((len(y), 0)), y)
    close(alone.intercept, np.log(counts.sum(axis=0)[1:] / counts.sum(axis=0)[0]))
    assert alone.coefficients.shape == (2, 0) and isinstance(alone, LogisticFit)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_derivatives(classes):
    X, y = sample(250, 2, classes, 6)
    weight = np.random.default_rng(1).random(250) + .1
    agrees_with_derivatives(X, y, fit_logistic(X, y, weight), weight)


def test_two_ways_through_the_rows_agree():
    rng = np.random.default_rng(2)
    eta, y, weight = rng.normal(0, 30, (1, 200)), rng.integers(0, 2, 200), rng.random(200)
    two, general = logistic._binary_rows(eta, y, weight), logistic._softmax_rows(eta, y, weight)
    for i in (0, 1, 3):
        np.testing.assert_allclose(two[i], general[i], rtol=1e-10)
    close(two[2]**2 * weight, general[2][:1] * general[2][1:] * weight)
    assert general[4] <= two[4] == (two[2]**2).min()
    _, residual, roots, margin, _ = two
    close(residual, weight * (y - expit(eta)), rtol=1e-6, atol=1e-14)
    assert margin == (np.where(y == 1, eta, -eta)).min() and (roots > 0).all()


def test_weights_are_repetitions_and_zeros_leave_out():
    X, y = sample(120, 3, 3, 7)
    weight = np.random.default_rng(3).integers(0, 4, 120)
    weight[:3] = 0
    X[:3] = [[1e6, 0, 0], [0, 1e6, 0], [0, 0, 1e6]]
    repeated = fit_logistic(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    weighted = fit_logistic(X, y, weight)
    close(theta(weighted), theta(repeated), rtol=1e-9)
    close(weighted.covariance, repeated.covariance, rtol=1e-8, atol=1e-12)
    close(weighted.log_likelihood, repeated.log_likelihood)
    for unit in (1e-300, 1e-6, 1e300):
        scaled = fit_logistic(X, y, unit * weight)
        close(scaled.coefficients, weighted.coefficients)
        close([scaled.log_likelihood / unit, *(scaled.covariance * unit).diagonal()], [weighted.log_likelihood, *weighted.covariance.diagonal()])
        close(scaled.information / unit, weighted.information)


@pytest.mark.parametrize("scale", [1e-120, 1e-9, 1e9, 1e120])
def test_scale_and_offset_of_columns(scale):
    X, y = sample(200, 3, 3, 8)
    fit = fit_logistic(X, y)
    other = fit_logistic(X * [1, scale, 1], y)
    close(other.coefficients * [1, scale, 1], fit.coefficients)
    close(other.intercept, fit.intercept, rtol=1e-9)
    X = np.round(1024 * X) / 1024  # the offsets are then added without rounding
    fit, far = fit_logistic(X, y), fit_logistic(X + np.array([0, 2.0**30, -2.0**20]), y)
    close(far.coefficients, fit.coefficients)
    close(far.log_likelihood, fit.log_likelihood)
    slopes = np.array([1, 2, 3, 5, 6, 7])
    close(far.covariance[slopes][:, slopes], fit.covariance[slopes][:, slopes], rtol=1e-9)


def test_nearly_dependent_columns_keep_their_digits():
    X, y = sample(300, 3, 2, 9)
    X[:, 2] = X[:, 0] + 2.0**-24 * np.round(64 * X[:, 2]) / 64
    fit = fit_logistic(X, y)
    exact = fit_logistic(np.column_stack([X[:, :2], (X[:, 2] - X[:, 0]) * 2.0**24]), y)
    close(fit.coefficients[0, 2], exact.coefficients[0, 2] * 2.0**24, rtol=1e-7)
    close(fit.log_likelihood, exact.log_likelihood)
    close(fit.covariance[3, 3], exact.covariance[3, 3] * 2.0**48, rtol=1e-7)
    powers = fit_logistic(((TEMPERATURE - 70) / 12)**np.arange(1, 4), DISTRESS)
    far = fit_logistic(TEMPERATURE**np.arange(1, 4), DISTRESS)
    close(far.log_likelihood, powers.log_likelihood, rtol=1e-9)
    close(far.coefficients[0, 2] * 12**3, powers.coefficients[0, 2], rtol=1e-5)


def test_exchange_of_classes_and_of_columns():
    X, y = sample(300, 4, 4, 10)
    fit, swapped = fit_logistic(X, y), fit_logistic(X[:, ::-1], 3 - y)
    close(symmetric(theta(swapped)[:, [0, 4, 3, 2, 1]]), symmetric(theta(fit))[::-1], rtol=1e-8, atol=1e-10)


def test_dtypes_layouts_and_lists():
    X, y = sample(150, 3, 2, 11)
    X = np.round(8 * X) / 8
    fit = fit_logistic(X, y)
    for other in (X.astype(np.float32), np.asfortranarray(X), X.tolist(), np.repeat(X, 2, axis=0)[::2]):
        close(fit_logistic(other, y).coefficients, fit.coefficients)
    close(fit_logistic((8 * X).astype(int), y.astype(bool)).coefficients * 8, fit.coefficients)
    close(fit_logistic(X, y.astype(float).tolist()).coefficients, fit.coefficients)
    X.setflags(write=False)
    fit_logistic(X, y)


@pytest.mark.parametrize("classes", [2, 3])
def test_long_tables(classes):
    "The sample for a start, the secants, blocks and threads change nothing."
    X, y = sample(20_000, 6, classes, 12)
    X += 50
    fit = fit_logistic(X, y)
    assert fit.decrement <= 1e-8 and fit.n_iter <= 2
    design = logistic._scaled(logistic._check(X, y, np.ones(len(y)), True), True)
    assert len(design.blocks()) > 1 and logistic._start(design, 1e-8).any()
    zero = np.zeros((classes - 1, 7))
    point, rounds, gap = logistic._climb(design, logistic._evaluate(design, zero), 1e-10, 50, 0)
    close(theta(fit), point.theta @ design.back.T, rtol=1e-8, atol=1e-10)
    with ThreadPoolExecutor(2) as pool:
        close(theta(fit_logistic(X, y, mapper=pool.map)), theta(fit))
    y = np.sort(y)[::-1].copy()  # whole blocks of one class, and a sample that knows nothing about it
    assert fit_logistic(X, y).decrement <= 1e-8


def test_secants_correct_the_inverse_as_the_formula_of_bfgs_says():
    rng = np.random.default_rng(20)
    A = rng.standard_normal((4, 9)) @ rng.standard_normal((9, 4))
    I0, B = A @ A.T + np.eye(4), np.linalg.inv(A @ A.T + np.eye(4))
    memory = [(p, I0 @ p + .1 * rng.standard_normal(4)) for p in rng.standard_normal((3, 4))]
    for p, q in memory:
        M = np.eye(4) - np.outer(p, q) / (p @ q)
        B = M @ B @ M.T + np.outer(p, p) / (p @ q)
    score = rng.standard_normal((2, 2))
    step, decrement = logistic._step(np.linalg.cholesky(I0), score, memory)
    close(step.ravel(), B @ score.ravel())
    close(decrement, np.sqrt(score.ravel() @ B @ score.ravel()))


def test_a_rare_class_that_the_sample_misses():
    X, y = sample(8000, 2, 2, 13)
    y[[5, 13, 101, 2003, 3333, 4001, 77, 6005]] = 2
    fit = fit_logistic(X, y)
    assert fit.decrement <= 1e-8
    agrees_with_derivatives(X, y, fit)


def test_the_safeguard():
    eight = np.array([[-1, 2106, -3, -1, 15, -2, -1, 0], [1, 2, 74, -2, 142, 0, -3, 2.]]).T
    y = np.array([1, 1, 0, 0, 0, 0, 0, 1])
    fit = fit_logistic(eight, y)
    assert fit.decrement <= 1e-8
    agrees_with_derivatives(eight, y, fit, rtol=1e-2)
    design = logistic._scaled(logistic._check(TEMPERATURE, DISTRESS, np.ones(23), True), True)
    for start in ([[3., 8.]], [[-5., 9.]], [[0., 12.]]):
        point, _, gap = logistic._climb(design, logistic._evaluate(design, np.array(start)), 1e-8, 200, 0)
        close(point.theta @ design.back.T, theta(fit_logistic(TEMPERATURE, DISTRESS)), rtol=1e-7)


# ---- softmax and the symmetric form --------------------------------------------------------------


def test_log_probabilities():
    close(np.exp(log_probabilities([[0., 0.], [np.log(2), np.log(5)]])), [[1 / 3] * 3, [1 / 8, 2 / 8, 5 / 8]])
    assert log_probabilities([[1e300, -1e300]]).tolist() == [[-1e300, 0, -2e300]]
    assert log_probabilities(np.zeros((0, 2))).shape == (0, 3)
    for eta in ([1., 2.], [[np.nan]], [[np.inf]], 3.0):
        with pytest.raises(ValueError, match="eta must be finite, of shape"):
            log_probabilities(eta)


def test_symmetric():
    B = np.random.default_rng(0).normal(size=(3, 5))
    close(symmetric(B).sum(axis=0), np.zeros(5), rtol=0, atol=1e-14)
    close(symmetric(B)[1:] - symmetric(B)[0], B)
    with pytest.raises(ValueError, match="coefficients must have shape"):
        symmetric(B[0])


# ---- separation ----------------------------------------------------------------------------------


def margins(X, y, b, constant=True):
    X1 = np.column_stack([np.ones(len(X)), X]) if constant else X
    eta = np.hstack([np.zeros((len(X), 1)), X1 @ b.T])
    out = eta[np.arange(len(y)), y][:, None] - eta
    return np.delete(out.ravel(), np.arange(len(y)) * eta.shape[1] + y)


def separated_by_one_big_program(X, y, constant=True):
    "Konis's program over all rows, with bounds instead of a normalisation."
    X1, classes = (np.column_stack([np.ones(len(X)), X]) if constant else X), y.max() + 1
    A = np.array([np.kron(np.eye(classes)[y[i]] - np.eye(classes)[k], X1[i])[X1.shape[1]:]
                  for i in range(len(X)) for k in range(classes) if k != y[i]])
    A /= np.abs(A).max(axis=1, keepdims=True).clip(1e-9)
    return -linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=(-1, 1)).fun > 1e-7


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("constant", [True, False])
def test_separation_against_brute_force(classes, constant):
    rng = np.random.default_rng(classes)
    found = []
    for _ in range(60):
        n, p = rng.integers(2 * classes, 12 * classes), rng.integers(1, 4)
        X = rng.integers(-3, 4, (n, p)).astype(float)
        y = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
        if rng.random() < .5: y = np.r_[np.arange(classes), (X[classes:, 0] > 0) * rng.integers(1, classes, n - classes)]
        if rng.random() < .5: X[:classes, 0] = np.r_[-3, np.full(classes - 1, 3)]
        b = separation(X, y, fit_intercept=constant)
        assert (b is not None) == separated_by_one_big_program(X, y, constant)
        found.append(b is not None)
        if b is not None:
            assert b.shape == (classes - 1, p + constant) and abs(abs(b[:, int(constant):]).max() - 1) < 1e-12
            m = margins(X, y, b, constant)
            assert m.min() > -1e-7 and m.max() > 1e-3
        if np.linalg.matrix_rank(np.column_stack([np.ones((n, int(constant))), X])) < p + constant: continue
        if b is None: assert fit_logistic(X, y, fit_intercept=constant).decrement <= 1e-8
        else:
            with pytest.raises(SeparationError, match="no maximum likelihood estimate exists"):
                fit_logistic(X, y, fit_intercept=constant)
    assert 5 < sum(found) < 55


def test_separation_of_long_tables():
    X, y = sample(30_000, 5, 2, 14)
    assert separation(X, y) is None
    X[:, 3] = (np.random.default_rng(0).random(30_000) < .002) & (y == 1)
    b = separation(X, y)
    close(b, [[0, 0, 0, 0, 1, 0]], atol=1e-12)
    with pytest.raises(SeparationError, match=r"class 1 against class 0 along \+1 \* column 3 \(\d+ of 30000 rows gain, none loses\)") as caught:
        fit_logistic(X, y)
    close(caught.value.direction, b)
    y = (X[:, 0] + X[:, 1] > .3).astype(int)
    assert margins(X, y, separation(X, y)).min() > -1e-6
    with pytest.raises(SeparationError, match="along .* column 0 .* column 1"):
        fit_logistic(X, y)


def test_rows_without_weight_have_no_say():
    x, y, weight = np.arange(9.)[:, None], np.repeat([0, 1, 0], [4, 4, 1]), np.r_[np.ones(8), 0]
    assert separation(x, y) is None and fit_logistic(x, y).decrement <= 1e-8
    assert separation(x, y, weight) is not None
    with pytest.raises(SeparationError, match="of 8 rows gain"):
        fit_logistic(x, y, weight)


def test_a_point_that_overlaps_by_a_hair():
    x, y = np.arange(20.)[:, None], (np.arange(20) >= 10).astype(int)
    for hair in (1e-2, 1e-4, 1e-6):
        x[9] = 10 + hair
        assert separation(x, y) is None
        fit = fit_logistic(x, y)
        assert fit.decrement <= 1e-8 and fit.coefficients[0, 0] > 2
    x[9] = 10
    assert separation(x, y) is not None
    x[9] = 10 - 1e-6
    close(separation(x, y)[:, 1], [1])


def test_separation_is_not_asked_where_the_fit_proves_itself(monkeypatch):
    def fail(design): raise AssertionError("the program was run")
    monkeypatch.setattr(logistic, "_separating", fail)
    for n, p, classes, size in CASES.values():
        fit_logistic(*sample(n, p, classes, 3, size))
    X, y = sample(400, 2, 2, 15)
    X[0] = 3000 * (2 * y[0] - 1) * fit_logistic(X, y).coefficients[0]  # a row with a weight of 0 to rounding, on the right side
    fit = fit_logistic(X, y)
    design = logistic._scaled(logistic._check(X, y, np.ones(400), True), True)
    point = logistic._climb(design, logistic._evaluate(design, np.zeros((1, 3))), 1e-8, 50, 0)[0]
    assert fit.decrement <= 1e-8 and point.least < 1e-30
    with pytest.raises(AssertionError, match="the program was run"):
        fit_logistic(np.arange(8.)[:, None], np.repeat([0, 1], 4))


def test_the_certificate_never_certifies_separated_data():
    rng = np.random.default_rng(16)
    for _ in range(20):
        X = rng.standard_normal((40, 2))
        y = (X[:, 0] > .2).astype(int)
        y[:6], X[:6, 0] = rng.integers(0, 2, 6), .2  # quasi-complete
        if len(set(y)) < 2: continue
        design = logistic._scaled(logistic._check(X, y, np.ones(40), True), True)
        point = logistic._evaluate(design, np.zeros((1, 3)))
        for _ in range(25):
            step, gap = logistic._step(logistic._factor(point.information, 0), point.score)
            assert not logistic._certain(design, point, gap)
            point = logistic._advance(design, point, step, gap)


def test_perfectly_predicted_classes():
    X, y = sample(200, 2, 3, 17)
    X = np.column_stack([X, y == 2])
    with pytest.raises(SeparationError, match="class 2 against class 0 along .*1 \\* mark"):
        fit_logistic(X, y, names=["a", "b", "mark"])
    X, y = load_iris(return_X_y=True)
    with pytest.raises(SeparationError, match="petal"):
        fit_logistic(X, y, names=["sepal length", "sepal width", "petal length", "petal width"])


# ---- dependent columns ---------------------------------------------------------------------------


@pytest.mark.parametrize("columns, words", [
    (lambda X: [X[:, 0], X[:, 1], X[:, 0] - 2 * X[:, 1]], r"only 3 independent columns of 4.* is determined by .*column \d and .*column \d"),
    (lambda X: [X[:, 0], X[:, 1], X[:, 0]], "column [02] is determined by column [02]; leave"),
    (lambda X: [X[:, 0], np.full(200, 3.3)], "(column 1|the constant) is determined by (column 1|the constant)"),
    (lambda X: [X[:, 0] > 0, X[:, 0] <= 0], "only 2 independent columns of 3"),
    (lambda X: [X[:, 0], 1e9 + 0 * X[:, 0]], "only 2 independent columns of 3"),
])
def test_dependent_columns_are_named(columns, words):
    X, y = sample(200, 2, 2, 18)
    with pytest.raises(ValueError, match=words):
        fit_logistic(np.column_stack(columns(X)), y)


def test_dependent_columns_without_a_constant_and_more_columns_than_rows():
    X, y = sample(200, 2, 2, 19)
    with pytest.raises(ValueError, match="zero is zero everywhere"):
        fit_logistic(np.column_stack([X, np.zeros(200)]), y, fit_intercept=False, names=["a", "b", "zero"])
    fit_logistic(np.column_stack([X, np.ones(200)]), y, fit_intercept=False)
    for n in (4, 6):
        with pytest.raises(ValueError, match=f"only {n} independent columns of 9, from {n} rows"):
            fit_logistic(np.random.default_rng(0).standard_normal((n, 8)), np.arange(n) % 2)


# ---- refusals and warnings -----------------------------------------------------------------------


@pytest.mark.parametrize("change, words", [
    (dict(X=TEMPERATURE[:, 0]), r"X must have shape \(n, p\) and y shape \(n,\), got \(23,\) and \(23,\)"),
    (dict(y=DISTRESS[:-1]), "got .* and .22"), (dict(X=np.zeros((0, 1)), y=[]), "X must have shape"),
    (dict(X=np.where(TEMPERATURE == 53, np.nan, TEMPERATURE)), "NaN or infinity in column 0"),
    (dict(X=np.where(TEMPERATURE == 53, np.inf, TEMPERATURE)), "NaN or infinity in column 0"),
    (dict(y=DISTRESS - 1), "class codes 0, 1, 2"), (dict(y=DISTRESS + .5), "class codes"), (dict(y=["a"] * 23), "np.unique"),
    (dict(y=np.full(23, np.nan)), "class codes"), (dict(y=DISTRESS * 1_000_000), "class codes"),
    (dict(y=2 * DISTRESS), r"every class must occur, and at least two, got weights \[16.0, 0.0, 7.0\]"),
    (dict(y=np.zeros(23, int)), "at least two"), (dict(weight=1 - DISTRESS), r"got weights \[16.0, 0.0\]"),
    (dict(weight=np.full(23, -1)), "weight must hold one finite number >= 0"), (dict(weight=np.ones(22)), "for each of the 23 rows"),
    (dict(weight=np.full(23, np.nan)), "weight must"), (dict(X=1e200 * TEMPERATURE), "column 0 varies by .* rescale it"),
    (dict(X=1e-200 * TEMPERATURE), "rescale it"), (dict(tol=0), "need tol > 0"), (dict(tol=np.nan), "need tol"),
    (dict(max_iter=0), "max_iter >= 1"), (dict(names=["a", "b"]), "a name for each of the 1 columns"),
    (dict(X=np.where(TEMPERATURE == 53, np.inf, -TEMPERATURE) * np.where(TEMPERATURE == 57, -np.inf, 1)), "in column 0"), (dict(X=np.zeros((23, 0)), fit_intercept=False), "X must have shape"),
])
def test_refusals(change, words):
    with pytest.raises(ValueError, match=words):
        fit_logistic(**{"X": TEMPERATURE, "y": DISTRESS, **change})


def test_too_few_rounds_are_reported():
    with pytest.warns(ConvergenceWarning, match="after 2 rounds the top is still .* standard errors away"):
        fit = fit_logistic(TEMPERATURE, DISTRESS, max_iter=2)
    assert fit.n_iter == 2 and fit.decrement > 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_logistic(TEMPERATURE, DISTRESS, max_iter=6)
        assert fit_logistic(TEMPERATURE, DISTRESS, tol=1e-20).decrement <= 1e-13
