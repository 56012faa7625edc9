"""LinearRegression and LogisticRegression: other libraries, certified numbers, brute force, invariances, scikit-learn's own checks, refusals."""
import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.linear_model
from scipy import stats
from scipy.optimize import brentq, minimize
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import emlit.regression as regression
from emlit.linear import least_squares
from emlit.logistic import SeparationError, fit_logistic
from emlit.regression import LinearRegression, LogisticRegression, RegressionTest, Summary
from emlit.uncertainty import HypothesisTest, coverage, profile_interval

ROBUST = ["HC0", "HC1", "HC2", "HC3"]
NIST = sorted(Path(__file__).with_name("nist").glob("*.csv"))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def close(actual, desired, rtol=1e-8, atol=0.0):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=np.float64), rtol=rtol, atol=atol, strict=True)


def with_one(X):
    return np.column_stack([np.ones(len(X)), X])


def line_data(n=60, p=4, seed=0, scale=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + .4 * rng.standard_normal((p, p))) * scale + offset
    return X, X @ (rng.standard_normal(p) / scale) + (1 + .3 * abs(X[:, 0] - offset) / scale) * rng.standard_normal(n)


def class_data(n=300, p=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + .3 * rng.standard_normal((p, p))) + 1
    eta = X @ rng.standard_normal((p, classes)) * .7
    return X, (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)


def nist(path):
    "Columns, y, certified estimates and standard deviations."
    text = path.read_text().splitlines()
    estimates, sd = (np.array([float(v) for v in next(t for t in text if word in t).split(":")[1].split()]) for word in ("estimates", "deviations"))
    values = np.array([line.split(",") for line in text if not line.startswith("#")][1:], dtype=float)
    return values[:, 1:] if values.shape[1] > 2 else values[:, 1:]**np.arange(1, len(estimates)), values[:, 0], estimates, sd


def test_every_public_name_is_tested_here():
    assert set(regression.__all__) == {"RegressionTest", "Summary", "LinearRegression", "LogisticRegression"}


# ---- scikit-learn's checks -----------------------------------------------------------------------

NO_ESTIMATE = {"check_sample_weight_equivalence_on_dense_data": "has more columns than rows: there is no single estimate. See test_weights_are_rows"}


@parametrize_with_checks([LinearRegression(), LinearRegression(covariance="HC1", weights="precision"), LinearRegression(fit_intercept=False),
                          LogisticRegression(on_separation="smooth"), LogisticRegression(on_separation="smooth", covariance="sandwich")],
                         expected_failed_checks=lambda estimator: NO_ESTIMATE)
def test_scikit_learn_checks(estimator, check):
    "Clean under scikit-learn's checks. (Many of these use separated classes, which a LogisticRegression refuses unless told to smooth.)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("estimator", [LinearRegression(), LinearRegression(covariance="HC2"), LogisticRegression(), LogisticRegression(covariance="HC1")], ids=str)
def test_weights_are_rows(estimator):
    "A row of weight 2 is two rows, one of weight 0 is none."
    X, y = (line_data if isinstance(estimator, LinearRegression) else class_data)(n=80)
    w = np.random.default_rng(1).integers(0, 4, size=80)
    a, b = clone(estimator).fit(X, y, w), clone(estimator).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    for name in ("estimates_", "covariance_", "log_likelihood_", "null_log_likelihood_", "n_observations_", "dof_", "p_values_"):
        close(getattr(a, name), getattr(b, name), 1e-9)
    close([a.aic(), a.bic()], [b.aic(), b.bic()])
    close(1.0 * a.predict(X), b.predict(X))


