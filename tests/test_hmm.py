"""Hidden Markov chains: against all paths, against each other's forms, against hmmlearn, and where scaling breaks."""
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import expon, multivariate_normal, poisson

from emlit import hmm
from emlit.convergence import pack, unpack
from emlit.direct import fisher_gradient
from emlit.em import e_step, em
from emlit.families import Bernoulli, Categorical, Diag, Family, Full, MixtureModel, Poisson, Spherical, Tied
from emlit.hmm import HMMModel, chains_in_blocks, forward_backward, sample_chain, sequence_log_likelihoods, viterbi
from emlit.likelihood import numerical_gradient

DIARY = np.array([2, 3, 3, 2, 3, 2, 3, 2, 2, 3, 1, 3, 3, 1, 1, 1, 2, 1, 1, 1, 3, 1, 2, 1, 1, 1, 2, 3, 3, 2, 3, 2, 2])
EISNER = (np.array([.5, .5, 0]), np.array([[.8, .1, .1], [.1, .8, .1], [0, 0, 1]]),
          np.array([[.7, .2, .1, 0], [.1, .2, .7, 0], [0, 0, 0, 1]])[:, None])
STOPPED = np.r_[DIARY - 1, 3][:, None].astype(float)


def logs(*arrays):
    with np.errstate(divide="ignore"):
        return tuple(np.log(a) for a in arrays)


def random_chain(rng, k, zeros=0.0, sticky=0.0):
    "Start and transitions, some of them 0, each row with at least one that is not."
    start, A = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k)
    A[rng.random((k, k)) < zeros] = 0
    A[range(k), rng.integers(k, size=k)] += .1
    return start, sticky * np.eye(k) + (1 - sticky) * A / A.sum(axis=1, keepdims=True)


def enumerated(log_start, log_transition, log_density):
    "All paths of one chain, and the log-probability of each together with what was seen."
    n, k = log_density.shape
    paths = np.array(list(product(range(k), repeat=n)))
    steps = log_transition[paths[:, :-1], paths[:, 1:]].sum(axis=1)
    return paths, log_start[paths[:, 0]] + steps + log_density[np.arange(n), paths].sum(axis=1)


def by_enumeration(log_start, log_transition, log_density, lengths):
    k, values, posterior, transitions, best = len(log_start), [], [], np.zeros((len(log_start),) * 2), []
    for part in np.split(log_density, np.cumsum(lengths)[:-1]):
        paths, joint = enumerated(log_start, log_transition, part)
        values.append(logsumexp(joint))
        p = np.exp(joint - values[-1])
        posterior.append(np.stack([p @ (paths == i) for i in range(k)], axis=1))
        for before, after in zip(paths[:, :-1].T, paths[:, 1:].T):
            np.add.at(transitions, (before, after), p)
        best.append(joint.max())
    return np.array(values), np.concatenate(posterior), transitions, np.array(best)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("zeros", [0, .4])
def test_everything_against_all_paths(k, zeros):
    rng = np.random.default_rng(k)
    for lengths in ([1], [7], [1, 1, 1], [3, 1, 6, 2, 3]):
        chain = *logs(*random_chain(rng, k, zeros)), rng.normal(0, 2, (sum(lengths), k))
        values, posterior, transitions, best = by_enumeration(*chain, lengths)
        value, R, pairs = forward_backward(*chain, lengths)
        np.testing.assert_allclose(value, values.sum(), rtol=1e-12)
        np.testing.assert_allclose(R, posterior, rtol=1e-10, atol=1e-14, strict=True)
        np.testing.assert_allclose(pairs, transitions, rtol=1e-10, atol=1e-14, strict=True)
        np.testing.assert_allclose(sequence_log_likelihoods(*chain, lengths), values, rtol=1e-12, atol=1e-14, strict=True)
        score, states = viterbi(*chain, lengths)
        np.testing.assert_allclose(score, best.sum(), rtol=1e-12)
        ends = np.cumsum(lengths)
        along = sum(chain[0][states[e - n]] + chain[1][states[e - n:e - 1], states[e - n + 1:e]].sum()
                    + chain[2][np.arange(e - n, e), states[e - n:e]].sum() for n, e in zip(lengths, ends))
        np.testing.assert_allclose(along, best.sum(), rtol=1e-12)


def test_one_sequence_where_no_lengths_are_given():
    rng = np.random.default_rng(0)
    chain = *logs(*random_chain(rng, 3)), rng.normal(size=(20, 3))
    for got, wanted in zip(forward_backward(*chain), forward_backward(*chain, [20])):
        np.testing.assert_array_equal(got, wanted)
    assert viterbi(*chain)[0] == viterbi(*chain, np.array([20]))[0]


# ---- one chain, many forms -----------------------------------------------------------------------


def in_logs(log_start, log_transition, log_density, lengths):
    parts = [hmm._in_logs(log_start, log_transition, part) for part in np.split(log_density, np.cumsum(lengths)[:-1])]
    return np.array([v for v, _, _ in parts]), np.concatenate([p for _, p, _ in parts]), sum(x for _, _, x in parts)


CASES = {"ragged": ([1, 5, 40, 3, 100, 100, 1], 2, 0, 0), "one": ([700], 2, 0, 0), "sticky": ([700], .3, 0, .98),
         "zeros": ([300, 1, 129], 2, .5, 0), "never changes": ([300], .5, 0, 1), "two long": ([300, 299], 5, 0, 0)}


@pytest.fixture(params=CASES)
def case(request):
    lengths, sharp, zeros, sticky = CASES[request.param]
    rng, lengths = np.random.default_rng(7), np.array(lengths)
    start, A = random_chain(rng, 3, zeros, sticky)
    return start, A, sharp * rng.normal(size=(lengths.sum(), 3)), lengths


def assert_same(got, wanted, rtol):
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, strict=True)


@pytest.mark.parametrize("most", [10_000, 128, 70, 9, 1])
@pytest.mark.parametrize("rounds", [2, 0])
def test_pieces_and_scans_give_what_logs_give(case, most, rounds, monkeypatch):
    monkeypatch.setattr(hmm, "_ROUNDS", rounds)                          # 0: by transfer matrices at once
    start, A, table, lengths = case
    with np.errstate(all="ignore"):
        *got, sound = hmm._batched(start, A, table, lengths, min(most, int(lengths.max())))
        *whole, _ = hmm._batched(start, A, table, lengths, int(lengths.max()))
    assert sound.all()
    assert_same(got, in_logs(*logs(start, A), table, lengths), 1e-10)
    assert_same(got, whole, 2e-12)


