"""Log-likelihood of a coin, relative likelihood, likelihood intervals, numerical derivatives: values, invariants, refusals."""
import warnings
from itertools import product

import numpy as np
import pytest

import emlit.likelihood as likelihood
from emlit.likelihood import bernoulli_log_likelihood, likelihood_interval, numerical_gradient, numerical_hessian, relative_likelihood

SCALES = [1e-100, 1e-30, 1e-9, 1e-3, 1.0, 1e3, 1e9, 1e30, 1e100]


def close(actual, desired, rtol=1e-10, atol=0.0):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=np.float64), rtol=rtol, atol=atol, strict=True)


def coin(theta): return bernoulli_log_likelihood(theta, 7, 10)


def test_every_public_name_is_tested_here():
    assert set(likelihood.__all__) == {
        "bernoulli_log_likelihood", "likelihood_interval", "numerical_gradient", "numerical_hessian", "relative_likelihood"}


# ---- the coin ------------------------------------------------------------------------------------


def test_bernoulli_log_likelihood_is_the_sum_over_tosses():
    for tosses in product([0, 1], repeat=4):
        p = np.where(np.array(tosses) == 1, .3, .7)
        close(bernoulli_log_likelihood(.3, sum(tosses), 4), np.log(p).sum())
    theta = np.linspace(.01, .99, 9).reshape(3, 3)
    assert coin(theta).shape == (3, 3)
    close(coin(theta), 7 * np.log(theta) + 3 * np.log(1 - theta))
    close(coin(theta), bernoulli_log_likelihood(1 - theta, 3, 10))


def test_bernoulli_log_likelihood_at_the_borders_and_far_out():
    close(bernoulli_log_likelihood([0., 1.], 0, 5), [0, -np.inf])
    close(bernoulli_log_likelihood([0., 1.], 5, 5), [-np.inf, 0])
    close(bernoulli_log_likelihood(.5, 0, 0), 0.0)
    assert f"{bernoulli_log_likelihood(.5, 3e8, 1e9):.2f}" == "-693147180.56"
    close(bernoulli_log_likelihood(1e-20, 0, 1), -1e-20)


@pytest.mark.parametrize("theta, heads, tosses, words", [
    (.5, 11, 10, "heads and tosses must be counts .* got heads=11, tosses=10"), (.5, -1, 10, "got heads=-1"),
    (.5, np.nan, 10, "heads and tosses must"), (.5, 1, np.inf, "heads and tosses must"),
    (1.1, 7, 10, "theta must hold probabilities, from 0 to 1, got 1.1"), ([.5, np.nan], 7, 10, "theta must hold .* got nan"),
    (.5, np.array([1, 2]), 10, "one number each"), (.5, 1, np.array([10, 20]), "one number each"),
])
def test_bernoulli_log_likelihood_refuses(theta, heads, tosses, words):
    with pytest.raises(ValueError, match=words):
        bernoulli_log_likelihood(theta, heads, tosses)


# ---- relative likelihood and intervals -----------------------------------------------------------


def test_relative_likelihood():
    close(relative_likelihood(np.log([.1, .4, .2])), [.25, 1, .5])
    close(relative_likelihood([[-1e9, -1e9 - np.log(4)], [-np.inf, -2e9]]), [[1, .25], [0, 0]], rtol=1e-6)
    close(relative_likelihood([1e5, 1e5 - 1]), [1, np.exp(-1)])
    close(relative_likelihood(-3.), 1.0)


@pytest.mark.parametrize("values", [[], [np.nan, 1], [np.inf, 1], [-np.inf, -np.inf]])
def test_relative_likelihood_refuses(values):
    with pytest.raises(ValueError, match="log_likelihood must hold numbers"):
        relative_likelihood(values)


