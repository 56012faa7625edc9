"""emlit.choosing: the table against single fits, and the artists' data against the mathematics."""
import html
import io
import pickle
import re
import subprocess
import sys
import threading
import warnings

import matplotlib
import numpy as np
import pytest
import sklearn.mixture
from scipy.stats import chi2, norm
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import emlit.distributed
from emlit import choosing
from emlit.choosing import Selection, plot_ellipses, plot_history, plot_responsibilities, plot_selection, select
from emlit.data import load_faithful, sample_gaussian_mixture
from emlit.gaussian import GaussianMixture
from emlit.gmm import CollapseError
from emlit.mixture import Mixture

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

KINDS = ("full", "tied", "diag", "spherical")
CRITERIA = ("aic", "bic", "icl")
X = load_faithful().X


@pytest.fixture(autouse=True)
def no_warnings_no_windows(monkeypatch):
    "Any warning is an error, and so is any attempt to show a figure."
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("a plot called plt.show"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def equal(actual, desired, rtol=1e-10, **kwargs):
    np.testing.assert_allclose(actual, desired, rtol=rtol, strict=True, **kwargs)


@pytest.fixture(scope="module")
def three():
    "Three clear groups in three columns, of different shapes."
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 3, 3))
    return sample_gaussian_mixture([.5, .3, .2], [[0, 0, 0], [8, 0, 4], [0, 9, -6]], A @ A.mT + .3 * np.eye(3), 300, rng)[0]


@pytest.fixture(scope="module")
def faithful():
    return select(X, random_state=0)


# ---- select --------------------------------------------------------------------------------------


def test_rows_are_those_of_single_fits(three):
    "Each row is what the same estimator says when it is fitted by itself, and what scikit-learn's says."
    result = select(three, [1, 2, 3], n_init=1, random_state=3)
    assert result.table.dtype.names == ("n_components", "covariance_type", "n_parameters", "log_likelihood", "aic", "bic", "icl",
                                        "n_iter", "seconds", "converged", "note")
    assert [row[:2] for row in result.table[["n_components", "covariance_type"]].tolist()] == [(k, kind) for kind in KINDS for k in (1, 2, 3)]
    for row, fitted in zip(result.table, result.estimators):
        settings = dict(n_components=int(row["n_components"]), covariance_type=str(row["covariance_type"]), random_state=3)
        alone = GaussianMixture(**settings).fit(three)
        theirs = sklearn.mixture.GaussianMixture(**settings, tol=1e-10, max_iter=2000).fit(three)
        for name in CRITERIA:
            equal(row[name], np.float64(getattr(alone, name)(three)))
        equal(row["bic"], np.float64(theirs.bic(three)), rtol=1e-5)
        equal(row["log_likelihood"], np.float64(alone.score(three) * len(three)))
        equal(row["bic"] - row["aic"], row["n_parameters"] * (np.log(len(three)) - 2))
        assert (row["n_iter"], row["n_parameters"], row["converged"]) == (alone.n_iter_, theirs._n_parameters(), True)
        assert row["seconds"] > 0 and row["note"] == "" and fitted.get_params() == alone.get_params()
    assert result.best_estimator is result.estimators[result.best_index] and result.best_estimator.n_components == 3


def test_old_faithful_as_mclust_has_it(faithful):
    "Three tied components with BIC 2314.386 (Scrucca et al., R Journal 2016), and the maxima known for one and two."
    best = faithful.table[faithful.best_index]
    assert (best["n_components"], best["covariance_type"], best["n_parameters"]) == (3, "tied", 11)
    assert 2314.386 - .1 < best["bic"] < 2314.386
    known = {(1, "full"): -1289.7967, (2, "full"): -1130.26396, (2, "tied"): -1140.1868, (3, "tied"): -1126.3159}
    for (k, kind), value in known.items():
        (row,) = [r for r in faithful.table if (r["n_components"], r["covariance_type"]) == (k, kind)]
        equal(row["log_likelihood"], np.float64(value), rtol=0, atol=2e-3)


def test_each_criterion_has_its_own_winner(faithful):
    "The lowest of the rows that may win, by each criterion."
    may_win = ["reg_covar" not in note for note in faithful.table["note"]]
    for criterion in CRITERIA:
        again = choosing._ranked(faithful.table, criterion)
        assert faithful.table[criterion][again[0]] == faithful.table[criterion][may_win].min()
    small = select(X, [1, 2, 3], ["full", "tied"], criterion="icl", random_state=0)
    assert small.criterion == "icl" and small.best_index == small.table["icl"].argmin() == 1


