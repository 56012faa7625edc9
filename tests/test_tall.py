"""Regressions from rows that are read block by block, beside the same regressions in memory, and what they refuse."""
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emlit import LinearRegression, LogisticRegression, load, save, stream, tall
from emlit.linear import least_squares
from emlit.logistic import SeparationError
from emlit.stream import npy_blocks
from emlit.tall import with_target
from strict import equal, no_warnings  # noqa: F401, a fixture


@pytest.fixture(autouse=True)
def few_are_kept(monkeypatch):
    "Tables of more than 2000 rows are not kept whole; without this, it takes 40,000."
    for module in (stream, tall):
        monkeypatch.setattr(module, "_most", lambda d: 2000)


def line_rows(n=30_000, p=4, seed=0, offset=0.0, scale=1.0):
    "Columns that depend a little on each other, and y whose noise grows along the first."
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, p)) @ (np.eye(p) + .4 * rng.standard_normal((p, p)))
    return Z * scale + offset, 3 + Z @ rng.standard_normal(p) + (1 + .3 * abs(Z[:, 0])) * rng.standard_normal(n)


def class_rows(n=30_000, p=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + .3 * rng.standard_normal((p, p))) + 1
    eta = X @ rng.standard_normal((p, classes)) * .5
    return X, (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)


def cut(*parts, pieces=7):
    "A function over uneven blocks of these arrays, one of them empty."
    n = len(parts[0])
    edges = [0, 0, *np.sort(np.random.default_rng(1).integers(1, n, pieces - 1)).tolist(), n]
    return lambda: (tuple(part[a:b] for part in parts) for a, b in zip(edges, edges[1:]))


def weights(n, kind):
    rng = np.random.default_rng(5)
    return {"frequency": rng.integers(0, 4, n).astype(float), "precision": rng.gamma(2, size=n) * (rng.random(n) < .9)}[kind]


def same_fit(far, near, rtol=1e-10):
    "Whether two fits say the same."
    assert far.parameter_names_ == near.parameter_names_
    for name in ("estimates_", "standard_errors_", "coef_", "statistics_"):
        equal(getattr(far, name), getattr(near, name), rtol=rtol)
    size = np.outer(near.standard_errors_, near.standard_errors_)
    equal(far.covariance_ / size, near.covariance_ / size, rtol=0, atol=10 * rtol)
    for name in ("log_likelihood_", "null_log_likelihood_", "n_observations_", "dof_", "n_parameters_"):
        np.testing.assert_allclose(getattr(far, name), getattr(near, name), rtol=rtol)
    equal(far.confint(), near.confint(), rtol=1e3 * rtol)
    assert [line.split(":")[0] for line in str(far.summary()).splitlines()[-5:]] == [line.split(":")[0] for line in str(near.summary()).splitlines()[-5:]]
    np.testing.assert_allclose(far.likelihood_ratio_test().statistic, near.likelihood_ratio_test().statistic, rtol=1e3 * rtol)


def test_every_public_name_is_tested_here():
    assert set(tall.__all__) == {"with_target"}


# ---- lines ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("covariance", ["model", "HC0", "HC1", "HC2", "HC3"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", [None, "frequency", "precision"])
def test_a_line_from_blocks_is_that_from_memory(covariance, intercept, kind):
    X, y = line_rows(offset=2.0)
    given = () if kind is None else (weights(len(X), kind),)
    model = LinearRegression(covariance=covariance, fit_intercept=intercept, weights=kind or "frequency")
    far, near = clone(model).fit(cut(X, y, *given)), clone(model).fit(X, y, *given)
    same_fit(far, near)
    for name in ("r_squared_", "adjusted_r_squared_", "residual_variance_", "intercept_"):
        np.testing.assert_allclose(getattr(far, name), getattr(near, name), rtol=1e-10)
    assert not hasattr(far, "residuals_")
    if covariance == "model":
        equal(far.confint(method="profile"), near.confint(method="profile"), rtol=1e-9)
    equal(far.predict(X[:9]), near.predict(X[:9]))


@pytest.mark.parametrize("model", [LinearRegression(), LinearRegression(covariance="HC3"), LogisticRegression(), LogisticRegression(covariance="HC1")])
def test_few_rows_give_the_digits_of_memory(model):
    X, y = class_rows(1500) if isinstance(model, LogisticRegression) else line_rows(1500)
    for given in ((), (weights(1500, "frequency"),)):
        far, near = clone(model).fit(cut(X, y, *given)), clone(model).fit(X, y, *given)
        for name in ("estimates_", "covariance_"):
            np.testing.assert_array_equal(getattr(far, name), getattr(near, name), strict=True)
        assert far.log_likelihood_ == near.log_likelihood_ and far._data_id == near._data_id
        if isinstance(model, LinearRegression):
            np.testing.assert_array_equal(far.residuals_, near.residuals_, strict=True)


