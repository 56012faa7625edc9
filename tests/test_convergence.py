"""Free coordinates, the derivative of the EM map, missing information and Aitken's rule, against closed forms and published numbers."""
import numpy as np
import pytest

from emlit.classics import Linkage, Moths, TwoCoins
from emlit.convergence import Aitken, em_jacobian, missing_information, pack, unpack
from emlit.data import load_coins, load_faithful, load_linkage, load_moths
from emlit.em import Expected, e_step, em, in_blocks
from emlit.families import Bernoulli, Categorical, Diag, Full, MixtureModel, Poisson, Spherical, Tied

RNG = np.random.default_rng(20)
LINKAGE = (15 + np.sqrt(53809)) / 394


def covariances(*shape, scale=1.0):
    A = RNG.normal(size=shape) * scale
    return A @ A.mT + np.eye(shape[-1]) * scale**2


def mixtures(scale=1.0):
    "A model of each family with parameters that are valid for it."
    w, m = RNG.dirichlet(np.ones(3)), RNG.normal(size=(3, 4)) * scale
    return [(Full(), (w, m, covariances(3, 4, 4, scale=scale))), (Tied(), (w, m, covariances(4, 4, scale=scale))),
            (Diag(), (w, m, RNG.uniform(.1, 2, (3, 4)) * scale**2)), (Spherical(), (w, m, RNG.uniform(.1, 2, 3) * scale**2)),
            (Poisson(), (w, RNG.uniform(.1, 9, (3, 4)) * scale)), (Bernoulli(), (w, RNG.uniform(size=(3, 4)))),
            (Categorical(5), (w, RNG.dirichlet(np.ones(5), size=(3, 4))))]


FREE = {"full": 2 + 12 + 30, "tied": 2 + 12 + 10, "diag": 2 + 12 + 12, "spherical": 2 + 12 + 3}


# ---- coordinates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8, 1e100])
def test_round_trip_of_every_family(scale):
    for family, params in mixtures(scale):
        spaces = MixtureModel(family).spaces
        vector = pack(params, spaces)
        for old, new in zip(params, unpack(vector, params, spaces), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-11, atol=1e-13 * abs(old).max(), strict=True)
        assert len(vector) == FREE.get(getattr(family, "kind", ""), len(vector)) and np.isfinite(vector).all()


def test_the_other_way_round_and_far_out():
    for family, params in mixtures():
        spaces = MixtureModel(family).spaces
        vector = RNG.normal(size=len(pack(params, spaces)))
        there = unpack(vector, params, spaces)
        np.testing.assert_allclose(pack(there, spaces), vector, rtol=1e-9, atol=1e-9)


def test_hand_made_coordinates():
    C = np.array([[4.0, 2.0], [2.0, 10.0]])                                      # L = [[2, 0], [1, 3]]
    np.testing.assert_allclose(pack((C,), ("positive_definite",)), [np.log(2), np.log(3), 1], rtol=1e-12)
    np.testing.assert_allclose(pack((np.array([.25]),), ("unit",)), [-np.log(3)], rtol=1e-12)
    np.testing.assert_allclose(pack((np.array([7.0]),), ("positive",)), [np.log(7)], rtol=1e-12)
    p = np.array([.5, .3, .2])
    np.testing.assert_allclose(pack((p,), ("simplex",)), [np.sqrt(.5) * np.log(.5 / .3), np.sqrt(2 / 3) * np.log(np.sqrt(.15) / .2)], rtol=1e-12)


def test_simplex_lengths_do_not_depend_on_the_order():
    p, q = RNG.dirichlet(np.ones(6), size=2)
    order = RNG.permutation(6)
    lengths = [np.linalg.norm(pack(a, "simplex") - pack(b, "simplex")) for a, b in [(p, q), (p[order], q[order])]]
    np.testing.assert_allclose(*lengths, rtol=1e-12)


