"""The general estimator of emlit.mixture: starts, weights, runs, logs, and mixtures of counts, answers and categories."""
import os
import pickle
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.stats import geom, poisson
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from strict import equal, no_warnings, quiet  # noqa: F401, a fixture
import emlit.stream
from emlit import GaussianMixture, Mixture, mixture
from emlit.families import GAUSSIANS, Bernoulli, Categorical, Family, Poisson
from emlit.gmm import CollapseError


# ---- starts --------------------------------------------------------------------------------------


def many(n=30_000, seed=0):
    "Three groups in two columns."
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) + np.array([[0, 0], [6, 0], [0, 6]])[rng.integers(3, size=n)]


def test_all_rows_below_the_threshold():
    "Up to so many rows nothing is chosen, and no random number is drawn for it."
    rows, w, rng = many(10_000), np.arange(10_000.), np.random.RandomState(0)
    given, weight = mixture._subset(rows, w, 10_000, rng)
    assert given is rows and weight is w and rng.uniform() == np.random.RandomState(0).uniform()


def test_choice_without_weights():
    "Different rows, in their order, the same ones for the same seed."
    rows = np.arange(30_000.)[:, None]
    a, b, c = (mixture._subset(rows, None, 500, np.random.RandomState(s))[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert len(np.unique(a)) == 500 and (np.diff(a[:, 0]) > 0).all() and (a != c).any()
    np.testing.assert_allclose(a.mean(), 15_000, atol=5 * 30_000 / (12 * 500)**.5)


def test_choice_with_weights():
    "As often as the weight says: counts within five standard errors, none of weight 0, so many in all."
    w = np.r_[np.zeros(5000), np.full(5000, 1.), np.full(5000, 3.), [15_000.]]
    rows, times = mixture._subset(np.arange(15_001.)[:, None], w, 7000, np.random.RandomState(0))
    assert times.sum() == 7000 and rows.min() >= 5000 and (times >= 1).all()
    for part, p in ((rows[:, 0] < 10_000, 1 / 7), ((rows[:, 0] >= 10_000) & (rows[:, 0] < 15_000), 3 / 7), (rows[:, 0] == 15_000, 3 / 7)):
        assert abs(times[part].sum() - 7000 * p) < 5 * (7000 * p * (1 - p))**.5


def test_one_heavy_row_is_not_all():
    "Where one row has nearly all the weight there are still as many rows as components."
    w = np.r_[1e12, np.ones(29_999)]
    rows, R = mixture._owners(many(), w, 3, "kmeans", np.random.RandomState(0))
    assert len(rows) == 30_000 and R.shape == (30_000, 3)
    np.testing.assert_allclose(R.sum(), w.sum(), rtol=1e-12)


def test_more_rows_where_a_component_has_too_few():
    "Four times as many, in the end all."
    rows = np.vstack([np.zeros((29_995, 2)), np.full((5, 2), 500.)]) + np.random.default_rng(0).normal(size=(30_000, 2))
    tried = [mixture._owners(rows, None, 2, "kmeans", np.random.RandomState(seed), needed=5)[1] for seed in range(6)]
    assert all(R.sum(axis=0).min() >= 5 for R in tried) and {len(R) for R in tried} <= {10_000, 30_000} and sum(len(R) == 30_000 for R in tried) >= 3
    assert len(mixture._owners(many(), None, 3, "kmeans", np.random.RandomState(1), needed=5)[0]) == 10_000
    assert len(mixture._owners(many(), None, 3, "kmeans", np.random.RandomState(1), needed=200)[0]) == 12_000


@pytest.mark.parametrize("start", ["kmeans", "random", "k-means++", "random_from_data"])
def test_start_takes_little_memory(start):
    "Less than a quarter of X."
    rows = np.random.default_rng(0).normal(size=(400_000, 4))
    mixture._owners(rows[:20_000], None, 4, start, np.random.RandomState(0))
    tracemalloc.start()
    mixture._owners(rows, None, 4, start, np.random.RandomState(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes / 4


def test_nearest():
    "Each row to the nearest founder, with its weight."
    R = mixture._nearest(np.array([[0.], [1], [5], [6]]), np.array([1., 2, 3, 4]), np.array([[0.], [6]]))
    equal(R, [[1, 0], [2, 0], [0, 3], [0, 4]])


# ---- runs ----------------------------------------------------------------------------------------


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


def test_threads_in_order():
    "Parts come back in order, one thread or two, and libraries inside have one thread."
    for jobs in (None, 1, 2, -1):
        with mixture._mapper(jobs) as mapper:
            assert list(mapper(len, ["a", "bbb", "cc"] * 20)) == [1, 3, 2] * 20
            assert {lib["num_threads"] for lib in mixture._libraries().info()} == {1}


def test_best_run():
    "The one that climbed highest; collapsed ones are named; with none left, the error knows the component."
    with pytest.raises(CollapseError, match="all 2 starts collapsed; the first one: a") as caught:
        mixture._best([CollapseError("a", 3), CollapseError("b", 1)], 10)
    assert caught.value.component == 3
    with pytest.raises(CollapseError, match="^a$"):
        mixture._best([CollapseError("a")], 10)
    runs = []
    for value in (1., 5., 3.):
        runs.append(object.__new__(mixture._Run))
        vars(runs[-1]).update(value=value, words=[], stopped="", converged=True)
    assert mixture._best(runs, 10) is runs[1]
    with pytest.warns(RuntimeWarning, match="1 of 4 starts collapsed and were left out; the first one: c"):
        assert mixture._best([CollapseError("c"), *runs], 10) is runs[1]


# ---- mixtures ------------------------------------------------------------------------------------


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
    ({"family": Categorical(2)}, DATA["categorical"], "codes are whole numbers"),
    ({"family": "categorical"}, DATA["poisson"] + 10_000, "number the categories 0, 1, 2"), ({"family": GAUSSIANS["tied"]}, DATA["poisson"], "GaussianMixture\\(covariance_type='tied'\\)"),
    ({}, np.full((5, 2), np.nan), "NaN"), ({}, [["a", "b"]] * 5, "could not convert"), ({"n_jobs": "two"}, DATA["poisson"], "'n_jobs'"), ({}, DATA["poisson"][:1], "minimum of 2")])
def test_mixture_refuses(settings, rows, words):
    with pytest.raises(ValueError, match=words):
        Mixture(2, random_state=0, **settings).fit(rows)


def test_mixture_takes_family_objects():
    "By name or as an object, the same."
    a, b = (Mixture(2, family=f, random_state=0).fit(days()) for f in ("poisson", Poisson()))
    equal(a.parameters_[0], b.parameters_[0])
    assert b.sample(3)[0].shape == (3, 2) and clone(b).get_params()["family"] == Poisson()


class Geometric(Family):
    "Trials until the first success."
    def size(self, d):
        return 1 + d

    def features(self, X, out):
        out[0], out[1:] = 1, X

    def natural(self, p):
        return np.c_[np.log(p / (1 - p)).sum(axis=1), np.log1p(-p)]

    def parameters(self, moments):
        return (moments[:, :1] / moments[:, 1:],)


def test_a_family_of_your_own():
    "Densities by SciPy, free parameters counted, sampling refused with words."
    rows = np.r_[geom(.7).rvs(300, random_state=0), geom(.1).rvs(300, random_state=1)][:, None]
    fit = Mixture(2, family=Geometric(), random_state=0, n_jobs=2).fit(rows)
    density = fit.weights_ @ geom(fit.parameters_[0]).pmf(rows[:, 0])
    np.testing.assert_allclose(fit.score_samples(rows), np.log(density), rtol=1e-9)
    np.testing.assert_allclose(fit.aic(rows), -2 * np.log(density).sum() + 2 * 3, rtol=1e-10)
    with pytest.raises(ValueError, match="cannot draw from family=Geometric"):
        fit.sample(3)


def test_bad_values_outside_the_choice():
    "What no start has looked at is looked at by EM."
    rows = np.random.default_rng(0).poisson(3, (30_000, 2)).astype(float)
    seen = mixture._owners(rows + np.arange(30_000)[:, None], None, 2, "kmeans", np.random.RandomState(0))[0]
    unseen = next(i for i in range(30_000) if not (seen - i == rows[i]).all(axis=1).any())
    rows[unseen, 1] = 2.5
    with pytest.raises(ValueError, match="X holds 2.5 in column 1: a Poisson takes counts"):
        Mixture(2, random_state=0).fit(rows)


@pytest.mark.parametrize("family", DATA)
def test_many_rows(family):
    "A start from a choice of rows leads where a start from all of them leads, and threads change no digit."
    rows = np.tile(DATA[family], (60, 1))
    a, b, c = (Mixture(2, family=family, random_state=0, n_jobs=jobs, tol=1e-8).fit(r) for r, jobs in ((rows, 1), (rows, 2), (DATA[family], 1)))
    np.testing.assert_array_equal(a.parameters_[0], b.parameters_[0])
    np.testing.assert_array_equal(a.predict(rows), b.predict(rows))
    np.testing.assert_allclose(a.lower_bound_, c.lower_bound_, rtol=1e-5)


def test_history_and_tolerance():
    "One entry for the start and for each round; the last gain is below tol a row, the one before it is not."
    rows = days()
    fit = Mixture(2, random_state=0, tol=1e-4).fit(rows)
    h, n = fit.history_, len(rows)
    assert h.dtype.names == ("iteration", "seconds", "log_likelihood") and h["iteration"].tolist() == list(range(fit.n_iter_ + 1))
    assert (np.diff(h["seconds"]) > 0).all() and h["log_likelihood"][-1] - h["log_likelihood"][-2] <= 1e-4 * n < h["log_likelihood"][-2] - h["log_likelihood"][-3]
    np.testing.assert_allclose([h["log_likelihood"][-1], fit.lower_bound_ * n, fit.lower_bounds_[-1] * n], np.full(3, fit.score(rows) * n), rtol=1e-10)
    with pytest.warns(ConvergenceWarning, match="the best of 2 starts stopped after max_iter=1"):
        Mixture(3, random_state=0, max_iter=1, n_init=2).fit(rows)


def test_warm_start_and_starts():
    "One round at a time is the same as several; of several starts the best is kept."
    rows, step = DATA["categorical"], Mixture(2, family="categorical", max_iter=1, warm_start=True, random_state=0, tol=0)
    for _ in range(3):
        quiet(lambda: step.fit(rows))
    equal(step.parameters_[0], quiet(lambda: Mixture(2, family="categorical", max_iter=3, random_state=0, tol=0).fit(rows)).parameters_[0])
    codes, rng = np.minimum(days(), 9), np.random.RandomState(0)
    settings = dict(family="categorical", init_params="random", max_iter=5000)
    each = [Mixture(3, random_state=rng, **settings).fit(codes).lower_bound_ for _ in range(4)]
    assert np.ptp(each) > 1e-4
    np.testing.assert_allclose(Mixture(3, random_state=0, n_init=4, **settings).fit(codes).lower_bound_, max(each), rtol=1e-9)


def test_warm_start_of_another_family():
    "Nor from another family or number of components."
    rows = DATA["bernoulli"]
    for change in ({"family": "bernoulli"}, {"n_components": 3}):
        fit = Mixture(2, warm_start=True, random_state=0).fit(rows)
        with pytest.raises(ValueError, match="which had family='poisson', 2 components and 2 columns, not"):
            fit.set_params(**change).fit(rows)


def test_words(capsys):
    "Lines like scikit-learn's, and a bar on stderr when asked for."
    Mixture(2, random_state=0, verbose=1, verbose_interval=1, n_init=2).fit(days())
    out = capsys.readouterr()
    assert out.out.startswith("Initialization 0\n  Iteration 1\n") and out.out.count("Initialization converged.") == 2 and out.err == ""
    Mixture(2, random_state=0, verbose=2, verbose_interval=2, progress=True).fit(days())
    out = capsys.readouterr()
    assert "ll change" in out.out and "log-likelihood" in out.err and "start 0" in out.err


@pytest.mark.parametrize("family", DATA)
def test_criteria(family):
    "-2 l plus penalties, by the schoolbook; a whole weight is so many copies."
    rows = DATA[family]
    fit = Mixture(2, family=family, random_state=0).fit(rows)
    table = np.log(fit.weights_) + schoolbook(family, fit.parameters_[0], rows)
    r = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
    l, p = np.log(np.exp(table).sum(axis=1)).sum(), 1 + 4 * {"poisson": 1, "bernoulli": 1, "categorical": 2}[family]
    entropy = -(r[r > 0] * np.log(r[r > 0])).sum()
    wanted = [-2 * l + 2 * p, -2 * l + p * np.log(250), -2 * l + p * np.log(250) + 2 * entropy]
    np.testing.assert_allclose([fit.aic(rows), fit.bic(rows), fit.icl(rows)], wanted, rtol=1e-9)
    w = np.arange(250) % 3
    for name in ("aic", "bic", "icl"):
        np.testing.assert_allclose(getattr(fit, name)(rows, w), getattr(fit, name)(np.repeat(rows, w, axis=0)), rtol=1e-10)


def test_mixture_in_pipelines():
    "Pipeline, grid search, clone and pickle."
    rows = days()
    pipe = make_pipeline(FunctionTransformer(np.round), Mixture(2, random_state=0)).fit(rows + .2, mixture__sample_weight=np.ones(250))
    fit = Mixture(2, random_state=0).fit(rows)
    np.testing.assert_array_equal(pipe.predict(rows + .2), fit.predict(rows))
    search = GridSearchCV(Mixture(random_state=0), {"n_components": [1, 2]}, cv=3).fit(np.random.default_rng(0).permutation(rows))
    assert search.best_params_ == {"n_components": 2}
    assert clone(fit).get_params() == fit.get_params() and "Mixture" in fit._repr_html_()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).predict_proba(rows), fit.predict_proba(rows))
    assert isinstance(Mixture(2, family="bernoulli")._family(None), Bernoulli)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl", "sample"])
