"""`GaussianMixture`: beside scikit-learn, on hard data, with weights, floors, priors and restarts, in pipelines, and what it says when it goes wrong."""
import pickle
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
import sklearn.mixture
from scipy.special import logsumexp
from scipy.stats import dirichlet, invgamma, invwishart, multivariate_normal, norm
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from strict import equal, no_warnings, quiet  # noqa: F401, a fixture
from emlit import GaussianMixture, Mixture, Prior, gaussian, mixture
from emlit.data import load_faithful
from emlit.families import GAUSSIANS, MixtureModel
from emlit.gmm import CollapseError, full_covariances
from emlit.likelihood import numerical_gradient

KINDS = ["full", "tied", "diag", "spherical"]
STARTS = ["kmeans", "random", "random_from_data", "k-means++"]
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
X = load_faithful().X


def same_fit(a, b, rtol=1e-10, atol=0.0):
    for name in FITTED:
        equal(getattr(a, name), getattr(b, name), rtol=rtol, atol=atol)


def groups(seed=0):
    "Two groups in three columns."
    rng = np.random.default_rng(seed)
    return np.vstack([rng.normal(size=(300, 3)), rng.normal(size=(200, 3)) * [.5, 1, 2] + [4, 2, 0]])


def log_likelihood(theta, rows, kind="full"):
    "By the schoolbook, for full covariances."
    w, m, C = theta
    D = rows[:, None] - m
    squares = np.einsum("nki,kij,nkj->nk", D, np.linalg.inv(C), D)
    return np.log((w * np.exp(-.5 * squares) / np.sqrt(np.linalg.det(2 * np.pi * C))).sum(axis=1)).sum()


# ---- beside scikit-learn -------------------------------------------------------------------------


@parametrize_with_checks([GaussianMixture(), GaussianMixture(covariance_type="diag", n_jobs=2)])
def test_scikit_learn_checks(estimator, check):
    "Clean under all of scikit-learn's checks."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_signature_is_a_superset():
    "Every setting, method and fitted attribute of scikit-learn's is there."
    theirs, ours = sklearn.mixture.GaussianMixture(2, random_state=0), GaussianMixture(2, random_state=0)
    assert theirs.get_params().keys() <= ours.get_params().keys()
    new = {"tol": 1e-6, "max_iter": 1000}
    assert {n: v for n, v in GaussianMixture().get_params().items() if n in theirs.get_params()} == \
        sklearn.mixture.GaussianMixture().get_params() | new
    theirs.fit(X), ours.fit(X)
    public = {n for n in dir(theirs) if not n.startswith("_")}
    assert public <= set(dir(ours)), public - set(dir(ours))
    assert len(ours.lower_bounds_) == ours.n_iter_ and isinstance(ours.lower_bound_, float)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rounds", [0, 1, 2, 20])
def test_same_path(kind, start, rounds):
    "The same parameters after the same number of rounds from the same seed."
    if kind == "tied" and start in ("random_from_data", "k-means++"):
        pytest.skip("scikit-learn's tied start takes for granted that every row has an owner")
    settings = dict(n_components=3, covariance_type=kind, init_params=start, tol=0, max_iter=rounds, random_state=5)
    rows = groups()
    ours, theirs = (quiet(lambda: c(**settings).fit(rows)) for c in (GaussianMixture, sklearn.mixture.GaussianMixture))
    names = FITTED if rounds or start in ("kmeans", "random") else FITTED[1:]   # their weights do not sum to 1 at such a start
    for name in names:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8 if rounds else 1e-6, atol=1e-10, strict=True)
    if names is not FITTED:
        return
    equal(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-6, atol=1e-10)
    equal(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-8)
    assert (ours.predict(rows) == theirs.predict(rows)).all() and ours.n_iter_ == theirs.n_iter_
    for name in ("score", "aic", "bic"):
        np.testing.assert_allclose(getattr(ours, name)(rows), getattr(theirs, name)(rows), rtol=1e-9)
    for a, b in zip(ours.sample(30), theirs.sample(30)):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8, strict=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reg_covar", [1e-6, 1e-2, 1.0])
def test_same_maximum(kind, reg_covar):
    "Both at convergence: the same likelihood, and parameters as near as a flat top allows."
    settings = dict(n_components=2, covariance_type=kind, tol=1e-14, max_iter=5000, random_state=0, reg_covar=reg_covar)
    ours, theirs = (quiet(lambda: c(**settings).fit(X)) for c in (GaussianMixture, sklearn.mixture.GaussianMixture))
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=1e-8)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-10)
    same_fit(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("given", [("means_init",), ("weights_init", "precisions_init"), ("weights_init", "means_init", "precisions_init")])
@pytest.mark.parametrize("kind", KINDS)
def test_partial_starts(kind, given):
    "A start given in part goes the same way as scikit-learn's."
    P = {"full": np.array([[[4, .1], [.1, .03]]] * 2), "tied": np.array([[4, .1], [.1, .03]]), "diag": np.array([[4, .03]] * 2),
         "spherical": np.array([.1, .2])}[kind]
    start = {"weights_init": [.3, .7], "means_init": [[2., 50], [4, 85]], "precisions_init": P}
    settings = dict(n_components=2, covariance_type=kind, tol=0, max_iter=3, random_state=0) | {n: start[n] for n in given}
    same_fit(*(quiet(lambda: c(**settings).fit(X)) for c in (GaussianMixture, sklearn.mixture.GaussianMixture)), rtol=1e-8)


@pytest.mark.parametrize("given, words", [
    ({"weights_init": [.5, .6]}, "weights_init must be above 0 and sum to 1"), ({"weights_init": [0, 1]}, "weights_init must be above 0"), ({"means_init": [[1, 2]]}, r"means_init has shape \(1, 2\)"),
    ({"precisions_init": np.full((2, 2, 2), np.nan)}, "precisions_init"), ({"precisions_init": [[[1, 2], [2, 1]]] * 2}, "positive definite"),
    ({"precisions_init": [[1, -1], [1, 1]], "covariance_type": "diag"}, "above 0"), ({"tol": -1}, "'tol'"), ({"reg_covar": -1}, "'reg_covar'"),
    ({"init_params": "best"}, "'init_params'"), ({"n_components": 0}, "'n_components'"), ({"n_components": 300}, "n_components = 300")])
def test_bad_settings(given, words):
    "Each is named in the error."
    with pytest.raises(ValueError, match=words):
        GaussianMixture(**{"n_components": 2} | given).fit(X)


def test_warm_start():
    "A second fit goes on where the first one ended, one round at a time or in one go."
    step = GaussianMixture(3, max_iter=1, warm_start=True, random_state=0, tol=0)
    for _ in range(4):
        quiet(lambda: step.fit(X))
    same_fit(step, quiet(lambda: GaussianMixture(3, max_iter=4, random_state=0, tol=0).fit(X)))
    assert step.n_iter_ == 1


def test_n_init_keeps_the_best():
    "The likelihood of several starts is that of the best of them, with the random numbers of scikit-learn."
    settings = dict(n_components=4, init_params="random_from_data", random_state=3, tol=1e-10, max_iter=5000)
    rng, each = np.random.RandomState(3), []
    for _ in range(4):
        each.append(GaussianMixture(**settings | {"random_state": rng}).fit(X).lower_bound_)
    best = GaussianMixture(**settings, n_init=4).fit(X)
    assert max(each) - min(each) > 1e-3
    np.testing.assert_allclose(best.lower_bound_, max(each), rtol=1e-9)


# ---- hard data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("kind", KINDS)
def test_offsets(offset, kind):
    "The covariances of data far from zero are those of the data; scikit-learn's tied, diag and spherical are not, from 1e7."
    rows = groups().round(3)
    near, far = (GaussianMixture(2, covariance_type=kind, random_state=0, tol=1e-9).fit(r) for r in (rows, rows + offset))
    equal(far.covariances_, near.covariances_, rtol=1e-15 * offset + 1e-12, atol=1e-14 * offset)
    equal(far.means_ - offset, near.means_, rtol=0, atol=1e-7)
    if offset >= 1e7 and kind != "full":
        try:
            theirs = quiet(lambda: sklearn.mixture.GaussianMixture(2, covariance_type=kind, random_state=0).fit(rows + offset))
        except ValueError:
            return
        assert abs(theirs.covariances_ - near.covariances_).max() > 1e-3


@pytest.mark.parametrize("width", [1e-1, 1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
@pytest.mark.parametrize("seed", range(3))
def test_narrow_components(width, kind, seed):
    "A component far narrower than the spread of the data is found, with its own width, and is no collapse."
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(200, 2))
    rows = np.vstack([rng.normal(size=(300, 2)), [9.5, 7.7] + width * noise])
    fit = GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0, tol=1e-10).fit(rows)
    own = rows[300:] - rows[300:].mean(axis=0)
    k = fit.means_[:, 0].argmax()
    np.testing.assert_allclose(fit.weights_[k], .4, rtol=1e-6)
    wanted = {"full": own.T @ own / 200, "diag": (own**2).mean(axis=0), "spherical": (own**2).mean()}[kind]
    np.testing.assert_allclose(fit.covariances_[k] / width**2, wanted / width**2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reg_covar", [0, 1e-20])
def test_shrinking_by_many_orders_in_one_round(seed, reg_covar):
    "A narrow group inside a wide one, found from a start that mixes them."
    rng = np.random.default_rng(seed)
    rows = np.vstack([rng.normal(size=(300, 2)), [1.5, .7] + 1e-8 * rng.normal(size=(200, 2))])
    fit = GaussianMixture(2, reg_covar=reg_covar, random_state=0).fit(rows)
    k = fit.weights_.argmin()
    np.testing.assert_allclose(fit.weights_[k], .4, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariances_[k])), 1e-8, rtol=.3)


