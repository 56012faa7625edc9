"""Estimators that read their rows from files and functions, beside the same fits in memory, and that survive being killed."""
import os
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from emlit import CategoricalHMM, GaussianHMM, GaussianMixture, LatentDirichletAllocation, Mixture, PoissonHMM, Prior, stream, topics
from emlit.data import load_faithful
from emlit.families import Full, MixtureModel
from emlit.hmm import sample_chain
from emlit.lda import sample_corpus
from emlit.mixture import _mapper, _Source
from emlit.stream import Checkpoint, npy_blocks, parquet_blocks
from strict import equal, no_warnings, quiet  # noqa: F401, a fixture

FAITHFUL = load_faithful().X
KINDS = "full", "tied", "diag", "spherical"


def groups(n, d=3, k=4, seed=0, holes=0.0):
    "Rows in k groups, with holes."
    rng = np.random.default_rng(seed)
    X = 4 * rng.normal(size=(k, d))[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return np.where(rng.random((n, d)) < holes, np.nan, X)


def cut(X, *more, parts=7):
    "A function over uneven blocks of X, or of pairs, one of them empty."
    edges = [0, 0, *np.sort(np.random.default_rng(1).integers(1, len(X), parts - 1)).tolist(), len(X)]
    slices = [slice(a, b) for a, b in zip(edges, edges[1:])]
    return lambda: ((X[s] if not more else (X[s], more[0][s])) for s in slices)


def same(a, b, rtol=1e-8):
    "The same fit."
    equal(b.history_["log_likelihood"], a.history_["log_likelihood"], rtol=1e-10)
    assert (a.n_iter_, a.converged_, a.n_features_in_) == (b.n_iter_, b.converged_, b.n_features_in_)
    for name in ("weights_", "means_", "covariances_", "startprob_", "transmat_", "lambdas_", "emissionprob_"):
        if hasattr(a, name):
            equal(getattr(b, name), getattr(a, name), rtol=rtol, atol=1e-12)


# ---- the same numbers as in memory ---------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"prior": "conjugate"}, {"n_init": 3, "init_params": "random"}, {"reg_covar": 0.0}, {"n_jobs": 2}])
def test_gaussian_mixture(kind, more):
    "Uneven and empty blocks of up to 40,000 rows give the fit of the whole array, from the very same start."
    X, settings = groups(12_000), dict(n_components=4, covariance_type=kind, random_state=0, max_iter=25, tol=1e-5) | more
    same(*(quiet(lambda: GaussianMixture(**settings).fit(rows)) for rows in (X, cut(X))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prior", [None, Prior(shrinkage=1.0)])
def test_holes(kind, prior):
    "NaN in some blocks, rows that are NaN as a whole, and a prior."
    X = groups(3000, holes=.15)
    X[:700] = groups(700, seed=1)                                   # a block without holes
    X[1500] = np.nan
    start = dict(weights_init=np.full(4, .25), means_init=X[~np.isnan(X).any(axis=1)][:4])
    fits = [quiet(lambda: GaussianMixture(4, covariance_type=kind, random_state=0, max_iter=12, prior=prior, **start).fit(rows)) for rows in (X, cut(X))]
    assert fits[0].history_["log_likelihood"].size > 3
    if prior is None:
        same(*fits)
    else:                                                           # EM for the scale of the prior, to within its tolerance
        equal(fits[1].means_, fits[0].means_, rtol=1e-3)


def test_prior_beyond_the_sample():
    "The prior's scale is that of all rows, and not of a sample of them."
    X = groups(60_000, 2)
    X[50_000:] *= 3
    start = dict(weights_init=[.5, .5], means_init=X[:2], precisions_init=np.tile(np.eye(2), (2, 1, 1)))
    fits = [quiet(lambda: GaussianMixture(2, prior="conjugate", max_iter=3, **start).fit(rows)) for rows in (X, cut(X))]
    assert len(fits[1].prior_.scale) == 2
    equal(fits[1].prior_.scale, fits[0].prior_.scale, rtol=1e-9)
    equal(fits[1].prior_.mean, fits[0].prior_.mean, rtol=1e-9)
    same(*fits)


def test_weights():
    "Pairs of rows and weights, some of them 0 with rows that must not count."
    X, w = groups(5000), np.random.default_rng(0).integers(0, 4, 5000).astype(float)
    X[w == 0] = 1e6
    same(*(quiet(lambda: GaussianMixture(4, random_state=0).fit(*given)) for given in ((X, None, w), (cut(X, w),))))


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "categorical"])
def test_other_families(family):
    "Counts, zeros and ones, and codes, whose number is known only after all blocks."
    rng = np.random.default_rng(0)
    X = {"poisson": rng.poisson(3, (4000, 3)), "bernoulli": rng.integers(2, size=(4000, 3)), "categorical": rng.integers(4, size=(4000, 3))}[family]
    X[-1, 0] = {"poisson": 40, "bernoulli": 1, "categorical": 6}[family]
    a, b = (quiet(lambda: Mixture(2, family=family, random_state=0, max_iter=30).fit(rows)) for rows in (X, cut(X)))
    same(a, b)
    for p, q in zip(a.parameters_, b.parameters_):
        equal(q, p, rtol=1e-8, atol=1e-12)


def test_chains():
    "One series a block, several with lengths, and a file of series."
    rng = np.random.default_rng(0)
    walks = [sample_chain(np.array([.5, .5]), np.array([[.9, .1], [.2, .8]]), n, rng) for n in (50, 3, 200, 120)]
    lengths = list(map(len, walks))
    rows = {GaussianHMM: lambda s: 3. * s[:, None] + rng.normal(size=(len(s), 1)), PoissonHMM: lambda s: rng.poisson(2 + 5 * s[:, None]),
            CategoricalHMM: lambda s: np.where(rng.random((len(s), 1)) < .8, s[:, None], 2)}
    for cls, draw in rows.items():
        series = [draw(s) for s in walks]
        pairs = [(np.vstack(series[:2]), lengths[:2]), (np.vstack(series[2:]), lengths[2:]), (series[0][:0], [])]
        whole = quiet(lambda: cls(2, random_state=0, n_iter=40).fit(np.vstack(series), lengths=lengths))
        for blocks in (series, pairs):
            same(whole, quiet(lambda: cls(2, random_state=0, n_iter=40).fit(lambda: iter(blocks))))


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    X = groups(9000)
    np.save(tmp_path / "rows.npy", X)
    return tmp_path / "rows.npy"


@pytest.mark.parametrize("piece", [slice(None), slice(1000, 8500), slice(3, None, 1)])
def test_mapped_files(file, piece):
    "A map, and pieces of one, are read as the rows that they show."
    X, settings = np.load(file)[piece], dict(n_components=4, random_state=0)
    same(*(GaussianMixture(**settings).fit(rows) for rows in (X, np.load(file, mmap_mode="r")[piece])))
    w = np.linspace(.5, 2, len(X))
    same(*(GaussianMixture(**settings).fit(rows, sample_weight=w) for rows in (X, np.load(file, mmap_mode="r")[piece])))
    same(*(GaussianMixture(**settings).fit(rows) for rows in (X, npy_blocks(file, 1111) if piece == slice(None) else cut(X))))


@pytest.mark.parametrize("change", [lambda X: X[::2], lambda X: X[:, :2], lambda X: X.T[:, ::-1], lambda X: np.asfortranarray(X)])
def test_maps_that_are_not_the_file(file, change):
    "Strides, transposes and copies."
    mapped, X = change(np.load(file, mmap_mode="r")), change(np.load(file))
    if X.shape[0] < X.shape[1]:
        mapped, X = mapped.T, X.T
    same(*(GaussianMixture(2, random_state=0, max_iter=20, tol=1e-3).fit(rows) for rows in (X, mapped)))


def test_changed_copy_on_write(file):
    "What was changed in memory alone is what counts."
    mapped = np.load(file, mmap_mode="c")
    mapped[:4500] += 7
    same(*(GaussianMixture(2, random_state=0).fit(rows) for rows in (np.array(mapped), mapped)))


def test_a_replaced_file(file):
    mapped = np.load(file, mmap_mode="r")
    np.save(file.with_name("other.npy"), groups(9000, seed=5))
    os.replace(file.with_name("other.npy"), file)
    with pytest.raises(ValueError, match="not the file any more that was mapped"):
        GaussianMixture(2).fit(mapped)


def test_parquet_with_nulls(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    X = groups(4000, holes=.1)
    parquet.write_table(pyarrow.Table.from_pandas(pd.DataFrame(X, columns=list("abc"))), tmp_path / "x.parquet")
    start = dict(means_init=X[~np.isnan(X).any(axis=1)][:3], weights_init=np.full(3, 1 / 3), precisions_init=np.tile(np.eye(3), (3, 1, 1)))
    same(*(quiet(lambda: GaussianMixture(3, max_iter=10, **start).fit(rows)) for rows in (X, parquet_blocks(tmp_path / "x.parquet", size=700))))


def test_frames_give_names():
    "Data frames as blocks; the estimator knows their columns, and forgets them in the next fit."
    X = pd.DataFrame(FAITHFUL, columns=["eruptions", "waiting"])
    fit = GaussianMixture(2, random_state=0).fit(lambda: iter([X[:100], X[100:]]))
    assert fit.feature_names_in_.tolist() == ["eruptions", "waiting"] and fit.n_features_in_ == 2
    same(GaussianMixture(2, random_state=0).fit(X), fit)
    fit.predict(X)
    assert not hasattr(fit.fit(lambda: iter([FAITHFUL])), "feature_names_in_")


def test_single_precision():
    X = groups(3000).astype(np.float32)
    same(*(GaussianMixture(3, random_state=0).fit(rows) for rows in (X, cut(X))), rtol=1e-6)


# ---- the sample ----------------------------------------------------------------------------------


def summary(X, weight=None, parts=5):
    settings = GaussianMixture(1)
    blocks = cut(X, parts=parts) if weight is None else cut(X, weight, parts=parts)
    return reduce(add, filter(stream._is_there, (stream._summary(settings, item) for item in enumerate(blocks()))))


def test_the_sample_is_fair():
    "Rows of the beginning and of the end alike, and by weight."
    place = np.arange(100_000.)[:, None]
    sample = summary(place).sample[-1][:, 0]
    assert len(np.unique(sample)) == len(sample) == 40_000
    counts, expected = np.histogram(sample, 10, (0, 1e5))[0], 4000
    assert abs(counts - expected).max() < 5 * np.sqrt(expected * .6)
    some = np.repeat([1., 9.], 50_000)
    sample = summary(place, some).sample[-1][:, 0]
    t = 40_000                                                      # the share s of light rows solves 1 - (1 - s)^9 + s = 4 / 5
    s = np.roots(np.r_[np.poly1d([-1, 1])**9 * -1 + np.poly1d([1, 1 - .8])])
    share = min(float(r.real) for r in s if abs(r.imag) < 1e-12 and 0 < r.real < 1)
    assert abs((sample < 50_000).sum() - 50_000 * share) < 5 * np.sqrt(t)


def test_summaries_join_in_any_order():
    "Ranges, counts and samples do not depend on which blocks were joined first."
    X = groups(50_000, holes=.1)
    parts = [stream._summary(GaussianMixture(1), item) for item in enumerate(np.array_split(X, 6))]
    a, b = reduce(add, parts), parts[5] + (parts[3] + parts[0]) + (parts[4] + (parts[1] + parts[2]))
    n = (~np.isnan(X).all(axis=1)).sum()
    assert (a.n, a.total) == (b.n, b.total) == (n, float(n)) and n < 50_000
    np.testing.assert_array_equal(a.low, np.nanmin(X, axis=0))
    np.testing.assert_array_equal(b.high, np.nanmax(X, axis=0))
    np.testing.assert_array_equal(a.together, (~np.isnan(X)).T.astype(float) @ ~np.isnan(X))
    np.testing.assert_array_equal(np.sort(a.sample[1]), np.sort(b.sample[1]))
    np.testing.assert_array_equal(a.together, b.together)


def test_many_columns_have_a_smaller_sample():
    assert [stream._most(d) for d in (1, 100, 200, 400, 5000)] == [40_000, 40_000, 20_000, 10_000, 10_000]


# ---- refusals ------------------------------------------------------------------------------------

ONES = np.ones((5, 2))


@pytest.mark.parametrize("fit, error, words", [
    (lambda: GaussianMixture(2).fit(iter([FAITHFUL])), TypeError, "iterator, which can be run through only once"),
    (lambda: GaussianMixture(2).fit(lambda: FAITHFUL), TypeError, "returned one array"),
    (lambda: GaussianMixture(2).fit(lambda: iter([])), ValueError, "X has 0 rows"),
    (lambda: GaussianMixture(9).fit(lambda: iter([FAITHFUL[:8]])), ValueError, "a fit of 9 components needs 9 or more"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL]), sample_weight=np.ones(272)), ValueError, "return pairs"),
    (lambda: GaussianHMM(2).fit(lambda: iter([FAITHFUL]), lengths=[272]), ValueError, "return pairs"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL, FAITHFUL[:, :1]])), ValueError, "columns 2, and one with columns 1"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL, np.where(FAITHFUL > 90, np.inf, FAITHFUL)])), ValueError, r"block 1 of X.*infinity"),
    (lambda: Mixture(2).fit(lambda: iter([ONES, np.where(ONES > 0, np.nan, 0)])), ValueError, r"block 1 of X.*NaN"),
    (lambda: GaussianMixture(2).fit(lambda: iter([(FAITHFUL, -np.ones(272))])), ValueError, r"block 0 of X.*Negative"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL, [["a", "b"]]])), ValueError, r"block 1 of X.*could not convert"),
    (lambda: Mixture(2).fit(lambda: iter([ONES, [[1, 2.5], [1, 4]]])), ValueError, "X holds 2.5 in column 1"),
    (lambda: Mixture(2, family="bernoulli").fit(lambda: iter([ONES, [[1, 2]]])), ValueError, "X holds 2 in column 1"),
    (lambda: CategoricalHMM(2).fit(lambda: iter([ONES[:, :1], ONES[:, :1] / 2])), ValueError, "X holds 0.5"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL, FAITHFUL * 1e200])), ValueError, "rescale it"),
    (lambda: GaussianMixture(2).fit(lambda: iter([FAITHFUL * [1, np.nan], FAITHFUL * [np.nan, 1]])), ValueError, "never observed in the same row"),
])
def test_refusals(fit, error, words):
    with pytest.raises(error, match=words):
        fit()


