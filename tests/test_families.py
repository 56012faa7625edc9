"""Exponential families and their mixtures in emlit.families: densities, moments, rounds of EM, digits, weights, errors."""
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import bernoulli, gamma, multivariate_normal, poisson

from strict import equal, no_warnings  # noqa: F401, a fixture
from emlit import families, gmm
from emlit.bound import posterior
from emlit.data import load_faithful
from emlit.em import e_step, em, in_blocks
from emlit.families import GAUSSIANS, Bernoulli, Categorical, Diag, Family, Full, MixtureModel, Poisson, Spherical, Tied, _moments
from emlit.likelihood import numerical_gradient

TYPES = ["full", "tied", "diag", "spherical"]
X = load_faithful().X
K, D, N = 3, 4, 700


def gaussian(kind, k=K, d=D, seed=1):
    "Weights, means and covariances of a kind, none of them special."
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((k, d, d))
    C = A @ A.mT + np.eye(d)
    C = {"full": C, "tied": C[0], "diag": C.diagonal(axis1=1, axis2=2), "spherical": C[:, 0, 0]}[kind]
    weights = rng.uniform(1, 2, k)
    return weights / weights.sum(), 3 * rng.standard_normal((k, d)), C


def points(n=N, d=D, seed=2):
    return 3 * np.random.default_rng(seed).standard_normal((n, d))


def discrete(name):
    "A family, theta, some rows, and their log-probabilities (n, k) from scipy or from loops."
    rng = np.random.default_rng(3)
    if name == "poisson":
        rates, rows = rng.uniform(.5, 6, (K, D)), rng.poisson(3, (N, D)).astype(float)
        return Poisson(), rates, rows, poisson(rates).logpmf(rows[:, None]).sum(axis=2)
    if name == "bernoulli":
        p, rows = rng.uniform(.1, .9, (K, D)), (rng.random((N, D)) < .4).astype(float)
        return Bernoulli(), p, rows, bernoulli(p).logpmf(rows[:, None]).sum(axis=2)
    p, rows = rng.dirichlet([1, 2, 3], (K, D)), rng.integers(0, 3, (N, D)).astype(float)
    logs = [[sum(np.log(p[k, j, int(row[j])]) for j in range(D)) for k in range(K)] for row in rows]
    return Categorical(3), p, rows, np.array(logs)


DISCRETE = ["poisson", "bernoulli", "categorical"]


def features(family, rows):
    out = np.full((family.size(rows.shape[1]), len(rows)), np.nan)
    family.features(rows.T, out)
    return out


def round_of(model, params, data, mapper=map):
    return model.maximization(e_step(model, params, data, mapper), params)


def test_everything_exported_is_tested_here():
    assert set(families.__all__) == {"Family", "Poisson", "Bernoulli", "Categorical", "Full", "Tied", "Diag", "Spherical",
                                     "GAUSSIANS", "MixtureModel"}
    assert {kind: type(family) for kind, family in GAUSSIANS.items()} == dict(full=Full, tied=Tied, diag=Diag, spherical=Spherical)


# ---- densities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_gaussian_features_times_natural_parameters_are_scipys_log_density(kind):
    _, means, C = gaussian(kind)
    matrices, rows = gmm.full_covariances(C, kind, K, D), points(20)
    wanted = [[multivariate_normal(m, S).logpdf(row) for m, S in zip(means, matrices)] for row in rows]
    eta, T = GAUSSIANS[kind].natural(means, C), features(GAUSSIANS[kind], rows)
    assert eta.shape == (K, GAUSSIANS[kind].size(D)) and (T[0] == 1).all()
    equal((eta @ T).T, wanted)
    equal(GAUSSIANS[kind].peak(means, C), [multivariate_normal(m, S).logpdf(m) for m, S in zip(means, matrices)])


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_features_times_natural_parameters_are_the_log_probability(name):
    family, theta, rows, logs = discrete(name)
    equal((family.natural(theta) @ features(family, rows)).T, logs)
    equal(family.peak(theta), np.zeros(K))


@pytest.mark.parametrize("family, eta, mean", [
    (Poisson(), lambda v: np.exp(v), lambda v: np.exp(v)),
    (Bernoulli(), lambda v: 1 / (1 + np.exp(-v)), lambda v: 1 / (1 + np.exp(-v)))])
def test_gradient_of_the_log_normaliser_is_the_mean(family, eta, mean):
    v = np.array([.3, -.8, 1.1])
    equal(numerical_gradient(lambda v: -family.natural(eta(v)[None])[0, 0], v), mean(v), rtol=1e-6)


def test_impossible_values_are_very_improbable_but_finite():
    model = MixtureModel(Bernoulli())
    table = model.log_joint(([.5, .5], [[0., .5], [1., .5]]), np.array([[1., 0.], [0., 1.]]))
    equal(posterior(table), [[0, 1], [1, 0]], atol=1e-200)
    assert np.isfinite(table).all() and table.min() < -690
    equal(table.max(axis=1), np.log([.25, .25]))
    with pytest.raises(ValueError, match="X holds 2 in column 1"):
        model.log_joint(([1.], [[.5, .5]]), np.array([[1., 2.]]))


