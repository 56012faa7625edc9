"""SQUAREM, Anderson acceleration and the guard: same maximum, never a fall, fewer passes, any model, no harm from nonsense."""
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning

from emlit.acceleration import Anderson, Squarem, _bent, _least_squares, _Proposing, _shares, _sizes, _step_length, _straightened
from emlit.classics import Linkage, Moths, TwoCoins
from emlit.convergence import pack
from emlit.data import load_coins, load_faithful, load_linkage, load_moths
from emlit.em import Expected, Tracer, accelerator, e_step, em, in_blocks
from emlit.families import Bernoulli, Categorical, Diag, Full, MixtureModel, Poisson, Spherical, Tied
from emlit.gaussian import GaussianMixture, Prior, _Bounded, _mode, _resolved
from emlit.gmm import CollapseError
from emlit.mixture import Mixture

BOTH = ["squarem", "anderson"]


def two_groups(separation, n=500, d=2, seed=3):
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.4
    X = rng.normal(size=(n, d))
    X[:, 0] += separation * first
    shift = 0.5 / 2.0 ** np.arange(d)
    return X, (np.array([0.5, 0.5]), X.mean(axis=0) + np.array([shift, -shift]), np.array([np.cov(X.T)] * 2))


def cases():
    rng = np.random.default_rng(1)
    X, start = two_groups(2.5)
    C, thirds = start[2][0], np.full(3, 1 / 3)
    counts = rng.poisson(rng.uniform(1, 6, size=(3, 4))[rng.integers(3, size=400)]).astype(float)
    flips = (rng.random((400, 6)) < rng.uniform(0.15, 0.85, size=(3, 6))[rng.integers(3, size=400)]).astype(float)
    codes = rng.integers(3, size=(400, 5)).astype(float)
    codes[::2, :3] = rng.choice(3, p=[0.8, 0.1, 0.1], size=(200, 3))
    return {
        "full": (MixtureModel(Full()), start, X), "tied": (MixtureModel(Tied()), (*start[:2], C), X),
        "diag": (MixtureModel(Diag()), (*start[:2], np.array([C.diagonal()] * 2)), X),
        "spherical": (MixtureModel(Spherical()), (*start[:2], np.full(2, C.trace() / 2)), X),
        "poisson": (MixtureModel(Poisson()), (thirds, counts.mean(axis=0) * rng.uniform(0.8, 1.2, size=(3, 4))), counts),
        "bernoulli": (MixtureModel(Bernoulli()), (thirds, 0.5 * flips.mean(axis=0) + rng.uniform(0.2, 0.3, size=(3, 6))), flips),
        "categorical": (MixtureModel(Categorical(3)), (np.full(2, 0.5), rng.dirichlet([9, 9, 9], size=(2, 5))), codes),
        "linkage": (Linkage(), 0.5, load_linkage().X), "coins": (TwoCoins(), np.array([0.6, 0.5]), load_coins().X),
        "moths": (Moths(), np.full(3, 1 / 3), load_moths().X)}


CASES = cases()


def never_falls(fit):
    return (np.diff(fit.history) >= -1e-13 * abs(fit.log_likelihood) * 100).all()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("case", CASES)
def test_the_same_maximum_without_a_fall(case, name):
    model, start, data = CASES[case]
    plain = em(model, start, data, tol=1e-11, max_iter=50_000)
    quick = em(model, start, data, tol=1e-11, max_iter=50_000, accelerate=name)
    assert quick.converged and never_falls(quick)
    assert quick.log_likelihood >= plain.log_likelihood - 1e-8
    assert quick.log_likelihood <= plain.log_likelihood + 1e-6            # no other maximum
    assert quick.n_e_steps <= 1.2 * plain.n_e_steps
    assert quick.log_likelihood == quick.history[-1]
    np.testing.assert_allclose(e_step(model, quick.params, data).log_likelihood, quick.log_likelihood, rtol=1e-13)