@pytest.mark.parametrize("estimator", [GaussianMixture(2), Mixture(2)])
def test_not_fitted(estimator, method):
    "Named by scikit-learn's own error."
    with pytest.raises(NotFittedError):
        getattr(estimator, method)(2 if method == "sample" else days())


def test_top_level_import_is_light():
    "`from emlit import GaussianMixture, Mixture` loads no plotting."
    code = "import sys; from emlit import GaussianMixture, Mixture; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


# ---- blocks and threads ----------------------------------------------------------------------------


def test_blocks_are_columns_in_memory_and_rows_of_a_file(tmp_path):
    "Arrays are turned on their side once; a mapped file stays where it is, however it is viewed."
    rows = np.random.default_rng(0).normal(size=(20_000, 3))
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for X, on_disk in [(rows, False), (rows[::-1], False), (rows.astype(np.float32), False), (mapped, True), (np.asarray(mapped)[5:], True)]:
        blocks = list(mixture._blocks(X, None)())
        equal(np.vstack(blocks).astype(float), X.astype(float))
        assert len(blocks) == 2 and all(b.flags.f_contiguous != on_disk and np.shares_memory(b, X) == on_disk for b in blocks)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no cores to choose here")
def test_each_thread_has_a_core_when_all_are_asked_for():
    "And is left alone otherwise; this thread keeps its cores."
    cores = os.sched_getaffinity(0)
    assert mixture._spread(1) is None and mixture._spread(len(cores) + 1) is None
    barrier = threading.Barrier(len(cores), timeout=20)

    def where(_):
        barrier.wait()
        return tuple(os.sched_getaffinity(0))

    if len(cores) > 1:
        with mixture._mapper(-1) as mapper:
            assert sorted(mapper(where, range(len(cores)))) == sorted((c,) for c in cores)
    assert os.sched_getaffinity(0) == cores