@pytest.mark.parametrize("size", [700, 4096, 29_999, 30_000])
def test_it_does_not_matter_how_the_rows_are_cut(size):
    X, y = line_rows(offset=100.0)
    blocks = lambda: ((X[a:a + size], y[a:a + size]) for a in range(0, len(X), size))
    same_fit(LinearRegression(covariance="HC2").fit(blocks), LinearRegression(covariance="HC2").fit(X, y))
    C, k = class_rows()
    classes = lambda: ((C[a:a + size], k[a:a + size]) for a in range(0, len(C), size))
    same_fit(LogisticRegression().fit(classes), LogisticRegression().fit(C, k), rtol=1e-8)


@pytest.mark.parametrize("offset,scale,rtol", [(1e8, 1.0, 1e-7), (0.0, 1e-140, 1e-9), (0.0, 1e150, 1e-9), (1e12, 1e6, 1e-7), (-3e5, 1e-3, 1e-6)])
def test_offsets_and_scales(offset, scale, rtol):
    X, y = line_rows(offset=offset, scale=scale)
    exact = least_squares(X, y, careful=True)
    far = LinearRegression().fit(cut(X, y))
    equal(far.coef_, exact.coefficients, rtol=rtol)
    np.testing.assert_allclose(far.residual_variance_, exact.rss / exact.dof, rtol=1e-9)
    if scale >= 1:
        equal(LinearRegression().fit(cut(X, y * 1e140)).coef_, exact.coefficients * 1e140, rtol=rtol)


def test_columns_that_nearly_depend_on_each_other_are_taken_by_triangles(monkeypatch):
    X, y = line_rows(p=3)
    called, triangle = [], tall._triangle
    monkeypatch.setattr(tall, "_triangle", lambda *args: called.append(1) or triangle(*args))
    for gap, rtol in ((1e-1, 1e-11), (1e-6, 1e-8), (1e-10, 1e-4)):
        near = np.column_stack([X, X[:, 0] + gap * np.random.default_rng(2).standard_normal(len(X))])
        for intercept in (True, False):
            exact = least_squares(near, y, intercept=intercept, careful=True)
            far = LinearRegression(fit_intercept=intercept).fit(cut(near, y))
            equal(far.coef_, exact.coefficients, rtol=rtol)
            np.testing.assert_allclose(far.residual_variance_, exact.rss / exact.dof, rtol=max(rtol / 100, 1e-9))
            np.testing.assert_allclose(1 - far.r_squared_, exact.rss / exact.tss, rtol=max(rtol / 100, 1e-9))
            equal(far.standard_errors_[-4:], np.sqrt(exact.rss / exact.dof * exact.inverse_gram.diagonal()[-4:]), rtol=max(rtol, 1e-9))
        assert bool(called) == (gap < 1e-3)
    w = weights(len(X), "precision") * np.where(X[:, 1] > 0, 9, 1)
    for gap, rtol in ((1e-6, 1e-7), (1e-10, 1e-3)):
        near = np.column_stack([X, X[:, 0] + gap * np.random.default_rng(2).standard_normal(len(X))])
        exact = least_squares(near, y, w, careful=True)
        equal(LinearRegression(weights="precision").fit(cut(near, y, w)).coef_, exact.coefficients, rtol=rtol)


@pytest.mark.parametrize("spoil,words", [
    (lambda X: np.column_stack([X, X[:, 0] - 2 * X[:, 1]]), "x4 = .*x0 .*x1"), (lambda X: np.column_stack([X, np.full(len(X), 3.0)]), "x4 is constant, and so is the intercept.*fit_intercept=False"),
    (lambda X: np.column_stack([X + 1e8, X[:, 0] + 7]), "depend on each other")])
def test_dependent_columns_are_named(spoil, words):
    X, y = line_rows()
    with pytest.raises(ValueError, match=words):
        LinearRegression().fit(cut(np.round(spoil(np.round(X * 64)) ), y))


def test_a_constant_column_without_an_intercept_is_the_intercept():
    X, y = line_rows()
    one = np.column_stack([np.ones(len(X)), X])
    same = LinearRegression(fit_intercept=False).fit(cut(one, y)), LinearRegression().fit(cut(X, y))
    equal(same[0].estimates_, same[1].estimates_, rtol=1e-9)
    equal(same[0].standard_errors_, same[1].standard_errors_, rtol=1e-9)