# ---- moments to parameters ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_one_gaussian_component_matches_moments(kind):
    family, rows = GAUSSIANS[kind], points()
    w = np.random.default_rng(4).uniform(0, 2, N)
    mean, S = np.average(rows, axis=0, weights=w), np.cov(rows.T, aweights=w, bias=True)
    sums = family.sums(rows.T, w)
    equal(sums, features(family, rows) @ w, atol=1e-10)
    means, C = family.parameters(sums[None])
    equal(means[0], mean)
    equal(C, {"full": S[None], "tied": S, "diag": np.diag(S)[None], "spherical": [np.trace(S) / D]}[kind])


@pytest.mark.parametrize("name", DISCRETE)
def test_one_discrete_component_matches_moments(name):
    family, _, rows, _ = discrete(name)
    (theta,) = family.parameters(family.sums(rows.T, np.ones(N))[None])
    wanted = np.array([(rows == c).mean(axis=0) for c in range(3)]).T if name == "categorical" else rows.mean(axis=0)
    equal(theta[0], wanted)


def test_what_components_share_has_the_same_natural_parameter():
    for family, theta, common in [(Tied(), gaussian("tied")[1:], 10), (Poisson(), discrete("poisson")[1:2], 1),
                                  (Full(), gaussian("full")[1:], 0), (Bernoulli(), discrete("bernoulli")[1:2], 0)]:
        assert family.common(D) == common
        eta = family.natural(*theta)
        equal(eta[1:, family.size(D) - common:], np.tile(eta[0, family.size(D) - common:], (K - 1, 1)))


# ---- rounds of EM ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_a_round_is_that_of_chapter_14(kind):
    params, rows = gaussian(kind), points(1500)
    model, old, start = MixtureModel(GAUSSIANS[kind]), gmm.GMM(kind), gmm.GMMParams(*gaussian(kind), kind)
    got, wanted = e_step(model, params, rows), e_step(old, start, rows)
    equal([got.log_likelihood, got.weight], [wanted.log_likelihood, 1500], rtol=1e-12)
    new, expected = model.maximization(got, params), old.maximization(wanted, start)
    for a, b in zip(new, (expected.weights, expected.means, expected.covariances), strict=True):
        equal(a, b, rtol=1e-9, atol=1e-12)
    equal(model.log_joint(params, rows), gmm.log_joint(start, rows))


@pytest.mark.parametrize("kind", TYPES)
def test_a_whitened_round_is_that_of_chapter_14(kind, monkeypatch):
    monkeypatch.setattr(families, "_MOST_LOST", -1.0)
    test_a_round_is_that_of_chapter_14(kind)
    assert "whitened" in e_step(MixtureModel(GAUSSIANS[kind]), gaussian(kind), points()).statistics


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_round_is_that_of_loops(name):
    family, theta, rows, logs = discrete(name)
    model, params = MixtureModel(family), (np.array([.2, .3, .5]), theta)
    table = np.log(params[0]) + logs
    equal(model.log_joint(params, rows), table)
    r, got = posterior(table), e_step(model, params, rows)
    equal(got.log_likelihood, logsumexp(table, axis=1).sum(), rtol=1e-12)
    weights, new = model.maximization(got, params)
    values = (rows[:, :, None] == np.arange(3)).astype(float) if name == "categorical" else rows
    equal(weights, r.mean(axis=0))
    equal(new, [sum(r[n, k] * values[n] for n in range(N)) / r[:, k].sum() for k in range(K)])