@pytest.mark.parametrize("scale", [1e-150, 1e-100, 1e100, 1e150])
def test_units(scale):
    "Any units, with no floor."
    rows = groups()
    a, b = (GaussianMixture(2, reg_covar=0, random_state=0).fit(r) for r in (rows, rows * scale))
    equal(b.means_ / scale, a.means_, rtol=1e-9)
    equal(b.covariances_ / scale / scale, a.covariances_, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-170, 1e-160, 1e155, 1e200])
@pytest.mark.parametrize("reg_covar", [0, 1e-6])
def test_units_out_of_range(scale, reg_covar):
    "Where squares leave float64 the error says so."
    with pytest.raises(ValueError, match="column 0 of X runs from .* out of range: rescale it"):
        GaussianMixture(2, reg_covar=reg_covar, random_state=0).fit(groups() * scale)


def read_only(rows):
    rows.setflags(write=False)
    return rows


@pytest.mark.parametrize("make", [np.asfortranarray, lambda r: read_only(r.copy()), lambda r: np.repeat(r, 2, axis=1)[:, ::2],
                                  lambda r: np.repeat(r, 3, axis=0)[::3], lambda r: r[::-1].copy()[::-1], lambda r: r.tolist()])
@pytest.mark.parametrize("kind", KINDS)
def test_memory_layouts(make, kind):
    "Fortran order, read-only and strided arrays, and lists, give what a plain array gives, and are left as they were."
    rows = groups()
    given = make(rows.copy())
    same_fit(*(GaussianMixture(2, covariance_type=kind, random_state=0).fit(r) for r in (rows, given)), atol=1e-12)
    np.testing.assert_array_equal(np.asarray(given), rows)


@pytest.mark.parametrize("kind", KINDS)
def test_float32(kind):
    "Read as it is, accumulated in float64: what the same numbers give in float64, where scikit-learn's float32 loses digits."
    rows = (groups() + 100).astype(np.float32)
    a, b = (GaussianMixture(2, covariance_type=kind, random_state=0, tol=1e-10).fit(r) for r in (rows, rows.astype(float)))
    same_fit(a, b, rtol=1e-7, atol=1e-7)
    assert a.means_.dtype == a.predict_proba(rows).dtype == a.score_samples(rows).dtype == np.float64


def test_memory_map(tmp_path):
    "Rows may stay in a file."
    np.save(tmp_path / "rows.npy", groups())
    same_fit(*(GaussianMixture(2, random_state=0).fit(r) for r in (groups(), np.load(tmp_path / "rows.npy", mmap_mode="r"))))


# ---- collapse ------------------------------------------------------------------------------------


def repeated():
    rows = groups()
    rows[:40] = [2, -5, 7]
    return rows


def constant():
    rows = groups()
    rows[:, 1] = 3
    return rows


def in_a_line():
    rows = groups()
    rows[:, 2] = rows[:, 0] - 2 * rows[:, 1]
    return rows


def one_far():
    rows = groups()
    rows[0] = 1e6
    return rows


@pytest.mark.parametrize("rows, k, words", [
    (repeated(), 3, r"component \d, with 40 of 500 rows, has collapsed: its rows coincide in column 0"),
    (constant(), 2, r"component 0, with [\d.]+ of 500 rows, has collapsed: its rows coincide in column 1"),
    (in_a_line(), 2, "has collapsed: its rows lie in a line or a plane"), (one_far(), 2, "with 1 of 500 rows, has collapsed"),
    (groups()[:4], 4, "component 0, with 1 of 4 rows")])
def test_collapse_without_a_floor(rows, k, words):
    "An error that says which component, why, and what to do."
    with pytest.raises(CollapseError, match=words + ".*Raise reg_covar above 0.*fewer than"):
        GaussianMixture(k, reg_covar=0, random_state=0).fit(rows)


@pytest.mark.parametrize("rows, k, kind", [(r, k, kind) for r, k in ((repeated(), 3), (constant(), 2), (in_a_line(), 2), (one_far(), 2), (groups()[:4], 4))
                                           for kind in KINDS])
def test_floor(rows, k, kind):
    "With the default floor the fit goes through, to where scikit-learn's goes, and says which components rest on the floor."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = GaussianMixture(k, covariance_type=kind, random_state=0, tol=0, max_iter=10).fit(rows)
    theirs = quiet(lambda: sklearn.mixture.GaussianMixture(k, covariance_type=kind, random_state=0, tol=0, max_iter=ours.n_iter_).fit(rows))
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-5, atol=1e-5)
    C = ours.covariances_
    C = C if kind == "full" else C[None] if kind == "tied" else [np.diag(np.atleast_1d(c)) for c in C]
    low = [i for i, c in enumerate(C) if np.linalg.eigvalsh(c)[0] < 2e-6]
    words = [str(w.message) for w in said if "on reg_covar=1e-06" in str(w.message)]
    assert bool(words) == bool(low) and (not low or kind == "tied" or f"components {low} of {k} rest" in words[0])


def test_floor_holds_in_float32():
    "A constant column, far from zero and read in 32 bits, rests on the floor and is no collapse."
    rows = (constant() + [0, 1e5, 0]).astype(np.float32)
    with pytest.warns(RuntimeWarning, match=r"components \[0, 1\] of 2 rest on reg_covar"):
        fit = GaussianMixture(2, random_state=0).fit(rows)
    np.testing.assert_allclose(fit.covariances_[:, 1, 1], 1e-6, rtol=1e-6)
    with pytest.raises(CollapseError, match="coincide in column 1"):
        GaussianMixture(2, reg_covar=0, random_state=0).fit(rows)


def test_some_starts_collapse():
    "The others are kept, with a warning; if none is left, that is the error."
    rows = np.vstack([groups(), np.full((12, 3), 30.)])
    found = 0
    for seed in range(6):
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                fit = GaussianMixture(3, reg_covar=0, n_init=6, init_params="random_from_data", random_state=seed).fit(rows)
            lost = [w for w in said if "of 6 starts collapsed and were left out; the first one: component" in str(w.message)]
            found += bool(lost)
            assert np.isfinite(fit.lower_bound_)
        except CollapseError as error:
            assert "all 6 starts collapsed" in str(error)
    assert found


def test_empty_component():
    "Fewer distinct rows than components."
    with pytest.raises(CollapseError, match="component 1 is empty"):
        quiet(lambda: GaussianMixture(2, random_state=0).fit(np.ones((10, 2)) * [1, 2]))