def test_loops_give_what_arrays_give(case):
    start, A, table, lengths = case
    top, n, starts = table.max(axis=1), len(table), lengths.cumsum() - lengths
    posterior, c, largest, pairs = np.empty(table.shape), np.empty(n), np.empty(n), np.zeros(A.shape)
    hmm._walk_forward(start, A, np.exp(table - top[:, None]), lengths, posterior, c)
    hmm._walk_backward(A, np.exp(table - top[:, None]), lengths, posterior, c, largest, pairs)
    *batched, _ = hmm._batched(start, A, table, lengths, int(lengths.max()))
    assert_same((np.add.reduceat(np.log(c) + top, starts), posterior, A * pairs), batched, 1e-12)
    back, values, states = np.empty(table.shape, np.int16), np.empty(len(lengths)), np.empty(n, np.intp)
    hmm._walk_best(*logs(start, A), table, lengths, back, values, states)
    score, path = viterbi(*logs(start, A), table, lengths)
    np.testing.assert_allclose(values.sum(), score, rtol=1e-13)
    np.testing.assert_array_equal(states, path)


def test_compiled_gives_the_same(case):
    pytest.importorskip("numba")
    start, A, table, lengths = case
    assert_same(hmm._walked(start, A, table, lengths), hmm._batched(start, A, table, lengths, int(lengths.max())), 1e-12)


def test_compiled_is_chosen_for_long_chains_and_can_be_missed(monkeypatch):
    rng = np.random.default_rng(1)
    chain, used = (*logs(*random_chain(rng, 3)), rng.normal(size=(25_000, 3))), []
    monkeypatch.setattr(hmm, "_compiled", lambda function: used.append(function) or function)
    monkeypatch.setattr(hmm, "_walked", lambda *a: used.append("walked") or hmm._batched(*a, 500))
    compiled = forward_backward(*chain)
    assert "walked" in used
    monkeypatch.setattr(hmm, "_compiled", lambda function: None)
    used.clear()
    assert_same(forward_backward(*chain), compiled, 1e-12)
    assert not used and viterbi(*chain)[1].shape == (25_000,)


def test_without_numba_there_is_nothing_compiled(monkeypatch):
    find = hmm._compiled.__wrapped__
    monkeypatch.setitem(sys.modules, "numba", None)                      # an import of it fails
    assert find(hmm._walk_forward) is None


def test_with_numba_switched_off_there_is_nothing_compiled(monkeypatch):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert hmm._compiled.__wrapped__(hmm._walk_forward) is None


def test_pieces_are_settled_without_matrices_where_chains_forget(monkeypatch):
    rng = np.random.default_rng(2)
    start, A = random_chain(rng, 4)
    table, lengths, scans = rng.normal(size=(3000, 4)), np.array([3000]), []
    monkeypatch.setattr(hmm, "_scan", lambda *a: scans.append(1))
    *got, sound = hmm._batched(start, A, table, lengths, 150)
    *whole, _ = hmm._batched(start, A, table, lengths, 3000)
    assert sound.all() and not scans
    assert_same(got, whole, 1e-12)


def test_pieces_agree_in_small_entries_too():
    "What a piece hands on is tiny in the state that the next pieces speak for."
    start, A, lengths = np.array([.5, .5]), np.array([[1 - 1e-20, 1e-20], [1e-20, 1 - 1e-20]]), np.array([200])
    table = np.zeros((200, 2))
    table[:100, 0], table[100:, 1] = .5, .45
    *got, sound = hmm._batched(start, A, table, lengths, 100)
    assert sound.all()
    assert_same(got, in_logs(*logs(start, A), table, lengths), 1e-10)


