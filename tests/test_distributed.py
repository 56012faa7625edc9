"""Blocks that stay on the workers of a real cluster, sums that are added in a tree, and workers that are killed."""
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import reduce
from operator import add

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.exceptions import ConvergenceWarning
from strict import equal, no_warnings, quiet  # noqa: F401
from threadpoolctl import threadpool_info, threadpool_limits

from emlit.chains import GaussianHMM, PoissonHMM
from emlit.conditional import GaussianMixtureImputer
from emlit.data import sample_gaussian_mixture
from emlit.distributed import cluster_map, message_sizes, partitions
from emlit.em import Expected, e_step, em, in_blocks
from emlit.families import GAUSSIANS, Bernoulli, MixtureModel, Poisson
from emlit.gaussian import GaussianMixture
from emlit.hmm import HMMModel, sample_chain
from emlit.lda import document_blocks, sample_corpus, start_lda
from emlit.mixture import Mixture, _opened
from emlit.stream import Checkpoint
from emlit.topics import LatentDirichletAllocation, TopicModel

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
import dask.array  # noqa: E402
import dask.bag  # noqa: E402

K, D = 3, 4
TRUTH = np.array([.2, .3, .5]), 4 * np.random.default_rng(0).normal(size=(K, D)), np.tile(np.eye(D), (K, 1, 1))
SIZES = [700, 1, 0, 2500, 900, 0, 60, 1200, 40, 800]                  # more blocks than the tree has branches
FULL = MixtureModel(GAUSSIANS["full"])


def made(seed, n):
    "Rows that come out the same wherever they are made."
    return sample_gaussian_mixture(*TRUTH, n, np.random.default_rng(seed))[0]


def delayed_blocks():
    return [dask.delayed(made)(seed, n) for seed, n in enumerate(SIZES)]


ROWS = np.concatenate([made(seed, n) for seed, n in enumerate(SIZES)])


def start(kind="full"):
    covariances = {"full": np.tile(2 * np.eye(D), (K, 1, 1)), "tied": 2 * np.eye(D), "diag": np.full((K, D), 2.), "spherical": np.full(K, 2.)}
    return np.full(K, 1 / K), TRUTH[1] + .8, covariances[kind]


@pytest.fixture(scope="module")
def cluster():
    "Two workers in processes of their own."
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50)
    yield cluster
    with suppress(KeyError):                                            # at the end of closing, Dask may miss a worker that was killed
        cluster.close()


@pytest.fixture
def client(cluster):
    "A client of the cluster, with both workers there."
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=30)
        yield client


def same(fit, other):
    "Equal fits, to rounding."
    assert fit.n_iter == other.n_iter and fit.converged == other.converged
    equal(fit.history, other.history, rtol=1e-12)
    for a, b in zip(fit.params, other.params, strict=True):
        equal(a, b, atol=1e-10)


# ---- in threads of this process ------------------------------------------------------------------


class Shape:
    "Remembers how it was added up."
    def __init__(self, word):
        self.word = word

    def __add__(self, other):
        return Shape(f"({self.word} {other.word})")


@pytest.mark.parametrize("n, groups", [(1, [1]), (8, [8]), (9, [8, 1]), (17, [8, 8, 1]), (19, [8, 8, 3])])
def test_tree(n, groups):
    "Neighbours in groups of eight, from the left, whichever task is done first; a single block is not added to anything."
    def chained(words):
        return reduce("({} {})".format, words)
    words = iter(map(str, range(n)))
    expected = chained([chained([next(words) for _ in range(size)]) for size in groups])
    found, = cluster_map(Shape, partitions([dask.delayed(str)(i) for i in range(n)])())
    assert found.word == expected


def test_tree_of_three_levels():
    "All of many blocks are in the sum, once."
    total, = cluster_map(len, partitions([dask.delayed(np.ones)(i % 3) for i in range(600)])())
    assert total == 600 and cluster_map(len, partitions([dask.delayed(np.ones)(0)] * 3)()) == []


@pytest.mark.parametrize("chunks", [(2000, 4), (1500, 1), (6201, 3), ((1, 5000, 0, 1200), (2, 2))])
def test_arrays(chunks):
    "Dask arrays with chunks of any shape, and with unknown numbers of rows, some 0."
    X = dask.array.from_array(ROWS, chunks=chunks)
    equal(e_step(FULL, start(), partitions(X), mapper=cluster_map).log_likelihood, e_step(FULL, start(), ROWS).log_likelihood, rtol=1e-12)
    assert e_step(FULL, start(), partitions(X)).log_likelihood == e_step(FULL, start(), partitions(X), mapper=cluster_map).log_likelihood
    assert em(FULL, start(), partitions(X), max_iter=2, warn=False).log_likelihood == em(FULL, start(), partitions(X), mapper=cluster_map, max_iter=2, warn=False).log_likelihood
    some = e_step(FULL, start(), partitions(X[X[:, 0] > ROWS[:2000, 0].max()]), mapper=cluster_map)
    rows = ROWS[ROWS[:, 0] > ROWS[:2000, 0].max()]
    assert some.weight == len(rows) > 0
    equal(some.log_likelihood, e_step(FULL, start(), rows).log_likelihood, rtol=1e-12)


