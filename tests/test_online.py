"""Statistics carried between coordinates, stepwise and incremental EM, and `partial_fit`."""
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from strict import equal, no_warnings, quiet  # noqa: F401

from emlit import mixture
from emlit.bound import lower_bound, posterior
from emlit.classics import TwoCoins
from emlit.data import load_coins, load_faithful, sample_gaussian_mixture
from emlit.em import Expected, e_step, em, in_blocks
from emlit.families import GAUSSIANS, Bernoulli, Categorical, Diag, Full, MixtureModel, Poisson, Spherical, Tied
from emlit.gaussian import GaussianMixture, Prior, _Bounded
from emlit.gmm import CollapseError
from emlit.hmm import HMMModel, chains_in_blocks
from emlit.keeping import load, save
from emlit.latent import log_marginal
from emlit.missing import group_patterns
from emlit.mixture import Mixture
from emlit.online import Incremental, Stepwise, _with_traces, carry

FAITHFUL = load_faithful().X
MODEL = MixtureModel(Full())
BEGIN = np.array([.5, .5]), FAITHFUL[[0, 1]], np.tile(np.cov(FAITHFUL.T), (2, 1, 1))


def gaussian_start(family, rng, k=3, d=2, offset=0.0):
    "Valid parameters of a Gaussian family."
    A = rng.normal(size=(k, d, d))
    C = A @ A.mT + np.eye(d)
    shapes = {"full": C, "tied": C[0], "diag": rng.uniform(.5, 2, (k, d)), "spherical": rng.uniform(.5, 2, k)}
    return rng.dirichlet(np.full(k, 5)), rng.normal(size=(k, d)) + offset, shapes[family.kind]


# ---- carried statistics --------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Full(), Tied(), Diag(), Spherical()], ids=lambda f: f.kind)
@pytest.mark.parametrize("scales", [(1, 1), (1e-9, 1), (1, 1e-9), (1e-9, 1e-9)], ids=str)
def test_carried_statistics_give_the_same_parameters(family, scales):
    "Between natural and whitened coordinates in all four ways: the M-step finds the same."
    rng = np.random.default_rng(5)
    model, X = MixtureModel(family), rng.normal(size=(60, 2))
    old = gaussian_start(family, rng)
    old = old[0], old[1] * np.sqrt(scales[0]), old[2] * scales[0]
    new = gaussian_start(family, rng)
    new = new[0], new[1], new[2] * scales[1]
    part = e_step(model, old, X * np.sqrt(scales[0]))
    moved = carry(model, part, old, new)
    (name,) = moved.statistics
    assert name == model.family.form(new[0], new[1:]).name
    assert (moved.log_likelihood, moved.weight) == (part.log_likelihood, part.weight)
    if scales[0] >= scales[1]:                                                         # else the new coordinates are too coarse
        for a, b in zip(model.maximization(moved, new), model.maximization(part, old)):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("family", [Full(), Tied(), Diag(), Spherical()], ids=lambda f: f.kind)
@pytest.mark.parametrize("offset", [0, 1e8])
def test_carried_sums_are_those_of_the_rows(family, offset):
    "One component owns every row, so the sums in any coordinates are known: compare with an E-step there."
    rng = np.random.default_rng(6)
    model, X = MixtureModel(family), rng.normal(size=(50, 2)) + offset
    old, new = (gaussian_start(family, rng, k=1, offset=offset) for _ in range(2))
    moved, direct = carry(model, e_step(model, old, X), old, new), e_step(model, new, X)
    assert moved.statistics.keys() == direct.statistics.keys()
    (name,) = moved.statistics
    np.testing.assert_allclose(moved.statistics[name], direct.statistics[name], rtol=1e-6 if offset else 1e-10, atol=1e-5 if offset else 1e-9)


def test_carry_with_an_empty_component():
    "A component without rows brings nothing, and disturbs nobody, shared covariance or not."
    rng = np.random.default_rng(7)
    for family in (Full(), Tied()):
        model = MixtureModel(family)
        old, new = gaussian_start(family, rng), gaussian_start(family, rng)
        old[1][0] = 1e3
        part = e_step(model, old, rng.normal(size=(50, 2)))
        assert part.statistics["moments"][0, 0] < 1e-250
        moments = carry(model, part, old, new).statistics["moments"]
        assert abs(moments[0]).max() < 1e-200 and np.isfinite(moments).all()
        np.testing.assert_allclose(moments[:, 0].sum(), 50, rtol=1e-12)
        if family.kind == "tied":
            both = e_step(model, new, rng.normal(size=(50, 2)))
            for a in model.maximization(carry(model, part, old, new) + both, new):
                assert np.isfinite(a).all()


def test_other_families_are_carried_as_they_are():
    "Counts have no centre."
    model, params = MixtureModel(Poisson()), (np.array([.5, .5]), np.array([[1.], [4.]]))
    part = e_step(model, params, np.arange(9.)[:, None])
    assert carry(model, part, params, (params[0], params[1] + 1)) is part


