"""Closed-form estimates from sufficient statistics: loops, other libraries, invariances, the families' layout, refusals."""
from math import factorial

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture._gaussian_mixture import _estimate_gaussian_parameters

from strict import equal, no_warnings  # noqa: F401, a fixture
import emlit.closed_forms as closed_forms
from emlit import families
from emlit.closed_forms import (
    features, mle_bernoulli, mle_categorical, mle_exponential, mle_gaussian, mle_poisson, sufficient_statistics)
from emlit.data import load_faithful
from emlit.likelihood import numerical_gradient

KINDS = ["full", "tied", "diag", "spherical"]
FAMILIES = ["bernoulli", "poisson", "exponential", "categorical", *KINDS]
N, D, K = 60, 3, 4


def sample(family, n=N, d=D, seed=1):
    rng = np.random.default_rng(seed)
    draw = {"bernoulli": lambda: rng.random((n, d)) < .3, "poisson": lambda: rng.poisson(2.5, (n, d)),
            "exponential": lambda: rng.exponential(3., (n, d)), "categorical": lambda: rng.integers(0, 4, (n, d))}
    return np.asarray(draw.get(family, lambda: rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5)(), dtype=float)


def groups(n=N, k=K, seed=2):
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)


def estimate(family, moments):
    "The estimates as a tuple of arrays."
    if family in KINDS:
        return mle_gaussian(moments, family)
    if family == "categorical":
        return (mle_categorical(moments, 4),)
    return ({"bernoulli": mle_bernoulli, "poisson": mle_poisson, "exponential": mle_exponential}[family](moments),)


def log_likelihood(family, X, w, theta):
    "By scipy, one group, rows weighted."
    if family == "categorical":
        return (w[:, None] * np.log(np.take_along_axis(theta[0].T, X.astype(int), axis=0))).sum()
    if family in KINDS:
        mean, C = theta
        return w @ stats.multivariate_normal(mean, C if family in ("full", "tied") else C * np.eye(len(mean))).logpdf(X)
    model = {"bernoulli": stats.bernoulli, "poisson": stats.poisson}.get(family)
    logs = model(theta[0]).logpmf(X) if model else stats.expon(scale=1 / theta[0]).logpdf(X)
    return w @ logs.sum(axis=1)


def statistics(family, X, weights=None):
    return sufficient_statistics(X, family, weights, levels=4 if family == "categorical" else None)


def test_every_public_name_is_tested_here():
    assert set(closed_forms.__all__) == {"features", "mle_bernoulli", "mle_categorical", "mle_exponential", "mle_gaussian",
                                         "mle_poisson", "sufficient_statistics"}


def test_features_row_by_row():
    "Each T(x) against a loop in plain Python."
    a, b, c = 2., 0., 3.
    expected = {"bernoulli": None, "poisson": [a, b, c, -np.log(factorial(2) * factorial(0) * factorial(3))], "exponential": [a, b, c],
                "categorical": [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1], "full": [a, b, c, a * a, b * b, c * c, a * b, b * c, c * a],
                "tied": [a, b, c, a * a, b * b, c * c, a * b, b * c, c * a], "diag": [a, b, c, a * a, b * b, c * c],
                "spherical": [a, b, c, a * a + b * b + c * c]}
    for family in FAMILIES:
        if expected[family]:
            equal(features([[a, b, c]], family, 4), [[1, *expected[family]]])
    equal(features([[1, 0, 1]], "bernoulli"), [[1, 1, 0, 1]])


@pytest.mark.parametrize("family", FAMILIES)
def test_statistics_are_weighted_sums(family):
    X, W = sample(family), groups()
    T = [features(row[None], family, 4)[0] for row in X]
    loop = [[sum(W[n, k] * T[n][m] for n in range(N)) for m in range(len(T[0]))] for k in range(K)]
    equal(statistics(family, X, W), loop)
    equal(statistics(family, X, W[:, 1]), loop[1:2])
    equal(statistics(family, X), np.sum(T, axis=0)[None])
    equal(statistics(family, X[:20], W[:20]) + statistics(family, X[20:], W[20:]), loop)
    whole = np.arange(N) % 3
    equal(statistics(family, X, whole), statistics(family, np.repeat(X, whole, axis=0)))


@pytest.mark.parametrize("family, member", [
    ("poisson", families.Poisson()), ("bernoulli", families.Bernoulli()), ("categorical", families.Categorical(4)),
    ("full", families.Full()), ("tied", families.Tied()), ("diag", families.Diag()), ("spherical", families.Spherical())])