def test_a_component_on_the_floor_cannot_win(faithful):
    "Five diagonal components have the lowest BIC by far, because one of them is a line; its row says so and comes last."
    lowest = faithful.table["bic"].argmin()
    assert faithful.table["note"][lowest].startswith("components [") and "rest on reg_covar" in faithful.table["note"][lowest]
    assert lowest != faithful.best_index and choosing._ranked(faithful.table, "bic")[-1] == lowest
    assert faithful.table["bic"][lowest] < faithful.table["bic"][faithful.best_index] - 50


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_where_all_rest_on_the_floor_one_wins_with_a_warning(three, kind):
    "A constant column: there is no other, so the best of them is chosen, and its note becomes a warning."
    with pytest.warns(UserWarning, match=r"has a note: .* on reg_covar") as said:
        result = select(np.c_[three, np.ones(len(three))], [1, 2, 3], kind, n_init=1, random_state=0)
    assert len(said) == 1 and result.best_index == result.table["bic"].argmin()


def test_a_collapse_is_a_row():
    "Forty equal rows without a floor: some fits fail, with the reason in their rows; the others stand."
    data = np.vstack([np.random.default_rng(0).normal(size=(200, 2)), np.tile([3., 3.], (40, 1))])
    result = select(data, [1, 2, 3], ["full", "tied"], reg_covar=0, n_init=1, random_state=0)
    failed = np.array([fitted is None for fitted in result.estimators])
    assert failed.any() and not failed[0] and not failed[result.best_index]
    for row in result.table[failed]:
        assert row["note"].startswith("failed: ") and "has collapsed: its rows" in row["note"]
        assert np.isnan([row[name] for name in ("log_likelihood", *CRITERIA)]).all()
        assert not row["converged"] and row["n_iter"] == row["n_parameters"] == 0
    assert np.isfinite(result.table["bic"][~failed]).all()
    assert sum("failed: " in line for line in repr(result).splitlines()[-failed.sum():]) == failed.sum()


def test_where_all_fail_the_first_error_is_raised():
    "There is nothing to choose from: the reason of the first is the reason."
    with pytest.raises(CollapseError, match="its rows coincide"):
        select(np.ones((20, 2)), [1, 2], reg_covar=0)
    with pytest.raises(ValueError, match="infinity"):
        select(np.where(X > 90, np.inf, X), [1, 2])
    with pytest.raises(ValueError, match="n_components = 300"):
        select(X, [300, 400], "full")


def test_warnings_are_gathered():
    "Fits that did not converge say so in their notes; one warning is left, about the winner."
    with pytest.warns(UserWarning, match="the best of 4 fits.*has a note.*max_iter=2") as said:
        result = select(X, [2, 3], ["full", "diag"], max_iter=2, n_init=1, random_state=0)
    assert len(said) == 1 and not result.table["converged"].any()
    assert all("raise max_iter" in note for note in result.table["note"])


def test_the_number_of_processes_does_not_matter(three):
    "Every digit of the table, and every parameter, with one process and with two."
    one, two = (select(three, [2, 3], ["full", "diag"], n_init=2, n_jobs=n, random_state=1) for n in (1, 2))
    for name in set(one.table.dtype.names) - {"seconds"}:
        np.testing.assert_array_equal(one.table[name], two.table[name])
    for a, b in zip(one.estimators, two.estimators):
        np.testing.assert_array_equal(a.means_, b.means_)


def test_seeds():
    "The same seed for every fit: a whole number as it is, another generator by one draw, the estimator's own by default."
    def seeds(**kwargs):
        return {fitted.random_state for fitted in select(X, [1, 2], "tied", n_init=1, **kwargs).estimators}
    assert seeds(random_state=7) == {7} == seeds(estimator=GaussianMixture(random_state=7))
    assert seeds(random_state=np.random.RandomState(3)) == {np.random.RandomState(3).randint(2**31 - 1)}
    assert len(seeds()) == 1 and seeds(random_state=np.int64(5)) == {5}