# ---- stepwise EM ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Full(), Tied(), Diag(), Spherical(), Poisson(), Bernoulli(), Categorical(3)], ids=lambda f: type(f).__name__)
def test_one_component_with_decay_one_is_the_maximum_likelihood(family):
    "No hidden labels: equal weights make the moving average the plain one."
    rng = np.random.default_rng(8)
    gaussian = hasattr(family, "kind")
    X = rng.normal(size=(120, 2)) @ np.array([[1, .5], [0, 2]]) + 1e4 if gaussian else rng.integers(0, 2, size=(120, 2)).astype(float)
    start = {"Poisson": np.ones((1, 2)), "Bernoulli": np.full((1, 2), .3), "Categorical": np.full((1, 2, 3), 1 / 3)}
    params = gaussian_start(family, rng, k=1, offset=1e4) if gaussian else (np.ones(1), start[type(family).__name__])
    model, learner = MixtureModel(family), Stepwise(MixtureModel(family), params, decay=1)
    for block in np.array_split(X, 12):
        learner.update(block)
    best = em(model, params, X, max_iter=1, warn=False).params
    for a, b in zip(learner.params, best):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(learner.rows, 120, rtol=1e-12)
    assert learner.n_updates == 12


def test_stepwise_against_uncentred_statistics():
    "The recursion written out with uncentred moments and the labels' posteriors gives the same parameters."
    rng = np.random.default_rng(9)
    X, _ = sample_gaussian_mixture(np.array([.4, .6]), np.array([[0., 0], [3, 1]]), np.tile(np.eye(2), (2, 1, 1)), 400, rng)
    params = np.array([.5, .5]), X[:2], np.tile(np.cov(X.T), (2, 1, 1))
    learner, w, s = Stepwise(MODEL, params, decay=.7, offset=3), 0.0, None
    for t, block in enumerate(np.array_split(X, 8), 1):
        table = MODEL.log_joint(params, block)
        R, score = posterior(table) / len(block), log_marginal(table) / len(block)
        new = [R.sum(axis=0), R.T @ block, np.einsum("nk,ni,nj->kij", R, block, block)]
        gamma = 1.0 if s is None else (t + 3)**-.7
        assert learner.step_size(50) == pytest.approx(gamma, rel=1e-14)
        s = new if s is None else [(1 - gamma) * a + gamma * b for a, b in zip(s, new)]
        w = (1 - gamma)**2 * w + gamma**2 / len(block)
        means = s[1] / s[0][:, None]
        params = s[0] / s[0].sum(), means, s[2] / s[0][:, None, None] - means[:, :, None] * means[:, None]
        assert learner.update(block) == pytest.approx(score, rel=1e-10)
        for a, b in zip(learner.params, params):
            np.testing.assert_allclose(a, b, rtol=1e-8)
        np.testing.assert_allclose(learner.rows, 1 / w, rtol=1e-12)