# ---- several threads, masked values, dates, weights ----------------------------------------------

def test_fits_in_threads_leave_no_trace():
    "Fits and predictions that overlap leave the libraries' threads and the filters of warnings as they were."
    X, blas = np.random.default_rng(0).poisson([3, 9], (400, 2)).astype(float), mixture._libraries().select(user_api="blas")
    inside, leave, end, filters = threading.Event(), threading.Event(), threading.Event(), list(warnings.filters)
    threads_of = lambda: {library["num_threads"] for library in blas.info()}

    def first():                                                    # comes first, leaves first and lives on, as in a pool
        with mixture._Single():
            inside.set()
            leave.wait(10)
        end.wait(10)

    def work(seed):
        for _ in range(5):
            Mixture(2, random_state=seed, max_iter=1 + seed, tol=1e6).fit(X).predict(X)

    outer = blas.limit(limits=2)
    mixture._Single().let_go()
    try:
        thread = threading.Thread(target=first)
        thread.start()
        inside.wait(10)
        with mixture._Single():                                     # comes second and leaves last
            leave.set()
            while mixture._Single.inside > 1:
                time.sleep(.001)
            assert threads_of() == {1}
        assert threads_of() == {2}
        several = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
        for one in several:
            one.start()
        for one in several:
            one.join()
        assert threads_of() == {2} and list(warnings.filters) == filters and mixture._Single.inside == 0
        end.set()
        thread.join()
    finally:
        outer.restore_original_limits()
        mixture._Single().let_go()