def test_other_rows_in_the_second_pass():
    "A generator behind a function, and a file that grows."
    once = iter(np.array_split(FAITHFUL, 3))
    growing = iter([FAITHFUL, np.vstack([FAITHFUL, FAITHFUL[:9]])])
    for blocks, words in ((lambda: (b for b in once), "weight 0 in a pass, and 272 in the first"), (lambda: iter([next(growing)]), "weight 281 in a pass")):
        with pytest.raises(ValueError, match=words):
            GaussianMixture(2, random_state=0).fit(blocks)


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_array_filled_again_and_again(jobs):
    "A function that reads each block into the same memory."
    def blocks():
        buffer = np.empty((34, 2))
        for part in np.array_split(FAITHFUL, 8):
            buffer[:] = part
            yield buffer
    same(*(GaussianMixture(2, random_state=0, n_jobs=jobs).fit(rows) for rows in (FAITHFUL, blocks)))


def test_an_error_inside_the_function_is_its_own():
    def blocks():
        yield FAITHFUL
        raise OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"):
        GaussianMixture(2, n_jobs=2).fit(blocks)


# ---- passes and memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_pass_a_round(jobs):
    "One pass to look at the blocks, and one for each E-step."
    passes = []
    def blocks():
        passes.append(1)
        yield from np.array_split(FAITHFUL, 34)
    fit = GaussianMixture(2, random_state=0, n_jobs=jobs).fit(blocks)
    assert len(passes) == 1 + fit.n_iter_ + 1


