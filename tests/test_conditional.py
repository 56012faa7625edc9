"""Marginals, conditionals, regression and imputation by a fitted mixture, and Rubin's rules: against quadrature, scipy, least squares, simulation."""
import inspect
import itertools
import warnings

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import kstest, multivariate_normal, norm, t
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from strict import equal, no_warnings  # noqa: F401, a fixture
from emlit import conditional, load, save
from emlit.conditional import GaussianMixtureImputer, Pooled, pool
from emlit.data import load_faithful
from emlit.gaussian import GaussianMixture
from emlit.gmm import full_covariances

KINDS = ["full", "tied", "diag", "spherical"]
X = load_faithful().X


def mixture(kind, d=3, k=3, seed=0, offset=0.0, scale=1.0):
    "A mixture with known parameters; `scale` may differ from column to column."
    rng, s = np.random.default_rng(seed), np.broadcast_to(scale, d).astype(float)
    A = rng.normal(size=(k, d, d)) + 1.5 * np.eye(d)
    C = A @ A.mT
    C = {"full": C * np.outer(s, s), "tied": C[0] * np.outer(s, s), "diag": C.diagonal(axis1=1, axis2=2) * s**2, "spherical": C[:, 0, 0] * s[0]**2}[kind]
    fitted = GaussianMixture(k, covariance_type=kind, random_state=seed)
    fitted._set((np.arange(1, k + 1) / (k * (k + 1) / 2), offset + s * 2 * rng.normal(size=(k, d)), C))
    fitted.n_features_in_ = d
    return fitted


def matrices(m):
    return full_covariances(m.covariances_, m.covariance_type, *m.means_.shape)


def by_the_book(m, row):
    "Votes, conditional means and covariances by (34.4), from scipy's densities and a solver."
    o, u = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
    votes, means, covariances = [], [], []
    for w, mean, C in zip(m.weights_, m.means_, matrices(m)):
        slopes = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, u)]).T if len(o) else np.empty((len(u), 0))
        votes.append(np.log(w) + (multivariate_normal.logpdf(row[o], mean[o], C[np.ix_(o, o)]) if len(o) else 0))
        means.append(mean[u] + slopes @ (row[o] - mean[o]))
        covariances.append(C[np.ix_(u, u)] - slopes @ C[np.ix_(o, u)])
    return softmax(votes), np.array(means), np.array(covariances)


def overall(votes, means, covariances):
    "Mean and covariance of a mixture."
    mean = votes @ means
    return mean, np.einsum("k,kij->ij", votes, covariances) + np.einsum("k,ki,kj->ij", votes, means - mean, means - mean)