@pytest.mark.parametrize("separation", [6, 4, 3, 2.5, 2])
def test_goals(separation):
    X, start = two_groups(separation, n=2000)
    model = MixtureModel(Full())
    plain = em(model, start, X, tol=1e-9)
    left = plain.log_likelihood - plain.history
    t = np.flatnonzero(left > 1e-6)[-1]
    rate = np.sqrt(left[t] / left[t - 1])                            # the gains shrink by the square of the rate
    for name in BOTH:
        quick = em(model, start, X, tol=1e-9, accelerate=name)
        np.testing.assert_allclose(quick.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-6)
        assert plain.n_e_steps >= 5 * quick.n_e_steps or rate < 0.98
        assert quick.n_e_steps <= 1.2 * plain.n_e_steps
    assert (rate < 0.5) == (separation == 6) and (rate > 0.98) == (separation < 3)


def test_old_faithful():
    X = load_faithful().X
    start = np.array([0.5, 0.5]), np.array([[2.0, 60.0], [4.0, 75.0]]), np.array([np.cov(X.T)] * 2)
    for name in BOTH:
        np.testing.assert_allclose(em(MixtureModel(Full()), start, X, accelerate=name).log_likelihood, -1130.26396, atol=1e-5)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("case", ["full", "tied", "diag"])
