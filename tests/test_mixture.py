"""The estimators of emlit.mixture: beside scikit-learn, on hard data, with weights, in pipelines, and what they say when it goes wrong."""
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn.mixture
from scipy.stats import poisson
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from emlit import GaussianMixture, Mixture, mixture
from emlit.data import load_faithful
from emlit.families import Categorical, Poisson
from emlit.gmm import CollapseError

KINDS = ["full", "tied", "diag", "spherical"]
STARTS = ["kmeans", "random", "random_from_data", "k-means++"]
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
X = load_faithful().X


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def equal(actual, desired, rtol=1e-10, **kwargs):
    np.testing.assert_allclose(actual, np.asarray(desired, dtype=float), rtol=rtol, strict=True, **kwargs)


def same_fit(a, b, rtol=1e-10, atol=0.0):
    for name in FITTED:
        equal(getattr(a, name), getattr(b, name), rtol=rtol, atol=atol)


def groups(seed=0):
    "Two groups in three columns."
    rng = np.random.default_rng(seed)
    return np.vstack([rng.normal(size=(300, 3)), rng.normal(size=(200, 3)) * [.5, 1, 2] + [4, 2, 0]])


def quiet(f):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f()


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
    ({"weights_init": [.5, .6]}, "weights_init must be 0 or more and sum to 1"), ({"means_init": [[1, 2]]}, r"means_init has shape \(1, 2\)"),
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


@pytest.mark.parametrize("width", [1e-2, 1e-4, 1e-6, 1e-8])
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
    runs = [(None, CollapseError("a")), (None, CollapseError("b"))]
    with pytest.raises(CollapseError, match="all 2 starts collapsed; the first one: a"):
        mixture._best([e for _, e in runs], 10)
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
    model, steps = fit._model(X), []
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


@pytest.mark.parametrize("n", [500, 8191, 8192, 20_001])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_cover_the_rows(n, weighted):
    "Each row once, in order, in two or more equal parts if there are many; with its weight, if it has one."
    rows, w = np.arange(2. * n).reshape(n, 2), np.arange(n) + 1. if weighted else None
    parts = list(mixture._blocks(rows, w)())
    assert len(parts) % 2 == 0 if n >= 8192 else len(parts) == 1
    np.testing.assert_array_equal(np.vstack([p[0] if weighted else p for p in parts]), rows)
    if weighted:
        np.testing.assert_array_equal(np.concatenate([p[1] for p in parts]), w)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_digit(kind):
    rng = np.random.default_rng(2)
    rows = np.tile(groups(), (30, 1)) + rng.normal(size=(15_000, 3))
    for w in (None, rng.uniform(size=15_000)):
        a, b = (GaussianMixture(3, covariance_type=kind, random_state=0, tol=1e-4, n_jobs=j).fit(rows, sample_weight=w) for j in (None, 2))
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


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl", "sample"])
@pytest.mark.parametrize("estimator", [GaussianMixture(2), Mixture(2)])
def test_not_fitted(estimator, method):
    with pytest.raises(NotFittedError):
        getattr(estimator, method)(2 if method == "sample" else X)


def test_sample_refuses():
    for fit in (GaussianMixture(2, random_state=0).fit(X), Mixture(2, random_state=0).fit(X.round())):
        for n in (0, -1, 1.5):
            with pytest.raises(ValueError, match="Invalid value for 'n_samples'"):
                fit.sample(n)


def test_top_level_import_is_light():
    "`from emlit import GaussianMixture, Mixture` loads no plotting."
    code = "import sys; from emlit import GaussianMixture, Mixture; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


# ---- other families ------------------------------------------------------------------------------


def days(seed=3):
    rng = np.random.default_rng(seed)
    return np.vstack([rng.poisson([2, 9], (150, 2)), rng.poisson([7, 4], (100, 2))])