def rows_with_holes(d=3, n=40, seed=1):
    "Every pattern of holes, several times, in no order."
    rng = np.random.default_rng(seed)
    holes = np.array(list(itertools.product([False, True], repeat=d)))
    holes = rng.permutation(np.tile(holes, (n // len(holes) + 1, 1)))
    rows = 2 * rng.normal(size=holes.shape)
    return np.where(holes, np.nan, rows)


# ---- marginal and condition ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_conditional_by_the_book(kind):
    "Votes, means and covariances agree with the textbook formula for every pattern."
    m = mixture(kind)
    for row in rows_with_holes():
        if not np.isnan(row).any():
            continue
        given, (votes, means, C) = m.condition(row), by_the_book(m, row)
        equal(given.weights_, votes)
        equal(given.means_, means)
        equal(matrices(given), C, atol=1e-12)
        assert given.covariance_type == kind and given.n_features_in_ == np.isnan(row).sum()


@pytest.mark.parametrize("kind", KINDS)
def test_product_rule(kind):
    "p(x_u | x_o) p(x_o) = p(x) at random points, for every pattern."
    m, rng = mixture(kind, d=4), np.random.default_rng(2)
    for holes in itertools.product([False, True], repeat=4):
        holes = np.array(holes)
        if holes.any() and not holes.all():
            x = 2 * rng.normal(size=4)
            given = m.condition(np.where(holes, np.nan, x)).score_samples(x[None, holes])
            equal(given + m.marginal(~holes).score_samples(x[None, ~holes]), m.score_samples(x[None]))


def test_conditional_by_quadrature():
    "Density, mean and covariance of two columns given a third are ratios of integrals."
    m = mixture("full")
    given = m.condition([np.nan, .5, np.nan])
    (mean, C), step = overall(given.weights_, given.means_, given.covariances_), .05
    a, b = np.meshgrid(np.arange(-25, 25, step), np.arange(-25, 25, step), indexing="ij")  # plain sums: exact for smooth densities that end
    p = step**2 * np.exp(m.score_samples(np.stack([a, np.full_like(a, .5), b], axis=-1).reshape(-1, 3))).reshape(a.shape)
    equal(p.sum(), np.exp(m.marginal(1).score_samples([[.5]])[0]), rtol=1e-8)
    p /= p.sum()
    equal([(p * a).sum(), (p * b).sum()], mean, rtol=1e-7, atol=1e-8)
    equal([[(p * a * a).sum(), (p * a * b).sum()], [(p * a * b).sum(), (p * b * b).sum()]] - np.outer(mean, mean), C, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_marginal_by_quadrature(kind):
    "Left out is integrated out."
    m = mixture(kind, d=2)
    for x in (-1.0, 2.0):
        by_hand = quad(lambda y: np.exp(m.score_samples([[y, x]])[0]), -80, 80, points=sorted(m.means_[:, 0]), epsabs=0, epsrel=1e-10, limit=200)[0]
        equal(np.exp(m.marginal(1).score_samples([[x]])[0]), by_hand, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_marginal_of_columns(kind):
    "By position, from the end, by mask; in the order given; of all columns it is the mixture itself."
    m, x = mixture(kind, d=4), np.random.default_rng(0).normal(size=(5, 4))
    C = matrices(m)
    turned = m.marginal([2, 0])
    equal(turned.means_, m.means_[:, [2, 0]])
    equal(matrices(turned), C[:, [[2], [0]], [2, 0]])
    equal(m.marginal([-2, 0]).means_, turned.means_)
    equal(m.marginal([False, True, False, True]).means_, m.means_[:, [1, 3]])
    equal(m.marginal(range(4)).score_samples(x), m.score_samples(x))
    equal(m.marginal([3, 1, 0, 2]).score_samples(x[:, [3, 1, 0, 2]]), m.score_samples(x))
    turned.means_[:], turned.covariances_[...], turned.weights_[:] = 0, 0, 0               # a copy, not a view
    assert m.means_.any() and m.weights_.all() and (C.diagonal(axis1=1, axis2=2) > 0).all()


def test_two_steps_and_dicts():
    "Conditioning in two steps, in either order, is conditioning at once; a dict is a row."
    m = mixture("full", d=4)
    once = m.condition([1.0, np.nan, -.5, np.nan])
    for other in (m.condition({0: 1.0}).condition({1: -.5}), m.condition({2: -.5}).condition({0: 1.0}), m.condition({2: -.5, 0: 1.0}), m.condition({-4: 1, -2: -.5})):
        for name in ("weights_", "means_", "covariances_"):
            equal(getattr(other, name), getattr(once, name), rtol=1e-9)
    everything = m.condition([np.nan] * 4)
    equal(everything.covariances_, m.covariances_)
    equal(m.condition({}).means_, m.means_)


def test_results_are_fitted_mixtures(tmp_path):
    "They score, predict, sample, pass to scikit-learn and into a file."
    given = mixture("full").condition({0: 1.0})
    rows, labels = given.sample(20_000)
    mean, C = overall(given.weights_, given.means_, given.covariances_)
    assert (abs(rows.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(C) / len(rows))).all()
    assert set(labels) <= {0, 1, 2} and len(given.history_) == 0
    equal(given.to_sklearn().score_samples(rows[:9]), given.score_samples(rows[:9]))
    equal(given.precisions_ @ given.covariances_, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-10)
    save(given, tmp_path / "given.npz")
    np.testing.assert_array_equal(load(tmp_path / "given.npz").means_, given.means_)
    assert given.fit(rows[:500]).n_features_in_ == 2


def test_far_away_votes_stay_above_zero():
    "A component that is out of the question keeps its place, and the density is right."
    m = GaussianMixture(2)
    m._set((np.array([.5, .5]), np.array([[0.0, 0], [100, 7]]), np.array([np.eye(2)] * 2)))
    given = m.condition({0: 100.0})
    assert (given.weights_ > 0).all() and given.weights_[1] == 1
    equal(given.score_samples([[7.5]]), norm.logpdf([7.5], 7))
    equal(m.condition({0: 1e4}).weights_.sum(), 1)                     # no density anywhere near


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [1e160, -1e200, 1e308])
def test_no_density_left(kind, value):
    "Where the logarithm of every density overflows there is nothing to weigh by: an error with words, no NaN and no warning."
    m = mixture(kind)
    row = np.array([value, np.nan, 0])
    for call in (lambda: m.condition(row), lambda: m.impute([[0, 1, 2], [0, np.nan, 1], row]), lambda: m.impute([row], "draw", 0),
                 lambda: m.predict_columns([[value, 0]], 1, return_std=True), lambda: GaussianMixtureImputer().fit(X).transform([[value, np.nan]])):
        with pytest.raises(ValueError, match=r"values up to 1e\+(160|200|308) lies so far from every component"):
            call()
    assert np.isfinite(m.impute([[value / abs(value) * 1e140, np.nan, 0]])).all()           # far, and yet an answer
    np.testing.assert_array_equal(m.impute([[value, 1, 2]]), [[value, 1, 2]])               # no hole, no question


# ---- regression ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [[1], [3, 1], [0, 2, 3]])
def test_predictions(kind, wanted):
    "Means and standard deviations agree with the textbook, with holes in X, several columns in any order."
    m, others = mixture(kind, d=4), np.setdiff1d(range(4), wanted)
    rows = rows_with_holes(len(others), 12)
    mean, std = m.predict_columns(rows, wanted, return_std=True)
    for i, row in enumerate(rows):
        full = np.full(4, np.nan)
        full[others] = row
        middle, C = overall(*by_the_book(m, full))
        at = [np.flatnonzero(np.isnan(full)).tolist().index(j) for j in wanted]
        equal(mean[i], middle[at])
        equal(std[i], np.sqrt(np.diag(C)[at]))
    np.testing.assert_array_equal(m.predict_columns(rows, wanted), mean)


def test_one_component_is_least_squares():
    "The same line, the same error, for several targets as well."
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + 3
    one = GaussianMixture(1, reg_covar=0).fit(rows)
    mean, std = one.predict_columns(rows[:, [0, 2, 3]], [4, 1], return_std=True)
    line = LinearRegression().fit(rows[:, [0, 2, 3]], rows[:, [4, 1]])
    equal(mean, line.predict(rows[:, [0, 2, 3]]), rtol=1e-9)
    equal(std, np.broadcast_to((rows[:, [4, 1]] - mean).std(axis=0), std.shape), rtol=1e-9)


def test_shapes_of_predictions():
    "A column alone gives a vector, a list a table; the variance in between is counted."
    two = GaussianMixture(2, random_state=0).fit(X)
    assert two.predict_columns(X[:, :1], 1).shape == (272,) and two.predict_columns(X[:, :1], [1]).shape == (272, 1)
    _, std = two.predict_columns([[2], [2.95], [4]], 1, return_std=True)
    assert std.shape == (3,) and std[1] > 1.3 * max(std[0], std[2])


# ---- imputation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_means_by_the_book(kind):
    "Holes get conditional means; what was known stays, to the bit; the input is left as it was."
    m, rows = mixture(kind), rows_with_holes()
    before, filled = rows.copy(), m.impute(rows)
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
    for row, full in zip(rows, filled):
        votes, means, _ = by_the_book(m, row)
        equal(full[np.isnan(row)], votes @ means)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [[1.0, np.nan, np.nan], [np.nan, .5, -1.0], [np.nan] * 3])
def test_draws_have_the_conditional_distribution(kind, row):
    "Each coordinate by Kolmogorov and Smirnov, the covariances within five standard errors."
    m, n, row = mixture(kind), 20_000, np.array(row)
    drawn = m.impute(np.tile(row, (n, 1)), "draw", random_state=0)
    np.testing.assert_array_equal(drawn[:, ~np.isnan(row)], np.tile(row[~np.isnan(row)], (n, 1)))
    votes, means, C = by_the_book(m, row)
    mean, total = overall(votes, means, C)
    values = drawn[:, np.isnan(row)]
    for j in range(values.shape[1]):
        cdf = lambda x: norm.cdf(x[:, None], means[:, j], np.sqrt(C[:, j, j])) @ votes
        assert kstest(values[:, j], cdf).pvalue > 1e-6
    products = (values - mean)[:, :, None] * (values - mean)[:, None]
    assert (abs(products.mean(axis=0) - total) < 5 * products.std(axis=0) / np.sqrt(n)).all()


def test_draws_have_the_votes():
    "Where two answers are far apart, each is drawn as often as it is heard."
    m = GaussianMixture(2)
    m._set((np.array([.3, .7]), np.array([[0.0, -50], [1, 50]]), np.array([np.eye(2)] * 2)))
    high = (m.impute(np.tile([.2, np.nan], (20_000, 1)), "draw", random_state=1)[:, 1] > 0).mean()
    share = m.condition({0: .2}).weights_[1]
    assert abs(high - share) < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_seeds():
    "The same seed gives the same draws, another others, none new ones even where the mixture has a seed; a row's draw depends on its place alone."
    m, rows = mixture("full"), rows_with_holes()
    np.testing.assert_array_equal(m.impute(rows, "draw", 3), m.impute(rows, "draw", np.random.RandomState(3)))
    assert (m.impute(rows, "draw", 3) != m.impute(rows, "draw", 4)).any() and (m.impute(rows, "draw") != m.impute(rows, "draw")).any()
    fewer = np.where(np.arange(len(rows))[:, None] == 5, rows, np.where(np.isnan(rows), 0, rows))
    np.testing.assert_array_equal(m.impute(fewer, "draw", 3)[5], m.impute(rows, "draw", 3)[5])


def test_in_pieces(monkeypatch):
    "Large groups are done in pieces, with the same result."
    m, rows = mixture("tied"), np.tile(rows_with_holes(), (3, 1))
    whole = [m.impute(rows), m.impute(rows, "draw", 0), m.predict_columns(rows[:, :2], 2)]
    monkeypatch.setattr(conditional, "_NUMBERS", 20)
    for a, b in zip(whole, [m.impute(rows), m.impute(rows, "draw", 0), m.predict_columns(rows[:, :2], 2)]):
        equal(a, b, rtol=1e-12)


# ---- invariance and digits -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_columns_in_another_order(kind):
    "Permuted columns, permuted answers."
    m, rows, turn = mixture(kind), rows_with_holes(), [2, 0, 1]
    equal(m.marginal(turn).impute(rows[:, turn]), m.impute(rows)[:, turn])


def test_affine_equivariance():
    "Other units and another origin of each column give the same answers in these."
    m, rows = mixture("full"), rows_with_holes()
    a, b = np.array([1e-3, 5.0, 700]), np.array([-4.0, 1, 100])
    other = GaussianMixture(3)
    other._set((m.weights_, m.means_ * a + b, m.covariances_ * np.outer(a, a)))
    other.n_features_in_ = 3
    equal(other.impute(rows * a + b), m.impute(rows) * a + b, rtol=1e-9)
    equal(other.impute(rows * a + b, "draw", 0), m.impute(rows, "draw", 0) * a + b, rtol=1e-9)
    mean, std = m.predict_columns(rows[:, 1:], 0, return_std=True)
    equal(other.predict_columns((rows * a + b)[:, 1:], 0, return_std=True)[0], mean * a[0] + b[0], rtol=1e-9)
    equal(other.predict_columns((rows * a + b)[:, 1:], 0, return_std=True)[1], std * a[0], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-150, 1e150, [1e-120, 1.0, 1e120]])
def test_scales(kind, scale):
    "Tiny, huge and mixed units cost no digits."
    if kind == "spherical" and np.ndim(scale):
        pytest.skip("one variance for all columns")
    m, other, rows = mixture(kind), mixture(kind, scale=scale), rows_with_holes()
    s = np.broadcast_to(scale, 3)
    equal(other.impute(rows * s) / s, m.impute(rows), rtol=1e-9)
    equal(other.impute(rows * s, "draw", 0) / s, m.impute(rows, "draw", 0), rtol=1e-9)
    equal(other.predict_columns((rows * s)[:, :2], 2, return_std=True)[1] / s[2], m.predict_columns(rows[:, :2], 2, return_std=True)[1], rtol=1e-9)
    equal(other.condition({0: s[0]}).weights_, m.condition({0: 1.0}).weights_, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_offset(kind):
    "Columns that are far from 0 lose the digits that the numbers themselves lose, and no more."
    rows = np.round(rows_with_holes() * 64) / 64
    m, far = mixture(kind), mixture(kind)
    m._set((m.weights_, np.round(m.means_ * 64) / 64, m.covariances_))
    far._set((m.weights_, m.means_ + 1e8, m.covariances_))
    np.testing.assert_allclose(far.impute(rows + 1e8) - 1e8, m.impute(rows), atol=1e-7)
    equal(far.predict_columns((rows + 1e8)[:, :2], 2, return_std=True)[1], m.predict_columns(rows[:, :2], 2, return_std=True)[1], rtol=1e-6)
    equal(far.condition({0: 1e8 + .5}).weights_, m.condition({0: .5}).weights_)


def test_nearly_repeated_columns():
    "Hilbert's matrix, of which the last variance given the others is known: never negative."
    d = 10
    H = 1 / (1 + np.add.outer(np.arange(d), np.arange(d)))
    m = GaussianMixture(1)
    m._set((np.ones(1), np.zeros((1, d)), H[None]))
    _, std = m.predict_columns(np.zeros((1, d - 1)), d - 1, return_std=True)
    equal(std[0]**2, 2.226468166283223e-11, rtol=.01)                   # by elimination in fractions
    for wanted in range(d):
        assert m.predict_columns(np.zeros((1, d - 1)), wanted, return_std=True)[1][0] > 0


# ---- containers, names, errors -------------------------------------------------------------------


def test_float32_and_lists():
    "float32 stays, lists and whole numbers become float64."
    m, rows = mixture("full"), rows_with_holes()
    small = rows.astype(np.float32)
    filled = m.impute(small)
    assert filled.dtype == np.float32 and m.impute([[1, 2, 3]]).dtype == np.float64
    np.testing.assert_array_equal(filled[~np.isnan(small)], small[~np.isnan(small)])
    np.testing.assert_allclose(filled, m.impute(rows), rtol=1e-4, atol=1e-5)


def test_data_frames():
    "Names in, names out; complete columns keep their type; the frame that came in is left as it was."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"length": X[:, 0], "wait": X[:, 1].astype(int)}, index=[f"e{i}" for i in range(272)])
    two = GaussianMixture(2, random_state=0).fit(frame)
    holed = frame.copy()
    holed.loc[["e3", "e7"], "length"] = np.nan
    before, filled = holed.copy(), two.impute(holed)
    pd.testing.assert_frame_equal(holed, before)
    assert isinstance(filled, pd.DataFrame) and filled["wait"].dtype == frame["wait"].dtype and filled.index.equals(frame.index)
    assert not filled.isna().any().any() and filled["length"].drop(["e3", "e7"]).equals(frame["length"].drop(["e3", "e7"]))
    given = two.condition({"length": 4})
    assert given.feature_names_in_.tolist() == ["wait"] and two.marginal(["wait", "length"]).feature_names_in_.tolist() == ["wait", "length"]
    equal(given.means_, two.condition([4, np.nan]).means_)
    plain = GaussianMixture.from_sklearn(two.to_sklearn())
    equal(two.predict_columns(frame[["wait", "length"]], "wait"), plain.predict_columns(X[:, :1], 1))
    equal(two.predict_columns(frame, "wait"), plain.predict_columns(X[:, :1], 1))         # the wanted column may be there
    equal(two.predict_columns(frame[["wait"]], ["length"]), plain.predict_columns(X[:, 1:], [0]))
    with pytest.raises(ValueError, match="no column 'length', and the prediction rests on it"):
        two.predict_columns(frame[["wait"]], "wait")
    with pytest.raises(ValueError, match="no column 'depth': it knows length, wait"):
        two.marginal("depth")


def test_labelled_rows():
    "A Series goes by its labels, in any order and not all of them, as a dict does; without names in the mixture by its places."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["length", "wait"])
    two = GaussianMixture(2, random_state=0).fit(frame)
    desired = two.condition({"length": 4}).means_
    for row in (pd.Series({"length": 4, "wait": np.nan}), pd.Series({"wait": np.nan, "length": 4}), pd.Series({"length": 4}), pd.Series([4, np.nan]),
                pd.Series({"wait": None, "length": 4}, dtype="Float64"), frame.assign(wait=np.nan, length=4.0)[["wait", "length"]].iloc[0]):
        np.testing.assert_array_equal(two.condition(row).means_, desired)
    plain = GaussianMixture(2, random_state=0).fit(X)
    np.testing.assert_array_equal(plain.condition(pd.Series({"a": 4, "b": np.nan})).means_, plain.condition([4, np.nan]).means_)
    for row, words in [(pd.Series({"depth": 4}), "no column 'depth'"), (pd.Series([4, 5], index=["wait", "wait"]), "none of them twice"),
                       (frame.head(1), r"x has shape \(1, 2\): pass one row"), (pd.Series({"length": pd.NA, "wait": 4}, dtype=object), "NA")]:
        with pytest.raises(ValueError, match=words):
            two.condition(row)