@pytest.mark.parametrize("kind", [lambda: Mixture(2, random_state=0), lambda: GaussianMixture(2, random_state=0)])
def test_weights_are_checked_everywhere(kind):
    "By fit, score and the criteria alike: negative, of another length, zero throughout, masked, NaN."
    X = np.random.default_rng(0).poisson([3, 9], (50, 2)).astype(float)
    fit = kind().fit(X)
    wrong = [(-np.ones(50), "Negative values"), (np.ones(49), "sample_weight.shape"), (np.zeros(50), "non-zero number|above 0"),
             (np.ma.masked_less(np.arange(50.), 3), "sample_weight has masked values"), (np.full(50, np.nan), "NaN")]
    for weight, words in wrong:
        for method in (kind().fit, fit.score, fit.aic, fit.bic, fit.icl):
            with pytest.raises(ValueError, match=words):
                method(X, sample_weight=weight)
    w = np.arange(50.)
    equal(np.float64(fit.score(X, sample_weight=w)), np.average(fit.score_samples(X), weights=w))


def test_masked_values_and_dates_are_refused_everywhere():
    "A masked value is not the number below it, and NaT is not -9e18."
    X = np.random.default_rng(0).poisson([3, 9], (50, 2)).astype(float)
    fit = Mixture(2, random_state=0).fit(X)
    for method in (Mixture(2).fit, fit.predict, fit.predict_proba, fit.score, fit.score_samples, fit.aic, fit.bic, fit.icl):
        with pytest.raises(ValueError, match="X has masked values"):
            method(np.ma.masked_less(X, 1))
        for dates in (np.array([["2020-01-01", "NaT"]] * 50, dtype="datetime64[D]"), np.ones((50, 2), dtype="timedelta64[s]")):
            with pytest.raises(ValueError, match="X holds dates or durations"):
                method(dates)


