"""The lower bound of emlit.bound: its mathematics against closed forms and brute force, its errors."""

import numpy as np
import pytest

from strict import no_warnings  # noqa: F401, a fixture
from emlit import bound
from emlit.bound import entropy, kl_divergence, lower_bound, posterior
from emlit.latent import assignments, log_marginal


@pytest.fixture
def rng():
    return np.random.default_rng(1100)


def distributions(shape, rng, possible=True):
    "Random rows that sum to 1, about a third of whose entries are 0."
    mass = rng.gamma(.7, size=shape) * (possible & (rng.random(shape) > .35))
    mass[..., 0] += mass.sum(axis=-1) == 0
    return mass / mass.sum(axis=-1, keepdims=True)


def test_everything_exported_is_tested_here():
    assert set(bound.__all__) == {"posterior", "entropy", "kl_divergence", "lower_bound"}


# ---- posterior ------------------------------------------------------------------------------------


def test_posterior_is_bayes_rule_on_each_row(rng):
    joint = rng.gamma(1.0, size=(5, 3))
    expected = np.array([[p / sum(row) for p in row] for row in joint.tolist()])
    np.testing.assert_allclose(posterior(np.log(joint)), expected, rtol=1e-12, strict=True)


def test_posterior_of_two_labels_is_the_logistic_function():
    difference = np.linspace(-30, 30, 13)
    log_joint = np.stack([difference, np.zeros(13)], axis=1)
    np.testing.assert_allclose(posterior(log_joint)[:, 0], 1 / (1 + np.exp(-difference)), rtol=1e-12, strict=True)


def test_posterior_normalises_rows_and_not_columns(rng):
    q = posterior(rng.normal(size=(4, 4)))
    np.testing.assert_allclose(q.sum(axis=1), np.ones(4), rtol=1e-12, strict=True)
    assert abs(q.sum(axis=0) - 1).max() > 1e-3


@pytest.mark.parametrize("offset", [1e4, -1e4, 745.0, -745.0, 710.0])
def test_posterior_ignores_an_offset_of_its_own_in_each_row(rng, offset):
    log_joint = rng.integers(-8, 8, size=(6, 4)).astype(float)
    offsets = offset * np.arange(6)[:, None]
    np.testing.assert_allclose(posterior(log_joint + offsets), posterior(log_joint), rtol=1e-12, strict=True)


def test_posterior_gives_impossible_labels_nothing_and_takes_integers():
    actual = posterior([[-np.inf, 3, 3], [0, -np.inf, -np.inf]])
    np.testing.assert_allclose(actual, [[0, .5, .5], [1, 0, 0]], rtol=1e-12, strict=True)


def test_posterior_leaves_its_argument_alone(rng):
    log_joint = rng.normal(size=(3, 2))
    before = log_joint.copy()
    posterior(log_joint)
    assert (log_joint == before).all()


# ---- entropy and divergence -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
def test_entropy_is_log_k_when_even_and_zero_when_certain(k):
    np.testing.assert_allclose(entropy(np.full((3, k), 1 / k)), 3 * np.log(k), rtol=1e-12, atol=1e-15)
    assert entropy(np.eye(k)) == 0


def test_entropy_of_a_coin_by_hand():
    np.testing.assert_allclose(entropy([[.25, .75]]), .25 * np.log(4) + .75 * np.log(4 / 3), rtol=1e-12)


def test_entropy_lies_between_zero_and_log_k(rng):
    assert all(0 <= entropy(q[None]) <= np.log(4) for q in distributions((300, 4), rng))


def test_divergence_by_hand_and_not_symmetric():
    q, p = [[.5, .5]], [[.9, .1]]
    np.testing.assert_allclose(kl_divergence(q, p), np.log(5 / 3), rtol=1e-12)
    np.testing.assert_allclose(kl_divergence(p, q), .9 * np.log(1.8) + .1 * np.log(.2), rtol=1e-12)


def test_divergence_is_positive_and_zero_only_between_equals(rng):
    q, p = rng.dirichlet(np.ones(3), size=(2, 300))
    assert all(kl_divergence(a[None], b[None]) > 0 for a, b in zip(q, p))
    assert kl_divergence(q, q) == 0


def test_divergence_at_zeros():
    assert kl_divergence([[1, 0]], [[.5, .5]]) == np.log(2)
    assert kl_divergence([[.5, .5]], [[1, 0]]) == np.inf
    assert kl_divergence([[0, 1]], [[0, 1]]) == 0


def test_divergence_adds_up_over_rows(rng):
    q, p = rng.dirichlet(np.ones(3), size=(2, 7))
    by_row = sum(kl_divergence(a[None], b[None]) for a, b in zip(q, p))
    np.testing.assert_allclose(kl_divergence(q, p), by_row, rtol=1e-12)


# ---- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_log_likelihood_is_floor_plus_divergence(rng, offset):
    log_joint = rng.normal(-3, 2, size=(5, 4)) + offset
    log_joint[2, 3] = -np.inf
    for q in distributions((300, 5, 4), rng, log_joint > -np.inf):
        floor, gap = lower_bound(q, log_joint), kl_divergence(q, posterior(log_joint))
        np.testing.assert_allclose(floor + gap, log_marginal(log_joint), rtol=1e-10)
        assert gap > 0 and floor < log_marginal(log_joint)


