"""The driver: blocks, mapping, stopping, the guard, callbacks and the words of its errors."""
import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning

from emlit.em import Accelerator, EMResult, Expected, LikelihoodFell, Model, ProgressBar, Step, Tracer, e_step, em, in_blocks

rng = np.random.default_rng(0)
X = np.r_[rng.normal(0, 1, 60), rng.normal(2.5, 1, 40)]
START = 0.9


class Share:
    "Share of N(0, 1) in its mixture with N(2.5, 1): one unknown, a concave log-likelihood, one maximum."

    def expectation(self, share):
        def expect(x):
            table = np.stack([np.log(share) - x**2 / 2, np.log1p(-share) - (x - 2.5) ** 2 / 2], axis=1)
            return Expected({"first": softmax(table, axis=1)[:, 0].sum()}, logsumexp(table, axis=1).sum(), len(x))
        return expect

    def maximization(self, expected, share):
        return expected.statistics["first"] / expected.weight


def log_likelihood(share, x=X):
    return np.log(share * np.exp(-x**2 / 2) + (1 - share) * np.exp(-(x - 2.5) ** 2 / 2)).sum()


def test_finds_the_maximum_of_the_observed_likelihood():
    fit = em(Share(), START, X, tol=1e-12)
    best = minimize_scalar(lambda s: -log_likelihood(s), bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-12})
    np.testing.assert_allclose(fit.params, best.x, rtol=1e-6)
    np.testing.assert_allclose(fit.log_likelihood, -best.fun, rtol=1e-13)


def test_result_belongs_to_its_own_parameters():
    for max_iter in (1, 2, 7):
        with pytest.warns(ConvergenceWarning):
            fit = em(Share(), START, X, max_iter=max_iter)
        assert isinstance(fit, EMResult) and fit.n_iter == max_iter and not fit.converged
        np.testing.assert_allclose(fit.log_likelihood, log_likelihood(fit.params), rtol=1e-13)
        np.testing.assert_allclose(fit.history[0], log_likelihood(START), rtol=1e-13)
        assert len(fit.history) == len(fit.seconds) == max_iter + 1


def test_one_round_is_one_e_step_and_one_m_step():
    with pytest.warns(ConvergenceWarning):
        fit = em(Share(), START, X, max_iter=1)
    joint = np.stack([START * np.exp(-X**2 / 2), (1 - START) * np.exp(-(X - 2.5) ** 2 / 2)])
    np.testing.assert_allclose(fit.params, (joint[0] / joint.sum(axis=0)).mean(), rtol=1e-13)


def test_history_never_falls_and_the_last_gain_is_within_tol():
    fit = em(Share(), START, X, tol=1e-6)
    gains = np.diff(fit.history)
    assert fit.converged and (gains[:-1] > 1e-6).all() and -1e-9 <= gains[-1] <= 1e-6
    assert (np.diff(fit.seconds) >= 0).all()


def test_smaller_tol_means_more_rounds_and_zero_is_allowed():
    rounds = [em(Share(), START, X, tol=tol).n_iter for tol in (1e-2, 1e-5, 1e-8, 0)]
    assert rounds == sorted(set(rounds))


@pytest.mark.parametrize("size", [1, 7, 50, 100, 1000])
def test_blocks_and_threads_give_the_statistics_of_the_whole(size):
    whole = e_step(Share(), START, X)
    with ThreadPoolExecutor(2) as pool:
        for mapper in (map, pool.map):
            parts = e_step(Share(), START, in_blocks(X, size), mapper)
            np.testing.assert_allclose(parts.statistics["first"], whole.statistics["first"], rtol=1e-12)
            np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, rtol=1e-12)
            assert parts.weight == whole.weight == len(X)


def test_in_blocks_keeps_every_row_once_and_can_be_run_again():
    blocks = in_blocks(X, 30)
    for _ in range(2):
        pieces = list(blocks())
        assert [len(piece) for piece in pieces] == [30, 30, 30, 10]
        np.testing.assert_array_equal(np.concatenate(pieces), X)