def test_units_of_columns_do_not_matter(case, name):
    model, (weights, means, C), X = CASES[case]
    unit = np.array([1e6, 1e-3])
    scaled = C * unit**2 if case == "diag" else C * unit[:, None] * unit
    one = em(model, (weights, means, C), X, tol=1e-9, accelerate=name)
    other = em(model, (weights, means * unit, scaled), X * unit, tol=1e-9, accelerate=name)
    assert abs(one.n_e_steps - other.n_e_steps) <= 0.2 * one.n_e_steps
    np.testing.assert_allclose(other.params[1] / unit, one.params[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", BOTH)
def test_blocks_threads_and_weights(name):
    model, start, X = CASES["full"]
    whole = em(model, start, X, accelerate=name)
    with ThreadPoolExecutor(2) as pool:
        pieces = em(model, start, in_blocks(X, 97), mapper=pool.map, accelerate=name)
    np.testing.assert_allclose(pieces.log_likelihood, whole.log_likelihood, rtol=0, atol=1e-7)
    weight = np.tile([1.0, 2.0, 0.0, 3.0], 125)
    weighted = em(model, start, (X, weight), accelerate=name)
    repeated = em(model, start, np.repeat(X, weight.astype(int), axis=0), accelerate=name)
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("reg_covar, prior", [(0.0, None), (1e-2, None), (0.5, None), (1e-6, Prior()), (0.1, Prior(concentration=2))])
def test_the_guarded_mixture_climbs_what_it_climbs(name, reg_covar, prior):
    X, start = two_groups(2.5)
    prior = prior and _resolved(prior, X, None, 2, "full", reg_covar)
    model = _Bounded("full", len(X), reg_covar, np.zeros(2), prior)
    plain = em(model, model.begin(start), X, tol=1e-10)
    quick = em(model, model.begin(start), X, tol=1e-10, accelerate=name)
    assert never_falls(quick) and quick.n_e_steps < plain.n_e_steps / 2
    for a, b in zip(quick.params[0], plain.params[0]):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


def test_credit_of_a_proposal_is_that_of_an_m_step():
    X, start = two_groups(2.5)
    model = _Bounded("full", len(X), 0.05, np.zeros(2))
    params = model.begin(start)
    image = model.maximization(e_step(model, params, X), params)
    again = model.with_free(model.free(image), params, image)
    np.testing.assert_allclose(again[1], image[1], rtol=0.2)       # shares of both ends for those of one
    assert again[0][2] is image[0][2]
    whole, parts = model.with_free(model.free(image), params, image)[1], params
    for t in np.linspace(0, 1, 201)[1:]:                           # the way in small steps, as EM would go it
        parts = model.with_free(tuple(a + t * (b - a) for a, b in zip(start, image[0])), parts, image)
    np.testing.assert_allclose(parts[1], whole, rtol=2e-2)
    with pytest.raises(CollapseError):
        model.with_free((*start[:2], start[2] * [[1, 0], [0, 0]]), params, image)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("prior", [None, Prior(), Prior(concentration=3, dof=9)])
def test_shares_are_those_of_the_m_step(kind, prior):
    X, start = two_groups(2.5)
    resolved = prior and _resolved(prior, X, None, 2, kind, 0.0)
    model = _Bounded(kind, len(X), 0.0, np.zeros(2), resolved)
    C = {"full": start[2], "tied": start[2][0], "diag": np.array([start[2][0].diagonal()] * 2), "spherical": np.ones(2)}[kind]
    theta = (*start[:2], C)
    expected = e_step(MixtureModel(model.family), theta, X)
    likeliest = MixtureModel(model.family).maximization(expected, theta)
    new, shares = _mode(resolved, likeliest, len(X), kind) if prior else (likeliest, likeliest[0])
    np.testing.assert_allclose(_shares(model, new), shares, rtol=1e-10)


def test_a_high_floor_and_a_prior_do_not_slow_it():
    "Credited with the shares of one end only, nearly all proposals near the end are refused."
    for seed, name in [(3, "squarem"), (4, "anderson")]:
        X, start = two_groups(2.5, n=1000, seed=seed)
        model = _Bounded("full", 1000, 0.1, np.zeros(2), _resolved(Prior(), X, None, 2, "full", 0.1))
        assert em(model, model.begin(start), X, tol=1e-10, accelerate=name).n_e_steps < 200


# ---- the guard -----------------------------------------------------------------------------------


class Wild(_Proposing):
    "Proposes what is bad in every way, in turn."
    def _begin(self):
        self.turn, self.verdicts, self.rng = 0, [], np.random.default_rng(0)

    def _further(self, x, f, sizes):
        self.turn += 1
        return [-30 * f, 1e3 * self.rng.normal(size=len(x)), np.full(len(x), np.nan), 1e300 * f, None][self.turn % 5]

    def judged(self, accepted):
        self.verdicts.append(accepted)


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("case", ["tied", "categorical", "coins", "moths"])
def test_no_proposal_can_do_harm(case, patient):
    model, start, data = CASES[case]
    wild = Wild(model)
    wild.patient = patient
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = em(model, start, data, tol=1e-9, max_iter=50_000, accelerate=lambda model: wild)
    plain = em(model, start, data, tol=1e-9, max_iter=50_000)
    assert never_falls(fit) and False in wild.verdicts
    assert abs(fit.log_likelihood - plain.log_likelihood) < 1e-5
    if not patient:
        assert fit.n_e_steps == fit.n_iter + 1 + wild.verdicts.count(False)


class Share:
    "Share of N(0, 1) in its mixture with N(2.5, 1), which refuses shares that are not shares."
    spaces = "unit"

    def expectation(self, share):
        if not 0 < share < 1:
            raise RuntimeError("no share")
        def expect(x):
            table = np.stack([np.log(share) - x**2 / 2, np.log1p(-share) - (x - 2.5) ** 2 / 2], axis=1)
            return Expected({"first": softmax(table, axis=1)[:, 0].sum()}, logsumexp(table, axis=1).sum(), len(x))
        return expect

    def maximization(self, expected, share):
        return expected.statistics["first"] / expected.weight


rng = np.random.default_rng(0)
SHARES = np.r_[rng.normal(0, 1, 60), rng.normal(2.5, 1, 40)]


class Fixed:
    "Proposes the same every time."
    def __init__(self, value):
        self.value, self.verdicts = value, []

    def propose(self, params, image):
        return self.value

    def judged(self, accepted):
        self.verdicts.append(accepted)


@pytest.mark.parametrize("value", [-1.0, 2.0, np.nan, 1e-12])
def test_proposals_that_fail_are_refused(value):
    fixed = Fixed(value)
    fit = em(Share(), 0.9, SHARES, accelerate=lambda model: fixed)
    plain = em(Share(), 0.9, SHARES)
    np.testing.assert_array_equal(fit.history, plain.history)
    assert not any(fixed.verdicts) and fit.n_e_steps == plain.n_e_steps + len(fixed.verdicts)


@pytest.mark.parametrize("value", ["nonsense", (1, 2)])
def test_bugs_at_a_proposal_are_raised(value):
    "A TypeError is no way to refuse parameters."
    with pytest.raises(TypeError):
        em(Share(), 0.9, SHARES, accelerate=lambda model: Fixed(value))


@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError, AttributeError, MemoryError])
@pytest.mark.parametrize("where", ["expectation", "maximization"])
def test_what_is_no_refusal_is_raised(error, where):
    class Broken(Share):
        pass

    def breaks(self, *args):
        if args[-1] == 0.61:
            raise error("here")
        return getattr(Share, where)(self, *args)
    setattr(Broken, where, breaks)
    with pytest.raises(error, match="here"):
        em(Broken(), 0.9, SHARES, accelerate=lambda model: Fixed(0.61))