def hard_case(seed):
    "A chain and rows of any kind: zeros, cycles, states that are never left, steps that underflow, spells, impossible rows, offsets."
    rng, k = np.random.default_rng(seed), 1 + seed % 4
    lengths = [np.array([140]), rng.integers(1, 5, 30), np.array([1, 90, 1, 1, 60]), np.array([1])][seed % 5 % 4]
    start, A = random_chain(rng, k, *[(0, 0), (.5, 0), (0, 1), (0, .999)][rng.integers(4)])
    if rng.random() < .2:
        start, A = np.eye(k)[0], np.roll(np.eye(k), 1, axis=1)
    log_start, log_A = logs(start, A)
    if rng.random() < .2:
        log_A = np.where(np.eye(k) > 0, 0, -rng.uniform(100, 2000))
    n = lengths.sum()
    table = 10. ** rng.integers(-1, 3) * rng.normal(size=(n, k))
    kind = rng.integers(5)
    if kind == 0:
        table[rng.random((n, k)) < .05] = -np.inf
    elif kind == 1:
        table += rng.choice([-1e5, 1e5], (n, 1))
    elif kind == 2:
        table = np.repeat(rng.choice([-8., -2., 0.], (n // 30 + 1, k)), 30, axis=0)[:n]
    table[-3:] = 0                                                       # not observed
    return log_start, log_A, table, lengths


@pytest.mark.parametrize("seed", range(30))
def test_every_way_gives_what_logs_give(seed, monkeypatch):
    log_start, log_A, table, lengths = hard_case(seed)
    values, posterior, transitions = in_logs(log_start, log_A, table, lengths)
    level = 1 + abs(table[np.isfinite(table)]).sum()
    tol, ways = 1e-11 + 1e-15 * level, {}
    with np.errstate(all="ignore"):
        for most in (int(lengths.max()), 17, 5):
            for rounds in (2, 0):
                monkeypatch.setattr(hmm, "_ROUNDS", rounds)
                ways[most, rounds] = hmm._batched(np.exp(log_start), np.exp(log_A), table, lengths, min(most, int(lengths.max())))
        if hmm._compiled(hmm._walk_forward):
            ways["walked"] = hmm._walked(np.exp(log_start), np.exp(log_A), table, lengths)
    for value, R, pairs, sound in ways.values():
        rows = np.repeat(sound, lengths)
        assert_same((value[sound], R[rows]), (values[sound], posterior[rows]), tol)
        if sound.all():
            np.testing.assert_allclose(pairs, transitions, rtol=tol, atol=tol * len(table))
    monkeypatch.setattr(hmm, "_ROUNDS", 2)
    assert_same([sequence_log_likelihoods(log_start, log_A, table, lengths)], [values], tol)
    if not np.isfinite(values).all():
        return
    assert_same(forward_backward(log_start, log_A, table, lengths), (np.float64(values.sum()), posterior, transitions), tol * len(table))
    best = [hmm._best_paths(log_start, log_A, table, lengths, min(most, int(lengths.max()))) for most in (200, 17, 5)]
    back, value, states = np.empty(table.shape, np.int16), np.empty(len(lengths)), np.empty(len(table), np.intp)
    hmm._walk_best(log_start, log_A, table, lengths, back, value, states)
    for score, path in best:                                             # ties may be broken in another way
        np.testing.assert_allclose(score, value, rtol=1e-12, atol=tol)
        np.testing.assert_allclose(hmm._along(log_start, log_A, table, path, lengths.cumsum() - lengths), value, rtol=1e-12, atol=tol)


def test_pieces_that_tell_a_join_differently_are_not_trusted(monkeypatch):
    "A state fades to a number of one digit within the first piece and leads at its end; its transfer matrix knows all digits."
    monkeypatch.setattr(hmm, "_ROUNDS", 0)
    fading = np.r_[[-247.] * 3, [290.] * 3, -350, np.zeros(5)]
    start, A, table, lengths = np.array([.5, .5]), np.eye(2), np.c_[np.zeros(12), fading], np.array([12])
    with np.errstate(all="ignore"):
        assert not hmm._batched(start, A, table, lengths, 6)[3].any()
        value, R, pairs, sound = hmm._batched(start, A, table, lengths, 12)
    assert sound.all()
    assert_same((value, R, pairs), in_logs(*logs(start, A), table, lengths), 1e-12)


def test_scaling_is_judged_by_beta_over_c():
    c, largest, starts = np.array([1, 1e-200, 1, 1e-200, 1, 1e-280, np.nan, 0]), np.array([1e200, 1, 1, 1e100, 1e300, 1, 1, 1]), np.array([0, 2, 4, 5, 6, 7])
    with np.errstate(divide="ignore"):
        assert hmm._sound(c, largest, starts).tolist() == [True, False, False, False, False, False]


def test_a_row_that_only_an_unlikely_state_can_reach_is_carried_by_scaling(monkeypatch):
    "The state that the row speaks for cannot be entered: 400 nats are no reason for logarithms."
    monkeypatch.setattr(hmm, "_in_logs", None)
    table = np.tile([0., -5.], (40, 1))
    table[20] = [-400, 0]
    chain = *logs(np.array([1., 0]), np.array([[1., 0], [.5, .5]])), table
    np.testing.assert_allclose(forward_backward(*chain)[0], -400, rtol=1e-13)


def test_what_all_states_share_costs_no_digits():
    "In logarithms: a chain that never changes, and offsets of 1e5 nats a row."
    rng = np.random.default_rng(30)
    table, offset = rng.normal(size=(500, 2)), rng.choice([-1e5, 1e5], (500, 1))
    value, R, _ = hmm._in_logs(*logs(np.array([.5, .5]), np.eye(2)), table)
    shifted, same, _ = hmm._in_logs(*logs(np.array([.5, .5]), np.eye(2)), table + offset)
    np.testing.assert_allclose(same, R, rtol=0, atol=1e-9)
    np.testing.assert_allclose(shifted, value + offset.sum(), rtol=1e-12, atol=1e-7)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_best_path_in_pieces(k, monkeypatch):
    rng = np.random.default_rng(31)
    log_start, log_A = logs(*random_chain(rng, k, 0, .5))
    table, lengths, joined, found = rng.normal(size=(2000, k)), np.array([900, 1, 1099]), hmm._best_joined, []
    monkeypatch.setattr(hmm, "_best_joined", lambda *a: found.append(joined(*a)) or found[-1])
    whole = hmm._best_paths(log_start, log_A, table, lengths, 1099)
    pieces = hmm._best_paths(log_start, log_A, table, lengths, 100)
    assert len(found) == 2 and None not in found                         # settled without another run
    np.testing.assert_array_equal(pieces[1], whole[1])
    np.testing.assert_allclose(pieces[0], whole[0], rtol=1e-13)
    back, value, states = np.empty(table.shape, np.int16), np.empty(3), np.empty(2000, np.intp)
    hmm._walk_best(log_start, log_A, table, lengths, back, value, states)
    np.testing.assert_array_equal(pieces[1], states)
    np.testing.assert_allclose(pieces[0], value, rtol=1e-12)


def test_best_path_that_no_piece_can_know():
    "The chain never changes, and its last rows decide what the first ones were."
    table = np.zeros((400, 3))
    table[:, 0], table[-150:, 2] = .1, 1.
    value, path = viterbi(*logs(np.full(3, 1 / 3), np.eye(3)), table)
    assert (path == 2).all()
    np.testing.assert_allclose(value, 150 - np.log(3), rtol=1e-13)


@pytest.mark.parametrize("n", [1_000_000])
def test_a_million_steps(n):
    rng = np.random.default_rng(3)
    start, A = random_chain(rng, 3)
    table, lengths = rng.normal(size=(n, 3)) - 100, np.array([n])
    tracemalloc.start()
    values, posterior, transitions, sound = hmm._batched(start, A, table, lengths, 1000)
    peak = tracemalloc.get_traced_memory()[1] / table.nbytes
    tracemalloc.stop()
    assert sound.all() and peak < 8.5
    np.testing.assert_allclose(posterior.sum(axis=1), np.ones(n), rtol=1e-11)
    np.testing.assert_allclose(transitions.sum(), n - 1, rtol=1e-11)
    np.testing.assert_allclose(transitions.sum(axis=0), posterior[1:].sum(axis=0), rtol=1e-11)
    value, R, pairs = forward_backward(*logs(start, A), table)            # compiled, where numba is installed
    assert_same((value, R, pairs / n), (values.sum(), posterior, transitions / n), 1e-11)


# ---- where scaling breaks ------------------------------------------------------------------------


def test_a_state_that_underflows_and_is_right():
    "Scaled, the second state is lost for good after the first 100 rows, and the next 300 speak for it."
    table = np.r_[np.tile([0., -8.], (100, 1)), np.tile([-8., 0.], (300, 1))]
    chain = *logs(np.array([.5, .5]), np.eye(2)), table
    with np.errstate(all="ignore"):
        assert not hmm._scaled(np.exp(chain[0]), np.exp(chain[1]), table, np.array([400]))[3].any()
    value, posterior, transitions = forward_backward(*chain)
    np.testing.assert_allclose(value, np.log(.5) - 800, rtol=1e-13)
    np.testing.assert_allclose(posterior, np.tile([0., 1.], (400, 1)), atol=1e-12, strict=True)
    np.testing.assert_allclose(transitions, [[0, 0], [0, 399]], atol=1e-9)


def test_densities_that_underflow_in_the_only_possible_state():
    chain = *logs(np.array([1., 0.]), np.array([[.5, .5], [0, 1.]])), np.array([[-2000., 0.], [-3000., 5.], [-1e4, -2e4]])
    value, posterior, _ = forward_backward(*chain)
    values, wanted, _, _ = by_enumeration(*chain, [3])
    np.testing.assert_allclose(value, values[0], rtol=1e-13)
    np.testing.assert_allclose(posterior, wanted, rtol=1e-9, atol=1e-14)


def test_only_the_chains_that_scaling_cannot_carry_are_done_in_logs(monkeypatch):
    rng, in_logs_once, calls = np.random.default_rng(4), hmm._in_logs, []
    table = np.r_[rng.normal(size=(50, 2)), np.array([[-2000., 0.]] * 3), rng.normal(size=(20, 2))]
    chain, lengths = logs(np.array([1., 0.]), np.array([[.6, .4], [0, 1]])), [50, 3, 20]
    wanted = in_logs(*chain, table, lengths)
    monkeypatch.setattr(hmm, "_in_logs", lambda *a: calls.append(len(a[2])) or in_logs_once(*a))
    value, posterior, transitions = forward_backward(*chain, table, lengths)
    assert calls == [3]
    assert_same((np.float64(value), posterior, transitions), (wanted[0].sum(), *wanted[1:]), 1e-11)
    np.testing.assert_allclose(sequence_log_likelihoods(*chain, table, lengths), wanted[0], rtol=1e-12, strict=True)


def test_impossible_sequences_are_named():
    chain = logs(np.array([1., 0.]), np.array([[1, 0], [.5, .5]]))
    table = np.array([[0., 0.], [0., 0.], [-np.inf, 0.]])
    np.testing.assert_array_equal(sequence_log_likelihoods(*chain, table, [1, 2]), [0, -np.inf])
    for function in (forward_backward, viterbi):
        with pytest.raises(ValueError, match="sequence 1 has probability 0"):
            function(*chain, table, [1, 2])
    with pytest.raises(ValueError, match="sequence 0 has probability 0"):
        forward_backward(*chain, np.full((1, 2), -np.inf))


def test_ties_go_to_the_lowest_state():
    flat = np.log(np.full(3, 1 / 3)), np.log(np.full((3, 3), 1 / 3))
    assert viterbi(*flat, np.zeros((6, 3)), [4, 2])[1].tolist() == [0] * 6
    table = np.zeros((3, 3))
    table[1, 0] = -1
    assert viterbi(*flat, table)[1].tolist() == [0, 1, 0]


def test_a_level_added_to_a_row_is_added_to_the_log_likelihood():
    rng = np.random.default_rng(5)
    chain, table, level = logs(*random_chain(rng, 3)), rng.normal(size=(30, 3)), 1000 * rng.normal(size=(30, 1))
    before, after = forward_backward(*chain, table), forward_backward(*chain, table + level)
    np.testing.assert_allclose(after[0], before[0] + level.sum(), rtol=1e-12)
    assert_same(after[1:], before[1:], 1e-9)


def test_states_have_no_order():
    rng, order = np.random.default_rng(6), [2, 0, 1]
    (start, A), table = logs(*random_chain(rng, 3)), rng.normal(size=(30, 3))
    value, R, pairs = forward_backward(start, A, table, [10, 20])
    turned = forward_backward(start[order], A[np.ix_(order, order)], table[:, order], [10, 20])
    assert_same(turned, (value, R[:, order], pairs[np.ix_(order, order)]), 1e-12)


# ---- the model -----------------------------------------------------------------------------------


def test_published_numbers_of_the_diary():
    "Eisner (2002): log P at the start and after 1 and 10 rounds."
    fit = em(HMMModel(Categorical(4)), EISNER, STOPPED, tol=1e-9)
    np.testing.assert_allclose(fit.history[[0, 1, 10]], [-41.537818, -36.742293, -35.334272], rtol=0, atol=5e-7)
    assert fit.params[1][2].tolist() == [0, 0, 1]                        # nobody leaves the stop


def test_a_stop_never_begins_to_emit():
    "Families write 1e-300 for 0, a seed that many rounds would let grow."
    rng, model = np.random.default_rng(2), HMMModel(Categorical(4))
    start, A, B = (np.zeros_like(p) for p in EISNER)
    for _ in range(8):
        start[:2], A[:2], B[:2, 0, :3] = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(3), 2), rng.dirichlet(np.ones(3), 2)
        A[2, 2] = B[2, 0, 3] = 1
        fit = em(model, (start, A, B), STOPPED, tol=0, max_iter=600, warn=False)
        assert fit.params[2][2, 0].tolist() == [0, 0, 0, 1] and (fit.params[2][:2, 0, 3] == 0).all()


class Waits(Family):
    "A family of one's own: exponential waits with rates (k, d)."
    spaces = ("positive",)

    def size(self, d):
        return 1 + d

    def features(self, X, out):
        out[0], out[1:] = 1, X

    def natural(self, rates):
        return np.c_[np.log(rates).sum(axis=1), -rates]

    def parameters(self, moments):
        return (moments[:, :1] / moments[:, 1:],)


def data(name, rng):
    "Rows, parameters, and a table of log densities by scipy or by hand, for a family."
    k, n = 3, 60
    if name in ("full", "tied", "diag", "spherical"):
        X, means, root = rng.normal(0, 2, (n, 3)), rng.normal(0, 2, (k, 3)), rng.normal(size=(k, 3, 3))
        C = root @ root.mT + np.eye(3)
        C = {"full": C, "tied": C[0], "diag": C.diagonal(axis1=1, axis2=2).copy(), "spherical": C[:, 0, 0].copy()}[name]
        matrices = {"full": lambda i: C[i], "tied": lambda i: C, "diag": lambda i: np.diag(C[i]), "spherical": lambda i: C[i] * np.eye(3)}[name]
        return X, (means, C), np.stack([multivariate_normal(means[i], matrices(i)).logpdf(X) for i in range(k)], axis=1)
    if name == "poisson":
        X, rates = rng.poisson(4, (n, 2)).astype(float), rng.uniform(1, 9, (k, 2))
        return X, (rates,), poisson(rates).logpmf(X[:, None]).sum(axis=-1)
    if name == "bernoulli":
        X, p = (rng.random((n, 4)) < .5).astype(float), rng.uniform(.1, .9, (k, 4))
        return X, (p,), (X[:, None] * np.log(p) + (1 - X[:, None]) * np.log1p(-p)).sum(axis=-1)
    if name == "categorical":
        X, p = rng.integers(0, 3, (n, 2)).astype(float), rng.dirichlet(np.ones(3), (k, 2))
        return X, (p,), sum(np.log(p[:, j, X[:, j].astype(int)]).T for j in range(2))
    X, rates = rng.exponential(2, (n, 2)), rng.uniform(.3, 3, (k, 2))
    return X, (rates,), expon(scale=1 / rates).logpdf(X[:, None]).sum(axis=-1)


def weighted(name, X, R):
    "The M-step of a family, written out."
    counts, means = R.sum(axis=0), R.T @ X / R.sum(axis=0)[:, None]
    if name in ("poisson", "bernoulli"):
        return (means,)
    if name == "waits":
        return (1 / means,)
    if name == "categorical":
        return (np.stack([R.T @ (X == c) / counts[:, None] for c in range(3)], axis=-1),)
    away = X - means[:, None]
    C = np.einsum("nk,kni,knj->kij", R, away, away) / counts[:, None, None]
    variances = C.diagonal(axis1=1, axis2=2)
    return means, {"full": C, "tied": np.tensordot(counts / counts.sum(), C, 1), "diag": variances, "spherical": variances.mean(axis=1)}[name]


FAMILIES = {"full": Full(), "tied": Tied(), "diag": Diag(), "spherical": Spherical(), "poisson": Poisson(), "bernoulli": Bernoulli(),
            "categorical": Categorical(3), "waits": Waits()}


@pytest.mark.parametrize("name", FAMILIES)
def test_one_round_of_any_family(name):
    rng, model, lengths = np.random.default_rng(8), HMMModel(FAMILIES[name]), np.array([25, 1, 34])
    (X, theta, table), (start, A) = data(name, rng), random_chain(rng, 3)
    params = start, A, *theta
    np.testing.assert_allclose(model.log_density(params, X), table, rtol=1e-10, atol=1e-10, strict=True)
    values, R, pairs = in_logs(*logs(start, A), table, lengths)
    expected = model.expectation(params)((X, lengths))
    np.testing.assert_allclose(expected.log_likelihood, values.sum(), rtol=1e-11)
    new = model.maximization(expected, params)
    np.testing.assert_allclose(new[0], R[[0, 25, 26]].mean(axis=0), rtol=1e-9, strict=True)
    np.testing.assert_allclose(new[1], pairs / pairs.sum(axis=1, keepdims=True), rtol=1e-9, strict=True)
    for got, wanted in zip(new[2:], weighted(name, X, R), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10, strict=True)
    assert len(model.spaces) == len(params) and model.spaces[:2] == ("simplex", "simplex")


def test_whitened_emissions():
    "A state far narrower than the spread of the data, which the natural form could not hold."
    rng, model = np.random.default_rng(9), HMMModel(Full())
    states = sample_chain([.5, .5], [[.9, .1], [.2, .8]], 300, rng)
    X = np.where(states[:, None], 1e-6, 1) * rng.normal(size=(300, 2)) + states[:, None]
    params = np.array([.5, .5]), np.array([[.9, .1], [.2, .8]]), np.array([[0., 0.], [1, 1]]), np.array([1, 1e-12])[:, None, None] * np.eye(2)
    expected = model.expectation(params)(X)
    assert "whitened" in expected.statistics
    table = np.stack([multivariate_normal(m, C).logpdf(X) for m, C in zip(*params[2:])], axis=1)
    np.testing.assert_allclose(expected.log_likelihood, in_logs(*logs(*params[:2]), table, [300])[0][0], rtol=1e-9)
    new = model.maximization(expected, params)
    np.testing.assert_allclose(new[3][1], np.cov(X[states == 1].T, bias=True), rtol=1e-6)


def test_the_gradient_is_zero_at_the_fit():
    rng, model, lengths = np.random.default_rng(10), HMMModel(Poisson()), np.array([80, 1, 60])
    X = np.concatenate([rng.poisson(np.array([1., 6.])[sample_chain([.5, .5], [[.9, .1], [.2, .8]], n, rng)]) for n in lengths])[:, None] * 1.
    fit = em(model, (np.array([.4, .6]), np.array([[.7, .3], [.4, .6]]), np.array([[1.], [5.]])), (X, lengths), tol=1e-13, max_iter=5000)

    def value(p, q, r, a, b):
        params = np.array([p, 1 - p]), np.array([[q, 1 - q], [r, 1 - r]]), np.array([[a], [b]])
        return e_step(model, params, (X, lengths)).log_likelihood

    (start, A, rates), h = fit.params, 1e-5
    at = np.array([start[0], *A[:, 0], *rates[:, 0]])
    free = [i for i, x in enumerate(at) if 1e-3 < x and (i > 2 or x < 1 - 1e-3)]          # the start may lie at a corner
    gradient = [(value(*(at + h * np.eye(5)[i])) - value(*(at - h * np.eye(5)[i]))) / (2 * h) for i in free]
    assert len(free) >= 4
    np.testing.assert_allclose(gradient, np.zeros(len(free)), atol=1e-3)
    away = [(value(*(at + .05 * np.eye(5)[i])) - value(*at)) for i in range(1, 5)]
    assert max(away) < 0


def test_equal_rows_make_a_mixture():
    rng = np.random.default_rng(11)
    X, weights, rates = rng.poisson(3, (50, 1)).astype(float), np.array([.2, .3, .5]), np.array([[1.], [3.], [6.]])
    chained = em(HMMModel(Poisson()), (weights, np.tile(weights, (3, 1)), rates), (X, np.ones(50, dtype=int)), tol=1e-9)
    mixed = em(MixtureModel(Poisson()), (weights, rates), X, tol=1e-9)
    np.testing.assert_allclose(chained.history, mixed.history, rtol=1e-12, strict=True)
    np.testing.assert_allclose(chained.params[0], mixed.params[0], rtol=1e-10, strict=True)


# ---- blocks, gaps, zeros, empty states -----------------------------------------------------------


def counting(rng, lengths=(40, 1, 30, 30, 2, 17)):
    params = np.array([.5, .3, .2]), np.array([[.8, .2, 0], [0, .7, .3], [.4, 0, .6]]), np.array([[1.], [5.], [12.]])
    X = np.concatenate([rng.poisson(params[2][sample_chain(*params[:2], n, rng)]) for n in lengths]).astype(float)
    return params, X, np.array(lengths)


@pytest.mark.parametrize("size", [1, 25, 50, 1000])
def test_blocks_and_threads_change_nothing(size):
    params, X, lengths = counting(np.random.default_rng(12))
    model, blocks = HMMModel(Poisson()), chains_in_blocks(X, lengths, size)
    assert sum((list(part) for _, part in blocks()), []) == lengths.tolist()
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in blocks()]), X)
    assert all(len(rows) == sum(part) for rows, part in blocks())
    whole = e_step(model, params, (X, lengths))
    with ThreadPoolExecutor(3) as pool:
        for mapper in (map, pool.map):
            parts = e_step(model, params, blocks, mapper)
            for name, value in whole.statistics.items():
                np.testing.assert_allclose(parts.statistics[name], value, rtol=1e-11, atol=1e-12, strict=True)
            np.testing.assert_allclose([parts.log_likelihood, parts.weight], [whole.log_likelihood, len(X)], rtol=1e-12)


