"""Gaussian mixtures in emlit.gmm: the mathematics against closed forms and other programs, the digits, the errors."""
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from strict import equal
from emlit import gmm
from emlit.data import load_faithful
from emlit.em import EMResult, Tracer, e_step, em, in_blocks
from emlit.gmm import (GMM, CollapseError, GMMParams, GMMResult, animate_em, bic, check_points, fit_gmm,
                       full_covariances, log_gaussian, log_joint, n_parameters, plot_ellipses, plot_step,
                       random_start, responsibilities, sample)
from emlit.latent import log_marginal
from emlit.likelihood import numerical_gradient

TYPES = ["full", "tied", "diag", "spherical"]
X = load_faithful().X
N = len(X)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib|dateutil|pyparsing")
        yield


def guess(kind="full"):
    "Two kinds of eruption, read off a picture."
    covariances = {"full": [[[.1, .5], [.5, 30]], [[.2, 1], [1, 40]]], "tied": [[.15, .7], [.7, 35]],
                   "diag": [[.1, 30], [.2, 40]], "spherical": [5, 8]}[kind]
    return GMMParams([.4, .6], [[2, 55], [4.5, 80]], covariances, kind)


def log_likelihood(params, X):
    return log_marginal(log_joint(params, X))


def pack(params):
    return np.concatenate([params.weights, params.means.ravel(), params.covariances.ravel()])


def unpack(vector, like):
    "Parameters from any vector near by: weights are divided by their sum, matrices made symmetric."
    weights, means, covariances = np.split(vector, np.cumsum([like.weights.size, like.means.size]))
    covariances = covariances.reshape(like.covariances.shape)
    if like.covariance_type in ("full", "tied"):
        covariances = (covariances + covariances.mT) / 2
    return GMMParams(weights / weights.sum(), means.reshape(like.means.shape), covariances, like.covariance_type)


def textbook_m_step(r, X, kind):
    "Loops over points, components and columns, as the formulas are written."
    (n, d), k = X.shape, r.shape[1]
    counts = np.array([sum(r[i, j] for i in range(n)) for j in range(k)])
    means = np.array([sum(r[i, j] * X[i] for i in range(n)) / counts[j] for j in range(k)])
    S = np.array([sum(r[i, j] * np.outer(X[i] - means[j], X[i] - means[j]) for i in range(n)) for j in range(k)])
    covariances = {"full": [S[j] / counts[j] for j in range(k)], "tied": sum(S) / n,
                   "diag": [np.diag(S[j]) / counts[j] for j in range(k)],
                   "spherical": [np.trace(S[j]) / d / counts[j] for j in range(k)]}[kind]
    return GMMParams(counts / n, means, covariances, kind)


def peer(start, X, rounds=20_000):
    "scikit-learn from the same start: the estimator and its total log-likelihood."
    P = np.linalg.inv(start.matrices())
    precisions = {"full": P, "tied": P[0], "diag": P.diagonal(axis1=1, axis2=2), "spherical": P[:, 0, 0]}
    model = GaussianMixture(len(P), covariance_type=start.covariance_type, weights_init=start.weights, means_init=start.means,
                            precisions_init=precisions[start.covariance_type], tol=1e-14, max_iter=rounds, reg_covar=0).fit(X)
    return model, model.score(X) * len(X)


def test_everything_exported_is_tested_here():
    assert set(gmm.__all__) == {
        "GMM", "CollapseError", "GMMParams", "GMMResult", "animate_em", "bic", "check_points", "fit_gmm", "full_covariances",
        "log_gaussian", "log_joint", "n_parameters", "plot_ellipses", "plot_step", "random_start", "responsibilities", "sample"}


# ---- densities ------------------------------------------------------------------------------------


def test_log_gaussian_is_scipys_and_stays_finite_where_the_density_is_zero():
    p = guess()
    far = np.vstack([X, [[4.5, 500], [-60, 55]]])
    expected = np.stack([multivariate_normal(m, C).logpdf(far) for m, C in zip(p.means, p.covariances)], axis=1)
    assert (np.exp(expected[-2:]) == 0).all()
    equal(log_gaussian(far, p.means, p.covariances), expected, rtol=1e-12)


def test_log_gaussian_in_one_dimension_is_the_schoolbook_formula():
    x = np.array([[-1.0], [0.5], [3.0]])
    equal(log_gaussian(x, [[1.0]], [[[4.0]]]), -0.5 * np.log(2 * np.pi * 4) - (x - 1)**2 / 8)