def test_expected_adds_all_three_parts_and_changes_neither():
    a, b = Expected({"s": np.array([1.0, 2.0])}, -3.0, 4), Expected({"s": np.array([10.0, 20.0])}, -30.0, 40)
    both = a + b
    np.testing.assert_array_equal(both.statistics["s"], [11.0, 22.0])
    assert (both.log_likelihood, both.weight) == (-33.0, 44)
    np.testing.assert_array_equal(a.statistics["s"], [1.0, 2.0])
    with pytest.raises(ValueError, match="same names"):
        a + Expected({"t": np.zeros(2)}, 0.0, 1)


class Wrong(Share):
    "Takes the share of the second component for that of the first."
    def maximization(self, expected, share):
        return 1 - super().maximization(expected, share)


class SlightlyWrong(Share):
    "Right but for a slip of one in a thousand, which loses a little once the fit is near."
    def maximization(self, expected, share):
        return super().maximization(expected, share) * 0.999 + 0.001 * share**3


class Counting(Share):
    "Reports a log-likelihood that falls by `drop` in its third pass."
    def __init__(self, drop):
        self.drop, self.passes = drop, 0

    def expectation(self, share):
        self.passes += 1
        value = -50.0 + self.passes if self.passes < 3 else -48.0 - self.drop
        return lambda x: Expected({"first": 0.5 * len(x)}, value, len(x))


def test_a_fall_is_an_error_that_says_where():
    with pytest.raises(LikelihoodFell, match=r"fell from .* in round 1\b.*M-step does not maximise"):
        em(Wrong(), 0.6, X)
    with pytest.raises(LikelihoodFell, match="does not maximise"):
        em(SlightlyWrong(), START, X)
    with pytest.raises(LikelihoodFell, match=r"fell from -48 to -48.001 \(by 0.001\) in round 2"):
        em(Counting(1e-3), START, X)


def test_a_fall_within_rounding_counts_as_converged():
    fit = em(Counting(1e-12), START, X)
    assert fit.converged and fit.n_iter == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_log_likelihood_that_is_not_finite_is_an_error(value):
    class Broken(Share):
        def expectation(self, share):
            return lambda x: Expected({"first": 1.0}, value, len(x))
    with pytest.raises(FloatingPointError, match="at the start"):
        em(Broken(), START, X)


def test_stopping_at_max_iter_warns_and_says_what_to_do():
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3 rounds; .* Raise max_iter or tol") as caught:
        em(Share(), START, X, max_iter=3)
    assert caught[0].filename == __file__


def test_convergence_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert em(Share(), START, X).converged
        assert not em(Share(), START, X, max_iter=3, warn=False).converged


def test_tracer_sees_the_start_and_every_round():
    tracer = Tracer()
    fit = em(Share(), START, X, callbacks=[tracer])
    assert all(isinstance(step, Step) for step in tracer.steps)
    assert [step.iteration for step in tracer.steps] == list(range(fit.n_iter + 1))
    np.testing.assert_array_equal([step.log_likelihood for step in tracer.steps], fit.history)
    assert tracer.steps[0].params == START and tracer.steps[-1].params == fit.params


def test_every_callback_is_called():
    first, second = Tracer(), Tracer()
    em(Share(), START, X, callbacks=[first, second])
    assert len(first.steps) == len(second.steps) > 1


def test_progress_bar_counts_rounds():
    screen = io.StringIO()
    with ProgressBar(file=screen, bar_format="{n} rounds{postfix}", mininterval=0) as bar:
        fit = em(Share(), START, X, callbacks=[bar])
    assert screen.getvalue().split("\r")[-1].strip() == f"{fit.n_iter} rounds, log-likelihood {fit.log_likelihood:.6f}"


def test_model_protocol():
    assert isinstance(Share(), Model) and not isinstance(object(), Model)


