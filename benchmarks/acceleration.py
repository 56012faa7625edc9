"""Plain EM, SQUAREM and Anderson acceleration: E-steps and seconds until within 1e-8 nats of the best maximum found."""
import json

import numpy as np

from benchmarks.harness import in_turns, ratio
from emlit.acceleration import Anderson, Squarem
from emlit.em import Tracer, em
from emlit.families import Bernoulli, Full, MixtureModel, Poisson
from emlit.hmm import HMMModel, sample_chain
from emlit.missing import group_patterns

METHODS = {"plain": None, "squarem": Squarem, "anderson": Anderson}
SEPARATIONS = (6, 4, 3, 2.5, 2)
WITHIN, LIMIT, ROUNDS = 1e-8, 20_000, 3


def groups(separation, n=20_000, d=2, seed=3):
    "Rows of two Gaussian groups so many standard deviations apart, and a start that leans the right way."
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.4
    X = rng.normal(size=(n, d))
    X[:, 0] += separation * first
    shift = 0.5 / 2.0 ** np.arange(d)
    return MixtureModel(Full()), (np.array([0.5, 0.5]), X.mean(axis=0) + np.array([shift, -shift]), np.array([np.cov(X.T)] * 2)), X


def with_holes(separation=3, n=20_000, d=3, share=0.3, seed=3):
    "The same, with holes wherever a coin falls so."
    model, start, X = groups(separation, n, d, seed)
    X[np.random.default_rng(seed + 1).random(X.shape) < share] = np.nan
    return model, start, group_patterns(X)


def chain(separation=1.5, n=5_000, seed=3):
    "A hidden chain of two states that emit overlapping Gaussians, and seldom change."
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    X[:, 0] += separation * sample_chain([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], n, rng)
    _, (half, means, C), _ = groups(separation)
    return HMMModel(Full()), (half, np.array([[0.6, 0.4], [0.4, 0.6]]), means - means.mean(axis=0) + X.mean(axis=0), C), X


def counts(n=20_000, seed=3):
    "A mixture of three Poissons in four columns."
    rng = np.random.default_rng(seed)
    X = rng.poisson(rng.uniform(1, 5, size=(3, 4))[rng.integers(3, size=n)]).astype(float)
    return MixtureModel(Poisson()), (np.full(3, 1 / 3), X.mean(axis=0) * rng.uniform(0.8, 1.2, size=(3, 4))), X


def answers(n=20_000, seed=3):
    "Three latent classes behind ten questions of yes and no."
    rng = np.random.default_rng(seed)
    X = (rng.random((n, 10)) < rng.uniform(0.15, 0.85, size=(3, 10))[rng.integers(3, size=n)]).astype(float)
    return MixtureModel(Bernoulli()), (np.full(3, 1 / 3), np.clip(X.mean(axis=0) + rng.uniform(-0.1, 0.1, size=(3, 10)), 0.05, 0.95)), X


PROBLEMS = {**{f"mixture, separation {s:g}": lambda s=s: groups(s) for s in SEPARATIONS},
            "mixture, 10 columns": lambda: groups(2.5, d=10), "30 % missing": with_holes, "hidden chain": chain,
            "Poisson mixture": counts, "latent classes": answers}


def ends(problem):
    "The log-likelihood where each method comes to rest."
    model, start, X = problem
    return {name: em(model, start, X, tol=1e-11, max_iter=LIMIT, accelerate=a, warn=False).log_likelihood for name, a in METHODS.items()}


def rate(history, top):
    "How much of the distance to the maximum a plain round leaves, near the end: the gains shrink by its square."
    left = top - history
    t = np.flatnonzero(left > 1e-6 * max(1.0, abs(top) * 1e-6))
    return float(np.sqrt(left[t[-1]] / left[t[-1] - 1])) if len(t) > 1 else 0.0


def reach(problem, accelerate, goal):
    "The first step that is as high as `goal`, or None, and the log-likelihoods on the way."
    model, start, X = problem
    tracer = Tracer()
    em(model, start, X, max_iter=LIMIT, accelerate=accelerate, warn=False, callbacks=[tracer], stop=lambda history: history[-1] >= goal)
    return next((step for step in tracer.steps if step.log_likelihood >= goal), None), np.array([step.log_likelihood for step in tracer.steps])


def compare(name, make):
    "E-steps and seconds of the three methods on one problem."
    problem = make()
    found = ends(problem)
    same = max(found.values()) - min(found.values()) < 1e-5
    goals = {method: (max(found.values()) if same else top) - WITHIN for method, top in found.items()}
    first = {method: reach(problem, a, goals[method]) for method, a in METHODS.items()}
    seconds, disturbed = in_turns({m: lambda m=m: reach(problem, METHODS[m], goals[m])[0].seconds for m in METHODS}, ROUNDS)
    falls = {m: float(max(0.0, -np.diff(history).min())) for m, (_, history) in first.items()}
    return {"problem": name, "rate": rate(first["plain"][1], goals["plain"] + WITHIN), "same_maximum": bool(same),
            "log_likelihood": found, "e_steps": {m: int(step.e_steps) for m, (step, _) in first.items()}, "worst_fall": falls,
            "seconds": {m: float(np.median(s)) for m, s in seconds.items()},
            "ratio": {m: ratio(seconds["plain"], seconds[m]) for m in METHODS if m != "plain"}, "disturbed": disturbed}


def show(row):
    print(json.dumps(row), flush=True)
    return row


def run():
    "All rows of this module. Goal: 5 times fewer E-steps where the rate is above 0.98, never over 1.2 times where it is below 0.5, no fall."
    return {"problems": [show(compare(name, make)) for name, make in PROBLEMS.items()]}