@pytest.mark.parametrize("call, words", [
    (lambda m: m.condition({0: "x"}), r"something that is no number: \['x'\]"), (lambda m: m.condition(["a", np.nan, 1]), "Put NaN where nothing is known"),
    (lambda m: m.condition({0: [3, 4]}), r"x has shape \(1, 2\)"), (lambda m: m.condition({0: np.datetime64("2020-01-01")}), "x holds dates"),
    (lambda m: m.condition({0: 1j}), "something that is no number"), (lambda m: m.condition({1: np.inf}), "x holds infinity"),
    (lambda m: m.condition([[1, np.nan, 2]]), r"x has shape \(1, 3\): pass one row of 3 numbers"), (lambda m: m.condition(None), r"x has shape \(\)"),
    (lambda m: m.marginal([0, 0]), "none of them twice"), (lambda m: m.marginal([0, -3]), "none of them twice"), (lambda m: m.marginal([]), "name one or more"),
    (lambda m: m.marginal([False] * 3), "name one or more"), (lambda m: m.marginal(3), "3 is no column: give positions from 0 to 2"),
    (lambda m: m.marginal(-4), "-4 is no column"), (lambda m: m.marginal(1.0), "1.0 is no column"), (lambda m: m.marginal([True, False]), "True is no column"),
    (lambda m: m.marginal("a"), "without names: give positions"), (lambda m: m.condition([1, 2, 3]), "x has no NaN"),
    (lambda m: m.condition([1, np.nan]), r"x has shape \(2,\)"), (lambda m: m.condition([np.inf, np.nan, 1]), "x holds infinity"),
    (lambda m: m.condition({5: 1.0}), "5 is no column"), (lambda m: m.condition({0: 1.0, -3: 2.0}), "none of them twice"),
    (lambda m: m.condition(np.ma.masked_array([1.0, 2, 3], [0, 1, 0])), "masked"), (lambda m: m.impute([[1, 2]]), "2 features"),
    (lambda m: m.impute([[np.inf, 1, 2]]), "infinity"), (lambda m: m.impute([[1, 2, np.nan]], "median"), "method is 'median': use 'mean'"),
    (lambda m: m.impute([[1, 2, np.nan]], "draw", "seed"), "seed"), (lambda m: m.impute(np.ma.masked_array([[1.0, 2, 3]], [[0, 1, 0]])), "masked"),
    (lambda m: m.predict_columns([[1, 2, 3]], 0), "X has 3 columns: pass the 2 that are not predicted"),
    (lambda m: m.predict_columns([[1]], [0, 1, 2]), "columns name all 3"), (lambda m: m.predict_columns([[1, np.inf]], 0), "infinity"),
    (lambda m: m.predict_columns([1, 2], 0), "2D array"), (lambda m: m.predict_columns([["a", "b"]], 0), "could not convert|unsupported|dtype")])