def test_perfect_fits_say_so():
    X, _ = line_rows()
    with pytest.warns(UserWarning, match="perfect but for rounding"):
        LinearRegression().fit(cut(X, X @ [1.0, 2, 3, 4] + 5))


def test_a_weight_is_so_many_rows_and_none_is_no_row():
    X, y = line_rows(12_000)
    C, k = class_rows(12_000)
    w = weights(12_000, "frequency")
    again = np.repeat(np.arange(12_000), w.astype(int))
    same_fit(LinearRegression(covariance="HC1").fit(cut(X, y, w)), LinearRegression(covariance="HC1").fit(X[again], y[again]))
    same_fit(LogisticRegression(covariance="HC0").fit(cut(C, k, w)), LogisticRegression(covariance="HC0").fit(C[again], k[again]), rtol=1e-7)


# ---- classes -------------------------------------------------------------------------------------

@pytest.mark.parametrize("settings", [{}, {"covariance": "HC0"}, {"covariance": "HC1"}, {"fit_intercept": False}, {"fit_intercept": False, "covariance": "HC0"}, {"reference": 1}])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_log_odds_from_blocks_are_those_from_memory(settings, classes, weighted):
    X, y = class_rows(classes=classes)
    given = (weights(len(X), "frequency"),) if weighted else ()
    far, near = LogisticRegression(**settings).fit(cut(X, y, *given)), LogisticRegression(**settings).fit(X, y, *given)
    same_fit(far, near, rtol=1e-8)
    np.testing.assert_array_equal(far.classes_, near.classes_, strict=True)
    np.testing.assert_allclose(far.pseudo_r_squared_, near.pseudo_r_squared_, rtol=1e-9)
    equal(far.predict_proba(X[:9]), near.predict_proba(X[:9]), rtol=1e-8)


@pytest.mark.parametrize("offset,scale", [(1e8, 1.0), (1e5, 1e-4), (0, 1e-120)])
def test_log_odds_far_from_zero(offset, scale):
    X, y = class_rows()
    near, far = LogisticRegression().fit(X, y), LogisticRegression().fit(cut(X * scale + offset, y))
    equal(far.coef_ * scale, near.coef_, rtol=1e-5 if offset else 1e-8)
    equal(far.standard_errors_[1:] * scale, near.standard_errors_[1:], rtol=1e-5 if offset else 1e-8)


@pytest.mark.parametrize("labels", [["no", "yes, perhaps"], [7, -2], [2.0, 3.0], [True, False]])
def test_any_labels(labels):
    X, y = class_rows()
    named = np.array(labels)[y]
    far, near = LogisticRegression().fit(cut(X, named)), LogisticRegression().fit(X, named)
    same_fit(far, near, rtol=1e-8)
    np.testing.assert_array_equal(far.predict(X[:99]), near.predict(X[:99]), strict=True)


def test_a_class_that_comes_late_and_seldom():
    X, y = class_rows(40_000)
    y[-5:] = 2
    far, near = LogisticRegression().fit(cut(X, y)), LogisticRegression().fit(X, y)
    same_fit(far, near, rtol=1e-7)
    assert far._data_id == near._data_id
    sorted_rows = np.argsort(y, kind="stable")                               # a class a block
    same_fit(LogisticRegression().fit(cut(X[sorted_rows], y[sorted_rows])), near, rtol=1e-7)


def test_columns_that_nearly_depend_on_each_other():
    X, y = class_rows()
    near = np.column_stack([X, X[:, 0] + 1e-6 * np.random.default_rng(0).standard_normal(len(X))])
    far, here = LogisticRegression().fit(cut(near, y)), LogisticRegression().fit(near, y)
    equal(far.coef_, here.coef_, rtol=1e-5)
    equal(far.standard_errors_, here.standard_errors_, rtol=1e-5)
    with pytest.raises(ValueError, match="independent columns of"):
        LogisticRegression().fit(cut(np.column_stack([X, X[:, 0]]), y))


def test_profile_intervals_read_the_rows_again():
    X, y = class_rows(15_000)
    asked = []
    blocks = cut(X, y)
    fit = LogisticRegression().fit(lambda: asked.append(1) or blocks())
    before = len(asked)
    equal(fit.confint(method="profile"), LogisticRegression().fit(X, y).confint(method="profile"), rtol=1e-6)
    assert len(asked) > before
    with pytest.raises(ValueError, match="a pickle or copy does not hold them"):
        pickle.loads(pickle.dumps(LogisticRegression().fit(X, y))).confint(method="profile")