def test_blocks_are_taken_as_they_are_needed():
    "A pool of threads is never more than a few blocks ahead of what was asked for."
    taken = []
    with _mapper(2) as mapper:
        results = mapper(abs, (taken.append(i) or i for i in range(1000)))
        for i in range(50):
            assert next(results) == i and len(taken) <= i + 6
        assert list(results) == list(range(50, 1000))


MEMORY = """
import sys, warnings
import numpy as np
from pathlib import Path
from emlit import GaussianMixture
warnings.simplefilter("ignore")
def memory(name):
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)).split()[1]) / 1024
start = dict(means_init=[[-1.] * 8, [1.] * 8], weights_init=[.5, .5], precisions_init=[np.eye(8)] * 2)
model = GaussianMixture(2, max_iter=2, tol=0, **start)
model.fit(np.random.default_rng(0).normal(size=(50_000, 8)))
before = memory("VmRSS")
model.fit(np.load(sys.argv[1], mmap_mode="r"))
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_mapped_file(tmp_path):
    "A file of 192 MB takes a small part of that."
    X = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float64, (3_000_000, 8))
    for part in np.array_split(X, 30):
        part[:] = np.random.default_rng(0).normal(size=part.shape)
    X.flush()
    out = subprocess.run([sys.executable, "-c", MEMORY, tmp_path / "big.npy"], capture_output=True, text=True, check=True,
                         env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert float(out.stdout) < 60


# ---- checkpoints ---------------------------------------------------------------------------------

SCRIPT = """
import os, signal, sys, time, warnings
import numpy as np
from emlit import GaussianHMM, GaussianMixture
from emlit.data import load_faithful
warnings.simplefilter("ignore")
X, rng = load_faithful().X, np.random.default_rng()
X = np.vstack([X, np.tile(X[:1], (40, 1))])                         # a component will collapse there, and be placed anew
ESTIMATORS = {"mixture": GaussianMixture(4, n_init=3, random_state=0, n_restarts=2, max_iter=60, reg_covar=1e-9, init_params="random"),
              "chain": GaussianHMM(3, "full", n_init=2, n_iter=40, random_state=0)}

def fit(name, checkpoint, pause):
    def blocks():
        for part in np.array_split(X, 3):
            time.sleep(pause / 3)
            yield part
    done = ESTIMATORS[name].set_params(checkpoint=checkpoint).fit(blocks)
    np.savez(f"{name}-{'war' if checkpoint else 'peace'}.npz", means=done.means_, covariances=done.covariances_, rounds=done.n_iter_,
             iteration=done.history_["iteration"], log_likelihood=done.history_["log_likelihood"])

def in_a_process(*arguments):
    child = os.fork()
    if child == 0:
        fit(*arguments)
        os._exit(0)
    return child