def test_settings_and_attributes_of_scikit_learn():
    X, y = class_data(classes=3)
    theirs, ours = sklearn.linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(X, y), LogisticRegression().fit(X, y)
    for name in ("coef_", "intercept_", "classes_", "n_iter_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    close(ours.coef_, theirs.coef_, 1e-4)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        close(getattr(ours, method)(X), getattr(theirs, method)(X), 1e-3, 1e-4)
    assert ours.score(X, y) == (ours.predict(X) == y).mean()
    X, y = line_data()
    theirs, ours = sklearn.linear_model.LinearRegression().fit(X, y), LinearRegression().fit(X, y)
    close(ours.coef_, theirs.coef_), close(ours.intercept_, theirs.intercept_), close(ours.score(X, y), theirs.score(X, y))
    close(ours.r_squared_, ours.score(X, y)), close(ours.residuals_, y - theirs.predict(X), 1e-7, 1e-10)


# ---- statsmodels and certified numbers -----------------------------------------------------------


def birth_like(kind):
    "Named tables: real ones of scikit-learn, and scaled, shifted and nearly collinear ones."
    if kind == "diabetes": return load_diabetes(return_X_y=True)
    if kind == "wine": return (lambda X: (X[:, [1, 4, 9, 12]], X[:, 0]))(load_wine().data)
    if kind == "cancer": return (lambda X: (X[:, [1, 4, 9, 12]], X[:, 0]))(load_breast_cancer().data)
    if kind == "far": return line_data(offset=1e4)
    if kind == "tiny": return line_data(scale=1e-7)
    X, y = line_data(p=3)
    return np.column_stack([X, X[:, 0] + 1e-3 * X[:, 1] * X[:, 2]]), y


TABLES = ["diabetes", "wine", "cancer", "far", "tiny", "nearly collinear"]


@pytest.mark.parametrize("kind", TABLES)
def test_statsmodels_agrees_on_lines(kind):
    sm = pytest.importorskip("statsmodels.api")
    X, y = birth_like(kind)
    ours, theirs = LinearRegression().fit(X, y), sm.OLS(y, with_one(X)).fit()
    for a, b in ((ours.estimates_, theirs.params), (ours.standard_errors_, theirs.bse), (ours.statistics_, theirs.tvalues), (ours.p_values_, theirs.pvalues),
                 (ours.confint(.9), theirs.conf_int(.1)), (ours.f_test().statistic, theirs.fvalue), (ours.f_test().p_value, theirs.f_pvalue)):
        close(a, b, 1e-8, 1e-300)
    close([ours.log_likelihood_, ours.aic(), ours.bic(), ours.r_squared_, ours.adjusted_r_squared_, ours.residual_variance_],
          [theirs.llf, theirs.aic + 2, theirs.bic + np.log(len(y)), theirs.rsquared, theirs.rsquared_adj, theirs.scale])
    for covariance in ROBUST:
        ours, theirs = LinearRegression(covariance=covariance).fit(X, y), sm.OLS(y, with_one(X)).fit(cov_type=covariance, use_t=True)
        close(ours.standard_errors_, theirs.bse, 1e-7), close(ours.f_test().statistic, theirs.fvalue, 1e-6)


@pytest.mark.parametrize("kind", TABLES)
def test_statsmodels_agrees_on_classes(kind):
    sm = pytest.importorskip("statsmodels.api")
    warnings.simplefilter("ignore")                                    # statsmodels says that 1e-14 was not reached
    X, z = birth_like(kind)
    y = np.where(z + 1.5 * z.std() * np.random.default_rng(0).standard_normal(len(z)) > np.median(z), "yes", "no")
    ours = LogisticRegression().fit(X, y)
    S = (X - X.mean(axis=0)) / X.std(axis=0)                           # statsmodels' Newton fails on raw columns that are far or tiny
    theirs = sm.Logit((y == "yes").astype(float), with_one(S)).fit(disp=0, tol=1e-14, maxiter=100)
    close(ours.coef_[0] * X.std(axis=0), theirs.params[1:])
    close(ours.standard_errors_[1:] * X.std(axis=0), theirs.bse[1:]), close(ours.p_values_[1:], theirs.pvalues[1:])
    close([ours.log_likelihood_, ours.aic(), ours.bic(), ours.pseudo_r_squared_], [theirs.llf, theirs.aic, theirs.bic, theirs.prsquared])
    close([ours.likelihood_ratio_test().statistic, ours.likelihood_ratio_test().p_value], [theirs.llr, theirs.llr_pvalue], 1e-7)
    robust = sm.Logit((y == "yes").astype(float), with_one(S)).fit(disp=0, tol=1e-14, maxiter=100, cov_type="HC0")
    for covariance, factor in (("HC0", 1), ("sandwich", 1), ("HC1", np.sqrt(len(y) / (len(y) - 1 - X.shape[1])))):
        close(LogisticRegression(covariance=covariance).fit(X, y).standard_errors_[1:] * X.std(axis=0), robust.bse[1:] * factor, 1e-7)


def test_statsmodels_agrees_on_several_classes():
    sm = pytest.importorskip("statsmodels.api")
    X, y = class_data(500, 3, 4, 2)
    ours, theirs = LogisticRegression().fit(X, y), sm.MNLogit(y, with_one(X)).fit(disp=0, method="newton", tol=1e-14, maxiter=100)
    close(ours.estimates_, theirs.params.T.ravel()), close(ours.standard_errors_, theirs.bse.T.ravel())
    close([ours.aic(), ours.bic(), ours.pseudo_r_squared_], [theirs.aic, theirs.bic, theirs.prsquared])
    R = np.eye(12)[[1, 5, 9]]
    close(ours.wald_test("x0").statistic, float(theirs.wald_test(R.reshape(3, 12), scalar=True).statistic))


def test_statsmodels_agrees_on_weights():
    "Precision weights are those of WLS, frequency weights those of GLM's freq_weights."
    sm = pytest.importorskip("statsmodels.api")
    X, y = line_data(100)
    w = np.random.default_rng(0).gamma(2, size=100)
    ours, theirs = LinearRegression(weights="precision").fit(X, y, w), sm.WLS(y, with_one(X), w).fit()
    close(ours.estimates_, theirs.params), close(ours.standard_errors_, theirs.bse), close(ours.confint(), theirs.conf_int())
    close([ours.log_likelihood_, ours.aic(), ours.bic(), ours.r_squared_, ours.adjusted_r_squared_],
          [theirs.llf, theirs.aic + 2, theirs.bic + np.log(100), theirs.rsquared, theirs.rsquared_adj])
    close(ours.likelihood_ratio_test().statistic, 2 * (theirs.llf - sm.WLS(y, np.ones(100), w).fit().llf))
    for covariance in ROBUST:
        close(LinearRegression(weights="precision", covariance=covariance).fit(X, y, w).standard_errors_, sm.WLS(y, with_one(X), w).fit(cov_type=covariance).bse)
    close(LinearRegression(weights="precision").fit(X, y, 7 * w).standard_errors_, ours.standard_errors_)
    ours, theirs = LinearRegression().fit(X, y, w), sm.GLM(y, with_one(X), freq_weights=w).fit()
    close(ours.standard_errors_, theirs.bse), close(ours.dof_, w.sum() - 5)
    X, y = class_data(100)
    ours, theirs = LogisticRegression().fit(X, y, w), sm.GLM(y, with_one(X), sm.families.Binomial(), freq_weights=w).fit(tol=1e-14, tol_criterion="params")
    close(ours.estimates_, theirs.params), close(ours.standard_errors_, theirs.bse), close(ours.log_likelihood_, theirs.llf)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_statsmodels_agrees_without_an_intercept(fit_intercept):
    sm = pytest.importorskip("statsmodels.api")
    X, y = line_data()
    D = with_one(X) if fit_intercept else X
    ours, theirs = LinearRegression(fit_intercept=fit_intercept).fit(X, y), sm.OLS(y, D).fit()
    close([ours.r_squared_, ours.adjusted_r_squared_, ours.f_test().statistic, ours.dof_],
          [theirs.rsquared, theirs.rsquared_adj, theirs.fvalue, theirs.df_resid])
    for covariance in ROBUST:
        close(LinearRegression(fit_intercept=fit_intercept, covariance=covariance).fit(X, y).standard_errors_, sm.OLS(y, D).fit(cov_type=covariance).bse)
    X, y = class_data()
    ours, theirs = LogisticRegression(fit_intercept=fit_intercept).fit(X, y), sm.Logit(y, with_one(X) if fit_intercept else X).fit(disp=0, tol=1e-14)
    close(ours.estimates_, theirs.params), close(ours.standard_errors_, theirs.bse)
    if not fit_intercept: close(ours.null_log_likelihood_, 300 * np.log(.5)), close(ours.intercept_, np.zeros(1))


@pytest.mark.parametrize("path", NIST, ids=lambda path: path.stem)
def test_certified_digits(path):
    X, y, estimates, sd = nist(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = LinearRegression().fit(X, y)
    assert bool(caught) == (not sd.any())                              # Wampler1 and 2 are perfect
    digits = 7 if path.stem == "filip" else 12
    close(fit.estimates_, estimates, 10.0**-digits), close(fit.standard_errors_, sd, 10.0**-min(digits, 10), 1e-9)


def test_longley_in_a_sandwich_keeps_its_digits():
    "Columns far from zero: the same as for centred columns, whose sandwich is easy."
    X, y, *_ = nist(next(path for path in NIST if path.stem == "longley"))
    for covariance in ROBUST:
        a, b = (LinearRegression(covariance=covariance).fit(Z, y) for Z in (X, X - X.mean(axis=0)))
        close(a.standard_errors_[1:], b.standard_errors_[1:], 1e-9)
    far, (Z, c) = 1e7, class_data()
    a, b = (LogisticRegression(covariance="HC0").fit(np.round(Z, 3) + shift, c) for shift in (0, far))
    close(a.standard_errors_[1:], b.standard_errors_[1:], 1e-6)


# ---- closed forms and brute force ----------------------------------------------------------------


def test_two_groups_are_the_two_sample_tests():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 12), rng.normal(1, 3, 20)
    X, y = np.repeat([[0.], [1.]], [12, 20], axis=0), np.r_[a, b]
    student, welch = LinearRegression().fit(X, y), LinearRegression(covariance="HC2").fit(X, y)
    close([student.statistics_[1], student.p_values_[1]], list(stats.ttest_ind(b, a)[:2]))
    close(student.confint()[1], list(stats.ttest_ind(b, a).confidence_interval()))
    close(welch.statistics_[1], stats.ttest_ind(b, a, equal_var=False).statistic)
    close(student.f_test().statistic, student.statistics_[1]**2)


def test_hc3_are_residuals_of_rows_left_out():
    X, y = line_data(30)
    D, fit = with_one(X), LinearRegression(covariance="HC3").fit(X, y)
    rest = ~np.eye(30, dtype=bool)
    r = np.array([y[n] - LinearRegression().fit(X[rest[n]], y[rest[n]]).predict(X[n:n + 1])[0] for n in range(30)])
    A = np.linalg.solve(D.T @ D, D.T)
    close(fit.covariance_, (A * r**2) @ A.T, 1e-8, 1e-12)
    close(LinearRegression(covariance="sandwich").fit(X, y).covariance_, fit.covariance_, 1e-12)


def test_two_by_two_table():
    "Log odds ratio, its standard error, and the G test."
    table = np.array([[30, 12], [18, 25]])
    X, y = np.array([[0.], [0], [1], [1]]), np.array([0, 1, 0, 1])
    fit = LogisticRegression().fit(X, y, table.ravel())
    close(fit.coef_, [[np.log(30 * 25 / 12 / 18)]]), close(fit.standard_errors_[1], np.sqrt((1 / table).sum()))
    g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    close([fit.likelihood_ratio_test().statistic, fit.likelihood_ratio_test().p_value], [g[0], g[1]])
    robust = LogisticRegression(covariance="HC0").fit(X, y, table.ravel())       # saturated: the model is true, and sandwich and model agree
    close(robust.covariance_, fit.covariance_)


def log_likelihood_of_classes(X, y):
    D, classes = with_one(X), y.max() + 1
    def f(flat):
        eta = np.hstack([np.zeros((len(X), 1)), D @ flat.reshape(classes - 1, -1).T])
        return (eta[np.arange(len(y)), y] - np.logaddexp.reduce(eta, axis=1)).sum()
    return f


@pytest.mark.parametrize("classes", [2, 3])
def test_profile_intervals_by_brute_force(classes):
    "Each end, held fixed, costs just the quantile, by a general optimiser."
    X, y = class_data(50, 2, classes, 3)
    fit, f = LogisticRegression().fit(X, y), log_likelihood_of_classes(X, y)
    ends, goal = fit.confint(.9, "profile"), fit.log_likelihood_ - stats.chi2(1).ppf(.9) / 2
    for j in range(len(fit.estimates_)):
        free = np.arange(len(fit.estimates_)) != j
        for end in ends[j]:
            def held(rest):
                flat = np.insert(rest, j, end)
                return -f(flat)
            close(-minimize(held, fit.estimates_[free], method="BFGS", options={"gtol": 1e-9}).fun, goal, 1e-7)
        assert ends[j, 0] < fit.estimates_[j] < ends[j, 1]


def test_profile_of_a_contrast_does_not_depend_on_the_reference():
    X, y = class_data(120, 2, 3, 4)
    a, b = (LogisticRegression(reference=k).fit(X, y) for k in (0, 2))
    close(a.confint(method="profile")[3:], -b.confint(method="profile")[:3, ::-1], 1e-6)      # 2 against 0, and 0 against 2
    close(a.estimates_[3:], -b.estimates_[:3], 1e-9), close(a.standard_errors_[3:], b.standard_errors_[:3])
    close(a.coef_, b.coef_, 1e-10), close(a.wald_test(["x0"]).statistic, b.wald_test("x0").statistic, 1e-7)
    assert a.parameter_names_ == ["1: intercept", "1: x0", "1: x1", "2: intercept", "2: x0", "2: x1"]
    turned = LogisticRegression(reference="b").fit(X, np.where(y > 0, "b", "a"))
    close(turned.estimates_[1:], -turned.coef_[0])


@pytest.mark.parametrize("w", [np.arange(60) % 3, np.random.default_rng(0).gamma(2, size=60)])
def test_profile_with_weights(w):
    "One column, no constant: the likelihood is a function of one number."
    X, y = class_data(60, 1)
    fit = LogisticRegression(fit_intercept=False).fit(X, y, w)
    f = lambda b: -(w * np.logaddexp(0, -(2 * y - 1) * X[:, 0] * b)).sum()
    close(fit.log_likelihood_, f(fit.coef_[0, 0]), 1e-10)
    close(fit.confint(method="profile")[0], profile_interval(f, fit.coef_[0, 0], fit.standard_errors_[0]), 1e-7)


def test_profile_of_a_line():
    X, y = line_data(15, 2)
    fit = LinearRegression().fit(X, y)
    slope = profile_interval(lambda v: least_squares(X[:, :1], y - v * X[:, 1]).log_likelihood, fit.coef_[1], fit.standard_errors_[2], .8)
    close(fit.confint(.8, "profile")[2], slope, 1e-7)
    level = profile_interval(lambda v: least_squares(X, y - v, intercept=False).log_likelihood, fit.intercept_, fit.standard_errors_[0], .8)
    close(fit.confint(.8, "profile")[0], level, 1e-7)


def test_profile_catches_changed_rows_and_copies():
    X, y = class_data()
    fit = LogisticRegression().fit(X, y)
    for lost in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        close(lost.confint(), fit.confint())
        with pytest.raises(ValueError, match="fit again, or use method='wald'"): lost.confint(method="profile")
    assert len(pickle.dumps(fit)) < 3000 and fit.confint(method="profile").shape == (4, 2)       # 300 rows would take 7200
    X[:50] += 1
    with pytest.raises(ValueError, match="changed after fit"): fit.confint(method="profile")
    with pytest.raises(ValueError, match="trusts the model"): LogisticRegression(covariance="HC0").fit(X, y).confint(method="profile")


def test_tests_against_each_other():
    X, y = line_data()
    big, small = LinearRegression().fit(X, y), LinearRegression().fit(X[:, :2], y)
    test, ratio = big.wald_test(["x2", "x3"]), big.likelihood_ratio_test(small)
    assert isinstance(test, RegressionTest) and isinstance(test, HypothesisTest) and (test.df, test.df_residual, ratio.df) == (2, 55, 2)
    close(ratio.statistic, 60 * np.log1p(2 * test.statistic / 55)), close(ratio.p_value, stats.chi2(2).sf(ratio.statistic))
    close(small.likelihood_ratio_test(big).statistic, ratio.statistic)
    close(test.p_value, stats.f(2, 55).sf(test.statistic))
    close(big.wald_test(np.eye(5)[[3, 4]]).statistic, test.statistic), close(big.wald_test([0, 1, 0, 0, 0], big.coef_[0]).statistic, 0, atol=1e-20)
    shift = big.wald_test(np.eye(5)[1], big.coef_[0] + big.standard_errors_[1])
    close(shift.statistic, 1.0)
    assert big.likelihood_ratio_test().df == 4 == LinearRegression(fit_intercept=False).fit(X, y).likelihood_ratio_test().df
    assert str(test) == f"Wald test: F(2, 55) = {test.statistic:.5g}, p <1e-16" and str(shift) == "Wald test: F(1, 55) = 1, p = 0.322"
    X, y = class_data(classes=3)
    big, small = LogisticRegression().fit(X, y), LogisticRegression().fit(X[:, :2], y)
    assert big.likelihood_ratio_test(small).df == 2 == big.wald_test("x2").df and str(big.wald_test("x2")).startswith("Wald test: chi2(2) = ")
    close(big.likelihood_ratio_test(small).statistic, 2 * (big.log_likelihood_ - small.log_likelihood_))


def test_coverage():
    "Intervals cover as often as they say, within five Monte Carlo standard errors."
    rng, x, kept, profile = np.random.default_rng(0), np.linspace(-1, 1, 8)[:, None], [], []
    for _ in range(400):
        kept.append(LinearRegression().fit(x, 1 + 2 * x[:, 0] + rng.standard_normal(8)).confint(.9)[1])
    share, error = coverage(np.array(kept), 2.0)
    assert abs(share - .9) < 5 * error
    Z = rng.standard_normal((80, 1))
    for _ in range(200):
        y = rng.random(80) < 1 / (1 + np.exp(-Z[:, 0]))
        profile.append(LogisticRegression().fit(Z, y).confint(.9, "profile")[1])
    share, error = coverage(np.array(profile), 1.0)
    assert abs(share - .9) < 5 * error


# ---- summary, names, company ---------------------------------------------------------------------


def test_summary():
    X, y = line_data()
    fit = LinearRegression().fit(X, y)
    table = fit.summary(.9)
    assert isinstance(table, Summary) and table.names == ["intercept", "x0", "x1", "x2", "x3"] and table.columns[-2:] == ["5 %", "95 %"]
    close(table.values, np.column_stack([fit.estimates_, fit.standard_errors_, fit.statistics_, fit.p_values_, fit.confint(.9)]))
    text = str(table)
    for part in (f"{fit.log_likelihood_:.6g}", f"AIC {fit.aic():.6g}", f"BIC {fit.bic():.6g}", "observations: 60", "t with 55", f"{fit.coef_[2]:.5g}", "std. error"):
        assert part in text
    assert len({len(line) for line in text.splitlines()[1:9]}) == 1
    html = table._repr_html_()
    assert html.count("<tr>") == 6 and f"<td>{fit.coef_[2]:.5g}</td>" in html


def test_summary_with_pandas():
    pd = pytest.importorskip("pandas")
    X, y = class_data(classes=3)
    names = ["age (years)", "<b>bold & co</b>", "a name\nof two lines which is much too long for a table in a terminal"]
    fit = LogisticRegression(covariance="HC1", reference="c1").fit(pd.DataFrame(X, columns=names), pd.Series(y).map("c{}".format))
    table = fit.summary()
    assert fit.feature_names_in_.tolist() == names and "<b>" not in table._repr_html_() and "sandwich, HC1" in str(table) and "against c1" in str(table)
    assert max(map(len, str(table).splitlines())) < 130
    frame = table.to_frame()
    assert frame.loc["c2: age (years)", "estimate"] == fit.estimates_[5] and frame.shape == (8, 6)
    assert fit.wald_test("age (years)").df == 2
    with pytest.raises(ValueError, match="not the name of one column"): fit.wald_test("x0")


def test_pandas_in_and_out():
    pd = pytest.importorskip("pandas")
    X, y = line_data()
    table = pd.DataFrame(X, columns=list("abcd"))
    fit = LinearRegression().fit(table, pd.Series(y, name="target"))
    close(fit.estimates_, LinearRegression().fit(X, y).estimates_, 1e-12)
    assert fit.parameter_names_ == ["intercept", *"abcd"]
    with pytest.raises(ValueError, match="feature names"): fit.predict(table[list("dcba")])
    with pytest.raises(ValueError, match="not nested.*'e'"): fit.likelihood_ratio_test(LinearRegression().fit(table[["a"]].rename(columns={"a": "e"}), y))
    for bad, words in ((table.assign(e="text"), "'e' holds 'text': encode"), (table.assign(b=np.nan), "'b' holds nan: encode or fill"), (table.assign(e=table.a + 2 * table.b), "depend on each other: .*e"),
                       (table.assign(e=3.0), "e is constant.*fit_intercept=False")):
        with pytest.raises(ValueError, match=words): LinearRegression().fit(bad, y)
    with pytest.raises(ValueError, match="'e' holds"): LinearRegression().fit(table.assign(e=pd.Timestamp("2020-01-01")), y)
    with pytest.raises(ValueError, match="e is constant, and so is the intercept"): LogisticRegression().fit(table.assign(e=5.0), np.arange(60) % 2)
    close(fit.wald_test(pd.DataFrame([[0, 1, -1, 0, 0]], columns=list("vwxyz"))).statistic, fit.wald_test([0, 1, -1, 0, 0]).statistic)
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()).fit(table, y)
    assert pipe[-1].parameter_names_ == ["intercept", *"abcd"]
    close(pipe[-1].statistics_[1:], fit.statistics_[1:])


