"""The gradient by Fisher's identity against finite differences for every model, and direct optimisation against EM."""
from dataclasses import replace

import numpy as np
import pytest

from emlit.classics import Linkage, Moths, TwoCoins
from emlit.convergence import pack, unpack
from emlit.data import load_coins, load_faithful, load_linkage, load_moths, sample_gaussian_mixture
from emlit.direct import DirectResult, complete_score, fisher_gradient, maximize_directly
from emlit.em import Expected, e_step, em, in_blocks
from emlit.families import Bernoulli, Categorical, Diag, Family, Full, MixtureModel, Poisson, Spherical, Tied
from emlit.likelihood import numerical_gradient

RNG = np.random.default_rng(21)
X = load_faithful().X / load_faithful().X.std(axis=0)
W, M = np.array([.3, .5, .2]), RNG.normal(size=(3, 2)) + X.mean(axis=0)
A = RNG.normal(size=(3, 2, 2))
C = A @ A.mT + .3 * np.eye(2)
GAUSSIAN = {"full": (Full(), C), "tied": (Tied(), C[0]), "diag": (Diag(), RNG.uniform(.3, 1, (3, 2))), "spherical": (Spherical(), RNG.uniform(.3, 1, 3))}
LEVELS = RNG.dirichlet(np.ones(3), size=(3, 4))
DISCRETE = {"poisson": (Poisson(), RNG.uniform(1, 5, (3, 2)), RNG.poisson(3, (50, 2))),
            "bernoulli": (Bernoulli(), RNG.uniform(.1, .9, (3, 4)), RNG.integers(0, 2, (50, 4))),
            "categorical": (Categorical(3), LEVELS, RNG.integers(0, 3, (50, 4)))}


def by_differences(model, params, data):
    return numerical_gradient(lambda v: e_step(model, unpack(v, params, model.spaces), data).log_likelihood, pack(params, model.spaces))


def assert_gradient(model, params, data):
    exact = by_differences(model, params, data)
    np.testing.assert_allclose(fisher_gradient(model, params, data), exact, rtol=1e-6, atol=1e-7 * abs(exact).max(), strict=True)


# ---- the gradient --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_gaussians(kind):
    family, covariances = GAUSSIAN[kind]
    assert_gradient(MixtureModel(family), (W, M, covariances), X)


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_gaussians_with_weights(kind):
    family, covariances = GAUSSIAN[kind]
    weights = RNG.uniform(0, 3, len(X))
    assert_gradient(MixtureModel(family), (W, M, covariances), (X, weights))
    whole = fisher_gradient(MixtureModel(family), (W, M, covariances), (np.r_[X, X], np.r_[weights, 1 + 0 * weights]))
    parts = [fisher_gradient(MixtureModel(family), (W, M, covariances), block) for block in [(X, weights), X]]
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_families(name):
    family, theta, data = DISCRETE[name]
    assert_gradient(MixtureModel(family), (W, theta), data.astype(float))


def test_edges_take_no_slope():
    theta = LEVELS.copy()
    theta[1, 2] = [.5, .5, 0]
    assert_gradient(MixtureModel(Categorical(3)), (W, theta), DISCRETE["categorical"][2].astype(float))
    rates = np.array([[0, 2.0], [1, 3], [4, 1]])
    assert fisher_gradient(MixtureModel(Poisson()), (W, rates), DISCRETE["poisson"][2].astype(float)).shape == (2 + 5,)
    assert_gradient(MixtureModel(Poisson()), (W, rates), DISCRETE["poisson"][2].astype(float))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model, params, data, size", [(TwoCoins(), np.array([0, .5]), load_coins().X, 1), (Linkage(), 0.0, np.array([125.0, 18, 20, 0]), 0),
                                                       (Moths(), np.array([0, .4, .6]), np.array([0.0, 196, 341]), 1)])
def test_edges_of_the_classics_take_no_slope(model, params, data, size):
    slope = fisher_gradient(model, params, data)
    assert slope.shape == (size,) and np.isfinite(slope).all()
    if size:
        assert_gradient(model, params, data)
    assert maximize_directly(model, params, data).converged


@pytest.mark.parametrize("scale, offset", [(1e-7, 0), (1e7, 0), (1, 1e6)])
def test_whitened_form_and_units(scale, offset):
    model, data, plain = MixtureModel(Full()), X * scale + offset, fisher_gradient(MixtureModel(Full()), (W, M, C), X)
    moved = fisher_gradient(model, (W, M * scale + offset, C * scale**2), data)
    units = np.ones(17)
    units[2:8] = units[[10, 13, 16]] = 1 / scale                                 # means, and entries below the diagonal of L
    np.testing.assert_allclose(moved, plain * units, rtol=1e-6, atol=1e-7 * abs(plain * units).min())


