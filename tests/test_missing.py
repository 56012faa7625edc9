"""Rows with holes: the E-step by pattern, the fit of mixtures to arrays with NaN, and what is refused."""
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from strict import equal, no_warnings, quiet  # noqa: F401, a fixture
from emlit import GaussianMixture, missing, mixture
from emlit.em import e_step, em
from emlit.families import GAUSSIANS, MixtureModel, Poisson, _moments, _Natural, _theta, _Whitened
from emlit.gaussian import Prior, _placed_anew
from emlit.gmm import CollapseError, full_covariances
from emlit.missing import Holes, conditionals, expected_by_row, given_observed, group_patterns, load_murray

KINDS, NAN = list(GAUSSIANS), np.nan


def some_theta(k, d, kind, seed=0):
    rng = np.random.default_rng(seed)
    A, weights = rng.normal(size=(k, d, 2 * d)), rng.uniform(1, 2, k)
    C = A @ A.mT / (2 * d)
    return weights / weights.sum(), 2 * rng.normal(size=(k, d)), {
        "full": C, "tied": C[0], "diag": C.diagonal(axis1=1, axis2=2).copy(), "spherical": C[:, 0, 0].copy()}[kind]


def pierced(X, share, seed=0, empty=False):
    "X with a share of the values missing, at least one of each row left unless `empty`."
    X, rng = np.array(X, dtype=float), np.random.default_rng(seed)
    keep = rng.integers(X.shape[1], size=len(X))
    holes = rng.random(X.shape) < share
    if not empty:
        holes[np.arange(len(X)), keep] = False
    X[holes] = NAN
    return X


def groups(n=400, d=3, share=.2, seed=0, apart=6.0):
    "Two groups in d correlated columns, with holes."
    rng = np.random.default_rng(seed)
    mixing = np.eye(d) + .5 * np.eye(d, k=1)
    return pierced(rng.normal(size=(n, d)) @ mixing + apart * (rng.random((n, 1)) < .4), share, seed)


def by_row(X, theta, kind, weight=None):
    "M-step and log-likelihood from the loop over rows."
    weights, means, C = theta
    k, d = means.shape
    matrices = full_covariances(C, kind, k, d)
    parts = [expected_by_row([x], weights, means, matrices) for x in X]
    w = np.ones(len(X)) if weight is None else weight
    N, s, S, value = (sum(v * part[i] for v, part in zip(w, parts)) for i in range(4))
    m = s / N[:, None]
    V = S / N[:, None, None] - m[:, :, None] * m[:, None]
    V = {"full": V, "tied": np.tensordot(N / N.sum(), V, 1), "diag": V.diagonal(axis1=1, axis2=2),
         "spherical": V.diagonal(axis1=1, axis2=2).mean(axis=1)}[kind]
    return (N / N.sum(), m, V), value


# ---- one row -------------------------------------------------------------------------------------


def test_given_observed_by_quadrature():
    "Density, mean and variance of the hole are integrals of the joint density, in three columns with one hole."
    _, (mean,), (C,) = some_theta(1, 3, "full", 5)
    pdf, x = multivariate_normal(mean, C).pdf, np.array([.4, -.3, 1.1])
    for hole in range(3):
        at = lambda t: np.where(np.arange(3) == hole, t, x)
        a, b, c = (quad(lambda t: t**p * pdf(at(t)), -30, 30, epsabs=1e-14, epsrel=1e-12, limit=300, points=[mean[hole]])[0] for p in range(3))
        expected, V, log_density = given_observed(np.where(np.arange(3) == hole, NAN, x), mean, C)
        equal([log_density, expected[hole], V[hole, hole]], [np.log(a), b / a, c / a - (b / a)**2], rtol=1e-7)
        equal(np.delete(expected, hole), np.delete(x, hole))
        assert np.count_nonzero(V) == 1


def test_given_observed_ends():
    _, (mean,), (C,) = some_theta(1, 4, "full", 1)
    whole, nothing = given_observed(np.ones(4), mean, C), given_observed(np.full(4, NAN), mean, C)
    equal(np.float64(whole[2]), multivariate_normal(mean, C).logpdf(np.ones(4)))
    equal(nothing[0], mean)
    equal(nothing[1], C)
    assert not whole[1].any() and nothing[2] == 0
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(4,\) and \(4, 4\)"):
        given_observed([1, 2, 3], mean, C)


def test_conditionals():
    "All patterns of four columns at once, against one row at a time."
    _, means, C = some_theta(3, 4, "full", 2)
    observed, x = np.array(list(np.ndindex(2, 2, 2, 2)), dtype=bool), np.random.default_rng(0).normal(size=4)
    B, V = conditionals(C, observed)
    assert B.shape == V.shape == (16, 3, 4, 4)
    for p, o in enumerate(observed):
        for k in range(3):
            expected, left, _ = given_observed(np.where(o, x, NAN), means[k], C[k])
            equal(means[k] + B[p, k] @ np.where(o, x - means[k], 0), expected, rtol=1e-9)
            equal(V[p, k], left, rtol=1e-9, atol=1e-13)
            assert not B[p, k][:, ~o].any() and (B[p, k][o] == np.eye(4)[o]).all()
    with pytest.raises(ValueError, match=r"shapes \(3, 4, 4\) and \(16, 2\)"):
        conditionals(C, observed[:, :2])


def test_columns_that_are_nearly_copies():
    "What is left over of a copy with noise 1e-6 keeps its digits."
    for noise in (1e-2, 1e-4, 1e-6):
        L = np.array([[[1, 0, 0], [1, noise, 0], [.5, 0, 1]]])
        Q, inverse, log_det = missing._orthonormal(L, np.array([[True, False, True]]))
        V = L[0] @ (np.eye(3) - Q[0, 0].T @ Q[0, 0]) @ L[0].T
        equal(V[1, 1], noise**2, rtol=1e-6)
        equal(log_det, [[0.]], atol=1e-15)