def test_weights_are_counts():
    "Whole weights give the table of the repeated rows."
    rows, counts = np.unique((X / [.5, 5]).round() * [.5, 5], axis=0, return_counts=True)
    short, long = (select(data, [1, 2], "tied", sample_weight=w, random_state=0)
                   for data, w in ((rows, counts), (np.repeat(rows, counts, axis=0), None)))
    for name in ("log_likelihood", *CRITERIA):
        equal(short.table[name], long.table[name], rtol=1e-6)
    assert abs(select(rows, [1, 2], "tied", random_state=0).table["bic"] - long.table["bic"]).min() > 100


def test_other_families():
    "Counts of two kinds of days: two Poissons, no covariance_type; and an estimator of the caller is left as it was."
    rng = np.random.default_rng(3)
    days = np.vstack([rng.poisson([2, 9], (150, 2)), rng.poisson([7, 4], (100, 2))])
    mixture = Mixture(family="poisson")
    result = select(days, range(1, 4), estimator=mixture, random_state=0)
    assert "covariance_type" not in result.table.dtype.names and result.best_estimator.n_components == 2
    assert result.table["n_parameters"].tolist() == [2, 5, 8] and mixture.get_params() == Mixture(family="poisson").get_params()
    assert not hasattr(mixture, "weights_")
    with pytest.raises(ValueError, match="covariance_type"):
        select(days, 2, "full", estimator=mixture)


@pytest.fixture
def holed(three):
    "The three groups with a tenth of their entries gone, and one row without any."
    holes = np.random.default_rng(1).random(three.shape) < .1
    holes[5] = True
    return np.where(holes, np.nan, three)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_with_holes(holed, dtype):
    "Each row is that of a single fit; the groups are found; n is the number of rows that are not empty."
    result = select(holed.astype(dtype), [2, 3], ["full", "tied", "spherical"], n_init=1, random_state=0)
    assert result.best_estimator.n_components == 3 and not result.table["note"].any()
    n, rtol = np.isfinite(holed).any(axis=1).sum(), 1e-6 if dtype == np.float32 else 1e-10
    assert n < len(holed)
    for row, (k, kind) in zip(result.table, ((k, kind) for kind in ("full", "tied", "spherical") for k in (2, 3))):
        alone = GaussianMixture(k, covariance_type=kind, random_state=0).fit(holed.astype(dtype))
        for name in CRITERIA:
            equal(row[name], np.float64(getattr(alone, name)(holed.astype(dtype))), rtol=rtol)
        equal(row["bic"], -2 * row["log_likelihood"] + row["n_parameters"] * np.log(n), rtol=rtol)
    counts = np.where(np.random.default_rng(0).random((60, 2)) < .1, np.nan, 3)
    with pytest.raises(ValueError, match="NaN"):
        select(counts, [1, 2], estimator=Mixture())
    with pytest.raises(ValueError, match="column 1 of X has no value"):
        select(holed * [1, np.nan, 1], [1, 2], "full")


def test_a_floor_among_holes_cannot_win(holed):
    "A needle is known by its note also where entries are missing."
    needle = np.r_[holed, np.tile([20., np.nan, 20.], (30, 1))]
    result = select(needle, [3, 4], "diag", n_init=1, random_state=1)
    assert "rest on reg_covar" in result.table["note"][1] and result.table["note"][0] == ""
    assert result.best_index == 0 and result.table["bic"].argmin() == 1


def test_plots_of_rows_with_holes(holed):
    "A row is drawn where both of its columns are known, by its likeliest component; bars and curves are those of all rows."
    model = GaussianMixture(3, random_state=0).fit(holed)
    ax, labels = plot_ellipses(model, holed, (2, 0)), model.predict(holed)
    ax.figure.canvas.draw()
    for k, drawn in enumerate(ax.collections):
        points = np.ma.filled(np.ma.asarray(drawn.get_offsets()), np.nan)
        there = holed[labels == k][:, [2, 0]]
        equal(points[np.isfinite(points).all(axis=1)], there[np.isfinite(there).all(axis=1)])
    assert np.isfinite([ax.get_xlim(), ax.get_ylim()]).all()
    bars = plot_ellipses(model, holed, 1).patches
    seen = holed[np.isfinite(holed[:, 1]), 1]
    equal(np.array([bar.get_height() for bar in bars]), np.histogram(seen, 30, density=True)[0])
    ax = plot_responsibilities(model, holed)
    equal(np.array([area(c.get_paths()[0]) for c in ax.collections]), model.predict_proba(holed).mean(axis=0), rtol=1e-6)
    plot_history(model)