def test_frames():
    "Tables: integers, floats, booleans and pandas' own numbers; a missing one is NaN."
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame({"a": [1, 0, 1, 1], "b": [True, False, False, True], "c": pd.array([0, 1, 1, 0], dtype="Int64"), "name": list("wxyz")})
    model, params = MixtureModel(Bernoulli()), (np.array([.4, .6]), np.array([[.2, .3, .4], [.5, .6, .7]]))
    rows = table[["a", "b", "c"]].to_numpy(dtype=float)
    frame = dd.from_pandas(table, npartitions=3)
    equal(e_step(model, params, partitions(frame[["a", "b", "c"]]), mapper=cluster_map).log_likelihood, e_step(model, params, rows).log_likelihood)
    with pytest.raises(TypeError, match="column 'name' of X"):
        partitions(frame)
    with pytest.raises(TypeError, match="not Series"):
        partitions(frame["a"])
    table.loc[2, "c"] = pd.NA
    block, = dask.compute(*partitions(dd.from_pandas(table[["c"]], npartitions=1))())
    equal(block, [[0], [1], [np.nan], [0]])
    assert block.dtype == float


def test_weights():
    "Blocks that are pairs (rows, weights)."
    weights = np.random.default_rng(1).uniform(0, 2, len(ROWS))
    cuts = [0, 10, 10, 3000, len(ROWS)]
    blocks = [dask.delayed((ROWS[a:b], weights[a:b])) for a, b in zip(cuts, cuts[1:])]
    fit = em(FULL, start(), partitions(blocks), mapper=cluster_map, max_iter=5, warn=False)
    same(fit, em(FULL, start(), lambda: iter([(ROWS, weights)]), max_iter=5, warn=False))
    assert cluster_map(lambda block: 1 / len(block[0]), partitions(blocks[:2])()) == [.1]            # the empty one is not worked on


def test_sample_weight():
    "Weights as a Dask array of the same rows, however it is chunked, and as a Series of the same partitions."
    weights = np.random.default_rng(1).uniform(0, 2, len(ROWS))
    local = e_step(FULL, start(), (ROWS, weights))
    X, w = dask.array.from_array(ROWS, chunks=(2000, 2)), dask.array.from_array(weights, chunks=1111)
    found = e_step(FULL, start(), partitions(X, w), mapper=cluster_map)
    equal(found.statistics["moments"], local.statistics["moments"], atol=1e-8)
    unknown = e_step(FULL, start(), partitions(X[w.rechunk(2000) > 1], w.rechunk(2000)[w.rechunk(2000) > 1]), mapper=cluster_map)
    assert unknown.weight == pytest.approx(weights[weights > 1].sum(), rel=1e-12)
    with pytest.raises(ValueError, match="sample_weight has 6 chunks and X has 4"):
        partitions(X[X[:, 0] > -99], w)
    with pytest.raises(ValueError, match="sample_weight has 6200 entries and X has 6201 rows"):
        partitions(X, w[1:])
    for wrong, words in ((weights, "not ndarray of float64"), (X, r"not Array of float64, shape \(6201, 4\)"), (w.astype(complex), "not Array of complex128"),
                         (w.astype(str), "not Array of <U"), (dask.delayed(weights), "not Delayed"), ([1.], "not a list of float")):
        with pytest.raises(TypeError, match="sample_weight must be a Dask array .* of real numbers, " + words):
            partitions(X, wrong)


def test_weights_of_tables():
    "A Series whose labels are no row numbers any more, as a filter leaves them, becomes an array."
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(ROWS, columns=list("abcd")).assign(w=np.random.default_rng(1).uniform(0, 2, len(ROWS)))
    frame, some = dd.from_pandas(table, npartitions=3), table[table.a > 0]
    data = partitions(frame[frame.a > 0][list("abcd")], frame[frame.a > 0].w)
    assert {type(part) for block in dask.compute(*data()) for part in block} == {np.ndarray}
    found = e_step(FULL, start(), data, mapper=cluster_map)
    equal(found.log_likelihood, e_step(FULL, start(), (some[list("abcd")].to_numpy(), some.w.to_numpy())).log_likelihood, rtol=1e-12)


def test_chunk_without_weight():
    "A chunk whose rows all have weight 0 counts for nothing."
    weights = np.where(np.arange(len(ROWS)) < 2000, 0., 1.)
    X, w = dask.array.from_array(ROWS, chunks=(1000, D)), dask.array.from_array(weights, chunks=500)
    same_estimates(estimator().fit(X, sample_weight=w), estimator().fit(ROWS[2000:]))


def test_loaded_once():
    "The blocks are made when `partitions` is called, and never again."
    calls = []
    data = partitions([dask.delayed(lambda n: calls.append(n) or np.ones((n, 1)))(n) for n in (3, 4)])
    for _ in range(3):
        assert cluster_map(len, data()) == [7]
    assert sorted(calls) == [3, 4]