def test_edges_keep_their_values():
    chain = np.array([[.9, .1, 0], [0, .5, .5], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])
    vector = pack((chain,), ("simplex",))
    assert vector.shape == (1 + 1 + 0 + 2,)
    np.testing.assert_allclose(unpack(vector, (chain,), ("simplex",))[0], chain, rtol=1e-14, strict=True)
    moved, = unpack(vector + RNG.normal(size=4), (chain,), ("simplex",))
    assert ((moved == 0) == (chain == 0)).all() and (abs(moved.sum(axis=1) - 1) < 1e-14).all()
    rates, odds = np.array([0, 2.0, 0]), np.array([0, .5, 1.0])
    assert pack((rates, odds), ("positive", "unit")).shape == (2,)
    new = unpack([1.0, 1.0], (rates, odds), ("positive", "unit"))
    assert new[0].tolist()[::2] == [0, 0] and new[1].tolist()[::2] == [0, 1] and new[0][1] == np.exp(1)
    assert pack((np.array([1.0]),), ("simplex",)).shape == (0,)


def test_zeros_and_no_zeros_give_the_same_rows():
    full, some = RNG.dirichlet(np.ones(4), size=2), np.array([[.5, 0, .3, .2]])
    together = pack((np.concatenate([full, some]),), ("simplex",))
    np.testing.assert_allclose(together, np.concatenate([pack((full,), ("simplex",)), pack((some,), ("simplex",))]), rtol=1e-12)
    np.testing.assert_allclose(pack((some,), ("simplex",)), pack((some[:, [0, 2, 3]],), ("simplex",)), rtol=1e-12)


def test_nothing_has_no_coordinates():
    for x, word in [(np.empty((0, 3)), "simplex"), (np.empty((0, 2, 2)), "positive_definite"), (np.ones((4, 1)), "simplex"), (np.empty(0), "real")]:
        np.testing.assert_array_equal(unpack(pack(x, word), x, word), x, strict=True)
    assert pack((), ()).shape == (0,) and unpack(np.empty(0), (), ()) == ()


def test_one_array_without_a_tuple():
    assert unpack(pack(.3, "unit"), .3, "unit") == pytest.approx(.3, rel=1e-14)
    np.testing.assert_allclose(unpack(pack([.2, .8], "simplex"), [.2, .8], "simplex"), [.2, .8], rtol=1e-14)


@pytest.mark.parametrize("x, word, match", [
    ([.5, .6], "simplex", "array 0 of params should lie in 'simplex'"), ([-.1, 1.1], "simplex", "simplex"), ([1.5], "unit", "from 0 to 1"),
    ([-1.0], "positive", "0 or more"), ([np.inf], "positive", "finite"), ([np.nan], "real", "finite"), ([np.nan], "positive", "positive"),
    ([[1.0, 2], [2, 1]], "positive_definite", "array 0 of params should lie in"), ([[1.0, .5], [0, 1]], "positive_definite", "symmetric"),
    ([1.0], "positive_definite", "positive definite"), ([np.nan, 1], "simplex", "simplex"), ([[1.0, 0], [0, 0]], "positive_definite", "positive")])
def test_what_lies_outside_is_refused(x, word, match):
    with pytest.raises(ValueError, match=match):
        pack((np.array(x),), (word,))


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="spaces holds 'round'"):
        pack((1.0,), ("round",))
    with pytest.raises(ValueError, match="2 arrays and spaces 1 words"):
        pack((1.0, 2.0), ("real",))
    with pytest.raises(ValueError, match="vector has shape \\(2,\\) and params 1 free"):
        unpack([1.0, 2.0], ([.5, .5],), ("simplex",))


# ---- the derivative of a round -------------------------------------------------------------------


def test_linkage_by_hand():
    x2 = 125 * LINKAGE / (2 + LINKAGE)
    exact = 250 / (2 + LINKAGE)**2 * 38 / (x2 + 72)**2
    np.testing.assert_allclose(em_jacobian(Linkage(), LINKAGE, load_linkage().X), [[exact]], rtol=1e-9)
    np.testing.assert_allclose(missing_information(Linkage(), LINKAGE, load_linkage().X), [.13278], atol=5e-6)


def durations(scale=1.0, offset=0.0):
    X = scale * load_faithful().X[:, :1] + offset
    start = np.array([.5, .5]), scale * np.array([[2.0], [4]]) + offset, scale**2 * np.ones((2, 1, 1))
    return X, em(MixtureModel(Full()), start, X, tol=1e-11).params