def test_company():
    X, y = class_data()
    fit = LogisticRegression().fit(X, y)
    assert clone(fit).get_params() == fit.get_params() and not hasattr(clone(fit), "standard_errors_")
    assert GridSearchCV(LogisticRegression(), {"fit_intercept": [True, False]}, cv=3).fit(X, y).best_score_ > .5
    assert cross_val_score(LogisticRegression(), X, y).mean() > .5
    assert "LogisticRegression" in fit._repr_html_()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).predict_proba(X), fit.predict_proba(X))
    for call in (LogisticRegression().summary, LinearRegression().aic, lambda: LinearRegression().standard_errors_, lambda: LinearRegression().predict(X)):
        with pytest.raises(NotFittedError): call()


@pytest.mark.parametrize("kind", [bool, str, np.float32, object])
def test_labels_of_any_kind(kind):
    X, y = class_data()
    labels = np.where(y > 0, "yes", "no").astype(object) if kind is object else y.astype(bool).astype(kind)
    fit = LogisticRegression().fit(X, labels)
    close(fit.coef_, LogisticRegression().fit(X, y).coef_, 1e-12)
    assert set(fit.predict(X)) <= set(labels) and (fit.predict(X) == labels).mean() == fit.score(X, labels)


def test_single_precision_and_units():
    X, y = line_data(200)
    X32 = X.astype(np.float32)
    close(LinearRegression().fit(X32, y).estimates_, LinearRegression().fit(X32.astype(float), y).estimates_, 1e-10)
    a, b = LinearRegression().fit(X, y), LinearRegression().fit(X * [1e-6, 1, 1e6, 10], 1e3 * y)
    close(a.statistics_[1:], b.statistics_[1:]), close(a.p_values_[1:], b.p_values_[1:])
    X, y = class_data()
    a, b = LogisticRegression().fit(X, y), LogisticRegression().fit(X * [1e-6, 1, 1e6], y)
    close(a.statistics_[1:], b.statistics_[1:]), close(a.log_likelihood_, b.log_likelihood_)