@pytest.mark.parametrize("cuts", [[60, 70, 71, 119], [100], range(40, 120, 4)], ids=["uneven", "two", "short"])
def test_with_decay_one_blocks_of_any_size_are_averaged_by_rows(cuts):
    "A row counts the same in a long block and in a short one, and the average remembers all."
    X = np.random.default_rng(18).normal(size=(120, 2))
    learner = Stepwise(MODEL, (np.ones(1), X[:1], np.eye(2)[None]), decay=1)
    for block in np.split(X, list(cuts)):
        learner.update(block)
    np.testing.assert_allclose(learner.params[1][0], X.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(learner.params[2][0], np.cov(X.T, bias=True), rtol=1e-9)
    np.testing.assert_allclose([learner.rows, learner.seen], [120, 120], rtol=1e-12)


def test_a_block_counts_by_its_rows():
    "gamma is a power of the number of such blocks that all rows so far make, whatever the first blocks were."
    learner = Stepwise(MODEL, BEGIN, decay=.7, offset=2)
    assert learner.step_size(5) == 1
    learner.update(FAITHFUL[:100])
    learner.update((FAITHFUL[100:150], np.full(50, .4)))
    assert learner.seen == pytest.approx(120, rel=1e-12)
    assert learner.step_size(40) == pytest.approx((160 / 40 + 2)**-.7, rel=1e-12)
    assert learner.step_size(1) == pytest.approx(123**-.7, rel=1e-12)


def test_a_block_in_parts_is_one_update():
    "Parts are added up before the M-step, by whatever maps over them."
    whole, parts, mapped = (Stepwise(MODEL, BEGIN) for _ in range(3))
    calls = []
    def mapper(function, items):
        calls.append(1)
        return map(function, items)
    for a in (0, 136):
        scores = [whole.update(FAITHFUL[a:a + 136]), parts.update(in_blocks(FAITHFUL[a:a + 136], 50)),
                  mapped.update(in_blocks(FAITHFUL[a:a + 136], 50), mapper)]
        np.testing.assert_allclose(scores, scores[0], rtol=1e-12)
    assert len(calls) == parts.n_updates == 2
    for a, b, c in zip(whole.params, parts.params, mapped.params):
        np.testing.assert_allclose(b, a, rtol=1e-9)
        np.testing.assert_array_equal(b, c)


def test_parts_may_have_holes():
    "Complete rows and rows with holes in one update are what their sum is in one round of EM."
    rows = FAITHFUL.copy()
    rows[::7, 0] = np.nan
    holes = np.isnan(rows).any(axis=1)
    parts = [rows[~holes], group_patterns(rows[holes])]
    learner = Stepwise(MODEL, BEGIN)
    learner.update(lambda: iter(parts))
    for a, b in zip(learner.params, em(MODEL, BEGIN, lambda: iter(parts), max_iter=1, warn=False).params):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_the_models_of_estimators_are_carried(kind):
    "The parameters of an estimator's model are a pair; its statistics are in the coordinates of the first of it."
    rng = np.random.default_rng(19)
    X, family = rng.normal(size=(50, 2)) + 100, GAUSSIANS[kind]
    old, new = (gaussian_start(family, rng, k=1, offset=100) for _ in range(2))
    model = _Bounded(kind, 50.)
    moved, direct = carry(model, e_step(model, (old, 0.0), X), (old, .5), (new, .1)), e_step(model, (new, 0.0), X)
    (name,) = direct.statistics
    np.testing.assert_allclose(moved.statistics[name], direct.statistics[name], rtol=1e-9, atol=1e-8)


def test_stepwise_far_from_zero():
    "An offset of 1e8 moves the means and nothing else."
    rng = np.random.default_rng(10)
    X, _ = sample_gaussian_mixture(np.array([.5, .5]), np.array([[0., 0], [4, 4]]), np.tile(np.eye(2), (2, 1, 1)), 3000, rng)
    X = np.round(X * 64) / 64                 # exact at the offset
    params = np.array([.5, .5]), X[:2], np.tile(np.cov(X.T), (2, 1, 1))
    near, far = Stepwise(MODEL, params), Stepwise(MODEL, (params[0], params[1] + 1e8, params[2]))
    for block in np.array_split(X, 30):
        near.update(block)
        far.update(block + 1e8)
    np.testing.assert_allclose(far.params[0], near.params[0], rtol=1e-6)
    np.testing.assert_allclose(far.params[1] - 1e8, near.params[1], atol=1e-6)
    np.testing.assert_allclose(far.params[2], near.params[2], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("family", [Full(), Tied(), Diag(), Spherical(), Poisson()], ids=lambda f: type(f).__name__)
def test_a_component_that_sleeps_is_found_again(family, offset):
    "800 blocks without its rows leave it its mean and width, and a millionth of a row; then its rows wake it."
    rng, gaussian = np.random.default_rng(30), hasattr(family, "kind")
    centres = np.array([[0., 0], [30, 0]]) + offset if gaussian else np.array([[2., 2], [90, 2]]) * (1 + offset / 1e6)
    def rows(labels):
        return rng.normal(centres[labels]) if gaussian else rng.poisson(centres[labels]).astype(float)
    widths = {"full": np.tile(np.eye(2), (2, 1, 1)), "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": np.ones(2)}
    params = (np.array([.5, .5]), centres + 1., *([widths[family.kind]] if gaussian else []))
    learner = Stepwise(MixtureModel(family), params, decay=.55)
    for _ in range(20):
        learner.update(rows(rng.integers(2, size=50)))
    awake = learner.params
    for _ in range(800):
        learner.update(rows(np.zeros(50, dtype=int)))
    (moments,), asleep = learner.average.statistics.values(), learner.params
    np.testing.assert_allclose(learner.rows * moments[1, 0], 1e-6, rtol=1e-9)
    np.testing.assert_allclose(moments[0, 0], 1, rtol=1e-8)
    np.testing.assert_allclose(asleep[1][1], awake[1][1], rtol=1e-7, atol=1e-7)
    if gaussian and family.kind != "tied":
        np.testing.assert_allclose(asleep[2][1], awake[2][1], rtol=1e-5, atol=1e-6)
    elif gaussian:
        np.testing.assert_allclose(asleep[2], np.eye(2), atol=.2)                     # that of the other
    for _ in range(60):
        learner.update(rows(rng.integers(2, size=50)))
    assert learner.params[0][1] > .3
    np.testing.assert_allclose(learner.params[1][1], centres[1], atol=.3 if gaussian else 3)


def test_traces_move_nothing_else():
    "Components that have rows keep their sums to the digit, light rows or not; models that are no mixture are left alone."
    for rows in (.01, 1e4):
        moments = np.array([[.7, 1, 2], [.3, 4, 5], [1e-20, 3e-20, 4e-20], [0, 0, 0]])
        lifted = _with_traces(MixtureModel(Poisson()), Expected({"moments": moments}, -1.0, 1.0), rows)
        np.testing.assert_array_equal(lifted.statistics["moments"][[0, 1, 3]], moments[[0, 1, 3]])
        trace = 1e-6 if rows < 1 else 1e-10
        np.testing.assert_allclose(lifted.statistics["moments"][2], trace * np.array([1, 3, 4]), rtol=1e-12)
        assert (lifted.log_likelihood, lifted.weight) == (-1.0, 1.0)
    coins = Expected({"a": np.zeros(2)}, 0.0, 1.0)
    assert _with_traces(TwoCoins(), coins, 5.0) is coins


def test_stepwise_hmm():
    "A chain model by blocks of sequences comes close to batch EM; statistics of starts and transitions are averaged too."
    rng = np.random.default_rng(11)
    transition, means = np.array([[.9, .1], [.2, .8]]), np.array([0., 4.])
    chains = []
    for _ in range(300):
        z = [rng.integers(2)]
        while len(z) < 20:
            z.append(rng.choice(2, p=transition[z[-1]]))
        chains.append(rng.normal(means[z])[:, None])
    X, lengths = np.concatenate(chains), np.full(300, 20)
    model = HMMModel(Full())
    params = np.array([.5, .5]), np.full((2, 2), .5), np.array([[-1.], [3.]]), np.ones((2, 1, 1))
    learner = Stepwise(model, params)
    for block in chains_in_blocks(X, lengths, 200)():
        learner.update(block)
    best = em(model, params, (X, lengths), tol=1e-3).params
    np.testing.assert_allclose(learner.params[1], best[1], atol=.06)
    np.testing.assert_allclose(learner.params[2], best[2], atol=.1)


def test_a_bad_block_changes_nothing():
    "Errors leave the learner as it was; a block without rows counts for nothing."
    learner = Stepwise(MODEL, BEGIN)
    learner.update(FAITHFUL[:100])
    before, rows = learner.params, learner.rows
    for bad in (np.full((5, 2), np.nan), FAITHFUL[:5, :1], np.full((3, 2), np.inf)):
        with pytest.raises((ValueError, FloatingPointError)):
            learner.update(bad)
    assert np.isnan(learner.update(FAITHFUL[:0]))
    assert learner.params is before and learner.rows == rows and learner.n_updates == 1
    class Odd(TwoCoins):
        def expectation(self, params):
            return lambda block: Expected({"a": np.zeros(2)}, np.nan, 1.0)
    with pytest.raises(FloatingPointError, match="of the block is nan"):
        Stepwise(Odd(), np.array([.6, .5])).update(load_coins().X)


@pytest.mark.parametrize("arguments, match", [({"decay": .5}, "decay == 0.5"), ({"decay": 1.01}, "decay == 1.01"), ({"offset": -1}, "offset == -1"),
                                              ({"decay": np.nan}, "decay == nan")])
def test_step_sizes_are_checked(arguments, match):
    with pytest.raises(ValueError, match=match):
        Stepwise(MODEL, BEGIN, **arguments)


def test_stepwise_approaches_the_maximum():
    "Many passes with decreasing steps end near the maximum of the likelihood of all rows."
    rng, best = np.random.default_rng(12), em(MODEL, BEGIN, FAITHFUL)
    learner = Stepwise(MODEL, BEGIN, decay=.8)
    for _ in range(40):
        for block in np.array_split(rng.permutation(FAITHFUL), 4):
            learner.update(block)
    assert best.log_likelihood - 1 < e_step(MODEL, learner.params, FAITHFUL).log_likelihood <= best.log_likelihood + 1e-9


# ---- incremental EM ------------------------------------------------------------------------------


def test_incremental_raises_the_bound_and_ends_at_the_maximum():
    "F by `lower_bound` from every block's own posterior never falls; the likelihood falls at times."
    ordered = FAITHFUL[np.argsort(FAITHFUL[:, 0])]
    learner, F, l = Incremental(MODEL, BEGIN, in_blocks(ordered, 17)), [], []
    q = [posterior(MODEL.log_joint(BEGIN, b)) for b in in_blocks(ordered, 17)()]
    previous = [learner.params]
    def record(b, params):
        q[b] = posterior(MODEL.log_joint(previous[0], ordered[17 * b:17 * b + 17]))
        previous[0] = params
        table = MODEL.log_joint(params, ordered)
        F.append(lower_bound(np.concatenate(q), table))
        l.append(log_marginal(table))
    for _ in range(14):
        learner.sweep(record)
    assert len(F) == 14 * 16 and (np.diff(F) > -1e-9).all() and (np.diff(l) < -1e-6).any()
    best = em(MODEL, BEGIN, FAITHFUL)
    np.testing.assert_allclose(l[-1], best.log_likelihood, rtol=1e-8)
    np.testing.assert_allclose(learner.params[1], best.params[1], rtol=1e-3)


def test_incremental_with_one_block_is_em():
    "One block: a sweep is a round."
    learner = Incremental(MODEL, BEGIN, FAITHFUL)
    for _ in range(4):
        learner.sweep()
    for a, b in zip(learner.params, em(MODEL, BEGIN, FAITHFUL, max_iter=5, warn=False).params):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_incremental_refusals():
    "Data that are no function, no blocks, or another number of them the second time."
    with pytest.raises(TypeError, match="only once"):
        Incremental(MODEL, BEGIN, iter([FAITHFUL]))
    with pytest.raises(ValueError, match="no blocks"):
        Incremental(MODEL, BEGIN, lambda: iter(()))
    for second in (0, 2, 6):
        numbers = iter((4, second))
        learner = Incremental(MODEL, BEGIN, lambda: (FAITHFUL[i::9] for i in range(next(numbers))))
        with pytest.raises(ValueError, match=f"gave {second} blocks, and 4"):
            learner.sweep()


# ---- partial_fit ---------------------------------------------------------------------------------


def three_groups(n, seed=20, offset=0.0):
    "Rows of three groups in two columns, and the parameters that made them."
    rng = np.random.default_rng(seed)
    centres, C = np.array([[0., 0], [5, 1], [2, 6]]), np.array([np.eye(2), [[1, .5], [.5, 1]], .5 * np.eye(2)])
    X, _ = sample_gaussian_mixture(np.array([.2, .3, .5]), centres, C, n, rng)
    return np.round(X * 64) / 64 + offset


def learnt(fitted):
    "The parameters of a Gaussian mixture."
    return fitted.weights_, fitted.means_, fitted.covariances_


def same_mixture(a, b, rtol=1e-9, atol=0.0):
    for x, y in zip(learnt(a), learnt(b)):
        equal(x, y, rtol=rtol, atol=atol)


@parametrize_with_checks([GaussianMixture(), GaussianMixture(covariance_type="tied", learning_decay=1.0)])
def test_scikit_learn_checks(estimator, check):
    "Those that call `partial_fit` among them."
    if "partial_fit" in str(check) or "n_features_in" in str(check) or "column_names" in str(check):
        quiet(lambda: check(estimator))


@pytest.mark.parametrize("settings", [{}, {"prior": "conjugate"}, {"reg_covar": 0.0}, {"init_params": "random", "random_state": 3}], ids=str)
@pytest.mark.parametrize("kind", GAUSSIANS)
def test_a_first_block_is_one_round_of_fit(kind, settings):
    "The same start and the same round, with prior and floor; the score is that of the start."
    X = three_groups(400)
    settings = {"random_state": 0} | settings
    online = GaussianMixture(3, covariance_type=kind, **settings).partial_fit(X)
    batch = quiet(lambda: GaussianMixture(3, covariance_type=kind, max_iter=1, **settings).fit(X))
    same_mixture(online, batch)
    equal(online.precisions_, batch.precisions_, rtol=1e-8)
    equal(np.float64(online.lower_bound_), batch.history_["log_likelihood"][0] / 400)
    assert online.n_updates_ == 1 and online.converged_ is False and len(online.history_) == online.n_iter_ == 0


@pytest.mark.parametrize("holes", [False, True])
def test_a_first_block_with_holes_and_weights_is_one_round_of_fit(holes):
    "Weights count, rows of weight 0 do not, and holes are holes."
    X, weight = three_groups(300), np.random.default_rng(21).integers(0, 4, 300).astype(float)
    if holes:
        X[::5, 0] = np.nan
    online = GaussianMixture(2, random_state=0).partial_fit(X, sample_weight=weight)
    batch = quiet(lambda: GaussianMixture(2, random_state=0, max_iter=1).fit(X, sample_weight=weight))
    same_mixture(online, batch)
    assert online._memory["seen"] == weight.sum()


@pytest.mark.parametrize("family, levels", [("poisson", 9), ("bernoulli", 2), ("categorical", 3), (Categorical(4), 3)], ids=str)
def test_mixtures_of_counts(family, levels):
    "One round for the first block; one component with decay 1 is the maximum likelihood, whatever the blocks."
    X = np.random.default_rng(22).integers(0, levels, size=(500, 3)).astype(float)
    X[:levels] = np.arange(levels)[:, None]
    online = Mixture(2, family=family, random_state=0).partial_fit(X)
    batch = quiet(lambda: Mixture(2, family=family, random_state=0, max_iter=1).fit(X))
    equal(online.parameters_[0], batch.parameters_[0])
    equal(np.float64(online.lower_bound_), batch.history_["log_likelihood"][0] / 500)
    one, all_rows = Mixture(family=family, learning_decay=1), Mixture(family=family).fit(X)
    for block in np.split(X, [10, 11, 300]):
        one.partial_fit(block)
    equal(one.parameters_[0], all_rows.parameters_[0])
    assert one.n_updates_ == 4 and one.predict(X[:5]).shape == (5,)


@pytest.mark.parametrize("kind", GAUSSIANS)
@pytest.mark.parametrize("settings", [{}, {"prior": Prior(mean=np.zeros(2), scale=2.0)}], ids=["plain", "prior"])
def test_one_gaussian_with_decay_one_is_the_fit_of_all_rows(kind, settings):
    "Whatever the blocks; the prior counts once, against all rows, and the floor is not added up."
    if settings and kind == "tied":
        settings = {"prior": Prior(mean=np.zeros(2), scale=2.0, shrinkage=3.0)}
    X = three_groups(300)
    online = GaussianMixture(covariance_type=kind, learning_decay=1, reg_covar=.01, **settings)
    for block in np.split(X, [20, 21, 150, 290]):
        online.partial_fit(block)
    same_mixture(online, GaussianMixture(covariance_type=kind, reg_covar=.01, **settings).fit(X), rtol=1e-8)


def test_later_blocks_are_steps_of_stepwise_em():
    "With the same start the estimator does what the engine does, and scores each block without floor and prior."
    X = three_groups(1000)
    online = GaussianMixture(3, random_state=0, reg_covar=0.0, learning_decay=.75, learning_offset=2.0)
    start = quiet(lambda: GaussianMixture(3, random_state=0, reg_covar=0.0, max_iter=0).fit(X[:300]))
    learner = Stepwise(MODEL, learnt(start), decay=.75, offset=2.0)
    for block in np.split(X, [300, 400, 450]):
        expected = log_marginal(MODEL.log_joint(learner.params, block)) / len(block)
        online.partial_fit(block)
        assert learner.update(block) == pytest.approx(expected, rel=1e-10)
        assert online.lower_bound_ == pytest.approx(expected, rel=1e-9)
        for a, b in zip(learnt(online), learner.params):
            equal(a, b, rtol=1e-8)


def test_scores_are_those_of_the_rows_alone():
    "Neither the prior nor the credit of the floor is in `lower_bound_`."
    X = three_groups(600)
    online = GaussianMixture(3, random_state=0, prior="conjugate", reg_covar=.3)
    for block in np.split(X, 3):
        before = clone(online) if not hasattr(online, "weights_") else pickle.loads(pickle.dumps(online))
        online.partial_fit(block)
        if hasattr(before, "weights_"):
            assert online.lower_bound_ == pytest.approx(before.score(block), rel=1e-10)
    assert online.n_updates_ == 3


def test_the_prior_is_settled_by_the_first_block():
    "Later blocks neither move nor widen it."
    X = three_groups(600)
    online = GaussianMixture(2, random_state=0, prior="conjugate").partial_fit(X[:200])
    mean, scale = online.prior_.mean, online.prior_.scale
    online.partial_fit(10 * X[200:] + 50)
    assert online.prior_.mean is mean and online.prior_.scale is scale


def test_one_pass_comes_close_to_batch():
    "100,000 rows, each seen once: within .01 nats a row of the maximum, on rows that neither has seen."
    X, test = three_groups(100_000), three_groups(5000, seed=23)
    batch = GaussianMixture(3, random_state=0).fit(X)
    for size in (500, 5000):
        online = GaussianMixture(3, random_state=0)
        for block in in_blocks(X, size)():
            online.partial_fit(block)
        assert batch.score(test) - .01 < online.score(test) < batch.score(test) + .01
        assert online.n_updates_ == 100_000 / size


def test_a_weight_of_two_is_a_row_twice():
    X, online = three_groups(400), []
    weight = np.random.default_rng(24).integers(1, 3, 200).astype(float)
    for later in ((X[200:], weight), (np.repeat(X[200:], weight.astype(int), axis=0), None)):
        online.append(GaussianMixture(2, random_state=0).partial_fit(X[:200]).partial_fit(later[0], sample_weight=later[1]))
    same_mixture(*online)
    assert online[0]._memory["seen"] == online[1]._memory["seen"] == 200 + weight.sum()
    assert online[0].lower_bound_ == pytest.approx(online[1].lower_bound_, rel=1e-10)


@pytest.mark.parametrize("kind", GAUSSIANS)
@pytest.mark.parametrize("holes", [False, True])
def test_far_from_zero(kind, holes):
    "An offset of 1e8 moves the means and nothing else."
    pair = []
    for offset in (0.0, 1e8):
        X = three_groups(2000, offset=offset)
        if holes:
            X[np.random.default_rng(25).random(X.shape) < .1] = np.nan
        shape = {"full": (3, 1, 1), "tied": (1, 1), "diag": (3, 1), "spherical": 3}[kind]
        start = {"weights_init": np.full(3, 1 / 3), "means_init": np.array([[0., 0], [5, 1], [2, 6]]) + offset,
                 "precisions_init": np.tile(np.eye(2) if kind in ("full", "tied") else np.ones(2)[:1 + (kind == "diag")], shape)}
        online = GaussianMixture(3, covariance_type=kind, **start)
        for block in np.split(X, [500, 700, 1500]):
            online.partial_fit(block)
        pair.append(online)
    near, far = pair
    equal(far.weights_, near.weights_, rtol=1e-5)
    equal(far.means_ - 1e8, near.means_, rtol=0, atol=2e-6)
    equal(far.covariances_, near.covariances_, rtol=1e-5, atol=1e-5)


def test_holes_in_later_blocks():
    "A column may be empty in a later block, and a block without any value teaches nothing."
    X = three_groups(600)
    online = GaussianMixture(3, random_state=0).partial_fit(X[:300])
    means, last = online.means_, online.lower_bound_
    online.partial_fit(np.full((4, 2), np.nan))
    assert online.means_ is means and online.n_updates_ == 1 and online.lower_bound_ == last
    online.partial_fit([[np.nan, np.nan], [1, 2]], sample_weight=[1, 0])
    assert online.means_ is means and online.n_updates_ == 1
    online.partial_fit(np.vstack([X[300:], np.full((30, 2), np.nan)]))
    assert online._memory["seen"] == 600
    online = GaussianMixture(3, random_state=0).partial_fit(X[:300])
    half = X[300:].copy()
    half[:, 1] = np.nan
    online.partial_fit(half)
    assert online.n_updates_ == 2 and not np.array_equal(online.means_[:, 0], means[:, 0])
    with pytest.raises(ValueError, match="has no value in any row"):
        GaussianMixture(2).partial_fit(half)


# ---- after a fit, and later ----------------------------------------------------------------------


def test_after_a_fit_nothing_is_forgotten():
    "One Gaussian, decay 1: a fit of some rows and blocks of the others are the fit of all."
    X = three_groups(500)
    online = GaussianMixture(learning_decay=1).fit(X[:300])
    for block in np.split(X[300:], [7, 60]):
        online.partial_fit(block)
    same_mixture(online, GaussianMixture().fit(X))
    assert online.n_updates_ == 3 and online._memory["rows"] == pytest.approx(500)


@pytest.mark.parametrize("settings", [{}, {"n_init": 3, "init_params": "random"}, {"accelerate": "squarem"}, {"prior": "conjugate"}], ids=str)
def test_after_a_fit_the_step_is_that_of_an_old_stream(settings):
    "The fit's statistics with weight 1 - gamma, the block's with gamma, where gamma counts the rows of the fit."
    X, block = three_groups(800), three_groups(100, seed=26) + 1
    online = GaussianMixture(3, random_state=0, reg_covar=0.0, **settings).fit(X)
    theta, model, gamma = learnt(online), _Bounded("full", 800., prior=online.prior_), 9**-.6
    assert online._memory["seen"] == online._memory["rows"] == 800
    online.partial_fit(block)
    parts = [e_step(model, (theta, 0.0), rows) for rows in (X, block)]
    rows = 1 / ((1 - gamma)**2 / 800 + gamma**2 / 100)
    moments = rows * sum(g * p.statistics["moments"] / p.weight for g, p in zip((1 - gamma, gamma), parts))
    expected, _ = model.maximization(Expected({"moments": moments}, 0.0, rows), (theta, 0.0))
    for a, b in zip(learnt(online), expected):
        equal(a, b, rtol=1e-8)
    assert online._memory["rows"] == pytest.approx(rows, rel=1e-10)


def test_fit_begins_anew():
    "A fit after blocks is a fit; the counter of blocks begins again."
    X = three_groups(600)
    online = GaussianMixture(3, random_state=0).partial_fit(X[:200]).partial_fit(X[200:400] + 3)
    online.fit(X)
    same_mixture(online, GaussianMixture(3, random_state=0).fit(X))
    assert not hasattr(online, "n_updates_") and online.converged_
    assert online.partial_fit(X[:100]).n_updates_ == 1


def test_state_is_kept(tmp_path):
    "Through pickle, and through save and load, after blocks and after a fit, the digits are those of one who went on; a clone has none."
    X, counts = three_groups(600), np.random.default_rng(27).poisson(4, size=(300, 2))
    for first, later in ((GaussianMixture(3, random_state=0, reg_covar=0.0).partial_fit(X[:300]), X[300:]), (GaussianMixture(3, random_state=0).fit(X[:300]), X[300:]),
                         (Mixture(2, random_state=0).partial_fit(counts[:100]), counts[100:])):
        save(first, tmp_path / "model.npz")
        copies = [pickle.loads(pickle.dumps(first)), load(tmp_path / "model.npz")]
        assert not hasattr(clone(first), "_memory")
        first.partial_fit(later)
        for copy in copies:
            np.testing.assert_array_equal(copy.partial_fit(later).score_samples(later), first.score_samples(later))


def test_no_statistics_no_going_on():
    "Parameters from elsewhere, or set by hand, have no statistics behind them."
    X = three_groups(300)
    fitted = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="came from another program"):
        GaussianMixture.from_sklearn(fitted.to_sklearn()).partial_fit(X)
    for name in ("weights_", "means_", "covariances_"):
        changed = pickle.loads(pickle.dumps(fitted))
        setattr(changed, name, getattr(changed, name)[::-1].copy())
        with pytest.raises(ValueError, match="set by hand.*Call fit"):
            changed.partial_fit(X)


@pytest.mark.parametrize("changed", [{"n_components": 3}, {"covariance_type": "diag"}], ids=str)
def test_settings_that_no_longer_fit(changed):
    "Another number of components or another type cannot go on."
    X = three_groups(300)
    online = GaussianMixture(2, random_state=0).partial_fit(X).set_params(**changed)
    with pytest.raises(ValueError, match="partial_fit goes on from covariance_type='full' and 2 components"):
        online.partial_fit(X)
    quiet(lambda: online.fit(X)).partial_fit(X)


# ---- what goes wrong -----------------------------------------------------------------------------


def test_a_bad_block_leaves_the_estimator_as_it_was():
    "The first block or a later one: after the error all attributes are what they were, and the next block is learnt from."
    X = three_groups(300)
    for model in (GaussianMixture(2, random_state=0), GaussianMixture(2, random_state=0).partial_fit(X), GaussianMixture(2, random_state=0).fit(X)):
        before = dict(vars(model))
        for bad in (np.full((5, 2), np.inf), X[:0], [["a", "b"]] * 5, np.full((5, 2), 1e200), X[:, :1] if hasattr(model, "weights_") else X[:1]):
            with pytest.raises(ValueError):
                model.partial_fit(bad)
            assert vars(model) == before or all(vars(model)[n] is before[n] for n in vars(model)) and vars(model).keys() == before.keys()
        for weight in (np.zeros(300), -np.ones(300), np.ones(3)):
            with pytest.raises(ValueError, match="[Ww]eight"):
                model.partial_fit(X, sample_weight=weight)
            assert vars(model).keys() == before.keys()
        assert np.isfinite(model.partial_fit(X).score(X))


@pytest.mark.parametrize("k, place, words", [(1, 4., "has collapsed"), (2, 400., "is empty")])
def test_a_collapse_leaves_the_estimator_as_it_was(k, place, words):
    "Equal rows that outweigh all others: one component loses its width, or the other its rows. The block is forgotten, and the next one learnt."
    X = three_groups(300)
    online = GaussianMixture(k, random_state=0, reg_covar=0.0).partial_fit(X)
    with pytest.raises(CollapseError, match=words):
        for weight in (1e40, 1e80, 1e120, 1e160):                                     # each time the width falls by 1e-13, to what is rounding
            before = dict(vars(online))
            online.partial_fit(np.full((100, 2), place), sample_weight=np.full(100, weight))
    assert all(vars(online)[n] is before[n] for n in before) and vars(online).keys() == before.keys()
    online.partial_fit(X, sample_weight=np.full(300, weight))


def test_a_sleeping_component_does_not_end_the_stream():
    "The estimator warns that it is empty, goes on, also after a pickle, and finds it again."
    rng, centres = np.random.default_rng(31), np.array([[0., 0], [20, 0], [0, 20]])
    online = GaussianMixture(3, means_init=centres, learning_decay=.51).partial_fit(rng.normal(centres[rng.integers(3, size=900)]))
    width = online.covariances_[2]
    for _ in range(350):
        quiet(lambda: online.partial_fit(rng.normal(centres[rng.integers(2, size=50)])))
    with pytest.warns(RuntimeWarning, match=r"components \[2\] of 3 are empty"):
        online.partial_fit(rng.normal(centres[rng.integers(2, size=50)]))
    equal(online.covariances_[2], width, rtol=0, atol=2e-6)                           # the floor
    online = pickle.loads(pickle.dumps(online))
    for _ in range(50):
        online.partial_fit(rng.normal(centres[rng.integers(3, size=50)]))
    assert online.weights_.min() > .2
    equal(online.means_, centres, rtol=0, atol=.3)


def test_too_few_rows_to_begin():
    for model, X in ((GaussianMixture(5), FAITHFUL[:4]), (Mixture(5), np.ones((4, 1)))):
        with pytest.raises(ValueError, match="n_samples >= n_components"):
            model.partial_fit(X)
        assert not hasattr(model, "n_features_in_")
    assert GaussianMixture(2, random_state=0).partial_fit(FAITHFUL).partial_fit(FAITHFUL[:1]).n_updates_ == 2


def test_one_block_a_call():
    "A function over blocks is for `fit`, and blocks go on from there one by one."
    X = three_groups(400)
    online = GaussianMixture(2, random_state=0, learning_decay=1).fit(in_blocks(X[:300], 100))
    for many, name in ((in_blocks(X, 100), "function"), (iter([X]), "list_iterator")):
        with pytest.raises(TypeError, match=f"X is a {name}, and partial_fit takes one block"):
            online.partial_fit(many)
    same_mixture(online.partial_fit(X[300:]), GaussianMixture(2, random_state=0, learning_decay=1).fit(X[:300]).partial_fit(X[300:]), rtol=1e-5)
    assert online._memory["seen"] == 400


def test_codes_are_settled_by_the_first_block():
    X = np.array([[0, 1], [1, 0], [2, 1]])
    online = Mixture(family="categorical").partial_fit(X)
    with pytest.raises(ValueError, match="X holds 3, and the first block, or fit, showed codes up to 2"):
        online.partial_fit([[0, 3]])
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        online.partial_fit([[0, .5]])
    assert online.partial_fit([[0, 1]]).parameters_[0].shape == (1, 2, 3)
    with pytest.raises(ValueError, match="counts"):
        Mixture().partial_fit([[1.], [2]]).partial_fit([[-1.]])


def test_names_of_columns():
    "Names are remembered and compared, as by scikit-learn."
    frame = pd.DataFrame(FAITHFUL, columns=["eruption", "waiting"])
    online = GaussianMixture(2, random_state=0).partial_fit(frame).partial_fit(frame[:50])
    assert list(online.feature_names_in_) == ["eruption", "waiting"]
    with pytest.raises(ValueError, match="feature names"):
        online.partial_fit(frame[["waiting", "eruption"]])


@pytest.mark.parametrize("settings", [{"learning_decay": .5}, {"learning_decay": 1.1}, {"learning_offset": -1.0}, {"n_components": 0}], ids=str)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        GaussianMixture(**settings).partial_fit(FAITHFUL)


def test_warnings_point_here():
    "Once for a call, at the line of the call."
    X = np.vstack([FAITHFUL[:, :1], np.full((200, 1), 9.)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GaussianMixture(3, random_state=0, means_init=[[2.], [4.5], [9.]]).partial_fit(X)
    assert [w.filename for w in caught] == [__file__] and "rests on reg_covar" in str(caught[0].message) or "rest on" in str(caught[0].message)


def test_threads_change_nothing():
    X = three_groups(40_000)
    one, two = (GaussianMixture(3, random_state=0, n_jobs=n).partial_fit(X[:20_000]).partial_fit(X[20_000:]) for n in (1, 2))
    same_mixture(one, two, rtol=1e-12)


def test_threads_are_for_large_blocks(monkeypatch):
    "A few hundred rows are less work than to start a pool; a block in parts is spread."
    class Pool(ThreadPoolExecutor):
        def submit(self, *args):
            handed.append(args)
            return super().submit(*args)
    X, handed = three_groups(20_000), []
    online = GaussianMixture(3, random_state=0, n_jobs=2).partial_fit(X[:500])
    monkeypatch.setattr(mixture, "ThreadPoolExecutor", Pool)
    online.partial_fit(X[:500])
    assert not handed
    online.partial_fit(X)
    assert len(handed) > 1


@pytest.mark.parametrize("settings, match", [({"reg_covar": -1}, "reg_covar"), ({"n_jobs": "many"}, "n_jobs"), ({"learning_decay": .2}, "learning_decay")])
def test_settings_are_checked_again(settings, match):
    "Those that were changed after the first block."
    online = GaussianMixture(2, random_state=0).partial_fit(FAITHFUL).set_params(**settings)
    with pytest.raises(ValueError, match=f"{match}' parameter of GaussianMixture must be"):
        online.partial_fit(FAITHFUL)


def test_what_the_first_block_settled():
    "Another prior has no say in later blocks; another floor has."
    X = three_groups(600)
    free, held, wide = (GaussianMixture(2, random_state=0).partial_fit(X[:300]) for _ in range(3))
    for model, settings in ((free, {}), (held, {"prior": "conjugate"}), (wide, {"reg_covar": .05})):
        model.set_params(**settings).partial_fit(X[300:])
    same_mixture(held, free)
    assert held.prior_ is None
    equal(wide.covariances_, free.covariances_ + (.05 - 1e-6) * np.eye(2), rtol=1e-9)


def test_weights_can_be_routed():
    "scikit-learn knows that `partial_fit` takes weights."
    with sklearn.config_context(enable_metadata_routing=True):
        for model in (GaussianMixture(), Mixture()):
            model.set_partial_fit_request(sample_weight=True)
            assert model.get_metadata_routing().partial_fit.requests == {"sample_weight": True}