@pytest.mark.parametrize("scale, offset", [(1, 0), (60, 0), (1e-8, 0), (1e8, 0), (1, 1e6)])
def test_durations_of_old_faithful_in_any_units(scale, offset):
    X, params = durations(scale, offset)
    shares = missing_information(MixtureModel(Full()), params, X)
    np.testing.assert_allclose(shares[0], .588819, atol=1e-6)
    assert shares.shape == (5,) and (np.diff(shares) <= 0).all() and shares[-1] > -1e-6


def test_observed_ratio_of_steps():
    sets = load_coins().X
    params = em(TwoCoins(), np.array([.6, .5]), sets, tol=0).params
    rate, model = missing_information(TwoCoins(), params, sets)[0], TwoCoins()
    a = np.array([.75, .5])
    steps = []
    for _ in range(26):
        b = model.maximization(e_step(model, a, sets), a)
        steps.append(np.linalg.norm(b - a))
        a = b
    np.testing.assert_allclose(steps[-1] / steps[-2], rate, rtol=1e-2)


def test_moths_have_two_shares():
    moths = load_moths().X
    params = em(Moths(), np.full(3, 1 / 3), moths, tol=0).params
    shares = missing_information(Moths(), params, moths)
    assert shares.shape == (2,) and .1 < shares[0] < .2


def test_nothing_hidden_nothing_missing():
    X = RNG.normal(size=(40, 2))
    model = MixtureModel(Full())
    params = np.array([1.0]), X.mean(axis=0)[None], np.cov(X.T, bias=True)[None]
    np.testing.assert_allclose(missing_information(model, params, X), np.zeros(5), atol=1e-8)


def test_everything_hidden():
    "Two components that are one and the same: the labels can never be learnt, and the weight does not move at all."
    X = RNG.poisson(4, (60, 1)).astype(float)
    model = MixtureModel(Poisson())
    params = np.array([.3, .7]), np.full((2, 1), X.mean())
    J = em_jacobian(model, params, X)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(J).real)[-2:], np.sort([1, X.var() / X.mean()]), atol=1e-6)


class Pairs:
    "Murray's example: pairs with mean 0 and lost halves; params is the covariance matrix."
    spaces = "positive_definite"
    rows = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), *[(s, np.nan) for s in (2, 2, -2, -2)], *[(np.nan, s) for s in (2, 2, -2, -2)]])

    def expectation(self, C):
        def expect(rows):
            S, value = np.zeros((2, 2)), 0.0
            for x in rows:
                o = ~np.isnan(x)
                part = C[np.ix_(o, o)]
                B = C[:, o] @ np.linalg.inv(part)
                S += np.outer(B @ x[o], B @ x[o]) + C - B @ C[o]
                value -= .5 * (np.log(np.linalg.det(2 * np.pi * part)) + x[o] @ np.linalg.inv(part) @ x[o])
            return Expected({"S": S}, value, len(rows))
        return expect

    def maximization(self, expected, C):
        return expected.statistics["S"] / expected.weight


def test_murrays_saddle_repels():
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(em_jacobian(Pairs(), 2.5 * np.eye(2), Pairs.rows)).real), [1 / 3, 1 / 3, 16 / 15], rtol=1e-8)
    assert missing_information(Pairs(), 2.5 * np.eye(2), Pairs.rows)[0] > 1
    top = em(Pairs(), 2.5 * np.array([[1, 1e-6], [1e-6, 1]]), Pairs.rows, tol=0, max_iter=2000, warn=False).params
    np.testing.assert_allclose(top, [[8 / 3, 4 / 3], [4 / 3, 8 / 3]], rtol=1e-6)
    assert 0 < missing_information(Pairs(), top, Pairs.rows)[-1] and missing_information(Pairs(), top, Pairs.rows)[0] < 1