for name in ESTIMATORS:
    kills, killed = 0, True
    while kills < 20 and killed:
        child = in_a_process(name, name + ".checkpoint", .004)
        time.sleep(rng.uniform(.05, .25))
        os.kill(child, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        kills += killed
    assert os.waitpid(in_a_process(name, name + ".checkpoint", 0), 0)[1] == 0
    fit(name, None, 0)
    print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
def test_sigkill(tmp_path):
    "Killed at up to twenty random moments, in starts, restarts and rounds, a fit ends with the digits of one left in peace."
    out = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert min(map(int, out.stdout.split())) >= 3, out.stdout
    for name in ("mixture", "chain"):
        with np.load(tmp_path / f"{name}-peace.npz") as a, np.load(tmp_path / f"{name}-war.npz") as b:
            for array in a.files:
                np.testing.assert_array_equal(a[array], b[array], err_msg=f"{name} {array}")


class Cut(Exception):
    pass


def failing(X, passes):
    left = iter(range(passes))
    def blocks():
        if next(left, None) is None:
            raise Cut
        yield X
    return blocks


def test_a_finished_fit_takes_one_pass_a_climb(tmp_path):
    "And more rounds can be asked for later."
    settings = dict(n_components=3, random_state=0, n_init=2, checkpoint=tmp_path / "c.npz")
    first = GaussianMixture(**settings).fit(lambda: iter([FAITHFUL]))
    same(first, GaussianMixture(**settings).fit(failing(FAITHFUL, 3)))
    short = dict(n_components=3, random_state=1, checkpoint=tmp_path / "d.npz")
    quiet(lambda: GaussianMixture(**short, max_iter=4).fit(FAITHFUL))
    whole = GaussianMixture(**short | {"checkpoint": None}).fit(FAITHFUL)
    longer = GaussianMixture(**short).fit(FAITHFUL)
    same(whole, longer)
    assert longer.n_iter_ > 10


@pytest.mark.parametrize("change, words", [
    ({"n_components": 4}, "n_components"), ({"covariance_type": "tied"}, "covariance_type"), ({"random_state": 5}, "random_state"),
    ({"prior": Prior(shrinkage=.5)}, "prior"), ({"means_init": FAITHFUL[:3]}, "means_init"), ({"reg_covar": 1e-3}, "reg_covar")])
def test_foreign_checkpoints(tmp_path, change, words):
    settings = dict(n_components=3, random_state=0, checkpoint=str(tmp_path / "c.npz"), max_iter=5, tol=1e-2)
    quiet(lambda: GaussianMixture(**settings).fit(FAITHFUL))
    with pytest.raises(ValueError, match=f"checkpoint of another fit, whose {words} is"):
        GaussianMixture(**settings | change).fit(FAITHFUL)


def test_other_rows_and_damage(tmp_path):
    path = tmp_path / "c.npz"
    settings = dict(n_components=3, random_state=0, checkpoint=path, max_iter=5, tol=1e-2)
    quiet(lambda: GaussianMixture(**settings).fit(FAITHFUL))
    with pytest.raises(ValueError, match="another fit, whose data is 272 rows"):
        GaussianMixture(**settings).fit(FAITHFUL[:200])
    inside = FAITHFUL.copy()
    inside[100] = inside.mean(axis=0)                               # same number, same range
    start = dict(means_init=FAITHFUL[:3], weights_init=np.full(3, 1 / 3), precisions_init=np.tile(np.eye(2), (3, 1, 1)))
    path.unlink()
    quiet(lambda: GaussianMixture(**settings, **start).fit(FAITHFUL))
    with pytest.raises(ValueError, match="belongs to other rows"):
        GaussianMixture(**settings, **start).fit(inside)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="damaged, or no checkpoint"):
        GaussianMixture(**settings).fit(FAITHFUL)
    with pytest.raises(ValueError, match="no folder"):
        GaussianMixture(2, random_state=0, checkpoint=tmp_path / "no" / "c.npz").fit(FAITHFUL)


@pytest.mark.parametrize("change, words", [
    ({"random_state": None}, "whole number as random_state"), ({"random_state": np.random.RandomState(0)}, "whole number as random_state"),
    ({"accelerate": "squarem"}, "neither with accelerate"), ({"warm_start": True}, "neither with accelerate")])