def test_one_thread_in_a_task():
    "The libraries inside a task keep to one thread."
    def threads(_):
        return max([i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"], default=1)
    data = partitions([dask.delayed(np.ones)(1)])
    with threadpool_limits(2, "blas"), dask.config.set(scheduler="synchronous"):
        assert threads(None) == 2 and cluster_map(threads, data()) == [1]


def test_bytes():
    "What travels is the parameters and the sums, (41.2), and does not depend on the number of rows."
    for k, d in ((2, 3), (9, 20)):
        params = np.full(k, 1 / k), np.random.default_rng(0).normal(size=(k, d)), np.tile(np.eye(d), (k, 1, 1))
        m, rows = 1 + d + d * (d + 1) // 2, np.random.default_rng(1).normal(size=(20, d))
        down, up = message_sizes(FULL, params, rows)
        assert 0 <= down - 8 * k * (2 * m + 1 + d + d * d) < 2000 and 0 <= up - 8 * k * m < 500
        assert message_sizes(FULL, params, np.tile(rows, (50, 1))) == (down, up)


def test_tables_and_chains_as_estimators():
    "The names of a table's columns are kept; chains refuse chunks that may cut a series; blocks take no second argument."
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(np.random.default_rng(0).poisson(3, (60, 2)), columns=["calls", "visits"])
    frame = dd.from_pandas(table, npartitions=3)
    fitted = Mixture(1).fit(frame)
    assert fitted.feature_names_in_.tolist() == ["calls", "visits"] and fitted.n_features_in_ == 2
    equal(fitted.parameters_[0], table.to_numpy().mean(axis=0)[None])
    assert not hasattr(Mixture(1).fit(dd.from_pandas(table.rename(columns={"calls": 1}), npartitions=1)), "feature_names_in_")
    with pytest.raises(ValueError, match="may cut a series in two"):
        GaussianHMM(2).fit(dask.array.ones((5, 2)))
    blocks = partitions([dask.delayed(ROWS)])
    with pytest.raises(ValueError, match="in place of a second argument"):
        GaussianMixture(2).fit(blocks, sample_weight=np.ones(len(ROWS)))
    with pytest.raises(ValueError, match="in place of a second argument"):
        GaussianHMM(2).fit(blocks, lengths=[len(ROWS)])
    with pytest.raises(TypeError, match="returned one Delayed: it must"):
        GaussianMixture(2).fit(dask.delayed(ROWS))
    class Wrapped:
        "Such as xarray's: numbers in memory that could be Dask's."
        __dask_graph__ = None
        def __array__(self, dtype=None, copy=None):
            return ROWS
    equal(GaussianMixture(1).fit(Wrapped()).means_[0], ROWS.mean(axis=0))
    with pytest.raises(ValueError, match="X has 1 rows"):
        GaussianMixture(2).fit(dask.array.ones((1, 2)))


def test_list_of_delayed_blocks():
    "`fit` takes a list of delayed blocks as it takes `partitions` of it; a list of lists is rows in memory."
    same_estimates(estimator().fit(delayed_blocks()), estimator().fit(ROWS))
    equal(GaussianMixture(1).fit(ROWS.tolist()).means_[0], ROWS.mean(axis=0))
    with pytest.raises(ValueError, match="in place of a second argument"):
        estimator().fit(delayed_blocks(), sample_weight=np.ones(len(ROWS)))
    with pytest.raises(TypeError, match="not a list of Array"):
        estimator().fit([dask.array.ones((3, D))])


class Counts:
    "A fitted estimator of rows that are counts, and the same rows in each kind of collection."
    def __init__(self):
        pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
        self.rows = np.random.default_rng(0).poisson([2., 9.], size=(60, 2))
        self.array = dask.array.from_array(self.rows, chunks=(25, 2))
        self.narrow = dask.array.from_array(self.rows, chunks=(25, 1))
        self.frame = dd.from_pandas(pd.DataFrame(self.rows, columns=["a", "b"]), npartitions=3)
        self.delayed = dask.delayed(self.rows)
        self.blocks = partitions([self.delayed])


@pytest.mark.parametrize("kind, words", [
    ("array", "X is a Dask Array"), ("narrow", "X is a Dask Array"), ("frame", "X is a Dask DataFrame"), ("delayed", "X is a Dask Delayed"),
    ("blocks", "X is made of delayed blocks")])
def test_rows_are_not_pulled(kind, words):
    "Whatever would bring all rows here is refused before it does, and the code in the message does what was wanted."
    data = Counts()
    X, model = getattr(data, kind), Mixture(2, random_state=0).fit(data.rows)
    for name in ("predict", "predict_proba", "score_samples"):
        with pytest.raises(TypeError, match=words + ".*all of its rows would be brought here: have each part") as told:
            getattr(model, name)(X)
    with pytest.raises(TypeError, match="partial_fit takes one"):
        model.partial_fit(X)
    code = str(told.value).split("for labels by ")[1].split(";")[0]
    if kind == "blocks":
        assert code == "dask.delayed(model.predict)(block) for each block of X()"
        code = "dask.delayed(model.predict)(*X())"
    found = eval(code, {"X": X, "model": Mixture(2, random_state=0).fit(data.frame.compute()) if kind == "frame" else model, "np": np, "dask": dask})
    np.testing.assert_array_equal(found.compute(), model.predict(data.rows), strict=True)


def test_columns_are_predicted_from_rows_in_memory():
    model = GaussianMixture(2, random_state=0).fit(ROWS)
    with pytest.raises(TypeError, match="all of its rows would be brought here"):
        model.predict_columns(dask.array.from_array(ROWS[:, 1:], chunks=1000), 0)


def test_fit_predict_is_refused_before_the_fit():
    "Not after a night of fitting; and a chain is told of pairs."
    data, model = Counts(), Mixture(2)
    with pytest.raises(TypeError, match=r"\(block\) for each block of X;"):
        Mixture(2).fit(data.rows).predict([data.delayed])
    for X in (data.array, data.frame, data.blocks, [data.delayed]):
        with pytest.raises(TypeError, match="call fit, and then have each part"):
            model.fit_predict(X)
    assert not hasattr(model, "weights_")
    chain = PoissonHMM(2, random_state=0)
    for X in (data.array, data.blocks):
        with pytest.raises(TypeError, match=r"call fit.*dask.delayed\(model.predict\)\(rows, lengths\) for each delayed pair"):
            chain.fit_predict(X, lengths=[60])
    assert not hasattr(chain, "lambdas_")
    with pytest.raises(TypeError, match="for each delayed pair"):
        chain.fit(data.rows).predict(data.array)
    np.testing.assert_array_equal(model.set_params(random_state=0).fit_predict(X=data.rows), model.predict(data.rows))
    np.testing.assert_array_equal(chain.fit_predict(data.rows, lengths=[60]), chain.predict(data.rows, lengths=[60]))


def test_predict_needs_no_dask():
    "Rows in memory are predicted without importing it."
    code = ("import sys, numpy as np, emlit; X = np.arange(9.)[:, None]; "
            "emlit.GaussianMixture(1).fit(X).predict(X); emlit.GaussianMixture(1).fit_predict(X); assert 'dask' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("make, settings", [
    *((GaussianMixture, {"covariance_type": kind, **more}) for kind in GAUSSIANS for more in ({}, {"prior": "conjugate"})),
    *((Mixture, {"family": family}) for family in ("poisson", "bernoulli")), (PoissonHMM, {}), (GaussianHMM, {})])
@pytest.mark.parametrize("holes", [False, True])
def test_no_rows_travel_with_the_function(make, settings, holes, monkeypatch):
    "What is sent out in a fit is as large with ten times the rows, to a few digits of a number, and small."
    from cloudpickle import dumps
    sizes, rounds = [], "n_iter" if make in (PoissonHMM, GaussianHMM) else "max_iter"
    def spy(function, blocks):
        sizes.append(len(dumps(function)))
        return cluster_map(function, blocks)
    monkeypatch.setattr("emlit.distributed.cluster_map", spy)
    most = []
    for n in (400, 4000):
        rows = np.random.default_rng(0).integers(0, 2, size=(n, 3)).astype(float)
        if holes and make in (GaussianMixture, GaussianHMM):
            rows[np.random.default_rng(1).random((n, 3)) < .1] = np.nan
        quiet(lambda: make(2, random_state=0, **{rounds: 2}, **settings).fit([dask.delayed(part) for part in np.array_split(rows, 3)]))
        most.append(max(sizes))
    assert most[1] - most[0] < 100 and most[0] < 6000


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, error, words", [
    (lambda: dask.array.ones(5), ValueError, "X is a Dask array with 1 dimensions"),
    (lambda: dask.array.ones((2, 2, 2)), ValueError, "X is a Dask array with 3 dimensions"),
    (lambda: dask.array.from_array(np.array([["a"]], dtype=object), chunks=1), TypeError, "X holds object"),
    (lambda: dask.array.ones((2, 2), dtype=complex), TypeError, "X holds complex128"),
    (lambda: np.ones((2, 2)), TypeError, "X must be a Dask array.* not ndarray"),
    (lambda: [np.ones((2, 2))], TypeError, "X must be a Dask array.* not a list of ndarray"),
    (lambda: [], TypeError, "not list"),
    (lambda: dask.delayed(np.ones)((2, 2)), TypeError, "not Delayed"),
    (lambda: dask.bag.from_sequence([1]), TypeError, r"not Bag.* a Bag as X.map_partitions\(make_block\)"),
    (lambda: [dask.array.ones((2, 2))], TypeError, "not a list of Array"),
])
def test_wrong_data(make, error, words):
    "What cannot be rows is refused at once."
    with pytest.raises(error, match=words):
        partitions(make())