def test_errors(call, words):
    "Each error names what is wrong."
    with pytest.raises((ValueError, TypeError), match=words):
        call(mixture("full"))


@pytest.mark.parametrize("call", [lambda m: m.marginal(0), lambda m: m.condition({0: 1}), lambda m: m.condition([1, np.nan]),
                                  lambda m: m.impute([[1, np.nan]]), lambda m: m.predict_columns([[1]], 0)])
def test_not_fitted(call):
    "Before `fit` there is nothing to condition."
    with pytest.raises(NotFittedError):
        call(GaussianMixture())


def test_methods_are_documented():
    "The methods belong to the class, and have their words."
    for method in (conditional.marginal, conditional.condition, conditional.impute, conditional.predict_columns):
        assert inspect.unwrap(getattr(GaussianMixture, method.__name__)) is method and "Raises `ValueError`" in method.__doc__


# ---- the imputer ---------------------------------------------------------------------------------


@parametrize_with_checks([GaussianMixtureImputer(), GaussianMixtureImputer(GaussianMixture(2, covariance_type="diag", random_state=0), method="draw", random_state=0)])
def test_scikit_learn_checks(estimator, check):
    "Clean under all of scikit-learn's checks."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_imputer(tmp_path):
    "What it fills in is what its mixture fills in; the mixture that it was given is not touched."
    given = GaussianMixture(2, random_state=0)
    imputer, rows = GaussianMixtureImputer(given, method="draw", random_state=1).fit(X), X.copy()
    rows[::3, 1], rows[1::3, 0] = np.nan, np.nan
    np.testing.assert_array_equal(imputer.transform(rows), imputer.mixture_.impute(rows, "draw", 1))
    assert not hasattr(given, "means_") and clone(imputer).get_params()["mixture__n_components"] == 2
    assert make_pipeline(imputer, LinearRegression()).fit(X, X[:, 1]).predict(rows).shape == (272,)
    again = clone(imputer).set_params(method="mean").fit(rows)                             # holes in the fit as well
    np.testing.assert_array_equal(again.transform(rows), GaussianMixture(2, random_state=0).fit(rows).impute(rows))
    half = np.r_[np.ones(200), np.zeros(72)]
    np.testing.assert_allclose(clone(imputer).fit(X, sample_weight=half).mixture_.means_, GaussianMixture(2, random_state=0).fit(X, sample_weight=half).means_)
    with pytest.raises(NotFittedError):
        clone(imputer).transform(rows)
    for settings, words in [({"method": "median"}, "'method'"), ({"mixture": "two"}, "'mixture'")]:
        with pytest.raises(ValueError, match=words):
            GaussianMixtureImputer(**settings).fit(X)
    save(imputer, tmp_path / "imputer.npz")
    np.testing.assert_array_equal(load(tmp_path / "imputer.npz").transform(rows), imputer.transform(rows))