@pytest.mark.parametrize("arguments, error, words", [
    (dict(max_iter=0), ValueError, "max_iter == 0, must be >= 1"),
    (dict(max_iter=2.5), TypeError, "max_iter must be an instance of int"),
    (dict(tol=-1e-3), ValueError, "tol == -0.001, must be >= 0"),
    (dict(tol="small"), TypeError, "tol must be an instance of"),
    (dict(tol=np.nan), ValueError, "tol == nan, must be >= 0"),
    (dict(model=object()), TypeError, "model must have the methods expectation and maximization; object lacks them"),
    (dict(data=iter([X])), TypeError, "can be run through only once"),
    (dict(data=lambda: iter(())), ValueError, "data gave no blocks"),
    (dict(data=lambda: X), TypeError, "must return an iterator over blocks"),
    (dict(model=Share), TypeError, r"write Share\(\)"),
    (dict(callbacks=print), TypeError, r"write \[callback\]"),
    (dict(stop=1e-3), TypeError, "stop must be a function of the list of log-likelihoods so far that says whether to stop, not 0.001"),
])
def test_wrong_arguments_are_named(arguments, error, words):
    call = dict(model=Share(), params=START, data=X) | arguments
    with pytest.raises(error, match=words):
        em(**call)


def test_a_model_that_returns_something_else_is_told_so():
    class Loose(Share):
        def expectation(self, share):
            return lambda x: (1.0, 2.0)
    with pytest.raises(TypeError, match="must give an Expected for each block, not tuple"):
        em(Loose(), START, X)


@pytest.mark.parametrize("log_likelihood, weight", [
    (np.zeros(3), 3), (np.zeros(1), 3), (-1.0, np.nan), (-1.0, np.inf), (-1.0, -1), (-1.0, np.ones(3))])
def test_sums_that_are_not_sums_are_refused(log_likelihood, weight):
    class Unsummed(Share):
        def expectation(self, share):
            return lambda x: Expected({"first": 1.0}, log_likelihood, weight)
    with pytest.raises(ValueError, match="must be sums over the rows"):
        em(Unsummed(), START, X)


def test_statistics_of_different_shapes_do_not_add():
    with pytest.raises(ValueError, match=r"cannot add s of shapes \(2,\) and \(3,\)"):
        Expected({"s": np.zeros(2)}, 0.0, 1) + Expected({"s": np.zeros(3)}, 0.0, 1)


class Reports(Share):
    "Reports the given log-likelihoods one after the other."
    def __init__(self, *values, weight):
        self.values, self.weight = list(values), weight

    def expectation(self, share):
        value = self.values.pop(0)
        return lambda x: Expected({"first": 0.5 * self.weight}, value, self.weight)


@pytest.mark.parametrize("before, fall, weight", [(-1.0, 1e-8, 400), (-1e6, 5e-5, 1)])
def test_the_guard_allows_rounding_per_row_and_per_nat_and_no_more(before, fall, weight):
    assert em(Reports(before, before - fall, weight=weight), START, X).converged
    with pytest.raises(LikelihoodFell):
        em(Reports(before, before - 10 * fall, weight=weight), START, X)


def test_blocks_are_taken_one_by_one():
    read, reduced = [], []

    class Watched(Share):
        def expectation(self, share):
            expect = super().expectation(share)
            return lambda x: (reduced.append(len(read)), expect(x))[1]

    def blocks():
        for block in in_blocks(X, 20)():
            read.append(block)
            yield block

    e_step(Watched(), START, blocks)
    assert reduced == [1, 2, 3, 4, 5]


def test_the_mapper_maps():
    threads = set()

    class Watched(Share):
        def expectation(self, share):
            expect = super().expectation(share)
            return lambda x: (threads.add(threading.current_thread()), expect(x))[1]

    with ThreadPoolExecutor(2) as pool:
        e_step(Watched(), START, in_blocks(X, 20), pool.map)
    assert threading.main_thread() not in threads and threads


def test_numpy_integers_and_any_iterable_of_callbacks_are_taken():
    tracer = Tracer()
    with pytest.warns(ConvergenceWarning):
        fit = em(Share(), START, in_blocks(X, np.uint8(30)), max_iter=np.int8(5), tol=np.float32(0), callbacks=iter([tracer]))
    assert fit.n_iter == 5 and len(tracer.steps) == 6


