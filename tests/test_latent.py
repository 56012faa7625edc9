"The hidden-label likelihood: brute force, invariances, limits and errors."
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from emlit.latent import assignments, complete_log_likelihood, log_marginal, log_marginal_enumerated, normal_log_joint

def same(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=1e-10, strict=True)

WEIGHTS, MEANS, VARIANCES = np.array([0.2, 0.3, 0.5]), np.array([-1.0, 0.5, 4.0]), np.array([0.25, 1.0, 9.0])


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(1, 3, size=6)


@pytest.fixture
def log_joint(x):
    return normal_log_joint(x, WEIGHTS, MEANS, VARIANCES)


# ---- normal_log_joint ------------------------------------------------------


def test_normal_log_joint_is_weight_times_density(x, log_joint):
    assert log_joint.shape == (6, 3)
    by_hand = [[np.log(w) + norm(m, np.sqrt(v)).logpdf(u) for w, m, v in zip(WEIGHTS, MEANS, VARIANCES)] for u in x]
    same(log_joint, np.array(by_hand))


@pytest.mark.parametrize("k", range(3))
def test_normal_log_joint_column_has_area_weight(k):
    density = lambda u: np.exp(normal_log_joint([u], WEIGHTS, MEANS, VARIANCES)[0, k])
    area = quad(density, -60, 60, points=[MEANS[k]], limit=200)[0]
    np.testing.assert_allclose(area, WEIGHTS[k], rtol=1e-7)


def test_normal_log_joint_shifts_and_scales(x, log_joint):
    same(normal_log_joint(x + 5, WEIGHTS, MEANS + 5, VARIANCES), log_joint)
    same(normal_log_joint(60 * x, WEIGHTS, 60 * MEANS, 3600 * VARIANCES), log_joint - np.log(60))


def test_normal_log_joint_is_finite_far_out_and_minus_inf_at_weight_zero():
    far = normal_log_joint([180.0, 1e8], [1.0, 0.0], [2.0, 4.0], [0.09, 0.16])
    assert np.isfinite(far[:, 0]).all() and (far[:, 1] == -np.inf).all()


@pytest.mark.parametrize("change, message", [
    (dict(weights=[0.5, 0.6]), "sum 1.1"),
    (dict(weights=[-0.5, 1.5]), "0 or more"),
    (dict(weights=[np.nan, 1.0]), "weights are"),
    (dict(weights=[1.0]), r"shapes \(\(1,\), \(2,\), \(2,\)\)"),
    (dict(weights=[[0.5, 0.5]], means=[[0.0, 1.0]], variances=[[1.0, 1.0]]), "one shape"),
    (dict(weights=[], means=[], variances=[]), "one shape"),
    (dict(means=[0.0, np.inf]), "means are"),
    (dict(variances=[1.0, 0.0]), "variances are"),
    (dict(variances=[1.0, -1.0]), "above 0"),
    (dict(variances=[1.0, np.nan]), "variances are"),
    (dict(variances=[1.0, np.inf]), "finite"),
    (dict(x=[0.0, np.nan]), "1 values that are not finite"),
    (dict(x=[0.0, np.inf]), "not finite"),
    (dict(x=[[0.0, 1.0]]), r"x has shape \(1, 2\)"),
])
def test_normal_log_joint_refuses(change, message):
    arguments = dict(x=[0.0, 1.0], weights=[0.5, 0.5], means=[0.0, 1.0], variances=[1.0, 1.0]) | change
    with pytest.raises(ValueError, match=message):
        normal_log_joint(**arguments)


# ---- complete_log_likelihood ------------------------------------------------


def test_complete_log_likelihood_picks_one_entry_a_row():
    log_joint = np.array([[1.0, 20.0, 300.0], [4000.0, 50000.0, 600000.0]])
    for i, j in product(range(3), repeat=2):
        assert complete_log_likelihood(log_joint, [i, j]) == log_joint[0, i] + log_joint[1, j]


def test_complete_log_likelihood_does_not_mind_the_names_of_labels(log_joint):
    labels = np.array([0, 2, 1, 1, 0, 2])
    for order in permutations(range(3)):
        renamed = np.argsort(order)[labels]
        same(complete_log_likelihood(log_joint[:, order], renamed), complete_log_likelihood(log_joint, labels))


@pytest.mark.parametrize("labels", [[0, 1], [[0], [1], [2]], [0, 1, 3], [0, -1, 2], [0.0, 1.0, 2.0], "abc", [True, False, True]])
def test_complete_log_likelihood_refuses_labels(labels):
    with pytest.raises(ValueError, match="pass 3 whole numbers from 0 to 2"):
        complete_log_likelihood(np.zeros((3, 3)), labels)


# ---- assignments -------------------------------------------------------------