def test_likelihood_interval():
    close(likelihood_interval(lambda m: -((m - 3) / 2)**2 / 2, 3, -90, 90), 3 + 2 * np.sqrt(2 * np.log(8)) * np.array([-1, 1]))
    ends = likelihood_interval(coin, .7, 0, 1, ratio=.3)
    close(np.exp(coin(np.array(ends)) - coin(.7)), [.3, .3])
    wider = likelihood_interval(coin, .7, 0, 1)
    assert wider[0] < ends[0] < .7 < ends[1] < wider[1]
    close(likelihood_interval(lambda t: bernoulli_log_likelihood(t, 3, 3), 1, 0, 1), [.5, 1])
    close(likelihood_interval(lambda t: bernoulli_log_likelihood(t, 0, 3), 0, 0, 1), [0, .5])
    close(likelihood_interval(coin, .7, .6, .8), [.6, .8])
    for s in (1e-12, 1e12):
        rate = likelihood_interval(lambda r: 5 * np.log(r) - 5 * r / s, s, 1e-3 * s, 1e3 * s)
        close(np.array(rate) / s, likelihood_interval(lambda r: 5 * np.log(r) - 5 * r, 1, 1e-3, 1e3))


@pytest.mark.parametrize("mle, low, high, ratio, words", [
    (.7, 0, 1, 1, "ratio must lie between 0 and 1, got 1"), (.7, 0, 1, 0, "ratio must"), (.7, 0, 1, np.nan, "ratio must"),
    (.7, .8, 1, .1, "mle must lie from low = 0.8 to high = 1, all finite, got 0.7"),
    (.7, 0, np.inf, .1, "to high = inf, all finite"), (np.nan, 0, 1, .1, "mle must lie"),
    (.6, 0, 1, .1, "mle must be the highest point .* maximise it first"), (0., 0, 1, .1, "mle must be the highest point"),
])
def test_likelihood_interval_refuses(mle, low, high, ratio, words):
    with pytest.raises(ValueError, match=words):
        likelihood_interval(coin, mle, low, high, ratio)


def test_likelihood_interval_refuses_a_function_that_is_no_likelihood():
    with pytest.raises(ValueError, match="must not be NaN from low to high, got NaN at 0"):
        likelihood_interval(lambda t: np.nan if t < .5 else coin(t), .7, 0, 1)
    for value in (-np.inf, np.inf, np.nan):
        with pytest.raises(ValueError, match="mle must be the highest point|must not be NaN"):
            likelihood_interval(lambda t: value, .5, 0, 1)


# ---- numerical derivatives -----------------------------------------------------------------------


@pytest.mark.parametrize("s", SCALES)
def test_gradient_and_hessian_at_every_scale(s):
    def f(v): return np.log(v[0] / s) + np.exp(-v[1] / s) * (v[0] / s)**2
    e = np.exp(-2)
    close(s * numerical_gradient(f, s * np.array([1., 2.])), [1 + 2 * e, -e], rtol=1e-9)
    close(s * numerical_hessian(f, s * np.array([1., 2.])) * s, [[-1 + 2 * e, -2 * e], [-2 * e, e]], rtol=1e-7)


def test_coordinates_of_very_different_size():
    def f(v): return 3 * np.log(v[0]) - v[1]**2 / 1e12 + v[0] * 1e9 * v[1] / 1e6
    x = np.array([2e-9, 3e6])
    close(numerical_gradient(f, x), [3 / x[0] + 3e9, -6e-6 + 2e-6], rtol=1e-8)
    close(numerical_hessian(f, x), [[-3 / x[0]**2, 1e3], [1e3, -2e-12]], rtol=1e-6)


def test_gradient_is_central_and_much_better_than_plain_differences():
    assert numerical_gradient(lambda v: abs(v[0]), [0.0])[0] == 0
    close(numerical_gradient(lambda v: np.exp(v[0]), [1.0]), [np.e], rtol=1e-10)
    close(numerical_gradient(lambda v: coin(v[0]), [.4]), [7 / .4 - 3 / .6], rtol=1e-10)
    close(numerical_gradient(lambda v: coin(v[0]), [.7]), [0], rtol=0, atol=1e-9)
    close(numerical_hessian(lambda v: coin(v[0]), [.7]), [[-10 / .21]], rtol=1e-8)


