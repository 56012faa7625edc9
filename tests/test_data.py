"""Data sets and samplers: their numbers, their provenance, the mathematics of the draws, their refusals."""
from dataclasses import FrozenInstanceError
from importlib.resources import files

import numpy as np
import pytest

import emlit.data as data
from emlit.data import Dataset, load_coins, load_faithful, load_linkage, load_moths, sample_bernoulli_flips, sample_gaussian_mixture

LOADERS = [load_faithful, load_linkage, load_coins, load_moths]


def equal(actual, desired):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=np.float64), rtol=1e-12, strict=True)


def test_every_public_name_is_tested_here():
    assert set(data.__all__) == {"Dataset", "sample_bernoulli_flips", "sample_gaussian_mixture", *(f.__name__ for f in LOADERS)}


# ---- data sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("load", LOADERS)
def test_a_data_set_is_read_only_and_says_where_it_comes_from(load):
    d = load()
    assert isinstance(d, Dataset) and d.X.dtype == np.float64
    assert d.X.shape[-1] == len(d.columns) == len(d.units)
    assert len(d.source) > 30 and "Not recorded" in d.about and d.name in repr(d)
    with pytest.raises(ValueError, match="read-only"):
        d.X[...] = 0
    with pytest.raises(FrozenInstanceError):
        d.X = 0
    assert load().X is not d.X


def test_faithful_is_the_data_set_of_r():
    d = load_faithful()
    assert d.columns == ("eruptions", "waiting") and d.units == ("min", "min") and d.X.shape == (272, 2)
    equal(d.X[:3], [[3.6, 79], [1.8, 54], [3.333, 74]])
    equal(d.X[-1], [4.467, 74])
    equal(d.X.sum(axis=0), [948.677, 19284])
    equal(np.quantile(d.X, [0, .5, 1], axis=0), [[1.6, 43], [4, 76], [5.1, 96]])
    assert round(float(np.corrcoef(d.X.T)[0, 1]), 7) == .9008112
    rows = files("emlit").joinpath("csv/faithful.csv").read_text().splitlines()[1:]
    equal(d.X, [[float(v) for v in row.split(",")] for row in rows])


def test_the_small_data_sets():
    equal(load_linkage().X, [125, 18, 20, 34])
    equal(load_coins().X, [[5, 10], [9, 10], [8, 10], [4, 10], [7, 10]])
    equal(load_moths().X, [85, 196, 341])
    assert load_linkage().columns == ("AB", "Ab", "aB", "ab")
    assert load_coins().columns == ("heads", "tosses")
    assert load_moths().columns == ("carbonaria", "insularia", "typica")


def test_dataset_copies_and_checks_its_columns():
    mine = np.ones((3, 2))
    d = Dataset("d", mine, ("a", "b"), ("cm", "cm"), "s", "t")
    mine[0, 0] = 7
    assert d.X[0, 0] == 1
    for columns, units, X in [(("a",), ("cm", "cm"), mine), (("a", "b"), ("cm",), mine), ((), (), 3.0)]:
        with pytest.raises(ValueError, match="columns and units"):
            Dataset("d", X, columns, units, "s", "t")


# ---- flips ---------------------------------------------------------------------------------------


def test_flips_with_certain_outcomes():
    X, labels = sample_bernoulli_flips([.5, .2, .3], [0, 1, 0], 300, 7, np.random.default_rng(0))
    assert X.shape == (300, 2) and labels.shape == (300,) and set(labels) == {0, 1, 2}
    equal(X, np.column_stack([np.where(labels == 1, 7, 0), np.full(300, 7)]))


def test_flips_have_the_moments_of_a_binomial_mixture():
    w, b, n, m = np.array([.6, .4]), np.array([.8, .45]), 40_000, 10
    X, labels = sample_bernoulli_flips(w, b, n, m, np.random.default_rng(1))
    for k in range(2):
        heads, N = X[labels == k, 0], (labels == k).sum()
        v = m * b[k] * (1 - b[k])
        assert abs(N / n - w[k]) < 5 * np.sqrt(w[k] * (1 - w[k]) / n)
        assert abs(heads.mean() - m * b[k]) < 5 * np.sqrt(v / N)
        squares = (heads - m * b[k])**2
        assert abs(squares.mean() - v) < 5 * squares.std() / np.sqrt(N)
    again, _ = sample_bernoulli_flips(w, b, n, m, np.random.default_rng(1))
    equal(again, X)


FLIPS = dict(weights=[.5, .5], biases=[.2, .9], n=3, tosses=4, rng=np.random.default_rng(0))