def test_blocks_hold_about_as_many_rows_as_asked():
    lengths = np.array([10] * 9 + [35])
    assert [part.tolist() for _, part in chains_in_blocks(np.zeros((125, 1)), lengths, 30)()] == [[10] * 3, [10] * 3, [10] * 3, [35]]


def test_rows_that_are_missing_are_summed_out():
    rng, model = np.random.default_rng(13), HMMModel(Categorical(3))
    start, A = random_chain(rng, 2)
    params, X = (start, A, rng.dirichlet(np.ones(3), (2, 1))), rng.integers(0, 3, (6, 1)).astype(float)
    X[[0, 3, 5]] = np.nan
    full = []
    for codes in product(range(3), repeat=3):
        filled = X.copy()
        filled[[0, 3, 5], 0] = codes
        full.append(model.expectation(params)(filled))
    expected = model.expectation(params)(X)
    value = logsumexp([part.log_likelihood for part in full])
    np.testing.assert_allclose(expected.log_likelihood, value, rtol=1e-12)
    shares = np.exp([part.log_likelihood - value for part in full])
    for name in ("start", "transitions"):
        np.testing.assert_allclose(expected.statistics[name], sum(s * part.statistics[name] for s, part in zip(shares, full)), rtol=1e-10)
    np.testing.assert_allclose(expected.statistics["moments"][:, 0].sum(), 3, rtol=1e-12)      # three rows were seen
    assert (model.log_density(params, X)[[0, 3, 5]] == 0).all()


