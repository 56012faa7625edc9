"""Linkage, TwoCoins and Moths: published numbers, brute force, direct maximisation, and the words of their errors."""
from itertools import product

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from emlit.classics import Linkage, Moths, TwoCoins
from emlit.data import load_coins, load_linkage, load_moths
from emlit.em import Tracer, e_step, em, in_blocks

ANIMALS = np.array([125.0, 18, 20, 34])
SETS = np.array([[5.0, 10], [9, 10], [8, 10], [4, 10], [7, 10]])
LOOKS = np.array([85.0, 196, 341])
MODELS = {
    "linkage": (Linkage(), 0.5, ANIMALS),
    "coins": (TwoCoins(), np.array([0.6, 0.5]), SETS),
    "moths": (Moths(), np.ones(3) / 3, LOOKS),
}
PUBLISHED = {  # by whom: see the chapter; to the digits printed
    "linkage": ([0.5, 0.608247423, 0.624321051, 0.626488879, 0.626777323, 0.626815632, 0.626820719, 0.626821395, 0.626821484], 1e-9),
    "coins": ([[0.6, 0.5], [0.713, 0.581], [0.745, 0.569], [0.768, 0.550], [0.783, 0.535]], 5.1e-4),
    "moths": ([[1 / 3, 1 / 3, 1 / 3], [0.081994, 0.237406, 0.680600], [0.071249, 0.197870, 0.730881], [0.070852, 0.190360, 0.738788]], 1e-6),
}


# The observed log-likelihoods, written again from the models' definitions. They take complex arguments, for exact gradients.
def linkage_log_likelihood(pi, y=ANIMALS):
    return y[0] * np.log(0.5 + pi / 4) + (y[1] + y[2]) * np.log((1 - pi) / 4) + y[3] * np.log(pi / 4)


def coins_log_likelihood(biases, sets=SETS):
    heads, tails = sets[:, :1], sets[:, 1:] - sets[:, :1]
    return np.log((biases**heads * (1 - biases) ** tails).sum(axis=1) / 2).sum()


def moths_log_likelihood(frequencies, n=LOOKS):
    c, i, t = frequencies
    return n[0] * np.log(1 - (i + t) ** 2) + n[1] * np.log((i + t) ** 2 - t**2) + n[2] * np.log(t**2)


def gradient(f, x, h=1e-30):
    return np.array([f(x + 1j * h * e).imag / h for e in np.eye(len(x))])


def maximise(f, x):
    "Direct maximisation, polished by Newton's method on the gradient."
    x = minimize(lambda v: -f(v), x, method="Nelder-Mead").x
    for _ in range(4):
        steps = 1e-6 * np.eye(len(x))
        hessian = np.array([(gradient(f, x + s) - gradient(f, x - s)) / 2e-6 for s in steps])
        x = x - np.linalg.solve(hessian, gradient(f, x))
    return x


def settle(model, params, data, rounds=200):
    "EM without a stopping rule: far beyond convergence."
    for _ in range(rounds):
        params = model.maximization(e_step(model, params, data), params)
    return params


@pytest.mark.parametrize("name", MODELS)
def test_published_iterates(name):
    model, start, data = MODELS[name]
    values, atol = PUBLISHED[name]
    trace = Tracer()
    em(model, start, data, tol=0, callbacks=[trace])
    np.testing.assert_allclose([step.params for step in trace.steps[:len(values)]], values, rtol=0, atol=atol, strict=True)


@pytest.mark.parametrize("name", MODELS)
def test_never_falls_and_converges(name):
    model, start, data = MODELS[name]
    fit = em(model, start, data, tol=0)
    assert fit.converged and (np.diff(fit.history) > -1e-11).all() and fit.history[-1] > fit.history[0] + 0.1
    np.testing.assert_allclose(fit.params, settle(model, start, data), rtol=1e-7)


@pytest.mark.parametrize("name, f", [("linkage", linkage_log_likelihood), ("coins", coins_log_likelihood), ("moths", moths_log_likelihood)])
def test_log_likelihood_and_weight(name, f):
    model, start, data = MODELS[name]
    after = model.maximization(e_step(model, start, data), start)
    for params in (start, after):
        np.testing.assert_allclose(e_step(model, params, data).log_likelihood, f(params), rtol=1e-12)
    assert e_step(model, start, data).weight == {"linkage": 197, "coins": 5, "moths": 622}[name]


def test_the_loaders_give_these_data():
    for loaded, typed in ((load_linkage(), ANIMALS), (load_coins(), SETS), (load_moths(), LOOKS)):
        np.testing.assert_array_equal(loaded.X, typed, strict=True)


