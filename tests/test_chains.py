"""The estimators of emlit.chains: beside hmmlearn, by enumeration, by invariances, and in scikit-learn's company."""
import itertools
import logging
import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import dirichlet, gamma, geom, invgamma, invwishart, multivariate_normal, norm, poisson
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from strict import equal, quiet
import emlit
from emlit import GaussianMixture, Mixture, chains, mixture
from emlit.chains import HMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emlit.data import load_faithful
from emlit.em import LikelihoodFell
from emlit.families import Categorical, Family, Full
from emlit.hmm import HMMModel

KINDS = ["full", "tied", "diag", "spherical"]
X = load_faithful().X
QUAKES = np.array("""13 14 8 10 16 26 32 27 18 32 36 24 22 23 22 18 25 21 21 14 8 11 14 23 18 17 19 20 22 19 13 26 13 14 22 24 21 22 26 21 23 24
27 41 31 27 35 26 28 36 39 21 17 22 17 19 15 34 10 15 22 18 15 20 15 22 19 16 30 27 29 23 20 16 21 21 25 16 18 15 18 14 10 15 8 15 6 11 8 7 18 16 13
12 13 20 15 16 12 18 15 16 13 15 16 11 11""".split(), dtype=int)[:, None]


@pytest.fixture(autouse=True)
def no_warnings():
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def chain(k, d, n, seed=0, scale=1.0):
    "Rows of a chain with Gaussian states, and the states."
    rng = np.random.default_rng(seed)
    A = .15 / k + .85 * rng.dirichlet(np.ones(k) / 2, size=k)
    z = [0]
    for _ in range(n - 1):
        z.append(rng.choice(k, p=A[z[-1]]))
    centres, mix = 2 * rng.normal(size=(k, d)), rng.normal(size=(k, d, d)) / 2 + np.eye(d)
    return scale * (centres[z] + np.einsum("nij,nj->ni", mix[z], rng.normal(size=(n, d)))), np.array(z)


PROBLEMS = {"faithful": (X, None), "series": (chain(3, 4, 400)[0], [100, 1, 1, 150, 7, 141]), "returns": (chain(2, 1, 500, 5, .01)[0], [250, 250])}


def start(kind, k, rows, seed=0):
    "A rough start that both libraries take."
    rng = np.random.default_rng(seed)
    C = np.atleast_2d(np.cov(rows.T))
    covars = {"full": np.repeat(C[None], k, axis=0), "tied": C, "diag": np.repeat(C.diagonal()[None], k, axis=0), "spherical": np.full(k, C.trace() / len(C))}[kind]
    return {"startprob_": rng.dirichlet(np.full(k, 5)), "transmat_": rng.dirichlet(np.full(k, 5), size=k),
            "means_": rows[rng.choice(len(rows), k, replace=False)], "covars_": covars}


def begun(estimator, values):
    for name, value in values.items():
        setattr(estimator, name, np.array(value))
    return estimator


def given(estimator, values):
    "The same with the values as they are."
    vars(estimator).update(values)
    return estimator


def both(name, rounds, values, theirs=None, ours=None, **settings):
    "hmmlearn's estimator and ours from the same start, for so many rounds."
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    a = begun(getattr(hmmlearn, name)(init_params="", n_iter=rounds, tol=-np.inf, **settings, **theirs or {}), values)
    b = begun(getattr(chains, name)(init_params="", n_iter=rounds, tol=0, **settings, **ours or {}), values)
    return a, b


# ---- beside hmmlearn -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_gaussian_path(kind, problem):
    "Log-likelihoods round by round, parameters, posteriors, both kinds of path."
    (rows, lengths), k = PROBLEMS[problem], 3 if problem == "series" else 2
    plain = {"covars_prior": 0, "covars_weight": 1}
    a, b = both("GaussianHMM", 9, start(kind, k, rows), plain, n_components=k, covariance_type=kind)
    a.fit(rows, lengths), quiet(lambda: b.fit(rows, lengths=lengths))
    equal(b.history_["log_likelihood"][:-1], list(a.monitor_.history), rtol=1e-9)
    for name in ("startprob_", "transmat_", "means_"):
        equal(getattr(b, name), getattr(a, name), rtol=1e-8, atol=1e-12)
    equal(b.covariances_ if kind != "spherical" else np.repeat(b.covariances_[:, None], rows.shape[1], axis=1), a._covars_, rtol=1e-8, atol=1e-14)
    compare(a, b, rows, lengths)


def compare(a, b, rows, lengths):
    "What two fitted estimators say."
    (log_a, R_a), (log_b, R_b) = a.score_samples(rows, lengths), b.score_samples(rows, lengths)
    equal(R_b, R_a, rtol=1e-7, atol=1e-11)
    np.testing.assert_allclose([log_b, b.score(rows, lengths=lengths), b.aic(rows, lengths), b.bic(rows, lengths)],
                               [log_a, a.score(rows, lengths), a.aic(rows, lengths), a.bic(rows, lengths)], rtol=1e-9)
    (value_a, path_a), (value_b, path_b) = a.decode(rows, lengths), b.decode(rows, lengths)
    np.testing.assert_array_equal(path_b, path_a)
    np.testing.assert_allclose(value_b, value_a, rtol=1e-9)
    np.testing.assert_array_equal(b.decode(rows, lengths, algorithm="map")[1], a.decode(rows, lengths, algorithm="map")[1])
    np.testing.assert_array_equal(b.predict(rows, lengths), a.predict(rows, lengths))
    equal(b.predict_proba(rows, lengths), a.predict_proba(rows, lengths), rtol=1e-7, atol=1e-11)
    if (a.transmat_ > 0).all():
        equal(b.get_stationary_distribution(), a.get_stationary_distribution(), rtol=1e-8)


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_gaussian_path_with_priors(kind):
    "The same with every prior of hmmlearn's in use, where its updates are those of (32.7)."
    prior = {"covars_prior": .3, "covars_weight": 4., "means_prior": 1.5, "means_weight": 3., "startprob_prior": 1.5, "transmat_prior": 2.5}
    a, b = both("GaussianHMM", 9, start(kind, 2, X), n_components=2, covariance_type=kind, **prior)
    a.fit(X), quiet(lambda: b.fit(X))
    equal(b.history_["log_likelihood"][:-1], list(a.monitor_.history), rtol=1e-9)
    equal(b.means_, a.means_, rtol=1e-8)
    equal(b.transmat_, a.transmat_, rtol=1e-8)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_gaussian_path_with_matrix_priors(kind):
    "hmmlearn adds a number to every entry of a matrix; with the matrix given in full both agree, and a number here is times the unit matrix."
    psi = np.array([[.3, .1], [.1, .5]])
    more = {"covars_weight": 5., "means_prior": 1.5, "means_weight": 3.}
    a, b = both("GaussianHMM", 9, start(kind, 2, X), {"covars_prior": psi}, {"covars_prior": psi}, n_components=2, covariance_type=kind, **more)
    a.fit(X), quiet(lambda: b.fit(X))
    equal(b.history_["log_likelihood"][:-1], list(a.monitor_.history), rtol=1e-9)
    equal(b.covariances_, a._covars_, rtol=1e-8)
    a, b = both("GaussianHMM", 5, start(kind, 2, X), {"covars_prior": .4 * np.eye(2)}, {"covars_prior": .4}, n_components=2, covariance_type=kind, **more)
    equal(quiet(lambda: b.fit(X)).covariances_, a.fit(X)._covars_, rtol=1e-8)
    a, b = both("GaussianHMM", 5, start(kind, 2, X), {"covars_prior": .4}, {"covars_prior": np.full((2, 2), .4)}, n_components=2, covariance_type=kind, **more)
    equal(quiet(lambda: b.fit(X)).covariances_, a.fit(X)._covars_, rtol=1e-8)


@pytest.mark.parametrize("params", ["s", "t", "m", "st", "mc", "stm", ""])
def test_parts_that_do_not_move(params):
    "With some letters only, the same as hmmlearn's; the others stay."
    values = start("full", 2, X)
    a, b = both("GaussianHMM", 4, values, {"covars_prior": 0}, n_components=2, covariance_type="full", params=params)
    a.fit(X), quiet(lambda: b.fit(X))
    for letter, name in zip("stmc", values):
        equal(getattr(b, name), getattr(a, name), rtol=1e-8)
        assert letter in params or np.array_equal(getattr(b, name), np.array(values[name])) or name == "startprob_" or name == "transmat_"