def test_nothing_but_missing_rows_leaves_the_emissions_alone():
    params, _, _ = counting(np.random.default_rng(0))
    model = HMMModel(Poisson())
    expected = model.expectation(params)(np.full((5, 1), np.nan))
    np.testing.assert_allclose(expected.log_likelihood, 0, atol=1e-12)
    with pytest.warns(RuntimeWarning, match=r"states \[0, 1, 2\] emit nothing"):
        new = model.maximization(expected, params)
    np.testing.assert_array_equal(new[2], params[2])


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_rows_with_holes_of_gaussians(kind):
    "What is there of a row counts, by its marginal density."
    rng, model = np.random.default_rng(23), HMMModel({"full": Full(), "diag": Diag()}[kind])
    (X, (means, C), _), (start, A) = data(kind, rng), random_chain(rng, 3)
    X[rng.random(X.shape) < .3] = np.nan
    X[5] = np.nan
    matrices, table = C if kind == "full" else [np.diag(c) for c in C], np.zeros((len(X), 3))
    for n, o in enumerate(~np.isnan(X)):
        if o.any():
            table[n] = [multivariate_normal(m[o], V[np.ix_(o, o)]).logpdf(X[n, o]) for m, V in zip(means, matrices)]
    expected = model.expectation((start, A, means, C))(X)
    np.testing.assert_allclose(expected.log_likelihood, in_logs(*logs(start, A), table, [len(X)])[0][0], rtol=1e-10)
    fit = em(model, (start, A, means, C), X, tol=0, max_iter=5, warn=False)
    assert (np.diff(fit.history) > 0).all()