def test_founders_without_a_floor():
    "Components that begin on one row work with reg_covar=0 too, and go where a tiny floor goes."
    for start in ("random_from_data", "k-means++"):
        a, b = (GaussianMixture(3, init_params=start, reg_covar=r, random_state=0, tol=1e-10, max_iter=5000).fit(groups()) for r in (0, 1e-12))
        np.testing.assert_allclose(a.lower_bound_, b.lower_bound_, rtol=1e-8)
        w = np.r_[np.zeros(100), np.ones(400)]
        c = GaussianMixture(3, init_params=start, reg_covar=0, random_state=0).fit(groups(), sample_weight=w)
        np.testing.assert_allclose(c.lower_bound_, c.score(groups()[100:]), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reg_covar", [1e-3, .1, 3.])
def test_floor_lowers_the_likelihood_by_its_price_at_most(kind, reg_covar):
    "From the maximum without a floor: log-likelihood plus credit never falls, log-likelihood alone does, and the guard is quiet."
    top = GaussianMixture(2, covariance_type=kind, reg_covar=0, tol=1e-13, max_iter=5000, random_state=0).fit(X)
    start = dict(weights_init=top.weights_, means_init=top.means_, precisions_init=top.precisions_)
    fit = quiet(lambda: GaussianMixture(2, covariance_type=kind, reg_covar=reg_covar, tol=1e-12, max_iter=5000, **start).fit(X))
    history = fit.history_["log_likelihood"]
    assert history[1] < history[0] and fit.converged_
    np.testing.assert_allclose(history[-1], fit.score(X) * len(X), rtol=1e-10)
    model, steps = fit._model(mixture._Table(X)), []
    mixture.em(model, ((top.weights_, top.means_, top.covariances_), 0.0), X, tol=1e-10, callbacks=[steps.append])
    plain = [s.log_likelihood - s.params[1] * len(X) for s in steps]
    for s, t, before, after in zip(steps, steps[1:], plain, plain[1:]):
        allowed = (t.params[1] - s.params[1]) * len(X)
        assert after >= before - allowed - 1e-7
        price = reg_covar / 2 * len(X) * sum(w * (precision_trace(s, k, kind) - precision_trace(t, k, kind)) for k, w in enumerate(t.params[0][0]))
        np.testing.assert_allclose(allowed, price, rtol=1e-6, atol=1e-6)


def precision_trace(step, k, kind):
    "Trace of the inverse covariance of component k, the long way."
    C = step.params[0][2]
    return np.trace(np.linalg.inv(C[k] if kind == "full" else C if kind == "tied" else np.diag(np.broadcast_to(C[k], 2))))


def test_lost_digits_end_a_run_with_words(monkeypatch):
    "If the likelihood falls after all, the last sound round is kept."
    def falls(model, params, data, *, callbacks, **kwargs):
        callbacks[0](mixture.Step(3, params, mixture.e_step(model, params, data), 0.0))
        raise mixture.LikelihoodFell("it fell")
    monkeypatch.setattr(mixture, "em", falls)
    with pytest.warns(RuntimeWarning, match="EM stopped after round 3, as no digits were left: it fell"):
        fit = GaussianMixture(2, random_state=0).fit(X)
    assert not fit.converged_ and fit.n_iter_ == 3
    np.testing.assert_allclose(fit.lower_bound_, fit.score(X), rtol=1e-10)


# ---- weights, history, threads -------------------------------------------------------------------

START = dict(weights_init=[.4, .6], means_init=[[0, 0, 0], [4, 2, 1]], tol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reg_covar", [0, 1e-3])
def test_weights_are_copies(kind, reg_covar):
    "A whole weight is so many copies, 0 is no row; so for fit, score, aic, bic and icl."
    P = {"full": [np.eye(3)] * 2, "tied": np.eye(3), "diag": np.ones((2, 3)), "spherical": np.ones(2)}[kind]
    rows, w = groups(), np.random.default_rng(0).integers(0, 4, 500)
    copies, settings = np.repeat(rows, w, axis=0), dict(START, covariance_type=kind, precisions_init=P, reg_covar=reg_covar)
    a, b = GaussianMixture(2, **settings).fit(rows, sample_weight=w), GaussianMixture(2, **settings).fit(copies)
    same_fit(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(a.history_["log_likelihood"], b.history_["log_likelihood"], rtol=1e-10)
    np.testing.assert_allclose([a.lower_bound_, a.score(rows, sample_weight=w)], [b.lower_bound_, b.score(copies)], rtol=1e-10)
    for name in ("aic", "bic", "icl"):
        np.testing.assert_allclose(getattr(a, name)(rows, w), getattr(b, name)(copies), rtol=1e-10)


@pytest.mark.parametrize("start", STARTS)
def test_weights_at_the_start(start):
    "Rows of weight 0 cannot be drawn, and a common factor in the weights changes nothing."
    rows = np.vstack([groups(), np.full((100, 3), 50.)])
    w = np.r_[np.ones(500), np.zeros(100)]
    a, b = (GaussianMixture(2, init_params=start, random_state=0).fit(rows, sample_weight=c * w) for c in (1., 1e-12))
    assert a.means_.max() < 10
    same_fit(a, b, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="with a weight above 0"):
        GaussianMixture(2).fit(rows, sample_weight=np.r_[1., np.zeros(599)])
    with pytest.raises(ValueError, match="[Nn]egative"):
        GaussianMixture(2).fit(rows, sample_weight=-w)


@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_weights_count_at_the_start(start):
    "Shares, means and covariances of the start are weighted ones."
    rows, w, rng = groups() + np.array([[0, 0, 0]] * 300 + [[20, 0, 0]] * 200), np.random.default_rng(1).uniform(size=500), np.random.RandomState(0)
    fit = GaussianMixture(2, init_params=start, max_iter=0, reg_covar=0, random_state=0).fit(rows, sample_weight=w)
    R = np.eye(2)[fit.predict(rows)] if start == "kmeans" else rng.uniform(size=(500, 2))
    R *= w[:, None] / R.sum(axis=1, keepdims=True)
    equal(fit.weights_, R.sum(axis=0) / w.sum(), rtol=1e-9)
    equal(fit.means_, [np.average(rows, axis=0, weights=r) for r in R.T], rtol=1e-9)
    equal(fit.covariances_, [np.cov(rows.T, bias=True, aweights=r) for r in R.T], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_digit(kind):
    "One thread, two and all of them: the same bits."
    rng = np.random.default_rng(2)
    rows = np.tile(groups(), (30, 1)) + rng.normal(size=(15_000, 3))
    for w in (None, rng.uniform(size=15_000)):
        a, *others = (GaussianMixture(3, covariance_type=kind, random_state=0, tol=1e-4, n_jobs=j).fit(rows, sample_weight=w) for j in (None, 1, 2, -1))
        for b in others:
            for name in FITTED:
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_history():
    "One entry for the start and for each round; likelihoods as computed the long way; no fall without a floor."
    fit = GaussianMixture(2, random_state=0, reg_covar=0).fit(X)
    h = fit.history_
    assert h.dtype.names == ("iteration", "seconds", "log_likelihood") and h["iteration"].tolist() == list(range(fit.n_iter_ + 1))
    assert (np.diff(h["seconds"]) > 0).all() and (np.diff(h["log_likelihood"]) > -1e-9).all()
    np.testing.assert_allclose(h["log_likelihood"][-1], log_likelihood((fit.weights_, fit.means_, fit.covariances_), X), rtol=1e-10)
    np.testing.assert_allclose(fit.lower_bounds_, h["log_likelihood"][1:] / 272, rtol=1e-12)
    assert fit.lower_bound_ == fit.lower_bounds_[-1]


def test_tolerance_is_of_the_mean():
    "The last gain is below tol a row, the one before it is not."
    h = GaussianMixture(3, random_state=0, reg_covar=0, tol=1e-5).fit(X).history_["log_likelihood"]
    assert h[-1] - h[-2] <= 1e-5 * 272 < h[-2] - h[-3]


def test_unfinished():
    "A ConvergenceWarning of the best start only, none where no round was asked for."
    with pytest.warns(ConvergenceWarning, match="the best of 1 starts stopped after max_iter=2"):
        fit = GaussianMixture(3, max_iter=2, random_state=0).fit(X)
    assert not fit.converged_ and fit.n_iter_ == 2
    start = GaussianMixture(3, max_iter=0, random_state=0).fit(X)
    assert start.n_iter_ == 0 and start.lower_bounds_ == [] and not start.converged_
    np.testing.assert_allclose(start.lower_bound_, start.score(X), rtol=1e-10)


def test_verbose_and_progress(capsys):
    "Lines like scikit-learn's; a bar on stderr when asked for."
    GaussianMixture(2, random_state=0, verbose=1, verbose_interval=1, n_init=2).fit(X)
    out = capsys.readouterr()
    assert out.out.startswith("Initialization 0\n  Iteration 1\n") and out.out.count("Initialization converged.") == 2 and out.err == ""
    GaussianMixture(2, random_state=0, verbose=2, verbose_interval=2, progress=True).fit(X)
    out = capsys.readouterr()
    assert "ll change" in out.out and "log-likelihood" in out.err and "start 0" in out.err


def test_icl():
    "BIC plus twice the entropy of the labels."
    fit = GaussianMixture(3, random_state=0).fit(X)
    r = fit.predict_proba(X)
    entropy = -(r[r > 0] * np.log(r[r > 0])).sum()
    np.testing.assert_allclose(fit.icl(X) - fit.bic(X), 2 * entropy, rtol=1e-9)
    assert entropy > 10


# ---- manners -------------------------------------------------------------------------------------


def test_pipeline_grid_search_clone_pickle():
    "It goes wherever an estimator goes, weights included."
    w = np.where(X[:, 0] < 3, 2., 1.)
    pipe = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)).fit(X, gaussianmixture__sample_weight=w)
    direct = GaussianMixture(2, random_state=0).fit(StandardScaler().fit_transform(X), sample_weight=w)
    same_fit(pipe[-1], direct)
    np.testing.assert_array_equal(pipe.predict(X), direct.predict(pipe[0].transform(X)))
    np.testing.assert_array_equal(GaussianMixture(2, random_state=0).fit_predict(X, sample_weight=w), GaussianMixture(2, random_state=0).fit(X, None, w).predict(X))
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]}, cv=3).fit(np.random.default_rng(0).permutation(X))
    assert search.best_params_ == {"n_components": 2}
    again = pickle.loads(pickle.dumps(direct))
    same_fit(again, direct, rtol=0)
    assert clone(direct).get_params() == direct.get_params() and not hasattr(clone(direct), "weights_")
    assert "GaussianMixture" in direct._repr_html_() and repr(GaussianMixture(2, tol=.1)) == "GaussianMixture(n_components=2, tol=0.1)"
    with config_context(enable_metadata_routing=True):
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False),
                               GaussianMixture(2, random_state=0).set_fit_request(sample_weight=True))
        same_fit(routed.fit(X, sample_weight=w)[-1], direct, rtol=1e-9)