# ---- where there is no answer --------------------------------------------------------------------


def test_separation_is_refused_with_names():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(SeparationError, match="Class 0 is 'setosa', 1 is 'versicolor'") as caught:
        LogisticRegression().fit(X[:100], load_iris().target_names[y[:100]])
    assert caught.value.direction.shape == (1, 5)
    b = caught.value.direction[0]
    assert ((2 * y[:100] - 1) * (b[0] + X[:100] @ b[1:])).min() > -1e-8
    with pytest.raises(SeparationError) as caught: LogisticRegression(covariance="HC0").fit(X[:100], y[:100])
    b = caught.value.direction[0]                                      # found for centred columns, and led back
    assert ((2 * y[:100] - 1) * (b[0] + X[:100] @ b[1:])).min() > -1e-8


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothing_predicts_and_says_no_more(classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < classes], y[y < classes]
    with pytest.warns(UserWarning, match="separated"): fit = LogisticRegression(on_separation="smooth").fit(X, y)
    assert fit.score(X, y) > .93 and fit.separation_ is not None and np.isnan(fit.covariance_).all()
    close(fit.log_likelihood_, np.log(fit.predict_proba(X)[np.arange(len(y)), y]).sum())
    for call in (fit.summary, fit.confint, fit.aic, fit.bic, fit.likelihood_ratio_test, lambda: fit.wald_test("x0")):
        with pytest.raises(ValueError, match="no maximum likelihood estimate"): call()
    weights = np.random.default_rng(0).integers(1, 3, size=len(y))
    with pytest.warns(UserWarning): a = LogisticRegression(on_separation="smooth").fit(X, y, weights)
    with pytest.warns(UserWarning): b = LogisticRegression(on_separation="smooth").fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    close(a.coef_, b.coef_, 1e-7)
    with pytest.warns(UserWarning) as warned: LogisticRegression(on_separation="smooth").fit(*load_iris(as_frame=True, return_X_y=True))
    assert len(warned) == 1 and "separated" in str(warned[0].message)  # named columns: no warning but the one
    X, y = class_data()
    close(LogisticRegression(on_separation="smooth").fit(X, y).coef_, LogisticRegression().fit(X, y).coef_, 1e-12)
    assert LogisticRegression(on_separation="smooth").fit(X, y).separation_ is None