@pytest.mark.parametrize("classes", [2, 3])
def test_separation_is_found_from_blocks(classes):
    X, _ = class_rows(20_000)
    y = np.digitize(X[:, 0] + X[:, 1], [1.0, 3.0][:classes - 1])
    with pytest.raises(SeparationError, match=f"20000 rows gain, none loses|of 20000 rows") as far:
        LogisticRegression().fit(cut(X, y))
    with pytest.raises(SeparationError) as near:
        LogisticRegression().fit(X, y)
    for direction in (far.value.direction, near.value.direction):
        assert direction.shape == (classes - 1, 4)
    margins = np.column_stack([np.zeros(len(X)), np.column_stack([np.ones(len(X)), X]) @ far.value.direction.T])
    own = margins[np.arange(len(X)), y]
    assert (own[:, None] - margins > -1e-7).all()


def test_one_row_of_many_ends_a_separation():
    X, _ = class_rows(40_000)
    y = (X[:, 0] > 1).astype(int)
    k = np.argmin(abs(X[:, 0] - 1))                                            # the nearest to the border changes sides, so that no sample sees it
    y[k] = 1 - y[k]
    X[k, 0] = 1 + (.5 if y[k] == 0 else -.5)
    far, near = LogisticRegression().fit(cut(X, y)), LogisticRegression().fit(X, y)
    equal(far.coef_, near.coef_, rtol=1e-5)


def test_rows_of_weight_0_hide_no_separation():
    X, _ = class_rows(20_000)
    y, w = (X[:, 0] > 1).astype(int), np.ones(len(X))
    y[::100], w[::100] = 1 - y[::100], 0
    for given in ((cut(X, y, w),), (X, y, w)):
        with pytest.raises(SeparationError):
            LogisticRegression().fit(*given)


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothing(classes):
    X, _ = class_rows(20_000)
    y = np.digitize(X[:, 0], [1.0, 2.0][:classes - 1])
    w = weights(len(X), "frequency")
    fits = []
    for given in ((cut(X, y, w),), (X, y, w)):
        with pytest.warns(UserWarning, match="the classes are separated"):
            fits.append(LogisticRegression(on_separation="smooth").fit(*given))
    equal(fits[0].coef_, fits[1].coef_, rtol=1e-6)
    np.testing.assert_allclose(fits[0].log_likelihood_, fits[1].log_likelihood_, rtol=1e-6)


# ---- what fit takes ------------------------------------------------------------------------------

