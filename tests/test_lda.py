"""LDA: enumeration, quadrature, finite differences, optimisers of SciPy, scikit-learn's topics, and bad input."""
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.sparse import coo_array, csr_array, csr_matrix, vstack
from scipy.special import digamma, gammaln, logsumexp, polygamma, softmax
from scipy.stats import beta, dirichlet, dirichlet_multinomial
from sklearn.decomposition import LatentDirichletAllocation as Sklearn
from tools import corpus as tool

from emlit import lda
from emlit.em import Tracer, e_step, em
from emlit.lda import (
    Corpus,
    LDAModel,
    LDAPointModel,
    dirichlet_divergence,
    document_blocks,
    document_bounds,
    elbo,
    expected_counts,
    expected_log,
    infer_documents,
    load_docstrings,
    log_evidence,
    log_evidence_enumerated,
    newton_alpha,
    sample_corpus,
    start_lda,
    update_documents,
)

TOPICS = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
ALPHA = np.array([0.8, 1.3])
RNG = np.random.default_rng(0)
THREE = RNG.dirichlet(np.ones(6), size=3)
CORPUS = sample_corpus([0.4, 0.7, 0.3], THREE, [12, 30, 1, 0, 25, 18, 40, 9], RNG)[0]


def gradient(f, x, h=1e-5):
    steps = h * np.eye(len(x))
    return np.array([(8 * (f(x + s) - f(x - s)) - (f(x + 2 * s) - f(x - 2 * s))) / (12 * h) for s in steps])


def log_of(topics):
    with np.errstate(divide="ignore"):
        return np.log(topics)


# ---- the exact likelihood ------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[0], [0, 0, 1, 2, 0, 1, 0, 2], [2] * 10, [0, 1]])
def test_evidence_by_quadrature(words):
    def integrand(u):
        return beta.pdf(u, *ALPHA) * np.prod(np.array([u, 1 - u]) @ TOPICS[:, words])
    # the substitution u = s**5 takes the singularity at 0 away
    value = quad(lambda s: integrand(s**5) * 5 * s**4, 0, 1, epsabs=0, epsrel=1e-11)[0]
    np.testing.assert_allclose(log_evidence_enumerated(words, ALPHA, TOPICS), np.log(value), rtol=1e-8)
    np.testing.assert_allclose(log_evidence(np.bincount(words, minlength=3), ALPHA, TOPICS), np.log(value), rtol=1e-8)


@pytest.mark.parametrize("k, n", [(1, 5), (2, 9), (3, 7), (4, 5)])
def test_table_is_enumeration(k, n):
    rng = np.random.default_rng(k)
    topics, alpha, words = rng.dirichlet(np.ones(4), size=k), rng.gamma(1, 1, k) + 0.1, rng.integers(0, 4, n)
    by_table = log_evidence(np.bincount(words, minlength=4), alpha, topics)
    np.testing.assert_allclose(by_table, log_evidence_enumerated(words, alpha, topics), rtol=1e-11)
    order = rng.permutation(k)
    np.testing.assert_allclose(log_evidence(np.bincount(words, minlength=4), alpha[order], topics[order]), by_table, rtol=1e-11)


def test_evidence_is_a_distribution_over_documents():
    documents = list(product(range(3), repeat=5))
    np.testing.assert_allclose(sum(np.exp(log_evidence_enumerated(w, ALPHA, TOPICS)) for w in documents), 1, rtol=1e-12)
    bags = [np.array(c) for c in product(range(6), repeat=3) if sum(c) == 5]
    orders = [gammaln(6) - gammaln(c + 1).sum() for c in bags]
    np.testing.assert_allclose(logsumexp([log_evidence(c, ALPHA, TOPICS) + o for c, o in zip(bags, orders)]), 0, atol=1e-12)


def test_topics_of_one_word_each_are_a_dirichlet_multinomial():
    counts, alpha = np.array([4, 0, 3]), np.array([0.3, 1.0, 2.5])
    orders = gammaln(8) - gammaln(counts + 1).sum()
    expected = dirichlet_multinomial.logpmf(counts, alpha, 7)
    np.testing.assert_allclose(log_evidence(counts, alpha, np.eye(3)) + orders, expected, rtol=1e-11)


def test_long_and_impossible_documents():
    long = np.array([1200, 800, 1000])
    points = np.linspace(0, 1, 400_001)[1:-1]
    log_p = beta.logpdf(points, *ALPHA) + long @ np.log(np.outer(TOPICS[0], points) + np.outer(TOPICS[1], 1 - points))
    np.testing.assert_allclose(log_evidence(long, ALPHA, TOPICS), logsumexp(log_p) - np.log(400_000), rtol=1e-9)
    nowhere = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])
    assert log_evidence([1, 1, 1], ALPHA, nowhere) == -np.inf
    assert log_evidence_enumerated([], ALPHA, TOPICS) == log_evidence([0, 0, 0], ALPHA, TOPICS) == 0


# ---- one document --------------------------------------------------------------------------------