def test_one_value_is_a_list_of_one():
    "A number and a word stand for themselves; an iterator will do."
    assert len(select(X, 2, "full").table) == 1 and len(select(X, np.int64(2)).table) == 4
    assert select(X, iter([1, 2]), iter(["tied"]), n_init=1).table["n_components"].tolist() == [1, 2]


@pytest.mark.parametrize("kwargs, error, words", [
    (dict(criterion="aicc"), ValueError, "criterion is 'aicc': use one of aic, bic, icl"),
    (dict(n_components=[]), ValueError, "nothing to fit: n_components is"),
    (dict(covariance_types=()), ValueError, "nothing to fit"),
    (dict(covariance_type="full"), ValueError, "covariance_type is what select varies"),
    (dict(covariance_types=["full", "round"]), ValueError, "'covariance_type' parameter"),
    (dict(n_components=[2, 0]), ValueError, "'n_components' parameter"), (dict(n_components=1.5), ValueError, "'n_components' parameter"),
    (dict(n_components=None), ValueError, "'n_components' parameter"),
    (dict(n_start=3), ValueError, "Invalid parameter 'n_start'"), (dict(n_init=0), ValueError, "'n_init' parameter"),
    (dict(estimator=GaussianMixture), TypeError, "pass an instance"),
    (dict(estimator=make_pipeline(StandardScaler(), GaussianMixture())), TypeError, "with fit, aic, bic and icl"),
    (dict(estimator=sklearn.mixture.GaussianMixture()), TypeError, "with fit, aic, bic and icl"),
    (dict(sample_weight=[1, 2]), ValueError, "sample_weight")])
def test_wrong_arguments(kwargs, error, words):
    "Each is refused in words that name it; none becomes twenty-four failed rows."
    with pytest.raises(error, match=words):
        select(X, **{"n_components": 2, "covariance_types": None} | kwargs)


def test_the_result_is_read_only(faithful):
    "Frozen, and a plain array that can be saved without pickle."
    with pytest.raises(AttributeError):
        faithful.criterion = "aic"
    with pytest.raises(ValueError, match="read-only"):
        faithful.table["bic"][0] = 0
    np.save(io.BytesIO(), faithful.table, allow_pickle=False)
    assert isinstance(pickle.loads(pickle.dumps(faithful)), Selection)


def test_text_and_html(faithful):
    "The best row first and marked; the same words in both; what a note holds is no HTML."
    lines, page = repr(faithful).splitlines(), faithful._repr_html_()
    assert len(lines) == 25 and [line.startswith("*") for line in lines] == [False, True] + [False] * 23
    assert lines[1].split()[:7] == ["*", "3", "tied", "11", "-1126.32", "2274.63", "2314.30"] and max(map(len, lines)) < 165
    cells = [html.unescape(cell) for cell in re.findall("<t[hd]>(.*?)</t[hd]>", page)]
    assert " ".join(" ".join(cells).split()) == " ".join(repr(faithful).split()) and page.count("font-weight: bold") == 1
    strange = faithful.table.copy()
    strange["note"][0] = "<script>"
    assert "<script>" not in Selection(strange, faithful.estimators, 0, "bic")._repr_html_()