def test_pandas():
    "Column names are kept and checked, and pandas output of the steps before does no harm."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    fit = GaussianMixture(2, random_state=0).fit(frame)
    assert fit.feature_names_in_.tolist() == ["eruptions", "waiting"]
    with pytest.raises(ValueError, match="feature names"):
        fit.predict(frame[["waiting", "eruptions"]])
    pipe = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)).set_output(transform="pandas").fit(frame)
    assert pipe[-1].feature_names_in_.tolist() == ["eruptions", "waiting"]
    assert list(pd.DataFrame(fit.history_)) == ["iteration", "seconds", "log_likelihood"]


def test_sample_refuses():
    for fit in (GaussianMixture(2, random_state=0).fit(X), Mixture(2, random_state=0).fit(X.round())):
        for n in (0, -1, 1.5):
            with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
                fit.sample(n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", STARTS)
def test_ties_are_broken_the_same_way(kind, start):
    "Rows in mirrored pairs, with exact ties between components: the same labels and parameters, on any number of threads, every time."
    half = np.random.default_rng(0).normal(size=(2200, 2)).round(2)
    rows = np.vstack([half, -half, half * [1, -1], half * [-1, 1]])
    fits = [quiet(lambda: GaussianMixture(4, covariance_type=kind, init_params=start, random_state=3, max_iter=10, tol=0, n_jobs=j).fit(rows))
            for j in (1, 2, -1, 2)]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.predict(rows), fits[0].predict(rows))
        for name in FITTED:
            np.testing.assert_array_equal(getattr(fit, name), getattr(fits[0], name))


# ---- starts from a choice of rows ----------------------------------------------------------------


def crowd(n, seed, d=3, k=5, spread=2.0):
    rng = np.random.default_rng(seed)
    m, A = spread * rng.normal(size=(k, d)), rng.normal(size=(k, d, d)) / d**.5
    z = rng.integers(k, size=n)
    return m[z] + np.einsum("nij,nj->ni", A[z], rng.normal(size=(n, d)))


def test_choice_of_rows_loses_nothing(monkeypatch):
    "Over several data sets and seeds, the best of three starts from a choice of rows is as good as from all of them."
    gaps = []
    for seed in range(3):
        rows, best = crowd(24_000, seed), []
        for enough in (10_000, 10**9):
            monkeypatch.setattr(mixture, "_ENOUGH", enough)
            best.append(GaussianMixture(5, random_state=seed, n_init=3, tol=1e-5, reg_covar=0).fit(rows).lower_bound_)
        gaps.append(best[0] - best[1])
    assert min(gaps) > -1e-3, gaps


def test_best_of_several_starts_from_a_choice_of_rows(monkeypatch):
    "Each is tried on the same rows; the fit begins with the highest, and is the same on two threads."
    tried, real = [], mixture._tried
    def watch(model, theta, data):
        tried.append((*real(model, theta, data), np.concatenate([block for block in data()])))
        return tried[-1][:2]
    monkeypatch.setattr(mixture, "_tried", watch)
    rows = crowd(24_000, 2, d=6, k=6)
    start = quiet(lambda: GaussianMixture(6, covariance_type="tied", random_state=2, max_iter=0, n_jobs=2).fit(rows))
    values = [value for value, *_ in tried]
    assert len(values) == 4 and max(values) > min(values) + 1
    np.testing.assert_array_equal(start.means_, tried[int(np.argmax(values))][1][1])
    for value, theta, seen in tried:                               # with the rounds that led so high
        np.testing.assert_allclose(logsumexp(MixtureModel(GAUSSIANS["tied"]).log_joint(theta, seen), axis=1).sum(), value, rtol=1e-10)
        np.testing.assert_array_equal(seen, tried[0][2])
    again = quiet(lambda: GaussianMixture(6, covariance_type="tied", random_state=2, max_iter=0).fit(rows))
    np.testing.assert_array_equal(again.means_, start.means_)


def test_a_given_start_is_not_moved():
    rows = crowd(24_000, 0)
    given = rows[:5]
    start = quiet(lambda: GaussianMixture(5, means_init=given, random_state=0, max_iter=0).fit(rows))
    np.testing.assert_array_equal(start.means_, given)


@pytest.mark.parametrize("kind", KINDS)
def test_enough_rows_for_each_covariance(kind):
    "A small group among many rows gets a start with a covariance, floor or none."
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.normal(size=(30_000, 6)), 100 + rng.normal(size=(12, 6))])
    fit = GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0).fit(rows)
    np.testing.assert_allclose(fit.weights_.min(), 12 / 30_012, rtol=1e-6)


def test_memory_of_fit():
    "Beyond X one copy of it, turned on its side, and no more than a fixed amount."
    rows = np.random.default_rng(0).normal(size=(1_000_000, 4))
    GaussianMixture(2, random_state=0).fit(rows[:20_000])
    tracemalloc.start()
    quiet(lambda: GaussianMixture(4, random_state=0, max_iter=1, prior="conjugate", n_restarts=1).fit(rows))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * rows.nbytes + 14e6


# ---- digits, against exact arithmetic ------------------------------------------------------------


def exact(rows):
    "Mean and covariance by fractions, rounded once."
    F = [[Fraction(float(x)) for x in row] for row in rows]
    n, d = len(F), len(F[0])
    mean = [sum(row[j] for row in F) / n for j in range(d)]
    C = [[float(sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in F) / n) for j in range(d)] for i in range(d)]
    return np.array([float(m) for m in mean]), np.array(C)


@pytest.mark.parametrize("offset", [0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("kind", KINDS)
def test_offsets_against_fractions(offset, kind):
    "Two groups so far apart that each row has one owner: covariances to nine digits, at any offset; scikit-learn's are off from 1e7."
    rng = np.random.default_rng(1)
    rows = np.vstack([rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) @ [[1, .5], [0, .7]] + 200]) + offset
    (m, C), (n, D) = exact(rows[:60]), exact(rows[60:])
    wanted = {"full": [C, D], "tied": .6 * C + .4 * D, "diag": [np.diag(C), np.diag(D)], "spherical": [np.trace(C) / 2, np.trace(D) / 2]}[kind]
    fit = GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0).fit(rows)
    order = fit.means_[:, 0].argsort() if kind != "tied" else slice(None)
    np.testing.assert_allclose(fit.covariances_[order], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.sort(fit.means_, axis=0), [m, n], rtol=1e-15, atol=1e-12)
    if offset >= 1e7 and kind != "full":
        try:
            theirs = quiet(lambda: sklearn.mixture.GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0).fit(rows))
        except ValueError:
            return
        assert abs(np.sort(theirs.covariances_, axis=0) - np.sort(wanted, axis=0)).max() > 1e-3


# ---- priors --------------------------------------------------------------------------------------

SCALES = {"full": np.array([[.5, 2], [2, 40]]), "tied": np.array([[.5, 2], [2, 40]]), "diag": np.array([.5, 40]), "spherical": np.array(20.)}