def test_a_second_fit_counts_the_levels_anew():
    "More codes than in the first fit are no error."
    few, more = np.array([[0], [1], [0], [1], [1]]), np.array([[0], [3], [2], [1], [1]])
    fit = Mixture(1, family="categorical").fit(few)
    np.testing.assert_allclose(fit.parameters_[0][0, 0], [.4, .6], rtol=1e-12)
    np.testing.assert_allclose(fit.fit(more).parameters_[0][0, 0], [.2, .4, .2, .2], rtol=1e-12)
    with pytest.raises(ValueError, match="codes are whole numbers from 0 to 3"):
        fit.set_params(warm_start=True).fit(more + 1)


def test_of_equal_starts_the_first_is_kept():
    "A later start that is higher by rounding alone does not take its place."
    runs = [mixture._Run.__new__(mixture._Run) for _ in range(3)]
    for run, value in zip(runs, (-2000.0, -1126.3168323834127, -1126.3168323834125)):
        run.value, run.words, run.stopped, run.converged = value, [], "", True
    assert mixture._best(runs, 10) is runs[1]


def test_every_row_is_shown_to_the_family():
    "A fraction among 20,000 counts, wherever it is."
    X = np.random.default_rng(0).poisson(3, (20_000, 2)).astype(float)
    for row in (3, 9_999, 15_000, 19_999):
        Y = X.copy()
        Y[row, 1] = 2.5
        with pytest.raises(ValueError, match="X holds 2.5 in column 1"):
            Mixture(2, random_state=0).fit(Y)