@pytest.mark.parametrize("estimator, name", [(HMM(2, params="st"), "parameters_"), (PoissonHMM(2, params="st"), "lambdas_"), (CategoricalHMM(2, params="st"), "emissionprob_")])
def test_emissions_that_do_not_move(estimator, name):
    "They stay at the start while the transitions move; the other way round with their letter alone."
    rows = QUAKES // 10
    begin, end = (quiet(lambda n=n: clone(estimator).set_params(n_iter=n, random_state=0).fit(rows)) for n in (0, 3))
    np.testing.assert_array_equal(getattr(begin, name), getattr(end, name))
    assert not np.allclose(begin.transmat_, end.transmat_) and end.n_parameters_ == 3
    other = quiet(lambda: clone(estimator).set_params(n_iter=3, random_state=0, params="l" if name == "lambdas_" else "e").fit(rows))
    np.testing.assert_array_equal(begin.transmat_, other.transmat_)
    assert not np.allclose(getattr(begin, name), getattr(other, name))


@pytest.mark.parametrize("kind", KINDS)
def test_covariances_around_means_that_stay(kind):
    "One round with params='c', where hmmlearn divides by zero: the mean squares around the fixed means."
    values = start(kind, 2, X)
    begin = begun(GaussianHMM(2, kind), values)
    R, D = begin.predict_proba(X), X[:, None] - values["means_"]
    S = np.einsum("nk,nki,nkj->kij", R, D, D)
    N = R.sum(axis=0)[:, None, None]
    wanted = {"full": S / N, "tied": S.sum(axis=0) / 272, "diag": (S / N).diagonal(axis1=1, axis2=2), "spherical": np.trace(S / N, axis1=1, axis2=2) / 2}[kind]
    equal(quiet(lambda: begun(GaussianHMM(2, kind, params="c", init_params="", n_iter=1), values).fit(X)).covariances_, wanted, rtol=1e-9)


def codes(n=600, k=3, levels=5, seed=0):
    rng = np.random.default_rng(seed)
    A, B = .2 / k + .8 * np.eye(k), rng.dirichlet(np.full(levels, .4), size=k)
    z = [0]
    for _ in range(n - 1):
        z.append(rng.choice(k, p=A[z[-1]]))
    return np.array([[rng.choice(levels, p=B[i])] for i in z])


CATEGORIES = {"codes": (codes(), [300, 1, 99, 200]), "long": (codes(800, 2, 8, 1), None), "bits": (codes(400, 2, 2, 3), [10] * 40)}


@pytest.mark.parametrize("problem", CATEGORIES)
@pytest.mark.parametrize("prior", [{}, {"startprob_prior": 1.2, "transmat_prior": 2., "emissionprob_prior": 1.7}])
def test_categorical_path(problem, prior):
    "As for Gaussians."
    (rows, lengths), rng = CATEGORIES[problem], np.random.default_rng(0)
    levels = rows.max() + 1
    values = {"startprob_": [.3, .7], "transmat_": [[.6, .4], [.3, .7]], "emissionprob_": rng.dirichlet(np.full(levels, 3), size=2)}
    a, b = both("CategoricalHMM", 20, values, n_components=2, **prior)
    a.fit(rows, lengths), quiet(lambda: b.fit(rows, lengths=lengths))
    equal(b.history_["log_likelihood"][:-1], list(a.monitor_.history), rtol=1e-9)
    for name in values:
        equal(getattr(b, name), getattr(a, name), rtol=1e-7, atol=1e-12)
    compare(a, b, rows, lengths)


@pytest.mark.parametrize("problem", CATEGORIES)
def test_categories_by_look_up(problem):
    "The E-step by look-up is that of the matrix products, with missing rows."
    rows, lengths = CATEGORIES[problem]
    rows = np.where(np.arange(len(rows))[:, None] % 5 == 2, np.nan, rows)
    fit = quiet(lambda: CategoricalHMM(3, n_iter=2, random_state=0).fit(rows, lengths=lengths))
    block = (rows, np.array(lengths or [len(rows)]))
    a, b = (model.expectation(fit._params())(block) for model in (fit._model(mixture._Table(rows)), HMMModel(Categorical(fit._family().levels))))
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=1e-10)
    for name in b.statistics:
        equal(a.statistics[name], b.statistics[name], rtol=1e-9, atol=1e-10)


