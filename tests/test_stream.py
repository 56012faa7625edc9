"""Blocks from files, and checkpoints that survive SIGKILL."""
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from emlit.classics import TwoCoins
from emlit.data import load_coins, load_faithful
from emlit.em import Tracer, e_step, em, in_blocks
from emlit.families import Diag, Full, MixtureModel, Tied
from emlit.hmm import HMMModel
from emlit.keeping import load
from emlit.lda import LDAModel
from emlit.stream import Checkpoint, npy_blocks, parquet_blocks

FAITHFUL = load_faithful().X
MODEL = MixtureModel(Full())
BEGIN = np.array([.5, .5]), FAITHFUL[[0, 1]], np.tile(np.cov(FAITHFUL.T), (2, 1, 1))


# ---- blocks --------------------------------------------------------------------------------------


def test_npy_blocks_are_the_rows(tmp_path):
    "The blocks of a file are its rows, in order, again and again; the last may be shorter."
    X = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    blocks = npy_blocks(tmp_path / "x.npy", 300)
    for _ in range(2):
        found = list(blocks())
        assert [len(b) for b in found] == [300, 300, 300, 100] and found[0].dtype == np.float32
        np.testing.assert_array_equal(np.concatenate(found), X)


@pytest.mark.parametrize("X", [np.zeros(5), np.asfortranarray(np.zeros((5, 4))), np.array([["a", "b"]]), np.zeros((2, 3), dtype=complex)])
def test_npy_blocks_refuses_other_arrays(tmp_path, X):
    "Vectors, columns after columns, words and complex numbers."
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match="save rows of numbers"):
        npy_blocks(tmp_path / "x.npy", 2)


def test_npy_file_that_changes(tmp_path):
    "A file that has become shorter is noticed."
    np.save(tmp_path / "x.npy", np.zeros((100, 3)))
    blocks = npy_blocks(tmp_path / "x.npy", 30)
    os.truncate(tmp_path / "x.npy", 128 + 8 * 3 * 70)
    with pytest.raises(ValueError, match="ended after 70 of 100 rows"):
        list(blocks())


def test_parquet_blocks(tmp_path):
    "Columns in the order asked for, files one after the other, nulls as NaN; clear errors."
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    X = np.random.default_rng(1).normal(size=(1000, 3))
    table = arrow.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "n": arrow.array(range(1000)), "w": ["x"] * 1000})
    parquet.write_table(table, tmp_path / "1.parquet", row_group_size=170)
    parquet.write_table(arrow.table({"a": [1.5, None], "b": [True, False], "c": [1, 2]}), tmp_path / "2.parquet")
    files = [tmp_path / "1.parquet", str(tmp_path / "2.parquet")]
    blocks = parquet_blocks(files[0], ["c", "a"], 64)
    found = list(blocks())
    assert max(map(len, found)) <= 64 and {b.dtype for b in found} == {np.dtype(float)}
    np.testing.assert_array_equal(np.concatenate(found), X[:, [2, 0]])
    np.testing.assert_array_equal(np.concatenate(list(blocks())), X[:, [2, 0]])
    both = np.concatenate(list(parquet_blocks(files, ["a", "b", "c"])()))
    np.testing.assert_array_equal(both[1000:], [[1.5, 1, 1], [np.nan, 0, 2]])
    np.testing.assert_array_equal(np.concatenate(list(parquet_blocks(files[0], ["n"], 7)())), np.arange(1000.)[:, None])
    with pytest.raises(ValueError, match="columns holds 'z'"):
        parquet_blocks(files, ["a", "z"])
    with pytest.raises(ValueError, match="columns holds 'n'"):
        parquet_blocks(files, ["n"])
    with pytest.raises(TypeError, match="column 'w'"):
        list(parquet_blocks(files[0])())


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    "The error says what to install."
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="pip install"):
        parquet_blocks(tmp_path / "x.parquet")


