"""Intervals, tests, the delta method and the sandwich: closed forms, other libraries, invariances, coverage, refusals."""
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

import emlit.uncertainty as uncertainty
from emlit.logistic import fit_logistic
from emlit.uncertainty import (HypothesisTest, coverage, delta_method, inverse_information, likelihood_ratio_test,
                               observed_information, profile_interval, sandwich, score_test, wald_interval, wald_test)

T = np.array([66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58.])
Y = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1])
X = np.column_stack([np.ones(23), T])
FIT = fit_logistic(T[:, None], Y)
THETA = np.r_[FIT.intercept, FIT.coefficients[0]]


def close(actual, desired, rtol=1e-10, atol=0.0):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=np.float64), rtol=rtol, atol=atol, strict=True)


def shuttle(v): return (Y * (X @ v) - np.logaddexp(0, X @ v)).sum()


def covariance(p, seed=0):
    A = np.random.default_rng(seed).standard_normal((p, 2 * p))
    return A @ A.T


def test_every_public_name_is_tested_here():
    assert set(uncertainty.__all__) == {
        "HypothesisTest", "coverage", "delta_method", "inverse_information", "likelihood_ratio_test", "observed_information",
        "profile_interval", "sandwich", "score_test", "wald_interval", "wald_test"}


# ---- information ---------------------------------------------------------------------------------


def test_observed_information():
    mu = expit(X @ THETA)
    exact = (X * (mu * (1 - mu))[:, None]).T @ X
    close(observed_information(shuttle, THETA), exact, rtol=1e-6)
    x = np.array([2., 3., 5., 9.])
    def gaussian(v): return stats.norm.logpdf(x, v[0], v[1]).sum()
    sd = x.std()
    close(observed_information(gaussian, [x.mean(), sd]), np.diag([4, 8]) / sd**2, rtol=1e-6, atol=1e-7)


def test_observed_information_refuses():
    with pytest.raises(ValueError, match=r"theta is \d.* standard errors from the top of log_likelihood; maximise it first"):
        observed_information(shuttle, THETA * 1.01)
    with pytest.raises(ValueError, match=r"information must be positive definite, and is not along parameters \[0\]"):
        observed_information(lambda v: v[0]**2 - v[1]**2, [0., 0.])


@pytest.mark.parametrize("scale", [1e-100, 1e-9, 1.0, 1e9, 1e100])
def test_inverse_information(scale):
    V = covariance(5)
    s = scale**np.array([0, 1, .5, -.5, 1])
    close(inverse_information(V * s * s[:, None]) * s * s[:, None], np.linalg.inv(V), rtol=1e-8)
    assert inverse_information(np.zeros((0, 0))).shape == (0, 0)


@pytest.mark.parametrize("matrix, words", [
    (np.eye(3)[:2], "must be a square matrix of finite numbers, got shape .2, 3."), (np.full((2, 2), np.nan), "finite"), (3.0, "square"),
    ([[1, .5], [-.5, 1]], "must be symmetric"), ([[1, 1], [1, 1]], r"along parameters \[0, 1\]"), (np.zeros((2, 2)), "positive definite"),
    (np.diag([1., 0, 2]), r"along parameters \[1\]"), (np.diag([1., -1]), r"along parameters \[1\]"),
])
def test_inverse_information_refuses(matrix, words):
    with pytest.raises(ValueError, match=words):
        inverse_information(matrix)


# ---- intervals -----------------------------------------------------------------------------------


def test_wald_interval():
    close(wald_interval(2., 3.), 2 + 3 * stats.norm.ppf([.025, .975]))
    estimate, se = np.arange(6.).reshape(2, 3), np.ones((2, 3))
    ends = wald_interval(estimate, se, level=.5)
    assert ends.shape == (2, 3, 2)
    close(ends[..., 1] - estimate, .674489750196 * se, rtol=1e-9)
    close(wald_interval([1., 2.], 0), [[1, 1], [2, 2]])
    assert np.isfinite(wald_interval(0, 1, 1 - 1e-12)).all()
    for level in (0, 1, 95, -1, np.nan):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            wald_interval(1, 1, level)
    with pytest.raises(ValueError, match="standard_error must be >= 0, got -2"):
        wald_interval([1, 1], [1, -2])