@pytest.mark.parametrize("k, d", [(1, 1), (2, 1), (40, 3), (130, 2), (5, 20)])
def test_many_shapes_agree_with_chapter_14(k, d):
    "Products are cut in pieces by k and d; every way of cutting gives the same sums."
    (weights, means, C), rows = gaussian("full", k, d), points(1100, d)
    C = C + 9 * np.eye(d)
    got, start = round_of(MixtureModel(Full()), (weights, means, C), rows), gmm.GMMParams(weights, means, C)
    wanted = round_of(gmm.GMM(), start, rows)
    equal(got[0], wanted.weights, rtol=1e-8)
    equal(got[1], wanted.means, rtol=1e-7, atol=1e-9)
    equal(got[2], wanted.covariances, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", TYPES)
def test_small_parts_add_up(kind, monkeypatch):
    "The parts that a block is worked through in do not show, nor does the last one, which is shorter."
    model, params, rows = MixtureModel(GAUSSIANS[kind]), gaussian(kind), points(2001)
    whole, table = e_step(model, params, (rows, rows[:, 0]**2)), model.log_joint(params, rows)
    monkeypatch.setattr(families, "_NUMBERS", 1)
    parts = e_step(model, params, (rows, rows[:, 0]**2))
    equal([parts.log_likelihood, parts.weight], [whole.log_likelihood, whole.weight], rtol=1e-12)
    equal(parts.statistics["moments"], whole.statistics["moments"], atol=1e-8)
    equal(model.log_joint(params, rows), table, rtol=1e-12)


@pytest.mark.parametrize("family, theta", [(Full(), gaussian("full")[1:]), (Tied(), gaussian("tied")[1:]), (Poisson(), discrete("poisson")[1:2])])
def test_rows_with_weights_are_rows_repeated(family, theta):
    model, params = MixtureModel(family), (np.array([.2, .3, .5]), *theta)
    rows, weight = discrete("poisson")[2], np.random.default_rng(5).integers(0, 4, N)
    got, wanted = e_step(model, params, (rows, weight)), e_step(model, params, np.repeat(rows, weight, axis=0))
    equal([got.log_likelihood, got.weight], [wanted.log_likelihood, weight.sum()], rtol=1e-12)
    equal(got.statistics["moments"], wanted.statistics["moments"], atol=1e-8)
    small = model.maximization(e_step(model, params, (rows, weight * 1e-12)), params)
    for a, b in zip(small, model.maximization(wanted, params), strict=True):
        equal(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_blocks_and_threads_add_up(kind):
    model, params, rows = MixtureModel(GAUSSIANS[kind]), gaussian(kind), points(3000)
    whole = e_step(model, params, rows)
    with ThreadPoolExecutor(2) as pool:
        for size in (1, 503, 504, 1009) if kind == "full" else (505,):
            data = in_blocks(rows[:50] if size == 1 else rows, size)
            pieces, wanted = e_step(model, params, data, pool.map), e_step(model, params, rows[:50]) if size == 1 else whole
            equal(pieces.log_likelihood, wanted.log_likelihood, rtol=1e-12)
            equal(pieces.statistics["moments"], wanted.statistics["moments"], atol=1e-9)


def test_a_pass_leaves_rows_and_parameters_alone_and_forgets_the_last_one():
    "Buffers are reused: statistics of one pass must not change when the next pass runs."
    model, params, rows = MixtureModel(Full()), gaussian("full"), points()
    kept = tuple(p.copy() for p in params), rows.copy()
    first = e_step(model, params, rows)
    before = first.statistics["moments"].copy()
    e_step(model, params, rows[::-1] * 2)
    equal(first.statistics["moments"], before, rtol=0)
    for a, b in zip((*params, rows), (*kept[0], kept[1]), strict=True):
        equal(a, b, rtol=0)
    equal(pickle.loads(pickle.dumps(model)).log_joint(params, rows), model.log_joint(params, rows), rtol=0)


@pytest.mark.parametrize("kind", TYPES)
def test_whole_fits_end_where_those_of_chapter_14_do(kind):
    start = gmm.random_start(X, 2, kind, np.random.default_rng(0))
    got = em(MixtureModel(GAUSSIANS[kind]), (start.weights, start.means, start.covariances), X)
    equal(got.log_likelihood, gmm.fit_gmm(X, 2, kind, start=start).log_likelihood, rtol=1e-9)


def test_score_is_zero_at_a_fit_of_poissons():
    rng = np.random.default_rng(6)
    rows = rng.poisson(np.where(rng.random((300, 1)) < .4, [2., 8.], [6., 3.])).astype(float)
    model = MixtureModel(Poisson())
    fit = em(model, (np.array([.5, .5]), np.array([[2., 6.], [5., 4.]])), rows, tol=1e-12)

    def log_likelihood(v):
        logs = poisson(np.exp(v[2:]).reshape(2, 2)).logpmf(rows[:, None]).sum(axis=2)
        return logsumexp(v[:2] - logsumexp(v[:2]) + logs, axis=1).sum()

    at = np.r_[np.log(fit.params[0]), np.log(fit.params[1]).ravel()]
    equal(log_likelihood(at), fit.log_likelihood, rtol=1e-12)
    equal(numerical_gradient(log_likelihood, at), np.zeros(6), atol=1e-4)


# ---- digits ---------------------------------------------------------------------------------------


def exact_log_joint(rows, weights, means, sds):
    "Log-joints on the line, the squares in exact fractions."
    square = [[float(((Fraction(x) - Fraction(m)) / Fraction(s))**2 / 2) for m, s in zip(means, sds)] for x in rows]
    return np.log(weights) - np.log(sds) - .5 * np.log(2 * np.pi) - square


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("s", [1e-1, 1e-3, 1e-4, 1e-6, 1e-8])
def test_log_joints_keep_their_digits(kind, offset, s):
    if offset * 1e-16 > s / 100:
        pytest.skip("the data themselves have no digits left")
    sds = np.array([1.0, 1.0]) if kind != "tied" else np.array([s, s])
    sds[1] = s
    means, weights = np.array([0.0, 1.5]) + offset, np.array([.5, .5])
    rows = means[1] + s * np.random.default_rng(7).standard_normal(40)
    C = {"full": (sds**2)[:, None, None], "tied": np.array([[s**2]]), "diag": (sds**2)[:, None], "spherical": sds**2}[kind]
    table = MixtureModel(GAUSSIANS[kind]).log_joint((weights, means[:, None], C), rows[:, None])
    equal(table[:, 1], exact_log_joint(rows, weights, means, sds)[:, 1], rtol=0, atol=2e-10 if kind != "tied" else 1e-9)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("s", [1e-2, 1e-5, 1e-7])
def test_m_step_keeps_its_digits(kind, s):
    "A cluster of width s that one component owns: its variance against exact fractions."
    rng = np.random.default_rng(8)
    rows = np.r_[1e3 + rng.standard_normal(30), 1e3 + 50 + s * rng.standard_normal(30)][:, None]
    if kind == "tied":
        rows[:30] = 1e3 + s * rng.standard_normal((30, 1))
    exact = [Fraction(x) for x in rows[30:, 0]]
    mean = sum(exact) / 30
    variance = float(sum((x - mean)**2 for x in exact) / 30)
    if kind == "tied":
        other = [Fraction(x) for x in rows[:30, 0]]
        variance = (variance + float(sum((x - sum(other) / 30)**2 for x in other) / 30)) / 2
    v = np.array([s**2 if kind == "tied" else 1.0, 1.5 * s**2])
    C = {"full": v[:, None, None], "tied": v[1] * np.eye(1), "diag": v[:, None], "spherical": v}[kind]
    new = round_of(MixtureModel(GAUSSIANS[kind]), (np.array([.5, .5]), np.array([[1e3], [float(mean)]]), C), rows)
    equal(np.ravel(new[2])[-1], variance, rtol=1e-7)
    equal(new[1][1, 0], float(mean), rtol=1e-15)


def test_the_form_is_chosen_by_width_length_and_not_by_offset():
    def form(means, covariances, kind="full"):
        weights = np.full(len(means), 1 / len(means))
        return GAUSSIANS[kind].form(weights, (np.array(means, dtype=float), np.array(covariances, dtype=float))).name

    assert form([[0], [1]], [[[1]], [[1e-4]]]) == "moments"
    assert form([[0], [1]], [[[1]], [[1e-8]]]) == "whitened"
    assert form([[1e9], [1e9 + 1]], [[[1]], [[1e-4]]]) == "moments"
    assert form([[0, 0]], [[[1, 1 - 1e-10], [1 - 1e-10, 1]]]) == "whitened"
    assert form([[0, 0]], [[[1e-20, 0], [0, 1e20]]]) == "moments"
    assert [form(np.zeros((1, d)), [np.eye(d)]) for d in (89, 90)] == ["moments", "whitened"]  # wide: for speed
    assert form(np.zeros((1, 80)), np.ones((1, 80)), "diag") == form(np.zeros((1, 80)), np.eye(80), "tied") == "moments"
    for kind, C in [("diag", [[1], [1e-8]]), ("spherical", [1, 1e-8]), ("tied", [[1e-8]])]:
        assert form([[0], [1]], C, kind) == "whitened"


def test_the_loss_is_as_predicted():
    "eps / 2 (m^2 / v + 1) on the line, and the same for each kind where they are the same Gaussian."
    m, v = np.array([[-2.0], [3.0]]), np.array([.5, .25])
    wanted = .5 * np.finfo(float).eps * (9 / .25 + 1)
    for kind, C in [("full", v[:, None, None]), ("diag", v[:, None]), ("spherical", v)]:
        equal(families._lost(GAUSSIANS[kind], m, C), wanted, rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-150, 1e-100, 1e100, 1e150])
@pytest.mark.parametrize("kind", TYPES)
def test_units_change_nothing_but_units(kind, unit):
    (weights, means, C), rows = gaussian(kind), points()
    model = MixtureModel(GAUSSIANS[kind])
    one, other = round_of(model, (weights, means, C), rows), round_of(model, (weights, means * unit, C * unit**2), rows * unit)
    equal(other[0], one[0], rtol=1e-9)
    equal(other[1] / unit, one[1], rtol=1e-9)
    equal(other[2] / unit**2, one[2], rtol=1e-9)


def test_points_far_from_every_component_and_huge_counts():
    params = gaussian("full")
    rows = np.r_[points(5), np.full((1, D), 1e4)]
    equal(MixtureModel(Full()).log_joint(params, rows), gmm.log_joint(gmm.GMMParams(*params), rows), rtol=1e-9)
    got = e_step(MixtureModel(Full()), params, rows)
    equal(got.log_likelihood, logsumexp(gmm.log_joint(gmm.GMMParams(*params), rows), axis=1).sum(), rtol=1e-9)
    rates, counts = np.array([[1000.], [4000.]]), np.array([[900.], [4100.], [0.]])
    wanted = logsumexp(np.log(.5) + poisson(rates.T).logpmf(counts), axis=1).sum()
    equal(e_step(MixtureModel(Poisson()), ([.5, .5], rates), counts).log_likelihood, wanted)
    tied = ([.5, .5], np.array([[-60.], [60.]]), np.array([[1.]]))
    wanted = logsumexp(gmm.log_joint(gmm.GMMParams(*tied, "tied"), tied[1]), axis=1).sum()
    equal(e_step(MixtureModel(Tied()), tied, tied[1]).log_likelihood, wanted)


# ---- forms of data and errors ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["full", "diag"])
@pytest.mark.parametrize("change", [np.asfortranarray, lambda X: X[::-1][::-1], lambda X: np.repeat(X, 2, axis=1)[:, ::2], np.ndarray.tolist])
def test_layout_of_the_rows_does_not_matter(change, kind):
    params, rows = gaussian(kind), points()
    got, wanted = (round_of(MixtureModel(GAUSSIANS[kind]), params, r if isinstance(r, np.ndarray) else np.array(r)) for r in (change(rows), rows))
    for a, b in zip(got, wanted, strict=True):
        equal(a, b, rtol=1e-13, atol=1e-15)


def test_float32_is_accumulated_in_float64():
    params, rows = gaussian("full"), points().astype(np.float32)
    rows.setflags(write=False)
    got, wanted = round_of(MixtureModel(Full()), params, rows), round_of(MixtureModel(Full()), params, rows.astype(float))
    for a, b in zip(got, wanted, strict=True):
        equal(a, b, rtol=0)


def test_integers_and_no_rows():
    model, params = MixtureModel(Poisson()), ([.5, .5], [[1.], [3.]])
    equal(e_step(model, params, np.array([[1], [2]])).log_likelihood, e_step(model, params, np.array([[1.], [2.]])).log_likelihood, rtol=0)
    nothing = e_step(model, params, np.empty((0, 1)))
    assert nothing.weight == nothing.log_likelihood == 0 and not nothing.statistics["moments"].any()
    assert model.log_joint(params, np.empty((0, 1))).shape == (0, 2)


@pytest.mark.parametrize("family, value, message", [
    (Poisson(), 1.5, "X holds 1.5 in column 1: a Poisson takes counts"),
    (Poisson(), -1, "X holds -1 in column 1: a Poisson takes counts"),
    (Poisson(), np.inf, "X holds inf in column 1"),
    (Bernoulli(), .5, "X holds 0.5 in column 1: a Bernoulli takes 0 and 1 only"),
    (Bernoulli(), -1, "X holds -1 in column 1"),
    (Categorical(3), 3, "X holds 3 in column 1: codes are whole numbers from 0 to 2"),
    (Categorical(3), .5, "X holds 0.5 in column 1"),
    (Categorical(3), -1, "X holds -1 in column 1"),
    (Full(), np.nan, "X holds nan in column 1: leave out those rows"),
    (Tied(), np.inf, "X holds inf in column 1: leave out"),
    (Diag(), np.nan, "X holds nan in column 1"),
    (Spherical(), -np.inf, "X holds -inf in column 1")])
def test_values_that_a_family_cannot_emit(family, value, message):
    theta = {Poisson: [np.ones((2, 2))], Bernoulli: [np.full((2, 2), .5)], Categorical: [np.full((2, 2, 3), 1 / 3)],
             Full: [np.eye(2), [np.eye(2)] * 2], Tied: [np.eye(2), np.eye(2)], Diag: [np.eye(2), np.ones((2, 2))],
             Spherical: [np.eye(2), np.ones(2)]}[type(family)]
    rows = np.array([[0., 1.], [1., 0.], [0., 0.]])
    model, params = MixtureModel(family), ([.5, .5], *theta)
    assert family.check(rows.T) is None and np.isfinite(e_step(model, params, rows).log_likelihood)
    rows[2, 1] = value
    with pytest.raises(ValueError, match=message):
        e_step(model, params, rows)
    if not np.isfinite(value) or isinstance(family, (Poisson, Bernoulli, Categorical)):
        with pytest.raises(ValueError, match="in column 1"):
            family.check(rows.T)


@pytest.mark.parametrize("block, error, message", [
    (np.ones((3, 3)), ValueError, r"X has shape \(3, 3\) and the parameters have 2 columns: pass X of shape \(n, 2\)"),
    (np.ones(3), ValueError, r"X has shape \(3,\)"),
    (np.array([["a", "b"]]), TypeError, "X holds <U1, not real numbers"),
    ((np.ones((3, 2)), [1, 1]), ValueError, r"sample_weight of shape \(2,\) for 3 rows"),
    ((np.ones((3, 2)), [1, 1, -1]), ValueError, "sample_weight"),
    ((np.ones((3, 2)), [1, 1, np.nan]), ValueError, "sample_weight"),
    ((np.ones((3, 2)), [1, 1, np.inf]), ValueError, "sample_weight")])
def test_blocks_that_do_not_fit(block, error, message):
    model, params = MixtureModel(Poisson()), ([.5, .5], np.ones((2, 2)))
    with pytest.raises(error, match=message):
        e_step(model, params, block)


@pytest.mark.parametrize("params, message", [
    (([.5, .6], np.ones((2, 2))), "weights must be above 0 and sum to 1"),
    (([0, 1], np.ones((2, 2))), "weights must be above 0"),
    (([np.nan, 1], np.ones((2, 2))), "weights must be above 0"),
    (([1.], np.ones((2, 2))), "params have shapes"),
    (([.5, .5], np.ones(2)), "params have shapes"),
    (([.5, .5],), "params have shapes"),
    ((np.eye(2) / 2, np.ones((2, 2))), "params have shapes")])
def test_parameters_that_do_not_fit(params, message):
    with pytest.raises(ValueError, match=message):
        MixtureModel(Poisson()).expectation(params)


def test_covariances_that_are_none():
    with pytest.raises(ValueError, match="component 1 is not positive definite"):
        MixtureModel(Full()).expectation(([.5, .5], np.eye(2), [np.eye(2), np.zeros((2, 2))]))
    for kind in ("diag", "spherical"):
        with pytest.raises(ValueError, match="component 0 is not positive definite"):
            C = np.array([[-1.0, 1.0], [1.0, 1.0]]) if kind == "diag" else np.array([0.0, 1.0])
            MixtureModel(GAUSSIANS[kind]).expectation(([.5, .5], np.eye(2), C))
    with pytest.raises(ValueError, match="covariances have shape"):
        MixtureModel(Full()).expectation(([.5, .5], np.eye(2), np.eye(2)))


def test_probabilities_and_levels_that_are_none():
    for family, theta in [(Poisson(), -np.ones((1, 2))), (Bernoulli(), np.full((1, 2), 1.5)), (Bernoulli(), np.full((1, 2), -.5)),
                          (Categorical(2), np.full((1, 2, 2), np.nan))]:
        with pytest.raises(ValueError, match="probabilities must be from 0 to 1, and rates 0 or more"):
            MixtureModel(family).expectation(([1.], theta))
    for theta in (np.ones((1, 2)), np.full((1, 2, 3), 1 / 3)):
        with pytest.raises(ValueError, match=r"pass \(k, d, 2\)"):
            MixtureModel(Categorical(2)).expectation(([1.], theta))
    with pytest.raises(ValueError, match="levels == 0"):
        Categorical(0)
    with pytest.raises(TypeError, match="levels must be an instance of int"):
        Categorical(2.0)


def test_a_component_without_rows_is_named():
    params = (np.array([.5, .5]), np.array([[0.], [1e5]]), np.ones((2, 1)))
    with pytest.raises(gmm.CollapseError, match="component 1 is empty"):
        round_of(MixtureModel(Diag()), params, np.random.default_rng(9).standard_normal((20, 1)))


def test_a_family_of_ones_own():
    class Exponential(Family):
        def size(self, d):
            return 1 + d

        def features(self, X, out):
            out[0], out[1:] = 1, X

        def natural(self, lives):
            return np.c_[-np.log(lives).sum(axis=1), -1 / lives]

        def parameters(self, moments):
            return (moments[:, 1:] / moments[:, :1],)

    lives, rows = np.array([[2.], [6.]]), np.array([[.5], [1.], [9.]])
    model, params = MixtureModel(Exponential()), (np.array([.4, .6]), lives)
    r = posterior(np.log(params[0]) - np.log(lives.T) - rows / lives.T)
    equal(round_of(model, params, rows)[1], r.T @ rows / r.sum(axis=0)[:, None])
    with pytest.raises(ValueError, match="X holds nan"):
        e_step(model, params, np.array([[1.], [np.nan]]))


def test_rows_that_fill_up_a_batch_are_within_the_range_of_the_family():
    "A gamma distribution of shape 3 has a logarithm among its features, which 0 does not have."
    class Gamma(Family):
        def size(self, d):
            return 3

        def features(self, X, out):
            out[:] = np.ones(X.shape[1]), X[0], np.log(X[0])

        def natural(self, scale):
            return np.c_[-3 * np.log(scale[:, 0]) - np.log(2), -1 / scale[:, 0], np.full(len(scale), 2.0)]

        def parameters(self, moments):
            return (moments[:, 1:2] / moments[:, :1] / 3,)

    model, params, rows = MixtureModel(Gamma()), (np.array([.5, .5]), np.array([[1.], [4.]])), np.array([[.5], [3.], [20.]])
    table = np.log(.5) + gamma(3, scale=params[1].T).logpdf(rows)
    got = e_step(model, params, rows)
    equal(got.log_likelihood, logsumexp(table, axis=1).sum())
    r = posterior(table)
    equal(model.maximization(got, params)[1], r.T @ rows / r.sum(axis=0)[:, None] / 3)


# ---- small products --------------------------------------------------------------------------------


@pytest.mark.parametrize("k, m, batches", [(1, 1, 1), (3, 6, 2), (8, 45, 3), (16, 153, 2), (16, 2145, 1), (64, 153, 2), (200, 45, 1), (3000, 4, 1)])
def test_small_products_are_products(k, m, batches):
    "Whatever the pieces, also where the last piece is shorter than the others."
    rng, n = np.random.default_rng(0), 504 * batches
    A, F, L = rng.normal(size=(k, m)), rng.normal(size=(m, n)), np.full((k, n), np.nan)
    families._product(A, F, L)
    np.testing.assert_allclose(L, A @ F, rtol=1e-10, atol=1e-10, strict=True)
    np.testing.assert_allclose(families._outer(L, F), L @ F.T, rtol=1e-10, atol=1e-8, strict=True)


@pytest.mark.parametrize("m, most, sizes", [(10, 4, [4, 4, 2]), (10, 10, [10]), (10, 0, [1] * 10), (7, 6, [4, 3])])
def test_pieces_are_equal_but_the_last_and_leave_nothing_out(m, most, sizes):
    pieces = families._pieces(m, most)
    assert [p.stop - p.start for p in pieces] == sizes and [i for p in pieces for i in range(m)[p]] == list(range(m))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [1, 2, 5, 33])