def a_prior(kind, **changes):
    return Prior(**dict(mean=np.array([3., 60]), shrinkage=2., dof=5., scale=SCALES[kind], concentration=1.5) | changes)


def by_scipy(prior, kind, w, means, C):
    "Log prior density from SciPy's distributions."
    k, d = means.shape
    total = dirichlet(np.full(k, prior.concentration)).logpdf(w) if prior.concentration > 1 else 0
    if kind == "tied":
        total += invwishart(prior.dof, prior.scale).logpdf(C)
    for i, m in enumerate(means):
        if kind == "full":
            total += invwishart(prior.dof, prior.scale).logpdf(C[i])
        elif kind == "diag":
            total += sum(invgamma(prior.dof / 2, scale=s / 2).logpdf(v) for s, v in zip(prior.scale, C[i]))
        elif kind == "spherical":
            total += invgamma(prior.dof / 2, scale=prior.scale / 2).logpdf(C[i])
        if prior.shrinkage:
            total += multivariate_normal(prior.mean, full_covariances(C, kind, k, d)[i] / prior.shrinkage).logpdf(m)
    return total


def some_theta(kind, seed):
    rng = np.random.default_rng(seed)
    C = np.array([np.cov(rng.normal(size=(2, 9)) * [[.5], [6]]) for _ in range(3)])
    C = {"full": C, "tied": C[0], "diag": C.diagonal(axis1=1, axis2=2).copy(), "spherical": C[:, 1, 1]}[kind]
    return rng.dirichlet([3, 3, 3]), rng.normal(size=(3, 2)) * [1, 10] + [3, 70], C


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"shrinkage": 0.}, {"concentration": 1.}])
def test_prior_density(kind, changes):
    "The same differences as SciPy's densities."
    prior, (a, b) = a_prior(kind, **changes), (some_theta(kind, s) for s in (0, 1))
    np.testing.assert_allclose(prior.log_density(*a, kind) - prior.log_density(*b, kind), by_scipy(prior, kind, *a) - by_scipy(prior, kind, *b), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"shrinkage": 0.}, {"shrinkage": 50., "dof": 40., "concentration": 30.}])