def test_settings_that_cannot_be_taken_up(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(**{"n_components": 2, "random_state": 0, "checkpoint": tmp_path / "c.npz"} | change).fit(FAITHFUL)


def test_cloned_and_in_a_grid(tmp_path):
    "Paths are settings like others."
    model = GaussianMixture(2, random_state=0, checkpoint=tmp_path / "c.npz")
    assert clone(model).checkpoint == tmp_path / "c.npz"
    same(GaussianMixture(2, random_state=0).fit(FAITHFUL), model.fit(FAITHFUL))


def test_starts_and_restarts_are_told_apart(tmp_path):
    "A checkpoint changes nothing, whichever start is the best and however often a component is placed anew."
    spike = np.vstack([FAITHFUL, np.tile(FAITHFUL[:1], (40, 1))])
    later = restarted = 0
    for seed in range(3):
        settings = dict(n_components=4, init_params="random", max_iter=30, random_state=seed)
        more = dict(n_init=4), dict(n_restarts=2, reg_covar=1e-9, init_params="kmeans", max_iter=400, tol=1e-4)
        for number, given in enumerate(more):
            plain, kept = (GaussianMixture(**settings | given, checkpoint=path) for path in (None, tmp_path / f"{seed}{number}.npz"))
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                plain.fit(spike)
            restarted += any("restarted" in str(w.message) for w in heard)
            same(plain, quiet(lambda: kept.fit(spike)), rtol=1e-12)
            same(plain, quiet(lambda: kept.fit(spike)), rtol=1e-12)
        first = quiet(lambda: GaussianMixture(**settings).fit(spike))
        later += first.lower_bound_ < quiet(lambda: GaussianMixture(**settings, n_init=4).fit(spike)).lower_bound_ - 1e-3
    assert later and restarted


# ---- checkpoints of topics -----------------------------------------------------------------------

RNG = np.random.default_rng(0)
COUNTS = sample_corpus(np.full(4, .2), RNG.dirichlet(np.full(40, .1), size=4), np.full(120, 60), RNG)[0]


def some(X=COUNTS, passes=10**6):
    "Three blocks of documents, for so many passes."
    left = iter(range(passes))
    def blocks():
        if next(left, None) is None:
            raise Cut
        return (X[a:a + 50] for a in range(0, X.shape[0], 50))
    return blocks


def lda(checkpoint=None, **settings):
    return LatentDirichletAllocation(**dict(n_components=4, random_state=0, tol=1e-5, max_iter=200, checkpoint=checkpoint) | settings)


def same_topics(a, b):
    "The same fit, to the last digit, and the same state of the random numbers."
    for name in ("components_", "doc_topic_prior_", "topic_word_prior_", "lower_bound_", "bound_", "n_iter_", "n_batch_iter_", "converged_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(b, name), getattr(a, name), err_msg=name)
    for name in ("iteration", "bound"):
        np.testing.assert_array_equal(b.history_[name], a.history_[name], strict=True)
    assert (np.diff(b.history_["seconds"]) > 0).all()
    np.testing.assert_array_equal(a.random_state_.get_state()[1], b.random_state_.get_state()[1])


KINDS_OF_FIT = {
    "memory": (COUNTS, {}), "blocks": (some(), {}), "priors": (COUNTS, {"learn_doc_topic_prior": "free", "learn_topic_word_prior": True}),
    "priors in blocks": (some(), {"learn_doc_topic_prior": "symmetric"}), "a fall": (some(), {"tol": 0, "max_doc_update_iter": 5}),
    "perplexity": (COUNTS, {"tol": 0, "evaluate_every": 5, "perp_tol": .02}), "perplexity in blocks": (some(), {"tol": 0, "evaluate_every": 3, "perp_tol": .02})}


@pytest.mark.parametrize("kind", KINDS_OF_FIT)
def test_topics_go_on(tmp_path, capsys, kind):
    "After so many passes, from the file, as if nothing had happened; and once more when the fit is done."
    X, settings = KINDS_OF_FIT[kind]
    whole = lda(**settings).fit(X)
    assert whole.converged_ and whole.n_iter_ > 8
    if kind == "a fall":
        assert np.diff(whole.history_["bound"])[-1] > 0                  # the pass that fell is not in the log
    for number, path in ((passes, tmp_path / f"{passes}.npz") for passes in (1, 4, whole.n_iter_ - 1)):
        short = quiet(lambda: lda(path, **settings | {"max_iter": number}).fit(X))
        assert short.n_iter_ == number and not short.converged_
        same_topics(whole, lda(path, verbose=1, **settings).fit(X))
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].startswith(f"iteration: {number} of") and len(printed) == whole.n_iter_ - number + 1      # no pass is taken twice but one
        same_topics(whole, lda(path, verbose=1, **settings).fit(X))
        assert len(capsys.readouterr().out.splitlines()) == 1


def test_topics_after_many_power_cuts(tmp_path):
    "A function over blocks that fails again and again, and is read no more often than it must."
    whole, cuts = lda().fit(some()), 0
    while True:
        try:
            fit = lda(tmp_path / "c.npz").fit(some(passes=2 + 4))        # two to look, one that was known, three new ones
            break
        except Cut:
            cuts += 1
    same_topics(whole, fit)
    assert cuts == (whole.n_iter_ - 1) // 3


def test_what_topics_may_change_on_the_way(tmp_path):
    "Rules that end a fit, threads, and the blocks."
    lda(tmp_path / "c.npz", tol=1e-3).fit(some())
    other = lda(tmp_path / "c.npz", n_jobs=2, evaluate_every=4, perp_tol=1e-9).fit(lambda: iter([COUNTS[:7], COUNTS[7:]]))
    whole = lda().fit(some())
    assert other.n_iter_ == whole.n_iter_
    np.testing.assert_allclose(other.components_, whole.components_, rtol=1e-8)


@pytest.mark.parametrize("change, words", [
    ({"n_components": 5}, "n_components is 4, and here it is 5"), ({"random_state": 5}, "random_state"), ({"doc_topic_prior": [.1, .2, .3, .4]}, "doc_topic_prior"),
    ({"topic_word_prior": .1}, "topic_word_prior"), ({"mean_change_tol": .1}, "mean_change_tol"), ({"max_doc_update_iter": 9}, "max_doc_update_iter"),
    ({"learn_doc_topic_prior": "free"}, "learn_doc_topic_prior"), ({"learn_topic_word_prior": True}, "learn_topic_word_prior")])
def test_topics_of_other_settings(tmp_path, change, words):
    lda(tmp_path / "c.npz", max_iter=2, tol=0).fit(COUNTS)
    with pytest.raises(ValueError, match=f"checkpoint of another fit, whose {words}"):
        lda(tmp_path / "c.npz", **change).fit(COUNTS)


def test_topics_of_other_documents(tmp_path):
    "Another number of words, the same words in other documents, blocks in place of memory, other files, and damage."
    path = tmp_path / "c.npz"
    lda(path, max_iter=2, tol=0).fit(COUNTS)
    mixed = COUNTS.copy()
    mixed.data[[0, 1]] += [1, -1]
    for X, words in ((COUNTS[:100], "whose data is 7200 words, and here it is 6000 words"), (mixed, "whose start from the data is"), (some(), "whose start from the data is")):
        with pytest.raises(ValueError, match=words):
            lda(path).fit(X)
    GaussianMixture(2, random_state=0, checkpoint=tmp_path / "mixture.npz").fit(FAITHFUL)
    with pytest.raises(ValueError, match="whose class is GaussianMixture, and here it is LatentDirichletAllocation"):
        lda(tmp_path / "mixture.npz").fit(COUNTS)
    with pytest.raises(ValueError, match="whose class is LatentDirichletAllocation"):
        GaussianMixture(2, random_state=0, checkpoint=path).fit(FAITHFUL)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="damaged, or no checkpoint"):
        lda(path).fit(COUNTS)


def test_the_documents_of_a_file_are_read(tmp_path, monkeypatch):
    "Where the start is the same by chance, the bound tells."
    monkeypatch.setattr(topics, "_SAMPLE", 20)
    lda(tmp_path / "c.npz", max_iter=2, tol=0).fit(some())
    used = LatentDirichletAllocation(4, random_state=0)
    used._begin(40)
    chosen = used.random_state_.choice(120, 20, replace=False)
    others = np.setdiff1d(np.arange(120), chosen)
    X = COUNTS.copy()
    row = others[0]
    entries = slice(X.indptr[row], X.indptr[row + 1])
    X.data[entries] = X.data[entries][::-1]                              # as many words, but others, in a document out of the sample
    with pytest.raises(ValueError, match="belongs to other rows"):
        lda(tmp_path / "c.npz").fit(some(X))


@pytest.mark.parametrize("change, words", [
    ({"random_state": None}, "whole number as random_state"), ({"random_state": np.random.RandomState(0)}, "whole number as random_state"),
    ({"checkpoint": "/no/such/folder/c.npz"}, "no folder"), ({"learning_method": "online"}, "checkpoint.*need learning_method='batch'")])
def test_topics_that_cannot_be_taken_up(tmp_path, change, words):
    "It is said before the first pass."
    for X in (COUNTS, some(passes=0)):
        with pytest.raises(ValueError, match=words):
            lda(**{"checkpoint": tmp_path / "c.npz"} | change).fit(X)


def test_a_checkpoint_is_a_setting():
    "Of clones and kept fits; and without a pass there is nothing to write."
    assert clone(lda("c.npz")).checkpoint == "c.npz"


def test_no_pass_no_file(tmp_path):
    same_topics(lda(max_iter=0).fit(COUNTS), fit := lda(tmp_path / "c.npz", max_iter=0).fit(COUNTS))
    assert fit.n_iter_ == 0 and not (tmp_path / "c.npz").exists()