@pytest.mark.parametrize("accelerate", [True, 2, Fixed(0.5)])
def test_accelerate_is_a_name_or_a_function(accelerate):
    with pytest.raises(TypeError, match="accelerate must be a name, a function"):
        em(Share(), 0.9, SHARES, accelerate=accelerate)


@pytest.mark.parametrize("name", BOTH)
def test_forbidden_transitions_stay_forbidden(name):
    from emlit.hmm import HMMModel, sample_chain
    rng = np.random.default_rng(0)
    A = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    X = rng.normal(size=(300, 1))
    X[:, 0] += 2 * sample_chain([1, 0, 0], 0.4 * A + 0.6 * np.eye(3), 300, rng)
    start = np.array([1.0, 0, 0]), A, np.array([[-0.5], [2.0], [4.0]]), np.ones((3, 1, 1))
    plain, quick = (em(HMMModel(Full()), start, X, accelerate=a) for a in (None, name))
    assert never_falls(quick) and (quick.params[1][A == 0] == 0).all() and (quick.params[0] == start[0]).all()
    np.testing.assert_allclose(quick.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-5)


def test_a_model_whose_m_step_fails_at_a_proposal():
    class Fragile(Share):
        def maximization(self, expected, share):
            if share == 0.61:
                raise CollapseError("lost", 0)
            return super().maximization(expected, share)
    fixed = Fixed(0.61)                                             # near the maximum, so its log-likelihood is fine
    fit = em(Fragile(), 0.9, SHARES, accelerate=lambda model: fixed)
    assert fit.converged and not any(fixed.verdicts)


def test_a_likelihood_of_infinity_is_not_a_better_one():
    class Spiked(Share):
        def expectation(self, share):
            expect = super().expectation(share)
            return (lambda x: Expected(expect(x).statistics, np.inf, len(x))) if share == 0.123 else expect
    fixed = Fixed(0.123)
    em(Spiked(), 0.9, SHARES, accelerate=lambda model: fixed)
    assert not any(fixed.verdicts)


def test_errors_of_the_plain_rounds_are_raised():
    class Wrong(Share):
        def maximization(self, expected, share):
            return 1 - super().maximization(expected, share)
    with pytest.raises(ArithmeticError, match="fell from"):
        em(Wrong(), 0.6, SHARES, accelerate="anderson")
    with pytest.raises(RuntimeError, match="no share"):
        em(Share(), 2.0, SHARES, accelerate="squarem")


def test_an_accelerated_gain_does_not_end_a_run():
    "A proposal that goes nowhere gains nothing; that is no sign of convergence."
    class Stay:
        def propose(self, params, image):
            return params

        def judged(self, accepted):
            assert accepted
    fit = em(Share(), 0.9, SHARES, accelerate=lambda model: Stay())
    np.testing.assert_allclose(fit.log_likelihood, em(Share(), 0.9, SHARES).log_likelihood, atol=1e-7)


def test_a_patient_accelerator_gets_one_more_round():
    "Proposals on the other side of the start, lower than it, from which one round leads higher."
    def run(patient):
        fixed = Fixed(0.05)
        fixed.patient = patient
        fit = em(Share(), 0.999, SHARES, max_iter=1, warn=False, accelerate=lambda model: fixed)
        return fit, fixed
    low, start = (e_step(Share(), s, SHARES).log_likelihood for s in (0.05, 0.999))
    assert low > start                                              # taken at once in the first round
    fit, fixed = run(False)
    assert fit.history[1] == low and fixed.verdicts == [True] and fit.n_e_steps == 2
    near = em(Share(), 0.9, SHARES, max_iter=1, warn=False).params  # now a start above the proposal
    for patient in (False, True):
        fixed = Fixed(0.05)
        fixed.patient = patient
        once = em(Share(), near, SHARES, max_iter=1, warn=False, accelerate=lambda model: fixed)
        later = Share().maximization(e_step(Share(), 0.05, SHARES), 0.05)
        value = e_step(Share(), later, SHARES).log_likelihood
        expected_verdict = patient and value >= once.history[0]
        assert fixed.verdicts == [expected_verdict]
        assert once.n_e_steps == (3 if not patient or expected_verdict else 4)
        assert never_falls(once)