def test_wide_gaussians():
    m, d = RNG.normal(size=(2, 95)), RNG.uniform(.5, 2, (2, 95))
    data = RNG.normal(size=(300, 95))
    full = fisher_gradient(MixtureModel(Full()), (np.array([.4, .6]), m, d[:, None] * np.eye(95)), data)
    diag = fisher_gradient(MixtureModel(Diag()), (np.array([.4, .6]), m, d), data)
    np.testing.assert_allclose(full[:191], diag[:191], rtol=1e-7, atol=1e-7)
    logs = np.concatenate([full[191:][:95], full[191 + 95 * 48:][:95]])          # by log L_ii, half of log v
    np.testing.assert_allclose(logs, 2 * diag[191:], rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("model, params, data", [(Linkage(), .3, load_linkage().X), (TwoCoins(), np.array([.4, .7]), load_coins().X),
                                                 (Moths(), np.array([.4, .5, .1]), load_moths().X)])
def test_classics(model, params, data):
    assert_gradient(model, params, data)


def test_score_of_1977():
    score = complete_score(Linkage(), e_step(Linkage(), .3, load_linkage().X), .3)
    assert score == pytest.approx(125 / 2.3 - 38 / .7 + 34 / .3, rel=1e-12)


def test_complete_data_score_of_one_gaussian():
    model, params = MixtureModel(Full()), (np.array([1.0]), M[:1], C[:1])
    by_weight, by_mean, by_covariance = complete_score(model, e_step(model, params, X), params)
    P, D = np.linalg.inv(C[0]), X - M[0]
    np.testing.assert_allclose(by_mean[0], P @ D.sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(by_covariance[0], .5 * (P @ D.T @ D @ P - len(X) * P), rtol=1e-9)
    assert by_weight == pytest.approx([len(X)])


class Unknown:
    "A model that nobody registered: Poisson counts with a rate that it knows nothing hidden about."
    spaces = "positive"

    def expectation(self, rate):
        return lambda x: Expected({"x": x.sum()}, float(x.sum() * np.log(rate) - len(x) * rate), float(len(x)))

    def maximization(self, expected, rate):
        return expected.statistics["x"] / expected.weight


def test_models_without_a_score_go_by_differences():
    x = np.array([1.0, 4, 2])
    assert complete_score(Unknown(), None, 1.0) is None
    np.testing.assert_allclose(fisher_gradient(Unknown(), np.float64(2.0), x), [7 - 6], rtol=1e-8)
    fit = maximize_directly(Unknown(), np.float64(1.0), x)
    assert fit.converged and fit.params == pytest.approx(7 / 3, rel=1e-5)


def test_family_of_ones_own_goes_by_differences():
    class Own(Family):
        "A Poisson that is no subclass of it, so that nobody has registered its score."
        spaces, size, common, check = Poisson.spaces, Poisson.size, Poisson.common, Poisson.check
        features, natural, parameters = Poisson.features, Poisson.natural, Poisson.parameters
    family, theta, data = DISCRETE["poisson"]
    assert complete_score(MixtureModel(Own()), e_step(MixtureModel(Own()), (W, theta), data.astype(float)), (W, theta)) is None
    np.testing.assert_allclose(fisher_gradient(MixtureModel(Own()), (W, theta), data.astype(float)), fisher_gradient(MixtureModel(family), (W, theta), data.astype(float)), rtol=1e-7)


def test_parameters_outside_are_refused():
    with pytest.raises(ValueError, match="should lie in 'unit'"):
        fisher_gradient(Linkage(), 2.0, load_linkage().X)


# ---- the climb -----------------------------------------------------------------------------------

START = np.array([.5, .5]), np.array([[2.0], [4]]), np.ones((2, 1, 1))
DURATIONS = load_faithful().X[:, :1]


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "trust-exact"])
def test_the_same_summit_as_em(method):
    model = MixtureModel(Full())
    by_em = em(model, START, DURATIONS, tol=1e-12)
    direct = maximize_directly(model, START, DURATIONS, method=method, gtol=1e-7)
    assert isinstance(direct, DirectResult) and direct.converged and direct.gradient_norm <= 1e-7
    np.testing.assert_allclose(direct.log_likelihood, by_em.log_likelihood, rtol=1e-12)
    for a, b in zip(direct.params, by_em.params):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_record_is_true():
    model = MixtureModel(Full())
    fit = maximize_directly(model, START, DURATIONS)
    assert fit.n_e_steps == len(fit.history) == len(fit.seconds) and (np.diff(fit.seconds) >= 0).all()
    assert fit.history[0] == e_step(model, START, DURATIONS).log_likelihood
    assert fit.log_likelihood == e_step(model, fit.params, DURATIONS).log_likelihood == pytest.approx(fit.history.max(), rel=1e-13)
    norm = abs(fisher_gradient(model, fit.params, DURATIONS)).max() / 272
    assert fit.gradient_norm == pytest.approx(norm, rel=1e-9) and norm <= 1e-6