def test_dirichlet_pieces():
    q, p = np.array([0.6, 2.5, 1.1]), np.array([1.5, 0.4, 3.0])
    draws = np.random.default_rng(1).dirichlet(q, size=200_000)
    for found, sample in ((expected_log(q)[1], np.log(draws[:, 1])),
                          (dirichlet_divergence(q, p), dirichlet.logpdf(draws.T, q) - dirichlet.logpdf(draws.T, p))):
        assert abs(sample.mean() - found) < 5 * sample.std() / len(draws)**0.5
    assert dirichlet_divergence(q, q) == 0 and expected_log(np.ones((4, 2, 3))).shape == (4, 2, 3)
    np.testing.assert_allclose(dirichlet_divergence(np.stack([q, p]), 0.7), [dirichlet_divergence(v, np.full(3, 0.7)) for v in (q, p)])


def slow_bound(row, gamma, alpha, log_topics):
    "The bound term by term, as in the appendix of Blei, Ng and Jordan (2003), with phi by (33.10)."
    log_shares = digamma(gamma) - digamma(gamma.sum())
    total = gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * log_shares).sum()           # E log p(shares)
    total -= gammaln(gamma.sum()) - gammaln(gamma).sum() + ((gamma - 1) * log_shares).sum()          # - E log q(shares)
    for v, n in enumerate(row):
        phi = softmax(log_shares + log_topics[:, v])
        total += n * (phi * (log_shares + log_topics[:, v] - np.log(phi))).sum() if n else 0         # words and their topics
    return total


def test_bound_term_by_term_and_gap():
    gamma = np.random.default_rng(2).gamma(2, 2, (8, 3)) + 0.1
    alpha = np.array([0.4, 0.7, 0.3])
    rows = CORPUS.toarray()
    bounds = document_bounds(CORPUS, gamma, alpha, np.log(THREE))
    np.testing.assert_allclose(bounds, [slow_bound(r, g, alpha, np.log(THREE)) for r, g in zip(rows, gamma)], rtol=1e-11)
    best = infer_documents(CORPUS, alpha, np.log(THREE))
    gaps = np.array([log_evidence(r.astype(int), alpha, THREE) for r in rows]) - document_bounds(CORPUS, best, alpha, np.log(THREE))
    assert (gaps >= -1e-9).all() and gaps[rows.sum(axis=1) > 0].min() > 0.01 and abs(gaps[3]) < 1e-12


def test_updates_never_lose_and_end_flat():
    alpha, log_topics = np.array([0.4, 0.7, 0.3]), np.log(THREE)
    gamma = np.random.default_rng(3).gamma(1, 3, (8, 3)) + 0.05
    for _ in range(30):
        before, gamma = gamma, update_documents(CORPUS, gamma, alpha, log_topics)
        gain = document_bounds(CORPUS, gamma, alpha, log_topics) - document_bounds(CORPUS, before, alpha, log_topics)
        assert (gain > -1e-12).all()
    gamma = infer_documents(CORPUS, alpha, log_topics, gamma)
    flat = gradient(lambda g: document_bounds(CORPUS, np.exp(g).reshape(8, 3), alpha, log_topics).sum(), np.log(gamma).ravel())
    np.testing.assert_allclose(flat, 0, atol=1e-6)


def test_counts_are_shared_out_and_weighted():
    gamma = np.random.default_rng(4).gamma(2, 2, (8, 3)) + 0.1
    by_document, by_word, log_sums = expected_counts(CORPUS, gamma, np.log(THREE))
    np.testing.assert_allclose(by_document.sum(axis=1), CORPUS.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(by_word.sum(axis=0), CORPUS.sum(axis=0), rtol=1e-12)
    log_shares = expected_log(gamma)
    joint = log_shares[:, :, None] + np.log(THREE)
    phi = CORPUS.toarray()[:, None] * softmax(joint, axis=1)
    np.testing.assert_allclose(by_document, phi.sum(axis=2), rtol=1e-11)
    np.testing.assert_allclose(by_word, phi.sum(axis=0), rtol=1e-11)
    np.testing.assert_allclose(log_sums, (CORPUS.toarray() * logsumexp(joint, axis=1)).sum(axis=1), rtol=1e-11)
    half = expected_counts(0.5 * CORPUS, gamma, np.log(THREE))              # fractional counts are weights
    np.testing.assert_allclose(half[1], by_word / 2, rtol=1e-12)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix, lambda X: csr_matrix(X).tocoo(), lambda X: np.asarray(X, dtype=np.int32), lambda X: X.tolist()])
def test_forms_of_the_counts(form):
    dense, gamma = CORPUS.toarray(), np.ones((8, 3))
    np.testing.assert_allclose(expected_counts(form(dense), gamma, np.log(THREE))[1], expected_counts(dense, gamma, np.log(THREE))[1], rtol=1e-12)


def test_input_is_left_alone():
    X = csr_array((np.array([1.0, 0, 2, 3]), np.array([0, 1, 2, 2]), np.array([0, 4])), shape=(1, 3))      # a zero, a word twice
    gamma, values = np.ones((1, 2)), X.data.copy()
    out = expected_counts(X, gamma, np.log(TOPICS))[1]
    np.testing.assert_allclose(out, expected_counts([[1, 0, 5]], gamma, np.log(TOPICS))[1], rtol=1e-12)
    assert X.data.shape == (4,) and (X.data == values).all() and (gamma == 1).all()