# ---- the driver ----------------------------------------------------------------------------------


def test_unknown_names_and_models_without_spaces():
    class Bare(Share):
        spaces = None
    with pytest.raises(ValueError, match="accelerate='fast' is not known: choose one of .*'anderson'.*'squarem'.*, or None"):
        em(Share(), 0.9, SHARES, accelerate="fast")
    for name in BOTH:
        with pytest.raises(ValueError, match="give Bare the attribute spaces"):
            em(Bare(), 0.9, SHARES, accelerate=name)
    with pytest.raises(TypeError, match="propose and judged; dict lacks them"):
        em(Share(), 0.9, SHARES, accelerate=lambda model: {})


def test_spaces_that_do_not_fit_are_an_error():
    class Misnamed(Share):
        spaces = "reell"
    with pytest.raises(ValueError, match="reell"):
        em(Misnamed(), 0.9, SHARES, accelerate="squarem")

    class TooMany(MixtureModel):
        pass
    model, start, X = CASES["full"]
    many = TooMany(Full())
    many.spaces = ("simplex", "real")
    with pytest.raises(ValueError, match="zip"):
        em(many, start, X, accelerate="anderson")


def test_an_accelerator_can_be_named():
    name = "an accelerator of this test"
    make = accelerator(name)(lambda model: Fixed(0.5))
    assert callable(make) and em(Share(), 0.9, SHARES, accelerate=name).converged


@pytest.mark.parametrize("name", BOTH)
def test_callbacks_see_the_accepted_steps(name):
    model, start, X = CASES["full"]
    tracer = Tracer()
    fit = em(model, start, X, accelerate=name, callbacks=[tracer])
    assert [s.iteration for s in tracer.steps] == list(range(fit.n_iter + 1))
    np.testing.assert_array_equal([s.log_likelihood for s in tracer.steps], fit.history)
    passes = np.array([s.e_steps for s in tracer.steps])
    assert passes[0] == 1 and passes[-1] == fit.n_e_steps and (np.diff(passes) >= 1).all() and (np.diff(passes) <= 3).all()
    assert tracer.steps[-1].plain and not all(s.plain for s in tracer.steps)
    assert fit.history[-1] - fit.history[-2] <= 1e-8


@pytest.mark.parametrize("name", BOTH)
def test_max_iter_counts_rounds_and_warns(name):
    model, start, X = CASES["full"]
    with pytest.warns(ConvergenceWarning, match="max_iter=7 rounds"):
        fit = em(model, start, X, accelerate=name, max_iter=7)
    assert fit.n_iter == 7 and not fit.converged and len(fit.history) == 8


def test_a_rule_to_stop_by_sees_two_plain_rounds():
    model, start, X = CASES["full"]
    tracer = Tracer()
    fit = em(model, start, X, accelerate="squarem", stop=lambda h: len(h) > 20, callbacks=[tracer])
    assert fit.converged and tracer.steps[-1].plain and tracer.steps[-2].plain and 20 <= fit.n_iter <= 22


# ---- the pieces ----------------------------------------------------------------------------------


def test_squarem_jumps_to_the_end_of_a_geometric_series():
    "With one direction the jump lands on the fixed point, by each scheme."
    for scheme in (1, 2, 3):
        jump = Squarem(Share(), scheme)
        jump.arrived, jump.most, one = False, np.inf, np.ones(2)
        at = lambda t: np.array([3.0, -1.0]) * 0.9**t
        assert jump._further(at(0), at(1) - at(0), one) is None
        np.testing.assert_allclose(at(2) + jump._further(at(1), at(2) - at(1), one), np.zeros(2), atol=1e-12)


def test_squarem_keeps_to_its_bound():
    jump, one = Squarem(Share()), np.ones(1)
    jump.arrived, jump.most = False, 4.0
    jump._further(0 * one, one, one)
    np.testing.assert_allclose(jump._further(one, 0.99 * one, one), 2 * 3 * one + 15 * -0.01 * one)
    jump.judged(True)
    assert jump.most == 16
    jump.bounded = True
    jump.judged(False)
    jump.judged(False)
    jump.judged(False)
    assert jump.most == 1
    jump.bounded = False
    jump.judged(True)
    assert jump.most == 1