def test_an_exhausted_function_of_blocks_is_noticed():
    once = iter([X])
    with pytest.raises(ValueError, match="must return a new iterator each time"):
        em(Share(), START, lambda: once)


def test_in_blocks_names_a_wrong_size():
    with pytest.raises(ValueError, match="size == 0, must be >= 1"):
        in_blocks(X, 0)


def test_em_hands_its_mapper_on():
    calls = []

    def counting(function, blocks):
        calls.append(function)
        return map(function, blocks)

    fit = em(Share(), START, in_blocks(X, 7), mapper=counting)
    assert len(calls) == fit.n_iter + 1


# ---- stopping rules and accelerators -------------------------------------------------------------


def test_a_rule_of_the_caller_takes_the_place_of_tol():
    shown = []

    def rule(history):
        shown.append(list(history))
        return len(history) == 5

    fit = em(Share(), START, X, stop=rule, tol=1e9)
    assert fit.converged and fit.n_iter == 4
    assert [len(history) for history in shown] == [2, 3, 4, 5] and shown[-1] == fit.history.tolist()


def test_a_rule_that_is_never_satisfied_is_named():
    with pytest.warns(ConvergenceWarning, match="max_iter=3 rounds; .*, and stop was not satisfied. Raise max_iter"):
        assert not em(Share(), START, X, stop=lambda history: False, max_iter=3).converged


def test_plain_steps_count_one_e_step_each():
    tracer, calls = Tracer(), []

    class Counted(Share):
        def expectation(self, share):
            calls.append(share)
            return super().expectation(share)
    fit = em(Counted(), START, X, callbacks=[tracer])
    assert fit.n_e_steps == len(calls) == fit.n_iter + 1
    assert [step.e_steps for step in tracer.steps] == list(range(1, fit.n_iter + 2)) and all(step.plain for step in tracer.steps)


class Further:
    "Goes `times` as far as the M-step."
    def __init__(self, times):
        self.times, self.asked, self.verdicts = times, [], []

    def propose(self, params, image):
        self.asked.append((params, image))
        return params + self.times * (image - params)

    def judged(self, accepted):
        self.verdicts.append(accepted)


@pytest.mark.parametrize("times", [1.5, 3, -1, 100])
def test_an_accelerator_only_helps(times):
    further, calls, tracer = Further(times), [], Tracer()

    class Counted(Share):
        def expectation(self, share):
            calls.append(share)
            return super().expectation(share)
    assert isinstance(further, Accelerator)
    plain = em(Share(), START, X)
    fit = em(Counted(), START, X, accelerate=lambda model: further, callbacks=[tracer])
    np.testing.assert_allclose(fit.params, plain.params, atol=1e-4)
    assert (np.diff(fit.history) >= -1e-12).all() and fit.converged and tracer.steps[-1].plain
    assert fit.n_e_steps == len(calls) == fit.n_iter + 1 + further.verdicts.count(False)
    assert len(further.asked) == len(further.verdicts)
    for (params, image), step in zip(further.asked, tracer.steps):
        assert image == Share().maximization(e_step(Share(), params, X), params)
    assert (fit.n_e_steps < plain.n_e_steps) == (times == 1.5) or times == 3


def test_a_proposal_of_none_is_a_plain_round():
    class Silent(Further):
        def propose(self, params, image):
            return None
    silent = Silent(1)
    fit, plain = em(Share(), START, X, accelerate=lambda model: silent), em(Share(), START, X)
    np.testing.assert_array_equal(fit.history, plain.history)
    assert fit.n_e_steps == plain.n_e_steps and silent.verdicts == []


def test_a_rule_of_the_caller_gets_two_plain_rounds():
    "Rounds whose proposals are all taken, until the rule is satisfied; then two plain ones, which it may compare."
    class Stay(Further):
        def propose(self, params, image):
            return params
    tracer = Tracer()
    fit = em(Share(), START, X, accelerate=lambda model: Stay(1), stop=lambda history: len(history) > 5, callbacks=[tracer])
    assert [step.plain for step in tracer.steps] == [True] + 5 * [False] + 2 * [True] and fit.converged