def test_zeros_stay_zero():
    params, X, lengths = counting(np.random.default_rng(14))
    start = np.array([1., 0, 0])
    fit = em(HMMModel(Poisson()), (start, *params[1:]), (X, lengths), tol=1e-6)
    np.testing.assert_array_equal(fit.params[1] == 0, params[1] == 0)
    np.testing.assert_array_equal(fit.params[0], start)


@pytest.mark.parametrize("family, theta", [
    (Poisson(), (np.array([[1.], [6.], [77.]]),)), (Tied(), (np.array([[1.], [6.], [77.]]), np.eye(1))),
    (Full(), (np.array([[1.], [6.], [77.]]), np.ones((3, 1, 1)))), (Spherical(), (np.array([[1.], [6.], [77.]]), np.array([1., 2, 3])))])
def test_a_state_without_visits_keeps_what_it_has(family, theta):
    _, X, lengths = counting(np.random.default_rng(15))
    params = np.array([.5, .5, 0]), np.array([[.9, .1, 0], [.1, .9, 0], [.2, .3, .5]]), *theta
    model, two = HMMModel(family), HMMModel(family)
    with pytest.warns(RuntimeWarning, match=r"states \[2\] emit nothing that was observed"):
        new = model.maximization(e_step(model, params, (X, lengths)), params)
    tied = isinstance(family, Tied)
    less = params[0][:2], params[1][:2, :2], *(t if tied and i else t[:2] for i, t in enumerate(theta))
    wanted = two.maximization(e_step(two, less, (X, lengths)), less)
    np.testing.assert_array_equal(new[1][2], [.2, .3, .5])
    for i, (got, old, without) in enumerate(zip(new[2:], theta, wanted[2:])):
        if tied and i:
            np.testing.assert_allclose(got, without, rtol=1e-9, strict=True)
        else:
            np.testing.assert_array_equal(got[2], old[2])
            np.testing.assert_allclose(got[:2], without, rtol=1e-9, strict=True)