def test_anderson_solves_a_linear_problem():
    rng = np.random.default_rng(5)
    L, end = np.diag(rng.uniform(0, 0.99, 5)), rng.normal(size=5)
    method, x, one = Anderson(Share()), np.zeros(5), np.ones(5)
    for _ in range(9):
        image = end + L @ (x - end)
        more = method._further(x, image - x, one)
        x = image if more is None else image + more
    np.testing.assert_allclose(x, end, rtol=0, atol=1e-6)
    assert abs(np.linalg.matrix_power(L, 9) @ end).max() > 0.05


class Ladder:
    "A map with one rate, as a model: its image of x is rate * x."
    spaces = "real"


def asked(method, rate, rounds):
    "Numbers of the rounds in which the accelerator has something to propose, plain rounds all the way."
    x, when = np.array([1.0, -2.0]), []
    for n in range(1, rounds + 1):
        when += [n] * (method.propose(x, rate * x) is not None)
        x = rate * x
    return when


@pytest.mark.parametrize("make, risk", [(Anderson, 1), (Squarem, 2)])
def test_refusals_are_kept_to_a_seventh_of_the_rounds(make, risk):
    method = make(Ladder())
    assert method.risk == risk and asked(method, 0.9, 14 * risk)[0] == 7 * risk
    for refusals in (1, 2, 3):
        method = make(Ladder())
        method.bounded = False
        for _ in range(refusals):
            method.judged(False)
        assert method.lost == refusals * risk
        assert 7 * risk * (refusals + 1) <= asked(method, 0.95, 60)[0] <= 7 * risk * (refusals + 1) + 1
        method.judged(True)
        assert method.lost == refusals * risk


def test_anderson_with_one_pair_is_aitkens_formula():
    method, one = Anderson(Ladder(), memory=1), np.ones(2)
    assert method._further(np.array([1.0, -2.0]), -0.1 * np.array([1.0, -2.0]), one) is None
    x = 0.9 * np.array([1.0, -2.0])
    np.testing.assert_allclose(0.9 * x + method._further(x, -0.1 * x, one), np.zeros(2), atol=1e-8)


def test_anderson_leaves_a_fast_run_alone():
    assert asked(Anderson(Ladder()), 0.45, 30) == [] and asked(Anderson(Ladder()), 0.55, 30) == list(range(7, 31))


def test_one_slow_move_of_the_last_two_is_enough():
    method, one = Anderson(Ladder()), np.ones(2)
    for x, f in [(np.zeros(2), np.ones(2)), (np.ones(2), -0.1 * np.ones(2))]:            # the first move leaves a tenth
        assert method._further(x, f, one) is None
    assert method._further(np.array([1.0, 2.0]), np.array([-0.1, -0.2]), one) is not None  # the second nine tenths
    fast = Anderson(Ladder())
    for x in (np.zeros(2), np.ones(2), np.array([1.0, 2.0])):
        assert fast._further(x, 1 - 0.9 * x, one) is None


def test_anderson_forgets_after_a_refusal():
    method = Anderson(Share())
    method._further(np.zeros(2), np.ones(2), np.ones(2))
    method.judged(True)
    assert len(method.places) == 1
    method.judged(False)
    assert method.places == [] == method.residuals


def quick_problem(seed):
    "Small, with groups far apart: EM needs a handful of rounds."
    rng = np.random.default_rng(seed)
    k, d, n = int(rng.integers(2, 5)), int(rng.integers(1, 4)), int(rng.choice([60, 200]))
    X = rng.normal(size=(n, d)) + rng.uniform(3, 8) * rng.normal(size=(k, d))[rng.integers(k, size=n)]
    start = np.full(k, 1 / k), X[rng.choice(n, k, replace=False)], np.full(k, X.var())
    return MixtureModel(Spherical()), start, X, 10.0 ** -rng.choice([3, 6, 9])


def test_fast_runs_cost_little():
    "Where less than half of the information is missing, never more than 1.2 times the E-steps."
    fast = 0
    for seed in range(60):
        model, start, X, tol = quick_problem(seed)
        try:
            plain = em(model, start, X, tol=tol)
            left = em(model, plain.params, X, tol=1e-12).log_likelihood - plain.history
        except (ValueError, ArithmeticError):
            continue                                                   # a spike
        t = np.flatnonzero(left > 1e-7)[-1]
        if t > 0 and left[t] < 0.25 * left[t - 1]:
            fast += 1
            for name in BOTH:
                quick = em(model, start, X, tol=tol, accelerate=name)
                assert quick.n_e_steps <= 1.2 * plain.n_e_steps and never_falls(quick)
    assert fast > 20