def test_blocks_that_lie_here():
    "Blocks of this process would be sent in each pass."
    with pytest.raises(TypeError, match=r"blocks holds an object of type ndarray.*partitions\(X\)"):
        e_step(FULL, start(), in_blocks(ROWS, 1000), mapper=cluster_map)


def test_which_block():
    "An error in a task has a note that says in which block."
    rows = [np.ones((3, 1)), np.ones((0, 1)), np.full((3, 1), -1.), np.ones((3, 1))]
    with pytest.raises(ValueError, match="X holds -1 in column 0") as told:
        e_step(MixtureModel(Poisson()), (np.ones(1), np.ones((1, 1))), partitions(list(map(dask.delayed, rows))), mapper=cluster_map)
    assert told.value.__notes__ == ["(in block 2, counted from 0)"]


def test_no_rows_at_all():
    "The driver says that there are none."
    with pytest.raises(ValueError, match="at least one row"):
        e_step(FULL, start(), partitions([dask.delayed(ROWS[:0])]), mapper=cluster_map)


def test_without_dask(monkeypatch):
    "Without Dask each function says what to install; the module can be imported all the same."
    for name in [name for name in sys.modules if name.split(".")[0] in ("dask", "distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    for call in (lambda: partitions([]), lambda: cluster_map(add, []), lambda: message_sizes(FULL, start(), ROWS)):
        with pytest.raises(ImportError, match=r"pip install emlit\[dask\]"):
            call()
    code = "import sys; sys.modules['dask'] = None; import emlit.distributed; assert emlit.distributed.partitions"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- on a cluster --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_same_as_in_memory(client, kind):
    "All covariance types from one start, with uneven and empty blocks, and more than one level in the tree."
    model = MixtureModel(GAUSSIANS[kind])
    fit = em(model, start(kind), partitions(delayed_blocks()), mapper=cluster_map, max_iter=12, tol=1e-3, warn=False)
    same(fit, em(model, start(kind), ROWS, max_iter=12, tol=1e-3, warn=False))


def test_passes_and_loads(client, cluster):
    "One task for each block and pass, n_iter + 1 passes, and each block is loaded once."
    def seen(name):
        prefix = cluster.scheduler.task_prefixes.get(name)
        return 0 if prefix is None else prefix.state_counts["memory"]

    before = seen("expect"), seen("made"), seen("add_up")
    fit = em(FULL, start(), partitions(delayed_blocks()), mapper=cluster_map, tol=1e-3)
    assert fit.converged
    assert seen("expect") - before[0] == len(SIZES) * (fit.n_iter + 1)
    assert seen("made") - before[1] == len(SIZES)
    assert seen("add_up") - before[2] == 3 * (fit.n_iter + 1)          # eight, two, and the two sums


def test_rows_stay(client):
    "In ten passes the workers send each other less than all rows once; and what comes here is the sum."
    blocks = [dask.delayed(made)(seed, 20_000) for seed in range(6)]
    data = partitions(blocks)
    e_step(FULL, start(), data, mapper=cluster_map)
    def sent():
        return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())
    before = sent()
    for _ in range(10):
        found = list(cluster_map(FULL.expectation(start()), data()))
    assert sent() - before < 6 * 20_000 * D * 8                        # stolen work may move a block or two, once
    assert len(found) == 1 and isinstance(found[0], Expected) and found[0].weight == 120_000


def test_killed_between_passes(client):
    "A worker is killed after a round, the blocks on it are made again, and no digit changes."
    data = partitions(delayed_blocks())
    distributed.wait(list(data()))
    left = em(FULL, start(), data, mapper=cluster_map, tol=1e-5)

    def kill(step):
        if step.iteration == 3:
            os.kill(max(client.run(os.getpid).values()), signal.SIGKILL)

    killed = em(FULL, start(), data, mapper=cluster_map, tol=1e-5, callbacks=[kill])
    np.testing.assert_array_equal(killed.history, left.history)
    for a, b in zip(killed.params, left.params):
        np.testing.assert_array_equal(a, b)
    same(killed, em(FULL, start(), ROWS, tol=1e-5))


class Deadly(MixtureModel):
    "The first task that finds its file kills the worker that runs it."
    def __init__(self, family, trap):
        super().__init__(family)
        self.trap = trap

    def expectation(self, params):
        function, trap = super().expectation(params), self.trap
        def expect(block):
            try:
                os.unlink(trap)
            except FileNotFoundError:
                return function(block)
            os._exit(1)
        return expect


def test_killed_in_a_task(client, tmp_path):
    "A worker is gone in the middle of a pass."
    trap = tmp_path / "trap"

    def set_trap(step):
        if step.iteration == 2:
            trap.touch()

    data = partitions(delayed_blocks())
    fit = em(Deadly(GAUSSIANS["full"], trap), start(), data, mapper=cluster_map, tol=1e-5, callbacks=[set_trap])
    assert not trap.exists()
    same(fit, em(FULL, start(), ROWS, tol=1e-5))


def test_chains(client):
    "Hidden Markov models: blocks (rows, lengths), and those made of the partitions of a Bag of sequences."
    def sequences(seed):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 30, size=8)
        states = np.concatenate([sample_chain(np.array([.5, .5]), np.array([[.9, .1], [.2, .8]]), n, rng) for n in lengths])
        return rng.poisson(np.array([2., 9.])[states])[:, None], lengths

    model, begin = HMMModel(Poisson()), (np.array([.5, .5]), np.full((2, 2), .5), np.array([[1.], [5.]]))
    local = em(model, begin, lambda: (sequences(seed) for seed in range(4)), tol=1e-4)
    same(em(model, begin, partitions([dask.delayed(sequences)(seed) for seed in range(4)]), mapper=cluster_map, tol=1e-4), local)
    single = [chain for seed in range(4) for chain in np.split(sequences(seed)[0], sequences(seed)[1].cumsum()[:-1])]
    def packed(part):
        return np.concatenate(list(part)), np.array([len(chain) for chain in part])
    bag = dask.bag.from_sequence(single, npartitions=3).map_partitions(packed)
    same(em(model, begin, partitions(bag.to_delayed()), mapper=cluster_map, tol=1e-4), local)
    estimator = PoissonHMM(2, random_state=0).fit(partitions([dask.delayed(sequences)(seed) for seed in range(4)]))
    rows, lengths = map(np.concatenate, zip(*map(sequences, range(4))))
    beside = PoissonHMM(2, random_state=0).fit(rows, lengths=lengths)
    equal(np.sort(estimator.lambdas_[:, 0]), np.sort(beside.lambdas_[:, 0]), rtol=1e-4)