def test_smoothing_is_the_stated_fit():
    X, y = np.arange(8.)[:, None], np.repeat([0, 1], [5, 3])
    with pytest.warns(UserWarning): fit = LogisticRegression(on_separation="smooth").fit(X, y)
    w = np.r_[(y == 0) + 2 / 8 * 5 / 8, (y == 1) + 2 / 8 * 3 / 8]
    by_hand = fit_logistic(np.vstack([X, X]), np.repeat([0, 1], 8), w)
    close(fit.coef_, by_hand.coefficients, 1e-10), close(fit.intercept_, by_hand.intercept, 1e-10)


def test_a_constant_y_has_no_r_squared():
    X, _ = line_data()
    with pytest.warns(UserWarning, match="perfect"): fit = LinearRegression().fit(X, np.ones(60))
    assert np.isnan(fit.r_squared_) and np.isnan(fit.adjusted_r_squared_)


def test_few_rows():
    X, y = line_data(6, 5)
    with pytest.warns(UserWarning, match="6 observations for 6 coefficients leave nothing"): fit = LinearRegression().fit(X, y)
    assert np.isnan(fit.standard_errors_).all() and "nan" in str(fit.summary()) and abs(fit.residuals_).max() < 1e-8
    with pytest.raises(ValueError, match="5 rows .* and 6 coefficients"): LinearRegression().fit(X[:5], y[:5])
    X, y = line_data()
    with pytest.warns(UserWarning, match="1 observations for 5 coefficients .* weights='precision'"): LinearRegression().fit(X, y, np.full(60, 1 / 60))
    LinearRegression(weights="precision").fit(X, y, np.full(60, 1 / 60))
    X, y = class_data()
    for covariance in ("model", "HC1"):
        with pytest.warns(UserWarning, match="adds up to 1 observations for 4"): LogisticRegression(covariance=covariance).fit(X, y, np.full(300, 1 / 300))