def test_columns_are_the_old_coordinates():
    X, params = durations()
    model = MixtureModel(Full())
    v, along = pack(params, model.spaces), np.array([1.0, -2, 0, .5, 0]) * 1e-5
    def new(vector):
        theta = unpack(vector, params, model.spaces)
        return pack(model.maximization(e_step(model, theta, X), theta), model.spaces)
    np.testing.assert_allclose(em_jacobian(model, params, X) @ along, (new(v + along) - new(v - along)) / 2, rtol=1e-5, atol=1e-10)


def test_blocks_and_weights():
    X, params = durations()
    model = MixtureModel(Full())
    whole = em_jacobian(model, params, X)
    np.testing.assert_allclose(em_jacobian(model, params, in_blocks(X, 100)), whole, atol=1e-8)
    np.testing.assert_allclose(em_jacobian(model, params, (X, np.full(272, 3.0))), whole, atol=1e-8)


def test_not_at_rest_is_refused():
    with pytest.raises(ValueError, match="not where EM rests: one more round gains 2.69"):
        missing_information(Linkage(), .5, load_linkage().X)


def test_models_must_say_where_their_parameters_lie():
    class Nowhere(Linkage):
        spaces = None
    for f in (em_jacobian, missing_information):
        with pytest.raises(ValueError, match="Nowhere does not say where its parameters lie.*real, positive, unit, simplex, positive_definite"):
            f(Nowhere(), LINKAGE, load_linkage().X)


def test_standard_error_from_the_missing_share():
    "Meng and Rubin (1991): the observed information is the complete one less the missing share; .0515 by second derivatives."
    _, x2, y2, y3, y4 = e_step(Linkage(), LINKAGE, load_linkage().X).statistics["cells"]
    complete = (x2 + y4) / LINKAGE**2 + (y2 + y3) / (1 - LINKAGE)**2
    observed = 125 / (2 + LINKAGE)**2 + 38 / (1 - LINKAGE)**2 + 34 / LINKAGE**2
    np.testing.assert_allclose(complete * (1 - missing_information(Linkage(), LINKAGE, load_linkage().X)[0]), observed, rtol=1e-9)


def test_a_round_that_ends_on_the_edge_is_refused():
    X = np.zeros((5, 1))
    with pytest.raises(ValueError, match="to the edge of its set"):
        em_jacobian(MixtureModel(Bernoulli()), (np.array([1.0]), np.array([[.3]])), X)


# ---- Aitken's rule -------------------------------------------------------------------------------


def test_geometric_histories():
    for a in (.1, .9, .999):
        history = list(-5 - a**np.arange(60))
        for t in (3, 20, 40):
            if history[t - 1] - history[t - 2] > 1e-9:
                assert Aitken().limit(history[:t]) == pytest.approx(-5, abs=1e-6)


def test_it_stops_where_it_promises():
    history = list(-100 - .99**np.arange(3000))
    stopped = next(t for t in range(1, 3000) if Aitken(1e-4)(history[:t]))
    assert 5e-5 < -100 - history[stopped - 1] <= 1.01e-4


@pytest.mark.parametrize("history, limit", [([-3.0], np.nan), ([-3.0, -2], np.nan), ([-3.0, -2, -1], np.inf), ([-3.0, -2, 0], np.inf),
                                            ([-4.0, -2, -1], 0.0), ([-1.0, -1, -1], -1.0), ([-2.0, -1, -1.0000000000000002], -1.0000000000000002)])
def test_limits_by_hand(history, limit):
    np.testing.assert_allclose(Aitken().limit(history), limit)
    assert Aitken()(history) == (limit == history[-1])


def test_the_driver_takes_it():
    X, params = durations()
    top = e_step(MixtureModel(Full()), params, X).log_likelihood
    start = np.array([.5, .5]), np.array([[2.0], [4]]), np.ones((2, 1, 1))
    for tol in (1e-2, 1e-4, 1e-6):
        fit = em(MixtureModel(Full()), start, X, stop=Aitken(tol))
        assert fit.converged and tol / 10 < top - fit.log_likelihood < 3 * tol


def test_short_histories_do_not_stop():
    assert [Aitken(1e300)([-1.0] * n) for n in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("tol", [0, -1, np.nan, np.inf, "1e-6", None])
def test_its_tolerance_is_checked(tol):
    with pytest.raises(ValueError, match="tol is"):
        Aitken(tol)