@pytest.mark.parametrize("base, start, data", [(Linkage, .5, load_linkage().X), (Unknown, np.float64(1.0), np.array([1.0, 4, 2]))])
@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "trust-exact"])
def test_every_e_step_is_counted_and_none_is_taken_twice(base, start, data, method):
    class Counting(base):
        seen = []
        def expectation(self, params):
            Counting.seen.append(float(params))
            return super().expectation(params)
    fit = maximize_directly(Counting(), start, data, method=method)
    assert fit.converged and fit.n_e_steps == len(Counting.seen)
    assert (fit.n_e_steps == len(fit.history)) == (base is Linkage) == (Counting.seen.count(float(start)) == 1)


def test_linkage_limit_and_stopping_early():
    fit = maximize_directly(Linkage(), .5, load_linkage().X, gtol=1e-9)
    assert fit.params == pytest.approx((15 + np.sqrt(53809)) / 394, rel=1e-8)
    short = maximize_directly(MixtureModel(Full()), START, DURATIONS, max_iter=2)
    assert short.n_iter == 2 and not short.converged
    rested = maximize_directly(Linkage(), fit.params, load_linkage().X)
    assert rested.converged and rested.n_iter == 0 and rested.n_e_steps == 1


def test_newton_counts_its_second_derivatives():
    newton = maximize_directly(MixtureModel(Full()), START, DURATIONS, method="trust-exact")
    assert newton.n_e_steps > newton.n_iter * 2 * 5 * .5 and newton.n_e_steps > maximize_directly(MixtureModel(Full()), START, DURATIONS).n_e_steps


def test_blocks_give_the_same():
    whole, blocks = (maximize_directly(MixtureModel(Full()), START, data, gtol=1e-8) for data in (DURATIONS, in_blocks(DURATIONS, 100)))
    np.testing.assert_allclose(blocks.log_likelihood, whole.log_likelihood, rtol=1e-12)


def test_a_step_too_far_is_taken_back():
    "A narrow start on far data makes the first step leave the region where the model works."
    data, _ = sample_gaussian_mixture(np.array([.5, .5]), np.array([[0.0], [30]]), np.ones((2, 1, 1)), 300, np.random.default_rng(1))
    start = np.array([.5, .5]), np.array([[10.0], [12]]), np.full((2, 1, 1), 1e-3)
    fit = maximize_directly(MixtureModel(Full()), start, data)
    assert fit.log_likelihood > e_step(MixtureModel(Full()), start, data).log_likelihood and np.isfinite(fit.gradient_norm)


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="method is 'Nelder-Mead': use one of L-BFGS-B"):
        maximize_directly(Linkage(), .5, load_linkage().X, method="Nelder-Mead")
    with pytest.raises(ValueError, match="cell probability 0: start from parameters strictly inside"):
        maximize_directly(Linkage(), 0.0, load_linkage().X)
    class Hopeless(Linkage):
        def expectation(self, pi):
            return lambda block: replace(super(Hopeless, self).expectation(pi)(block), log_likelihood=-np.inf)
    with pytest.raises(ValueError, match="no valid probability.*start from other parameters"):
        maximize_directly(Hopeless(), .5, load_linkage().X)
    with pytest.raises(ValueError, match="X holds nan in column 0"):                 # what the model has to say about the data
        maximize_directly(MixtureModel(Full()), START, np.array([[1.0], [np.nan], [2]]))


@pytest.mark.parametrize("options, error, match", [
    ({"gtol": -1.0}, ValueError, "gtol == -1.0, must be >= 0"), ({"gtol": np.nan}, ValueError, "gtol == nan"), ({"gtol": "small"}, TypeError, "gtol must be"),
    ({"max_iter": 0}, ValueError, "max_iter == 0, must be >= 1"), ({"max_iter": 2.5}, TypeError, "max_iter must be"), ({"method": ["BFGS"]}, ValueError, "method is")])
def test_arguments_are_checked(options, error, match):
    with pytest.raises(error, match=match):
        maximize_directly(Linkage(), .5, load_linkage().X, **options)


def test_models_must_say_where_their_parameters_lie():
    class Nowhere(Linkage):
        spaces = None
    for f in (fisher_gradient, maximize_directly):
        with pytest.raises(ValueError, match="Nowhere does not say where its parameters lie: give the class an attribute `spaces`"):
            f(Nowhere(), .5, load_linkage().X)