# ---- Newton's method -----------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [[1.0, 1.0], [0.05, 2.0, 0.7], [20.0, 5.0, 0.5, 1.0], [0.01] * 5])
@pytest.mark.parametrize("start", [0.01, 1.0, 200.0])
def test_newton_against_scipy(truth, start):
    k, n = len(truth), 60
    sums = np.log(np.maximum(np.random.default_rng(k).dirichlet(truth, size=n), 1e-280)).sum(axis=0)
    for symmetric in (False, True):
        def loss(t, symmetric=symmetric):
            a = np.full(k, np.exp(t[0])) if symmetric else np.exp(t)
            return -(n * (gammaln(a.sum()) - gammaln(a).sum()) + (a - 1) @ sums) / n
        found = newton_alpha(sums, n, np.full(k, start), symmetric)
        free = np.log(found[:1] if symmetric else found)
        np.testing.assert_allclose(gradient(loss, free), 0, atol=1e-6)
        direct = minimize(loss, np.zeros(len(free)), method="Nelder-Mead" if symmetric else "BFGS", options={"maxiter": 5000})
        assert loss(free) <= direct.fun + 1e-9
        np.testing.assert_allclose(found[:1] if symmetric else found, np.exp(direct.x), rtol=2e-3)


@pytest.mark.parametrize("symmetric", [False, True])
def test_newton_is_quadratic(symmetric):
    "The last steps double the digits, which only the true Hessian does."
    sums, start = np.array([-300.0, -90, -150]), np.ones(3)
    best = newton_alpha(sums, 60, start, symmetric)
    errors = np.array([abs(newton_alpha(sums, 60, start, symmetric, max_iter=i) / best - 1).max() for i in range(1, 12)])
    last = errors[errors > 1e-6][-1]
    assert last < 0.02 and errors[np.flatnonzero(errors == last)[0] + 1] < 10 * last**2
    assert errors[-1] < 1e-12


@pytest.mark.parametrize("symmetric", [False, True])
def test_newton_never_loses(symmetric):
    sums = np.array([-300.0, -90, -150])
    for start in np.geomspace(0.05, 50, 400):
        a = np.full(3, start) if symmetric else start * np.array([1.0, 3, 0.5])
        b = newton_alpha(sums, 60, a, symmetric, max_iter=1)
        before, after = (60 * (gammaln(x.sum()) - gammaln(x).sum()) + (x - 1) @ sums for x in (np.full(3, a.mean()) if symmetric else a, b))
        assert after >= before - 1e-9


def test_newton_symmetric_is_the_best_of_equal_entries():
    sums = np.array([-30.0, -80, -50])
    found = newton_alpha(sums, 20, [0.1, 5, 1], symmetric=True)
    assert np.ptp(found) == 0
    np.testing.assert_allclose(found, newton_alpha(np.full(3, sums.mean()), 20, np.ones(3)), rtol=1e-7)
    with pytest.raises(ValueError, match="keep alpha fixed"):
        newton_alpha(20 * np.log([0.5, 0.5]), 20, np.ones(2))
    with pytest.raises(ValueError, match="keep alpha fixed"):
        newton_alpha(20 * np.log([0.5, 0.5]), 20, np.ones(2), symmetric=True)


def test_start():
    alpha, eta, topic_words, gamma = start_lda(CORPUS, 3, np.random.default_rng(1), alpha=0.2)
    np.testing.assert_allclose(alpha, [0.2] * 3)
    assert eta == 1 / 3 and topic_words.shape == (3, 6) and abs(topic_words - 1).max() < 0.6
    np.testing.assert_allclose(gamma, 0.2 + np.outer(CORPUS.sum(axis=1), np.ones(3)) / 3, rtol=1e-12)


# ---- the corpus ----------------------------------------------------------------------------------


def point_start(X, seed=0, k=3):
    alpha, _, topic_words, gamma = start_lda(X, k, np.random.default_rng(seed))
    return alpha, topic_words / topic_words.sum(axis=1, keepdims=True), gamma


MODELS = {
    "point": (LDAPointModel(), point_start(CORPUS)),
    "point, alpha fixed": (LDAPointModel(learn_alpha=False), point_start(CORPUS)),
    "topics": (LDAModel(), start_lda(CORPUS, 3, np.random.default_rng(1))),
    "topics, symmetric": (LDAModel(symmetric=True), start_lda(CORPUS, 3, np.random.default_rng(2), alpha=0.3, eta=0.2)),
    "topics, alpha fixed": (LDAModel(learn_alpha=False), start_lda(CORPUS, 3, np.random.default_rng(3))),
    "topics, eta learnt": (LDAModel(learn_alpha=False, learn_eta=True), start_lda(CORPUS, 3, np.random.default_rng(4), eta=0.1)),
}


def full(params):
    "The bound of either model."
    if len(params) == 4:
        return elbo(CORPUS, *params)
    return document_bounds(CORPUS, params[2], params[0], log_of(params[1])).sum()


@pytest.mark.parametrize("name", MODELS)
def test_never_falls_and_is_the_bound(name):
    model, start = MODELS[name]
    fit = em(model, start, CORPUS, tol=1e-6, max_iter=200, warn=False)
    assert (np.diff(fit.history) > -1e-10).all() and fit.history[-1] > fit.history[0] + 1
    np.testing.assert_allclose([fit.history[0], fit.log_likelihood], [full(start), full(fit.params)], rtol=1e-11)
    assert len(model.spaces) == len(start) == len(fit.params)
    in_parts = e_step(model, fit.params, document_blocks(CORPUS, 3))
    np.testing.assert_allclose(in_parts.log_likelihood, fit.log_likelihood, rtol=1e-11)
    for a, b in zip(model.maximization(in_parts, fit.params), model.maximization(e_step(model, fit.params, CORPUS), fit.params)):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-300)
    for a, b in zip(start, fit.params):
        assert np.shape(a) == np.shape(b)