def test_columns_may_be_in_their_place_already(kind, d):
    family, X = GAUSSIANS[kind], points(30, d).T
    wanted = np.array([np.ones(30), *X, *{"diag": X**2, "spherical": (X**2).sum(axis=0, keepdims=True)}.get(
        kind, [X[i] * X[(i + s) % d] for s in range(d // 2 + 1) for i in range(d // 2 if 2 * s == d else d)])])
    for place in (True, False):
        F = np.full((family.size(d), 30), np.nan)
        F[1:1 + d] = X if place else np.nan
        family.features(F[1:1 + d] if place else X, F)
        equal(F, wanted, rtol=1e-15)


@pytest.mark.parametrize("kind", TYPES)
def test_more_components_than_features(kind):
    "Then features are scaled by the weights of the rows and the sums over components, and not logits."
    (weights, means, C), rows, w = gaussian(kind, 40, 2), points(1100, 2), np.random.default_rng(10).integers(0, 3, 1100)
    got = round_of(MixtureModel(GAUSSIANS[kind]), (weights, means, C), (rows, w))
    wanted = round_of(gmm.GMM(kind), gmm.GMMParams(weights, means, C, kind), np.repeat(rows, w, axis=0))
    equal(got[0], wanted.weights, rtol=1e-9)
    equal(got[1], wanted.means, rtol=1e-8, atol=1e-9)
    equal(got[2], wanted.covariances, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-120, 1e120])
@pytest.mark.parametrize("kind", TYPES)
def test_more_components_than_features_in_odd_units(kind, unit):
    "Also with a row so far off that its densities, e^-392 or so, are near the end of the range of doubles."
    weights, means, _ = gaussian(kind, 40, 2)
    means, rows = means / 30, np.r_[points(500, 2) / 3, [[28, 0]]]
    C = {"full": np.tile(np.eye(2), (40, 1, 1)), "tied": np.eye(2), "diag": np.ones((40, 2)), "spherical": np.ones(40)}[kind]
    model = MixtureModel(GAUSSIANS[kind])
    one, other = (round_of(model, (weights, means * s, C * s**2), rows * s) for s in (1, unit))
    equal(other[0], one[0], rtol=1e-9)
    equal(other[1] / unit, one[1], rtol=1e-8)
    equal(other[2] / unit**2, one[2], rtol=1e-8)


# ---- rows that are left out -------------------------------------------------------------------------


def test_rows_are_left_out_only_where_no_digit_changes():
    "Bounded by (15.14): against sums over all rows in exact fractions."
    rng, d = np.random.default_rng(11), 16
    y = rng.standard_normal((d, 400)) * np.where(np.arange(400) < 120, 1, rng.uniform(1, 8, 400))
    squares = (y**2).sum(axis=0)
    r = np.where(np.arange(400) < 120, rng.uniform(.5, 1, 400), np.exp(-.5 * squares))
    kept_y, kept_r = families._counting(y, r, squares)
    assert 120 < kept_r.size == kept_y.shape[1] < 300
    allowed = np.finfo(float).eps / 4 * (r * (1 + squares)).sum() / (1 + d)

    def entry(r, y, i, j):
        y = np.r_[np.ones((1, len(r))), y]
        return sum(Fraction(a) * Fraction(b) * Fraction(c) for a, b, c in zip(r, y[i], y[j]))

    changes = [abs(float(entry(r, y, i, j) - entry(kept_r, kept_y, i, j))) for i in (0, 1, 16) for j in (0, 1, 9)]
    assert 0 < max(changes) < allowed


def test_a_far_row_counts_by_its_distance():
    "With 1e-20 of a row and 1e8 squared units away; and nothing is copied where more than three rows of four count, or for few columns."
    y = np.r_[np.zeros(20), 10 * np.ones(60), 2500][None] * np.ones((16, 1))
    r, squares = np.r_[np.ones(20), np.full(60, 1e-30), 1e-20], (y**2).sum(axis=0)
    kept_y, kept_r = families._counting(y, r, squares)
    equal(kept_r, np.r_[np.ones(20), 1e-20], rtol=0)
    equal(kept_y[3], np.r_[np.zeros(20), 2500], rtol=0)
    assert families._counting(y[:15], r, squares)[0].shape[1] == 81
    assert families._counting(y, 0 * r, squares)[1].size == 0
    r[20:70] = 1e-3
    assert families._counting(y, r, squares)[0] is y


def test_what_is_left_out_is_bounded_in_total():
    "A thousand rows may each have a thousandth of what may be left out, and no more."
    y, limit = np.zeros((16, 1200)), np.finfo(float).eps / 4 * 200 / 17
    for share, kept in [(.9, 200), (1.1, 1200)]:
        r = np.r_[np.ones(200), np.full(1000, share * limit / 1200)]
        assert families._counting(y, r, np.zeros(1200))[1].size == kept


@pytest.mark.parametrize("d", [16, 95])
def test_separated_components_in_whitened_form(d, monkeypatch):
    "Most rows are left out of most sums; the round is that of chapter 14, also for a row far from everything."
    monkeypatch.setattr(families, "_MOST_LOST", -1.0)
    k, rng = 5, np.random.default_rng(12)
    means, C = 100 * np.arange(k)[:, None] * np.ones(d), np.array([np.eye(d) * (1 + j) for j in range(k)])
    rows = means[rng.integers(k, size=1300)] + rng.standard_normal((1300, d))
    left = []
    counting = families._counting
    monkeypatch.setattr(families, "_counting", lambda y, r, q: left.append(1 - counting(y, r, q)[1].size / r.size) or counting(y, r, q))
    params = np.full(k, 1 / k), means, C
    got, wanted = round_of(MixtureModel(Full()), params, rows), round_of(gmm.GMM(), gmm.GMMParams(*params), rows)
    assert min(left) > .6
    for a, b in zip(got, (wanted.weights, wanted.means, wanted.covariances), strict=True):
        equal(a, b, rtol=1e-9, atol=1e-11)


def test_a_far_row_counts_in_whitened_form():
    "Two equal components, nearly in one place, and a row of which one has 1e-20, but 1e8 squared units away."
    rng, means, rows = np.random.default_rng(13), np.zeros((3, 16)), np.zeros((801, 16))
    means[:, 0] = 0, 46e-4, 900
    rows[:200], rows[200:, 0] = rng.standard_normal((200, 16)), np.r_[np.full(600, 900), -1e4]
    params = np.array([.3, .3, .4]), means, np.eye(16) * np.array([1., 1., 1e-8])[:, None, None]
    model = MixtureModel(Full())
    (name, sums), = e_step(model, params, rows).statistics.items()
    r = softmax(model.log_joint(params, rows), axis=1)[:, 1]
    assert name == "whitened" and 1e-21 < r[-1] < 1e-19
    exact = float(sum(Fraction(a) * (Fraction(x) - Fraction(means[1, 0]))**2 for a, x in zip(r, rows[:, 0])))
    far = r[-1] * (rows[-1, 0] - means[1, 0])**2
    assert far > 3e-13 and abs(sums[1, 17] - exact) < far / 4


@pytest.mark.parametrize("family", [Full(), Tied(), Diag(), Spherical()], ids=lambda f: f.kind)
@pytest.mark.parametrize("narrow", [1.0, 1e-7], ids=["natural", "whitened"])
def test_sums_for_given_responsibilities_are_those_of_the_e_step(family, narrow):
    rng = np.random.default_rng(5)
    n, k, d = 700, 3, 4
    means, widths = rng.normal(size=(k, d)), narrow * rng.uniform(1, 2, size=k)
    covariances = {"full": widths[:, None, None] * np.eye(d), "tied": widths[0] * np.eye(d),
                   "diag": np.tile(widths[:, None], d), "spherical": widths}[family.kind]
    params = np.full(k, 1 / k), means, covariances
    X = means[rng.integers(k, size=n)] + np.sqrt(narrow) * rng.normal(size=(n, d))
    model = MixtureModel(family)
    ((name, moments),) = model.expectation(params)(X).statistics.items()
    form = family.form(params[0], params[1:])
    assert name == form.name == ("moments" if narrow == 1 else "whitened")
    sums = _moments(X, form, softmax(model.log_joint(params, X), axis=1))
    if family.kind == "tied":                                      # only the sum over components matters there
        sums, moments = sums.sum(axis=0), moments.sum(axis=0)
    equal(sums, moments, rtol=1e-9, atol=1e-9 * abs(moments).max())


def test_matrices_are_worked_out_anew_when_they_change():
    "Kept by their values, not by the array that holds them; the last two of this thread."
    C = np.eye(3)[None].repeat(2, axis=0)
    first = families._worked_out(C)
    C[1] *= 4
    second = families._worked_out(C)
    equal(second.factors[1], 2 * np.eye(3))
    equal(second.precisions @ C, np.eye(3)[None].repeat(2, axis=0))
    equal(first.factors[1], np.eye(3))
    assert families._worked_out(C.copy()) is second and families._worked_out(np.eye(3)[None].repeat(2, axis=0)) is first
    families._worked_out(9 * C)
    assert families._worked_out(C) is second and families._worked_out(np.eye(3)[None].repeat(2, axis=0)) is not first


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_many_columns_with_variances_need_no_matrices(kind):
    "With 3000 columns and 4 components matrices would take 288 MB."
    rng, d = np.random.default_rng(0), 3000
    params = np.full(4, 0.25), rng.normal(size=(4, d)), np.ones((4, d) if kind == "diag" else 4)
    rows = params[1][rng.integers(4, size=40)] + rng.normal(size=(40, d))
    model = MixtureModel(GAUSSIANS[kind])
    tracemalloc.start()
    expected = model.expectation(params)(rows)
    model.maximization(expected, params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