DATA = {"poisson": days(), "bernoulli": (days() > 5).astype(int), "categorical": np.minimum(days(), 9) // 4}


def schoolbook(family, theta, rows):
    "Log-probability of each row under each component, (n, k)."
    if family == "poisson":
        return poisson(theta).logpmf(rows[:, None]).sum(axis=2)
    if family == "bernoulli":
        return np.log(np.where(rows[:, None] == 1, theta, 1 - theta)).sum(axis=2)
    return np.array([[sum(np.log(p[j, x]) for j, x in enumerate(row)) for p in theta] for row in rows])


@pytest.mark.parametrize("family", DATA)
@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_mixture(family, start):
    "Densities and posteriors by the schoolbook; one more round of EM, written out, changes nothing; the likelihood rises."
    rows = DATA[family]
    fit = Mixture(2, family=family, init_params=start, tol=1e-13, max_iter=20_000, random_state=0).fit(rows)
    (theta,), table = fit.parameters_, np.log(fit.weights_) + schoolbook(family, fit.parameters_[0], rows)
    np.testing.assert_allclose(fit.score_samples(rows), np.log(np.exp(table).sum(axis=1)), rtol=1e-9)
    r = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
    equal(fit.predict_proba(rows), r, rtol=1e-8, atol=1e-12)
    values = rows if family != "categorical" else np.eye(theta.shape[2])[rows].reshape(len(rows), -1)
    np.testing.assert_allclose((r.T @ values / r.sum(axis=0)[:, None]).reshape(theta.shape), theta, rtol=1e-3, atol=1e-3)
    assert (np.diff(fit.history_["log_likelihood"]) > -1e-7).all() and fit.converged_
    levels = {"poisson": 1, "bernoulli": 1, "categorical": 2}[family]
    np.testing.assert_allclose(fit.bic(rows), -2 * len(rows) * fit.score(rows) + (1 + 4 * levels) * np.log(len(rows)), rtol=1e-10)


@pytest.mark.parametrize("family", DATA)
def test_mixture_weights_and_threads(family):
    "One component has a closed form; weights count as copies."
    rows, w = DATA[family], np.random.default_rng(0).integers(0, 3, 250)
    a, b = Mixture(1, family=family).fit(rows, sample_weight=w), Mixture(1, family=family, n_jobs=2).fit(np.repeat(rows, w, axis=0))
    equal(a.parameters_[0], b.parameters_[0], rtol=1e-9)
    if family != "categorical":
        equal(a.parameters_[0], np.average(rows, axis=0, weights=w)[None], rtol=1e-9)
    again = Mixture(2, family=family, warm_start=True, random_state=0).fit(rows).fit(rows)
    assert again.n_iter_ <= 1 or again.converged_


@pytest.mark.parametrize("family", DATA)
def test_mixture_samples(family):
    "Means of what is drawn are the parameters, within five standard errors."
    fit = Mixture(2, family=family, random_state=0).fit(DATA[family])
    rows, labels = fit.sample(20_000)
    theta = fit.parameters_[0]
    for k in range(2):
        mine = rows[labels == k]
        np.testing.assert_allclose(len(mine) / 20_000, fit.weights_[k], atol=5 * .5 / 20_000**.5)
        values, means = (mine, theta[k]) if theta.ndim == 2 else (mine[..., None] == np.arange(theta.shape[2]), theta[k])
        np.testing.assert_allclose(values.mean(axis=0), means, atol=5 * max(1, means.max())**.5 / len(mine)**.5)


def test_mixture_start_leaves_no_rate_at_zero():
    "A cluster that holds only zeros in a column can still take a row that has a one there."
    rows = np.array([[0, 9], [0, 8], [0, 10], [9, 0], [8, 0], [10, 0]] * 5)
    (rates,) = Mixture(2, max_iter=0, random_state=0).fit(rows).parameters_
    assert rates.min() > .1
    fit = Mixture(2, max_iter=0, random_state=0).fit(rows, sample_weight=np.ones(30))
    equal(fit.parameters_[0], rates)
    np.testing.assert_allclose(fit.weights_.sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("settings, rows, words", [
    ({}, DATA["poisson"] - .5, "takes counts"), ({}, -DATA["poisson"], "takes counts"), ({"family": "bernoulli"}, DATA["poisson"], "Bernoulli"),
    ({"family": "normal"}, DATA["poisson"], "'family'"), ({"init_params": "k-means++"}, DATA["poisson"], "'init_params'"),
    ({"family": Categorical(2)}, DATA["categorical"], "codes are whole numbers")])
def test_mixture_refuses(settings, rows, words):
    with pytest.raises(ValueError, match=words):
        Mixture(2, random_state=0, **settings).fit(rows)


def test_mixture_takes_family_objects():
    "By name or as an object, the same."
    a, b = (Mixture(2, family=f, random_state=0).fit(days()) for f in ("poisson", Poisson()))
    equal(a.parameters_[0], b.parameters_[0])
    assert b.sample(3)[0].shape == (3, 2) and clone(b).get_params()["family"] == Poisson()