@pytest.mark.parametrize("name", ["topics, symmetric", "topics, alpha fixed", "topics, eta learnt"])
def test_flat_in_every_free_coordinate_at_the_fit(name):
    model, start = MODELS[name]
    alpha, eta, topic_words, gamma = em(model, start, CORPUS, tol=0, max_iter=20_000, warn=False).params
    def moved(t):
        return elbo(CORPUS, alpha, eta, topic_words * np.exp(t[:18].reshape(3, 6)), gamma * np.exp(t[18:].reshape(8, 3)))
    np.testing.assert_allclose(gradient(moved, np.zeros(18 + 24)), 0, atol=2e-5)
    if model.learn_alpha:
        assert np.ptp(alpha) == 0
        np.testing.assert_allclose(gradient(lambda t: elbo(CORPUS, alpha * np.exp(t[0]), eta, topic_words, gamma), np.zeros(1)), 0, atol=2e-5)
    if model.learn_eta:
        np.testing.assert_allclose(gradient(lambda t: elbo(CORPUS, alpha, eta * np.exp(t[0]), topic_words, gamma), np.zeros(1)), 0, atol=2e-5)


def test_bound_of_a_tiny_corpus_lies_below_its_evidence():
    "Both the shares and the topics integrated out, over all assignments of nine words."
    documents, eta = [[0, 0, 1], [2, 2, 1, 2], [0, 2]], 0.5
    words, owner = np.concatenate(documents), np.repeat([0, 1, 2], [3, 4, 2])
    terms = []
    for z in map(np.array, product(range(2), repeat=9)):
        term = 0
        for counts, prior in [(np.bincount(z[owner == d], minlength=2), ALPHA) for d in range(3)] + \
                             [(np.bincount(words[z == k], minlength=3), np.full(3, eta)) for k in range(2)]:
            term += gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum()) + (gammaln(prior + counts) - gammaln(prior)).sum()
        terms.append(term)
    X = np.array([np.bincount(d, minlength=3) for d in documents])
    for seed in range(3):
        start = start_lda(X, 2, np.random.default_rng(seed))
        fit = em(LDAModel(learn_alpha=False), (ALPHA, np.array(eta), *start[2:]), X, tol=1e-9, max_iter=20_000)
        assert fit.log_likelihood < logsumexp(terms) - np.log(2) + 0.1          # two equal copies, of which q covers one
        assert fit.log_likelihood > logsumexp(terms) - 4


def test_the_likelihood_falls_while_the_bound_rises():
    tiny, tracer = np.array([[1, 2, 2], [1, 3, 1], [2, 1, 1]]), Tracer()
    topics = np.array([[0.1, 0.5, 0.4], [0.4, 0.3, 0.3]])
    em(LDAPointModel(learn_alpha=False), (np.ones(2), topics, np.full((3, 2), 3.0)), tiny, tol=1e-8, callbacks=[tracer], max_iter=3000)
    exact = np.array([sum(log_evidence(x, np.ones(2), s.params[1]) for x in tiny) for s in tracer.steps])
    bound = np.array([s.log_likelihood for s in tracer.steps])
    assert (np.diff(bound) >= -1e-10).all() and (exact >= bound).all()
    assert exact.max() - exact[-1] > 0.5