COUNTS = {"quakes": (QUAKES, None), "two columns": (np.random.default_rng(0).poisson(np.array([[2, 9], [7, 4]])[np.arange(300) // 20 % 2]), [150, 1, 149]),
          "few": (np.random.default_rng(1).poisson([[.2], [3.]], (50, 2, 1)).reshape(-1, 1), [10] * 10)}


@pytest.mark.parametrize("problem", COUNTS)
def test_poisson_path(problem):
    "As for Gaussians, without the prior of the rates."
    rows, lengths = COUNTS[problem]
    m = rows.mean(axis=0)
    values = {"startprob_": [.3, .7], "transmat_": [[.6, .4], [.3, .7]], "lambdas_": [.7 * m, 1.4 * m]}
    a, b = both("PoissonHMM", 9, values, n_components=2, startprob_prior=1.5, transmat_prior=2.)
    a.fit(rows, lengths), quiet(lambda: b.fit(rows, lengths=lengths))
    equal(b.history_["log_likelihood"][:-1], list(a.monitor_.history), rtol=1e-9)
    for name in values:
        equal(getattr(b, name), getattr(a, name), rtol=1e-8, atol=1e-12)
    compare(a, b, rows, lengths)


def test_prior_of_the_rates_is_not_that_of_hmmlearn():
    "hmmlearn weighs the prior against the rows of all states: its posterior falls, ours has its maximum where its gradient is 0."
    settings = dict(n_components=2, lambdas_prior=60., lambdas_weight=30.)
    values = {"startprob_": [.5, .5], "transmat_": [[.9, .1], [.1, .9]], "lambdas_": [[15.], [26.]]}
    a, b = both("PoissonHMM", 60, values, **settings)
    a.fit(QUAKES), quiet(lambda: b.fit(QUAKES))

    def posterior(m):
        return m.score(QUAKES) + gamma(61, scale=1 / 30).logpdf(m.lambdas_).sum()

    assert posterior(b) > posterior(a) + 1
    equal(b.lambdas_[:, 0], (b.predict_proba(QUAKES).T @ QUAKES[:, 0] + 60) / (b.predict_proba(QUAKES).sum(axis=0) + 30), rtol=1e-5)


def test_published_numbers():
    "Zucchini, MacDonald and Langrock (2016), earthquakes: -391.9189 with one state, by EM -341.8787 and -328.5275 with two and three, and rates."
    fits = [PoissonHMM(k, n_init=3, random_state=0, tol=1e-8, n_iter=3000).fit(QUAKES) for k in (1, 2, 3)]
    np.testing.assert_allclose([fit.score(QUAKES) for fit in fits], [-391.9189, -341.8787, -328.5275], atol=6e-5)
    np.testing.assert_allclose(np.sort(fits[2].lambdas_[:, 0]), [13.134, 19.713, 29.710], atol=6e-4)


# ---- by enumeration and by closed forms ----------------------------------------------------------


def densities(model, rows):
    "Log density of each row in each state by SciPy, 0 for missing rows."
    if isinstance(model, GaussianHMM):
        table = [multivariate_normal(m, C).logpdf(rows) for m, C in zip(model.means_, model.covars_)]
    elif isinstance(model, PoissonHMM):
        table = [poisson(l).logpmf(rows).sum(axis=1) for l in model.lambdas_]
    else:
        table = [np.log(p)[rows[:, 0].astype(int)] for p in model.emissionprob_]
    return np.reshape(table, (len(table), -1)).T


def enumerated(model, table):
    "Log-likelihood, posteriors, likeliest path and its log-probability, by a sum over all paths."
    n, k = table.shape
    paths = np.array(list(itertools.product(range(k), repeat=n)))
    with np.errstate(divide="ignore"):
        logs = np.log(model.startprob_)[paths[:, 0]] + table[np.arange(n), paths].sum(axis=1) + np.log(model.transmat_)[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    weights = np.exp(logs - logsumexp(logs))
    return logsumexp(logs), np.stack([(weights[:, None] * (paths == j)).sum(axis=0) for j in range(k)], axis=1), paths[logs.argmax()], logs.max(), logs, paths


MODELS = [(GaussianHMM(3, kind, n_iter=3, random_state=0), X) for kind in KINDS] + [(PoissonHMM(3, n_iter=3, random_state=0), QUAKES), (CategoricalHMM(3, n_iter=3, random_state=0), codes())]


@pytest.mark.parametrize("model, rows", MODELS)
@pytest.mark.parametrize("n", [1, 2, 6])
def test_enumeration(model, rows, n):
    "Every path of a short series."
    model = quiet(lambda: clone(model).fit(rows))
    value, R, path, best, logs, paths = enumerated(model, densities(model, rows[:n]))
    equal(model.predict_proba(rows[:n]), R, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(model.predict(rows[:n]), path)
    np.testing.assert_allclose([model.score(rows[:n]), model.decode(rows[:n])[0]], [value, best], rtol=1e-9)
    mode = model.decode(rows[:n], algorithm="map")
    np.testing.assert_allclose(mode[0], logs[(paths == R.argmax(axis=1)).all(axis=1)][0], rtol=1e-9)


@pytest.mark.parametrize("algorithm", ["viterbi", "map"])
def test_paths_of_several_series(algorithm):
    "One below the other, or each by itself."
    model, lengths = GaussianHMM(2, "full", random_state=0).fit(X), [100, 1, 71, 100]
    value, path = model.decode(X, lengths, algorithm=algorithm)
    alone = [model.decode(part, algorithm=algorithm) for part in np.split(X, np.cumsum(lengths)[:-1])]
    np.testing.assert_array_equal(path, np.concatenate([p for _, p in alone]))
    np.testing.assert_allclose(value, sum(v for v, _ in alone), rtol=1e-12)


def test_missing_rows_by_enumeration():
    "A row of NaN has density 1 in every state: the same as a sum over all paths, in scores, posteriors and paths."
    model, rows = GaussianHMM(2, "full", random_state=0).fit(X), X[:6].copy()
    table = densities(model, rows)
    rows[[0, 3, 5]], table[[0, 3, 5]] = np.nan, 0
    value, R, path, best, *_ = enumerated(model, table)
    np.testing.assert_allclose([model.score(rows), model.decode(rows)[0]], [value, best], rtol=1e-9)
    equal(model.predict_proba(rows), R, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_rows_in_a_fit(kind):
    "At the end of a series they change nothing but the time; within it the parameters are where the likelihood of the rows that are there has its top."
    ends = np.vstack([X, np.full((30, 2), np.nan)])
    a, b = (GaussianHMM(2, kind, random_state=0, tol=1e-9).fit(rows) for rows in (X, ends))
    equal(b.means_, a.means_, rtol=1e-6)
    np.testing.assert_allclose([b.score(ends), b.bic(ends)], [a.score(X), a.bic(X)], rtol=1e-9)
    rows = X.copy()
    rows[::3] = np.nan
    fit = GaussianHMM(2, kind, random_state=0, tol=1e-10).fit(rows)
    base = fit.score(rows)
    for name in ("means_", "covariances_"):
        for factor in (1 - 1e-3, 1 + 1e-3):
            other = pickle.loads(pickle.dumps(fit))
            setattr(other, name, getattr(other, name) * factor)
            assert other.score(rows) < base


@pytest.mark.parametrize("kind", KINDS)
def test_rows_missing_in_part(kind):
    "Densities are those of the columns that are there; the fit is where their likelihood has its top; a column of NaN changes nothing."
    rng = np.random.default_rng(0)
    rows = np.where(rng.random(X.shape) < .25, np.nan, X)
    fit = GaussianHMM(2, kind, random_state=0, tol=1e-10, n_iter=5000).fit(rows)
    table = np.zeros((272, 2))
    for n, x in enumerate(rows):
        o = ~np.isnan(x)
        if o.any():
            table[n] = [multivariate_normal(m[o], C[np.ix_(o, o)]).logpdf(x[o]) for m, C in zip(fit.means_, fit.covars_)]
    part = slice(10, 17)
    value, R, *_ = enumerated(fit, table[part])
    np.testing.assert_allclose(fit.score(rows[part]), value, rtol=1e-8)
    equal(fit.predict_proba(rows[part]), R, rtol=1e-6, atol=1e-9)
    base = fit.score(rows)
    for name in ("means_", "covariances_"):
        for factor in (1 - 1e-3, 1 + 1e-3):
            other = pickle.loads(pickle.dumps(fit))
            setattr(other, name, getattr(other, name) * factor)
            assert other.score(rows) < base
    assert (np.diff(fit.history_["log_likelihood"]) > -1e-7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_top_of_the_posterior(kind):
    "Where a fit with all priors ends, no step in any direction is higher, with the priors' densities from SciPy."
    psi, prior = np.diag([.2, 40.]), dict(startprob_prior=1.5, transmat_prior=2., means_prior=[3., 70.], means_weight=4.)
    scale = {"full": psi, "tied": psi, "diag": psi.diagonal(), "spherical": 20.}[kind]
    weight = {"full": 7., "tied": 7., "diag": 5., "spherical": 5.}[kind]
    fit = GaussianHMM(2, kind, covars_prior=scale, covars_weight=weight, random_state=0, tol=1e-10, n_iter=5000, **prior).fit(X)

    def posterior(m):
        value, C = m.score(X) + dirichlet([1.5, 1.5]).logpdf(m.startprob_) + sum(dirichlet([2, 2]).logpdf(a) for a in m.transmat_), m.covariances_
        value -= .5 * sum(4 * (m.means_[j] - [3, 70]) @ np.linalg.solve(m.covars_[j], m.means_[j] - [3, 70]) for j in range(2))
        if kind in ("full", "tied"):                                    # |C|^-(nu + d + 1)/2, here nu + d + 1 = 5
            return value + sum(invwishart(2, psi).logpdf(c) for c in np.reshape(C, (-1, 2, 2)))
        d = 2 if kind == "spherical" else 1
        return value + invgamma(4 * d / 2 - 1, scale=np.broadcast_to(d * np.asarray(scale), C.shape) / 2).logpdf(C).sum()

    top, rng = posterior(fit), np.random.default_rng(0)
    for _ in range(60):
        other = pickle.loads(pickle.dumps(fit))
        name = ["startprob_", "transmat_", "means_", "covariances_"][rng.integers(4)]
        value = np.array(getattr(fit, name))
        moved = value * np.exp(1e-3 * rng.normal(size=value.shape))
        if name in ("startprob_", "transmat_"):
            moved /= moved.sum(axis=-1, keepdims=True)
        if name == "covariances_" and kind in ("full", "tied"):
            moved = (moved + moved.swapaxes(-1, -2)) / 2
        setattr(other, name, moved)
        assert posterior(other) <= top + 1e-7, name


def test_floor_is_the_best_above_it():
    "Against a numerical search over all matrices that are nowhere narrower."
    rng = np.random.default_rng(0)
    for seed in range(4):
        A, floor = rng.normal(size=(2, 2)), rng.uniform(.2, 2, size=2)
        S = A @ A.T
        C = chains._floored(S[None], "full", floor)[0]

        def loss(v):
            L = np.array([[v[0], 0], [v[1], v[2]]])
            M = np.diag(floor) + L @ L.T
            return np.linalg.slogdet(M)[1] + np.trace(np.linalg.solve(M, S))

        found = min((minimize(loss, rng.normal(size=3), tol=1e-12).fun for _ in range(4)))
        np.testing.assert_allclose(np.linalg.slogdet(C)[1] + np.trace(np.linalg.solve(C, S)), found, rtol=1e-7)
    equal(chains._floored(np.array([[.1, 3], [2, .2]]), "diag", np.array([.5, 1])), [[.5, 3], [2, 1]])
    equal(chains._floored(np.array([.1, 3]), "spherical", np.array([.5, 1.5])), [1, 3])
    for kind, C in (("full", np.eye(2)[None] * 3), ("tied", np.eye(2) * 3)):
        assert chains._floored(C, kind, np.ones(2)) is C


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_floor(kind):
    "A state of equal rows rests on the floor, is named, and the likelihood rises all the way."
    rows = np.vstack([np.random.default_rng(0).normal(size=(60, 2)), np.tile([9., 9], (20, 1)), np.random.default_rng(1).normal(size=(60, 2))])
    if kind == "tied":
        rows[:, 1] = rows[:, 0] + 1e-9 * np.arange(140)
    with pytest.warns(RuntimeWarning, match="rests? on the floor min_covar") as said:
        fit = GaussianHMM(2, kind, random_state=0).fit(rows)
    floor = 1e-6 * rows.var(axis=0)
    smallest = min(np.linalg.eigvalsh(C / np.sqrt(floor[:, None] * floor))[0] for C in fit.covars_) if kind != "spherical" else fit.covariances_.min() / floor.mean()
    np.testing.assert_allclose(smallest, 1, rtol=1e-5)
    assert (np.diff(fit.history_["log_likelihood"]) > -1e-7).all() and len([s for s in said if "rest" in str(s.message)]) == 1


def test_min_covar():
    "The user's number is the floor, in squared units; it holds from the start; above it nothing changes."
    a, b = (GaussianHMM(2, "diag", random_state=0, min_covar=m).fit(X) for m in (None, .05))
    equal(a.means_, b.means_)
    c = quiet(lambda: GaussianHMM(2, "diag", random_state=0, min_covar=.1).fit(X))
    assert c.covariances_.min() == .1 and c.score(X) < a.score(X) and a.covariances_.min() < .1
    d = begun(GaussianHMM(2, "diag", init_params="st", n_iter=1), {"means_": [[2., 55], [4.3, 80]], "covars_": [[1e-9, 30], [.1, 30]]})
    assert (quiet(lambda: d.fit(X)).covariances_ >= 1e-6 * X.var(axis=0)).all()


# ---- special cases and invariances ---------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_series_of_length_one_are_a_mixture(kind):
    "The same parameters, likelihood and posteriors as GaussianMixture from the same start."
    values = start(kind, 2, X)
    weights = values["startprob_"]
    fit = begun(GaussianHMM(2, kind, init_params="", n_iter=12, tol=0), values)
    with pytest.warns(RuntimeWarning, match=r"states \[0, 1\] of 2 are never left"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit(X, lengths=np.ones(272, dtype=int))
    C = np.asarray(values["covars_"])
    mixture = quiet(lambda: GaussianMixture(2, covariance_type=kind, weights_init=weights, means_init=values["means_"], tol=0, reg_covar=0, max_iter=12,
                                            precisions_init=np.linalg.inv(C) if kind in ("full", "tied") else 1 / C).fit(X))
    equal(fit.startprob_, mixture.weights_, rtol=1e-9)
    equal(fit.means_, mixture.means_, rtol=1e-9)
    equal(fit.covariances_, mixture.covariances_, rtol=1e-9)
    equal(fit.transmat_, values["transmat_"])
    np.testing.assert_allclose(fit.score(X, lengths=np.ones(272, dtype=int)), mixture.score(X) * 272, rtol=1e-10)
    equal(fit.predict_proba(X, np.ones(272, dtype=int)), mixture.predict_proba(X), rtol=1e-7, atol=1e-12)


def test_equal_rows_of_transitions_are_a_mixture():
    "A chain that forgets, for counts."
    mixture = Mixture(2, random_state=0).fit(QUAKES)
    fit = begun(PoissonHMM(2), {"startprob_": mixture.weights_, "transmat_": np.tile(mixture.weights_, (2, 1)), "lambdas_": mixture.parameters_[0]})
    np.testing.assert_allclose(fit.score(QUAKES), mixture.score(QUAKES) * 107, rtol=1e-10)
    equal(fit.predict_proba(QUAKES), mixture.predict_proba(QUAKES), rtol=1e-9)
    equal(fit.get_stationary_distribution(), mixture.weights_)


def test_one_state_is_one_distribution():
    "Closed forms."
    equal(GaussianHMM(1, "full").fit(X).covars_[0], np.cov(X.T, bias=True), rtol=1e-9)
    equal(PoissonHMM(1).fit(QUAKES).lambdas_, QUAKES.mean(axis=0)[None], rtol=1e-10)
    equal(CategoricalHMM(1).fit(codes()).emissionprob_[0], np.bincount(codes()[:, 0]) / 600, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_states(kind):
    "The same fit with the states renamed."
    values = start(kind, 3, X)
    order = [2, 0, 1]
    renamed = {"startprob_": values["startprob_"][order], "transmat_": values["transmat_"][order][:, order], "means_": values["means_"][order],
               "covars_": values["covars_"] if kind == "tied" else values["covars_"][order]}
    a, b = (quiet(lambda v=v: begun(GaussianHMM(3, kind, init_params="", n_iter=10), v).fit(X)) for v in (values, renamed))
    equal(b.transmat_, a.transmat_[order][:, order], rtol=1e-9, atol=1e-14)
    equal(b.means_, a.means_[order], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_units(kind):
    "Rows in other units and from another zero: the same path, and the log-likelihood less n log of the units."
    by = np.array([60., 60.]) if kind == "spherical" else np.array([60., .01])
    a, b = (quiet(lambda r=r: GaussianHMM(2, kind, init_params="st", random_state=0, n_iter=8).fit(r)) if False else
            quiet(lambda r=r, f=f, o=o: begun(GaussianHMM(2, kind, init_params="", n_iter=8), moved(start(kind, 2, X), kind, f, o)).fit(r))
            for r, f, o in ((X, np.ones(2), 0.), (X * by + 1000, by, 1000.)))
    equal(b.transmat_, a.transmat_, rtol=1e-7)
    equal(b.means_, a.means_ * by + 1000, rtol=1e-9)
    np.testing.assert_allclose(b.score(X * by + 1000), a.score(X) - 272 * np.log(by).sum(), rtol=1e-9)


def moved(values, kind, by, offset):
    C = np.asarray(values["covars_"])
    C = C * by[:, None] * by if kind in ("full", "tied") else C * (by**2 if kind == "diag" else by[0]**2)
    return values | {"means_": values["means_"] * by + offset, "covars_": C}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-150, 1e-100, 1e100, 1e150])
def test_extreme_units(kind, scale):
    "Squares near the ends of float64: the same fit, without a word."
    a, b = (GaussianHMM(2, kind, random_state=0, tol=.1).fit(X * s) for s in (1, scale))
    np.testing.assert_allclose(b.score(X * scale) + 544 * np.log(scale), a.score(X), rtol=1e-9)
    equal(b.transmat_, a.transmat_, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_zero(kind):
    "Eight digits are lost, and no more."
    a, b = (GaussianHMM(2, kind, random_state=0, tol=.1).fit(X + s) for s in (0, 1e8))
    np.testing.assert_allclose(b.score(X + 1e8), a.score(X), rtol=1e-6)
    equal(b.means_ - 1e8, a.means_, rtol=1e-5)


def test_default_start_does_not_depend_on_units():
    "Not on one common unit: floor, start and end."
    a, b = (GaussianHMM(2, "full", random_state=0).fit(X * s) for s in (1, 1e-4))
    equal(a.transmat_, b.transmat_, rtol=1e-5)
    equal(a.means_ * 1e-4, b.means_, rtol=1e-5)


@pytest.mark.parametrize("estimator, rows", [(GaussianHMM(2, "full", random_state=0), X), (PoissonHMM(2, random_state=0), QUAKES), (CategoricalHMM(2, random_state=0), codes())])
def test_series_twice(estimator, rows):
    "Every series twice: twice the log-likelihood, the same parameters; and in any order."
    lengths = [40, 1, len(rows) - 41]
    values = quiet(lambda: clone(estimator).set_params(n_iter=0).fit(rows, lengths=lengths))
    begin = {name: getattr(values, name) for name in values._names.values()}
    parts = np.split(rows, np.cumsum(lengths)[:-1])
    def fitted(rows, lengths):
        return quiet(lambda: begun(clone(estimator).set_params(n_iter=10, tol=0, init_params=""), begin).fit(rows, lengths=lengths))
    a, b, c = fitted(rows, lengths), fitted(np.vstack([rows, rows]), lengths * 2), fitted(np.vstack(parts[::-1]), lengths[::-1])
    equal(b.history_["log_likelihood"], 2 * a.history_["log_likelihood"], rtol=1e-9)
    for name in begin:
        equal(getattr(b, name), getattr(a, name), rtol=1e-8, atol=1e-12)
        equal(getattr(c, name), getattr(a, name), rtol=1e-8, atol=1e-12)


def test_threads_and_blocks():
    "No digit depends on threads; blocks hold whole series, each once and in order."
    rows, _ = chain(3, 2, 12_000, 1)
    lengths = np.random.default_rng(0).multinomial(12_000 - 200, np.ones(200) / 200) + 1
    a, b = (quiet(lambda j=j: GaussianHMM(3, random_state=0, n_iter=5, n_jobs=j).fit(rows, lengths=lengths)) for j in (1, 2))
    np.testing.assert_array_equal(a.means_, b.means_)
    np.testing.assert_array_equal(a.history_["log_likelihood"], b.history_["log_likelihood"])
    for own in (lengths, [12_000], [1] * 12_000, [11_999, 1], [1, 11_999], [6000, 6000]):
        parts = list(chains._in_series(rows, np.array(own), 3)())
        np.testing.assert_array_equal(np.vstack([p for p, _ in parts]), rows)
        np.testing.assert_array_equal(np.concatenate([l for _, l in parts]), own)
        assert all(len(p) == l.sum() and len(l) for p, l in parts)
    assert len(list(chains._in_series(rows, np.array([1] * 12_000), 3)())) == 2


def test_a_long_chain():
    "A hundred thousand rows: nothing under- or overflows, the truth comes back, and its score is that of its halves but for one transition."
    true = begun(GaussianHMM(2), {"startprob_": [1, 0], "transmat_": [[.99, .01], [.03, .97]], "means_": [[0.], [2]], "covars_": [[1.], [1.]]})
    rows, states = true.sample(100_000, random_state=0)
    fit = quiet(lambda: GaussianHMM(2, random_state=0, tol=1, n_iter=30).fit(rows))
    order = fit.means_[:, 0].argsort()
    np.testing.assert_allclose(fit.transmat_[order][:, order], true.transmat_, atol=.003)
    np.testing.assert_allclose(fit.means_[order, 0], [0, 2], atol=.05)
    assert np.isfinite(fit.score(rows)) and np.mean(order[states] == fit.predict(rows)) > .95


# ---- zeros, empty states, falling likelihoods ----------------------------------------------------


def left_right():
    return begun(GaussianHMM(3, init_params="c", random_state=0), {"means_": [[0.], [4], [9]], "startprob_": [1., 0, 0], "transmat_": [[.9, .1, 0], [0, .9, .1], [0, 0, 1]]})


@pytest.mark.parametrize("prior", [1, 1.7])
def test_zeros_stay(prior):
    "Forbidden transitions stay forbidden, with a prior too, and are not counted."
    rows = np.r_[np.random.default_rng(0).normal(0, 1, 50), np.random.default_rng(1).normal(4, 1, 50), np.random.default_rng(2).normal(9, 1, 50)][:, None]
    fit = left_right().set_params(transmat_prior=prior, startprob_prior=prior).fit(rows)
    assert (fit.transmat_[[0, 1, 2, 2], [2, 0, 0, 1]] == 0).all() and (fit.startprob_ == [1, 0, 0]).all()
    assert fit.n_parameters_ == 0 + 2 + 6 and (np.diff(fit.predict(rows)) >= 0).all()
    np.testing.assert_allclose(fit.bic(rows), -2 * fit.score(rows) + 8 * np.log(150), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_state(kind):
    "It is named, keeps what it had, nothing is NaN, and the others are as without it."
    fit = begun(GaussianHMM(3, kind, init_params="mc", random_state=0), {"startprob_": [.5, .5, 0], "transmat_": [[.5, .5, 0], [.5, .5, 0], [.2, .3, .5]]})
    with pytest.warns(RuntimeWarning, match=r"states \[2\] of 3 are empty") as said:
        fit.fit(X)
    assert len(said) == 1 and all(np.isfinite(getattr(fit, n)).all() for n in ("startprob_", "transmat_", "means_", "covars_"))
    equal(fit.transmat_[2], [.2, .3, .5])
    begin = quiet(lambda: begun(GaussianHMM(3, kind, init_params="mc", n_iter=0, random_state=0), {"startprob_": [.5, .5, 0], "transmat_": [[.5, .5, 0], [.5, .5, 0], [.2, .3, .5]]}).fit(X))
    equal(fit.means_[2], begin.means_[2])
    two = begun(GaussianHMM(2, kind, init_params="", tol=1e-8), {"startprob_": fit.startprob_[:2], "transmat_": fit.transmat_[:2, :2], "means_": fit.means_[:2],
                                                               "covars_": fit.covariances_ if kind == "tied" else fit.covariances_[:2]}).fit(X)
    np.testing.assert_allclose(two.score(X), fit.score(X), atol=1e-4)
    assert (fit.predict_proba(X)[:, 2] == 0).all()


@pytest.mark.parametrize("estimator, rows, name", [(PoissonHMM(2, init_params="l"), QUAKES, "lambdas_"), (CategoricalHMM(2, init_params="e"), codes(), "emissionprob_"),
                                                   (HMM(2, init_params="e"), QUAKES, "parameters_")])
def test_empty_state_of_other_families(estimator, rows, name):
    with pytest.warns(RuntimeWarning, match=r"states \[1\] of 2 are empty"):
        fit = begun(clone(estimator).set_params(random_state=0), {"startprob_": [1., 0], "transmat_": [[1., 0], [.4, .6]]}).fit(rows)
    value = getattr(fit, name)[0] if name == "parameters_" else getattr(fit, name)
    assert np.isfinite(value).all()
    equal(fit.transmat_, [[1, 0], [.4, .6]])


def test_empty_state_with_a_prior():
    "Then the prior says where it is."
    fit = begun(PoissonHMM(2, init_params="l", lambdas_prior=6, lambdas_weight=2, transmat_prior=2, random_state=0), {"startprob_": [1., 0], "transmat_": [[1., 0], [.4, .6]]})
    with pytest.warns(RuntimeWarning, match="empty"):
        fit.fit(QUAKES)
    equal(fit.lambdas_[1], [3])
    equal(fit.transmat_[1], [.5, .5])


def test_state_that_is_never_left():
    "Its only row is the last."
    rows = np.r_[np.random.default_rng(0).normal(size=50), 40][:, None]
    fit = begun(GaussianHMM(2, init_params="", min_covar=.1), {"startprob_": [1., 0], "transmat_": [[.9, .1], [.3, .7]], "means_": [[0.], [40]], "covars_": [[1.], [1.]]})
    with pytest.warns(RuntimeWarning) as said:
        fit.fit(rows)
    assert any("states [1] of 2 are never left" in str(s.message) for s in said)
    equal(fit.transmat_[1], [.3, .7])


def test_a_falling_likelihood_is_an_error(monkeypatch):
    "Whether it is the likelihood that falls or, with a prior, the posterior."
    whole = chains._PoissonChain.emission
    monkeypatch.setattr(chains._PoissonChain, "emission", lambda self, counts, new, old: (whole(self, counts, new, old)[0] * 1.3,))
    with pytest.raises(LikelihoodFell):
        PoissonHMM(2, random_state=0).fit(QUAKES)
    monkeypatch.undo()
    fit = quiet(lambda: PoissonHMM(2, random_state=0, lambdas_prior=60, lambdas_weight=30, n_iter=2000).fit(QUAKES))
    assert (np.diff(fit.history_["log_likelihood"]) < 0).any()          # it is the posterior that rises
    monkeypatch.setattr(chains._PoissonChain, "log_prior_of", lambda self, theta: 0.0)
    with pytest.raises(LikelihoodFell):
        PoissonHMM(2, random_state=0, lambdas_prior=60, lambdas_weight=30, n_iter=2000).fit(QUAKES)


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths, words", [
    ([100, 100], "lengths sum to 200, but X has 272 rows"), ([100, 272], "not where they end"), ([272, 0], r"lengths\[1\] is 0: every series"),
    ([273, -1], r"lengths\[1\] is -1"), ([136.5, 135.5], "whole numbers"), ([[272]], "a list of whole numbers"), (["272"], "whole numbers"),
    ([], "lengths sum to 0"), ([np.nan, 272], "whole numbers"), (272, "a list of whole numbers")])
def test_wrong_lengths(lengths, words):
    for call in (lambda: GaussianHMM(2).fit(X, lengths=lengths), lambda: GaussianHMM(1).fit(X).predict(X, lengths)):
        with pytest.raises(ValueError, match=words):
            call()


def partly(rows):
    rows = rows.astype(float)
    rows[7, 1] = np.nan
    return rows


@pytest.mark.parametrize("estimator, rows, words", [
    (PoissonHMM(2), partly(np.c_[QUAKES, QUAKES]), "row 7 of X is missing"), (GaussianHMM(2), np.c_[X, np.full(272, np.nan)], "column 2 of X is missing"), (GaussianHMM(2), np.where(X > 4, np.inf, X), "infinity"), (GaussianHMM(273), X, "n_samples >= n_components"),
    (GaussianHMM(2), np.full((5, 2), np.nan), "n_samples = 0 that are not NaN"), (GaussianHMM(2, "square"), X, "'covariance_type'"), (GaussianHMM(2, params="stl"), X, "letter 'l'"),
    (GaussianHMM(2, init_params="e"), X, "letter 'e'"), (GaussianHMM(2, min_covar=0), X, "'min_covar'"), (GaussianHMM(2), np.c_[X, np.ones(272)], "column 2 of X is constant"),
    (GaussianHMM(2, "full", covars_prior=np.ones(3)), X, r"covars_prior has shape \(3,\)"), (GaussianHMM(2, transmat_prior=.9), X, "'transmat_prior'"),
    (GaussianHMM(2, n_iter=-1), X, "'n_iter'"), (GaussianHMM(2, algorithm="best"), X, "'algorithm'"), (GaussianHMM(0), X, "'n_components'"), (PoissonHMM(2), X, "takes counts"),
    (PoissonHMM(2), -QUAKES, "takes counts"), (CategoricalHMM(2), X, "CategoricalHMM takes one"), (CategoricalHMM(2), X[:, :1], "codes are whole numbers"),
    (CategoricalHMM(2, n_features=3), codes(), "codes are whole numbers from 0 to 2"), (CategoricalHMM(2), -codes(), "codes are whole numbers"),
    (CategoricalHMM(2), codes() + 20_000, "number the categories"), (HMM(2, family=Full()), X, r"GaussianHMM\(covariance_type='full'\)"), (HMM(2, family="normal"), X, "'family'"),
    (HMM(2, family="bernoulli"), QUAKES, "Bernoulli"), (GaussianHMM(2), X * 1e160, "out of range"), (GaussianHMM(2), [["a"]] * 5, "could not convert"),
    (GaussianHMM(2), X[:1], "minimum of 2")])
def test_refuses(estimator, rows, words):
    with pytest.raises(ValueError, match=words):
        estimator.fit(rows)


@pytest.mark.parametrize("estimator, rows, words", [
    (GaussianHMM(2, startprob_prior=[1, 2, 3]), X, r"startprob_prior has shape \(3,\): set it to an array of shape \(2,\)"),
    (GaussianHMM(2, startprob_prior=np.ones((2, 2))), X, r"startprob_prior has shape \(2, 2\)"),
    (PoissonHMM(2, transmat_prior=[[2, 1], [1, .2]]), QUAKES, "transmat_prior holds 0.2, and must not be below 1"),
    (PoissonHMM(2, transmat_prior=[[2, 1], [1, np.nan]]), QUAKES, "transmat_prior must hold finite numbers"),
    (CategoricalHMM(2, emissionprob_prior=[1, 2, 3]), codes(), r"emissionprob_prior has shape \(3,\): set it to an array of shape \(2, 5\)"),
    (CategoricalHMM(2, emissionprob_prior=[1, 2, 3, 1, .5]), codes(), "emissionprob_prior holds 0.5"),
    (GaussianHMM(2, means_prior=[1, 2, 3]), X, r"means_prior has shape \(3,\)"), (GaussianHMM(2, means_prior=[1, np.nan]), X, "means_prior must hold finite"),
    (GaussianHMM(2, covars_prior=[-1, 1]), X, "covars_prior holds -1, and must not be below 0"),
    (GaussianHMM(2, "full", covars_prior=[[1, 2], [2, 1]]), X, "covars_prior must hold symmetric matrices without negative eigenvalues"),
    (GaussianHMM(2, "tied", covars_prior=[[1, .5], [0, 1]]), X, "covars_prior must hold symmetric")])
def test_wrong_priors(estimator, rows, words):
    with pytest.raises(ValueError, match=words):
        estimator.fit(rows)


@pytest.mark.parametrize("values, words", [
    ({"means_": [[1., 2], [3]]}, "means_ must hold numbers, in rows of equal length"), ({"startprob_": "half"}, "startprob_ must hold numbers, in rows"),
    ({"means_": [1., 2]}, r"means_ has shape \(2,\)"), ({"startprob_": [0, 0]}, "startprob_ must hold numbers of 0 or more"), ({"startprob_": None}, "startprob_ has shape"),
    ({"startprob_": [.5, .6]}, "startprob_ must hold numbers of 0 or more whose last axis sums to 1"), ({"startprob_": [1.]}, r"startprob_ has shape \(1,\): set it to an array of shape \(2,\)"),
    ({"transmat_": np.eye(3)}, r"transmat_ has shape \(3, 3\)"), ({"transmat_": [[.5, .5], [1.5, -.5]]}, "transmat_ must hold numbers of 0 or more"),
    ({"means_": [[1., 2, 3], [4, 5, 6]]}, r"has shape \(2, [23]\): set it to an array of shape \(2, [23]\)"), ({"means_": [[1., np.nan], [4, 5]]}, "means_ must hold finite numbers"),
    ({"covars_": [[1., 1], [1, -1]]}, "covariances_ must hold finite numbers of 0 or more")])
def test_wrong_start(values, words):
    "In a fit, and where a model set by hand is asked."
    estimator = begun(GaussianHMM(2, init_params=""), start("diag", 2, X))
    for name, value in values.items():
        setattr(estimator, name, value)
    for call in (estimator.fit, estimator.score):
        with pytest.raises(ValueError, match=words):
            call(X)


def test_wrong_start_of_other_families():
    with pytest.raises(ValueError, match=r"emissionprob_ has shape \(2, 4\): set it to an array of shape \(2, 5\)"):
        begun(CategoricalHMM(2, n_features=5, init_params="st"), {"emissionprob_": np.full((2, 4), .25)}).fit(codes())
    with pytest.raises(ValueError, match=r"lambdas_ has shape \(1, 1\)"):
        begun(PoissonHMM(2, init_params="st"), {"lambdas_": [[1.]]}).fit(QUAKES)
    with pytest.raises(ValueError, match="parameters_ has not n_components=2 entries"):
        begun(HMM(2, init_params="st"), {"parameters_": [[1.]]}).fit(QUAKES)
    for wrong, words in (((), "holds 0 arrays, and the family takes 1"), (([[1.], [2]], [3, 4]), "parameters_ holds 2 arrays")):
        with pytest.raises(ValueError, match=words):
            given(HMM(2), {"startprob_": [.5, .5], "transmat_": np.eye(2), "parameters_": wrong}).score(QUAKES)
    with pytest.raises(ValueError, match=r"lambdas_ has shape \(2,\)"):
        begun(PoissonHMM(2), {"startprob_": [.5, .5], "transmat_": np.eye(2), "lambdas_": [1., 2]}).score(QUAKES)
    with pytest.raises(ValueError, match="covariances_ must hold symmetric positive definite"):
        begun(GaussianHMM(1, "full", init_params="stm"), {"covars_": [[[1., 2], [2, 1]]]}).fit(X)


def test_forgotten_letter():
    "Words for what was set by hand and will be drawn anew; none after a fit, nor where the letter is left out."
    with pytest.warns(RuntimeWarning, match="means_ will be drawn anew, as init_params='stmc' says"):
        fit = begun(GaussianHMM(2, random_state=0), {"means_": X[:2]}).fit(X)
    fit.fit(X)
    begun(GaussianHMM(2, init_params="stc", random_state=0), {"means_": [[2., 55], [4.3, 80]]}).fit(X)


def test_last_round():
    "The limit is a warning that names it; converged_ says what happened."
    with pytest.warns(ConvergenceWarning, match="the best of 2 starts stopped after n_iter=3 rounds"):
        fit = GaussianHMM(2, n_iter=3, n_init=2, random_state=0).fit(X)
    assert not fit.converged_ and fit.n_iter_ == 3 and len(fit.history_) == 4
    assert GaussianHMM(2, random_state=0).fit(X).converged_


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "decode", "aic", "bic", "sample", "get_stationary_distribution"])
@pytest.mark.parametrize("estimator", [GaussianHMM(2), PoissonHMM(2), CategoricalHMM(2), HMM(2)])
def test_not_fitted(estimator, method):
    with pytest.raises(NotFittedError):
        getattr(estimator, method)(*([] if method in ("sample", "get_stationary_distribution") else [QUAKES]))


def test_history_and_words(capsys):
    "One entry for the start and for each round; the last gain is at most tol, the one before is more."
    fit = GaussianHMM(2, random_state=0, tol=.01, verbose=1).fit(X)
    h = fit.history_
    assert h["iteration"].tolist() == list(range(fit.n_iter_ + 1)) and (np.diff(h["seconds"]) > 0).all()
    gains = np.diff(h["log_likelihood"])
    assert gains[-1] <= .01 < gains[-2] and gains.min() > 0
    np.testing.assert_allclose(h["log_likelihood"][-1], fit.score(X), rtol=1e-10)
    assert capsys.readouterr().out.startswith("Initialization 0\n  Iteration 1\n")


# ---- starts --------------------------------------------------------------------------------------


def test_starts():
    "The best of several is kept; the same seed gives the same fit; with init_params='' a fit goes on."
    rng = np.random.RandomState(0)
    rows, settings = X, {"tol": .1, "covariance_type": "full"}
    each = [GaussianHMM(4, random_state=rng, **settings).fit(rows).score(rows) for _ in range(3)]
    fit = GaussianHMM(4, random_state=0, n_init=3, **settings).fit(rows)
    assert np.ptp(each) > .1
    np.testing.assert_allclose(fit.score(rows), max(each), rtol=1e-12)
    np.testing.assert_array_equal(fit.means_, GaussianHMM(4, random_state=0, n_init=3, **settings).fit(rows).means_)
    step = quiet(lambda: GaussianHMM(2, n_iter=2, random_state=0, tol=0).fit(X)).set_params(init_params="", n_iter=1)
    for _ in range(3):
        quiet(lambda: step.fit(X))
    equal(step.means_, quiet(lambda: GaussianHMM(2, n_iter=5, random_state=0, tol=0).fit(X)).means_, rtol=1e-10)


def test_given_start_is_the_start():
    "With n_iter=0 nothing moves, and what is not given is drawn."
    values = start("diag", 2, X)
    fit = begun(GaussianHMM(2, n_iter=0, init_params="t", random_state=0), {n: v for n, v in values.items() if n != "transmat_"}).fit(X)
    equal(fit.means_, values["means_"])
    equal(fit.covariances_, values["covars_"])
    equal(fit.transmat_.sum(axis=1), [1, 1])
    assert fit.transmat_.min() >= .25 and len(fit.history_) == 1 and fit.n_iter_ == 0


def test_fewer_different_rows_than_states():
    "k-means leaves a cluster empty, and the start is still a start."
    rows = np.repeat([[0.], [1], [5]], 20, axis=0)
    fit = quiet(lambda: GaussianHMM(4, random_state=0).fit(rows))
    assert np.isfinite(fit.means_).all() and np.isfinite(fit.score(rows))


# ---- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_gaussian_samples(kind):
    "Means and covariances of each state, and transitions, within five standard errors."
    fit = GaussianHMM(2, kind, random_state=0).fit(X)
    rows, states = fit.sample(20_000, random_state=1)
    for k in range(2):
        mine, n = rows[states == k], (states == k).sum()
        assert (abs(mine.mean(axis=0) - fit.means_[k]) < 5 * np.sqrt(fit.covars_[k].diagonal() / n)).all()
        np.testing.assert_allclose(np.cov(mine.T), fit.covars_[k], atol=5 * fit.covars_[k].max() * np.sqrt(3 / n))
        after = np.bincount(states[1:][states[:-1] == k], minlength=2) / n
        np.testing.assert_allclose(after, fit.transmat_[k], atol=5 * .5 / n**.5)


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "categorical"])
def test_samples_of_other_families(family):
    fit = HMM(2, family=family)
    fit.startprob_, fit.transmat_ = [.5, .5], [[.7, .3], [.4, .6]]
    theta = np.array([[.2, .5], [.7, .1]])
    fit.parameters_ = (np.stack([theta, 1 - theta], axis=-1) if family == "categorical" else theta,)
    rows, states = fit.sample(20_000, random_state=0)
    means = theta if family != "categorical" else 1 - theta
    for k in range(2):
        np.testing.assert_allclose(rows[states == k].mean(axis=0), means[k], atol=5 / (states == k).sum()**.5)
    assert rows.shape == (20_000, 2) and np.array_equal(rows, fit.sample(20_000, random_state=0)[0])


def test_sample_settings():
    "The state to begin in; the seed of the estimator; what cannot be drawn."
    fit = GaussianHMM(2, random_state=3).fit(X)
    assert all(fit.sample(3, currstate=k, random_state=s)[1][0] == k for k in (0, 1) for s in range(5))
    np.testing.assert_array_equal(fit.sample(5)[0], fit.sample(5)[0])
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match="n_samples"):
            fit.sample(n)
    for state in (2, -1, "a", .5):
        with pytest.raises(ValueError, match=f"currstate is {state!r}: give a state, from 0 to 1"):
            fit.sample(3, currstate=state)
    rows, states = begun(CategoricalHMM(1), {"startprob_": [1.], "transmat_": [[1.]], "emissionprob_": [[0, 1., 0]]}).sample(4)
    assert rows.tolist() == [[1]] * 4 and states.tolist() == [0] * 4


def test_stationary():
    "Of a chain that falls apart there are several."
    fit = begun(PoissonHMM(2), {"startprob_": [.5, .5], "transmat_": np.eye(2), "lambdas_": [[1.], [2]]})
    with pytest.raises(ValueError, match="several stationary distributions"):
        fit.get_stationary_distribution()
    fit.transmat_ = [[0, 1], [1, 0]]
    equal(fit.get_stationary_distribution(), [.5, .5])


# ---- any family ----------------------------------------------------------------------------------


class Geometric(Family):
    "Trials until the first success."
    spaces = ("unit",)

    def size(self, d):
        return 1 + d

    def features(self, X, out):
        out[0], out[1:] = 1, X

    def natural(self, p):
        return np.c_[np.log(p / (1 - p)).sum(axis=1), np.log1p(-p)]

    def parameters(self, moments):
        return (moments[:, :1] / moments[:, 1:],)


def test_a_family_of_your_own():
    "Densities by SciPy and enumeration; parameters counted; sampling refused with words."
    rows = np.r_[geom(.7).rvs(100, random_state=0), geom(.1).rvs(100, random_state=1)][:, None]
    fit = HMM(2, family=Geometric(), random_state=0).fit(rows)
    value, R, path, best, *_ = enumerated(fit, np.stack([geom(p).logpmf(rows[97:103, 0]) for p in fit.parameters_[0][:, 0]], axis=1))
    np.testing.assert_allclose(fit.score(rows[97:103]), value, rtol=1e-9)
    equal(fit.predict_proba(rows[97:103]), R, rtol=1e-8)
    assert fit.n_parameters_ == 1 + 2 + 2
    with pytest.raises(ValueError, match="cannot draw from family=Geometric"):
        fit.sample(3)


@pytest.mark.parametrize("name, family, rows", [("PoissonHMM", "poisson", QUAKES), ("CategoricalHMM", "categorical", codes())])
def test_general_and_special_are_the_same(name, family, rows):
    "From the same start."
    special = quiet(lambda: getattr(chains, name)(2, n_iter=0, random_state=0).fit(rows))
    values = {n: getattr(special, n) for n in ("startprob_", "transmat_")}
    theta = special.lambdas_ if family == "poisson" else special.emissionprob_[:, None]
    special = quiet(lambda: special.set_params(n_iter=10, init_params="").fit(rows))
    general = quiet(lambda: begun(HMM(2, family=family, n_iter=10, init_params=""), values | {"parameters_": theta}).fit(rows))
    equal(general.history_["log_likelihood"], special.history_["log_likelihood"])
    assert general.n_parameters_ == special.n_parameters_


def test_several_columns_of_categories_and_more_levels_later():
    "HMM takes several columns; a new fit sees new levels."
    rows = np.random.default_rng(0).integers(0, 3, (80, 2))
    fit = quiet(lambda: HMM(2, family="categorical", random_state=0, n_iter=5).fit(rows))
    assert fit.parameters_[0].shape == (2, 2, 3)
    assert quiet(lambda: fit.fit(rows + 2)).parameters_[0].shape == (2, 2, 5)
    fit = quiet(lambda: CategoricalHMM(2, random_state=0, n_iter=5).fit(codes()))
    assert quiet(lambda: fit.fit(codes() + 1)).emissionprob_.shape == (2, 6)


# ---- in company ----------------------------------------------------------------------------------


def expected_failures(estimator):
    "A chain's answer for a row depends on the rows around it, and `score_samples` is hmmlearn's."
    return {name: "rows of a chain depend on each other" for name in ("check_methods_subset_invariance", "check_methods_sample_order_invariance")}


@parametrize_with_checks([GaussianHMM(), GaussianHMM(covariance_type="full", n_jobs=2)], expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    "All but those that take rows to be independent."
    quiet(lambda: check(estimator))


def test_hmmlearn_names():
    "Settings, methods and fitted attributes, but for those that the chapter lists."
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    rows = {"GaussianHMM": X, "PoissonHMM": QUAKES, "CategoricalHMM": codes()}
    for name, data in rows.items():
        theirs, ours = getattr(hmmlearn, name)(2, random_state=0).fit(data), quiet(lambda: getattr(chains, name)(2, random_state=0, n_iter=5).fit(data))
        assert theirs.get_params().keys() - ours.get_params().keys() == {"implementation"}
        missing = {n for n in dir(theirs) if not n.startswith("_")} - set(dir(ours))
        assert missing <= {"implementation", "monitor_"}, missing
        for attribute in ("startprob_", "transmat_", "means_", "covars_", "lambdas_", "emissionprob_"):
            if hasattr(theirs, attribute):
                assert getattr(theirs, attribute).shape == getattr(ours, attribute).shape


@pytest.mark.parametrize("kind", KINDS)
def test_covars_can_be_read_and_set(kind):
    "In the shape of the type or as matrices."
    fit = GaussianHMM(2, kind, random_state=0).fit(X)
    other = begun(GaussianHMM(2, kind), {n: getattr(fit, n) for n in ("startprob_", "transmat_", "means_", "covars_")})
    assert fit.covars_.shape == (2, 2, 2) and other.score(X) == fit.score(X) and fit.n_features == 2
    other.covars_ = fit.covariances_
    assert other.score(X) == fit.score(X)
    fit.covars_[0] = 7                                                  # a copy
    assert other.score(X) == fit.score(X)


def test_second_argument():
    "`fit(X, lengths)` as in hmmlearn; a y with an entry for each row is ignored, as in scikit-learn."
    lengths = [100, 72, 100]
    a, b, c = (GaussianHMM(2, random_state=0) for _ in range(3))
    a.fit(X, lengths), b.fit(X, lengths=lengths), c.fit(X, np.arange(272))
    np.testing.assert_array_equal(a.means_, b.means_)
    np.testing.assert_array_equal(c.means_, GaussianHMM(2, random_state=0).fit(X).means_)
    assert a.score(X, lengths) == a.score(X, lengths=lengths) != a.score(X)
    np.testing.assert_array_equal(a.fit_predict(X, lengths), b.predict(X, lengths))
    for wrong in (272, [272, 1], np.ones((2, 2)), "abc"):
        with pytest.raises(ValueError, match="lengths"):
            a.fit(X, wrong)


def test_words_point_at_the_caller():
    "A warning names the line that called `fit`, not one inside the package."
    with pytest.warns(RuntimeWarning) as said:
        GaussianHMM(2, n_iter=1, random_state=0).fit(np.repeat([[0.], [1.]], 5, axis=0), lengths=[1] * 10)
    assert len(said) >= 2 and {s.filename for s in said} == {__file__}


def test_a_path_that_is_forbidden():
    "The likeliest states of single rows may make a path of probability 0, and `decode` says so."
    fit = begun(PoissonHMM(3), {"startprob_": [.4, .3, .3], "transmat_": [[0, .5, .5], [0, 1, 0], [0, 0, 1]], "lambdas_": [[1.], [1], [1]]})
    value, path = fit.decode([[1], [1]], algorithm="map")
    R = fit.predict_proba([[1], [1]])
    np.testing.assert_array_equal(path, R.argmax(axis=1))
    fit.transmat_ = [[0, .5, .5], [1, 0, 0], [1, 0, 0]]
    fit.startprob_ = [.4, .35, .25]
    value, path = fit.decode([[1], [1]], algorithm="map")
    assert path.tolist() == [0, 0] and value == -np.inf
    assert np.isfinite(fit.decode([[1], [1]])[0])


@pytest.mark.parametrize("rows", [np.full((4, 2), np.nan), X[:1], np.r_[np.full((3, 2), np.nan), X[:1]]])
def test_little_to_see(rows):
    "Nothing but missing rows, or one row, can be asked about."
    fit = GaussianHMM(2, random_state=0).fit(X)
    seen = int((~np.isnan(rows[:, 0])).sum())
    assert fit.predict(rows).shape == (len(rows),) and np.isfinite([fit.aic(rows), fit.bic(rows), fit.score(rows)]).all()
    np.testing.assert_allclose(fit.bic(rows), -2 * fit.score(rows) + 11 * np.log(max(seen, 1)), atol=1e-12)


def test_pipelines_and_routing():
    "Lengths by the name of the step, or by metadata routing."
    lengths = [100, 1, 71, 100]
    pipe = make_pipeline(StandardScaler(), GaussianHMM(2, "full", random_state=0)).fit(X, gaussianhmm__lengths=lengths)
    plain = GaussianHMM(2, "full", random_state=0).fit(StandardScaler().fit_transform(X), lengths=lengths)
    np.testing.assert_array_equal(pipe.predict(X, lengths=lengths), plain.predict(StandardScaler().fit_transform(X), lengths))
    with sklearn.config_context(enable_metadata_routing=True):
        step = GaussianHMM(2, "full", random_state=0).set_fit_request(lengths=True).set_predict_proba_request(lengths=True)
        routed = Pipeline([("scale", StandardScaler()), ("chain", step)]).fit(X, lengths=lengths)
        equal(routed.predict_proba(X, lengths=lengths), plain.predict_proba(StandardScaler().fit_transform(X), lengths), rtol=1e-9)


def test_pandas_pickle_clone():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    fit = GaussianHMM(2, random_state=0).fit(frame, lengths=pd.Series([200, 72]))
    assert list(fit.feature_names_in_) == list(frame.columns)
    plain = GaussianHMM(2, random_state=0).fit(X, lengths=[200, 72])
    np.testing.assert_array_equal(fit.means_, plain.means_)
    holes = frame.copy()
    holes.iloc[5] = None
    assert np.isfinite(fit.score(holes))
    again = pickle.loads(pickle.dumps(fit))
    assert again.score(frame) == fit.score(frame) and clone(fit).get_params() == fit.get_params() and "GaussianHMM" in fit._repr_html_()
    counts = pd.DataFrame({"n": pd.array([1, 2, None, 4] * 10, dtype="Int64")})
    assert np.isfinite(quiet(lambda: PoissonHMM(2, random_state=0, n_iter=5).fit(counts)).lambdas_).all()


@pytest.mark.parametrize("estimator, rows", [(GaussianHMM(2, "tied"), X), (PoissonHMM(2), QUAKES), (CategoricalHMM(2), codes()), (HMM(2), QUAKES),
                                             (HMM(2, family="categorical"), codes()), (HMM(2, family=Categorical(6), transmat_prior=[[2, 1], [1, 2]]), codes())])
def test_kept_in_a_file(estimator, rows, tmp_path):
    "Unfitted, set by hand and fitted: what is loaded says the same."
    fit = quiet(lambda: clone(estimator).set_params(random_state=0, n_iter=3).fit(rows))
    by_hand = given(clone(estimator), {name: getattr(fit, name) for name in fit._names.values()})
    for model in (clone(estimator), by_hand, fit):
        emlit.save(model, tmp_path / "chain.emlit")
        again = emlit.load(tmp_path / "chain.emlit")
        assert type(again) is type(model) and vars(again).keys() == vars(model).keys() and repr(again) == repr(model)
        if model is not estimator and hasattr(model, "transmat_"):
            assert again.score(rows) == model.score(rows)
            np.testing.assert_array_equal(again.decode(rows)[1], model.decode(rows)[1])
            np.testing.assert_array_equal(again.sample(9, random_state=1)[0], model.sample(9, random_state=1)[0])
    np.testing.assert_array_equal(again.history_, fit.history_)


def test_float32_and_lists():
    "Rows of 32 bits give nearly the same fit; lists will do."
    a, b, c = GaussianHMM(2, random_state=0).fit(X), GaussianHMM(2, random_state=0).fit(X.astype(np.float32)), GaussianHMM(2, random_state=0).fit(X.tolist())
    equal(b.means_, a.means_, rtol=1e-4)
    equal(c.means_, a.means_)


# ---- series in blocks ----------------------------------------------------------------------------


def heights(fit, rows, *more, **kwargs):
    "All that judges a fit."
    return np.array([getattr(fit, name)(rows, *more, **kwargs) for name in ("score", "aic", "bic")])


def test_judging_blocks(tmp_path):
    "Series of any length, rows that are missing, lengths in the blocks and beside a file, and lengths as the second argument."
    X = np.random.default_rng(5).normal(size=(9000, 2))
    X[100:140] = np.nan
    lengths = [3000, 1, 4999, 1000]
    fit, ends = quiet(lambda: GaussianHMM(2, random_state=0, n_iter=5).fit(X, lengths)), np.cumsum(lengths)
    series, expected = np.split(X, ends[:-1]), heights(fit, X, lengths=lengths)
    np.save(tmp_path / "x.npy", X)
    pairs = [(X[:3001], lengths[:2]), (X[:0], []), (X[3001:], tuple(lengths[2:]))]
    for blocks in (series, pairs):
        equal(heights(fit, lambda: iter(blocks)), expected, rtol=1e-12)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    equal(heights(fit, mapped, lengths=lengths), expected, rtol=1e-12)
    assert fit.score(X, lengths) == fit.score(X, lengths=lengths) != fit.score(X)
    equal(expected[2] - expected[1], (1 + 2 + 4 + 4) * (np.log(8960) - 2), rtol=1e-10)      # 40 rows are missing
    assert fit.score(mapped, lengths) == fit.score(mapped, lengths=lengths) and len(expected) == 3
    equal(heights(fit, mapped), heights(fit, X), rtol=1e-12)                      # one series of 9000 rows
    gone = lambda: iter([np.full((3, 2), np.nan)])                              # noqa: E731
    assert abs(fit.score(gone)) < 1e-12 and fit.bic(gone) == fit.bic(np.full((3, 2), np.nan))
    for blocks, more, words in ((lambda: iter(series), [lengths], "a function that returns blocks.*or .rows, lengths."),
                                (lambda: iter([(X, lengths, 1)]), [], "block 0 of X .*a pair .rows, lengths., not a tuple of 3"),
                                (lambda: iter([X[:9], (X[:9], [8])]), [], "block 1 of X .*lengths sum to 8, but X has 9 rows")):
        with pytest.raises(ValueError, match=words):
            fit.score(blocks, *more)


def test_nothing_is_read_before_a_fit():
    def blocks():
        raise AssertionError("the rows were asked for")
    for unfitted in (GaussianHMM(2), PoissonHMM(2)):
        for name in ("score", "aic", "bic"):
            with pytest.raises(NotFittedError):
                getattr(unfitted, name)(blocks)