def test_documents(client):
    "Topic models: blocks (numbers, rows in CSR form)."
    rng = np.random.default_rng(5)
    X = csr_array(sample_corpus(np.full(2, .3), rng.dirichlet(np.full(12, .2), size=2), np.full(40, 25), rng)[0], dtype=float)
    begin = start_lda(X, 2, rng)
    blocks = [dask.delayed(block) for block in document_blocks(X, 7)()]
    fit = em(TopicModel(), begin, partitions(blocks), mapper=cluster_map, max_iter=5, tol=0, warn=False)
    same(fit, em(TopicModel(), begin, X, max_iter=5, tol=0, warn=False))


RNG = np.random.default_rng(0)
COUNTS = sample_corpus(np.full(4, .2), RNG.dirichlet(np.full(40, .1), size=4), np.full(120, 40), RNG)[0]


def lda(**settings):
    return LatentDirichletAllocation(**dict(n_components=4, random_state=0) | settings)


def blocks_here():
    return (COUNTS[a:a + 50] for a in range(0, 120, 50))


def same_topics(one, other):
    assert (one.n_iter_, one.converged_, one.n_features_in_) == (other.n_iter_, other.converged_, other.n_features_in_)
    equal(one.history_["bound"], other.history_["bound"])
    equal(one.components_, other.components_, rtol=1e-8)