@pytest.mark.parametrize("n, k", [(1, 1), (1, 5), (5, 1), (4, 3), (7, 2)])
def test_assignments_are_all_there_once(n, k):
    found = list(assignments(n, k))
    assert len(found) == len(set(found)) == k**n
    assert set(found) == {tuple(i // k**j % k for j in range(n)) for i in range(k**n)}


def test_assignments_is_lazy():
    everything = assignments(272, 2)
    assert next(everything) == (0,) * 272


@pytest.mark.parametrize("n, k, name", [(0, 2, "n is 0"), (-1, 2, "n is -1"), (3, 0, "k is 0"), (2.0, 2, "n is 2.0"), (2, "2", "k is '2'"), (True, 2, "n is True")])
def test_assignments_refuses(n, k, name):
    with pytest.raises(ValueError, match=f"{name}: pass a whole number of at least 1"):
        assignments(n, k)


# ---- the two sums -------------------------------------------------------------


def two_coins(outcome, choose=(Fraction(1, 3), Fraction(2, 3)), heads=(Fraction(1, 2), Fraction(9, 10))):
    "Exact P(X, Z) table of coin tosses with a hidden coin, as lists of fractions."
    return [[c * (h if u else 1 - h) for c, h in zip(choose, heads)] for u in outcome]


def test_both_sums_equal_exact_fractions_and_add_up_to_one():
    total = 0.0
    for outcome in product([0, 1], repeat=4):
        table = two_coins(outcome)
        exact = sum(table[0][a] * table[1][b] * table[2][c] * table[3][d] for a, b, c, d in product([0, 1], repeat=4))
        log_table = np.log(np.array(table, dtype=float))
        same(log_marginal(log_table), np.log(np.float64(exact)))
        same(log_marginal_enumerated(log_table), np.log(np.float64(exact)))
        total += np.exp(log_marginal(log_table))
    np.testing.assert_allclose(total, 1, rtol=1e-12)


@pytest.mark.parametrize("n, k", [(1, 1), (1, 4), (2, 3), (6, 1), (3, 2), (5, 4), (9, 2)])
def test_rearranged_sum_equals_all_assignments(n, k):
    log_joint = np.random.default_rng(n * 10 + k).normal(scale=3, size=(n, k))
    same(log_marginal(log_joint), log_marginal_enumerated(log_joint))


@pytest.mark.parametrize("f", [log_marginal, log_marginal_enumerated])
def test_sums_are_invariant(f, log_joint):
    value = f(log_joint)
    for order in permutations(range(3)):
        same(f(log_joint[:, order]), value)                       # names of labels
    same(f(log_joint[::-1]), value)                               # order of points
    same(f(log_joint + 7), value + 6 * 7)                         # a factor for every point
    by_row = np.arange(6.0)[:, None]
    same(f(log_joint + by_row), value + by_row.sum())             # a factor of each point's own
    same(f(np.column_stack([log_joint, np.full(6, -np.inf)])), value)  # a label that cannot occur
    split = np.column_stack([log_joint, log_joint]) - np.log(2)
    same(f(split), value)                                         # each label split in two halves


@pytest.mark.parametrize("f", [log_marginal, log_marginal_enumerated])
def test_sums_lie_between_the_best_assignment_and_k_to_the_n_of_it(f, log_joint):
    best = max(complete_log_likelihood(log_joint, z) for z in assignments(6, 3))
    assert best < f(log_joint) < best + 6 * np.log(3)
    same(f(np.full((6, 3), -2.0)), -12 + 6 * np.log(3))           # all equal: the upper end


@pytest.mark.parametrize("f", [log_marginal, log_marginal_enumerated])
def test_sums_stay_on_the_log_scale(f):
    same(f([[-2000.0, -2000.0], [-3000.0, -np.inf]]), -5000 + np.log(2))
    same(f([[2000.0, 2000.0]]), 2000 + np.log(2))
    assert f([[0.0, 1.0], [-np.inf, -np.inf]]) == -np.inf


def test_log_marginal_adds_over_blocks_of_points(log_joint):
    same(log_marginal(log_joint[:2]) + log_marginal(log_joint[2:]), log_marginal(log_joint))


def test_log_marginal_is_a_density(x):
    density = lambda u: np.exp(log_marginal(normal_log_joint([u], WEIGHTS, MEANS, VARIANCES)))
    np.testing.assert_allclose(quad(density, -60, 60, points=list(MEANS), limit=200)[0], 1, rtol=1e-7)


def test_spike_grows_by_one_nat_per_unit_of_log_sd(x):
    spike = lambda log_sd: log_marginal(normal_log_joint(x, [0.1, 0.9], [x[0], 1.0], [np.exp(2 * log_sd), 9.0]))
    same(spike(-31.0) - spike(-30.0), np.float64(1.0))


@pytest.mark.parametrize("f", [log_marginal, log_marginal_enumerated, lambda a: complete_log_likelihood(a, [0, 0])])
@pytest.mark.parametrize("log_joint, message", [
    ([0.0, 1.0], r"log_joint has shape \(2,\)"),
    (np.zeros((2, 2, 2)), r"log_joint has shape \(2, 2, 2\)"),
    (np.zeros((0, 2)), "neither empty"),
    (np.zeros((2, 0)), "neither empty"),
    (np.float64(1.0), r"log_joint has shape \(\)"),
    ([[0.0, 1.0], [np.nan, 0.0]], r"log_joint\[1, 0\] is nan"),
    ([[0.0, np.inf], [0.0, 0.0]], r"log_joint\[0, 1\] is inf"),
])
def test_log_joint_refused(f, log_joint, message):
    with pytest.raises(ValueError, match=message):
        f(log_joint)


def test_enumeration_names_the_count_and_the_way_out():
    with pytest.raises(ValueError, match="max_terms = 8"):
        log_marginal_enumerated(np.zeros((2, 3)), max_terms=8)
    with pytest.raises(ValueError, match=r"2\*\*272 \(about 1e82\) assignments.*use log_marginal"):
        log_marginal_enumerated(np.zeros((272, 2)))
    with pytest.raises(ValueError, match=r"2\*\*27200 .*use log_marginal"):
        log_marginal_enumerated(np.zeros((27200, 2)))
    same(log_marginal_enumerated(np.zeros((2, 3)), max_terms=9), 2 * np.log(3))