# ---- linkage ----------------------------------------------------------------------------------------


def test_linkage_splits_the_first_count():
    cells = e_step(Linkage(), 0.5, ANIMALS).statistics["cells"]
    np.testing.assert_allclose(cells, [100, 25, 18, 20, 34.0], rtol=1e-14, strict=True)
    np.testing.assert_allclose(e_step(Linkage(), 0.2, ANIMALS).statistics["cells"][:2], [125 / 1.1, 12.5 / 1.1], rtol=1e-14, strict=True)


def test_linkage_maximum():
    root = (15 + np.sqrt(53809)) / 394
    direct = brentq(lambda pi: gradient(lambda v: linkage_log_likelihood(v[0]), np.array([pi]))[0], 0.01, 0.99, xtol=1e-14)
    found = settle(Linkage(), 0.5, ANIMALS)
    np.testing.assert_allclose([found, direct], root, rtol=1e-10)
    np.testing.assert_allclose(em(Linkage(), 0.9, ANIMALS, tol=0).params, root, rtol=1e-8)
    assert abs(gradient(lambda v: linkage_log_likelihood(v[0]), np.array([found]))[0]) < 1e-8


def test_linkage_other_counts():
    y = np.array([40.0, 31, 3, 9])
    a, b, c = y.sum(), 2 * (y[1] + y[2]) + y[3] - y[0], -2 * y[3]
    np.testing.assert_allclose(settle(Linkage(), 0.5, y), (-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a), rtol=1e-10)


def test_linkage_maximum_at_the_end_of_the_range():
    assert em(Linkage(), 0.5, [10, 0, 0, 5]).params == 1


# ---- two coins --------------------------------------------------------------------------------------


def test_coins_expected_counts():
    statistics = e_step(TwoCoins(), [0.6, 0.5], SETS).statistics
    np.testing.assert_allclose(statistics["heads"].round(1), [21.3, 11.7], rtol=1e-14, strict=True)
    np.testing.assert_allclose((statistics["tosses"] - statistics["heads"]).round(1), [8.6, 8.4], rtol=1e-14, strict=True)
    one_by_one = [TwoCoins().expectation([0.6, 0.5])(row).statistics for row in SETS]
    np.testing.assert_allclose([(s["tosses"][0] / 10).round(2) for s in one_by_one], [0.45, 0.80, 0.73, 0.35, 0.65], rtol=1e-14, strict=True)


def test_coins_against_all_labellings():
    biases, sets = np.array([0.7, 0.2]), np.array([[3.0, 4], [1, 9], [2, 2]])
    heads, tails = sets[:, 0], sets[:, 1] - sets[:, 0]
    weight, total = 0.0, np.zeros(2)
    for z in product(range(2), repeat=3):
        p = np.prod([0.5 * biases[k] ** h * (1 - biases[k]) ** t for k, h, t in zip(z, heads, tails)])
        weight, total = weight + p, total + p * np.array([heads[np.array(z) == k].sum() for k in range(2)])
    expected = e_step(TwoCoins(), biases, sets)
    np.testing.assert_allclose(expected.statistics["heads"], total / weight, rtol=1e-12, strict=True)
    np.testing.assert_allclose(expected.log_likelihood, np.log(weight), rtol=1e-12)


def test_coins_maximum():
    found = settle(TwoCoins(), np.array([0.6, 0.5]), SETS)
    np.testing.assert_allclose(found.round(4), [0.7968, 0.5196], rtol=1e-14, strict=True)
    np.testing.assert_allclose(found, maximise(coins_log_likelihood, np.array([0.75, 0.5])), rtol=1e-8, strict=True)
    np.testing.assert_allclose(gradient(coins_log_likelihood, found), [0, 0], atol=1e-10)
    assert coins_log_likelihood(found) > coins_log_likelihood(np.array([0.8, 0.45])) + 0.1


def test_coins_names_can_be_swapped():
    a, b = (em(TwoCoins(), start, SETS, tol=0) for start in ([0.6, 0.5], [0.5, 0.6]))
    np.testing.assert_allclose(a.params, b.params[::-1], rtol=1e-8)
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=1e-12)


def test_equal_coins_stay_equal():
    fit = em(TwoCoins(), [0.5, 0.5], SETS, tol=0)
    np.testing.assert_allclose(fit.params, [0.66, 0.66], rtol=1e-12, strict=True)


def test_coins_that_always_and_never_fall_heads():
    fit = em(TwoCoins(), [0.8, 0.3], [[10, 10], [0, 10], [10, 10]], tol=0)
    np.testing.assert_allclose(fit.params, [1, 0], atol=1e-12)
    np.testing.assert_allclose(fit.log_likelihood, 3 * np.log(0.5), rtol=1e-10)