@pytest.mark.parametrize("kind", ["dense", "narrow", csr_array, csr_matrix, "unknown", "narrow and sparse", "list", "partitions"])
def test_topics(client, kind):
    "`fit` of a Dask array with dense or sparse chunks, of words as well as of documents, of unknown sizes, and of delayed blocks, is `fit` of blocks."
    dense = dask.array.from_array(COUNTS.toarray(), chunks=(37, 12 if "narrow" in str(kind) else 40))
    delayed = [dask.delayed(COUNTS[a:b]) for a, b in ((0, 50), (50, 50), (50, 120))]
    if kind == "unknown":
        X = dask.array.concatenate([dask.array.from_delayed(d, shape=(np.nan, 40), dtype=float, meta=csr_array((0, 40))) for d in delayed], allow_unknown_chunksizes=True)
    elif kind in ("list", "partitions"):
        X = delayed if kind == "list" else partitions(delayed)
    else:
        X = dense if kind in ("dense", "narrow") else dense.map_blocks(csr_array if kind == "narrow and sparse" else kind)
    fit = lda().fit(X)
    same_topics(fit, lda().fit(blocks_here))
    assert fit.converged_ and fit.n_iter_ > 5


def test_topics_of_tables_and_checkpoints(client, tmp_path):
    "The names of the words are kept, and a fit is taken up again where its file is, here or there."
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    table = dd.from_pandas(pd.DataFrame(COUNTS.toarray(), columns=[f"word {j}" for j in range(40)]), npartitions=3)
    fit = lda().fit(table)
    same_topics(fit, lda().fit(blocks_here))
    assert fit.top_words(1)[0] == [f"word {fit.components_[0].argmax()}"]
    with pytest.warns(ConvergenceWarning):
        lda(max_iter=3, checkpoint=tmp_path / "c.npz").fit(table)
    same_topics(lda(checkpoint=tmp_path / "c.npz").fit(blocks_here), fit)
    assert not hasattr(fit.fit(dask.array.from_array(COUNTS.toarray())), "feature_names_in_")


def test_what_of_topics_comes_here(client, monkeypatch):
    "The sizes of the blocks, a sample of the documents, and one sum in each pass; what is sent out are topics and no shares of documents."
    from cloudpickle import dumps
    came, sent, compute, once = [], [], dask.compute, cluster_map
    monkeypatch.setattr(dask, "compute", lambda *promises: came.append(compute(*promises)) or came[-1])
    monkeypatch.setattr("emlit.distributed.cluster_map", lambda function, blocks: sent.append(len(dumps(function))) or once(function, blocks))
    monkeypatch.setattr("emlit.topics._SAMPLE", 30)
    fit = lda(max_iter=4, tol=0)
    fit.fit(dask.array.from_array(COUNTS.toarray(), chunks=(50, 40)))
    assert [type(one).__name__ for (one,) in came] == ["_Kept", "list"] + ["Expected"] * (fit.n_iter_ + 1)
    assert sum(part.shape[0] for part in came[1][0]) == 30
    sent.clear()
    fit.fit(dask.array.from_array(np.tile(COUNTS.toarray(), (20, 1)), chunks=(500, 40)))
    assert max(sent) < 2 * 8 * 4 * 40 + 6000


def test_documents_are_not_pulled():
    "Whatever would bring all documents here is refused before it does, and the code in the message does what was wanted."
    dd, pd = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    model, frame = lda().fit(COUNTS), pd.DataFrame(COUNTS.toarray())
    dense = dask.array.from_array(COUNTS.toarray(), chunks=(50, 40))
    delayed = dask.delayed(COUNTS)
    for X, words in ((dense, "a Dask Array"), (dense.map_blocks(csr_array), "a Dask Array"), (dd.from_pandas(frame, npartitions=2), "a Dask DataFrame"),
                     (delayed, "a Dask Delayed"), (partitions([delayed]), "made of delayed blocks"), ([delayed], "made of delayed blocks")):
        for ask in (model.transform, model.score, model.perplexity, model.score_samples, model.partial_fit):
            with pytest.raises(TypeError, match=words + r"\w*, and all of its rows would be brought here: have each part") as told:
                ask(X)
        with pytest.raises(TypeError, match="call fit, and then have each part"):
            lda().fit_transform(X)
        code = str(told.value).split("for shares of topics by ")[1].split("; partial_fit")[0].replace("(block) for each block of X()", "(*X())").replace("(block) for each block of X", "(*X)")
        found = eval(code, {"X": X, "model": model, "np": np, "dask": dask}).compute()
        equal(found, model.transform(COUNTS), rtol=1e-9)


@pytest.mark.parametrize("X, error, words", [
    (lambda: dask.array.ones(5), ValueError, "1 dimensions"), (lambda: dask.array.ones((5, 3), dtype=complex), TypeError, "X holds complex128"),
    (lambda: dask.array.ones((5, 3)) * -1, ValueError, "Negative values"), (lambda: dask.array.zeros((5, 3)), ValueError, "X holds no words"),
    (lambda: dask.delayed(COUNTS), TypeError, "or a list of dask.delayed blocks, not Delayed"),
    (lambda: [dask.delayed(COUNTS), dask.delayed(COUNTS[:, :7])], ValueError, "blocks with 7 and with 40 columns")])
def test_documents_that_are_none(X, error, words):
    with pytest.raises(error, match=words):
        lda().fit(X())
    with pytest.raises(ValueError, match="need learning_method='batch'"):
        lda(learning_method="online").fit([dask.delayed(COUNTS)])