def test_statsmodels_gives_the_same_intervals_and_tests():
    sm = pytest.importorskip("statsmodels.api")
    theirs = sm.Logit(Y, X).fit(disp=0, tol=1e-13)
    se = np.sqrt(FIT.covariance.diagonal())
    close(wald_interval(THETA, se), theirs.conf_int(), rtol=1e-6)
    close(wald_test(THETA[:, None], se[:, None, None]**2).p_value, theirs.pvalues, rtol=1e-8)
    test = likelihood_ratio_test(FIT.log_likelihood, theirs.llnull, 1)
    close([test.statistic, test.p_value], [theirs.llr, theirs.llr_pvalue], rtol=1e-8)
    robust = sm.Logit(Y, X).fit(disp=0, tol=1e-13, cov_type="HC0")
    close(sandwich(FIT.covariance, X * (Y - expit(X @ THETA))[:, None]), robust.cov_params(), rtol=1e-7)


def test_profile_interval_of_the_shuttle():
    def profile(b):
        c = brentq(lambda c: expit(c + b * (T - 69)).sum() - Y.sum(), -200, 200, xtol=1e-13)
        return shuttle([c - 69 * b, b])
    low, high = profile_interval(profile, THETA[1], .1)
    close([low, high], [-.5154, -.0608], rtol=1e-3)  # R: confint of glm gives -0.515 and -0.061
    close(profile_interval(profile, THETA[1], 1e-4), [low, high], rtol=1e-8)
    close(profile_interval(profile, THETA[1], .5), [low, high], rtol=1e-8)
    for level in (.5, .9, .99):
        a, b = profile_interval(profile, THETA[1], .1, level)
        close([2 * (FIT.log_likelihood - profile(t)) for t in (a, b)], [stats.chi2.ppf(level, 1)] * 2, rtol=1e-7)
        close(likelihood_ratio_test(FIT.log_likelihood, profile(a), 1).p_value, 1 - level, rtol=1e-6)


@pytest.mark.parametrize("s", [1e-100, 1e-9, 1.0, 1e9, 1e100])
def test_profile_interval_of_a_parabola_at_every_scale(s):
    close(profile_interval(lambda t: 5 - ((t / s - 3) / 2)**2 / 2, 3 * s, s / 50), wald_interval(3 * s, 2 * s), rtol=1e-9)
    close(profile_interval(lambda t: -(t / s)**2 / 2, 0., s), wald_interval(0, s), rtol=1e-9)


def test_profile_interval_at_bounds_and_without_end():
    def coin(k, n): return lambda t: stats.binom.logpmf(k, n, t)
    low, high = profile_interval(coin(10, 10), 1., .05, low=0, high=1)
    assert high == 1
    close(low, np.exp(-stats.chi2.ppf(.95, 1) / 20), rtol=1e-9)
    assert profile_interval(coin(0, 3), 0., .1, low=0, high=1)[0] == 0
    assert profile_interval(lambda t: -t**2, 0., 1., low=-.1, high=.2) == (-.1, .2)
    assert profile_interval(lambda t: 0.0, 0., 1.) == (-np.inf, np.inf)
    assert profile_interval(lambda t: -np.log1p(np.exp(-t)), 50., 1.)[1] == np.inf
    low, high = profile_interval(lambda t: 0 if abs(t) < 2 else -np.inf, 0., 1.)
    close([low, high], [-2, 2], rtol=1e-6)


@pytest.mark.parametrize("change, words", [
    (dict(level=95), "level must"), (dict(scale=0), "scale > 0"), (dict(scale=np.nan), "scale > 0"), (dict(estimate=np.nan), "need low <= estimate"),
    (dict(low=1), "need low <= estimate <= high"), (dict(estimate=.5), "profile must be highest at estimate = 0.5, got .* maximise it first"),
    (dict(profile=lambda t: np.nan if t > 1 else -t * t), "profile must be highest .* got nan at"), (dict(profile=lambda t: np.nan), "got nan"),
])
def test_profile_interval_refuses(change, words):
    with pytest.raises(ValueError, match=words):
        profile_interval(**{"profile": lambda t: -t * t, "estimate": 0., "scale": .3, **change})


# ---- delta method --------------------------------------------------------------------------------


def test_delta_method():
    V = covariance(3)
    A = np.random.default_rng(1).standard_normal((2, 3))
    value, W = delta_method(lambda t: A @ t, [1., 2., 3.], V)
    close(value, A @ [1, 2, 3])
    close(W, A @ V @ A.T, rtol=1e-7)
    value, variance = delta_method(lambda t: t[0] * t[1], [2., 3., 5.], V)
    close(value, 6.)
    close(variance, 9 * V[0, 0] + 12 * V[0, 1] + 4 * V[1, 1], rtol=1e-7)
    value, W = delta_method(lambda t: [np.exp(t[0])], [2., 3., 5.], V)
    assert value.shape == (1,) and W.shape == (1, 1)
    inner, V1 = delta_method(lambda t: t**2, [1., 2., 3.], V)
    chained = delta_method(lambda t: np.log(t), inner, V1)
    direct = delta_method(lambda t: 2 * np.log(t), [1., 2., 3.], V)
    close(chained[1], direct[1], rtol=1e-6)