def test_files(tmp_path):
    X, y = line_rows()
    C, k = class_rows()
    w = weights(len(X), "frequency")
    for name, array in (("X", X), ("y", y), ("C", C), ("w", w), ("all", np.column_stack([X, y]))):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("X", "y", "C", "w", "all")}
    near, near_w = LinearRegression().fit(X, y), LinearRegression().fit(X, y, w)
    same_fit(LinearRegression().fit(mapped["X"], mapped["y"]), near)
    same_fit(LinearRegression().fit(mapped["X"], y.tolist()), near)
    same_fit(LinearRegression().fit(mapped["X"], pd.Series(y), mapped["w"]), near_w)
    same_fit(LinearRegression().fit(mapped["all"][:, :-1], mapped["all"][:, -1]), near)
    same_fit(LinearRegression().fit(with_target(npy_blocks(tmp_path / "all.npy", 5000))), near)
    same_fit(LogisticRegression().fit(mapped["C"], k, w.tolist()), LogisticRegression().fit(C, k, w), rtol=1e-8)
    same_fit(make_pipeline(StandardScaler(), LinearRegression()).fit(mapped["X"], y)[-1], LinearRegression().fit(StandardScaler().fit_transform(X), y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LinearRegression().fit(mapped["X"], y[1:])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LinearRegression().fit(mapped["X"], y, w[1:])
    with pytest.raises(ValueError, match="requires y to be passed"):
        LinearRegression().fit(mapped["X"])
    with pytest.raises(ValueError, match="Reshape your data"):
        LinearRegression().fit(mapped["y"], y)


@pytest.mark.parametrize("make", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("kind", [np.float32, int, "frame", "list"])
def test_kinds_of_blocks(make, kind):
    X, y = line_rows(12_000) if make is LinearRegression else class_rows(12_000)
    X = (10 * X).round()
    if kind == "frame":
        names = [f"column {j}" for j in range(X.shape[1])]
        frame, series = pd.DataFrame(X, columns=names), pd.Series(y)
        far, near = make().fit(cut(frame, series)), make().fit(frame, series)
        assert far.parameter_names_ == ["intercept", *names]
        np.testing.assert_array_equal(far.feature_names_in_, near.feature_names_in_)
        np.testing.assert_allclose(far.predict(frame[:5]), near.predict(frame[:5]), rtol=1e-9)
    elif kind == "list":
        far, near = make().fit(lambda: ((A.tolist(), b.tolist()) for A, b in cut(X, y)())), make().fit(X, y)
    else:
        far, near = make().fit(cut(X.astype(kind), y)), make().fit(X.astype(kind), y)
    equal(far.estimates_, near.estimates_, rtol=1e-6 if kind is np.float32 else 1e-8)
    assert far.n_features_in_ == X.shape[1]


def test_target_among_the_columns():
    X, y = line_rows(12_000)
    table = np.column_stack([X[:, :2], y, X[:, 2:]])
    rows = lambda: (table[a:a + 5000] for a in range(0, 12_000, 5000))
    names = ["a", "b", "goal", "c", "d"]
    frames = lambda: (pd.DataFrame(block, columns=names) for block in rows())
    for blocks in (with_target(rows, 2), with_target(rows, -3)):
        same_fit(LinearRegression().fit(blocks), LinearRegression().fit(X, y))
    same_fit(LinearRegression().fit(with_target(frames, "goal")), LinearRegression().fit(pd.DataFrame(X, columns=list("abcd")), y))
    for blocks, words in ((with_target(rows, 5), "a number from 0 to 4"), (with_target(frames, "gaol"), "'gaol': give a name among a, b, goal"), (with_target(rows, "b"), "a number from")):
        with pytest.raises(ValueError, match=words):
            next(blocks())


@pytest.mark.parametrize("make", [LinearRegression, LogisticRegression])
def test_memory_does_not_grow(make, tmp_path):
    X, y = line_rows(200_000) if make is LinearRegression else class_rows(200_000)
    peaks = []
    for n in (50_000, 200_000):
        np.save(tmp_path / "rows.npy", np.column_stack([X, y])[:n])
        blocks = with_target(npy_blocks(tmp_path / "rows.npy", 10_000))
        make().fit(blocks)
        tracemalloc.start()
        make().fit(blocks)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_sample_is_fair():
    "Each of twenty blocks has its share in it, whatever its place; and rows count by their weights."
    X, y = np.arange(60_000.0)[:, None], np.zeros(60_000)
    w = np.where(X[:, 0] % 2, 3.0, 1.0)
    blocks = lambda: ((X[a:a + 3000], y[a:a + 3000], w[a:a + 3000]) for a in range(0, 60_000, 3000))
    rows, _, _ = tall._look(tall._Reader(LinearRegression(), blocks), tall._LineCount())
    assert len(rows) == 2000 and (np.diff(rows[:, 0]) > 0).all()
    counts = np.bincount((rows[:, 0] // 3000).astype(int), minlength=20)
    assert abs(counts - 100).max() < 5 * np.sqrt(95) and abs((rows[:, 0] % 2).mean() - .75) < 5 * np.sqrt(.75 * .25 / 2000)


@pytest.mark.parametrize("kind", ["f4", ">f8", ">f4", "i2", "u1", "f2", "?"])
@pytest.mark.parametrize("make", [LinearRegression, LogisticRegression])
def test_blocks_of_any_numbers_are_the_same_in_each_pass(make, kind, tmp_path):
    X, y = line_rows(4000)
    X, y, w = (10 * abs(X)).round().astype(kind), (y > y.mean()).astype(kind), weights(4000, "frequency").astype(kind)
    np.save(tmp_path / "X.npy", X)
    near = make().fit(X, y, w)
    for given in ((cut(X, y, w),), (np.load(tmp_path / "X.npy", mmap_mode="r"), y, w)):
        equal(make().fit(*given).estimates_, near.estimates_, rtol=1e-6)


def test_blocks_may_be_cut_anew_in_each_pass():
    X, y = class_rows(9000)
    sizes = iter([700, 900, 1, 333] * 9)
    def blocks():
        size = max(next(sizes), 50)
        return ((X[a:a + size], y[a:a + size]) for a in range(0, len(X), size))
    same_fit(LogisticRegression().fit(blocks), LogisticRegression().fit(X, y), rtol=1e-8)


def test_blocks_in_which_no_row_counts(tmp_path):
    X, y = line_rows(9000)
    C, k = class_rows(9000)
    w = (np.arange(9000) > 6000).astype(float)
    np.save(tmp_path / "X.npy", X)
    near = LinearRegression().fit(X, y, w)
    same_fit(LinearRegression().fit(cut(X, y, w)), near)
    same_fit(LinearRegression().fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y, w), near)
    same_fit(LinearRegression().fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y, 2.0), LinearRegression().fit(X, y, 2.0))
    same_fit(LogisticRegression().fit(cut(C, k, w)), LogisticRegression().fit(C, k, w), rtol=1e-8)
    for make, A, b in ((LinearRegression, X, y), (LogisticRegression, C, k)):
        with pytest.raises(ValueError, match="weight 0|is 0 for all rows"):
            make().fit(cut(A, b, 0 * w))
    few = np.zeros(9000)
    few[::3000] = 1
    with pytest.raises(ValueError, match="X has 3 rows with weight and 5 coefficients"):
        LinearRegression().fit(cut(X, y, few))


def test_small_blocks_are_joined_and_may_share_their_memory(monkeypatch):
    X, y = class_rows(9000)
    buffers = np.empty((3, 3)), np.empty(3, int)
    def blocks():
        for a in range(0, len(X), 3):
            buffers[0][:], buffers[1][:] = X[a:a + 3], y[a:a + 3]
            yield buffers
    same_fit(LogisticRegression(covariance="HC0").fit(blocks), LogisticRegression(covariance="HC0").fit(X, y), rtol=1e-8)
    same_fit(LinearRegression(covariance="HC3").fit(blocks), LinearRegression(covariance="HC3").fit(X, y))
    read = tall._joined(lambda: iter([(X[:10], y[:10]), (X[:9000], y[:9000]), (X[:8], y[:8])]), 50)
    assert [len(A) for A, _ in read()] == [9010, 8]


def test_a_file_that_was_replaced_is_noticed(tmp_path):
    X, y = line_rows(4000)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.save(tmp_path / "other.npy", 2 * X)
    (tmp_path / "other.npy").replace(tmp_path / "X.npy")
    with pytest.raises(ValueError, match="it was replaced, so map it again"):
        LinearRegression().fit(mapped, y)


def test_many_classes():
    "As many seconds for each row, however many rows came before."
    rng = np.random.default_rng(0)
    count = tall._ClassCount()
    count.rows = 10**12                                                         # counting them anew would not end
    count.add(None, np.array([3, 5]), np.ones(2))
    y = rng.integers(40, size=12_000)
    X = rng.standard_normal((12_000, 2)) + y[:, None] / 20
    equal(LogisticRegression().fit(cut(X, y)).coef_, LogisticRegression().fit(X, y).coef_, rtol=1e-6)


@pytest.mark.parametrize("labels", [np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), np.array(["a", "b"], object), np.array([3, 4], np.int8), np.array([3, 4], np.float32)])
def test_classes_keep_their_type(labels):
    X, y = class_rows(4000)
    far, near = LogisticRegression().fit(cut(X, labels[y])), LogisticRegression().fit(X, labels[y])
    np.testing.assert_array_equal(far.classes_, near.classes_, strict=True)
    equal(far.coef_, near.coef_, rtol=1e-8)


def test_labels_of_two_types_are_refused():
    X, y = class_rows(4000)
    for kind in (str, object):
        with pytest.raises(ValueError, match="block 1 of X .*y holds .* in one block and .* in this: give labels of one type"):
            LogisticRegression().fit(lambda: iter([(X, y), (X, y.astype(str).astype(kind))]))


# ---- tests between fits, and what is kept ----------------------------------------------------------

@pytest.mark.parametrize("make,rows", [(LinearRegression, line_rows), (LogisticRegression, class_rows)])
def test_fits_are_compared_only_on_the_same_rows(make, rows):
    X, y = rows()
    w = weights(len(X), "frequency")
    for given in ((), (w,)):
        far, near = make().fit(cut(X, y, *given)), make().fit(X, y, *given)
        small_far, small_near = make().fit(cut(X[:, 1:], y, *given)), make().fit(X[:, 1:], y, *given)
        for one, other in ((far, small_far), (far, small_near), (near, small_far)):
            np.testing.assert_allclose(one.likelihood_ratio_test(other).statistic, near.likelihood_ratio_test(small_near).statistic, rtol=1e-6)
        for other in (make().fit(cut(X[:, 1:], y[::-1], *given)), make().fit(cut(X[1:, 1:], y[1:], *(g[1:] for g in given))), make().fit(cut(X[:, 1:], y, w + 1))):
            with pytest.raises(ValueError, match="other rows, another y or other weights"):
                far.likelihood_ratio_test(other)


@pytest.mark.parametrize("make,rows", [(LinearRegression, line_rows), (LogisticRegression, class_rows)])
def test_fits_are_kept(make, rows, tmp_path):
    X, y = rows()
    fit = make().fit(cut(X, y))
    save(fit, tmp_path / "fit.npz")
    for again in (load(tmp_path / "fit.npz"), pickle.loads(pickle.dumps(fit))):
        np.testing.assert_array_equal(again.estimates_, fit.estimates_, strict=True)
        assert str(again.summary()) == str(fit.summary())
        again.likelihood_ratio_test(make().fit(X[:, 1:], y))


def test_nothing_of_an_earlier_fit_stays():
    X, y = line_rows(12_000)
    fit = LinearRegression().fit(pd.DataFrame(X, columns=list("abcd")), y)
    fit.fit(cut(X[:, :3], y))
    assert not hasattr(fit, "residuals_") and not hasattr(fit, "feature_names_in_") and fit.n_features_in_ == 3
    assert fit.fit(X, y).residuals_.shape == y.shape


# ---- refusals ------------------------------------------------------------------------------------

GOOD = line_rows(20)


@pytest.mark.parametrize("block,words", [
    ((np.where(np.eye(20, 4) > 0, np.nan, GOOD[0]), GOOD[1]), "block 1 of X .*NaN"), ((GOOD[0], np.full(20, np.inf)), "block 1 of X .*infinity"),
    ((GOOD[0], GOOD[1][1:]), "block 1 of X .*inconsistent"), ((GOOD[0], GOOD[1], GOOD[1]), "block 1 of X .*[Nn]egative"), ((GOOD[0], GOOD[1], np.ones(3)), "block 1 of X .*sample_weight"),
    (GOOD[0], r"block 1 of X .*tuple \(rows, y\).*not a ndarray; with_target"), ((GOOD[0],), "not a tuple of 1"), ((GOOD[0][:, 0], GOOD[1]), "block 1 of X .*2D"),
    ((GOOD[0][:, :3], GOOD[1]), "block 1 of X .*4 features"), ((np.full((20, 4), "a"), GOOD[1]), "block 1 of X .*convert")])
def test_a_bad_block_is_named(block, words):
    A, b = line_rows(12_000)
    with pytest.raises(ValueError, match=words):
        LinearRegression().fit(lambda: iter([(A, b), block, (A, b)]))


@pytest.mark.parametrize("make", [LinearRegression, LogisticRegression])
def test_arguments_that_cannot_be_used(make):
    X, y = class_rows(20_000)
    with pytest.raises(TypeError, match="X is an iterator, which can be run through only once"):
        make().fit(cut(X, y)())
    for more in ((y,), (None, np.ones(20_000))):
        with pytest.raises(ValueError, match="in place of further arguments"):
            make().fit(cut(X, y), *more)
    with pytest.raises(TypeError, match="returned one array"):
        make().fit(lambda: X)
    with pytest.raises(ValueError, match="no rows in its blocks"):
        make().fit(lambda: iter([]))
    once = iter(list(cut(X, y)()))
    with pytest.raises(ValueError, match=r"other rows in a later pass \(0 of them\) than in the first \(20000\)"):
        make().fit(lambda: once)
    with pytest.raises(ValueError, match="no rows in its blocks"):
        make().fit(lambda: iter([(X[:0], y[:0])]))
    passes = iter([20_000, *[19_990] * 99])
    with pytest.raises(ValueError, match=r"other rows in a later pass \(19990 of them\)"):
        make().fit(lambda: (lambda n: iter([(X[:n], y[:n])]))(next(passes)))


def test_rows_that_change_between_passes():
    X, y = class_rows(20_000)
    passes = iter([0, *[5] * 99])
    with pytest.raises(ValueError, match="holds class 5 in a later pass and not in the first"):
        LogisticRegression().fit(lambda: iter([(X, np.maximum(y, next(passes) * y))]))
    passes = iter([1.0, *[np.nan] * 99])
    with pytest.raises(ValueError, match="other rows in a later pass"):
        LinearRegression().fit(lambda: iter([(X * next(passes), y * 1.0)]))
    rng = np.random.default_rng(0)
    for make, draw in ((LinearRegression, lambda: (rng.standard_normal((5000, 2)), np.zeros(5000))), (LinearRegression, lambda: (X, rng.standard_normal(20_000))),
                       (LinearRegression, lambda: (X, y, rng.gamma(2, size=20_000))), (LogisticRegression, lambda: (rng.standard_normal((20_000, 3)), y)),
                       (LogisticRegression, lambda: (X, rng.integers(2, size=20_000))), (LogisticRegression, lambda: (X, np.array(["a", "b"], dtype=object)[rng.integers(2, size=20_000)]))):
        with pytest.raises(ValueError, match="other rows in a later pass.*seed what draws them"):
            make().fit(lambda: iter([draw()]))


@pytest.mark.parametrize("y,words", [(lambda y: np.zeros_like(y), "holds class 0 and no other class"), (lambda y: y + .5 * (np.arange(len(y)) % 3), "Unknown label type: continuous")])
def test_classes_that_cannot_be_fitted(y, words):
    X, k = class_rows(20_000)
    with pytest.raises(ValueError, match=words):
        LogisticRegression().fit(cut(X, y(k)))
    with pytest.raises(ValueError, match="holds class 1 only in rows of weight 0"):
        LogisticRegression().fit(cut(X, k, (k == 0).astype(float)))
    with pytest.raises(ValueError, match="reference=9 is not among the classes"):
        LogisticRegression(reference=9).fit(cut(X, k))


def test_a_fit_that_fails_leaves_the_one_before():
    X, y = line_rows(4000)
    C, k = class_rows(4000)
    line, odds = LinearRegression().fit(pd.DataFrame(X, columns=list("abcd")), y), LogisticRegression().fit(C, k)
    before = line.residuals_
    with pytest.raises(ValueError):
        line.fit(cut(X[:, :3], y, 0 * y))
    assert list(line.feature_names_in_) == list("abcd") and line.n_features_in_ == 4
    with pytest.raises(ValueError):
        line.fit(X, np.nan * y)
    assert line.residuals_ is before
    with pytest.raises(ValueError, match="and no other class"):
        odds.fit(cut(C[:, :2], 0 * k))
    assert odds.n_features_in_ == 3 and odds.predict(C[:5]).shape == (5,)
    other = (C[:, 0] > 1).astype(int)
    for given in ((C, other), (cut(C, other),)):
        with pytest.raises(SeparationError):
            odds.fit(*given)
        with pytest.raises(ValueError, match="other rows"):
            odds.likelihood_ratio_test(LogisticRegression().fit(C[:, 1:], other))


def test_errors_of_the_function_are_its_own():
    class Mine(ValueError):
        pass
    X, y = class_rows(4000)
    passes = iter([False, True])
    def blocks():
        yield X, y
        if next(passes):
            raise Mine("disk gone")
    with pytest.raises(Mine, match="disk gone"):
        LogisticRegression().fit(blocks)
    class Odd:
        shape, ndim, dtype = (3, 3), 2, np.dtype(float)
        def __array__(self, *args, **kwargs):
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")
        def __len__(self):
            return 3
    with pytest.raises(ValueError, match="block 1 of X"):
        LinearRegression().fit(lambda: iter([(X, y), (Odd(), y[:3])]))


def test_huge_columns_and_their_constant():
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((6000, 2)) + 10) * 1e145
    y = X @ [1e-145, 2e-145] + rng.standard_normal(6000)
    equal(LinearRegression().fit(cut(X, y)).standard_errors_, LinearRegression().fit(X, y).standard_errors_, rtol=1e-8)
    with pytest.raises(ValueError, match="overflows in the units"):
        LinearRegression().fit(cut(X, y, np.full(6000, 1e308)))


def test_many_small_blocks_warn_of_nothing():
    X, _ = class_rows(4000)
    y = np.arange(4000) % 15
    LogisticRegression(max_iter=100).fit(lambda: ((X[a:a + 25], y[a:a + 25]) for a in range(0, 4000, 25)))


@pytest.mark.parametrize("blocks,column,words", [
    (lambda: iter([GOOD]), -1, "tables, arrays"), (lambda: iter([GOOD[1]]), -1, "not a ndarray\\(20,\\)"), (lambda: iter([GOOD[0].tolist()]), -1, "not a list"),
    (iter([GOOD[0]]), -1, "blocks is a list_iterator"), (lambda: iter([GOOD[0]]), 1.0, "column is 1.0"), (lambda: iter([GOOD[0]]), True, "column is True"), (lambda: iter([GOOD[0]]), [1], "column is")])
def test_targets_that_cannot_be_taken(blocks, column, words):
    with pytest.raises((TypeError, ValueError), match=words):
        next(with_target(blocks, column)())


def test_leverage_one_is_refused_by_hc3():
    X, y = line_rows(20_000)
    alone = np.column_stack([X, np.arange(20_000) == 12_345])
    with pytest.raises(ValueError, match="row 12345 has leverage 1"):
        LinearRegression(covariance="HC3").fit(cut(alone, y))
    same_fit(LinearRegression(covariance="HC1").fit(cut(alone, y)), LinearRegression(covariance="HC1").fit(alone, y), rtol=1e-9)