@pytest.mark.parametrize("wrong, words", [
    (dict(weights=[.5, .6]), "weights must sum to 1, got sum 1.1; divide"),
    (dict(weights=[1.5, -.5]), "weights must be numbers that are not negative, got"),
    (dict(weights=[np.nan, 1]), "weights must be numbers"),
    (dict(weights=[[.5, .5]]), r"weights must be a vector of k >= 1 numbers, got shape \(1, 2\)"),
    (dict(weights=[]), "weights must be a vector"),
    (dict(biases=[.2]), r"biases must have one entry per weight, shape \(2,\), got \(1,\)"),
    (dict(biases=[.2, 1.1]), "biases must be probabilities, from 0 to 1, got"),
    (dict(biases=[.2, np.nan]), "biases must be probabilities"),
    (dict(n=-1), "n must be a whole number, 0 or more, got -1"),
    (dict(n=2.0), "n must be a whole number"),
    (dict(n=True), "n must be a whole number"),
    (dict(tosses=0), "tosses must be a whole number, 1 or more, got 0"),
    (dict(tosses=2.5), "tosses must be a whole number"),
    (dict(rng=42), r"rng must be a numpy Generator, got 42; pass np.random.default_rng\(0\)"),
])
def test_flips_refuse(wrong, words):
    with pytest.raises(ValueError, match=words):
        sample_bernoulli_flips(**{**FLIPS, **wrong})


# ---- Gaussian mixture ----------------------------------------------------------------------------

W = np.array([.35, .65])
M = np.array([[2., 55.], [4.3, 80.]])
C = np.array([[[.07, .9], [.9, 34.]], [[.17, -1.2], [-1.2, 36.]]])


def test_each_component_has_its_weight_mean_and_covariance():
    n = 40_000
    X, labels = sample_gaussian_mixture(W, M, C, n, np.random.default_rng(2))
    assert X.shape == (n, 2) and labels.shape == (n,)
    for k in range(2):
        mine, N = X[labels == k] - M[k], (labels == k).sum()
        assert abs(N / n - W[k]) < 5 * np.sqrt(W[k] * (1 - W[k]) / n)
        assert (abs(mine.mean(axis=0)) < 5 * np.sqrt(np.diag(C[k]) / N)).all()
        products = np.einsum("ni,nj->nij", mine, mine)
        assert (abs(products.mean(axis=0) - C[k]) < 5 * products.std(axis=0) / np.sqrt(N)).all()


def test_variance_is_not_standard_deviation():
    X, _ = sample_gaussian_mixture([1], [[0]], [[[9.]]], 10_000, np.random.default_rng(3))
    assert abs(X.var() - 9) < 5 * 9 * np.sqrt(2 / 10_000)


def test_invariants_of_the_sampler():
    def draw(weights, means, covariances): return sample_gaussian_mixture(weights, means, covariances, 200, np.random.default_rng(4))
    X, labels = draw(W, M, C)
    np.testing.assert_allclose(draw(W, M + 10, C)[0], X + 10, rtol=1e-12, strict=True)
    np.testing.assert_allclose(draw(W, 3 * M, 9 * C)[0], 3 * X, rtol=1e-10, strict=True)
    flat, _ = draw([1], [[0, 0]], [[[1, 2], [2, 4]]])
    np.testing.assert_allclose(flat[:, 1], 2 * flat[:, 0], rtol=1e-6, strict=True)
    equal(draw(W, M, 0 * C)[0], M[labels])
    assert set(draw([0, 1], M, C)[1]) == {1}
    assert sample_gaussian_mixture(W, M, C, 0, np.random.default_rng(0))[0].shape == (0, 2)


@pytest.mark.parametrize("wrong, words", [
    (dict(weights=[.5, .6]), "weights must sum to 1, got sum 1.1; divide"),
    (dict(weights=[-.5, 1.5]), "weights must be numbers that are not negative, got"),
    (dict(weights=[1.]), r"means must have shape \(k, d\) with k = 1, one row per weight, got \(2, 2\)"),
    (dict(means=M[0]), r"means must have shape"),
    (dict(means=np.zeros((2, 0)), covariances=np.zeros((2, 0, 0))), r"one row per weight, got \(2, 0\)"),
    (dict(means=[[0, 0], [0, np.inf]]), "means must be finite, got .*; remove NaN and inf"),
    (dict(covariances=C[0]), r"covariances must have shape \(k, d, d\) = \(2, 2, 2\), got \(2, 2\)"),
    (dict(covariances=C * np.nan), "covariances must be finite"),
    (dict(covariances=[np.eye(2), [[1, 2], [2, 1]]]), r"covariances\[1\] must be positive semi-definite, got eigenvalue -1"),
    (dict(covariances=[[[1, .5], [0, 1]], np.eye(2)]), r"covariances\[0\] must be symmetric, got .* up to 0.5; average"),
    (dict(n="5"), "n must be a whole number, 0 or more, got '5'"),
    (dict(rng=None), "rng must be a numpy Generator, got None; pass"),
])
def test_mixture_refuses(wrong, words):
    good = dict(weights=W, means=M, covariances=C, n=5, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=words):
        sample_gaussian_mixture(**{**good, **wrong})