def estimator(kind="full", **settings):
    "One that begins at the start of the other tests."
    weights, means, covariances = start(kind)
    precisions = np.linalg.inv(covariances) if kind in ("full", "tied") else 1 / covariances
    return GaussianMixture(K, covariance_type=kind, weights_init=weights, means_init=means, precisions_init=precisions, tol=1e-8, **settings)


def same_estimates(one, other):
    assert one.n_iter_ == other.n_iter_
    equal(one.lower_bound_, other.lower_bound_)
    for name in ("weights_", "means_", "covariances_"):
        equal(getattr(one, name), getattr(other, name), atol=1e-10)


@pytest.mark.parametrize("kind", GAUSSIANS)
def test_gaussian_mixture(client, kind):
    "`fit` of a Dask array, uneven chunks and one that is empty among them, is `fit` of the rows."
    X = dask.array.from_array(ROWS, chunks=((3000, 100, 3101), (2, 2)))
    X = X[(X[:, 0] < X[3000:3100, 0].min()) | (X[:, 0] > X[3000:3100, 0].max())]      # the second chunk has no rows left
    assert client.compute(X.partitions[1]).result().shape == (0, D)
    same_estimates(estimator(kind).fit(X), estimator(kind).fit(X.compute()))


def test_holes(client):
    "Chunks with NaN, a row of nothing else, and a chunk of such rows."
    rows = np.where(np.random.default_rng(3).random(ROWS.shape) < .1, np.nan, ROWS)
    rows[7] = rows[2000:2100] = np.nan
    X = dask.array.from_array(rows, chunks=((2000, 100, 4101), D))
    same_estimates(estimator().fit(X), estimator().fit(rows))


def test_start_from_a_sample(client):
    "Without a start given, the start comes from rows of all chunks."
    gm = GaussianMixture(K, random_state=0).fit(partitions(delayed_blocks()))
    best = GaussianMixture(K, random_state=0).fit(ROWS)
    equal(gm.score(ROWS), best.score(ROWS), rtol=1e-5)
    many = partitions([dask.delayed(made)(seed, 20_000) for seed in range(3)])
    table = _opened(many, GaussianMixture(K), None)
    assert table.total == 60_000 and len(table.X) == 40_000
    origin = [np.isin(table.X[::100, 0], made(seed, 20_000)[:, 0]).sum() for seed in range(3)]
    assert sum(origin) == 400 and min(origin) > 80


def test_what_comes_here(client, monkeypatch):
    "A fit asks the cluster for one summary and then for one sum in each pass, and for no rows."
    came, compute = [], dask.compute
    monkeypatch.setattr(dask, "compute", lambda *promises: came.append(compute(*promises)) or came[-1])
    fitted = estimator().fit(dask.array.from_array(ROWS, chunks=(2000, D)))
    assert [type(one).__name__ for (one,) in came] == ["_Summary"] + ["Expected"] * (fitted.n_iter_ + 1)


def test_estimator_with_weights_and_checkpoint(client, tmp_path):
    "`sample_weight` counts rows, and a fit is taken up again where its file is."
    weights = np.random.default_rng(1).integers(0, 3, len(ROWS)).astype(float)
    X, w = dask.array.from_array(ROWS, chunks=(2000, D)), dask.array.from_array(weights, chunks=2000)
    same_estimates(estimator().fit(X, sample_weight=w), estimator().fit(ROWS, sample_weight=weights))
    with pytest.warns(ConvergenceWarning):
        estimator(max_iter=1, random_state=0, checkpoint=tmp_path / "fit.npz").fit(X)
    same_estimates(estimator(random_state=0, checkpoint=tmp_path / "fit.npz").fit(X), estimator().fit(X))


def test_errors_come_home(client):
    "What a model has to say about rows on a worker is said here."
    def with_nan():
        return np.full((5, D), np.nan)
    with pytest.raises(ValueError, match="X holds nan in column 0") as told:
        e_step(FULL, start(), partitions([*delayed_blocks(), dask.delayed(with_nan)()]), mapper=cluster_map)
    assert told.value.__notes__ == ["(in block 10, counted from 0)"]


def test_lost_blocks(cluster):
    "Blocks of a client that was closed, and rows that were sent to a worker that died: an error in words. Others are made again."
    with distributed.Client(cluster) as first:
        data = partitions(delayed_blocks())
        sums = e_step(FULL, start(), data, mapper=cluster_map)
    with pytest.raises(RuntimeError, match=r"blocks were lost: the client.*by partitions\(X\)"):
        e_step(FULL, start(), data, mapper=cluster_map)                 # in this process
    with distributed.Client(cluster) as client:
        with pytest.raises(RuntimeError, match="blocks were lost"):
            estimator().fit(data)
        sent, made_there = partitions([dask.delayed(client.scatter(ROWS))]), partitions(delayed_blocks())
        assert e_step(FULL, start(), sent, mapper=cluster_map).weight == len(ROWS)
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="blocks were lost"):
            e_step(FULL, start(), sent, mapper=cluster_map)
        client.wait_for_workers(2, timeout=30)
        assert e_step(FULL, start(), made_there, mapper=cluster_map).log_likelihood == sums.log_likelihood
    assert first.status == "closed"


def test_closed_in_the_middle(cluster):
    "A client that is closed between two rounds."
    client = distributed.Client(cluster)
    def close(step):
        if step.iteration == 1:
            client.close()
    with pytest.raises(RuntimeError, match="blocks were lost"):
        em(FULL, start(), partitions(delayed_blocks()), mapper=cluster_map, callbacks=[close])