@pytest.mark.parametrize("f, theta, V, words", [
    (np.sum, 1., [[1.]], r"theta must have shape \(p,\)"), (np.sum, [1., 2.], [1., 2.], r"got \(2,\) and \(2,\)"),
    (np.diag, [1., 2.], np.eye(2), r"f must return a number or a vector, got shape \(2, 2\)"), (lambda t: np.nan, [1.], [[1.]], "finite"),
])
def test_delta_method_refuses(f, theta, V, words):
    with pytest.raises(ValueError, match=words):
        delta_method(f, theta, V)


# ---- tests ---------------------------------------------------------------------------------------


def test_three_tests_agree_on_a_gaussian_mean():
    rng = np.random.default_rng(2)
    V, x = covariance(3), rng.standard_normal((8, 3))
    P, mean = np.linalg.inv(V), x.mean(axis=0)
    def l(m): return -.5 * np.einsum("ij,jk,ik->", x - m, P, x - m)
    by_wald = wald_test(mean, V / 8)
    by_score = score_test(x.sum(axis=0) @ P, 8 * P, 3)
    by_ratio = likelihood_ratio_test(l(mean), l(np.zeros(3)), 3)
    close([by_score.statistic, by_ratio.statistic], [by_wald.statistic] * 2)
    close(by_wald.p_value, stats.chi2.sf(by_wald.statistic, 3))
    assert by_wald.df == by_score.df == by_ratio.df == 3 and isinstance(by_wald, HypothesisTest)
    close(wald_test(mean, V / 8, null=mean).statistic, 0.)
    close(wald_test(mean + 5, V / 8, null=5).statistic, by_wald.statistic, rtol=1e-9)


def test_stacks_scalars_and_scales():
    z = np.array([-3., 0., 1.96])
    test = wald_test(z[:, None], np.ones((3, 1, 1)))
    assert test.df == 1 and test.statistic.shape == (3,)
    close(test.p_value, 2 * stats.norm.sf(abs(z)), rtol=1e-9)
    close(wald_test(3., 4.).statistic, 2.25)
    close(wald_test(3., [[4.]]).statistic, 2.25)
    V, s = covariance(2), np.array([1e-150, 1e150])
    close(wald_test(s * [1, 2], V * s * s[:, None]).statistic, wald_test([1, 2], V).statistic)
    assert likelihood_ratio_test([-5., -5.], [-6., -5. - 1e-12], 2).p_value.shape == (2,)
    close(likelihood_ratio_test(-1e6, -1e6 + 1e-9, 1).statistic, 0.)
    assert 0 < wald_test(30., 1.).p_value < 1e-190


def test_score_test_of_proportions_is_pearsons_chi_squared():
    table = np.array([[12, 8], [5, 15], [9, 11]])
    group = np.repeat([0, 1, 2], 20)
    y = np.concatenate([np.repeat([1, 0], row) for row in table])
    D = np.column_stack([np.ones(60), group == 1, group == 2])
    mu = y.mean()
    test = score_test(D.T @ (y - mu), mu * (1 - mu) * D.T @ D, 2)
    pearson = stats.chi2_contingency(table, correction=False)
    close([test.statistic, test.p_value], [pearson.statistic, pearson.pvalue])