@pytest.mark.parametrize("noise", [None, 1e-6])
def test_large_matrices(noise):
    "Reflections, for many columns, against Gram and Schmidt; also where columns are nearly copies, and for empty and complete rows."
    rng = np.random.default_rng(0)
    A, observed = rng.normal(size=(2, 34, 68)), rng.random((20, 34)) < .7
    observed[0], observed[1], observed[2] = True, False, np.arange(34) % 2
    L = np.linalg.cholesky(A @ A.mT)
    if noise:
        L[:, 5] = L[:, 4]
        L[:, 5, 5] = noise
    Q, inverse, log_det = missing._by_reflections(L, observed)
    rtol = 1e-9 if noise is None else 1e-7
    equal(Q.mT @ Q @ Q.mT, Q.mT, atol=1e-12)
    assert not inverse.transpose(0, 3, 1, 2)[~observed].any()
    rows = L @ rng.normal(size=(34, 1))                                  # a row that the Gaussian may well give
    for p, o in enumerate(observed):
        for f in range(2):
            C = (L[f] @ L[f].T)[np.ix_(o, o)]
            equal(inverse[p, f] @ rows[f], Q[p, f] @ np.linalg.solve(L[f], rows[f]), rtol=rtol, atol=1e-8)
            equal(L[f][o] @ Q[p, f].T @ Q[p, f] @ L[f][o].T, C, rtol=1e-9, atol=1e-10)
            if noise is None:
                equal(log_det[p, f], .5 * np.linalg.slogdet(C)[1], rtol=1e-9, atol=1e-12)


def test_many_columns_as_by_row():
    "Forty columns, each row with a pattern of its own."
    theta, X = some_theta(2, 40, "full"), pierced(np.random.default_rng(1).normal(size=(60, 40)), .3)
    expected = missing._expected(group_patterns(X), _Whitened(GAUSSIANS["full"], theta[0], theta[1:]))
    new, value = by_row(X, theta, "full")
    equal(np.float64(expected.log_likelihood), value, rtol=1e-11)
    means, C = _theta(GAUSSIANS["full"], "whitened", expected.statistics["whitened"], theta[0], theta[1:])
    equal(means, new[1], rtol=1e-8, atol=1e-10)
    equal(C, new[2], rtol=1e-8, atol=1e-10)