def test_log_gaussian_under_an_affine_map_changes_by_the_log_determinant():
    p, A, b = guess(), np.array([[1., 1.], [-1., 2.]]), np.array([10., -3.])
    moved = log_gaussian(X @ A.T + b, p.means @ A.T + b, A @ p.covariances @ A.T)
    equal(moved, log_gaussian(X, p.means, p.covariances) - np.log(3))


def test_log_gaussian_names_what_is_wrong():
    p = guess()
    with pytest.raises(ValueError, match=r"component 1 is not positive definite \(smallest eigenvalue -40"):
        log_gaussian(X, p.means, [p.covariances[0], -p.covariances[1]])
    with pytest.raises(ValueError, match="component 0 is not positive definite"):
        log_gaussian(X, p.means[:1], [[[1, 1], [1, 1]]])
    with pytest.raises(ValueError, match="component 0 is not symmetric"):
        log_gaussian(X, p.means[:1], [[[1, .5], [0, 1]]])
    with pytest.raises(ValueError, match="component 0 is not symmetric or not finite"):
        log_gaussian(X, p.means[:1], [[[1, np.nan], [np.nan, 1]]])
    with pytest.raises(ValueError, match=r"pass X of shape \(n, 2\)"):
        log_gaussian(X[:, :1], p.means, p.covariances)
    with pytest.raises(ValueError, match=r"pass \(k, d\) and \(k, d, d\)"):
        log_gaussian(X, p.means, p.covariances[0])


def test_full_covariances_of_each_type():
    equal(full_covariances([[2, 1], [1, 3]], "tied", 3, 2), [[[2, 1], [1, 3]]] * 3)
    equal(full_covariances([[1, 2], [3, 4]], "diag", 2, 2), [[[1, 0], [0, 2]], [[3, 0], [0, 4]]])
    equal(full_covariances([5, 6], "spherical", 2, 3), [5 * np.eye(3), 6 * np.eye(3)])
    equal(full_covariances(guess().covariances, "full", 2, 2), guess().covariances)


@pytest.mark.parametrize("kind, shape", [("full", (2, 2)), ("tied", (2, 2, 2)), ("diag", (2,)), ("spherical", (2, 2))])
def test_full_covariances_refuses_other_shapes(kind, shape):
    with pytest.raises(ValueError, match=re.escape(f"covariances have shape {shape}: for covariance_type={kind!r}")):
        full_covariances(np.ones(shape), kind, 2, 2)


@pytest.mark.parametrize("change, message", [
    (dict(weights=[.5, .6]), "weights must sum to 1, got .* with sum 1.1"),
    (dict(weights=[-.5, 1.5]), "weights must be above 0"),
    (dict(weights=[0, 1]), "weights must be above 0"),
    (dict(weights=[np.nan, 1]), "weights must be above 0"),
    (dict(weights=[1]), r"pass \(k,\) and \(k, d\)"),
    (dict(means=[2, 55]), r"pass \(k,\) and \(k, d\)"),
    (dict(means=[[2, np.inf], [4, 80]]), "means must be finite"),
    (dict(covariances=np.eye(2)), r"pass shape \(2, 2, 2\)"),
    (dict(covariance_type="round"), "covariance_type is 'round': use one of full, tied, diag, spherical"),
])
def test_parameters_that_are_no_mixture(change, message):
    good = dict(weights=[.4, .6], means=[[2, 55], [4, 80]], covariances=[np.eye(2)] * 2)
    GMMParams(**good)
    with pytest.raises(ValueError, match=message):
        GMMParams(**good | change)


@pytest.mark.parametrize("kind", TYPES)
def test_responsibilities_are_bayes_rule(kind):
    p = guess(kind)
    joint = np.stack([w * multivariate_normal(m, C).pdf(X) for w, m, C in zip(p.weights, p.means, p.matrices())], axis=1)
    equal(log_joint(p, X), np.log(joint))
    equal(responsibilities(p, X), joint / joint.sum(axis=1, keepdims=True))


def test_responsibilities_of_a_point_far_from_everything_are_still_a_distribution():
    equal(responsibilities(guess(), [[4.5, 1e4], [-100, 55]]).sum(axis=1), np.ones(2))