def test_an_empty_state_of_tied_gaussians_with_as_many_columns_as_states():
    rng, C = np.random.default_rng(16), np.array([[2., .5], [.5, 1.]])
    X, params = rng.normal(size=(40, 2)), (np.array([1., 0]), np.array([[1., 0], [0, 1]]), np.array([[0., 0], [9, 9]]), C)
    model = HMMModel(Tied())
    with pytest.warns(RuntimeWarning, match="emit nothing"):
        new = model.maximization(e_step(model, params, X), params)
    np.testing.assert_allclose(new[3], np.cov(X.T, bias=True), rtol=1e-10, strict=True)
    np.testing.assert_array_equal(new[2][1], [9, 9])


def test_sequences_of_one_row_say_nothing_about_transitions():
    params, X, _ = counting(np.random.default_rng(17))
    model = HMMModel(Poisson())
    new = model.maximization(e_step(model, params, (X, np.ones(len(X), dtype=int))), params)
    np.testing.assert_array_equal(new[1], params[1])


# ---- drawing, and what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("rng", [np.random.default_rng(18), np.random.RandomState(18)])
def test_drawn_chains_have_the_shares_asked_for(rng):
    start, A = np.array([.2, .8, 0]), np.array([[.5, .5, 0], [.1, .2, .7], [1, 0, 0]])
    states = sample_chain(start, A, 60_000, rng)
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (states[:-1], states[1:]), 1)
    counts = pairs.sum(axis=1, keepdims=True)
    assert (abs(pairs / counts - A) <= 5 * np.sqrt(A * (1 - A) / counts)).all()
    first = np.array([sample_chain(start, A, 1, rng)[0] for _ in range(4000)])
    assert abs((first == 0).mean() - .2) < 5 * np.sqrt(.16 / 4000) and (first < 2).all()


def test_drawing_never_takes_what_is_impossible():
    class Ones:
        def uniform(self, size):
            return np.full(size, 1 - 2**-53)
    assert sample_chain([.1] * 10 + [0], np.tile([.1] * 10 + [0], (11, 1)), 4, Ones()).tolist() == [9] * 4


@pytest.mark.parametrize("change, words", [
    ({0: [.5, .6]}, r"start is \[0.5, 0.6\], with sum 1.1"), ({1: [[.5, .5], [1.5, -.5]]}, r"transition\[1\] is \[1.5, -0.5\]"),
    ({1: [[1.]]}, "pass \\(k,\\) and \\(k, k\\)"), ({2: [[1.]]}, "params have shapes"), ({2: [1., 2.]}, "params have shapes")])
def test_parameters_that_cannot_be_used(change, words):
    params = [change.get(i, p) for i, p in enumerate([[.5, .5], [[.5, .5], [.5, .5]], [[1.], [2.]]])]
    with pytest.raises(ValueError, match=words):
        HMMModel(Poisson()).expectation(params)


@pytest.mark.parametrize("lengths", [[2, 2], [0, 3], [-1, 4], [1.5, 1.5], [[3]], [], 3.0, [True, True, True]])
def test_lengths_that_cannot_be_used(lengths):
    flat = np.log([.5, .5]), np.log(np.full((2, 2), .5)), np.zeros((3, 2))
    for function in (forward_backward, viterbi, sequence_log_likelihoods):
        with pytest.raises(ValueError, match="lengths are .* and there are 3 rows"):
            function(*flat, lengths)
    with pytest.raises(ValueError, match="lengths are"):
        HMMModel(Poisson()).expectation(([1.], [[1.]], [[1.]]))((np.zeros((3, 1)), lengths))


@pytest.mark.parametrize("place, value, words", [
    (0, [0., np.nan], "log_start holds nan"), (1, [[0, np.inf], [0, 0]], "log_transition holds inf"), (2, [[0., np.nan]], "log_density holds nan"),
    (0, [0.], "have shapes"), (1, [0., 0.], "have shapes"), (2, np.zeros((0, 2)), "with n of at least 1"), (2, [0., 0.], "have shapes")])
def test_arrays_that_cannot_be_used(place, value, words):
    arrays = [np.log([.5, .5]), np.log(np.full((2, 2), .5)), np.zeros((3, 2))]
    arrays[place] = value
    for function in (forward_backward, viterbi, sequence_log_likelihoods):
        with pytest.raises(ValueError, match=words):
            function(*arrays)


def test_lengths_whose_sum_wraps_around():
    with pytest.raises(ValueError, match="lengths are"):
        forward_backward([0.], [[0.]], np.zeros((3, 1)), np.array([2**63 - 1, 2**63 - 1, 5]))


def test_blocks_as_lists():
    params, X, lengths = counting(np.random.default_rng(24))
    model = HMMModel(Poisson())
    for block, same in (([X, lengths], (X, lengths)), (X.tolist(), X), (X[:2].tolist(), X[:2]), ((X.tolist(), lengths.tolist()), (X, lengths))):
        np.testing.assert_equal(model.expectation(params)(block).log_likelihood, model.expectation(params)(same).log_likelihood)
    with pytest.raises(ValueError, match="a tuple of 3: pass a pair"):
        model.expectation(params)((X, lengths, 3))


def test_an_impossible_category_that_is_forced_becomes_possible():
    model, params, X = HMMModel(Categorical(2)), (np.array([1., 0]), np.eye(2), np.array([[[1., 0]], [[.5, .5]]])), np.array([[0.], [1.]])
    expected = model.expectation(params)(X)
    np.testing.assert_allclose(expected.log_likelihood, np.log(1e-300), rtol=1e-12)
    with pytest.warns(RuntimeWarning, match=r"states \[1\]"):
        np.testing.assert_allclose(model.maximization(expected, params)[2][0], [[.5, .5]], rtol=1e-12)