def test_posterior_is_at_its_top(kind, changes):
    "Log-likelihood plus log prior has slope zero in every parameter, and that of the log-likelihood has not."
    fit = GaussianMixture(2, covariance_type=kind, prior=a_prior(kind, **changes), reg_covar=0, random_state=0, tol=1e-13, max_iter=20_000).fit(X)
    shape = fit.covariances_.shape

    def split(v):
        C = v[5:].reshape(shape)
        share = 1 / (1 + np.exp(-v[0]))
        return np.array([share, 1 - share]), v[1:5].reshape(2, 2), (C + C.mT) / 2 if kind in ("full", "tied") else C

    def loglik(w, m, C):
        return log_likelihood((w, m, full_covariances(C, kind, 2, 2)), X)

    at = np.concatenate([[np.log(fit.weights_[0] / fit.weights_[1])], fit.means_.ravel(), fit.covariances_.ravel()])
    size = np.maximum(abs(at), .1)
    np.testing.assert_allclose(numerical_gradient(lambda v: loglik(*split(v)) + fit.prior_.log_density(*split(v), kind), at) * size, np.zeros(len(at)), atol=3e-3)
    assert abs(numerical_gradient(lambda v: loglik(*split(v)), at) * size).max() > .1
    np.testing.assert_allclose(fit.lower_bound_ * 272, loglik(*split(at)), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shrinkage", [0., 3.])
def test_posterior_of_one_component(kind, weighted, shrinkage):
    "The closed form, with the denominators of Fraley and Raftery written out."
    w = np.random.default_rng(0).uniform(.5, 2, 272) if weighted else np.ones(272)
    fit = GaussianMixture(1, covariance_type=kind, prior=a_prior(kind, shrinkage=shrinkage), reg_covar=0).fit(X, sample_weight=w if weighted else None)
    N, mean, m, S, one = w.sum(), np.average(X, axis=0, weights=w), np.array([3., 60]), np.cov(X.T, bias=True, aweights=w), shrinkage > 0
    A = N * S + shrinkage * N / (shrinkage + N) * np.outer(mean - m, mean - m)
    wanted = {"full": (SCALES["full"] + A) / (5 + N + 3 + one), "tied": (SCALES["tied"] + A) / (5 + N + 3 + one),
              "diag": (SCALES["diag"] + np.diag(A)) / (5 + N + 2 + one), "spherical": (20 + np.trace(A)) / (5 + 2 * N + 2 + 2 * one)}[kind]
    np.testing.assert_allclose(fit.covariances_ if kind == "tied" else fit.covariances_[0], wanted, rtol=1e-9)
    np.testing.assert_allclose(fit.means_[0], (N * mean + shrinkage * m) / (N + shrinkage), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_default_prior(kind):
    "The numbers of Fraley and Raftery (2007), from the weighted data; one variance for each column if diag."
    w = np.random.default_rng(0).uniform(.5, 2, 272)
    S = np.cov(X.T, bias=True, aweights=w) / 3**(2 / 2)
    prior = GaussianMixture(3, covariance_type=kind, prior="conjugate", random_state=0).fit(X, sample_weight=w).prior_
    np.testing.assert_allclose(prior.scale, {"full": S, "tied": S, "diag": np.diag(S), "spherical": np.trace(S) / 2}[kind], rtol=1e-10)
    np.testing.assert_allclose(prior.mean, np.average(X, axis=0, weights=w), rtol=1e-12)
    assert (prior.shrinkage, prior.dof, prior.concentration) == (.01, 4., 1.)
    np.testing.assert_allclose(gaussian._resolved(Prior(), groups(), None, 4, "full").scale, np.cov(groups().T, bias=True) / 4**(2 / 3), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_vanishes_beside_many_rows(kind):
    "With weights of 1e9 the fit is that of maximum likelihood."
    settings = dict(covariance_type=kind, reg_covar=0, random_state=0, tol=1e-12, max_iter=5000)
    a = GaussianMixture(2, prior=a_prior(kind), **settings).fit(X, sample_weight=np.full(272, 1e9))
    same_fit(a, GaussianMixture(2, **settings).fit(X), rtol=1e-4, atol=1e-4)
    assert GaussianMixture(2, **settings).fit(X).prior_ is None


@pytest.mark.parametrize("kind", KINDS)
def test_prior_weights_are_copies(kind):
    "Rows of weight 2 are two rows, to a prior too."
    settings = dict(covariance_type=kind, prior="conjugate", reg_covar=0, means_init=[[2, 55], [4.5, 80]], weights_init=[.4, .6],
                    precisions_init={"full": [np.eye(2)] * 2, "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": np.ones(2)}[kind])
    same_fit(GaussianMixture(2, **settings).fit(X, sample_weight=np.full(272, 2)), GaussianMixture(2, **settings).fit(np.repeat(X, 2, axis=0)), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_prior_equivariance(kind):
    "The default prior moves with the data: any affine map if full or tied, units of columns if diag, rotations and one unit if spherical."
    turn = np.array([[.6, -.8], [.8, .6]])
    A = {"full": np.array([[2, .5], [-1, 30]]), "tied": np.array([[2, .5], [-1, 30]]), "diag": np.diag([60., 1e-3]), "spherical": 7 * turn}[kind]
    rows = X @ A.T + [1e3, -5]
    fits = []
    for data, B, shift in ((X, np.eye(2), 0), (rows, A, [1e3, -5])):
        means = np.array([[2, 55], [4.5, 80]]) @ B.T + shift
        C = B @ np.diag([.2, 40.]) @ B.T if kind != "spherical" else 40 * np.eye(2) * (1 if data is X else 49)
        P = np.linalg.inv(C)
        P = {"full": [P, P], "tied": P, "diag": [np.diag(P)] * 2, "spherical": [P[0, 0]] * 2}[kind]
        fits.append(GaussianMixture(2, covariance_type=kind, prior="conjugate", reg_covar=0, tol=1e-12, weights_init=[.5, .5], means_init=means,
                                    precisions_init=P).fit(data))
    np.testing.assert_allclose(fits[1].predict_proba(rows), fits[0].predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(fits[1].lower_bound_, fits[0].lower_bound_ - np.log(abs(np.linalg.det(A))), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reg_covar", [0, 1e-3, 1.])
def test_posterior_plus_credit_never_falls(kind, reg_covar):
    "Round by round, from a start at the top of the likelihood; the log-likelihood itself falls."
    top = GaussianMixture(2, covariance_type=kind, reg_covar=0, tol=1e-12, max_iter=5000, random_state=0).fit(X)
    fit = GaussianMixture(2, covariance_type=kind, reg_covar=reg_covar, prior=a_prior(kind, shrinkage=40., dof=60.), random_state=0)
    model, steps = fit._model(mixture._Table(X)), []
    mixture.em(model, ((top.weights_, top.means_, top.covariances_), 0.0), X, tol=1e-9, callbacks=[steps.append])
    read = [model.read(s) for s in steps]
    posterior = np.array([value for _, value in read])
    for s, (plain, value), own in zip(steps, read, posterior):
        np.testing.assert_allclose(value - plain.log_likelihood, model.prior.log_density(*s.params[0], kind), rtol=1e-9)
    credit = np.array([s.params[1] for s in steps]) * 272
    assert (np.diff(posterior + credit) > -1e-8).all() and (reg_covar or (np.diff(posterior) > -1e-8).all())
    assert read[1][0].log_likelihood < read[0][0].log_likelihood - 1
    for s, t, gained in zip(steps, steps[1:], np.diff(credit)):
        if reg_covar:
            N = t.params[0][0] * (272 + 2 * .5) - .5
            sizes = {"full": N + 60 + 4, "tied": (272 + 60 + 3 + 2) * N / 272, "diag": N + 60 + 3, "spherical": (2 * N + 60 + 4) / 2}[kind]
            price = reg_covar / 2 * sum(c * (precision_trace(s, k, kind) - precision_trace(t, k, kind)) for k, c in enumerate(sizes))
            np.testing.assert_allclose(gained, price, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows, k", [(repeated(), 3), (one_far(), 2), (groups()[:4], 4), (groups()[:3], 3), (constant(), 2), (in_a_line(), 2), (np.ones((9, 3)), 3)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", STARTS)
def test_proper_priors_never_collapse(rows, k, kind, start):
    "No error, no warning, no floor: each covariance is at least what the scale allows."
    fit = quiet(lambda: GaussianMixture(k, covariance_type=kind, reg_covar=0, prior=Prior(scale=.1), init_params=start, random_state=0, max_iter=2000).fit(rows))
    for C in full_covariances(fit.covariances_, kind, k, 3):
        assert np.linalg.eigvalsh(C)[0] >= .1 / (5 + 3 * len(rows) + 5 + 3 * k)
    assert np.isfinite(fit.lower_bound_) and (np.diff(fit.history_["log_likelihood"]).min() > -np.inf)


def test_prior_keeps_an_empty_component():
    "Where no row wants a component it goes back to the prior's mean; without a prior it is an error that says so."
    settings = dict(weights_init=[.5, .5], means_init=[[2, 55], [1e4, 1e4]], precisions_init=[np.eye(2)] * 2)
    with pytest.raises(CollapseError, match="component 1 is empty") as caught:
        GaussianMixture(2, **settings).fit(X)
    assert caught.value.component == 1
    with pytest.warns(RuntimeWarning, match=r"components \[1\] of 2 are empty: no row wants them.*Prior\(concentration=2\)"):
        fit = GaussianMixture(2, prior="conjugate", max_iter=1, tol=1e9, **settings).fit(X)
    np.testing.assert_allclose(fit.means_[1], X.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(fit.weights_[1], 1e-7 / 272, rtol=1e-6)
    assert GaussianMixture(2, prior=Prior(concentration=2), **settings).fit(X).weights_.min() > .3
    with pytest.warns(RuntimeWarning, match=r"lost their rows.*: component 1 \(1 time\)"):
        assert GaussianMixture(2, prior="conjugate", n_restarts=1, random_state=0, **settings).fit(X).weights_.min() > .3


def test_dirichlet_weights():
    "At the top the weights are counts plus concentration less one, over their sum."
    fit = GaussianMixture(3, prior=Prior(concentration=11.), random_state=0, tol=1e-12, max_iter=5000).fit(X)
    counts = fit.predict_proba(X).sum(axis=0)
    np.testing.assert_allclose(fit.weights_, (counts + 10) / (272 + 30), rtol=1e-5)


def test_best_start_by_posterior():
    "With a prior the start is kept that has the highest posterior."
    prior = a_prior("full", dof=40.)
    def climbed(fit):
        return fit.lower_bound_ * 272 + fit.prior_.log_density(fit.weights_, fit.means_, fit.covariances_)
    rng, each = np.random.RandomState(1), []
    settings = dict(prior=prior, reg_covar=0, init_params="random_from_data", tol=1e-9, max_iter=5000)
    for _ in range(5):
        each.append(climbed(GaussianMixture(4, random_state=rng, **settings).fit(X)))
    assert np.ptp(each) > .1
    np.testing.assert_allclose(climbed(GaussianMixture(4, random_state=1, n_init=5, **settings).fit(X)), max(each), rtol=1e-7)


@pytest.mark.parametrize("given, error, words", [
    ({"shrinkage": -1}, ValueError, "shrinkage of the prior == -1"), ({"shrinkage": "a"}, TypeError, "shrinkage"), ({"dof": -3}, ValueError, "dof of the prior"),
    ({"dof": np.nan}, ValueError, "finite number|must be >= 0"), ({"concentration": .9}, ValueError, "concentration of the prior == 0.9")])
def test_bad_priors(given, error, words):
    with pytest.raises(error, match=words):
        Prior(**given)


@pytest.mark.parametrize("given, kind, words", [
    ({"dof": 1}, "full", "dof of the prior is 1: .* must be above 1"), ({"dof": 0}, "diag", "must be above 0"), ({"mean": [1, 2, 3]}, "full", r"mean of the prior has shape \(3,\)"),
    ({"mean": [1, np.nan]}, "full", "mean of the prior"), ({"scale": np.eye(3)}, "full", r"scale of the prior has shape \(3, 3\)"),
    ({"scale": [[1, 0], [1, 1]]}, "tied", "symmetric and positive definite"), ({"scale": -1.}, "spherical", "positive definite"), ({"scale": 0}, "full", "positive definite"),
    ({"scale": [1, 0]}, "diag", "positive definite"), ({"scale": np.eye(2)}, "spherical", r"pass finite numbers of shape \(\)")])
def test_priors_that_do_not_fit(given, kind, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(2, covariance_type=kind, prior=Prior(**given)).fit(X)


def test_prior_without_a_scale_of_its_own():
    "Constant and copied columns leave the default prior without a width: words without a floor, a warning with one."
    for rows in (constant(), in_a_line()):
        with pytest.raises(ValueError, match=r"takes its scale from the covariance of X, which is singular.*give Prior\(scale=...\)"):
            GaussianMixture(2, prior="conjugate", reg_covar=0, random_state=0).fit(rows)
        with pytest.warns(RuntimeWarning, match="rest on reg_covar"):
            GaussianMixture(2, prior="conjugate", random_state=0).fit(rows)
    with pytest.raises(ValueError, match="'prior'"):
        GaussianMixture(2, prior="strong").fit(X)


# ---- restarts ------------------------------------------------------------------------------------

HARD = dict(init_params="random_from_data", reg_covar=0)


def outcome(seed, **settings):
    "(fit or None, words) of eight components on Old Faithful."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return GaussianMixture(8, random_state=seed, **HARD | settings).fit(X), " ".join(str(w.message) for w in said)
        except CollapseError as error:
            return None, str(error)


def test_restarts_save_fits():
    "Of ten seeds some collapse; with restarts none does, those that did are named, and the others are as they were."
    saved = 0
    for seed in range(10):
        (once, _), (again, words), (same, _) = (outcome(seed, n_restarts=n, n_jobs=j) for n, j in ((0, 1), (5, 1), (5, 2)))
        assert again is not None
        same_fit(again, same, rtol=0)
        if once is not None:
            same_fit(once, again, rtol=0)
            assert words == ""
            continue
        saved += 1
        assert "restarted as they collapsed" in words and " time" in words and "n_restarts=5" in words
        h = again.history_
        assert h["iteration"].tolist() == list(range(again.n_iter_ + 1)) and (np.diff(h["seconds"]) > 0).all()
        np.testing.assert_allclose(again.lower_bound_, again.score(X), rtol=1e-10)
        assert again.converged_ and (gaussian._thinness(again.covariances_, "full")[1] > 1e-10).all()
    assert saved >= 3


def test_restarts_come_to_an_end():
    "Where the data demand a collapse, so many restarts and no more, counted in the error."
    with pytest.raises(CollapseError, match=r"after 3 of 3 restarts \(component \d \(\d times?\).*\): component \d, with .* has collapsed") as caught:
        GaussianMixture(2, reg_covar=0, n_restarts=3, random_state=0).fit(one_far())
    assert caught.value.component in (0, 1)


@pytest.mark.parametrize("rows, k", [(groups()[:5], 5), (np.ones((6, 2)), 1), (np.ones((6, 2)), 2), (constant(), 2), (in_a_line(), 2), (groups()[:2], 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_restarts_without_a_place_to_go(rows, k, kind):
    "One row a component, equal rows, flat data: the collapse is reported, or a fit is found, and nothing else happens."
    try:
        fit = quiet(lambda: GaussianMixture(k, covariance_type=kind, reg_covar=0, n_restarts=4, random_state=0).fit(rows))
        assert np.isfinite(fit.lower_bound_)
    except CollapseError as error:
        assert "has collapsed" in str(error) or "is empty" in str(error)


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_restarts_lift_components_from_the_floor(kind):
    "A component that ends on the floor is placed anew, and the fit says so; its likelihood is that of real groups."
    settings = dict(covariance_type=kind, random_state=0)
    with pytest.warns(RuntimeWarning, match=r"components \[\d\] of 3 rest on reg_covar"):
        floor = GaussianMixture(3, **settings).fit(repeated())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit = GaussianMixture(3, n_restarts=10, **settings).fit(repeated())
    assert "reached the floor reg_covar=1e-06: component" in str(said[0].message) and len(said) == 1
    assert not len(gaussian._resting((0, 0, fit.covariances_), kind, 1e-6)) and fit.lower_bound_ < floor.lower_bound_


def test_restart_of_an_empty_component():
    "It is placed anew too, tied or not."
    for kind, P in (("tied", np.eye(2)), ("full", [np.eye(2)] * 2)):
        with pytest.warns(RuntimeWarning, match=r"component 1 \(1 time\) \(n_restarts=2\)"):
            fit = GaussianMixture(2, covariance_type=kind, n_restarts=2, weights_init=[.5, .5], means_init=[[2, 55], [1e4, 1e4]], precisions_init=P,
                                  random_state=0).fit(X)
        np.testing.assert_allclose(fit.lower_bound_ * 272, -1130.264 if kind == "full" else -1140.187, atol=.05)


def test_restart_rounds_count():
    "max_iter holds for all of them together, and the rounds go on being counted."
    late = 0
    for seed in range(8):
        fit, words = outcome(seed, n_restarts=5, max_iter=14, tol=0)
        if fit is not None:
            assert fit.n_iter_ == 14 == fit.history_["iteration"][-1] and "max_iter=14" in words
            late += "restarted" in words and (np.diff(fit.history_["log_likelihood"]) < -1).any()
    assert late
    one = quiet(lambda: GaussianMixture(3, n_restarts=50, max_iter=1, random_state=0).fit(repeated()))
    assert one.n_iter_ <= 1


def test_where_a_component_is_placed():
    "By shortfall times weight, not where it was, with the pooled covariance and an even weight."
    rng = np.random.default_rng(0)
    rows, w = rng.normal(size=(300, 2)), rng.uniform(size=300)
    rows[:10] = [3, 3]
    theta = np.array([.5, .3, .2]), np.array([[0., 0], [1, 0], [3, 3]]), np.array([np.eye(2), 2 * np.eye(2), 1e-9 * np.eye(2)])
    density = .5 * multivariate_normal([0, 0]).pdf(rows) + .3 * multivariate_normal([1, 0], 2 * np.eye(2)).pdf(rows)
    spent = np.zeros(300, bool)
    chances = gaussian._shortfalls(theta, 2, "full", rows, w, spent)
    assert spent.nonzero()[0].tolist() == list(range(10))
    np.testing.assert_allclose(chances[10:], w[10:] * (np.log(density).max() - np.log(density))[10:], rtol=1e-7, atol=1e-9)
    assert (chances[:10] == 0).all()
    drawn = [gaussian._placed_anew(theta, 2, "full", rows, w, spent, np.random.RandomState(s)) for s in range(300)]
    for weights, means, C in drawn:
        assert (means[2] == rows[10:]).all(axis=1).any()
    np.testing.assert_allclose(weights, [2 / 3 * 5 / 8, 2 / 3 * 3 / 8, 1 / 3], rtol=1e-10)
    np.testing.assert_allclose(C[2], np.eye(2) * (5 / 8 + 6 / 8), rtol=1e-6, atol=1e-6)
    p, far = chances / chances.sum(), (rows**2).sum(axis=1) > 3
    share = np.mean([(m[2]**2).sum() > 3 for _, m, _ in drawn])
    assert abs(share - p[far].sum()) < 5 * (p[far].sum() * (1 - p[far].sum()) / 300)**.5


# ---- to scikit-learn and back --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind):
    "Predictions, densities, criteria, samples and names, there and back; nothing is shared."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    ours = GaussianMixture(3, covariance_type=kind, random_state=4, n_init=2, reg_covar=1e-5).fit(frame)
    theirs = ours.to_sklearn()
    assert type(theirs) is sklearn.mixture.GaussianMixture
    assert theirs.get_params() == {n: v for n, v in ours.get_params().items() if n in theirs.get_params()}
    back = GaussianMixture.from_sklearn(theirs)
    for other in (theirs, back):
        np.testing.assert_allclose(other.predict_proba(frame), ours.predict_proba(frame), rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(other.predict(frame), ours.predict(frame))
        np.testing.assert_allclose(other.score_samples(frame), ours.score_samples(frame), rtol=1e-8)
        np.testing.assert_allclose([other.bic(frame), other.aic(frame)], [ours.bic(frame), ours.aic(frame)], rtol=1e-9)
        for a, b in zip(other.sample(50), ours.sample(50)):
            np.testing.assert_array_equal(a, b)
        assert other.n_features_in_ == 2 and other.feature_names_in_.tolist() == ["eruptions", "waiting"]
        assert (other.converged_, other.n_iter_, other.lower_bound_) == (True, ours.n_iter_, ours.lower_bound_)
        with pytest.raises(ValueError, match="feature names"):
            other.predict(frame[["waiting", "eruptions"]])
    same_fit(back, ours, rtol=1e-12)
    assert back.history_.dtype == ours.history_.dtype and back.prior_ is None and back.lower_bounds_ == ours.lower_bounds_
    theirs.means_[:] = 0
    assert ours.means_.min() > 1 and back.means_.min() > 1
    same_fit(pickle.loads(pickle.dumps(back)), back, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_fit_of_scikit_learn(kind):
    "In 64 and in 32 bits; warm start goes on from there; other things are refused."
    theirs = quiet(lambda: sklearn.mixture.GaussianMixture(2, covariance_type=kind, random_state=0, warm_start=True).fit(X))
    ours = GaussianMixture.from_sklearn(theirs)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9)
    assert ours.set_params(tol=1e-10).fit(X).score(X) >= theirs.score(X) - 1e-9
    single = quiet(lambda: sklearn.mixture.GaussianMixture(2, covariance_type=kind, random_state=0).fit(X.astype(np.float32)))
    assert GaussianMixture.from_sklearn(single).means_.dtype == np.float64
    np.testing.assert_allclose(GaussianMixture.from_sklearn(single).score(X), single.score(X), rtol=1e-3)
    for wrong in (sklearn.mixture.BayesianGaussianMixture(), Mixture(2), "file"):
        with pytest.raises(TypeError, match="pass a fitted sklearn.mixture.GaussianMixture"):
            GaussianMixture.from_sklearn(wrong)
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture(2))
    with pytest.raises(NotFittedError):
        GaussianMixture(2).to_sklearn()


# ---- rough hands ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, words", [
    ([["a", "b"]] * 5, "could not convert"), (np.where(X > 80, np.inf, X), "infinity"), (X[0], "2D array"),
    (X[:, :0], "0 feature"), (X[:1], "minimum of 2"), (X.astype(complex), "[Cc]omplex"), (X[:3], "n_components = 4, n_samples = 3")])
def test_bad_rows(rows, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(4).fit(rows)


def test_rows_in_other_types():
    "Whole numbers, small ones, booleans and objects that hold numbers are rows too."
    rows = np.random.default_rng(0).permutation(np.r_[np.arange(40), np.arange(100, 140)])[:, None]
    wanted = GaussianMixture(2, random_state=0).fit(rows.astype(float))
    for kind in (int, np.uint8, np.int16, object, np.float16):
        same_fit(GaussianMixture(2, random_state=0).fit(rows.astype(kind)), wanted)
    quiet(lambda: GaussianMixture(2, random_state=0).fit(rows > 100))


def test_all_weights_zero():
    for settings in ({}, {"prior": "conjugate"}, {"n_restarts": 3}):
        with pytest.raises(ValueError, match="at least one non-zero|sample_weight is 0 for all rows"):
            GaussianMixture(2, **settings).fit(X, sample_weight=np.zeros(272))
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixture(2).fit(X, sample_weight=np.full(272, np.nan))


def test_as_many_components_as_rows():
    "Each answer in turn: an error, a warning, and nothing to say."
    rows = X[:30] + np.arange(30)[:, None]
    with pytest.raises(CollapseError, match="with 1 of 30 rows, has collapsed"):
        GaussianMixture(30, reg_covar=0, random_state=0).fit(rows)
    with pytest.warns(RuntimeWarning, match="rest on reg_covar"):
        GaussianMixture(30, random_state=0).fit(rows)
    assert quiet(lambda: GaussianMixture(30, reg_covar=0, prior="conjugate", random_state=0).fit(rows)).converged_


def test_one_round_of_everything():
    "max_iter=1, many starts, prior and restarts together."
    for kind in KINDS:
        fit = quiet(lambda: GaussianMixture(5, covariance_type=kind, prior="conjugate", n_restarts=2, n_init=4, init_params="random_from_data", max_iter=1,
                                            random_state=0).fit(X, sample_weight=np.r_[np.zeros(100), np.ones(172)]))
        assert fit.n_iter_ == 1 and np.isfinite(fit.lower_bound_)
        np.testing.assert_allclose(fit.lower_bound_, fit.score(X[100:]), rtol=1e-9)


def test_prior_in_searches_and_pickles():
    "A prior is a setting like any other."
    search = GridSearchCV(GaussianMixture(2, random_state=0), {"prior": [None, "conjugate", Prior(scale=1.)]}, cv=3).fit(X)
    assert search.best_params_["prior"] is None or search.best_params_["prior"] in ("conjugate",) or search.best_params_["prior"].scale == 1.
    fit = GaussianMixture(2, prior=Prior(shrinkage=5.), random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(fit))
    same_fit(again, fit, rtol=0)
    assert again.prior.shrinkage == again.prior_.shrinkage == clone(fit).prior.shrinkage == 5. and "shrinkage=5.0" in repr(fit)
    with pytest.raises(AttributeError):
        fit.prior.shrinkage = 3.


def test_warm_start_of_another_shape():
    "Another number of components, of columns or another type cannot go on from there, and nothing is ignored."
    def fitted():
        return GaussianMixture(2, warm_start=True, random_state=0).fit(groups()[:, :2])
    for change, rows in (({"n_components": 3}, groups()[:, :2]), ({"covariance_type": "tied"}, groups()[:, :2]), ({}, groups()),
                         ({"covariance_type": "diag"}, groups()[:, :2])):
        with pytest.raises(ValueError, match="warm_start=True goes on from the last fit, which had covariance_type='full', 2 components and 2 columns, not"):
            fitted().set_params(**change).fit(rows)
    assert fitted().set_params(tol=1e-9).fit(groups()[:, :2]).n_iter_ >= 1


def test_masked_rows():
    "Masked values are not taken for numbers."
    with pytest.raises(ValueError, match="masked values"):
        GaussianMixture(2).fit(np.ma.masked_greater(X, 80))
    GaussianMixture(2, random_state=0).fit(np.ma.masked_greater(X, 1000))


def test_odd_priors():
    "Weights that sum to almost nothing beside a prior; a prior that is at odds with the data says so."
    fit = GaussianMixture(2, prior="conjugate", random_state=0).fit(X, sample_weight=np.full(272, 1e-12))
    np.testing.assert_allclose(fit.weights_.sum(), 1, rtol=1e-12)
    with pytest.raises(CollapseError, match="see that the scale of the prior is not tiny, and its mean not far") as caught:
        GaussianMixture(2, prior=Prior(mean=[1e9, 1e9], shrinkage=1.), reg_covar=0, random_state=0).fit(X)
    assert caught.value.component == 0


# ---- attempts, and what is advised ---------------------------------------------------------------

def words_of(X, **settings):
    "(fit, words)."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return GaussianMixture(random_state=0, **settings).fit(X), " ".join(str(w.message) for w in said)


def test_restarts_keep_the_best_attempt():
    "Fewest components on the floor, then the highest; the log ends where that attempt ended."
    rows = np.random.default_rng(47).normal(size=(40, 2))
    rows[:5] = rows[0]
    low = []
    for n in (0, 1, 3):
        fit, words = words_of(rows, n_components=4, covariance_type="diag", n_restarts=n)
        low.append(len(gaussian._resting(fit._theta(), "diag", 1e-6)))
        np.testing.assert_allclose([fit.lower_bound_, fit.history_["log_likelihood"][-1] / 40], fit.score(rows), rtol=1e-10)
        assert fit.n_iter_ == fit.history_["iteration"][-1] == len(fit.history_) - 1
        assert ("the best attempt is kept" in words) == (n > 0) == ("or n_restarts" not in words and "n_restarts or" not in words)
        assert fit.lower_bound_ > -.92
    assert low == [1, 1, 1]


def test_restarts_never_lose_a_fit_that_worked():
    "Attempts that collapse after one that did not."
    rows = np.random.default_rng(0).normal(size=(400, 2))
    rows[200:] += 5
    rows = np.vstack([rows, [[1e7, 1e7]]])
    plain, _ = words_of(rows, n_components=2)
    fit, words = words_of(rows, n_components=2, n_restarts=3)
    same_fit(plain, fit, rtol=1e-10)
    assert "the best attempt is kept" in words and "use fewer components, prior='conjugate' or another" in words


def test_no_advice_that_is_taken_already():
    "What is set is not recommended; what is not set, is."
    rows = np.random.default_rng(0).normal(size=(400, 2))
    rows[200:] += 5
    rows = np.vstack([rows, [[1e8, 1e8]]])
    for settings, left in (({"prior": "conjugate"}, "; or set n_restarts"), ({"prior": "conjugate", "n_restarts": 2}, None)):
        with pytest.raises(CollapseError, match="no row is so far from all others that the scale is singular to rounding") as caught:
            words_of(rows, n_components=2, **settings)
        assert "prior='conjugate'" not in str(caught.value)
        assert left in str(caught.value) if left else "set n_restarts" not in str(caught.value)
    with pytest.raises(ValueError, match="a row is very far from the others"):
        words_of(rows, n_components=2, prior="conjugate", reg_covar=0)
    with pytest.raises(CollapseError, match="or set prior='conjugate' or n_restarts$"):
        words_of(one_far(), n_components=2, reg_covar=0)
    with pytest.raises(CollapseError, match="or set prior='conjugate'$"):
        words_of(one_far(), n_components=2, reg_covar=0, covariance_type="full", n_restarts=1)


def test_fewer_different_rows_than_components():
    "The start has nothing for the last component: a cause, and settings by their names; a prior finds a fit."
    rows = np.repeat(X[:3], 5, axis=0)
    with pytest.raises(CollapseError, match="empty at the start.*fewer different rows.*prior='conjugate', or another random_state") as caught:
        quiet(lambda: GaussianMixture(4, n_restarts=5, random_state=0).fit(rows))
    assert "seed" not in str(caught.value)
    assert np.isfinite(quiet(lambda: GaussianMixture(4, prior="conjugate", random_state=0).fit(rows)).lower_bound_)


@pytest.mark.parametrize("kind", KINDS)
def test_precisions_by_column_are_the_diagonals_of_the_inverses(kind):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((3, 4, 4))
    full = A @ A.mT + np.eye(4)
    C = {"full": full, "tied": full[0], "diag": full.diagonal(axis1=1, axis2=2), "spherical": full[:, 0, 0]}[kind]
    wanted = np.linalg.inv(full_covariances(C, kind, 3, 4)).diagonal(axis1=1, axis2=2)
    np.testing.assert_allclose(gaussian._precision_by_column(C, kind, (3, 4)), wanted, rtol=1e-10, strict=True)
    variances, thinnest = gaussian._thinness(C, kind)
    for R, value in zip(full_covariances(C, kind, 3, 4), thinnest):
        R = R / np.sqrt(np.outer(np.diag(R), np.diag(R)))
        assert np.linalg.eigvalsh(R)[0] / 4 - 1e-12 <= value <= np.linalg.eigvalsh(R)[0] + 1e-12