# ---- the model ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_one_round_is_the_textbook_round(kind):
    p = guess(kind)
    step = GMM(kind).maximization(e_step(GMM(kind), p, X), p)
    wanted = textbook_m_step(responsibilities(p, X), X, kind)
    equal(step.weights, wanted.weights)
    equal(step.means, wanted.means)
    equal(step.covariances, wanted.covariances)
    assert step.covariance_type == kind


def test_one_round_in_three_dimensions_with_three_components():
    rng = np.random.default_rng(3)
    Y = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + [1, 50, -5]
    for kind in TYPES:
        p = random_start(Y, 3, kind, rng)
        step = GMM(kind).maximization(e_step(GMM(kind), p, Y), p)
        equal(pack(step), pack(textbook_m_step(responsibilities(p, Y), Y, kind)), atol=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_m_step_maximises_the_expected_log_joint(kind):
    r, rng = responsibilities(guess(kind), X), np.random.default_rng(4)
    best = GMM(kind).maximization(e_step(GMM(kind), guess(kind), X), guess(kind))

    def Q(vector):
        return (r * log_joint(unpack(vector, best), X)).sum()

    v = pack(best)
    equal(numerical_gradient(Q, v) * abs(v), np.zeros(v.size), atol=1e-6)
    assert max(Q(v * (1 + .02 * rng.standard_normal(v.size))) for _ in range(50)) < Q(v)


@pytest.mark.parametrize("kind", TYPES)
def test_statistics_add_up_over_blocks_and_threads(kind):
    whole = e_step(GMM(kind), guess(kind), X)
    with ThreadPoolExecutor(2) as pool:
        pieces = e_step(GMM(kind), guess(kind), in_blocks(X, 37), mapper=pool.map)
    assert whole.statistics.keys() == pieces.statistics.keys() and whole.weight == pieces.weight == N
    for name, value in whole.statistics.items():
        equal(pieces.statistics[name], value, rtol=1e-12)
    np.testing.assert_allclose([whole.log_likelihood, pieces.log_likelihood], log_likelihood(guess(kind), X), rtol=1e-12)


def test_statistics_are_sums_around_the_current_means():
    p, r = guess(), responsibilities(guess(), X)
    statistics = e_step(GMM(), p, X).statistics
    D = X[:, None] - p.means
    equal(statistics["counts"], r.sum(axis=0))
    equal(statistics["shifts"], np.einsum("nk,nkd->kd", r, D))
    equal(statistics["scatter"], np.einsum("nk,nki,nkj->kij", r, D, D))


def test_a_fit_over_blocks_on_threads_is_the_same_fit():
    with ThreadPoolExecutor(2) as pool:
        pieces = em(GMM(), guess(), in_blocks(X, 37), mapper=pool.map)
    equal(pack(pieces.params), pack(em(GMM(), guess(), X).params), rtol=1e-9)


def test_an_empty_component_is_named():
    p = GMMParams([.5, .5], [[4, 80], [400, 8000]], [np.eye(2)] * 2)
    with pytest.raises(CollapseError, match="component 1 is empty.*Use fewer than 2 components, another seed"):
        em(GMM(), p, X)


def test_a_collapsing_component_is_named_and_tied_ones_do_not_collapse():
    C, spike = np.cov(X.T), np.diag([1e-6, 1e-4])
    with pytest.raises(CollapseError, match="the covariance of component 1 has collapsed.*Use fewer than 2 components"):
        em(GMM(), GMMParams([.99, .01], [X.mean(axis=0), X[0]], [C, spike]), X)
    em(GMM("tied"), GMMParams([.99, .01], [X.mean(axis=0), X[0]], spike, "tied"), X)
    with pytest.raises(CollapseError, match="the tied covariance has collapsed"):
        em(GMM("tied"), GMMParams([.5, .5], [[0, 0], [1, 1]], np.eye(2) / 50, "tied"), np.repeat([[0., 0.], [1., 1.]], 5, axis=0))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("ratio, collapses", [(1e-4, False), (1e-7, True)])
def test_what_counts_as_collapsed_does_not_depend_on_units(unit, ratio, collapses):
    rng = np.random.default_rng(0)
    Y = unit * np.concatenate([rng.normal(size=(50, 2)), 5 + ratio * rng.normal(size=(50, 2))])
    p = GMMParams([.5, .5], [[0, 0], [5 * unit] * 2], np.array([np.eye(2), np.eye(2) * ratio**2]) * unit**2)
    step = lambda: GMM().maximization(e_step(GMM(), p, Y), p)
    if collapses:
        with pytest.raises(CollapseError, match="component 1 has collapsed"):
            step()
    else:
        assert np.isfinite(step().covariances).all()


def test_clusters_that_are_points_seen_from_afar_have_collapsed():
    rng = np.random.default_rng(0)
    Y = np.repeat([[0., 0.], [5., 5.]], 50, axis=0) + 1e-7 * rng.normal(size=(100, 2))
    for kind, C in [("full", 1e-14 * np.array([np.eye(2)] * 2)), ("tied", 1e-14 * np.eye(2))]:
        with pytest.raises(CollapseError, match="has collapsed"):
            em(GMM(kind), GMMParams([.5, .5], [[0, 0], [5, 5]], C, kind), Y)


def test_model_and_parameters_of_different_types():
    with pytest.raises(ValueError, match="the model has covariance_type='tied' and the parameters 'full'"):
        em(GMM("tied"), guess(), X)
    with pytest.raises(ValueError, match=r"pass X of shape \(n, 2\)"):
        em(GMM(), guess(), X[:, :1])


# ---- points and starts ----------------------------------------------------------------------------


def with_value(value):
    Y = X.copy()
    Y[3, 1] = value
    return Y


@pytest.mark.parametrize("points, k, message", [
    (X[:, 0], 2, r"X has shape \(272,\): pass \(n, d\).*X\[:, None\]"),
    (np.empty((0, 2)), 2, r"X has shape \(0, 2\)"),
    (with_value(np.nan), 2, r"X\[3, 1\] is nan \(row 3, column 1; 1 such values\)"),
    (with_value(-np.inf), 2, r"X\[3, 1\] is -inf"),
    (np.repeat(X[:3], 9, axis=0), 4, "n_components is 4, and X has only 3 distinct points"),
    (X, 0, "n_components == 0, must be >= 1"),
    (np.c_[X, np.full(N, 7)], 2, r"column 2 of X is constant \(7 in every row"),
    (np.c_[X, X.sum(axis=1)], 2, "vary in 2 directions only: a full covariance would be singular"),
    (np.random.default_rng(0).normal(size=(4, 6)), 2, "X has 4 points in 6 columns, but they vary in 3 directions"),
])
def test_points_that_cannot_be_fitted(points, k, message):
    for refuse in (lambda: check_points(points, k), lambda: fit_gmm(points, k),
                   lambda: random_start(points, k, "full", np.random.default_rng(0))):
        with pytest.raises(ValueError, match=message):
            refuse()


@pytest.mark.parametrize("points, k, message", [
    ([["a", "b"], ["c", "d"]], 1, "X holds <U1, not real numbers"), (None, 1, "X holds object"), (X + 0j, 2, "X holds complex128"),
    (X, 2.0, "n_components must be an instance of int, not float"), (X, "2", "n_components must be an instance of int, not str"),
])
def test_wrong_types(points, k, message):
    with pytest.raises(TypeError, match=message):
        check_points(points, k)


def test_check_points_returns_floats_and_diag_may_have_fewer_points_than_columns():
    checked = check_points([[1, 2], [3, 5]], 1, "diag")
    assert checked.dtype == np.float64 and checked.tolist() == [[1, 2], [3, 5]]
    few = np.random.default_rng(0).normal(size=(4, 6))
    assert fit_gmm(few, 1, "diag").converged and check_points(few, 2, "spherical").shape == (4, 6)


@pytest.mark.parametrize("kind", TYPES)
def test_random_starts_are_distinct_points_with_usable_covariances(kind):
    rows = {tuple(x) for x in X}
    for seed in range(20):
        start = random_start(X, 4, kind, np.random.default_rng(seed))
        means = {tuple(m) for m in start.means}
        assert len(means) == 4 and means <= rows and start.covariance_type == kind
        assert (np.linalg.eigvalsh(start.matrices()) > 0).all()
        equal(start.weights, np.full(4, .25))
        again = random_start(X, 4, kind, np.random.default_rng(seed))
        equal(pack(again), pack(start), rtol=0)


def test_random_start_covariance_by_hand_and_starts_do_not_depend_on_units():
    start = random_start(X, 1, "full", np.random.default_rng(1))
    D = X - start.means[0]
    equal(start.covariances[0], D.T @ D / N + np.cov(X.T, bias=True) / 100)
    unit = np.array([60., 1 / 1440])
    for seed in range(5):
        a, b = (random_start(Y, 3, "full", np.random.default_rng(seed)) for Y in (X, X * unit))
        equal(b.means, a.means * unit)


def test_random_start_covariance_is_that_around_the_nearest_mean():
    Y = np.array([[0., 0], [0, 1], [1, 0], [10, 10], [10, 12], [11, 10]])
    for seed in range(10):
        start = random_start(Y, 2, "tied", np.random.default_rng(seed))
        if (start.means[:, 0] < 5).sum() == 1:
            D = Y - np.where(Y[:, :1] < 5, *sorted(start.means.tolist()))
            equal(start.covariances, D.T @ D / 6 + np.cov(Y.T, bias=True) / 100)
            return
    pytest.fail("no start with a mean in each group")


def test_random_start_chooses_by_squared_distance():
    Y = np.array([[0.], [1.], [3.]])  # pairs without the 3: first 0 then 1, at 1 : 9; first 1 then 0, at 1 : 4
    without = np.mean([3 not in random_start(Y, 2, "full", np.random.default_rng(s)).means for s in range(3000)])
    p = (1 / 10 + 1 / 5) / 3
    assert abs(without - p) < 5 * np.sqrt(p * (1 - p) / 3000)


def test_random_starts_lie_in_both_clouds():
    short = [(random_start(X, 2, "full", np.random.default_rng(s)).means[:, 0] < 3).sum() for s in range(60)]
    assert np.mean(np.array(short) == 1) > .8  # two points drawn evenly: .45


# ---- fitting --------------------------------------------------------------------------------------


def test_one_component_is_the_closed_form():
    fit, C = fit_gmm(X, 1), np.cov(X.T, bias=True)
    equal(fit.params.means, X.mean(axis=0)[None])
    equal(fit.params.covariances, C[None])
    np.testing.assert_allclose(fit.log_likelihood, -N / 2 * (2 * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + 2), rtol=1e-12)
    np.testing.assert_allclose(fit.log_likelihood, -1289.7967, rtol=0, atol=5e-5)
    equal(fit_gmm(X, 1, "tied").params.covariances, C)
    equal(fit_gmm(X, 1, "diag").params.covariances, np.diag(C)[None])
    equal(fit_gmm(X, 1, "spherical").params.covariances, [np.trace(C) / 2])


@pytest.mark.parametrize("k, kind, value, digits", [
    (2, "full", -1130.26396, 5), (2, "tied", -1140.1868, 4), (3, "tied", -1126.3159, 4), (2, "diag", -1147.8064, 4)])
def test_old_faithful(k, kind, value, digits):
    fit = fit_gmm(X, k, kind, n_init=2, max_iter=5000)
    assert isinstance(fit, GMMResult) and isinstance(fit, EMResult) and fit.converged
    np.testing.assert_allclose(fit.log_likelihood, value, rtol=0, atol=.5 * 10.0**-digits)
    np.testing.assert_allclose(fit.log_likelihood, log_likelihood(fit.params, X), rtol=1e-13)
    np.testing.assert_allclose(fit.log_likelihood, peer(fit.params, X)[1], rtol=0, atol=1e-6)


def test_old_faithful_with_three_full_components_has_several_maxima():
    fit = fit_gmm(X, 3, n_init=12, max_iter=5000)
    ends, times = np.unique(np.round(fit.starts, 4), return_counts=True)
    assert ends[times.argmax()] == -1119.2140 and ends.max() == -1114.4399 == round(fit.log_likelihood, 4)


@pytest.mark.parametrize("kind", TYPES)
def test_agreement_with_scikit_learn_from_the_same_start(kind):
    fit = fit_gmm(X, 2, kind, start=guess(kind), tol=1e-12)
    model, value = peer(guess(kind), X)
    np.testing.assert_allclose(fit.log_likelihood, value, rtol=0, atol=1e-8)
    equal(fit.params.weights, model.weights_, rtol=1e-5)
    equal(fit.params.means, model.means_, rtol=1e-5)
    equal(fit.params.covariances, model.covariances_, rtol=1e-4)
    equal(responsibilities(model_params(model, kind), X), model.predict_proba(X), rtol=1e-8, atol=1e-12)


def model_params(model, kind):
    return GMMParams(model.weights_, model.means_, model.covariances_, kind)


@pytest.mark.parametrize("kind", TYPES)
def test_history_rises_and_the_gradient_is_zero_at_the_end(kind):
    fit = fit_gmm(X, 2, kind, start=guess(kind), tol=1e-11)
    assert (np.diff(fit.history) > -1e-9).all() and len(fit.history) == fit.n_iter + 1 > 3
    v = pack(fit.params)
    slope = numerical_gradient(lambda u: log_likelihood(unpack(u, fit.params), X), v) * abs(v)
    equal(slope, np.zeros(v.size), atol=1e-3)


def test_swapping_the_components_of_the_start_swaps_the_fit():
    p = guess()
    a = fit_gmm(X, 2, start=p)
    b = fit_gmm(X, 2, start=GMMParams(p.weights[::-1], p.means[::-1], p.covariances[::-1]))
    equal(b.params.means, a.params.means[::-1], rtol=1e-9)
    equal(b.params.weights, a.params.weights[::-1], rtol=1e-9)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_affine_equivariance(kind):
    p, A, b = guess(kind), np.array([[1., 1.], [-1., 2.]]), np.array([10., -300.])
    fit = fit_gmm(X, 2, kind, start=p)
    moved = fit_gmm(X @ A.T + b, 2, kind, start=GMMParams(p.weights, p.means @ A.T + b, A @ p.covariances @ A.T, kind))
    np.testing.assert_allclose(moved.log_likelihood, fit.log_likelihood - N * np.log(3), rtol=1e-10)
    equal(moved.params.means, fit.params.means @ A.T + b, rtol=1e-7)
    equal(moved.params.covariances, A @ fit.params.covariances @ A.T, rtol=1e-7)


EXACT = np.round(X * 2**20) / 2**20  # so that adding 1e8 rounds nothing


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("offset", [1e6, -1e8])
def test_an_offset_changes_nothing(kind, offset):
    p = guess(kind)
    near = fit_gmm(EXACT, 2, kind, start=p)
    away = fit_gmm(EXACT + offset, 2, kind, start=GMMParams(p.weights, p.means + offset, p.covariances, kind))
    np.testing.assert_allclose(away.log_likelihood, near.log_likelihood, rtol=1e-9)
    equal(away.params.covariances, near.params.covariances, rtol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_a_change_of_units_changes_the_likelihood_by_a_constant(kind, unit):
    p = guess(kind)
    fit = fit_gmm(X, 2, kind, start=p)
    other = fit_gmm(X * unit, 2, kind, start=GMMParams(p.weights, p.means * unit, p.covariances * unit**2, kind))
    np.testing.assert_allclose(other.log_likelihood, fit.log_likelihood - 2 * N * np.log(unit), rtol=1e-9)
    equal(other.params.covariances, fit.params.covariances * unit**2, rtol=1e-5)


def test_single_precision_fortran_order_lists_and_read_only_arrays():
    fit = fit_gmm(X, 2, start=guess())
    assert not X.flags.writeable
    single = X.astype(np.float32)
    equal(pack(fit_gmm(single, 2, start=guess()).params), pack(fit_gmm(single.astype(float), 2, start=guess()).params), rtol=1e-12)
    for same in (np.asfortranarray(X), X.tolist(), X[::-1][::-1]):
        equal(pack(fit_gmm(same, 2, start=guess()).params), pack(fit.params), rtol=1e-9)
    expected = e_step(GMM(), guess(), single)
    equal(expected.statistics["scatter"], e_step(GMM(), guess(), single.astype(float)).statistics["scatter"], rtol=1e-12)


def test_the_same_seed_gives_the_same_fit_and_the_best_start_is_kept():
    a, b = (fit_gmm(X, 3, "spherical", n_init=4, seed=0) for _ in range(2))
    equal(pack(a.params), pack(b.params), rtol=0)
    assert len(a.starts) == 4 and len(set(np.round(a.starts, 3))) > 1
    assert a.log_likelihood == max(a.starts)
    assert a.starts != fit_gmm(X, 3, "spherical", n_init=4, seed=1).starts


def test_callbacks_see_every_round():
    film = Tracer()
    fit = fit_gmm(X, 2, start=guess(), callbacks=[film])
    assert [s.log_likelihood for s in film.steps] == fit.history.tolist() and len(fit.starts) == 1


def test_starts_that_collapse_are_left_out_and_remembered():
    with pytest.warns(RuntimeWarning, match=r"\d of 10 starts collapsed and were left out; the first one: .* has collapsed"):
        fit = fit_gmm(X[:10], 3)
    lost = [end for end in fit.starts if isinstance(end, CollapseError)]
    assert 0 < len(lost) < 10 and fit.log_likelihood == max(end for end in fit.starts if end not in lost)
    with pytest.raises(CollapseError, match="all 4 starts collapsed; the first one: .*fewer than 3 components"):
        fit_gmm([[0, 0], [0, 1], [1, 0]], 3, n_init=4)


@pytest.mark.parametrize("kwargs, error, message", [
    (lambda: dict(start="kmeans"), TypeError, "start is of type str: pass GMMParams"),
    (lambda: dict(start=guess("tied")), ValueError, "the model has covariance_type='full' and the parameters 'tied'"),
    (lambda: dict(start=GMMParams([1], [[0, 0]], [np.eye(2)])), ValueError, r"start has means of shape \(1, 2\): for n_components=2"),
    (lambda: dict(start=GMMParams([.5, .5], np.eye(2), [-np.eye(2)] * 2)), ValueError, "component 0 is not positive definite"),
    (lambda: dict(covariance_type="ful"), ValueError, "covariance_type is 'ful': use one of"),
    (lambda: dict(n_init=0), ValueError, "n_init == 0, must be >= 1"),
    (lambda: dict(n_init=1.5), TypeError, "n_init must be an instance of int, not float"),
    (lambda: dict(max_iter=0), ValueError, "max_iter == 0"), (lambda: dict(tol=-1.0), ValueError, "tol == -1.0"),
])
def test_wrong_arguments(kwargs, error, message):
    kwargs = kwargs()
    with pytest.raises(error, match=message):
        fit_gmm(X, 2, **kwargs)


# ---- using a fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, free", list(zip(TYPES, [11, 8, 9, 7])))
def test_bic_is_scikit_learns(kind, free):
    fit = fit_gmm(X, 2, kind, start=guess(kind))
    model, _ = peer(fit.params, X)
    assert n_parameters(fit.params) == free
    np.testing.assert_allclose(bic(fit.params, X), model.bic(X), rtol=1e-9)
    np.testing.assert_allclose(bic(fit.params, X), -2 * fit.log_likelihood + free * np.log(N), rtol=1e-12)


def test_n_parameters_in_three_dimensions():
    Y = np.random.default_rng(0).normal(size=(30, 3))
    assert [n_parameters(random_start(Y, 4, t, np.random.default_rng(0))) for t in TYPES] == [39, 21, 27, 19]


@pytest.mark.parametrize("kind", TYPES)
def test_sample_has_the_moments_of_the_mixture(kind):
    p, n = guess(kind), 20_000
    points, labels = sample(p, n, np.random.default_rng(8))
    assert points.shape == (n, 2) and abs((labels == 1).mean() - .6) < 5 * np.sqrt(.24 / n)
    for k, C in enumerate(p.matrices()):
        mine = points[labels == k]
        error = np.sqrt(np.diag(C) / len(mine))
        assert (abs(mine.mean(axis=0) - p.means[k]) < 5 * error).all()
        assert (abs(mine.var(axis=0) / np.diag(C) - 1) < 5 * np.sqrt(2 / len(mine))).all()
    with pytest.raises(ValueError, match="n must be"):
        sample(p, -1, np.random.default_rng(0))


@pytest.fixture
def axes():
    from matplotlib.figure import Figure
    return Figure().subplots()


@pytest.mark.parametrize("kind", TYPES)
def test_ellipses_lie_one_and_two_standard_deviations_out(axes, kind):
    p = guess(kind)
    assert plot_ellipses(p, axes) is axes and len(axes.lines) == 4
    assert len({line.get_linestyle() for line in axes.lines}) == 2
    for i, line in enumerate(axes.lines):
        away = line.get_xydata() - p.means[i // 2]
        squares = np.einsum("ni,ij,nj->n", away, np.linalg.inv(p.matrices()[i // 2]), away)
        equal(squares, np.full(100, (1 + i % 2)**2), rtol=1e-8)


def test_a_step_is_drawn_with_a_colour_and_a_marker_for_the_component(axes):
    film = Tracer()
    fit_gmm(X, 2, start=guess(), callbacks=[film])
    plot_step(film.steps[-1], X, axes)
    r = responsibilities(film.steps[-1].params, X)
    assert [len(c.get_offsets()) for c in axes.collections] == np.bincount(r.argmax(axis=1)).tolist()
    assert f"round {len(film.steps) - 1}" in axes.get_title() and f"{film.steps[-1].log_likelihood:.1f}" in axes.get_title()
    sure = axes.collections[0].get_facecolors()[r[r.argmax(axis=1) == 0, 0].argmax(), :3]
    np.testing.assert_allclose(sure, to_rgb("C0"), atol=1e-3)


def test_ellipses_need_a_plane(axes):
    with pytest.raises(ValueError, match="params has 3 columns and ellipses need 2"):
        plot_ellipses(random_start(np.random.default_rng(0).normal(size=(9, 3)), 2, "full", np.random.default_rng(0)), axes)


def test_the_film_is_the_same_bytes_each_time_and_needs_no_network():
    film = Tracer()
    fit_gmm(X, 2, start=guess(), callbacks=[film])
    page = animate_em(film.steps, X, ("duration (min)", "wait (min)"), frames=3)
    assert page == animate_em(film.steps, X, ("duration (min)", "wait (min)"), frames=3)
    assert page != animate_em(film.steps, X, ("duration (min)", "wait (s)"), frames=3)
    assert page.count("data:image/png") == 3 and len(page) < 1e6
    assert "http" not in page and "<link" not in page and 'class="fa' not in page
    with pytest.raises(ValueError, match="steps is empty"):
        animate_em([], X)
    with pytest.raises(ValueError, match="frames == 0"):
        animate_em(film.steps, X, frames=0)


# ---- what a hostile user found --------------------------------------------------------------------


def test_masked_values_are_not_fitted():
    with pytest.raises(ValueError, match="X has masked values"):
        fit_gmm(np.ma.array(X, mask=X > 90), 2)


@pytest.mark.parametrize("column, words", [
    (1e12 + np.arange(N) * 1e-4, "column 2 of X is constant .* to within rounding"),
    (np.arange(N) * 1e155, "column 2 of X has standard deviation .* rescale it"),
    (np.arange(N) * 1e-160, "column 2 of X has standard deviation .* rescale it"),
])
def test_columns_out_of_range_are_named(column, words):
    with pytest.raises(ValueError, match=words):
        fit_gmm(np.c_[X, column], 2)


def test_a_start_far_from_the_data_is_refused():
    far = GMMParams([0.5, 0.5], [[1e9, 0], [3, 70]], [np.eye(2)] * 2)
    with pytest.raises(ValueError, match="component 0 more than a million standard deviations away"):
        fit_gmm(X, 2, start=far)


def test_every_start_sees_the_callbacks_even_of_an_iterator():
    tracer = Tracer()
    fit_gmm(X, 2, n_init=3, callbacks=iter([tracer]))
    assert sum(step.iteration == 0 for step in tracer.steps) == 3


def test_one_warning_where_the_best_start_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="best of 3 starts stopped after max_iter=2") as caught:
        fit_gmm(X, 2, n_init=3, max_iter=2)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_parameters_are_copies_and_read_only():
    means = np.array([[3.0, 70.0]])
    params = GMMParams([1.0], means, [np.eye(2)])
    means[0, 0] = 7
    assert params.means[0, 0] == 3
    with pytest.raises(ValueError, match="read-only"):
        params.means[0, 0] = 7


def test_factors_are_computed_once_per_pass(monkeypatch):
    calls = []
    monkeypatch.setattr(gmm, "_cholesky", lambda C, k: (calls.append(k), np.linalg.cholesky(C))[1])
    e_step(GMM(), guess(), in_blocks(X, 10))
    assert calls == [0, 1]


def test_the_function_of_a_pass_can_be_sent_to_another_process():
    expect = pickle.loads(pickle.dumps(GMM().expectation(guess())))
    assert expect(X).log_likelihood == e_step(GMM(), guess(), X).log_likelihood


def test_nearly_collinear_columns_are_refused_or_fitted_but_never_crash():
    for width in 10.0 ** -np.arange(3, 10):
        rng = np.random.default_rng(1)
        A = rng.normal(size=(100, 3))
        A[:, 1] = 2 * A[:, 0] + width * A[:, 1]
        for kind in TYPES:
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", ".* starts collapsed", RuntimeWarning)
                    assert np.isfinite(fit_gmm(A, 1, kind).log_likelihood)
            except ValueError as error:
                assert "vary in 2 directions only" in str(error)
            except CollapseError as error:
                assert "collapsed" in str(error)