def test_to_pandas(faithful, monkeypatch):
    "A data frame where there is pandas; words where there is none."
    pd = pytest.importorskip("pandas")
    frame = faithful.to_pandas()
    assert list(frame.columns) == list(faithful.table.dtype.names) and frame["bic"].to_list() == faithful.table["bic"].tolist()
    named = select(pd.DataFrame(X, columns=["eruption", "wait"]), 2, "full")
    assert named.best_estimator.feature_names_in_.tolist() == ["eruption", "wait"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        faithful.to_pandas()


def test_progress(capsys):
    "A bar when asked for, and nothing otherwise."
    select(X, [1, 2], "tied", n_init=1)
    assert capsys.readouterr() == ("", "")
    select(X, [1, 2], "tied", n_init=1, progress=True)
    assert "2/2" in capsys.readouterr().err


# ---- plots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_ellipses_are_level_sets(three, kind):
    "Axes and angle are those of the marginal covariance, and the stated share of a large sample lies inside."
    model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(three)
    ax = plot_ellipses(model, columns=(2, 0), levels=(.3, .9))
    outlines = [p for p in ax.patches if not p.get_fill()]
    assert len(outlines) == 4 and len(ax.patches) == 8 and (ax.get_xlabel(), ax.get_ylabel()) == ("column 2", "column 0")
    draws, labels = model.sample(40_000)
    full = {"full": lambda k: model.covariances_[k], "tied": lambda k: model.covariances_,
            "diag": lambda k: np.diag(model.covariances_[k]), "spherical": lambda k: model.covariances_[k] * np.eye(3)}[kind]
    for i, patch in enumerate(outlines):
        k, level = divmod(i, 2)[0], (.3, .9)[i % 2]
        C, radius = full(k)[np.ix_([2, 0], [2, 0])], np.sqrt(chi2(2).ppf(level))
        values, vectors = np.linalg.eigh(C)
        equal(np.sort([patch.width, patch.height]) / 2, radius * np.sqrt(values))
        along = np.array([np.cos(np.radians(patch.angle)), np.sin(np.radians(patch.angle))])
        longest = along if patch.width >= patch.height else along @ [[0, 1], [-1, 0]]
        equal(longest @ C @ longest, np.float64(values[1]))
        equal(np.array(patch.center), model.means_[k, [2, 0]])
        mine = draws[labels == k][:, [2, 0]]
        inside = patch.get_path().transformed(patch.get_patch_transform()).contains_points(mine).mean()
        assert abs(inside - level) < 5 * np.sqrt(level * (1 - level) / len(mine)) + .002


def test_ellipses_show_rows_by_component(three):
    "Each row once, in the marker and colour of its likeliest component; limits hold the ellipses; the axes given are used."
    model = GaussianMixture(3, random_state=0).fit(three)
    figure, given = plt.subplots()
    ax = plot_ellipses(model, three, (2, 0), ax=given)
    assert ax is given and plt.get_fignums() == [figure.number]
    for k, drawn in enumerate(ax.collections):
        equal(np.asarray(drawn.get_offsets()), three[model.predict(three) == k][:, [2, 0]])
    assert len({tuple(c.get_facecolor()[0]) for c in ax.collections}) == len({len(c.get_paths()[0].vertices) for c in ax.collections}) == 3
    box = np.array([ax.get_xlim(), ax.get_ylim()])
    for patch in ax.patches:
        corners = patch.get_path().transformed(patch.get_patch_transform()).get_extents()
        assert (box[:, 0] <= corners.min).all() and (corners.max <= box[:, 1]).all()
    assert {(p.get_edgecolor(), p.get_linestyle()) for p in ax.patches if not p.get_fill()}.__len__() == 3
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]