def test_the_families_of_the_mixtures_say_the_same(family, member):
    "The same layout of T(x) as emlit.families, and the same parameters bit by bit."
    X, W = sample(family), groups()
    out = np.empty((member.size(D), N))
    member.features(X.T, out)
    equal(features(X, family, 4), out.T)
    moments = statistics(family, X, W)
    for mine, theirs in zip(estimate(family, moments), member.parameters(moments), strict=True):
        assert mine.shape == theirs.shape and (mine == theirs).all()


def test_discrete_estimates_against_loops():
    W = groups()
    for family in ("bernoulli", "poisson", "exponential"):
        X = sample(family)
        mean = [[sum(W[n, k] * X[n, j] for n in range(N)) / sum(W[:, k]) for j in range(D)] for k in range(K)]
        equal(estimate(family, statistics(family, X, W))[0], 1 / np.array(mean) if family == "exponential" else mean)
    X = sample("categorical")
    shares = [[[W[X[:, j] == c, k].sum() / W[:, k].sum() for c in range(4)] for j in range(D)] for k in range(K)]
    equal(estimate("categorical", statistics("categorical", X, W))[0], shares)


@pytest.mark.parametrize("kind", KINDS)
def test_gaussians_against_numpy_and_scikit_learn(kind):
    X, W = sample(kind), groups()
    means, covariances = mle_gaussian(statistics(kind, X, W), kind)
    _, theirs, matrices = _estimate_gaussian_parameters(X, W, 0., kind)
    equal(means, theirs)
    equal(covariances, matrices, rtol=1e-9)
    own = np.array([np.cov(X.T, aweights=w, bias=True) for w in W.T])
    equal(covariances, {"full": own, "tied": np.einsum("k,kij->ij", W.sum(axis=0) / N, own), "diag": own.diagonal(axis1=1, axis2=2),
                        "spherical": own.trace(axis1=1, axis2=2) / D}[kind], rtol=1e-9)


def test_published_values():
    "Bortkiewicz's horse kicks, Old Faithful's log-likelihood under one Gaussian, scipy's own fits."
    deaths = np.repeat([0, 1, 2, 3, 4], [109, 65, 22, 3, 1])[:, None]
    equal(mle_poisson(statistics("poisson", deaths)), [[.61]])
    X = load_faithful().X
    mean, C = (a[0] for a in mle_gaussian(statistics("full", X)))
    assert round(float(stats.multivariate_normal(mean, C).logpdf(X).sum()), 4) == -1289.7967
    m, s = stats.norm.fit(X[:, 0])
    got = mle_gaussian(statistics("diag", X[:, :1]), "diag")
    equal(got[0], [[m]])
    equal(got[1], [[s**2]])
    waits = sample("exponential")[:, :1]
    equal(mle_exponential(statistics("exponential", waits)), [[1 / stats.expon.fit(waits, floc=0)[1]]])


def moved(family, theta, rng):
    "Feasible parameters a little away."
    size = 10**rng.uniform(-6, -.5)
    if family == "categorical":
        p = theta[0] * np.exp(size * rng.normal(size=theta[0].shape))
        return (p / p.sum(axis=-1, keepdims=True),)
    if family == "bernoulli":
        odds = theta[0] / (1 - theta[0]) * np.exp(size * rng.normal(size=theta[0].shape))
        return (odds / (1 + odds),)
    if family not in KINDS:
        return (theta[0] * np.exp(size * rng.normal(size=theta[0].shape)),)
    mean, C = theta
    if family in ("full", "tied"):
        A = np.eye(len(mean)) + size * rng.normal(size=C.shape)
        return mean + size * rng.normal(size=mean.shape), A @ C @ A.T
    return mean + size * rng.normal(size=mean.shape), C * np.exp(size * rng.normal(size=np.shape(C)))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_feasible_move_improves(family):
    X, w, rng = sample(family), groups()[:, 0], np.random.default_rng(7)
    found = estimate(family, statistics(family, X, w))
    theta = tuple(a if family == "tied" and a.shape == (D, D) else a[0] for a in found)
    top = log_likelihood(family, X, w, theta)
    for _ in range(200):
        assert log_likelihood(family, X, w, moved(family, theta, rng)) <= top + 1e-12 * abs(top)


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "exponential"])
def test_scores_are_zero(family):
    X, w = sample(family), groups()[:, 0]
    theta = estimate(family, statistics(family, X, w))[0][0]
    slope = numerical_gradient(lambda t: log_likelihood(family, X, w, (t,)), theta)
    assert abs(slope * theta).max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_scale_of_the_weights_and_order_of_the_rows_do_not_matter(family):
    X, W = sample(family), groups()
    order = np.random.default_rng(3).permutation(N)
    first = estimate(family, statistics(family, X, W))
    for again in (estimate(family, statistics(family, X, 8 * W)), estimate(family, statistics(family, X[order], W[order]))):
        for a, b in zip(first, again, strict=True):
            equal(a, b)
    swapped = estimate(family, statistics(family, X, W[:, ::-1]))
    equal(swapped[0], first[0][::-1])