def test_imputer_with_frames():
    "Arrays out by default, frames where asked; the mixture knows the names."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["length", "wait"])
    imputer = GaussianMixtureImputer().fit(frame)
    holed = frame.mask(frame["wait"] > 80)
    assert isinstance(imputer.transform(holed), np.ndarray) and imputer.mixture_.condition({"length": 4}).feature_names_in_.tolist() == ["wait"]
    out = imputer.set_output(transform="pandas").transform(holed)
    assert list(out) == ["length", "wait"] and out.index.equals(frame.index)


# ---- pooling -------------------------------------------------------------------------------------


def test_pool_by_hand():
    "In fractions; an array is several at once."
    one = pool([1, 2, 3], [1, 1, 1])
    equal([one.estimate, one.within, one.between, one.variance, one.dof], [2, 1, 1, 7 / 3, 49 / 8])
    equal(one.standard_error, np.sqrt(7 / 3))
    equal(one.missing_information, (4 / 3 + 2 / (49 / 8 + 3)) / (4 / 3 + 1))              # (r + 2 / (nu + 3)) / (r + 1), Rubin 1987
    both = pool([[1, 5], [2, 5], [3, 5]], [[1, 4], [1, 4], [1, 4]])
    equal([both.estimate[0], both.variance[0], both.dof[0]], [2, 7 / 3, 49 / 8])
    assert isinstance(both, Pooled) and both.n_imputations == 3 and both.dof[1] == np.inf and both.missing_information[1] == 0
    low, high = both.interval(.9)
    equal([low[1], high[1]], 5 + 2 * norm.ppf([.05, .95]))
    equal(np.array(one.interval()), 2 + np.sqrt(7 / 3) * t.ppf([.025, .975], 49 / 8))