def test_the_posterior_touches(rng):
    for scale in [.1, 3, 100]:
        log_joint = rng.normal(scale=scale, size=(8, 3))
        np.testing.assert_allclose(lower_bound(posterior(log_joint), log_joint), log_marginal(log_joint), rtol=1e-10)


def test_the_floor_by_hand():
    log_joint = np.log([[.2, .1]])
    expected = .5 * np.log(.2) + .5 * np.log(.1) + np.log(2)
    np.testing.assert_allclose(lower_bound([[.5, .5]], log_joint), expected, rtol=1e-12)


def test_the_floor_at_zeros():
    assert lower_bound([[0, 1]], [[-np.inf, -3.0]]) == -3.0
    assert lower_bound([[1e-9, 1 - 1e-9]], [[-np.inf, -3.0]]) == -np.inf
    assert lower_bound([[.5, .5]], [[-np.inf, -np.inf]]) == -np.inf == log_marginal([[-np.inf, -np.inf]])


def test_the_floor_where_probabilities_underflow():
    np.testing.assert_allclose(lower_bound([[.5, .5]], [[0.0, -800.0]]), np.log(2) - 400, rtol=1e-12)


def test_a_product_over_rows_is_one_distribution_over_assignments(rng):
    log_joint, rows = rng.normal(size=(3, 2)), np.arange(3)
    Z = np.array(list(assignments(3, 2)))
    whole = log_joint[rows, Z].sum(axis=1)[None]
    np.testing.assert_allclose(posterior(whole)[0], posterior(log_joint)[rows, Z].prod(axis=1), rtol=1e-12, strict=True)
    for q in distributions((50, 3, 2), rng):
        q_whole = q[rows, Z].prod(axis=1)[None]
        np.testing.assert_allclose(lower_bound(q, log_joint), lower_bound(q_whole, whole), rtol=1e-10)
        np.testing.assert_allclose(entropy(q), entropy(q_whole), rtol=1e-10, atol=1e-14)


# ---- errors ---------------------------------------------------------------------------------------

TAKES_Q = [entropy, lambda q: lower_bound(q, np.zeros((2, 2))), lambda q: kl_divergence(q, np.full((2, 2), .5))]
BAD_Q = [
    ([[.5, .5], [.5, .4]], r"q row 1 sums to 0\.9: divide each row by its sum"),
    ([[.5, .5], [.5, .5 + 1e-6]], r"q row 1 sums to 1\.000001"),
    ([[1.5, -.5], [.5, .5]], r"q\[0, 1\] is -0\.5: each entry must be a probability"),
    ([[.5, .5], [np.nan, .5]], r"q\[1, 0\] is nan"),
    ([[.5, .5], [np.inf, 0]], r"q\[1, 0\] is inf"),
    ([.5, .5], r"q has shape \(2,\): pass an array of shape \(n, k\)"),
    (np.empty((0, 2)), r"q has shape \(0, 2\)"),
]


@pytest.mark.parametrize("call", TAKES_Q)
@pytest.mark.parametrize("q, message", BAD_Q)
def test_what_is_not_a_distribution_is_refused(call, q, message):
    with pytest.raises(ValueError, match=message):
        call(q)


def test_rounding_in_a_row_sum_is_no_error():
    assert entropy(np.full((1, 3), np.nextafter(1 / 3, 0))) > 1.09


TAKES_LOG_JOINT = [posterior, lambda log_joint: lower_bound([[.5, .5], [.5, .5]], log_joint)]


@pytest.mark.parametrize("call", TAKES_LOG_JOINT)
@pytest.mark.parametrize("log_joint, message", [
    ([[0, 0], [np.nan, 0]], r"log_joint\[1, 0\] is nan"),
    ([[0, np.inf], [0, 0]], r"log_joint\[0, 1\] is inf"),
    ([0.0, 1.0], r"log_joint has shape \(2,\)"),
    (np.empty((2, 0)), r"log_joint has shape \(2, 0\)"),
])
def test_an_unusable_log_joint_is_refused(call, log_joint, message):
    with pytest.raises(ValueError, match=message):
        call(log_joint)


def test_a_point_that_nothing_can_produce_is_named():
    with pytest.raises(ValueError, match=r"log_joint row 2 is -inf for every label.*Widen or move a component"):
        posterior([[0, 0], [-np.inf, 0], [-np.inf, -np.inf]])


def test_different_shapes_are_refused_and_not_broadcast():
    with pytest.raises(ValueError, match=r"q has shape \(1, 2\) and log_joint has shape \(2, 2\)"):
        lower_bound([[.5, .5]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"q has shape \(1, 2\) and p has shape \(2, 2\)"):
        kl_divergence([[.5, .5]], np.full((2, 2), .5))
    with pytest.raises(ValueError, match=r"p row 0 sums to 1\.1"):
        kl_divergence([[.5, .5]], [[.5, .6]])