def test_coins_sets_of_very_many_tosses():
    fit = em(TwoCoins(), [0.6, 0.5], [[70_000, 100_000], [45_000, 100_000]])
    np.testing.assert_allclose(fit.params, [0.7, 0.45], rtol=1e-10, strict=True)


# ---- moths ------------------------------------------------------------------------------------------


def test_moths_genotypes_and_alleles():
    expected = e_step(Moths(), np.ones(3) / 3, LOOKS)
    np.testing.assert_allclose(expected.statistics["genotypes"], [17, 34, 34, 196 / 3, 392 / 3, 341], rtol=1e-12, strict=True)
    np.testing.assert_allclose(Moths().maximization(expected, None), [102 / 1244, (34 + 392 / 3 + 392 / 3) / 1244, (34 + 392 / 3 + 682) / 1244], rtol=1e-12, strict=True)


def test_moths_expected_genotypes_add_up_to_the_looks():
    for p in np.random.default_rng(1).dirichlet(np.ones(3), 20):
        genotypes = e_step(Moths(), p, LOOKS).statistics["genotypes"]
        np.testing.assert_allclose(np.bincount(Moths.looks, genotypes), LOOKS, rtol=1e-12, strict=True)
        ratio = genotypes[1] / genotypes[0], genotypes[4] / genotypes[3]
        np.testing.assert_allclose(ratio, (2 * p[1] / p[0], 2 * p[2] / p[1]), rtol=1e-10, strict=True)


def test_moths_closed_form_and_direct_maximum():
    t, it = np.sqrt(LOOKS[2] / LOOKS.sum()), np.sqrt(LOOKS[1:].sum() / LOOKS.sum())
    closed = np.array([1 - it, it - t, t])
    free = lambda v: moths_log_likelihood(np.array([v[0], v[1], 1 - v.sum()]))
    found = settle(Moths(), np.ones(3) / 3, LOOKS)
    np.testing.assert_allclose(found, closed, rtol=1e-12, strict=True)
    np.testing.assert_allclose(maximise(free, np.array([0.1, 0.2])), closed[:2], rtol=1e-8, strict=True)
    np.testing.assert_allclose(gradient(free, found[:2]), [0, 0], atol=1e-8)
    np.testing.assert_allclose(em(Moths(), [0.8, 0.1, 0.1], LOOKS, tol=0).params, closed, rtol=1e-7, strict=True)


def test_moths_an_allele_that_never_shows():
    fit = em(Moths(), np.ones(3) / 3, [0, 196, 341], tol=0)
    np.testing.assert_allclose(fit.params, [0, 1 - np.sqrt(341 / 537), np.sqrt(341 / 537)], rtol=1e-7, atol=1e-12, strict=True)


def test_another_gene_needs_only_two_tables():
    class ABO(Moths):
        copies = np.array([[2, 0, 0], [1, 0, 1], [0, 2, 0], [0, 1, 1], [1, 1, 0], [0, 0, 2]])
        looks = np.array([0, 0, 1, 1, 2, 3])

    fit = em(ABO(), [0.3, 0.2, 0.5], [186, 38, 13, 284], tol=0)
    np.testing.assert_allclose(fit.params.round(4), [0.2136, 0.0501, 0.7363], rtol=1e-14, strict=True)


# ---- blocks and errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_blocks_add_up(name):
    model, start, data = MODELS[name]
    rows = SETS if name == "coins" else np.array([data - 5, np.full(len(data), 5.0)])
    whole = e_step(model, start, rows)
    for size in (1, 2, 5):
        parts = e_step(model, start, in_blocks(rows, size))
        for key in whole.statistics:
            np.testing.assert_allclose(parts.statistics[key], whole.statistics[key], rtol=1e-12, strict=True)
        np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol=1e-12)
        assert parts.weight == whole.weight == e_step(model, start, data).weight