def test_degrees_of_freedom():
    "Five imputations and a tenth more variance give 484 (SAS/STAT manual, MIANALYZE), and with 30 in the complete table never more than that."
    b = np.sqrt(.1 / 1.2)
    q = np.array([-2, -1, 0, 1, 2]) * b / np.std([-2, -1, 0, 1, 2], ddof=1)
    equal(pool(q, np.ones(5)).dof, 484)
    share = .1 / 1.1
    equal(pool(q, np.ones(5), dof=30).dof, 1 / (1 / 484 + 1 / (31 / 33 * 30 * (1 - share))))
    equal(pool(np.zeros(5), np.ones(5), dof=30).dof, 31 / 33 * 30)                         # no holes: nearly 30


def test_pooled_variance_by_simulation():
    "T is the variance of the pooled estimate where the model is known: means of n values, of which some are drawn from the true distribution."
    rng, n, lost, m, rounds = np.random.default_rng(0), 40, 20, 4, 4000
    known = rng.normal(size=(rounds, n - lost))
    centre = known.mean(axis=1)[:, None, None] + rng.normal(size=(rounds, m, 1)) / np.sqrt(n - lost)      # proper: the mean is drawn too
    tables = np.concatenate([np.broadcast_to(known[:, None], (rounds, m, n - lost)), centre + rng.normal(size=(rounds, m, lost))], axis=2)
    q, v = tables.mean(axis=2).T, np.full((m, rounds), 1 / n)
    pooled = pool(q, v)
    ratio = pooled.estimate.var() / pooled.variance.mean()
    assert abs(ratio - 1) < 5 * np.sqrt(2 / rounds + (pooled.variance.std() / pooled.variance.mean())**2 / rounds)
    low, high = pooled.interval(.9)
    cover = ((low < 0) & (0 < high)).mean()
    assert abs(cover - .9) < .02                                                           # the t of (34.14) is an approximation