TOPICS_SCRIPT = """
import os, signal, sys, time
import numpy as np
import emlit.topics
from emlit import LatentDirichletAllocation
X, rng = np.load("counts.npy"), np.random.default_rng()
FITS = {"memory": (X, {"evaluate_every": 5, "perp_tol": .0005}), "blocks": (lambda: iter(np.array_split(X, 3)), {"max_doc_update_iter": 3})}
read, say = emlit.topics._read, emlit.topics._Log.say

def fit(name, checkpoint, pause):
    def slow(*arguments):
        if arguments[6:] != (np.log,):                                  # not in the start
            time.sleep(pause)
        return read(*arguments)
    emlit.topics._read = slow
    data, settings = FITS[name]
    passes = open(name + ".passes", "a")
    emlit.topics._Log.say = lambda log, number, more="": print(number, file=passes, flush=True) if checkpoint else None
    done = LatentDirichletAllocation(4, random_state=0, tol=0, max_iter=300, checkpoint=checkpoint, **settings).fit(data)
    np.savez(f"{name}-{'war' if checkpoint else 'peace'}.npz", topics=done.components_, passes=done.n_iter_, converged=done.converged_,
             iteration=done.history_["iteration"], bound=done.history_["bound"])

def in_a_process(*arguments):
    child = os.fork()
    if child == 0:
        fit(*arguments)
        os._exit(0)
    return child

for name in FITS:
    kills, killed = 0, True
    while kills < 12 and killed:
        child = in_a_process(name, name + ".checkpoint", {"memory": .02, "blocks": .006}[name])
        time.sleep(rng.uniform(.05, .25))
        os.kill(child, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        kills += killed
    assert os.waitpid(in_a_process(name, name + ".checkpoint", 0), 0)[1] == 0
    fit(name, None, 0)
    print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
def test_sigkill_of_topics(tmp_path):
    "Killed at up to twelve random moments, in memory and from blocks; each process went on from the passes of the one before."
    np.save(tmp_path / "counts.npy", COUNTS.toarray())
    out = subprocess.run([sys.executable, "-c", TOPICS_SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert min(map(int, out.stdout.split())) >= 3, out.stdout
    for name in ("memory", "blocks"):
        with np.load(tmp_path / f"{name}-peace.npz") as a, np.load(tmp_path / f"{name}-war.npz") as b:
            for array in a.files:
                np.testing.assert_array_equal(a[array], b[array], err_msg=f"{name} {array}")
            assert a["converged"] and a["passes"] >= 20
        steps = np.diff(np.array((tmp_path / f"{name}.passes").read_text().split(), dtype=int))
        assert set(steps.tolist()) == {0, 1} and (steps == 0).sum() >= 2, steps      # each process began where the last one was: no pass is lost


# ---- found by trying to break it -----------------------------------------------------------------


def test_series_that_are_missing_for_the_most_part():
    "Rows that are missing as a whole are no rows to start from, and too few that are there is an error."
    gaps = np.full((60_000, 1), np.nan)
    gaps[::500, 0] = np.random.default_rng(0).poisson(5, 120)
    blocks = [(part, [1000] * 10) for part in np.array_split(gaps, 6)]
    whole = quiet(lambda: PoissonHMM(2, random_state=0, n_iter=5).fit(gaps, lengths=[1000] * 60))
    same(whole, quiet(lambda: PoissonHMM(2, random_state=0, n_iter=5).fit(lambda: iter(blocks))))
    with pytest.raises(ValueError, match="X has 1 rows in its blocks that count and are not missing"):
        PoissonHMM(2).fit(lambda: iter([np.r_[[[3.]], gaps[1:200]]]))


def test_a_chain_set_by_hand_has_no_foreign_checkpoint(tmp_path):
    "Means that are set and kept are not those of the file."
    def fit(means, path=tmp_path / "c.npz"):
        model = GaussianHMM(2, random_state=0, init_params="stc", params="stc", n_iter=20, checkpoint=path)
        model.means_ = np.array(means, dtype=float)
        return quiet(lambda: model.fit(FAITHFUL))
    fit([[2, 55], [4, 80]])
    same(fit([[2, 60], [4, 90]], None), fit([[2, 60], [4, 90]]))


@pytest.mark.parametrize("changes", [[{"max_iter": 7}, {"max_iter": 12}], [{"tol": .1}]])
def test_rounds_that_were_short(tmp_path, changes):
    "A fit with fewer rounds or another tolerance before restarts components elsewhere; what belongs to other climbs is not used."
    spike = np.vstack([FAITHFUL, np.tile(FAITHFUL[:1], (40, 1))])
    settings = dict(n_components=4, random_state=0, n_restarts=3, n_init=2, reg_covar=1e-9, init_params="random", max_iter=300, tol=1e-5)
    for change in changes:
        quiet(lambda: GaussianMixture(**settings | change, checkpoint=tmp_path / "c.npz").fit(spike))
    same(*(quiet(lambda: GaussianMixture(**settings, checkpoint=path).fit(spike)) for path in (None, tmp_path / "c.npz")), rtol=1e-12)


@pytest.mark.parametrize("wrap", [lambda b: pd.DataFrame(b, copy=False), lambda b: b.view(type("Own", (np.ndarray,), {})), lambda b: (b, np.ones(len(b)))])
def test_other_kinds_of_memory_filled_again(wrap):
    "Frames, subclasses and pairs, with several threads."
    def blocks():
        buffer = np.empty((34, 2))
        for part in np.array_split(FAITHFUL, 8):
            buffer[:] = part
            yield wrap(buffer)
    a, b = (GaussianMixture(2, random_state=0, n_jobs=2).fit(rows) for rows in (FAITHFUL, blocks))
    same(a, b)


def test_the_sample_does_not_follow_the_rows():
    "Not even where the rows were drawn with the number of the block as seed."
    parts = [np.random.default_rng(i).exponential(size=(10_000, 1)) for i in range(6)]
    sample = reduce(add, (stream._summary(GaussianMixture(1), item) for item in enumerate(parts))).sample[-1]
    assert abs(sample.mean() - np.vstack(parts).mean()) < 5 / np.sqrt(40_000)


def test_values_that_are_rarely_seen_are_in_the_sample():
    "A column that was observed in 50 of 200,000 rows."
    X = groups(200_000, 2)
    X[np.setdiff1d(np.arange(200_000), np.random.default_rng(0).choice(200_000, 50)), 1] = np.nan
    table = stream._Stream(GaussianMixture(2), cut(X))
    assert (~np.isnan(table.X[:, 1])).sum() >= 30
    quiet(lambda: GaussianMixture(2, covariance_type="diag", max_iter=3, random_state=0).fit(cut(X)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_a_prior_is_that_of_all_rows(kind):
    "Where it is decided by rows that are in no sample."
    X = np.c_[groups(60_000, 1)[:, 0], np.zeros(60_000)]
    table = stream._Stream(GaussianMixture(1), cut(X))
    outside = np.setdiff1d(np.arange(60_000), np.flatnonzero(np.isin(X[:, 0], table.X[:, 0])))
    X[outside[0], 1] = 1.0
    start = dict(weights_init=[.5, .5], means_init=X[[0, 9]], precisions_init={"full": [np.eye(2)] * 2, "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": [1, 1]}[kind])
    fits = [quiet(lambda: GaussianMixture(2, covariance_type=kind, prior="conjugate", max_iter=2, **start).fit(rows)) for rows in (X, cut(X))]
    equal(fits[1].prior_.scale, fits[0].prior_.scale, rtol=1e-9, atol=1e-20)
    same(*fits)


def test_blocks_without_weight_or_rows():
    "Weights that are all 0, and empty blocks of any shape."
    blocks = [(FAITHFUL * 1e3, np.zeros(272)), FAITHFUL[:100], [], np.empty((0, 7)), (FAITHFUL[100:], None)]
    same(GaussianMixture(2, random_state=0).fit(FAITHFUL), GaussianMixture(2, random_state=0).fit(lambda: iter(blocks)))


@pytest.mark.parametrize("blocks, error, words", [
    (lambda: None, TypeError, "returned one NoneType"), (lambda: pd.DataFrame(FAITHFUL), TypeError, "returned one DataFrame"),
    (lambda: {"a": FAITHFUL}, TypeError, "returned one dict"), (lambda: iter([(FAITHFUL, None, 3)]), ValueError, "not a tuple of 3"),
    (lambda: iter([(FAITHFUL, np.ma.masked_less(np.arange(272.), 5))]), ValueError, "sample_weight has masked values")])
def test_functions_that_give_something_else(blocks, error, words):
    with pytest.raises(error, match=words):
        GaussianMixture(2).fit(blocks)


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "score_samples", "fit_predict"])
def test_answers_for_each_row_want_them_in_memory(ask):
    "They are asked for block by block, and say so."
    with pytest.raises(TypeError, match="X is a function, and numbers in memory are needed here: give the rows, one block after the other"):
        getattr(GaussianMixture(2, random_state=0).fit(FAITHFUL), ask)(lambda: iter([FAITHFUL]))


def test_checkpoints_of_the_other_kind(tmp_path):
    "That of a run of the driver, and that of an estimator, refuse each other in words."
    model, start = MixtureModel(Full()), (np.array([.5, .5]), FAITHFUL[[0, 1]], np.tile(np.cov(FAITHFUL.T), (2, 1, 1)))
    Checkpoint(tmp_path / "run.npz").run(model, start, FAITHFUL, max_iter=3, warn=False)
    with pytest.raises(ValueError, match="whose class is not named"):
        GaussianMixture(2, random_state=0, checkpoint=tmp_path / "run.npz").fit(FAITHFUL)
    GaussianMixture(2, random_state=0, checkpoint=tmp_path / "fit.npz").fit(FAITHFUL)
    with pytest.raises(ValueError, match="whose model is not named"):
        Checkpoint(tmp_path / "fit.npz").run(model, start, FAITHFUL)
    with pytest.raises(ValueError, match="which is a folder"):
        GaussianMixture(2, random_state=0, checkpoint=tmp_path).fit(FAITHFUL)


def test_a_checkpoint_that_cannot_be_is_known_before_the_first_pass(tmp_path):
    def blocks():
        raise AssertionError("the rows were asked for")
    for settings, words in (({"checkpoint": tmp_path / "no" / "c"}, "no folder"), ({"checkpoint": tmp_path / "c", "random_state": None}, "whole number")):
        with pytest.raises(ValueError, match=words):
            GaussianMixture(2, **{"random_state": 0} | settings).fit(blocks)


def test_the_same_settings_in_other_words(tmp_path):
    "NumPy's numbers, lists and arrays."
    path = tmp_path / "c.npz"
    a = GaussianMixture(2, random_state=0, reg_covar=1e-6, means_init=[[2, 55], [4, 80]], checkpoint=path).fit(FAITHFUL)
    b = GaussianMixture(np.int64(2), random_state=np.int64(0), reg_covar=np.float64(1e-6), means_init=np.array([[2, 55], [4, 80]]), checkpoint=path).fit(FAITHFUL)
    same(a, b)


def test_two_fits_on_one_path(tmp_path):
    "Nobody takes the other's half-written file."
    def fit(_):
        return GaussianMixture(3, random_state=0, checkpoint=tmp_path / "c.npz").fit(FAITHFUL)
    with ThreadPoolExecutor(2) as pool:
        same(*pool.map(fit, range(2)))


def test_frames_of_chains_are_silent():
    "No warning about names in each block."
    frame = pd.DataFrame(FAITHFUL, columns=["a", "b"])
    fit = GaussianHMM(2, random_state=0).fit(lambda: iter([frame[:100], frame[100:]]))
    assert fit.feature_names_in_.tolist() == ["a", "b"]


def test_a_deleted_file_is_still_mapped(file):
    mapped, X = np.load(file, mmap_mode="r"), np.load(file)
    file.unlink()
    same(*(GaussianMixture(2, random_state=0, max_iter=9, tol=1e-2).fit(rows) for rows in (X, mapped)))


# ---- judging, block by block ---------------------------------------------------------------------


def judged(fit, X, *more, names=("score", "aic", "bic", "icl"), **kwargs):
    "All that judges a fit."
    return np.array([getattr(fit, name)(X, *more, **kwargs) for name in names if hasattr(fit, name)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("holes", [0, .3])
def test_judging(kind, holes):
    "As in memory: with weights, with blocks that have none, with holes, and with rows and a whole block of which nothing was seen."
    X, w = groups(3000, holes=holes, seed=3), np.random.default_rng(0).uniform(0, 3, 3000)
    fit = quiet(lambda: GaussianMixture(3, covariance_type=kind, random_state=0, max_iter=9).fit(X))
    if holes:
        X[40:60], X[2000:2200] = np.nan, np.nan
    equal(judged(fit, cut(X)), judged(fit, X), rtol=1e-12)
    equal(judged(fit, cut(X, w)), judged(fit, X, sample_weight=w), rtol=1e-12)
    w[2000:2300] = 0                                                            # the block from 2100 to 2300 has rows that would count for much
    X[2000:2300] = 1e3
    edges = [0, 2100, 2300, 3000]
    pairs = [(X[:0], w[:0]), *((X[a:b], w[a:b]) for a, b in zip(edges, edges[1:]))]
    equal(judged(fit, lambda: iter(pairs)), judged(fit, X, sample_weight=w), rtol=1e-12)
    if holes:
        equal(judged(fit, lambda: iter([X[:1000], np.full((5, 3), np.nan)])), judged(fit, np.vstack([X[:1000], np.full((5, 3), np.nan)])), rtol=1e-12)


def test_judging_reads_each_block_once():
    "One pass, and no look before it."
    X, asked = groups(2000), []
    fit = GaussianMixture(2, random_state=0, max_iter=2, tol=1e9).fit(X)
    def blocks():
        for part in np.array_split(X, 4):
            asked.append(len(part))
            yield part
    for number, name in enumerate(("score", "aic", "bic", "icl"), 1):
        getattr(fit, name)(blocks)
        assert asked == [500] * 4 * number


def test_judging_a_file_piece_by_piece(tmp_path, monkeypatch):
    "No more than a block of a mapped file is ever in memory, and it was read, not mapped."
    np.save(tmp_path / "x.npy", groups(400_000, d=2))
    mapped, seen = np.load(tmp_path / "x.npy", mmap_mode="r"), []
    fit, before = GaussianMixture(2, random_state=0, max_iter=2, tol=1e9).fit(np.array(mapped[:1000])), GaussianMixture._log_joint
    expected = judged(fit, np.array(mapped))
    monkeypatch.setattr(GaussianMixture, "_log_joint", lambda self, X: (seen.append((type(X), len(X))), before(self, X))[1])
    equal(judged(fit, mapped), expected, rtol=1e-12)
    assert max(n for _, n in seen) < 250_000 and sum(n for _, n in seen) == 4 * 400_000 and {kind for kind, _ in seen} == {np.ndarray}
    half, w = mapped[100_000:300_000], np.linspace(0, 1, 200_000)
    equal(judged(fit, half, sample_weight=w), judged(fit, np.array(half), sample_weight=w), rtol=1e-12)


@pytest.mark.parametrize("blocks, error, words", [
    (lambda: iter([]), ValueError, "no rows that count in its blocks: does the function return a new iterator"),
    (lambda: iter([FAITHFUL[:0], [], (FAITHFUL, np.zeros(272))]), ValueError, "no rows that count in its blocks"),
    (lambda: None, TypeError, "returned one NoneType"), (lambda: FAITHFUL, TypeError, "returned one array"),
    (iter([FAITHFUL]), TypeError, "an iterator, which can be run through only once"),
    (lambda: iter([FAITHFUL, FAITHFUL[:, :1]]), ValueError, "block 1 of X .counted from 0.: X has 1 features"),
    (lambda: iter([FAITHFUL, FAITHFUL[:0], [[1, np.inf]]]), ValueError, "block 2 of X .counted from 0.: .*infinity"),
    (lambda: iter([(FAITHFUL, None, 3)]), ValueError, "block 0 of X .* a pair .rows, sample_weight., not a tuple of 3"),
    (lambda: iter([(FAITHFUL, np.ones(3))]), ValueError, "block 0 of X .*shape"),
    (lambda: iter([FAITHFUL, (FAITHFUL, -np.ones(272))]), ValueError, "block 1 of X .*[Nn]egative"),
    (lambda: iter([[["a", "b"]]]), ValueError, "block 0 of X"),
    (lambda: iter([np.full((3, 2), np.nan)]), ValueError, "no row of X holds a value")])
def test_blocks_that_cannot_be_judged(blocks, error, words):
    with pytest.raises(error, match=words):
        GaussianMixture(2, random_state=0).fit(FAITHFUL).bic(blocks)


def test_judging_by_name():
    "Frames in blocks, with the names of the fit and with others."
    frame = pd.DataFrame(FAITHFUL, columns=["a", "b"])
    for fit in (GaussianMixture(2, random_state=0).fit(frame), GaussianHMM(2, random_state=0).fit(frame)):
        equal(fit.score(lambda: iter([frame[:100]])), fit.score(frame[:100]))
        with pytest.raises(ValueError, match="(?s)block 1 of X.*same order as they were in fit"):
            fit.score(lambda: iter([frame[:100], frame[["b", "a"]]]))


def test_judging_by_the_mapper_and_the_names_that_belong_to_blocks():
    "Blocks that are arrays, of a table whose names are known; the names of the fit stay."
    frame, asked = pd.DataFrame(FAITHFUL, columns=["a", "b"]), []
    def mapper(function, blocks):
        asked.append(function)
        return map(function, blocks)
    fit = GaussianMixture(2, random_state=0).fit(frame)
    for columns in (["a", "b"], ["b", "a"]):
        source = _Source(lambda: iter([FAITHFUL[:9], FAITHFUL[9:]]), mapper, frame[columns][:0])
        if columns == ["a", "b"]:
            value, total = fit._sum(source, GaussianMixture._score_sums)
            equal(value / total, fit.score(frame), rtol=1e-12)
        else:
            with pytest.raises(ValueError, match="same order as they were in fit"):
                fit._sum(source, GaussianMixture._score_sums)
    assert len(asked) == 1 and fit.feature_names_in_.tolist() == ["a", "b"]


def test_what_comes_with_blocks_that_are_judged():
    "In the blocks, and by its name."
    fits = GaussianMixture(2, random_state=0).fit(FAITHFUL), GaussianHMM(2, random_state=0).fit(FAITHFUL)
    for fit, word, extra in zip(fits, ("sample_weight", "lengths"), (np.ones(272), [272])):
        with pytest.raises(ValueError, match=f"a pair .rows, {word}., not a tuple of 3"):
            fit.score(lambda: iter([(FAITHFUL, extra, 1)]))
        with pytest.raises(ValueError, match="in place of a second argument"):
            fit.score(lambda: iter([FAITHFUL]), **{word: extra})


def test_counts_in_a_file(tmp_path):
    "The digits of a fit in memory, though no more of the table than its counts above 0 was there at once."
    counts = np.random.default_rng(0).poisson(.02, size=(6000, 400)).astype(np.int32)
    np.save(tmp_path / "counts.npy", counts)
    mapped = np.load(tmp_path / "counts.npy", mmap_mode="r")
    settings = dict(n_components=3, random_state=0, max_iter=2, tol=0)
    far, near = LatentDirichletAllocation(**settings).fit(mapped), LatentDirichletAllocation(**settings).fit(counts)
    np.testing.assert_array_equal(far.components_, near.components_, strict=True)
    np.testing.assert_array_equal(far.transform(mapped), near.transform(counts), strict=True)
    assert far.n_features_in_ == 400
    before = tracemalloc.start() or tracemalloc.get_traced_memory()[0]
    far._counts(mapped)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < counts.size * 8 / 2                                         # as floats, and all at once
    np.save(tmp_path / "counts.npy", counts - 1)
    with pytest.raises(ValueError, match="Negative values|replaced"):
        LatentDirichletAllocation(**settings).fit(np.load(tmp_path / "counts.npy", mmap_mode="r"))
    with pytest.raises(ValueError, match="400 features"):
        far.transform(np.load(tmp_path / "counts.npy", mmap_mode="r").reshape(-1, 300))