def test_columns_by_name():
    "Names of a data frame are names of columns and labels of axes."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["eruption", "wait"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    ax = plot_ellipses(model, frame, ["wait", "eruption"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("wait", "eruption")
    equal(np.array(ax.patches[0].center), model.means_[0, ::-1])
    assert plot_ellipses(model, frame, "wait").get_xlabel() == "wait"


@pytest.mark.parametrize("kind", KINDS)
def test_one_column_is_curves(three, kind):
    "Curves are weighted marginal densities; their sum is the density of the mixture."
    model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(three[:, :1])
    *curves, total = plot_ellipses(model, three[:, :1]).lines
    x = total.get_xdata()
    equal(total.get_ydata(), np.exp(model.score_samples(x[:, None])))
    equal(sum(curve.get_ydata() for curve in curves), total.get_ydata())
    equal(np.array([np.trapezoid(curve.get_ydata(), x) for curve in curves]), model.weights_, rtol=1e-3)
    wide = GaussianMixture(2, covariance_type=kind, random_state=0).fit(three)
    variances = {"full": lambda k: wide.covariances_[k, 1, 1], "tied": lambda k: wide.covariances_[1, 1],
                 "diag": lambda k: wide.covariances_[k, 1], "spherical": lambda k: wide.covariances_[k]}[kind]
    for k, curve in enumerate(plot_ellipses(wide, columns=1).lines[:2]):
        equal(curve.get_ydata(), wide.weights_[k] * norm(wide.means_[k, 1], variances(k)**.5).pdf(curve.get_xdata()))


def test_ellipses_refuse():
    "What cannot be drawn is named."
    model = GaussianMixture(2, random_state=0).fit(X)
    for columns in ((0, 2), (0, 0), (0, 1, 1), (), "wait", (0, -1), (0, .5), 7):
        with pytest.raises(ValueError, match="pass one or two of column 0, column 1"):
            plot_ellipses(model, columns=columns)
    for levels in (95, (0, .5), 1.0, (.5, np.nan)):
        with pytest.raises(ValueError, match="levels are .*above 0 and below 1"):
            plot_ellipses(model, levels=levels)
    with pytest.raises(TypeError, match="a Mixture has no means"):
        plot_ellipses(Mixture(1).fit(X.round()))
    with pytest.raises(NotFittedError):
        plot_ellipses(GaussianMixture())
    assert len(plot_ellipses(sklearn.mixture.GaussianMixture(2).fit(X), levels=.9).patches) == 4


def test_history():
    "The rounds and their log-likelihoods; gains as they are, losses marked apart."
    model = GaussianMixture(2, random_state=0).fit(X)
    top, bottom = plot_history(model)
    np.testing.assert_array_equal(top.lines[0].get_xydata(), np.c_[model.history_["iteration"], model.history_["log_likelihood"]])
    equal(bottom.lines[0].get_ydata(), np.diff(model.history_["log_likelihood"]))
    assert bottom.get_yscale() == "log" and len(bottom.lines) == 1
    exact = GaussianMixture(2, reg_covar=0, tol=1e-12, random_state=0).fit(X)
    lossy = GaussianMixture(2, reg_covar=1e-2, weights_init=exact.weights_, means_init=exact.means_, precisions_init=exact.precisions_,
                            tol=1e-9).fit(X)
    change = np.diff(lossy.history_["log_likelihood"])
    given = plt.subplots(1, 2)[1]
    axes = plot_history(lossy, given)
    assert axes.tolist() == given.tolist() and (change < 0).any()
    losses = axes[1].lines[-1]
    equal(losses.get_ydata(), -change[change < 0])
    assert losses.get_label() == "loss" and losses.get_marker() == "v"
    np.testing.assert_array_equal(losses.get_xdata(), 1 + np.flatnonzero(change < 0))
    with pytest.raises(TypeError, match="fit it first"):
        plot_history(GaussianMixture())
    with pytest.raises(ValueError, match="ax holds 1 axes: pass two"):
        plot_history(model, top)
    plot_history(GaussianMixture(2, max_iter=0).fit(X))


@pytest.mark.parametrize("criterion", [None, *CRITERIA])
def test_selection_lines(faithful, criterion):
    "A line per type through the rows that may win, hollow marks for the others, a ring round the best."
    ax = plot_selection(faithful, criterion)
    name, table = criterion or "bic", faithful.table
    floor = np.array(["reg_covar" in note for note in table["note"]])
    for kind, line, hollow in zip(KINDS, ax.lines[:-1:2], ax.lines[1:-1:2]):
        mine = table["covariance_type"] == kind
        assert line.get_label() == kind and hollow.get_markerfacecolor() == "none"
        for drawn, rows in ((line, mine & ~floor), (hollow, mine & floor)):
            np.testing.assert_array_equal(drawn.get_xydata(), np.c_[table["n_components"][rows], table[name][rows]])
    assert ax.lines[-1].get_ydata()[0] == table[name][~floor].min()
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ax.lines[:-1:2]}) == 4
    assert ax.get_ylabel().startswith(name.upper())
    with pytest.raises(TypeError, match="selection is a GaussianMixture"):
        plot_selection(faithful.best_estimator)
    with pytest.raises(ValueError, match="criterion is 'seconds'"):
        plot_selection(faithful, "seconds")


def test_selection_of_other_families():
    "One line, on the axes given."
    days = np.random.default_rng(0).poisson(3, (60, 2))
    result, given = select(days, [1, 2], estimator=Mixture(), random_state=0), plt.subplots()[1]
    assert plot_selection(result, ax=given) is given and len(given.lines) == 3
    np.testing.assert_array_equal(given.lines[0].get_ydata(), result.table["bic"])


def area(path):
    x, y = path.vertices.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def test_responsibilities_as_areas(three):
    "The area of a component is its share of the rows; rows of one component lie together; no more than 2,000 are drawn."
    model = GaussianMixture(3, covariance_type="tied", random_state=0).fit(X)
    r, given = model.predict_proba(X), plt.subplots()[1]
    ax = plot_responsibilities(model, X, given)
    assert ax is given and ax.get_xlim() == ax.get_ylim() == (0, 1)
    equal(np.array([area(c.get_paths()[0]) for c in ax.collections]), r.mean(axis=0), rtol=1e-6)
    assert len({c.get_hatch() for c in ax.collections}) == 3
    order = choosing._sorted_rows(r)
    assert sorted(map(tuple, order)) == sorted(map(tuple, r)) and (np.diff(order.argmax(axis=1)) >= 0).all()
    many = np.tile(X, (20, 1))
    ax = plot_responsibilities(model, many)
    assert max(len(c.get_paths()[0].vertices) for c in ax.collections) < 10_000
    equal(np.array([area(c.get_paths()[0]) for c in ax.collections]), r.mean(axis=0), rtol=1e-2)


def test_unsure_rows_lie_between():
    "A row between components 0 and 1 stands at their border, on either side."
    r = np.array([[.9, .1, 0], [.6, .4, 0], [.4, .6, 0], [.1, .9, 0], [0, .6, .4], [0, 0, 1.]])
    np.testing.assert_array_equal(choosing._sorted_rows(r[[3, 5, 1, 0, 4, 2]]), r)
    ax = plot_responsibilities(Mixture(1).fit(np.ones((5, 1))), np.ones((5, 1)))
    equal(area(ax.collections[0].get_paths()[0]), np.float64(1))


def test_plots_work_without_a_display_and_without_pyplot_state():
    "Importing the module imports no pyplot."
    code = "import emlit.choosing, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- rows in blocks ------------------------------------------------------------------------------


def test_select_reads_blocks(tmp_path):
    "A function, in this process and in others, a file, and weights in the blocks: the same table as in memory."
    np.save(tmp_path / "x.npy", X)
    weight = np.arange(272) % 3 + 1.
    def table(rows, **more):
        found = select(rows, [1, 2], ["full", "diag"], n_init=1, random_state=0, **more)
        return np.array([list(row) for row in found.table[["n_parameters", "log_likelihood", *CRITERIA, "n_iter"]].tolist()])
    halves, pairs = lambda: iter([X[:100], X[100:]]), lambda: iter([(X[:100], weight[:100]), (X[100:], weight[100:])])  # noqa: E731
    for rows, more in ((halves, {}), (halves, {"n_jobs": 2}), (np.load(tmp_path / "x.npy", mmap_mode="r"), {}), (np.load(tmp_path / "x.npy", mmap_mode="r"), {"n_jobs": 2})):
        np.testing.assert_allclose(table(rows, **more), table(X), rtol=1e-10)
    np.testing.assert_allclose(table(pairs), table(X, sample_weight=weight), rtol=1e-10)
    failed = select(lambda: iter([X[:3], X[3:8]]), [2, 9], "diag", n_init=1, random_state=0).table["note"]
    assert not failed[0].startswith("failed") and failed[1].startswith("failed: X has 8 rows in its blocks")


def test_what_cannot_be_sent_to_other_processes():
    "In words, and it works in this one."
    lock = threading.Lock()
    def blocks():
        with lock:
            yield X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="X or the estimator cannot be sent to other processes, as it holds an open file"):
            select(blocks, [1, 2], "full", n_jobs=2, random_state=0)
    assert select(blocks, [1, 2], "full", n_init=1, random_state=0).best_estimator.n_components == 2