@pytest.mark.parametrize("args, words", [
    (([1], [1]), "two or more imputations"), (([1, 2], [1]), r"variances \(1,\)"), ((1, 1), "two or more"), (([[[1]], [[2]]], [[[1]], [[2]]]), "two or more"),
    (([1, 2], [1, 0]), "above 0"), (([1, np.nan], [1, 1]), "finite"), (([1, 2], [1, np.inf]), "finite"), (([1, 2], [1, 1], 0), "dof is 0: give one number above 0"),
    (([1, 2], [1, 1], np.nan), "dof is nan"), (([1, 2], [1, 1], "9"), "dof is '9'"), (([1, 2], [1, 1], [3, 4]), r"dof is \[3, 4\]"),
    ((np.ma.masked_array([1.0, 2], [0, 1]), [1, 1]), "estimates has masked"), (([1, 2], np.array([1, 2], dtype="m8[D]")), "variances holds dates or durations")])
def test_pool_errors(args, words):
    "Each error says what is wrong."
    with pytest.raises(ValueError, match=words):
        pool(*args)


def test_almost_nothing_within():
    "Where the estimates differ by far more than their errors, hardly a degree of freedom is left of those of the complete table, and no warning."
    v = 1e-20
    equal(pool([0, 1], [v, v], dof=10).dof, 11 / 13 * 10 * v / (v + .75), rtol=1e-8)