def test_anderson_remembers_so_much():
    method = Anderson(Share(), memory=4)
    for _ in range(9):
        method._further(rng.normal(size=3), rng.normal(size=3), np.ones(3))
    assert len(method.places) == len(method.residuals) == 5


@pytest.mark.parametrize("word, x", [("unit", np.array([0.0, 1e-9, 0.5, 1.0])), ("simplex", np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])),
                                     ("real", np.array([-3.0, 4.0])), ("positive", np.array([0.1, 9.0]))])
def test_there_and_back(word, x):
    u, now = _straightened(x, word)
    np.testing.assert_allclose(_bent(u, word), x, rtol=1e-12, atol=1e-15)
    assert now == ("real" if word in ("unit", "simplex") else word)


@pytest.mark.parametrize("p", [[0.5, 0.5], [1e-5, 1 - 1e-5], [0.02, 0.9, 0.08]])
def test_angles_have_unit_information(p):
    "Fisher information of one observation in these coordinates is 1, along any direction that keeps the sum."
    p = np.array(p)
    move = 1e-4 * p.min() * np.r_[1, -1, np.zeros(len(p) - 2)]
    expected = (move**2 / p).sum()
    np.testing.assert_allclose(((_straightened(p + move, "simplex")[0] - _straightened(p, "simplex")[0]) ** 2).sum(), expected, rtol=1e-3)
    if len(p) == 2:
        np.testing.assert_allclose((_straightened(p + move, "unit")[0] - _straightened(p, "unit")[0])[0] ** 2, expected, rtol=1e-3)


def test_sizes_follow_the_units():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(2, 3, 3))
    C, unit = A @ A.mT + np.eye(3), np.array([1e3, 1.0, 1e-4])
    def scaled(u):
        arrays = [np.full(2, 0.5), rng.normal(size=(2, 3)) * u, C * u[:, None] * u]
        words = ("simplex", "real", "positive_definite")
        return pack(arrays, ("real", *words[1:])), _sizes(arrays, words)
    (x, s), (y, t) = scaled(np.ones(3)), scaled(unit)
    assert len(s) == len(x) == 2 + 6 + 12
    np.testing.assert_allclose(t[2:8] / s[2:8], np.tile(unit, 2), rtol=1e-10)
    np.testing.assert_allclose((y[8:] / t[8:]).reshape(2, 6)[:, 3:], (x[8:] / s[8:]).reshape(2, 6)[:, 3:], rtol=1e-8)
    np.testing.assert_array_equal(s[8:].reshape(2, 6)[:, :3], np.ones((2, 3)))


@pytest.mark.parametrize("scale, expected", [(np.array([[4.0, 9.0]] * 3), [2, 3] * 3), (np.array([4.0, 9.0, 16.0]), [2, 2, 3, 3, 4, 4]),
                                             (np.array(4.0), [2] * 6), (np.ones((5, 7)), [1] * 6)])
def test_deviations_of_what_follows(scale, expected):
    np.testing.assert_allclose(_sizes([np.zeros((3, 2)), scale], ("real", "positive"))[:6], expected)
    np.testing.assert_allclose(_sizes([np.zeros((3, 2))], ("real",)), np.ones(6))


def test_rates_of_zero_take_no_coordinate():
    rates = np.array([[0.0, 2.0], [3.0, 1.0]])
    assert len(_sizes([rates], ("positive",))) == len(pack((rates,), ("positive",))) == 3


def test_lengths():
    r, v = np.array([1.0, 2.0]), np.array([-0.1, -0.5])
    np.testing.assert_allclose([_step_length(r, v, s) for s in (1, 2, 3)], [1.1 / 0.26, 5 / 1.1, np.sqrt(5 / 0.26)])
    assert [_step_length(r, -v, s) for s in (1, 2)] == [1, 1] and _step_length(r, 0 * v, 3) == 1