def test_settings_changed_after_the_fit_do_not_relabel_it():
    X, y = line_data()
    fit = LinearRegression().fit(X, y)
    before = str(fit.summary())
    assert str(fit.set_params(covariance="HC3", fit_intercept=False).summary()) == before
    X, y = class_data()
    fit = LogisticRegression(reference=1).fit(X, y)
    before = str(fit.summary())
    assert str(fit.set_params(covariance="HC1", fit_intercept=False, reference=0).summary()) == before and len(fit.confint(method="profile")) == 4


def test_perfect_and_constant_lines():
    X = np.arange(10.)[:, None]
    with pytest.warns(UserWarning, match="perfect but for rounding"): perfect = LinearRegression().fit(X, 3 + 2 * X[:, 0])
    assert perfect.log_likelihood_ == np.inf and perfect.r_squared_ == 1 and perfect.p_values_[1] == 0 and "inf" in str(perfect.summary())
    with pytest.warns(UserWarning, match="perfect"): constant = LinearRegression().fit(X, np.full(10, 5.1))
    assert abs(constant.coef_[0]) < 1e-12 and np.isnan(constant.r_squared_)


@pytest.mark.parametrize("call, words", [
    (lambda X, y: LinearRegression(covariance="HC4").fit(X, y), "'covariance'"),
    (lambda X, y: LinearRegression(weights="survey").fit(X, y), "'weights'"),
    (lambda X, y: LinearRegression().fit(X, y, -np.ones(60)), "[Nn]egative"),
    (lambda X, y: LinearRegression().fit(X, y, np.ones(59)), "sample_weight"),
    (lambda X, y: LinearRegression().fit(X, np.column_stack([y, y])), "1d array"),
    (lambda X, y: LinearRegression().fit(X, y).confint(0), "level must lie between 0 and 1"),
    (lambda X, y: LinearRegression().fit(X, y).confint("95%"), "such as .95"),
    (lambda X, y: LinearRegression().fit(X, y).confint(method="bootstrap"), "'wald' or 'profile'"),
    (lambda X, y: LinearRegression().fit(X, y).wald_test(np.ones(3)), r"rows of 5 numbers"),
    (lambda X, y: LinearRegression().fit(X, y).wald_test(np.zeros(5)), "not all 0"),
    (lambda X, y: LinearRegression().fit(X, y).wald_test(3), "names of columns"),
    (lambda X, y: LogisticRegression().fit(1e-3 * class_data()[0], class_data()[1]).predict(np.full((1, 3), 1e308)), "log-odds overflow"),
    (lambda X, y: LinearRegression().fit(X, y).wald_test([]), "names of columns"),
    (lambda X, y: LinearRegression().fit(X, y).wald_test(np.ones((2, 5))), "2 restrictions depend on each other"),
    (lambda X, y: LinearRegression().fit(X, y).likelihood_ratio_test(LinearRegression().fit(X, y)), "both have as many columns"),
    (lambda X, y: LinearRegression().fit(X, y).likelihood_ratio_test(LinearRegression().fit(X[:, :2], -y)), "other rows, another y"),
    (lambda X, y: LinearRegression().fit(X, y).likelihood_ratio_test(LogisticRegression().fit(*class_data())), "is a LogisticRegression"),
    (lambda X, y: LinearRegression(covariance="HC3").fit(np.column_stack([X, np.eye(60)[7]]), y), "row 7 has leverage 1"),
    (lambda X, y: LogisticRegression().fit(X, y), "continuous"),
    (lambda X, y: LogisticRegression().fit(X, y > 0, (y > 0) * 1.0), "class False only in rows of weight 0"),
    (lambda X, y: LogisticRegression(reference=2).fit(X, y > 0), r"reference=2 is not among the classes \[False, True\]"),
    (lambda X, y: LogisticRegression().fit(np.column_stack([X, X[:, 0] - X[:, 1]]), y > 0), "independent columns"),
    (lambda X, y: LogisticRegression(max_iter=0).fit(X, y > 0), "'max_iter'"),
    (lambda X, y: LogisticRegression(on_separation="ignore").fit(X, y > 0), "'on_separation'")])
def test_refusals(call, words):
    X, y = line_data()
    with pytest.raises(ValueError, match=words): call(X, y)


def test_the_profile_slope_is_where_brentq_finds_it():
    "One end by an independent root search on an independent likelihood (one column, no constant)."
    X, y = class_data(40, 1)
    fit = LogisticRegression(fit_intercept=False).fit(X, y)
    f = lambda b: -np.logaddexp(0, -(2 * y - 1) * X[:, 0] * b).sum()
    drop = lambda b: f(b) - fit.log_likelihood_ + stats.chi2(1).ppf(.95) / 2
    close(fit.confint(method="profile")[0], [brentq(drop, fit.coef_[0, 0] - 5, fit.coef_[0, 0]), brentq(drop, fit.coef_[0, 0], fit.coef_[0, 0] + 5)], 1e-7)