@pytest.mark.parametrize("name", ["point", "topics"])
def test_invariances(name):
    model, start = MODELS[name]
    fit = em(model, start, CORPUS, tol=1e-3, max_iter=200, warn=False)
    rng = np.random.default_rng(5)
    k, v, n = rng.permutation(3), rng.permutation(6), rng.permutation(8)

    def renamed(params):
        table = params[-2][k][:, v]
        return (params[0][k], *params[1:-2], table, params[-1][n][:, k])
    other = em(model, renamed(start), csr_array(CORPUS.toarray()[n][:, v]), tol=1e-3, max_iter=200, warn=False)
    np.testing.assert_allclose(other.log_likelihood, fit.log_likelihood, rtol=1e-9)
    for a, b in zip(other.params, renamed(fit.params)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_doubling():
    alpha, topics, gamma = MODELS["point"][1]
    twice = vstack([CORPUS, CORPUS], format="csr")
    fit = em(LDAPointModel(), (alpha, topics, gamma), CORPUS, tol=1e-3)
    double = em(LDAPointModel(), (alpha, topics, np.vstack([gamma, gamma])), twice, tol=2e-3)
    np.testing.assert_allclose(double.log_likelihood, 2 * fit.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(double.params[1], fit.params[1], atol=1e-7)


def test_one_topic_is_exact():
    X = np.array([[3, 1, 0], [0, 2, 5]])
    fit = em(LDAModel(learn_alpha=False), start_lda(X, 1, np.random.default_rng(0), eta=0.7), X, tol=1e-12)
    total = X.sum(axis=0)
    expected = gammaln(2.1) - gammaln(2.1 + total.sum()) + (gammaln(0.7 + total) - gammaln(0.7)).sum()
    np.testing.assert_allclose(fit.log_likelihood, expected, rtol=1e-11)


@pytest.mark.parametrize("inner", [1, 25])
def test_agrees_with_scikit_learn_from_the_same_start(inner):
    "Their batch method: a number of updates of each document from a random gamma, then the topics."
    X, k, rounds = load_docstrings().counts[::9], 5, 8
    theirs = Sklearn(k, doc_topic_prior=0.3, topic_word_prior=0.2, max_iter=rounds, max_doc_update_iter=inner, mean_change_tol=0.0,
                     learning_method="batch", random_state=np.random.RandomState(7)).fit(X)
    draws = np.random.RandomState(7)
    topic_words, alpha = draws.gamma(100.0, 0.01, (k, X.shape[1])), np.full(k, 0.3)
    for _ in range(rounds):
        gamma = draws.gamma(100.0, 0.01, (X.shape[0], k))
        for _ in range(inner):
            gamma = update_documents(X, gamma, alpha, expected_log(topic_words))
        topic_words = 0.2 + expected_counts(X, gamma, expected_log(topic_words))[1]
    np.testing.assert_allclose(topic_words, theirs.components_, rtol=1e-5)          # their digamma has nine digits
    theirs.set_params(max_doc_update_iter=200)
    gamma = infer_documents(X, alpha, expected_log(topic_words), np.ones((X.shape[0], k)), tol=0, max_iter=200)
    np.testing.assert_allclose(elbo(X, alpha, 0.2, topic_words, gamma), theirs.score(X), rtol=1e-7)


def test_a_fit_stays_where_scikit_learn_goes_on_from_it():
    X = load_docstrings().counts[::20]
    fit = em(LDAModel(learn_alpha=False), start_lda(X, 3, np.random.default_rng(0), alpha=0.3, eta=0.2), X, tol=1e-9, max_iter=5000)
    alpha, eta, topic_words, gamma = fit.params
    theirs = Sklearn(3, doc_topic_prior=0.3, topic_word_prior=0.2, max_iter=1, max_doc_update_iter=1).fit(X)
    theirs.components_, theirs.exp_dirichlet_component_ = topic_words, np.exp(expected_log(topic_words))
    np.testing.assert_allclose(theirs._approx_bound(X, gamma, False), fit.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(0.2 + expected_counts(X, gamma, np.log(theirs.exp_dirichlet_component_))[1], topic_words, rtol=1e-3, atol=1e-4)


# ---- unusual and bad input -----------------------------------------------------------------------


def test_empty_documents_and_words_that_never_occur():
    X = np.array([[4, 0, 1, 0], [0, 0, 0, 0], [0, 0, 6, 0]])
    fit = em(LDAModel(), start_lda(X, 2, np.random.default_rng(0), eta=0.3), X, tol=1e-6)
    alpha, eta, topic_words, gamma = fit.params
    np.testing.assert_allclose(topic_words[:, [1, 3]], 0.3, rtol=1e-12)
    np.testing.assert_allclose(document_bounds(X, np.tile(alpha, (3, 1)), alpha, expected_log(topic_words))[1], 0, atol=1e-12)
    nothing = np.zeros((2, 4))
    alpha, eta, topic_words, gamma = em(LDAModel(learn_alpha=False), start_lda(nothing, 2, np.random.default_rng(0)), nothing).params
    np.testing.assert_allclose(topic_words, 0.5)
    np.testing.assert_allclose(gamma, 0.5)


def test_empty_documents_do_not_move_alpha():
    corpus = sample_corpus([0.5, 0.5], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], np.full(60, 30), np.random.default_rng(0))[0]
    _, _, topic_words, gamma = em(LDAModel(learn_alpha=False), start_lda(corpus, 2, np.random.default_rng(1)), corpus, tol=1e-3).params
    start = np.ones(2), np.array(0.5), topic_words, gamma
    alpha, eta, topic_words, gamma = em(LDAModel(), start, corpus, tol=1e-8, max_iter=500, warn=False).params
    padded = vstack([corpus, csr_array((30, 3))], format="csr")
    more = em(LDAModel(), (alpha, eta, topic_words, np.vstack([gamma, np.tile(alpha, (30, 1))])), padded, tol=1e-8, max_iter=500, warn=False)
    np.testing.assert_allclose(more.params[0], alpha, rtol=1e-3)
    np.testing.assert_allclose(more.log_likelihood, elbo(corpus, alpha, eta, topic_words, gamma), rtol=1e-8)


def test_more_topics_than_words():
    X = np.array([[5, 1], [1, 7], [3, 3]])
    fit = em(LDAModel(learn_alpha=False), start_lda(X, 5, np.random.default_rng(0)), X, tol=1e-6, max_iter=5000)
    assert np.isfinite(fit.log_likelihood) and fit.params[2].shape == (5, 2)
    point = em(LDAPointModel(learn_alpha=False), point_start(X, k=5), X, tol=1e-6, max_iter=5000)
    np.testing.assert_allclose(point.params[1].sum(axis=1), 1, rtol=1e-12)


def test_topic_without_words_stays():
    topics = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    X = np.array([[3, 2, 0]])
    fit = em(LDAPointModel(learn_alpha=False), (ALPHA, topics, np.ones((1, 2))), X)
    np.testing.assert_allclose(fit.params[1], [[0.6, 0.4, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(fit.log_likelihood, log_evidence(X[0], ALPHA, fit.params[1]), rtol=1e-10)     # no overlap: no gap
    with pytest.raises(ValueError, match="probability 0 under every topic"):
        document_bounds(X, np.ones((1, 2)), ALPHA, log_of([[0, 0.5, 0.5], [0, 0, 1]]))


@pytest.mark.parametrize("value, word", [(-1.0, "-1.0"), (np.nan, "nan"), (np.inf, "inf")])
def test_counts_that_are_none(value, word):
    X = np.array([[1.0, 2, value]])
    for call in (lambda: expected_counts(X, np.ones((1, 2)), np.log(TOPICS)), lambda: start_lda(X, 2, np.random.default_rng(0)),
                 lambda: infer_documents(csr_array(X), ALPHA, np.log(TOPICS)), lambda: document_blocks(X, 1)):
        with pytest.raises(ValueError, match=f"X holds {word}"):
            call()


@pytest.mark.parametrize("call, message", [
    (lambda: log_evidence([1, 2], ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence([1, 2, 0.5], ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence([1, 2, -1], ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence([90, 90, 90], np.ones(6), np.full((6, 3), 1 / 3)), "document_bounds"),
    (lambda: log_evidence_enumerated([0] * 21, ALPHA, TOPICS), "log_evidence"),
    (lambda: log_evidence_enumerated([-1], ALPHA, TOPICS), "from 0 to 2"),
    (lambda: log_evidence_enumerated([0], [1.0, 0.0], TOPICS), "alpha is"),
    (lambda: log_evidence_enumerated([0], [1.0], TOPICS), "alpha has shape"),
    (lambda: log_evidence_enumerated([0], ALPHA, [[0.5, 0.6], [0.5, 0.5]]), "sum to"),
    (lambda: log_evidence_enumerated([0], ALPHA, [0.5, 0.5]), "shape"),
    (lambda: expected_log([1.0, -1]), "above 0"),
    (lambda: dirichlet_divergence([1.0, 1], [0.0, 1]), "above 0"),
    (lambda: document_bounds([[1, 1]], [[1.0, 1]], ALPHA, np.log(TOPICS)), "2 columns"),
    (lambda: document_bounds([[1, 1, 1]], [[1.0, 1, 1]], ALPHA, np.log(TOPICS)), "gamma has shape"),
    (lambda: update_documents([[1, 1, 1]], [[1.0, 1]], [1.0, np.inf], np.log(TOPICS)), "alpha is"),
    (lambda: elbo([[1, 1, 1]], ALPHA, -1.0, np.ones((2, 3)), np.ones((1, 2))), "above 0"),
    (lambda: start_lda([[1, 1]], 0, np.random.default_rng(0)), "k == 0"),
    (lambda: start_lda([[1, 1]], 2, np.random.default_rng(0), eta=0.0), "eta is"),
    (lambda: sample_corpus(ALPHA, TOPICS, [3, -1], np.random.default_rng(0)), "lengths"),
    (lambda: document_blocks([[1, 1]], 0), "size"),
    (lambda: em(LDAModel(), start_lda(CORPUS, 2, np.random.default_rng(0)), CORPUS[:3]), "3 documents and gamma has 8"),
    (lambda: em(LDAModel(), start_lda(CORPUS, 2, np.random.default_rng(0)), lambda: iter([(np.arange(3), CORPUS[:3])])), "exactly once"),
])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- samples and the real corpus -----------------------------------------------------------------


def test_samples():
    counts, shares = sample_corpus(ALPHA, TOPICS, np.full(3000, 20), np.random.default_rng(1))
    assert counts.shape == (3000, 3) and (counts.sum(axis=1) == 20).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    off = counts.toarray() / 20 - shares @ TOPICS
    assert (abs(off.mean(axis=0)) < 5 * off.std(axis=0) / 3000**0.5).all()
    words = counts.toarray()[:, 0]                                             # the words of a document hang together
    assert words.var() > 1.5 * 20 * words.mean() / 20 * (1 - words.mean() / 20)
    assert sample_corpus(ALPHA, TOPICS, np.zeros(0, int), np.random.default_rng(1))[0].shape == (0, 3)
    again = sample_corpus(ALPHA, TOPICS, np.full(3000, 20), np.random.default_rng(1))[0]
    assert (again != counts).nnz == 0


def test_docstrings():
    corpus = load_docstrings()
    assert isinstance(corpus, Corpus) and corpus.counts.shape == (702, 938)
    assert list(corpus.words) == sorted(set(corpus.words)) and len(set(corpus.documents)) == 702
    row = corpus.documents.index("sparse.linalg.eigsh")
    assert corpus.counts[row, corpus.words.index("eigenvalues")] == 26
    assert corpus.counts.sum() == 52357 and corpus.counts.sum(axis=1).min() >= 25
    assert ((corpus.counts > 0).sum(axis=0) > 0).all()


def test_the_corpus_can_be_made_again():
    text = tool.FILE.read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in text and len(text) < 300_000
    if tool.is_the_version():
        assert tool.text() == text


# ---- far out --------------------------------------------------------------------------------------


def test_evidence_at_extreme_concentrations():
    words, counts = [0, 0, 0, 1, 1, 2], np.array([3, 2, 1])
    known = counts @ np.log(np.array([0.4, 0.6]) @ TOPICS)                     # alpha without end: the shares are known
    for size, rtol in ((1e6, 1e-6), (1e9, 1e-8), (1e12, 1e-10), (1e15, 1e-10), (1e140, 1e-10)):
        np.testing.assert_allclose(log_evidence(counts, size * np.array([0.4, 0.6]), TOPICS), known, rtol=rtol)
        np.testing.assert_allclose(log_evidence_enumerated(words, size * np.array([0.4, 0.6]), TOPICS), known, rtol=rtol)
    for size in (1e-14, 1e-140):                                                # alpha to 0: all words of one topic
        one = logsumexp(np.log(TOPICS) @ counts + np.log([0.4, 0.6]))
        np.testing.assert_allclose(log_evidence(counts, size * np.array([0.4, 0.6]), TOPICS), one, rtol=1e-10)


def test_divergence_at_extreme_concentrations():
    q, d = np.array([3.2, 1.7, 8.0]), np.array([3.0, -1.0, 0.5])
    for size in (1e5, 1e9, 1e12, 1e15):                                         # KL = d' H d / 2 for a small d, H the Hessian of the normaliser
        d_size = d * np.sqrt(size)
        expected = ((d**2 / q).sum() - d.sum()**2 / q.sum()) / 2
        np.testing.assert_allclose(dirichlet_divergence(size * q, size * q + d_size), expected, rtol=5 / np.sqrt(size) + 1e-7)
    for size in (7.0, 30.0, 9e3, 1.1e4, 2e5):                                        # on both sides of the change of formula
        a, b = size * q, size * q[::-1] + d
        direct = gammaln(a.sum()) - gammaln(b.sum()) + (gammaln(b) - gammaln(a)).sum() + (a - b) @ expected_log(a)
        np.testing.assert_allclose(dirichlet_divergence(a, b), direct, rtol=1e-9)
        assert dirichlet_divergence(a, a) == 0
    near = np.array([1.1e4, 1.2e4]), np.array([1.1e4 + 2, 1.2e4 - 2])                   # all terms of Stirling's series, against the integral
    exact = quad(lambda t: (1 - t) * 4 * (polygamma(1, 1.1e4 + 2 * t) + polygamma(1, 1.2e4 - 2 * t)), 0, 1, epsrel=1e-13)[0]
    np.testing.assert_allclose(dirichlet_divergence(*near), exact, rtol=3e-10)


@pytest.mark.parametrize("size", [1e-140, 1e-12, 1e-3, 1e6, 1e12])
def test_fits_at_extreme_concentrations(size):
    X = sample_corpus(ALPHA, TOPICS, np.full(30, 20), np.random.default_rng(0))[0]
    fit = em(LDAModel(learn_alpha=False), start_lda(X, 2, np.random.default_rng(0), size, size), X, tol=1e-3, max_iter=300, warn=False)
    assert (np.diff(fit.history) > -1e-6).all()
    if size == 1e12:                                                            # every word as likely as the others
        np.testing.assert_allclose(fit.log_likelihood, -600 * np.log(3), rtol=1e-6)


@pytest.mark.parametrize("size", [3e2, 9e3, 1.1e4, 1e6])
def test_newton_stops_where_only_rounding_is_left(size, monkeypatch):
    calls, plain = [], lda._newton_step
    monkeypatch.setattr(lda, "_newton_step", lambda *a: calls.append(1) or plain(*a))
    truth = size * np.array([1.0, 1.2])
    for nearby in np.linspace(0.99, 1.01, 21):
        found = newton_alpha(7 * expected_log(truth), 7, nearby * truth)
        np.testing.assert_allclose(found, truth, rtol=1e-5 if size < 1e5 else 1e-3)
    assert len(calls) < 8 * 21


@pytest.mark.parametrize("mean", [-1e140, -1e30, -1e5, -5.0])
@pytest.mark.parametrize("symmetric", [False, True])
def test_newton_reaches_tiny_concentrations(mean, symmetric):
    found = newton_alpha(np.full(2, 3 * mean), 3, np.ones(2), symmetric)
    np.testing.assert_allclose(expected_log(found), mean, rtol=1e-6)


def test_one_topic_and_one_word_learn_nothing_and_do_not_fail():
    X = np.array([[5, 1], [1, 7]])
    fit = em(LDAModel(learn_eta=True), start_lda(X, 1, np.random.default_rng(0), alpha=0.3), X, tol=1e-6)
    assert fit.params[0] == [0.3] and np.isfinite(fit.log_likelihood)
    fit = em(LDAModel(learn_alpha=False, learn_eta=True), start_lda(X[:, :1], 2, np.random.default_rng(0), eta=0.7), X[:, :1], tol=1e-6)
    assert fit.params[1] == 0.7


def test_small_integers_and_single_precision():
    for dtype, value in ((np.uint8, 200), (np.int8, 100)):                      # the same word twice: 400 or 200 in all
        X = coo_array((np.array([value, value], dtype), ([0, 0], [0, 0])), shape=(1, 3))
        assert np.isclose(expected_counts(X, np.ones((1, 2)), np.log(TOPICS))[0].sum(), 2 * value)
    single = THREE.astype(np.float32)
    np.testing.assert_allclose(log_evidence([1, 2, 0, 0, 0, 3], [1.0, 1, 1], single), log_evidence([1, 2, 0, 0, 0, 3], [1.0, 1, 1], THREE), rtol=1e-6)
    start = start_lda(CORPUS, 2, np.random.default_rng(0))
    fit, same = (em(LDAModel(), tuple(np.asarray(p, kind) for p in start), CORPUS.astype(kind), tol=1e-2) for kind in (np.float32, np.float64))
    assert fit.params[3].dtype == np.float64 and abs(fit.log_likelihood - same.log_likelihood) < 0.1
    half = np.array([1000, 1001, 100], np.float16)                              # the sum is not a half-precision number
    assert log_evidence(half, ALPHA, TOPICS) == log_evidence(np.array([1000, 1001, 100]), ALPHA, TOPICS)


def test_lists_are_data_too():
    rows, start = [[1, 1, 1], [1, 2, 3]], (ALPHA, 0.1, TOPICS, np.ones((2, 2)))
    assert em(LDAModel(), start, rows, tol=1).log_likelihood == em(LDAModel(), start, np.array(rows), tol=1).log_likelihood
    assert sample_corpus(ALPHA, TOPICS, [], np.random.default_rng(0))[0].shape == (0, 3)


@pytest.mark.parametrize("call, message", [
    (lambda: log_evidence([np.nan, 1, 1], ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence([np.inf, 1, 1], ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence(csr_array([[1, 1, 1]]), ALPHA, TOPICS), "3 whole numbers"),
    (lambda: log_evidence([10**7, 1, 1], ALPHA, TOPICS), "document_bounds"),
    (lambda: log_evidence([10**9, 1, 1], [1.0], TOPICS[:1]), "document_bounds"),
    (lambda: log_evidence([1000, 1, 1], np.ones(200), np.full((200, 3), 1 / 3)), "document_bounds"),
    (lambda: log_evidence_enumerated(np.zeros(2000, int), ALPHA, TOPICS), "log_evidence"),
    (lambda: log_evidence_enumerated([0.5, 1.9], ALPHA, TOPICS), "whole numbers"),
    (lambda: log_evidence_enumerated([[0, 1]], ALPHA, TOPICS), "whole numbers"),
    (lambda: log_evidence_enumerated([0], ALPHA, TOPICS * np.nan), "topics holds nan"),
    (lambda: log_evidence_enumerated([0], ALPHA, [[0.5, 0.5], [0.5, 0.6]]), "row 1 of topics sums to 1.1"),
    (lambda: log_evidence_enumerated([0], [1e-200, 1.0], TOPICS), "alpha is"),
    (lambda: expected_log([np.inf, 1]), "inf among its entries"),
    (lambda: dirichlet_divergence([1.0, 1], [np.inf, 1]), "p has inf"),
    (lambda: dirichlet_divergence([1.0, 0], [1.0, 1]), "q has 0.0"),
    (lambda: expected_counts([[1, 0, 0]], np.ones((1, 2)), TOPICS), "pass logarithms"),
    (lambda: expected_counts([[1, 0, 0]], np.ones((1, 2)), np.full((2, 3), np.nan)), "log_topics holds nan"),
    (lambda: infer_documents([[1, 0, 0]], ALPHA, np.log(TOPICS[0])), "log_topics has shape"),
    (lambda: infer_documents([[1, 0, 0]], np.ones(3), np.log(TOPICS)), "alpha has shape"),
    (lambda: expected_counts(np.ones((2, 3, 1)), np.ones((2, 2)), np.log(TOPICS)), "X has shape"),
    (lambda: newton_alpha([-3.0, -3.0], 0, np.ones(2)), "n above 0"),
    (lambda: newton_alpha([-np.inf, -3.0], 3, np.ones(2)), "sums is"),
    (lambda: newton_alpha([-3.0, -3.0], 3, np.ones(3)), "each of 3 entries"),
    (lambda: start_lda(np.zeros((0, 3)), 2, np.random.default_rng(0)), "at least one document"),
    (lambda: start_lda(np.zeros((3, 0)), 2, np.random.default_rng(0)), "at least one document"),
    (lambda: start_lda([[1, 1]], 2, np.random.default_rng(0), alpha=[1.0, 1, 1]), "alpha has shape"),
    (lambda: em(LDAModel(), (ALPHA, 0.1, TOPICS, np.ones((0, 2))), np.zeros((0, 3))), "at least one document"),
    (lambda: em(LDAModel(), (np.ones(3), 0.1, TOPICS, np.ones((1, 2))), [[1, 1, 1]]), "alpha has shape"),
    (lambda: em(LDAModel(), (ALPHA, -0.1, TOPICS, np.ones((1, 2))), [[1, 1, 1]]), "eta is -0.1"),
    (lambda: em(LDAPointModel(), (-ALPHA, TOPICS, np.ones((1, 2))), [[1, 1, 1]]), "alpha is"),
    (lambda: em(LDAModel(), start_lda(CORPUS[:6], 2, np.random.default_rng(0)),
                lambda: iter([(np.arange(3), CORPUS[:3])] * 2)), "document 0 came 2 times"),
])
def test_more_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