@pytest.mark.parametrize("make", [lambda d, w: (d.from_array(X, chunks=(90, 1)), d.from_array(w, chunks=70)),
                                  lambda d, w: (emlit.distributed.partitions(d.from_array(X, chunks=(90, 2)), d.from_array(w, chunks=90)), None),
                                  lambda d, w: ([pytest.importorskip("dask").delayed((X[part], w[part])) for part in (slice(0, 9), slice(9, 272))], None)])
def test_select_with_dask(make, monkeypatch):
    "The fits take turns in this process, and give the table of rows in memory."
    weight, before = np.arange(272) % 3 + 1., choosing.Parallel
    monkeypatch.setattr(choosing, "Parallel", lambda n_jobs, **kwargs: before(n_jobs, **kwargs) if n_jobs == 1 else pytest.fail("processes"))
    rows, extra = make(pytest.importorskip("dask.array"), weight)
    found = select(rows, [1, 2], "full", n_init=1, random_state=0, sample_weight=extra, n_jobs=2)
    monkeypatch.undo()
    alone = select(X, [1, 2], "full", n_init=1, random_state=0, sample_weight=weight)
    for name in ("log_likelihood", *CRITERIA):
        np.testing.assert_allclose(found.table[name], alone.table[name], rtol=1e-10)
