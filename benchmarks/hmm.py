"""Hidden Markov models beside hmmlearn's: time of an iteration, one long chain or many short ones, and of decoding."""
import json
from contextlib import contextmanager

import numpy as np
from hmmlearn import hmm as hmmlearn

import emlit.hmm
from benchmarks.harness import in_turns, ratio
from benchmarks.mixture import iterations_for
from benchmarks.peers import timed
from emlit import chains

# kind of model, states, rows, series, and how many times as fast as hmmlearn an iteration should be
ITERATIONS = [("gaussian", 4, 100_000, 1, 1), ("gaussian", 16, 100_000, 1, 1), ("gaussian", 4, 100_000, 1000, 3), ("gaussian", 16, 100_000, 1000, 3),
              ("categorical", 4, 100_000, 1, 1), ("categorical", 16, 100_000, 1, 1), ("categorical", 4, 100_000, 1000, 3), ("categorical", 16, 100_000, 1000, 3),
              ("gaussian", 2, 272, 1, None)]
DECODES = [("gaussian", 4, 100_000, 1), ("gaussian", 4, 100_000, 1000)]
COLUMNS, CODES, ROUNDS = 4, 20, 4


def problem(kind, k, n, series, seed=0):
    "Rows drawn from a chain, the lengths of its series, and a start: the truth, blurred."
    rng = np.random.default_rng(seed)
    A = 0.2 / k + 0.8 * (0.7 * np.eye(k) + 0.3 * rng.dirichlet(np.ones(k), size=k))
    states = emlit.hmm.sample_chain(np.full(k, 1 / k), A, n, rng)
    values = {"startprob_": np.full(k, 1 / k), "transmat_": 0.5 / k + 0.5 * A}
    if kind == "gaussian":
        centres = rng.normal(size=(k, COLUMNS)) * 2
        X = centres[states] + rng.normal(size=(n, COLUMNS))
        values |= {"means_": centres + rng.normal(size=centres.shape) / 3, "covars_": np.repeat(np.cov(X.T)[None], k, axis=0)}
    else:
        B = rng.dirichlet(np.full(CODES, 0.3), size=k)
        edges = B.cumsum(axis=1)[:, :-1]
        X = (rng.random(n)[:, None] > edges[states]).sum(axis=1)[:, None]
        values["emissionprob_"] = 0.5 / CODES + 0.5 * B
    return {"kind": kind, "k": k, "X": X, "lengths": np.full(series, n // series), "values": values}


class Chain:
    "An estimator with hmmlearn's face, from the same start for so many iterations."
    def __init__(self, module, problem, **settings):
        name, more = {"gaussian": ("GaussianHMM", {"covariance_type": "full", "covars_prior": 0.0, "covars_weight": 1}),
                      "categorical": ("CategoricalHMM", {})}[problem["kind"]]
        self.problem, self.make = problem, lambda rounds: getattr(module, name)(
            problem["k"], n_iter=rounds, tol=-np.inf if module is hmmlearn else 0, init_params="", **more, **settings)

    def begun(self, rounds):
        "An estimator that stands at the start."
        estimator = self.make(rounds)
        for name, value in self.problem["values"].items():
            setattr(estimator, name, value.copy())
        return estimator

    def __call__(self, rounds):
        "Seconds of so many iterations, and the transitions after them."
        estimator = self.begun(rounds)
        seconds, _ = timed(lambda: estimator.fit(self.problem["X"], lengths=self.problem["lengths"]))
        return seconds, estimator.transmat_

    def decode(self):
        "Seconds of a decoding at the start."
        estimator = self.begun(1)
        return timed(lambda: estimator.decode(self.problem["X"], self.problem["lengths"]))[0]


@contextmanager
def without_numba():
    "emlit as it is where numba is not installed."
    compiled = emlit.hmm._compiled
    emlit.hmm._compiled = lambda function: None
    try:
        yield
    finally:
        emlit.hmm._compiled = compiled


class Plain(Chain):
    "The same without numba."
    def __call__(self, rounds):
        with without_numba():
            return super().__call__(rounds)

    def decode(self):
        with without_numba():
            return super().decode()


def peers(problem):
    "Name -> function of a number of iterations; hmmlearn in the faster of its two implementations."
    theirs = {way: Chain(hmmlearn, problem, implementation=way) for way in ("scaling", "log")}
    way = min(theirs, key=lambda name: theirs[name](1)[0])
    found = {"emlit": Chain(chains, problem, n_jobs=-1), "emlit, one thread": Chain(chains, problem)}
    if len(problem["lengths"]) == 1 and emlit.hmm._compiled(emlit.hmm._walk_forward):      # many series run side by side, without loops
        found["emlit, without numba"] = Plain(chains, problem, n_jobs=-1)
    return found | {"hmmlearn": theirs[way]}, way


def per_iteration(kind, k, n, series, goal):
    "Milliseconds of an EM iteration, in turns: the time of 1 + m iterations less that of 1, over m."
    found, way = peers(problem(kind, k, n, series))
    end = found["emlit"](3)[1]
    apart = max(abs(run(3)[1] - end).max() for run in found.values())
    most = 200 if n > 10_000 else 8                                # a small fit is soon at its top, where emlit stops
    counts = {name: min(most, iterations_for(run, 0.3)) for name, run in found.items()}
    def one(name):
        return lambda: (found[name](1 + counts[name])[0] - found[name](1)[0]) / counts[name]
    seconds, disturbed = in_turns({name: one(name) for name in found}, ROUNDS)
    return {"model": kind, "K": k, "T": n, "series": series, "hmmlearn": way, "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(s, seconds["emlit"]) for name, s in seconds.items() if name != "emlit"}, "goal": {"hmmlearn": goal},
            "apart": float(apart), "disturbed": disturbed}


def per_decoding(kind, k, n, series):
    "Milliseconds of the likeliest path."
    found, _ = peers(problem(kind, k, n, series))
    seconds, disturbed = in_turns({name: run.decode for name, run in found.items() if name != "emlit, one thread"}, ROUNDS)
    return {"model": kind, "K": k, "T": n, "series": series, "ms": {name: 1e3 * float(np.median(s)) for name, s in seconds.items()},
            "ratio": {name: ratio(s, seconds["emlit"]) for name, s in seconds.items() if name != "emlit"}, "disturbed": disturbed}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "Both tables of this module."
    return {"iteration": [show(per_iteration(*row)) for row in ITERATIONS], "decode": [show(per_decoding(*row)) for row in DECODES]}