@pytest.mark.parametrize("call, words", [
    (lambda: wald_test([1., 2.], np.eye(3)), r"covariance must have shape \(2, 2\) for 2 parameters, got \(3, 3\)"),
    (lambda: wald_test(1., np.eye(2)), "covariance must have shape"), (lambda: wald_test([], np.eye(0)), "covariance must have shape"),
    (lambda: wald_test(1., -1.), "covariance must be positive definite"), (lambda: wald_test([1, 2], np.ones((2, 2))), "positive definite"),
    (lambda: wald_test(1., np.nan), "finite"), (lambda: score_test([1.], [[1.]], 2), "df must lie between 1 and 1"),
    (lambda: score_test([1.], [[1.]], 0), "df must"), (lambda: score_test([1.], [1.], 1), "information must have shape"),
    (lambda: likelihood_ratio_test(-5, -4, 1), "restricted must not be higher than log_likelihood, got a statistic of -2"),
    (lambda: likelihood_ratio_test(-5, np.nan, 1), "restricted must"), (lambda: likelihood_ratio_test(-5, -6, 0), "df must be at least 1, got 0"),
    (lambda: likelihood_ratio_test([-5, -5], [-6, -4], 1), "restricted must"),
    (lambda: wald_test(np.nan, 1.), "finite"), (lambda: wald_test([1., np.inf], np.eye(2)), "finite"),
])
def test_tests_refuse(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_p_values_are_uniform_under_the_hypothesis():
    rng = np.random.default_rng(3)
    z = rng.standard_normal((4000, 2)) @ np.linalg.cholesky(covariance(2)).T
    p = wald_test(z, np.broadcast_to(covariance(2), (4000, 2, 2))).p_value
    for level in (.01, .05, .5):
        assert abs((p < level).mean() - level) < 5 * np.sqrt(level * (1 - level) / 4000)


# ---- sandwich ------------------------------------------------------------------------------------


def test_sandwich():
    x = np.random.default_rng(4).gamma(2, size=50)
    close(sandwich([[1 / 50]], (x - x.mean())[:, None]), [[x.var() / 50]])
    D = np.random.default_rng(5).standard_normal((40, 3))
    y = D @ [1, 2, 3] + np.random.default_rng(6).standard_normal(40)
    bread = np.linalg.inv(D.T @ D)
    e = y - D @ bread @ D.T @ y
    white = bread @ (D.T * e**2) @ D @ bread
    close(sandwich(bread, D * e[:, None]), white, rtol=1e-9)
    T_ = np.array([[1., 2, 0], [0, 1, 0], [3, 0, 1]])  # other coordinates: D theta = (D T) (T^-1 theta)
    inverse = np.linalg.inv(T_)
    close(sandwich(inverse @ bread @ inverse.T, D @ T_ * e[:, None]), inverse @ white @ inverse.T, rtol=1e-8)
    grouped = (D * e[:, None]).reshape(10, 4, 3).sum(axis=1)
    close(sandwich(bread, grouped), bread @ grouped.T @ grouped @ bread, rtol=1e-9)


def test_sandwich_meets_the_information_where_the_model_is_true():
    rng = np.random.default_rng(7)
    D = np.column_stack([np.ones(40_000), rng.standard_normal(40_000)])
    y = (rng.random(40_000) < expit(D @ [.3, -1])).astype(int)
    fit = fit_logistic(D[:, 1:], y)
    scores = D * (y - expit(D @ np.r_[fit.intercept, fit.coefficients[0]]))[:, None]
    close(sandwich(fit.covariance, scores).diagonal(), fit.covariance.diagonal(), rtol=.05)


@pytest.mark.parametrize("V, s, words", [
    (np.eye(2), np.zeros((5, 3)), r"scores must have shape \(n, p\) and covariance \(p, p\), got \(5, 3\) and \(2, 2\)"),
    (1., np.zeros(5), "scores must have shape"), (np.eye(2), np.zeros((0, 2)), "scores must have shape"), (np.eye(1), np.ones((5, 1)), "add up to zero"), (np.eye(1), [[np.nan], [0.]], "add up to zero"),
])
def test_sandwich_refuses(V, s, words):
    with pytest.raises(ValueError, match=words):
        sandwich(V, s)


# ---- coverage ------------------------------------------------------------------------------------


def test_coverage():
    share, error = coverage([[0, 1], [2, 3], [0, 2], [0, 9]], 1)
    close(share, .75)
    close(error, np.sqrt(5 / 8 * 3 / 8 / 4))
    z = np.random.default_rng(8).standard_normal((5000, 3)) * [1, 2, 3] + [5, 6, 7]
    share, error = coverage(wald_interval(z, [1, 2, 3], .9), [5, 6, 7])
    assert share.shape == error.shape == (3,) and (abs(share - .9) < 5 * error).all()
    close(error, np.full(3, np.sqrt(.09 / 5000)), rtol=.1)
    assert coverage([[-np.inf, np.inf]], 3)[0] == 1 and coverage([[0, 1]], 3)[1] > 0
    for intervals in ([0, 1], np.zeros((0, 2)), np.zeros((3, 3)), [[0, np.nan]]):
        with pytest.raises(ValueError, match=r"intervals must have shape \(repetitions, ..., 2\)"):
            coverage(intervals, 0)