def test_rows_that_cannot_be_used():
    params = np.array([.5, .5]), np.full((2, 2), .5), np.array([[1., 1.], [2., 2.]])
    model = HMMModel(Poisson())
    with pytest.raises(ValueError, match="counts"):
        model.expectation(params)(np.array([[1., 2.5]]))
    with pytest.raises(ValueError, match=r"pass X of shape \(n, 2\)"):
        model.expectation(params)(np.ones((3, 1)))
    with pytest.raises(ValueError, match="X holds nan in column 1"):                     # in part missing: not for counts
        model.expectation(params)(np.array([[1., 2.], [1., np.nan]]))
    for n in (0, 1.5):
        with pytest.raises((ValueError, TypeError), match="n "):
            sample_chain([1.], [[1.]], n, np.random.default_rng(0))
    with pytest.raises(ValueError, match="size == 0"):
        chains_in_blocks(np.ones((3, 1)), [3], 0)


# ---- against hmmlearn ----------------------------------------------------------------------------


def peer(name, **settings):
    package = pytest.importorskip("hmmlearn.hmm")
    return getattr(package, name)(init_params="", tol=-np.inf, **settings)


def fitted(model, X, lengths):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, lengths)


def test_hmmlearn_gives_the_same_categories():
    rng = np.random.default_rng(19)
    (start, A), p, lengths = random_chain(rng, 3), rng.dirichlet(np.ones(4), 3), np.array([120, 1, 80])
    X = rng.integers(0, 4, (201, 1))
    other = peer("CategoricalHMM", n_components=3, n_iter=12)
    other.startprob_, other.transmat_, other.emissionprob_ = start, A, p
    value, table = other.score(X, lengths), HMMModel(Categorical(4)).log_density((start, A, p[:, None]), X)
    np.testing.assert_allclose(forward_backward(*logs(start, A), table, lengths)[0], value, rtol=1e-10)
    np.testing.assert_allclose(forward_backward(*logs(start, A), table, lengths)[1], other.predict_proba(X, lengths), rtol=1e-8)
    score, states = other.decode(X, lengths)
    np.testing.assert_allclose(viterbi(*logs(start, A), table, lengths)[0], score, rtol=1e-12)
    mine, along = viterbi(*logs(start, A), table, lengths)[1], []                # of equally good paths rounding may choose another
    for path in (mine, states):
        steps = np.delete(logs(A)[0][path[:-1], path[1:]], [119, 120])
        along.append(logs(start)[0][path[[0, 120, 121]]].sum() + steps.sum() + table[np.arange(201), path].sum())
    np.testing.assert_allclose(along, [score, score], rtol=1e-12)
    assert (mine == states).mean() > .95
    fitted(other, X, lengths)
    fit = em(HMMModel(Categorical(4)), (start, A, p[:, None]), (X, lengths), tol=0, max_iter=12, warn=False)
    for mine, theirs in zip(fit.params, (other.startprob_, other.transmat_, other.emissionprob_[:, None])):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-12, strict=True)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_hmmlearn_gives_the_same_gaussians(kind):
    rng, lengths = np.random.default_rng(20), np.array([150, 1, 50])
    start, A = random_chain(rng, 2)
    X = 3 * rng.integers(0, 2, (201, 1)) + rng.normal(size=(201, 2))
    means, covars = np.array([[0., 0.], [3., 3.]]), {"full": np.stack([np.eye(2)] * 2), "tied": np.eye(2), "diag": np.ones((2, 2)), "spherical": np.ones(2)}[kind]
    other = peer("GaussianHMM", n_components=2, n_iter=8, covariance_type=kind, covars_prior=0, min_covar=0)
    other.startprob_, other.transmat_, other.means_, other.covars_ = start, A, means, covars
    fitted(other, X, lengths)
    fit = em(HMMModel({"full": Full(), "tied": Tied(), "diag": Diag(), "spherical": Spherical()}[kind]), (start, A, means, covars), (X, lengths),
             tol=0, max_iter=8, warn=False)
    np.testing.assert_allclose(fit.params[1], other.transmat_, rtol=1e-8, strict=True)
    np.testing.assert_allclose(fit.params[2], other.means_, rtol=1e-8, atol=1e-9, strict=True)
    C = other.covars_.reshape(2, -1, 2, 2)[:, 0] if kind == "spherical" else other.covars_      # one for each state; of spherical ones, more
    theirs = {"full": C, "tied": C[0], "diag": C.diagonal(axis1=1, axis2=2), "spherical": C[:, 0, 0]}[kind]
    np.testing.assert_allclose(fit.params[3], theirs, rtol=1e-8, atol=1e-9, strict=True)
    table = HMMModel(Full()).log_density((*fit.params[:3], C), X)
    np.testing.assert_array_equal(viterbi(*logs(*fit.params[:2]), table, lengths)[1], other.predict(X, lengths))


def test_hmmlearn_gives_the_same_counts():
    params, X, lengths = counting(np.random.default_rng(21))
    other = peer("PoissonHMM", n_components=3, n_iter=10)
    other.startprob_, other.transmat_, other.lambdas_ = params
    fitted(other, X.astype(int), lengths)
    fit = em(HMMModel(Poisson()), params, (X, lengths), tol=0, max_iter=10, warn=False)
    np.testing.assert_allclose(fit.params[1], other.transmat_, rtol=1e-8, atol=1e-12, strict=True)
    np.testing.assert_allclose(fit.params[2], other.lambdas_, rtol=1e-8, strict=True)


@pytest.mark.parametrize("family, theta", [
    (Full(), (np.array([[0., 1], [2, -1]]), np.array([np.eye(2), [[2, .5], [.5, 1]]]))),
    (Diag(), (np.array([[0., 1], [2, -1]]), np.array([[1., 2], [.5, 1]]))),
    (Poisson(), (np.array([[1., 2], [3, .5]]),)),
    (Categorical(3), (np.array([[[.2, .3, .5], [.1, .1, .8]], [[.6, .3, .1], [.3, .4, .3]]]),))], ids=lambda v: type(v).__name__)
def test_fishers_identity_for_chains(family, theta):
    "The gradient from expected statistics is that of the log-likelihood, with a transition that is forbidden."
    rng = np.random.default_rng(4)
    rows = rng.integers(3, size=(30, 2)).astype(float)
    model, params = HMMModel(family), (np.array([.3, .7]), np.array([[.8, .2], [0, 1]]), *theta)
    data = [(rows, [20, 9, 1])]
    value = lambda v: e_step(model, unpack(v, params, model.spaces), lambda: iter(data)).log_likelihood
    exact = numerical_gradient(value, pack(params, model.spaces))
    np.testing.assert_allclose(fisher_gradient(model, params, lambda: iter(data)), exact, rtol=1e-6, atol=1e-7, strict=True)