# ---- rows in blocks ------------------------------------------------------------------------------


def judged(fit, X, **kwargs):
    "All that judges a fit."
    return np.array([getattr(fit, name)(X, **kwargs) for name in ("score", "aic", "bic", "icl")])


def test_judging_blocks():
    "Weights, and blocks of different size and weight: sums over rows, and not means of means."
    X, w = many(700), np.random.default_rng(0).uniform(0, 3, 700) ** 3
    fit = GaussianMixture(3, random_state=0, max_iter=4, tol=1e9).fit(X)
    pairs = [(X[:600], w[:600]), (X[600:650], None), (X[650:650], w[:0]), (X[650:], w[650:])]
    w[600:650] = 1
    equal(judged(fit, lambda: iter([X[:600], X[600:]])), judged(fit, X), rtol=1e-12)
    equal(judged(fit, lambda: iter(pairs)), judged(fit, X, sample_weight=w), rtol=1e-12)
    by_hand = -2 * w @ fit.score_samples(X) + np.log(w.sum()) * (2 + 3 * 2 + 3 * 3)
    R = fit.predict_proba(X)
    equal(judged(fit, lambda: iter(pairs))[[0, 2, 3]], [w @ fit.score_samples(X) / w.sum(), by_hand, by_hand - 2 * w @ (R * np.log(R)).sum(axis=1)], rtol=1e-12)
    with pytest.raises(ValueError, match="no row of X holds a value"):
        fit.bic(lambda: iter([np.full((3, 2), np.nan)] * 2))


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "categorical"])
def test_judging_other_families(family, tmp_path):
    "Whole numbers too, from a function, from frames, and from a file."
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).integers(2, size=(9000, 3))
    fit = quiet(lambda: Mixture(2, family=family, random_state=0, max_iter=5).fit(X))
    np.save(tmp_path / "x.npy", X)
    for rows in (lambda: iter([X[:9], X[:0], X[9:]]), emlit.stream.npy_blocks(tmp_path / "x.npy", 1000), np.load(tmp_path / "x.npy", mmap_mode="r"), lambda: map(pd.DataFrame, np.array_split(X, 3))):
        equal(judged(fit, rows), judged(fit, X), rtol=1e-12)


def test_nothing_is_read_in_vain():
    "Not before a fit, and not with a second argument."
    def blocks():
        raise AssertionError("the rows were asked for")
    for unfitted in (GaussianMixture(2), Mixture(2), Mixture(2, family="bernoulli")):
        for name in ("score", "bic"):
            with pytest.raises(ValueError, match="not fitted yet"):
                getattr(unfitted, name)(blocks)
    fit = GaussianMixture(2, random_state=0).fit(many(500))
    for name in ("score", "aic", "bic", "icl"):
        with pytest.raises(ValueError, match="X is a function that returns blocks: let it return pairs"):
            getattr(fit, name)(blocks, sample_weight=np.ones(500))