@pytest.mark.parametrize("level", [0.0, 1.0, 0, 1, 95, 95.0, np.nan, "0.95"])
def test_level(level):
    "A level is between 0 and 1; any kind of number will do."
    equal(np.array(pool([1, 2], [1, 1]).interval(np.float32(.5))), pool([1, 2], [1, 1]).interval(.5))
    with pytest.raises(ValueError, match="level is .*: give a number between 0 and 1"):
        pool([1, 2], [1, 1]).interval(level)


def test_imputer_from_blocks(tmp_path):
    "A function, a file and Dask, with and without weights: the mixture, the fillings and the number of columns are those in memory."
    rng, w = np.random.default_rng(0), np.arange(272) % 2 + 1.
    rows = np.where(rng.random(X.shape) < .2, np.nan, X)
    np.save(tmp_path / "x.npy", rows)
    start = GaussianMixture(2, weights_init=[.5, .5], means_init=X[:2], precisions_init=np.tile(np.linalg.inv(np.cov(X.T)), (2, 1, 1)))
    alone, weighted = (GaussianMixtureImputer(start).fit(rows, sample_weight=given) for given in (None, w))
    dask = pytest.importorskip("dask.array")
    kinds = [(alone, lambda: iter([rows[:9], rows[9:]]), None), (weighted, lambda: iter([(rows[:9], w[:9]), (rows[9:], w[9:])]), None),
             (weighted, np.load(tmp_path / "x.npy", mmap_mode="r"), w), (weighted, dask.from_array(rows, chunks=(99, 1)), dask.from_array(w, chunks=50))]
    for expected, given, extra in kinds:
        found = GaussianMixtureImputer(start).fit(given, sample_weight=extra)
        assert found.n_features_in_ == 2 and not hasattr(found, "feature_names_in_")
        np.testing.assert_allclose(found.transform(rows), expected.transform(rows), rtol=1e-7)
    with pytest.raises(TypeError, match="X is a function, and numbers in memory are needed"):
        alone.transform(lambda: iter([rows]))


def test_names_of_the_imputer_come_and_go():
    "From frames in blocks; a later fit to arrays forgets them."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["length", "wait"])
    imputer = GaussianMixtureImputer().fit(lambda: iter([frame[:100], frame[100:]]))
    assert imputer.feature_names_in_.tolist() == ["length", "wait"] and imputer.n_features_in_ == 2
    with pytest.raises(ValueError, match="same order as they were in fit"):
        imputer.transform(frame[["wait", "length"]])
    assert not hasattr(imputer.fit(X[:, [0, 1, 0]] + np.eye(272, 3)), "feature_names_in_") and imputer.n_features_in_ == 3