def test_threads_and_nested_fits(client):
    "`n_jobs`, and fits in threads side by side, change no digit."
    import joblib
    X = dask.array.from_array(ROWS, chunks=(2000, D))
    alone = estimator().fit(X)
    same_estimates(estimator(n_jobs=2).fit(X), alone)
    for fitted in joblib.Parallel(2, backend="threading")(joblib.delayed(estimator().fit)(X) for _ in range(2)):
        same_estimates(fitted, alone)


def test_with_checkpoint_and_accelerator(client, tmp_path):
    "A run that was broken off goes on with the same digits, and an accelerator gets to the same top."
    data = partitions(delayed_blocks())
    whole = em(FULL, start(), data, mapper=cluster_map, tol=1e-6)
    Checkpoint(tmp_path / "fit.npz").run(FULL, start(), data, mapper=cluster_map, tol=1e-6, max_iter=4, warn=False)
    resumed = Checkpoint(tmp_path / "fit.npz").run(FULL, start(), data, mapper=cluster_map, tol=1e-6)
    np.testing.assert_array_equal(resumed.history, whole.history)
    fast = em(FULL, start(), data, mapper=cluster_map, tol=1e-6, accelerate="squarem")
    equal(fast.params[1], whole.params[1], rtol=1e-4)


def test_judging_where_the_rows_are(client, monkeypatch):
    "Mixtures and chains on a cluster, as in memory, with weights, names, and errors that name the block; in this process no row is read."
    X, w = dask.array.from_array(ROWS, chunks=(1500, 3)), np.arange(len(ROWS)) % 3 + .5
    fit = estimator().fit(ROWS)
    for rows, more, given in ((X, {}, {}), (partitions(delayed_blocks()), {}, {}), (X, {"sample_weight": dask.array.from_array(w, chunks=900)}, {"sample_weight": w})):
        for name in ("score", "aic", "bic", "icl"):
            equal(getattr(fit, name)(rows, **more), getattr(fit, name)(ROWS, **given), rtol=1e-12)
    with monkeypatch.context() as here:
        here.setattr(GaussianMixture, "_log_joint", lambda *_: pytest.fail("in this process"))
        assert np.isfinite(fit.bic(X))
    chain = quiet(lambda: GaussianHMM(2, random_state=0, n_iter=3).fit(ROWS[:900]))
    pairs = partitions([dask.delayed((ROWS[:500], [200, 300])), dask.delayed((ROWS[500:900], [400]))])
    for name in ("score", "aic", "bic"):
        equal(getattr(chain, name)(pairs), getattr(chain, name)(ROWS[:900], lengths=[200, 300, 400]), rtol=1e-12)
    frame = pytest.importorskip("pandas").DataFrame(ROWS, columns=list("abcd"))
    table = pytest.importorskip("dask.dataframe").from_pandas(frame, npartitions=3)
    named = quiet(lambda: estimator().fit(table))
    equal(named.bic(table), named.bic(frame), rtol=1e-12)
    for other, words in ((table[list("abdc")], "same order as they were in fit"), (table[list("abc")], "feature names should match")):
        with pytest.raises(ValueError, match=words):
            named.score(other)
    with pytest.raises(ValueError, match="block 1 of X .counted from 0.: .*infinity"):
        fit.bic([dask.delayed(ROWS), dask.delayed(np.full((2, D), np.inf))])
    with pytest.raises(ValueError, match="may cut a series in two"):
        chain.score(X)
    with pytest.raises(ValueError, match="X is made of delayed blocks: let them be pairs"):
        fit.score(partitions(X), sample_weight=w)


def test_holes_are_filled_where_the_rows_are():
    "The imputer brings no rows here, and says how it is done; what it says works."
    rows = np.where(np.random.default_rng(0).random(ROWS.shape) < .2, np.nan, ROWS)[:600]
    X, imputer = dask.array.from_array(rows, chunks=(200, D)), GaussianMixtureImputer().fit(rows)
    with pytest.raises(TypeError, match=r"all of its rows would be brought here: have each part .* filled rows by X.map_blocks\(model.transform, dtype=float\)"):
        imputer.transform(X)
    np.testing.assert_allclose(X.map_blocks(imputer.transform, dtype=float).compute(), imputer.transform(rows), rtol=1e-10)
    with pytest.raises(TypeError, match="call fit, and then have each part"):
        GaussianMixtureImputer().fit_transform(X)
    table = pytest.importorskip("dask.dataframe").from_pandas(pytest.importorskip("pandas").DataFrame(rows, columns=list("abcd")), npartitions=3)
    named = GaussianMixtureImputer().fit(table)
    with pytest.raises(TypeError, match=r"X.map_partitions\(model.transform, meta=np.empty\(\(0, 4\)\)\)"):
        named.transform(table)
    np.testing.assert_allclose(np.asarray(table.map_partitions(named.transform, meta=np.empty((0, 4))).compute()), named.transform(table.compute()), rtol=1e-10)


def test_names_that_the_chunks_do_not_have():
    "They are those of the table, whose chunks are arrays: no warning comes from any of them."
    frame = pytest.importorskip("pandas").DataFrame(ROWS[:600], columns=list("abcd"))
    table = pytest.importorskip("dask.dataframe").from_pandas(frame, npartitions=3)
    fit = quiet(lambda: estimator().fit(frame))
    equal([fit.score(table), fit.icl(table)], [fit.score(frame), fit.icl(frame)], rtol=1e-12)
    again = quiet(lambda: estimator(max_iter=2).fit(table[list("dcba")]))
    assert again.feature_names_in_.tolist() == list("dcba") and again.n_features_in_ == 4
    assert fit.feature_names_in_.tolist() == list("abcd")                     # judging takes nothing away