@pytest.mark.parametrize("model, start, data, words", [
    (Linkage(), 1.2, ANIMALS, "pi is 1.2; a probability lies between 0 and 1: start"),
    (Linkage(), -0.1, ANIMALS, "pi is -0.1"),
    (Linkage(), np.nan, ANIMALS, "pi is nan"),
    (Linkage(), [0.5], ANIMALS, r"pi has shape \(1,\); give it shape \(\)"),
    (Linkage(), 1.0, ANIMALS, r"counts\[1\] is 18, but .* probability 0: start"),
    (Linkage(), 0.0, ANIMALS, r"counts\[3\] is 34"),
    (Linkage(), 0.5, [125, 18, 20], r"counts has shape \(3,\); give it 4 numbers a row"),
    (Linkage(), 0.5, [125, 18, 20, -34], "counts holds -34; counts must be whole numbers"),
    (Linkage(), 0.5, [125, 18, 20.5, 34], "counts holds 20.5"),
    (Linkage(), 0.5, [125, 18, np.nan, 34], "counts holds nan"),
    (Linkage(), 0.5, [125, 18, np.inf, 34], "counts holds inf"),
    (Linkage(), 0.5, np.ones((2, 2, 4)), r"counts has shape \(2, 2, 4\)"),
    (Linkage(), 0.5, [0, 0, 0, 0], "nothing to estimate from: give data"),
    (TwoCoins(), [0.6, 1.5], SETS, "biases is"),
    (TwoCoins(), [-0.6, 0.5], SETS, "biases is"),
    (TwoCoins(), [0.6, np.nan], SETS, "biases is"),
    (TwoCoins(), [0.6, 0.5, 0.4], SETS, r"biases has shape \(3,\); give it shape \(2,\)"),
    (TwoCoins(), [0.6, 0.5], [[11, 10]], "sets has 11 heads in 10 tosses; the columns are heads, tosses"),
    (TwoCoins(), [0.6, 0.5], SETS[:, 0], r"sets has shape \(5,\); give it 2 numbers a row"),
    (TwoCoins(), [0.6, 0.5], np.ones((0, 2)), r"sets has shape \(0, 2\); give it 2 numbers a row, in one row or more"),
    (TwoCoins(), [0.7, 0.45], [[70_000, 100_000]], "nothing to estimate from: .* or start from other parameters"),
    (TwoCoins(), [0.6, 0.5], [[5.5, 10]], "sets holds 5.5"),
    (TwoCoins(), [0.6, 0.5], [[-1, 10]], "sets holds -1"),
    (TwoCoins(), [0.6, 0.5], [[0, 0]], "nothing to estimate from"),
    (TwoCoins(), [0.0, 0.5], SETS, "nothing to estimate from"),
    (TwoCoins(), [0.0, 1.0], SETS, "cannot give 5 heads in 10 tosses: start inside"),
    (TwoCoins(), [0.0, 1.0], [[10, 10], [3, 10]], "cannot give 3 heads in 10 tosses"),
    (Moths(), [0.5, 0.4, 0.3], LOOKS, "frequencies sums to 1.2; divide by the sum"),
    (Moths(), [0.3, 0.3, 0.3], LOOKS, "frequencies sums to 0.9"),
    (Moths(), [1.2, -0.1, -0.1], LOOKS, "frequencies is"),
    (Moths(), [0.5, 0.5], LOOKS, r"frequencies has shape \(2,\); give it shape \(3,\)"),
    (Moths(), [0.0, 0.5, 0.5], LOOKS, r"counts\[0\] is 85"),
    (Moths(), np.ones(3) / 3, LOOKS[:2], r"counts has shape \(2,\); give it 3 numbers a row"),
    (Moths(), np.ones(3) / 3, [85, 196, -341], "counts holds -341"),
    (Moths(), np.ones(3) / 3, [0, 0, 0], "nothing to estimate from"),
])
def test_errors_say_what_to_mend(model, start, data, words):
    with pytest.raises(ValueError, match=words):
        em(model, start, data)


@pytest.mark.parametrize("model, start, data, name", [
    (Linkage(), 0.5, ["many", "few", "some", "none"], "counts"),
    (Linkage(), 0.5, load_linkage(), "counts"),
    (Linkage(), 0.5j, ANIMALS, "pi"),
    (TwoCoins(), [0.6, 0.5], [[5, 10], [9]], "sets"),
    (TwoCoins(), [[0.6], 0.5], SETS, "biases"),
    (Moths(), [0.2, 0.3, "half"], LOOKS, "frequencies"),
])
def test_what_is_no_array_of_numbers(model, start, data, name):
    with pytest.raises(ValueError, match=f"{name} must be numbers in rows of equal length, not "):
        em(model, start, data)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("times", [10**12, 1e300])
def test_huge_counts_and_plain_lists(name, times):
    model, start, data = MODELS[name]
    fit = em(model, np.asarray(start).tolist(), [[float(v) * times for v in row] for row in np.atleast_2d(data)])
    limit = np.array([0.8, 0.45]) if name == "coins" else settle(model, start, data)  # so many tosses tell the coins apart
    np.testing.assert_allclose(fit.params, limit, rtol=1e-5)