# ---- grouping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 9, 64, 70, 131])
def test_patterns(d):
    "Each row once; rows of a group have the same holes; no two groups have the same; complete ones first."
    rng = np.random.default_rng(d)
    X = rng.normal(size=(300, d))
    X[np.ix_(range(100, 300), rng.choice(d, max(1, d // 3), replace=False))] = NAN
    X[200:, -1] = NAN
    X[20:100, -2:] = np.where(np.arange(80)[:, None] % 2 == [0, 1], NAN, 1.)[:, :min(d, 2)]    # differ in the last word only
    order, first, observed = missing._patterns(X)
    np.testing.assert_array_equal(np.sort(order), np.arange(300))
    np.testing.assert_array_equal(np.repeat(observed, np.diff(first, append=300), axis=0), ~np.isnan(X[order]))
    assert len(np.unique(observed, axis=0)) == len(observed) and observed[0].all()
    assert (np.diff((~observed).sum(axis=1)) >= 0).all()


def test_group_patterns():
    X, w = pierced(np.random.default_rng(0).normal(size=(50, 4)), .3, empty=True), np.arange(50) + 1.
    holes = group_patterns(X, w)
    assert isinstance(holes, Holes) and not np.isnan(holes.rows).any()
    np.testing.assert_array_equal(np.where(np.repeat(holes.observed, holes.sizes(), axis=0), holes.rows, NAN), X[holes.order])
    np.testing.assert_array_equal(holes.weight, w[holes.order])
    for a, b in [(0, 50), (3, 4), (7, 31)]:
        part = holes.part(a, b)
        np.testing.assert_array_equal(np.repeat(part.observed, part.sizes(), axis=0), ~np.isnan(X[holes.order[a:b]]))
        np.testing.assert_array_equal(part.weight, holes.weight[a:b])
        assert part.first[0] == 0 and (part.sizes() > 0).all()
    assert group_patterns(X.astype(np.float32)).rows.dtype == np.float32


@pytest.mark.parametrize("X, w, error, words", [
    ([[1, np.inf]], None, ValueError, "infinity"), (np.empty((0, 3)), None, ValueError, r"shape \(0, 3\)"), (np.empty((3, 0)), None, ValueError, "at least one"), ([1., 2], None, ValueError, r"X has shape \(2,\)"), ([["a"]], None, TypeError, "not real numbers"),
    ([[1.], [2]], [1.], ValueError, "sample_weight"), ([[1.]], [NAN], ValueError, "sample_weight")])
def test_group_patterns_refuses(X, w, error, words):
    with pytest.raises(error, match=words):
        group_patterns(X, w)


# ---- the E-step ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [_Natural, _Whitened])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_by_pattern_as_by_row(kind, form, k, weighted):
    theta, X = some_theta(k, 4, kind), pierced(np.random.default_rng(1).normal(size=(120, 4)) * 2, .35, empty=True)
    w = np.random.default_rng(2).uniform(0, 2, 120) if weighted else None
    bound = form(GAUSSIANS[kind], theta[0], theta[1:])
    expected = missing._expected(group_patterns(X, w), bound)
    (name, sums), = expected.statistics.items()
    new, value = by_row(X, theta, kind, w)
    assert name == form.name and expected.weight == pytest.approx(120 if w is None else w.sum(), rel=1e-14)
    equal(np.float64(expected.log_likelihood), value, rtol=1e-12)
    equal(sums[:, 0] / sums[:, 0].sum(), new[0])
    means, C = _theta(GAUSSIANS[kind], name, sums, theta[0], theta[1:])
    equal(means, new[1], rtol=1e-9, atol=1e-12)
    equal(C, new[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [_Natural, _Whitened])
def test_complete_rows_in_holes(kind, form):
    "Complete rows as a block with one pattern give what the fast code gives."
    theta, X = some_theta(3, 5, kind), np.random.default_rng(1).normal(size=(700, 5))
    bound = form(GAUSSIANS[kind], theta[0], theta[1:])
    fast, ours = missing._expected(X, bound), missing._expected(group_patterns(X), bound)
    equal(np.float64(ours.log_likelihood), fast.log_likelihood, rtol=1e-12)
    for a, b in zip(*(_theta(GAUSSIANS[kind], form.name, e.statistics[form.name], theta[0], theta[1:]) for e in (ours, fast))):
        equal(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_blocks_add_up(kind, monkeypatch):
    "In small parts, in blocks, in threads: the same sums."
    theta, X = some_theta(2, 3, kind), pierced(np.random.default_rng(1).normal(size=(500, 3)), .3, empty=True)
    model, holes = MixtureModel(GAUSSIANS[kind]), group_patterns(X)
    whole = e_step(model, theta, holes)
    cuts = [0, 3, 4, 77, 300, 500]
    pieces = [holes.part(a, b) for a, b in zip(cuts, cuts[1:])]
    with ThreadPoolExecutor(3) as pool:
        parts = e_step(model, theta, lambda: iter(pieces), pool.map)
    monkeypatch.setattr(missing, "_NUMBERS", 300)
    assert len(list(missing._parts(holes, GAUSSIANS[kind].form(theta[0], theta[1:])))) > 5
    for other in (parts, e_step(model, theta, holes)):
        equal(np.float64(other.log_likelihood), whole.log_likelihood, rtol=1e-12)
        for name, sums in whole.statistics.items():
            equal(other.statistics[name], sums, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_table_in_the_order_of_the_rows(kind):
    theta, X = some_theta(3, 4, kind), pierced(np.random.default_rng(4).normal(size=(90, 4)), .3, empty=True)
    model = MixtureModel(GAUSSIANS[kind])
    matrices = full_covariances(theta[2], kind, 3, 4)
    desired = [[np.log(w) + given_observed(x, m, C)[2] for w, m, C in zip(theta[0], theta[1], matrices)] for x in X]
    equal(model.log_joint(theta, X), desired, atol=1e-11)
    equal(model.log_joint(theta, group_patterns(X)), desired, atol=1e-11)
    R = softmax(desired, axis=1)
    form = GAUSSIANS[kind].form(theta[0], theta[1:])
    equal(_moments(group_patterns(X), form, R), missing._expected(group_patterns(X), form).statistics[form.name], rtol=1e-9, atol=1e-9)


def test_other_families_still_refuse():
    model, params = MixtureModel(Poisson()), (np.ones(1), np.ones((1, 2)))
    with pytest.raises(ValueError, match="X holds nan in column 1"):
        model.log_joint(params, np.array([[1, 2], [3, NAN]]))
    with pytest.raises(ValueError, match="X holds nan in column 1"):
        e_step(MixtureModel(GAUSSIANS["full"]), some_theta(1, 2, "full"), np.array([[1, 2], [3, NAN]]))


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_zero(kind):
    "An offset of 1e8 changes the fit by no more than the rounding of the data."
    X = np.round(groups(300, 3, .25, 1) * 64) / 64                       # such numbers lose no digits when 2^27 is added
    start = dict(covariance_type=kind, random_state=0, means_init=[[0, 0, 0], [6, 6, 6]])
    near, far = GaussianMixture(2, **start).fit(X), GaussianMixture(2, **start | {"means_init": np.array(start["means_init"]) + 2.0**27}).fit(X + 2.0**27)
    equal(far.means_ - 2.0**27, near.means_, rtol=1e-6, atol=1e-7)
    equal(far.covariances_, near.covariances_, rtol=1e-6, atol=1e-8)


def test_whitened_where_it_must_be():
    "Components far narrower than the data: the whitened form is chosen, and the values agree with the loop around a near point."
    rng = np.random.default_rng(0)
    z = rng.integers(2, size=200)
    X = pierced(1e-6 * rng.normal(size=(200, 3)) + z[:, None], .2)
    theta = np.array([.5, .5]), np.array([[0.] * 3, [1.] * 3]), np.tile(1e-12 * np.eye(3), (2, 1, 1))
    model = MixtureModel(GAUSSIANS["full"])
    expected = e_step(model, theta, group_patterns(X))
    assert list(expected.statistics) == ["whitened"]
    new, value = by_row(X, theta, "full")
    equal(np.float64(expected.log_likelihood), value, rtol=1e-12)
    equal(model.maximization(expected, theta)[1], new[1], rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("kind", KINDS)
def test_units(kind):
    "Other units change densities by the Jacobian of what was observed; for full and diag, columns may have units of their own."
    X, scale = groups(), np.array([1e-3, 1, 1e4]) if kind in ("full", "diag") else np.full(3, 1e-3)
    settings = dict(covariance_type=kind, reg_covar=0, max_iter=30, random_state=0)
    a = quiet(lambda: GaussianMixture(2, **settings, means_init=[[0, 0, 0], [6, 6, 6]], weights_init=[.5, .5]).fit(X))
    if kind == "tied":
        scale = np.array([1e-3, 1, 1e4])
    precision = a.precisions_ / (np.outer(scale, scale) if kind in ("full", "tied") else scale**2 if kind == "diag" else scale[0]**2)
    b = GaussianMixture(2, covariance_type=kind, reg_covar=0, max_iter=0, weights_init=a.weights_, means_init=a.means_ * scale,
                        precisions_init=precision).fit(X * scale)
    equal(b.score_samples(X * scale), a.score_samples(X) - (~np.isnan(X) * np.log(scale)).sum(axis=1), rtol=1e-9, atol=1e-9)


# ---- the fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [300, 12_000])
def test_without_nan_not_a_bit_differs(kind, n):
    "The hooks of this chapter and those of the classes before it give identical fits."
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)) + 5 * rng.integers(2, size=(n, 1))
    class Before(GaussianMixture):
        _all_finite = True
        def _kept(self, X, weight):
            return X, weight
        def _overall(self, table):
            return missing._overall_of_complete(table.X, table.weight, kind)
        def _start(self, X, weight, rng, model):
            return super(GaussianMixture, self)._start(X, weight, rng, model)
    for more in ({}, {"prior": "conjugate"}):
        fits = [cls(2, covariance_type=kind, random_state=0, max_iter=20, tol=1e-3, **more).fit(X) for cls in (GaussianMixture, Before)]
        for name in ("weights_", "means_", "covariances_"):
            np.testing.assert_array_equal(getattr(fits[0], name), getattr(fits[1], name))
        np.testing.assert_array_equal(fits[0].history_["log_likelihood"], fits[1].history_["log_likelihood"])
        np.testing.assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
        assert fits[0].bic(X) == fits[1].bic(X)
    model = fits[0]._model(mixture._Table(X))
    for a, b in zip(model.blocks(X, None)(), mixture._blocks(X, None)(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_likelihood_rises_and_is_that_of_what_was_observed(kind):
    X = groups(200, 3, .3)
    fit = GaussianMixture(2, covariance_type=kind, reg_covar=0, tol=1e-12, max_iter=5000, random_state=0).fit(X)
    history = fit.history_["log_likelihood"]
    assert (np.diff(history) > -1e-9).all()
    theta = fit.weights_, fit.means_, full_covariances(fit.covariances_, kind, 2, 3)
    equal(np.float64(history[-1]), expected_by_row(X, *theta)[3], rtol=1e-11)
    equal(fit.score_samples(X).sum(), history[-1], rtol=1e-11)


@pytest.mark.parametrize("seed", range(10))
def test_against_direct_maximisation(seed):
    "L-BFGS on the observed log-likelihood, from another start, finds the same mean and covariance: ten random sets of patterns."
    rng = np.random.default_rng(seed)
    d = 2 + seed % 3
    A = rng.normal(size=(d, d)) + np.eye(d)
    X = pierced(rng.normal(size=(80, d)) @ A + rng.normal(size=d), .1 + .03 * seed, seed)
    i, j = np.tril_indices(d)
    where = [(o, X[(~np.isnan(X) == o).all(axis=1)][:, o]) for o in np.unique(~np.isnan(X), axis=0)]
    def minus(theta):
        L, m = np.zeros((d, d)), theta[:d]
        L[i, j] = theta[d:]
        C, value, slope, turn = L @ L.T, 0.0, np.zeros(d), np.zeros((d, d))
        for o, rows in where:
            P, D = np.linalg.inv(C[np.ix_(o, o)]), rows - m[o]
            S = D.T @ D
            value += .5 * (len(rows) * np.linalg.slogdet(2 * np.pi * C[np.ix_(o, o)])[1] + (P * S).sum())
            slope[o] -= P @ D.sum(axis=0)
            turn[np.ix_(o, o)] += .5 * (len(rows) * P - P @ S @ P)
        return value, np.r_[slope, (2 * turn @ L)[i, j]]
    direct = minimize(minus, np.r_[np.nanmean(X, axis=0), np.diag(np.nanstd(X, axis=0))[i, j]], jac=True, method="L-BFGS-B",
                      options={"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 30})
    L = np.zeros((d, d))
    L[i, j] = direct.x[d:]
    fit = GaussianMixture(1, reg_covar=0, tol=1e-15, max_iter=20_000, random_state=seed).fit(X)
    equal(fit.history_["log_likelihood"][-1], -direct.fun, rtol=1e-9)
    equal(fit.means_[0], direct.x[:d], rtol=1e-6, atol=2e-6)
    equal(fit.covariances_[0], L @ L.T, rtol=1e-6, atol=5e-6)


def test_gradient_of_a_mixture_is_zero():
    "By finite differences of the log-likelihood of the loop, in means and weights."
    X = groups(120, 2, .25, 3, apart=4.0)
    fit = GaussianMixture(2, reg_covar=0, tol=1e-14, max_iter=5000, random_state=0).fit(X)
    def value(theta):
        w = 1 / (1 + np.exp([-theta[0], theta[0]]))
        return expected_by_row(X, w, theta[1:5].reshape(2, 2), fit.covariances_ * np.exp(theta[5:]).reshape(2, 1, 1))[3]
    at, h = np.r_[np.log(fit.weights_[0] / fit.weights_[1]), fit.means_.ravel(), 0, 0], 1e-5
    slopes = np.array([(value(at + e) - value(at - e)) / (2 * h) for e in h * np.eye(len(at))])
    assert abs(slopes).max() < 2e-4 and abs(value(at + .01) - value(at)) > 1e-3


def test_anderson():
    "The closed form for three columns, each seen wherever the next one is."
    rng = np.random.default_rng(1)
    X = rng.multivariate_normal([1, 2, 3], [[2, 1, .5], [1, 2, 1], [.5, 1, 2]], size=400)
    X[X[:, 0] > 1.5, 1:] = NAN
    X[rng.random(400) < .3, 2] = NAN
    m, C = X[:, :1].mean(axis=0), np.cov(X[:, :1].T, bias=True).reshape(1, 1)
    for j in (1, 2):                                                    # regress the next column on those before, where it was seen
        seen = ~np.isnan(X[:, j])
        one = np.cov(X[seen, :j + 1].T, bias=True)
        slopes = np.linalg.solve(one[:j, :j], one[:j, j])
        m = np.r_[m, X[seen, j].mean() + slopes @ (m - X[seen, :j].mean(axis=0))]
        C = np.block([[C, (C @ slopes)[:, None]], [(C @ slopes)[None], one[j, j] - slopes @ one[:j, j] + slopes @ C @ slopes]])
    fit = GaussianMixture(1, reg_covar=0, tol=1e-15, max_iter=20_000, prior=None, means_init=[[0, 0, 0]], precisions_init=[np.eye(3)]).fit(X)
    equal(fit.means_[0], m, rtol=1e-6)
    equal(fit.covariances_[0], C, rtol=1e-5)
    assert fit.n_iter_ > 5


def test_diagonal_closed_form():
    "One component, diag: means and variances of what was observed in each column; spherical: the variances pooled."
    X = groups(200, 4, .4)
    for kind in ("diag", "spherical"):
        fit = GaussianMixture(1, covariance_type=kind, reg_covar=0, tol=1e-14, max_iter=5000).fit(X)
        equal(fit.means_[0], np.nanmean(X, axis=0), rtol=1e-6)
        seen = (~np.isnan(X)).sum(axis=0)
        equal(fit.covariances_[0], np.nanvar(X, axis=0) if kind == "diag" else seen @ np.nanvar(X, axis=0) / seen.sum(), rtol=1e-5)


def test_murray():
    "Twelve points, a saddle and two maxima."
    X = load_murray().X
    model, zero = MixtureModel(GAUSSIANS["full"]), np.zeros((1, 2))
    def from_(rho):
        start = np.ones(1), zero, np.array([[[2.5, 2.5 * rho], [2.5 * rho, 2.5]]])
        return quiet(lambda: em(model, start, group_patterns(X), tol=0, max_iter=3000)).params
    equal(from_(0)[2][0], [[2.5, 0], [0, 2.5]], rtol=1e-12, atol=1e-13)
    for sign in (1, -1):
        _, m, (C,) = from_(sign * 1e-3)
        equal(C, [[8 / 3, sign * 4 / 3], [sign * 4 / 3, 8 / 3]], rtol=1e-6)
        equal(m, zero, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_as_repetition(kind):
    X, times = groups(150, 3, .25), np.random.default_rng(0).integers(0, 4, 150)
    start = dict(covariance_type=kind, means_init=[[0, 0, 0], [6, 6, 6]], weights_init=[.5, .5], precisions_init={
        "full": [np.eye(3)] * 2, "tied": np.eye(3), "diag": np.ones((2, 3)), "spherical": [1, 1]}[kind])
    a, b = GaussianMixture(2, **start).fit(X, sample_weight=times), GaussianMixture(2, **start).fit(np.repeat(X, times, axis=0))
    for name in ("weights_", "means_", "covariances_"):
        equal(getattr(a, name), getattr(b, name), rtol=1e-8, atol=1e-10)
    equal(np.float64(a.bic(X, sample_weight=times)), b.bic(np.repeat(X, times, axis=0)))


@pytest.mark.parametrize("settings", [{}, {"prior": "conjugate"}, {"n_restarts": 2}, {"init_params": "random_from_data"}, {"init_params": "random", "n_init": 3}])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_seeds(kind, settings):
    "The same fit from one thread and three, and from the same seed."
    X = groups(9000, 3, .3)
    fits = [GaussianMixture(3, covariance_type=kind, random_state=1, max_iter=5, n_jobs=jobs, **settings) for jobs in (None, None, 3)]
    quiet(lambda: [fit.fit(X) for fit in fits])
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.means_, fits[0].means_)
        np.testing.assert_array_equal(fit.covariances_, fits[0].covariances_)


@pytest.mark.parametrize("kind", KINDS)
def test_recovers_two_groups(kind):
    "From every start, with a fifth of the values missing; predictions agree with the truth where groups are apart."
    rng = np.random.default_rng(0)
    z = rng.integers(2, size=600)
    X = pierced(rng.normal(size=(600, 3)) + 7 * z[:, None], .2)
    for init in ("kmeans", "k-means++", "random_from_data"):
        fit = GaussianMixture(2, covariance_type=kind, init_params=init, n_init=3, random_state=0).fit(X)
        agree = (fit.predict(X) == z).mean()
        assert max(agree, 1 - agree) > .99
        equal(np.sort(fit.means_[:, 0]), [0, 7], atol=.3)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layout_and_precision(order, dtype):
    X = groups(500, 3, .2).astype(np.float32)
    desired = GaussianMixture(2, random_state=0, means_init=[[0] * 3, [6] * 3]).fit(X.astype(float))
    fit = GaussianMixture(2, random_state=0, means_init=[[0] * 3, [6] * 3]).fit(np.array(X, dtype=dtype, order=order))
    equal(fit.means_, desired.means_, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert fit.predict_proba(np.array(X, dtype=dtype, order=order)).shape == (500, 2)


def test_rows_with_nothing():
    "They change no parameter and no criterion; they have density 1 and the weights for a posterior."
    X = groups(200, 3, .25)
    more = np.insert(X, [0, 50, 200], NAN, axis=0)
    a, b = GaussianMixture(2, random_state=0).fit(X), GaussianMixture(2, random_state=0).fit(more)
    np.testing.assert_array_equal(a.means_, b.means_)
    np.testing.assert_array_equal(a.history_["log_likelihood"], b.history_["log_likelihood"])
    for name in ("aic", "bic", "icl"):
        equal(np.float64(getattr(b, name)(more)), getattr(a, name)(X))
    equal(b.predict_proba(more)[[0, 51, 202]], np.tile(b.weights_, (3, 1)))
    equal(b.score_samples(more)[[0, 51, 202]], np.zeros(3), atol=1e-12)
    assert (b.predict(more)[[0, 51, 202]] == b.weights_.argmax()).all()
    w = np.r_[1., np.ones(50), 1, np.ones(150), 1]
    np.testing.assert_array_equal(GaussianMixture(2, random_state=0).fit(more, sample_weight=w).means_.shape, (2, 3))


def test_every_row_on_its_own():
    "What is said about a row does not depend on the others in the array."
    X = groups(60, 4, .3)
    fit = GaussianMixture(2, random_state=0).fit(X)
    for n in range(0, 60, 7):
        equal(fit.predict_proba(X[n:n + 1])[0], fit.predict_proba(X)[n], rtol=1e-9, atol=1e-14)
        equal(fit.score_samples(X[n:n + 1])[0], fit.score_samples(X)[n], rtol=1e-10)


def test_criteria():
    X = groups(300, 3, .2)
    fit = GaussianMixture(2, random_state=0).fit(X)
    total, r = fit.score_samples(X).sum(), fit.predict_proba(X)
    equal(np.float64(fit.bic(X)), -2 * total + 19 * np.log(300))
    equal(np.float64(fit.aic(X)), -2 * total + 38)
    equal(np.float64(fit.icl(X)), fit.bic(X) - 2 * (r * np.log(np.maximum(r, 1e-300))).sum())
    equal(np.float64(fit.score(X)), total / 300)


def test_warm_start():
    "Six rounds are three and three."
    X, settings = groups(300, 3, .3, apart=3.0), dict(random_state=0, tol=0, max_iter=3)
    twice = GaussianMixture(2, warm_start=True, **settings)
    quiet(lambda: twice.fit(X).fit(X))
    once = quiet(lambda: GaussianMixture(2, **settings | {"max_iter": 6}).fit(X))
    equal(twice.means_, once.means_, rtol=1e-9)
    begun = GaussianMixture(2, warm_start=True, random_state=0).fit(X[~np.isnan(X).any(axis=1)])
    assert begun.fit(X).score(X) > begun.score(X) - 1e-12


def test_prior_scale():
    "From one Gaussian by EM, near that of the complete data; by column for diag; given ones are kept."
    rng = np.random.default_rng(0)
    full = rng.multivariate_normal([0, 5], [[1, .8], [.8, 4]], size=5000) + 1e6
    X = pierced(full, .2)
    prior = GaussianMixture(2, prior="conjugate", max_iter=1, random_state=0)
    quiet(lambda: prior.fit(X))
    equal(prior.prior_.scale, np.cov(full.T, bias=True) / 2, rtol=.1)
    equal(prior.prior_.mean, full.mean(axis=0), rtol=1e-7)
    for kind in ("diag", "spherical"):
        fit = GaussianMixture(2, covariance_type=kind, prior="conjugate", max_iter=1, random_state=0)
        quiet(lambda: fit.fit(X))
        scale = np.nanvar(X, axis=0)
        equal(fit.prior_.scale, scale / 2 if kind == "diag" else scale.mean() / 2, rtol=1e-2 if kind == "spherical" else 1e-9)
    given = GaussianMixture(1, prior=Prior(mean=[0, 0], scale=2.0)).fit(X - 1e6)
    equal(given.prior_.scale, 2 * np.eye(2))


def test_restarts():
    "A component that collapses on repeated rows is placed anew, also where the row that is drawn has a hole."
    rng = np.random.default_rng(0)
    X = np.vstack([pierced(rng.normal(size=(200, 2)), .3), np.tile([30., 30], (5, 1)), pierced(rng.normal(size=(200, 2)) + 8, .3)])
    fit = GaussianMixture(3, reg_covar=0, n_restarts=3, means_init=[[0, 0], [30, 30], [8, 8]], random_state=0)
    with pytest.raises(CollapseError):
        clone(fit).set_params(n_restarts=0).fit(X)
    with pytest.raises(CollapseError, match="after 3 of 3 restarts"):
        fit.fit(X)
    theta = np.full(3, 1 / 3), np.array([[0., 0], [30, 30], [8, 8]]), np.tile(np.eye(2), (3, 1, 1))
    for seed in range(20):
        new = _placed_anew(theta, 1, "full", X, None, np.zeros(len(X), bool), np.random.RandomState(seed))
        assert np.isfinite(new[1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_few_complete_rows(kind):
    "Not one row is complete, and yet the fit is found."
    rng = np.random.default_rng(0)
    z = rng.integers(2, size=900)
    X = rng.normal(size=(900, 3)) + 8 * z[:, None]
    X[np.arange(900), rng.integers(3, size=900)] = NAN
    fit = GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    equal(np.sort(fit.means_[:, 0]), [0, 8], atol=.3)


def test_a_group_that_is_never_complete():
    "A start from the complete rows alone would not see it."
    rng = np.random.default_rng(0)
    z = rng.integers(3, size=900)
    X = rng.normal(size=(900, 3)) + np.array([[0, 0, 0], [8, 0, 0], [0, 8, 0]])[z]
    X[z == 2, 2] = NAN
    fit = GaussianMixture(3, random_state=0).fit(X)
    labels = fit.predict(X)
    assert all((labels[z == k] == np.bincount(labels[z == k]).argmax()).mean() > .98 for k in range(3))
    assert len({int(np.bincount(labels[z == k]).argmax()) for k in range(3)}) == 3


def test_draws_have_the_right_spread():
    C = np.array([[1, .8, 0], [.8, 1, .3], [0, .3, 2]])
    full = np.random.default_rng(0).multivariate_normal([1, 2, 3], C, size=20_000)
    X = pierced(full, .4)
    filled = missing._drawn(X, np.array([1, 2, 3.]), C, np.random.RandomState(0))
    seen = ~np.isnan(X)
    assert (filled[seen] == X[seen]).all()
    np.testing.assert_allclose(np.cov(filled.T), C, atol=5 * 2 * 2**.5 / 20_000**.5)


def test_mar_is_recovered_and_mnar_is_not():
    rng = np.random.default_rng(0)
    full = rng.multivariate_normal([0, 0], [[1, .8], [.8, 1]], size=20_000)
    for column, right in ((0, True), (1, False)):
        X = full.copy()
        X[(full[:, column] > 0) & (rng.random(20_000) < .9), 1] = NAN
        fit = GaussianMixture(1).fit(X)
        assert (abs(fit.means_[0, 1]) < .04) == right and fit.converged_


def test_sweep_operator():
    "A precision-based EM, written by the formulas of Little and Rubin (2002, section 11.2) with the sweep operator, agrees."
    rng = np.random.default_rng(7)
    X = pierced(rng.normal(size=(60, 3)) @ [[1, .4, .2], [0, 1, .5], [0, 0, 1]], .25, 7)
    m, C = np.nanmean(X, axis=0), np.diag(np.nanvar(X, axis=0))
    def swept(G, j):
        H = G - np.outer(G[:, j], G[j]) / G[j, j]
        H[j], H[:, j], H[j, j] = G[j] / G[j, j], G[:, j] / G[j, j], -1 / G[j, j]
        return H
    for _ in range(150):
        T = np.zeros((4, 4))
        for x in X:
            G, o = np.block([[-np.ones((1, 1)), m[None]], [m[:, None], C]]), np.flatnonzero(~np.isnan(x))
            for j in o:
                G = swept(G, j + 1)
            h = np.flatnonzero(np.isnan(x))
            full = np.r_[1, x]
            full[h + 1] = G[0, h + 1] + x[o] @ G[np.ix_(o + 1, h + 1)]
            T += np.outer(full, full)
            T[np.ix_(h + 1, h + 1)] += G[np.ix_(h + 1, h + 1)]
        m = T[0, 1:] / len(X)
        C = T[1:, 1:] / len(X) - np.outer(m, m)
    fit = GaussianMixture(1, reg_covar=0, tol=1e-15, max_iter=10_000).fit(X)
    equal(fit.means_[0], m, rtol=1e-5, atol=1e-6)
    equal(fit.covariances_[0], C, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_no_spikes_where_complete_data_have_none(kind):
    "Five components for two groups: no start leads to a component of a few values in one column."
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = pierced(rng.normal(size=(300, 3)) + 5 * rng.integers(2, size=(300, 1)), .25, seed)
        GaussianMixture(5, covariance_type=kind, random_state=seed, tol=1e-3).fit(X)             # a warning is an error here


def test_the_start_without_a_spike_goes_on(monkeypatch):
    "Of two starts, one with a component on the floor and higher."
    X = groups(300, 2, .2)
    rows, w = X[~np.isnan(X).any(axis=1)], None
    spike = np.vstack([np.tile(rows[0], (20, 1)), rows[1:]])
    monkeypatch.setattr(missing, "_tried", lambda model, theta, some: (1e9 if theta == "spike" else 0., (
        np.full(2, .5), np.zeros((2, 2)), np.array([np.eye(2), (1e-6 if theta == "spike" else 1) * np.eye(2)]))))
    monkeypatch.setattr(missing, "_without_holes", lambda *args: iter([(spike, w), (rows, w)]))
    monkeypatch.setattr(GaussianMixture.__mro__[1], "_start", lambda self, X, *more: "spike" if len(X) == len(spike) and X is spike else "plain")
    fit = GaussianMixture(2)
    equal(missing._start(fit, X, w, np.random.RandomState(0), fit._model(mixture._Table(X)))[2], [np.eye(2)] * 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_with_few_values_among_many_rows(kind, weighted):
    "The ten thousand rows of a start might have none of them."
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30_000, 2)) + 5 * rng.integers(2, size=(30_000, 1))
    X[rng.permutation(30_000)[6:], 1] = NAN
    rows, w = missing._with_each_column(X, np.ones(30_000) if weighted else None, 1000, np.random.RandomState(0))
    assert (~np.isnan(rows)).sum(axis=0)[1] >= 6 and (w is None) != weighted and (w is None or len(w) == len(rows))
    fit = GaussianMixture(2, covariance_type=kind, random_state=0, max_iter=3, tol=1e-2)
    quiet(lambda: fit.fit(X, sample_weight=np.ones(30_000) if weighted else None))
    equal(np.sort(fit.means_[:, 0]), [0, 5], atol=.2)


# ---- what is refused -----------------------------------------------------------------------------


def test_empty_column_is_named():
    X = groups()
    X[:, 1] = NAN
    for kind in KINDS:
        with pytest.raises(ValueError, match="column 1 of X has no value in any row that counts"):
            GaussianMixture(2, covariance_type=kind).fit(X)
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"column 1 \('b'\) of X"):
        GaussianMixture(2).fit(pd.DataFrame(X, columns=["a", "b", "c"]))
    with pytest.raises(ValueError, match="column 0 of X has no value"):
        GaussianMixture(1).fit(np.full((5, 2), NAN))
    weighted = groups()
    weighted[:, 1], weighted[:3, 1] = NAN, 1.0
    with pytest.raises(ValueError, match="column 1 of X has no value in any row that counts"):
        GaussianMixture(2).fit(weighted, sample_weight=np.r_[0, 0, 0, np.ones(397)])


def test_columns_that_never_meet():
    X = np.random.default_rng(0).normal(size=(100, 3))
    X[:50, 0], X[50:, 2] = NAN, NAN
    for kind in ("full", "tied"):
        with pytest.raises(ValueError, match="column 0 and column 2 of X are never observed in the same row.*prior='conjugate'"):
            GaussianMixture(1, covariance_type=kind).fit(X)
        GaussianMixture(1, covariance_type=kind, prior="conjugate").fit(X)
    for kind in ("diag", "spherical"):
        GaussianMixture(1, covariance_type=kind).fit(X)


def test_too_little_for_a_covariance():
    "With a floor the estimator says so, without one it is a collapse."
    X = np.array([[1., 2, NAN], [2, NAN, 3], [4, 1, 1]])
    with pytest.warns(RuntimeWarning, match="on reg_covar"):
        GaussianMixture(1).fit(X)
    with pytest.raises(CollapseError):
        GaussianMixture(1, reg_covar=0, max_iter=5000).fit(np.array([[1., 2], [2, NAN], [2, 4]]))


@pytest.mark.parametrize("X, words", [
    (np.array([[1., np.inf], [2, 3], [NAN, 1]]), "infinity"), (np.array([[1., -np.inf], [2, 3], [NAN, 1]]), "infinity"),
    (np.array([[1e200, NAN], [1, 2], [2, 3]]), "out of range"), (np.array([[1., NAN]]), "minimum of 2")])
def test_bad_values(X, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(1).fit(X)


def test_bad_weights():
    X = groups()
    for w, words in ((np.full(400, NAN), "NaN"), (np.full(400, np.inf), "infinity"), (-np.ones(400), "[Nn]egative"), (np.ones(3), "shape")):
        with pytest.raises(ValueError, match=words):
            GaussianMixture(2).fit(X, sample_weight=w)


def test_nothing_to_judge_by():
    fit = GaussianMixture(2, random_state=0).fit(groups())
    for name in ("aic", "bic", "icl"):
        with pytest.raises(ValueError, match="no row of X holds a value"):
            getattr(fit, name)(np.full((3, 3), NAN))


@pytest.mark.parametrize("C", [-np.eye(2), np.ones((2, 2))])
def test_no_covariance(C):
    with pytest.raises(np.linalg.LinAlgError):
        given_observed([1, 2], [0, 0], C)


def test_few_rows_after_the_empty_ones():
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        GaussianMixture(3).fit(np.array([[1., 2], [2, 1], [NAN, NAN], [NAN, NAN]]))


def test_before_and_after_the_fit():
    "Infinity in prediction is refused, NaN is not; another number of columns is."
    X = groups()
    fit = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="infinity"):
        fit.predict([[1, np.inf, 2]])
    with pytest.raises(ValueError, match="features"):
        fit.predict([[1, NAN]])
    with pytest.raises(ValueError, match="masked"):
        fit.predict(np.ma.masked_invalid(X))


def test_pandas():
    pd = pytest.importorskip("pandas")
    X = groups()
    desired = GaussianMixture(2, random_state=0).fit(X)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    for table in (frame, frame.convert_dtypes(), frame.astype("Float64")):
        fit = GaussianMixture(2, random_state=0).fit(table)
        equal(fit.means_, desired.means_)
        equal(fit.predict_proba(table), desired.predict_proba(X))
    assert list(fit.feature_names_in_) == ["a", "b", "c"]


def test_scikit_learn():
    "The tag is set, and pipelines pass NaN on."
    assert GaussianMixture().__sklearn_tags__().input_tags.allow_nan
    X = groups()
    pipe = make_pipeline(StandardScaler(), FunctionTransformer(), GaussianMixture(2, random_state=0)).fit(X)
    assert pipe.predict(X).shape == (400,)


def test_memory():
    "Beyond X, a fit takes less than twice its size, and a tenth for the numbers of rows and patterns."
    X = pierced(np.random.default_rng(0).normal(size=(100_000, 8)), .1)
    quiet(lambda: GaussianMixture(2, max_iter=1, random_state=0).fit(X[:2000]))
    tracemalloc.start()
    quiet(lambda: GaussianMixture(2, max_iter=1, random_state=0).fit(X))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * X.nbytes + 20e6


def test_log_joint_only_once_where_complete():
    "Rows without holes come from the fast code, to the last bit."
    X = groups(300, 3, .2)
    theta, model = some_theta(2, 3, "full"), MixtureModel(GAUSSIANS["full"])
    complete = ~np.isnan(X).any(axis=1)
    np.testing.assert_array_equal(model.log_joint(theta, X)[complete], model.log_joint(theta, np.where(np.isnan(X), 0, X))[complete])
    equal(logsumexp(model.log_joint(theta, X), axis=1).sum(), expected_by_row(X, *theta)[3], rtol=1e-12)