MEMORY = """
import sys
import numpy as np
from emlit.em import e_step
from emlit.families import Diag, MixtureModel
from emlit.stream import npy_blocks

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

params = np.array([.5, .5]), np.array([[0.] * 8, [1.] * 8]), np.ones((2, 8))
e_step(MixtureModel(Diag()), params, np.zeros((30_000, 8)))
before = peak()
e_step(MixtureModel(Diag()), params, npy_blocks(sys.argv[1], 20_000))
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memory_does_not_grow(tmp_path):
    "Peak resident memory over a file of 64 MB, beyond what a pass over a small array needs."
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1_000_000, 8)))
    out = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / "x.npy")], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 12


def test_parquet_files_in_any_order_of_columns(tmp_path):
    "Columns are found by name in each file."
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    X = np.arange(12.).reshape(6, 2)
    for name, columns, rows in (("1", "ab", X[:3]), ("2", "ba", X[3:, ::-1]), ("3", "cd", X)):
        parquet.write_table(pyarrow.table(dict(zip(columns, rows.T))), tmp_path / name)
    np.testing.assert_array_equal(np.vstack(list(parquet_blocks((tmp_path / "1", tmp_path / "2"))())), X)
    with pytest.raises(ValueError, match="columns holds 'a'"):
        parquet_blocks([tmp_path / "1", tmp_path / "3"])


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npz", X=FAITHFUL)
    with pytest.raises(ValueError, match="archive of several arrays"):
        npy_blocks(tmp_path / "x.npz", 10)


# ---- checkpoints ---------------------------------------------------------------------------------


class Cut(Exception):
    pass


def cut_at(round):
    def cut(step):
        if step.iteration == round:
            raise Cut
    return cut


def same(a, b):
    "Whether two results are equal in every bit."
    assert (a.log_likelihood, a.n_iter, a.converged) == (b.log_likelihood, b.n_iter, b.converged)
    np.testing.assert_array_equal(a.history, b.history)
    assert len(a.seconds) == len(b.seconds) and (np.diff(a.seconds) >= 0).all()
    for x, y in zip(a.params, b.params, strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("round", [0, 1, 6, 7])
def test_resumed_equals_uninterrupted(tmp_path, round, every):
    "Wherever a run is cut, and however often it was written."
    whole = em(MODEL, BEGIN, FAITHFUL, tol=1e-6)
    keep = Checkpoint(tmp_path / "c.npz", every=every)
    with pytest.raises(Cut):
        keep.run(MODEL, BEGIN, FAITHFUL, tol=1e-6, callbacks=[cut_at(round)])
    tracer = Tracer()
    fit = keep.run(MODEL, BEGIN, FAITHFUL, tol=1e-6, callbacks=[tracer])
    same(fit, whole)
    written = round - round % every
    assert [s.iteration for s in tracer.steps] == list(range(written, whole.n_iter + 1))
    assert fit.n_e_steps == whole.n_e_steps + 1 and tracer.steps[-1].e_steps == fit.n_e_steps
    again = Tracer()
    same(keep.run(MODEL, BEGIN, FAITHFUL, tol=1e-6, callbacks=[again]), whole)                   # finished: one pass
    assert [s.iteration for s in again.steps] == [whole.n_iter]
    with pytest.raises(ValueError, match="belongs to other rows"):
        keep.run(MODEL, BEGIN, FAITHFUL * [1, 1.01], tol=1e-6)
    same(keep.run(MODEL, None, FAITHFUL, tol=1e-6), whole)


def other_models():
    "Models with parameters of other shapes, a start, and data."
    rng = np.random.default_rng(3)
    chain = np.array([.5, .5]), np.array([[.8, .2], [.3, .7]]), np.array([[50.], [80.]]), np.array([[99.], [50.]])
    counts = rng.poisson(1.0, size=(12, 9))
    lda = np.full(2, .5), np.asarray(.1), rng.gamma(100, .01, size=(2, 9)), np.full((12, 2), 5.0)
    return [(TwoCoins(), np.array([.6, .5]), load_coins().X), (HMMModel(Diag()), chain, (FAITHFUL[:, 1:], np.full(16, 17))), (LDAModel(), lda, counts)]


@pytest.mark.parametrize("number", range(3))
def test_other_models_resume(tmp_path, number):
    "Coins, chains and topics, whose parameters and data have other shapes."
    model, params, data = other_models()[number]
    keep = Checkpoint(tmp_path / "c.npz")
    with pytest.raises(Cut):
        keep.run(model, params, data, max_iter=8, warn=False, callbacks=[cut_at(3)])
    fit, whole = keep.run(model, params, data, max_iter=8, warn=False), em(model, params, data, max_iter=8, warn=False)
    np.testing.assert_array_equal(fit.history, whole.history)
    for x, y in zip(np.atleast_1d(fit.params) if number == 0 else fit.params, np.atleast_1d(whole.params) if number == 0 else whole.params, strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


def test_never_cut(tmp_path):
    "An uninterrupted run through a checkpoint is that of em, and leaves one file."
    fit = Checkpoint(tmp_path / "c.npz").run(MODEL, BEGIN, in_blocks(FAITHFUL, 50))
    whole = em(MODEL, BEGIN, in_blocks(FAITHFUL, 50))
    same(fit, whole)
    assert fit.n_e_steps == whole.n_e_steps and [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_stopping_rule_sees_the_whole_history(tmp_path):
    "A rule on the number of rounds, and a larger max_iter, go on from where the run was."
    seen, keep = [], Checkpoint(tmp_path / "c.npz")
    def stop(history):
        seen.append(list(history))
        return len(history) > 9
    with pytest.raises(Cut):
        keep.run(MODEL, BEGIN, FAITHFUL, stop=stop, callbacks=[cut_at(5)])
    fit = keep.run(MODEL, BEGIN, FAITHFUL, stop=stop)
    assert fit.n_iter == 9 and fit.converged and seen[-1] == list(fit.history)
    same(fit, em(MODEL, BEGIN, FAITHFUL, stop=lambda history: len(history) > 9))


def test_max_iter_counts_all_rounds(tmp_path):
    "A limit that was reached warns; a larger one goes on."
    keep = Checkpoint(tmp_path / "c.npz")
    for limit in (4, 4, 7):
        with pytest.warns(ConvergenceWarning, match=f"max_iter={limit} rounds"):
            fit = keep.run(MODEL, BEGIN, FAITHFUL, max_iter=limit)
        assert fit.n_iter == limit and not fit.converged
    same(fit, em(MODEL, BEGIN, FAITHFUL, max_iter=7, warn=False))
    same(keep.run(MODEL, BEGIN, FAITHFUL), em(MODEL, BEGIN, FAITHFUL))


def test_foreign_checkpoints(tmp_path):
    "Another model, family, shape, start, or other rows of the same shape; and no file where there is no start."
    keep = Checkpoint(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="params is None, and there is no file"):
        keep.run(MODEL, None, FAITHFUL)
    keep.run(MODEL, BEGIN, FAITHFUL, max_iter=3, warn=False)
    blob = keep.path.read_bytes()
    other = BEGIN[0], np.nextafter(BEGIN[1], 1e9), BEGIN[2]
    for arguments, match in [((MixtureModel(Tied()), BEGIN, FAITHFUL), "whose model is"), ((HMMModel(Full()), BEGIN, FAITHFUL), "whose model is"),
                             ((MODEL, BEGIN, FAITHFUL[1:]), "whose data is an array of shape"), ((MODEL, BEGIN, in_blocks(FAITHFUL, 9)), "whose data"),
                             ((MODEL, other, FAITHFUL), "whose start is"), ((MODEL, None, FAITHFUL + 1e-4), "belongs to other rows")]:
        with pytest.raises(ValueError, match=match):
            keep.run(*arguments)
        assert keep.path.read_bytes() == blob
    keep.run(MODEL, BEGIN, FAITHFUL, max_iter=4, warn=False)


def test_damage_is_refused_or_harmless(tmp_path):
    "Cut short anywhere, or with any byte changed: refused, or the same fit."
    path = tmp_path / "c.npz"
    whole = Checkpoint(path).run(MODEL, BEGIN, FAITHFUL, max_iter=5, warn=False)
    blob, refused = path.read_bytes(), 0
    for i in range(0, len(blob), 41):
        path.write_bytes(blob[:i])
        with pytest.raises(ValueError, match="damaged, or no checkpoint"):
            Checkpoint(path).run(MODEL, BEGIN, FAITHFUL, max_iter=5, warn=False)
        path.write_bytes(blob[:i] + bytes([blob[i] ^ 16]) + blob[i + 1:])
        try:
            same(Checkpoint(path).run(MODEL, BEGIN, FAITHFUL, max_iter=5, warn=False), whole)
        except ValueError as error:
            assert "cannot be resumed" in str(error)
            refused += 1
    assert refused > .6 * len(range(0, len(blob), 41))


def test_other_formats(tmp_path):
    "A pickle is not read, a later format is named, and `load` does not take a checkpoint for a model."
    path = tmp_path / "c.npz"
    np.savez(path, checkpoint=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="damaged, or no checkpoint"):
        Checkpoint(path).run(MODEL, BEGIN, FAITHFUL)
    np.savez(path, checkpoint=np.array('{"version": 99, "emlit": "9.9", "of": {}, "state": null}'))
    with pytest.raises(ValueError, match="emlit 9.9 wrote it in format 99"):
        Checkpoint(path).run(MODEL, BEGIN, FAITHFUL)
    path.unlink()
    Checkpoint(path).run(MODEL, BEGIN, FAITHFUL, max_iter=2, warn=False)
    with pytest.raises(ValueError, match="archive of something else"):
        load(path)
    with pytest.raises(ValueError, match="no folder"):
        Checkpoint(tmp_path / "none" / "c.npz")
    with pytest.raises(ValueError, match="every == 0"):
        Checkpoint(path, every=0)


def test_writing_is_atomic(tmp_path, monkeypatch):
    "What is written is on the disk before it gets the name; when the writing fails, the old file is still there."
    keep, order, real = Checkpoint(tmp_path / "c.npz"), [], (os.fsync, os.replace)
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), real[0](file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), real[1](a, b)))
    keep.run(MODEL, BEGIN, FAITHFUL, max_iter=2, warn=False)
    assert order == ["fsync", "replace"] * 3
    blob = keep.path.read_bytes()
    def full(file):
        raise OSError("no space left")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        keep.run(MODEL, BEGIN, FAITHFUL, max_iter=9, warn=False)
    assert keep.path.read_bytes() == blob and [file.name for file in tmp_path.iterdir()] == ["c.npz"]


SCRIPT = """
import os, random, signal, sys, time
import numpy as np
from emlit.data import load_faithful
from emlit.families import Full, MixtureModel
from emlit.stream import Checkpoint

X = load_faithful().X
start = np.full(3, 1 / 3), X[[0, 1, 2]], np.tile(np.cov(X.T), (3, 1, 1))

def run(name, pause):
    fit = Checkpoint(name + ".npz").run(MixtureModel(Full()), start, X, max_iter=120, warn=False, callbacks=[lambda step: time.sleep(pause)])
    np.savez(name + "_out.npz", *fit.params, history=fit.history)

def in_a_process(name, pause):
    child = os.fork()
    if child == 0:
        run(name, pause)
        os._exit(0)
    return child

kills = 0
while kills < 8:
    child = in_a_process("war", .003)
    time.sleep(random.uniform(.01, .1))
    os.kill(child, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    kills += killed
    if not killed:
        break
os.waitpid(in_a_process("war", 0), 0)
run("peace", 0)
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
def test_sigkill(tmp_path):
    "Killed at random moments and started again, a run ends with the same digits as one left in peace."
    out = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(out.stdout) >= 3
    with np.load(tmp_path / "peace_out.npz") as a, np.load(tmp_path / "war_out.npz") as b:
        assert a.files == b.files and len(a["history"]) == 121
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