def test_least_squares_leaves_out_what_says_nothing():
    A = np.random.default_rng(0).normal(size=(9, 3))
    b = np.arange(9.0)
    np.testing.assert_allclose(_least_squares(A, b), np.linalg.lstsq(A, b, rcond=None)[0], rtol=1e-7)
    assert abs(_least_squares(np.c_[A, A[:, 0] + 1e-13 * b], b)).max() < 100
    np.testing.assert_array_equal(_least_squares(0 * A, b), np.zeros(3))


def test_a_number_that_reaches_the_edge_is_survived():
    "A rate of exactly 0 has no coordinate: the vectors get shorter on the way."
    rng = np.random.default_rng(7)
    X = np.c_[rng.poisson([[1.0], [6.0]] * np.ones((2, 300))).reshape(-1, 1), np.repeat([0.0, 3.0], 300)]
    start = np.array([0.5, 0.5]), np.array([[2.0, 1.0], [4.0, 2.0]])
    plain = em(MixtureModel(Poisson()), start, X)
    for name in BOTH:
        np.testing.assert_allclose(em(MixtureModel(Poisson()), start, X, accelerate=name).log_likelihood, plain.log_likelihood, atol=1e-6)


@pytest.mark.parametrize("name, make", [("squarem", Squarem), ("anderson", Anderson)])
def test_names_and_classes_are_the_same(name, make):
    model, start, X = CASES["full"]
    by_name, by_class = (em(model, start, X, accelerate=a) for a in (name, make))
    np.testing.assert_array_equal(by_name.history, by_class.history)
    assert make(model).propose(start, start) is None
    fewer = em(model, start, X, accelerate=partial(Squarem, scheme=2) if make is Squarem else partial(Anderson, memory=2))
    assert not np.array_equal(fewer.history, by_name.history) and abs(fewer.log_likelihood - by_name.log_likelihood) < 1e-6


# ---- models of later chapters --------------------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
def test_a_hidden_chain(name):
    from emlit.hmm import HMMModel, sample_chain
    rng = np.random.default_rng(3)
    X = rng.normal(size=(600, 1))
    X[:, 0] += 2 * sample_chain([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], 600, rng)
    start = np.array([0.5, 0.5]), np.array([[0.6, 0.4], [0.4, 0.6]]), X.mean(axis=0) + np.array([[-0.5], [0.5]]), np.array([np.cov(X.T).reshape(1, 1)] * 2)
    model = HMMModel(Full())
    plain, quick = em(model, start, X), em(model, start, X, accelerate=name)
    np.testing.assert_allclose(quick.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-6)
    assert never_falls(quick) and quick.n_e_steps < plain.n_e_steps


@pytest.mark.parametrize("name", BOTH)
def test_rows_with_holes(name):
    from emlit.missing import group_patterns
    X, start = two_groups(3, n=600, d=3)
    X[np.random.default_rng(4).random(X.shape) < 0.2] = np.nan
    model, block = MixtureModel(Full()), group_patterns(X)
    plain, quick = em(model, start, block), em(model, start, block, accelerate=name)
    np.testing.assert_allclose(quick.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-6)
    assert never_falls(quick) and quick.n_e_steps < plain.n_e_steps / 2


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("settings", [dict(), dict(prior="conjugate"), dict(covariance_type="tied"), dict(reg_covar=0.01)])
def test_gaussian_mixture_takes_it(name, settings):
    X, _ = two_groups(2.5)
    plain, quick = (GaussianMixture(2, tol=1e-11, max_iter=5000, random_state=0, accelerate=a, **settings).fit(X) for a in (None, name))
    assert quick.converged_ and quick.n_iter_ < plain.n_iter_ / (2 if plain.n_iter_ > 100 else 1.5)
    assert abs(quick.lower_bound_ - plain.lower_bound_) * len(X) < 1e-4
    np.testing.assert_allclose(quick.score(X), plain.score(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_mixture_takes_it(name):
    X = CASES["poisson"][2]
    plain, quick = (Mixture(3, tol=1e-11, max_iter=5000, random_state=0, accelerate=a).fit(X) for a in (None, name))
    assert quick.n_iter_ < plain.n_iter_ and abs(quick.lower_bound_ - plain.lower_bound_) * len(X) < 1e-4
    with pytest.raises(ValueError, match="accelerate"):
        Mixture(3, accelerate="fast").fit(X)