def test_affine_equivariance():
    X, W, A, b = sample("full"), groups(), np.array([[2., 1, 0], [0, 1, -1], [.5, 0, 3]]), np.array([1., -2, 3])
    means, C = mle_gaussian(statistics("full", X, W))
    means_after, C_after = mle_gaussian(statistics("full", X @ A.T + b, W))
    equal(means_after, means @ A.T + b)
    equal(C_after, A @ C @ A.T, rtol=1e-8)


def test_a_large_stack_of_groups_and_wide_rows():
    X = np.random.default_rng(5).normal(size=(50, 12))
    means, C = mle_gaussian(statistics("full", X, np.eye(50) + .1))
    assert means.shape == (50, 12) and C.shape == (50, 12, 12)
    assert (C == C.mT).all() and np.linalg.eigvalsh(C).min() > -1e-12


def test_borders_and_singular_matrices_are_returned():
    equal(mle_bernoulli([[10., 10.]]), [[1.]])
    _, C = mle_gaussian(statistics("full", [[0., 0.], [2., 1.]]))
    assert abs(np.linalg.det(C[0])) < 1e-15
    equal(mle_gaussian(statistics("diag", [[3., 4.]]), "diag")[1], [[0., 0.]])


def test_lists_and_other_numbers_are_taken():
    for X in ([[1, 0], [0, 1]], np.array([[1, 0], [0, 1]], dtype=np.int8), np.array([[True, False], [False, True]])):
        equal(mle_bernoulli(sufficient_statistics(X, "bernoulli")), [[.5, .5]])


@pytest.mark.parametrize("call, words", [
    (lambda: features([[0., 1.]], "gauss"), "family must be one of bernoulli, .*got 'gauss'"),
    (lambda: features([0., 1.], "diag"), r"X has shape \(2,\): pass rows and columns"),
    (lambda: features(np.empty((0, 2)), "diag"), r"X has shape \(0, 2\)"),
    (lambda: features([[0., np.nan]], "diag"), "X holds nan in row 0, column 1, and 'diag' takes finite numbers"),
    (lambda: features([[np.inf]], "exponential"), "X holds inf"),
    (lambda: features([[np.inf]], "poisson"), "X holds inf"),
    (lambda: features([[0.], [-1.]], "exponential"), "X holds -1 in row 1, column 0"),
    (lambda: features([[2.]], "bernoulli"), "takes 0 or 1"),
    (lambda: features([[-1.]], "poisson"), "takes counts"),
    (lambda: features([[2., .5]], "poisson"), "X holds 0.5 in row 0, column 1, and 'poisson' takes counts"),
    (lambda: features([[4.]], "categorical", 4), "whole numbers from 0 to levels - 1"),
    (lambda: features([[1.]], "categorical"), "levels must be a whole number above 0 .*got None"),
    (lambda: features([[1.]], "categorical", 2.5), "levels must be a whole number above 0 .*got 2.5"),
    (lambda: sufficient_statistics([[1.]], "diag", [1., 1.]), r"weights have shape \(2,\) and X has 1 rows"),
    (lambda: sufficient_statistics([[1.]], "diag", [np.nan]), "weights must be finite and not negative, got nan"),
    (lambda: sufficient_statistics([[1.]], "diag", [[[1.]]]), "weights have shape"),
    (lambda: mle_bernoulli([1., 1.]), r"moments have shape \(2,\)"),
    (lambda: mle_bernoulli([[0., 0.]]), "must be above 0"),
    (lambda: mle_bernoulli([[1.]]), r"moments have shape \(1, 1\)"),
    (lambda: mle_poisson([[np.nan, 1., 1.]]), "must be above 0"),
    (lambda: mle_exponential([[2., 1., 0.]]), "mean wait of 0"),
    (lambda: mle_categorical([[1., 1., 0., 1.]], 2), "3 columns after the count, which is no multiple of levels = 2"),
    (lambda: mle_categorical([[1., 1.]], 0), "no multiple of levels = 0"),
    (lambda: mle_categorical([[1., 1.]], 1.5), "no multiple of levels = 1.5"),
    (lambda: mle_gaussian([[1., 1., 1.]], "Full"), "kind must be one of full, tied, diag, spherical, got 'Full'"),
    (lambda: mle_gaussian([[1., 1., 1., 1.]], "full"), "moments have 3 columns after the count"),
    (lambda: mle_gaussian([[1., 1., 1., 1.]], "diag"), "moments have 3 columns after the count"),
    (lambda: mle_gaussian([[0., 1., 1.]], "tied"), "must be above 0"),
])
def test_errors_name_what_is_wrong(call, words):
    with pytest.raises(ValueError, match=words):
        call()