def test_at_zero_near_zero_and_far_from_it():
    for x in (0.0, 1e-17, -1e-12):
        close(numerical_gradient(lambda v: np.sin(v[0]) + 5, [x]), [np.cos(x)], rtol=1e-9)
        close(numerical_hessian(lambda v: np.cos(v[0]) + 5, [x]), [[-np.cos(x)]], rtol=1e-7)
    close(numerical_gradient(lambda v: np.sin(1e9 * v[0]), [0.0]), [1e9], rtol=1e-9)
    def bump(v): return np.logaddexp(-(v[0] - 1e6)**2, -1 - (v[0] - 1e6 - 2)**2)
    w = np.exp(-1 - 4) / (1 + np.exp(-1 - 4))
    close(numerical_gradient(bump, [1e6]), [4 * w], rtol=1e-7)
    close(numerical_hessian(bump, [1e6]), [[-2 + 16 * w * (1 - w)]], rtol=1e-6)


def test_linearity_rotation_and_symmetry():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4, 4)); A += A.T
    b, x = rng.standard_normal(4), rng.standard_normal(4)
    def f(v): return v @ A @ v / 2 + b @ v
    close(numerical_gradient(f, x), A @ x + b, rtol=1e-9)
    H = numerical_hessian(f, x)
    close(H, A, rtol=1e-7, atol=1e-9)
    assert (H == H.T).all() and H.shape == (4, 4)
    R, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    def g(v): return np.sin(v[0]) * np.exp(v[1]) + v[2] * v[3]**3
    close(numerical_gradient(lambda v: g(R @ v), R.T @ x), R.T @ numerical_gradient(g, x), rtol=1e-8)
    close(numerical_hessian(lambda v: g(R @ v), R.T @ x), R.T @ numerical_hessian(g, x) @ R, rtol=1e-6, atol=1e-7)
    close(numerical_gradient(lambda v: 7.0, x), np.zeros(4))


def test_x_is_left_alone_and_a_list_or_integers_will_do():
    x = np.array([1., 2.])
    numerical_gradient(lambda v: v @ v, x), numerical_hessian(lambda v: v @ v, x)
    assert x.tolist() == [1, 2]
    close(numerical_gradient(lambda v: v @ v, [1, 2]), [2, 4], rtol=1e-9)
    close(numerical_hessian(lambda v: v @ v, np.array([1, 2])), [[2, 0], [0, 2]], rtol=1e-7, atol=1e-9)


def test_a_border_close_by_is_no_obstacle():
    def strict(v): return bernoulli_log_likelihood(v[0], 9, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(numerical_gradient(strict, [.9999]), [9 / .9999 - 1 / 1e-4], rtol=1e-8)
        close(numerical_gradient(lambda v: bernoulli_log_likelihood(v[0], 10, 10), [.999]), [10 / .999], rtol=1e-8)
        close(numerical_gradient(lambda v: np.log(1 - v[0]), [.9999]), [-1e4], rtol=1e-8)
        close(numerical_hessian(lambda v: np.log(1 - v[0]), [.9999]), [[-1e8]], rtol=1e-5)


@pytest.mark.parametrize("derivative", [numerical_gradient, numerical_hessian])
def test_derivatives_refuse(derivative):
    for x, words in [(2.0, r"x must be a 1-D array of finite numbers, got 2.0; wrap a scalar as np.array\(\[x\]\)"),
                     ([[1.0]], "x must be a 1-D array"), ([np.nan], "x must be"), ([np.inf, 1], "finite numbers, got")]:
        with pytest.raises(ValueError, match=words):
            derivative(np.sum, x)
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"f must be finite near x = \[1.0\]; move x inside"):
            derivative(lambda v: value, [1.0])
    for f, shape in [(lambda v: 2 * v, r"\(2,\)"), (lambda v: v[:1], r"\(1,\)")]:
        with pytest.raises(ValueError, match=f"f must return one number, got shape {shape}; differentiate one entry"):
            derivative(f, [1.0, 2.0])
    def own(v): raise ValueError("my own message")
    with pytest.raises(ValueError, match="my own message"):
        derivative(own, [1.0])
    with pytest.raises(TypeError, match="NoneType"):
        derivative(lambda v: None, [1.0])
    assert derivative(np.sum, []).size == 0
