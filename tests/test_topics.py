"""LDA of emlit.topics: batches of documents against loops, the bound against chapter 33, the estimator against scikit-learn's."""
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn.decomposition
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from scipy.special import digamma, gammaln, logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import emlit
from emlit.em import e_step, em, in_blocks
from emlit.lda import elbo, expected_log, update_documents
from emlit.likelihood import numerical_gradient
from emlit.topics import (DocumentModel, LatentDirichletAllocation, TopicModel, _anchors, _around, _batches, _corpus, _MeanModel, _occurring,
                          _profiles)


def close(actual, desired, rtol=1e-9, **kwargs):
    np.testing.assert_allclose(actual, np.asarray(desired), rtol=rtol, **kwargs)


def written(n=120, v=40, k=4, length=60, seed=0, alpha=.2, eta=.1):
    "A corpus that LDA wrote, and its topics."
    rng = np.random.default_rng(seed)
    topics, shares = rng.dirichlet(np.full(v, eta), size=k), rng.dirichlet(np.full(k, alpha), size=n)
    return csr_array(rng.multinomial(rng.poisson(length, size=n), shares @ topics).astype(float)), topics


def start(X, k=4, seed=0, alpha=.3, eta=.2):
    rng = np.random.default_rng(seed)
    n, v = X.shape
    return np.full(k, alpha), np.asarray(eta), rng.gamma(100, .01, size=(k, v)), rng.gamma(100, .01, size=(n, k))


def quiet(**settings):
    "An estimator that does not complain about few passes."
    return LatentDirichletAllocation(**{"tol": 0, "random_state": 0} | settings)


def slow_updates(X, gamma, alpha, log_topics, updates):
    "Document by document and word by word, all in logarithms."
    X, gamma = np.asarray(X.todense()), gamma.copy()
    for d in range(len(X)):
        for _ in range(updates):
            new = np.array(alpha, dtype=float)
            for w in np.flatnonzero(X[d]):
                log_phi = digamma(gamma[d]) + log_topics[:, w]
                new += X[d, w] * np.exp(log_phi - logsumexp(log_phi))
            gamma[d] = new
    return gamma


def slow_bound(X, alpha, eta, lam, gamma):
    "The full bound, term by term, with phi written out."
    X, total = np.asarray(X.todense()), 0.0
    log_beta = digamma(lam) - digamma(lam.sum(axis=1, keepdims=True))
    for d in range(len(X)):
        log_theta = digamma(gamma[d]) - digamma(gamma[d].sum())
        total += gammaln(alpha.sum()) - gammaln(alpha).sum() + ((alpha - 1) * log_theta).sum()
        total -= gammaln(gamma[d].sum()) - gammaln(gamma[d]).sum() + ((gamma[d] - 1) * log_theta).sum()
        for w in np.flatnonzero(X[d]):
            log_phi = log_theta + log_beta[:, w] - logsumexp(log_theta + log_beta[:, w])
            total += X[d, w] * (np.exp(log_phi) * (log_theta + log_beta[:, w] - log_phi)).sum()
    for row, log_row in zip(lam, log_beta):
        total += gammaln(eta * len(row)) - len(row) * gammaln(eta) + ((eta - 1) * log_row).sum()
        total -= gammaln(row.sum()) - gammaln(row).sum() + ((row - 1) * log_row).sum()
    return total


# ---- documents in batches ------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [np.full(4, .3), np.array([.01, .5, 2.0, .1])])
def test_updates_are_those_of_the_loop(alpha):
    X, _ = written(n=23)
    _, _, lam, gamma = start(X)
    for updates in (1, 6):
        part = DocumentModel(updates, 0).expectation((alpha, expected_log(lam), gamma))(X)
        close(part.statistics["gamma"].join(23), slow_updates(X, gamma, alpha, expected_log(lam), updates), rtol=1e-8)
        assert part.statistics["updates"] == 23 * updates and part.weight == 23


def test_no_update_leaves_gamma_alone():
    X, _ = written(n=9)
    alpha, _, lam, gamma = start(X)
    part = DocumentModel(0).expectation((alpha, expected_log(lam), gamma))(X)
    np.testing.assert_array_equal(part.statistics["gamma"].join(9), gamma)


def test_bound_is_the_full_elbo():
    X, _ = written(n=17)
    alpha, eta, lam, gamma = params = start(X)
    part = TopicModel(updates=4).expectation(params)(X)
    after = part.statistics["gamma"].join(17)
    close(part.log_likelihood, slow_bound(X, alpha, float(eta), lam, after), rtol=1e-11)
    close(part.log_likelihood, elbo(X, alpha, float(eta), lam, after), rtol=1e-11)
    close(part.statistics["log_shares"], expected_log(after).sum(axis=0))


def test_counts_of_topics_are_the_sums_of_phi():
    X, _ = written(n=11)
    alpha, _, lam, gamma = start(X)
    part = DocumentModel(3, 0).expectation((alpha, expected_log(lam), gamma))(X)
    logs = expected_log(part.statistics["gamma"].join(11))[:, :, None] + expected_log(lam)
    phi = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    close(part.statistics["topic_words"], np.einsum("dw,dkw->kw", X.toarray(), phi), rtol=1e-8, atol=1e-12)


def test_tiny_priors_neither_overflow_nor_lose_words():
    "exp(psi(gamma)) is 0 in floating point for gamma below 1e-3: each word is dealt out all the same."
    X, _ = written(n=30)
    lam = np.random.default_rng(0).gamma(1e-3, size=(4, 40)) + 1e-4
    gamma = np.full((30, 4), 1e-4)
    part = DocumentModel(5, 0).expectation((np.full(4, 1e-4), expected_log(lam), gamma))(X)
    close(part.statistics["topic_words"].sum(), X.sum())
    close(part.statistics["gamma"].join(30).sum(axis=1), 4e-4 + X.sum(axis=1))
    assert np.isfinite(part.log_likelihood)


def test_a_word_that_no_topic_knows_does_not_spoil_the_bound():
    "exp(E[log share]) is 0 for it in every topic."
    lam = np.array([[5.0, 1, 1e-3], [1, 5, 1e-3]])
    X, alpha, gamma = csr_array([[3.0, 1, 2]]), np.full(2, .5), np.array([[1.0, 1]])
    part = DocumentModel(50, 0).expectation((alpha, expected_log(lam), gamma))(X)
    after = part.statistics["gamma"].join(1)
    close(part.log_likelihood + 0, slow_bound(X, alpha, .5, lam, after) - slow_bound(0 * X, alpha, .5, lam, alpha[None]))
    close(after.sum(), 7)


def test_documents_settle_one_by_one():
    "What comes out for a document does not depend on the others."
    X, _ = written(n=200)
    alpha, _, lam, gamma = start(X)
    model = DocumentModel(100, 1e-2)
    together = model.expectation((alpha, expected_log(lam), gamma))(X)
    alone = [model.expectation((alpha, expected_log(lam), gamma[[i]]))(X[[i]]) for i in range(200)]
    close(together.statistics["gamma"].join(200), np.vstack([part.statistics["gamma"].join(1) for part in alone]), rtol=1e-8)
    assert together.statistics["updates"] == sum(part.statistics["updates"] for part in alone)
    assert 200 < together.statistics["updates"] < 200 * 100


def test_batches_hold_every_entry_once():
    sizes = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 500, 0, 7, 7, 7]
    X = csr_array((np.ones(sum(sizes)), np.concatenate([np.arange(s) for s in sizes]), np.cumsum([0, *sizes])), shape=(len(sizes), 500))
    places = [p for _, p in _batches(X, 3)]
    assert sorted(np.concatenate([p[p < X.nnz] for p in places]).tolist()) == list(range(X.nnz))
    assert sorted(np.concatenate([r for r, _ in _batches(X, 3)]).tolist()) == list(range(len(sizes)))
    assert sum(p.size for p in places) < 1.3 * X.nnz + 2 * len(sizes)


def test_batches_stay_small():
    X, _ = written(n=3000, v=300)
    assert max(places.size for _, places in _batches(X, 50)) * 50 <= 130_000


def test_occurring_words():
    X = csr_array([[0, 2.0, 0, 1], [0, 1, 0, 0]])
    words, fewer = _occurring(X)
    assert words.tolist() == [1, 3] and fewer.toarray().tolist() == [[2, 1], [1, 0]]
    words, fewer = _occurring(csr_array((2, 4)))
    assert words.tolist() == [0] and fewer.shape == (2, 1)


# ---- the engine ----------------------------------------------------------------------------------


@pytest.mark.parametrize("updates", [1, 3, 40])
@pytest.mark.parametrize("learn", [{}, {"learn_alpha": "symmetric"}, {"learn_alpha": "free", "learn_eta": True}])
def test_the_bound_never_falls(updates, learn):
    X, _ = written(n=60)
    run = em(TopicModel(updates=updates, **learn), start(X), _corpus(X), tol=0, max_iter=40, warn=False)
    assert (np.diff(run.history) >= -1e-9 * abs(run.history[-1])).all() and run.history[-1] > run.history[0] + 30


def test_blocks_and_threads_change_nothing():
    X, _ = written(n=1000, length=15)
    params, model = start(X), TopicModel()
    whole = model.expectation(params)(X)
    parts = e_step(model, params, lambda: ((rows, X[rows]) for rows in in_blocks(np.arange(1000), 70)()))
    close(parts.log_likelihood, whole.log_likelihood)
    close(parts.statistics["topic_words"], whole.statistics["topic_words"])
    close(parts.statistics["gamma"].join(1000), whole.statistics["gamma"].join(1000))
    one, two = (quiet(n_components=4, max_iter=3, n_jobs=n).fit(X) for n in (1, 2))      # four blocks
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.transform(X), two.transform(X))


def test_blocks_are_views_of_the_corpus():
    X, _ = written(n=6000, length=15)
    blocks = list(_corpus(X)())
    assert [len(rows) for rows, _ in blocks] == [1500] * 4
    for rows, part in blocks:
        np.testing.assert_array_equal(part.toarray(), X[rows].toarray())
        assert np.shares_memory(part.data, X.data) and np.shares_memory(part.indices, X.indices)


def test_blocks_may_come_in_any_order():
    X, _ = written(n=30)
    params, model = start(X), TopicModel()
    mixed = np.random.default_rng(0).permutation(30)
    part = e_step(model, params, lambda: ((rows, X[rows]) for rows in (mixed[:7], mixed[7:])))
    whole = model.expectation(params)(X)
    close(part.statistics["gamma"].join(30), whole.statistics["gamma"].join(30))
    close(part.statistics["bounds"].join(30), whole.statistics["bounds"].join(30))


def test_a_document_left_out_is_noticed():
    X, _ = written(n=10)
    params, model = start(X), TopicModel()
    part = e_step(model, params, lambda: iter([(np.arange(9), X[:9])]))
    with pytest.raises(ValueError, match="pass each document exactly once"):
        model.maximization(part, params)


@pytest.mark.parametrize("bad, words", [
    (lambda X: X.toarray(), "pass a sparse array in CSR form with 40 columns"), (csc_array, "pass a sparse array in CSR form"),
    (lambda X: X[:, :39], "with 40 columns"), (lambda X: -X, "must be 0 or more"), (lambda X: X[:9], "pass one row for each document")])
def test_blocks_that_are_none_are_refused(bad, words):
    X, _ = written(n=10)
    params = start(X)
    with pytest.raises(ValueError, match=words):
        TopicModel().expectation(params)(bad(X))


def test_a_word_without_any_topic_is_refused():
    X = csr_array([[3.0, 1, 0]])
    for row, fine in (([-1.0, -1, -np.inf], False), ([-1.0, -1, -2], True)):
        params = np.full(2, .5), np.array([[-1.0, -1, -np.inf], row]), np.ones((1, 2))
        if fine:
            assert np.isfinite(DocumentModel().expectation(params)(X).log_likelihood)
        else:
            with pytest.raises(ValueError, match="word 2 has probability 0 under every topic"):
                DocumentModel().expectation(params)(X)


def test_a_large_prior_does_not_cost_the_bound_its_digits():
    "The divergence is then a small difference of large numbers, and the bound seemed to fall."
    X, _ = written(n=30, v=20)
    for prior in (1e8, 1e12):
        for name in ("doc_topic_prior", "topic_word_prior"):
            fit = quiet(n_components=5, max_iter=40, **{name: prior}).fit(X)
            other = elbo(X, fit._alpha(), float(fit.topic_word_prior_), fit.components_, fit.transform(X, normalize=False))
            close(fit.score(X), other, rtol=1e-8)


def slope(f, x):
    "Largest derivative of f in the logarithms of x, by finite differences."
    return abs(numerical_gradient(lambda v: f(np.exp(v).reshape(np.shape(x))), np.log(x).ravel())).max()


def test_a_tight_fit_is_stationary():
    "Finite differences of the bound are zero in log lambda and log gamma."
    X, _ = written(n=5, v=5, k=2, length=40)
    run = em(TopicModel(updates=10, tol=0), start(X, 2, alpha=.8, eta=.8), X, tol=1e-10, max_iter=600, warn=False)
    alpha, eta, lam, _ = run.params
    gamma = e_step(TopicModel(updates=200, tol=0), run.params, X).statistics["gamma"].join(5)
    assert slope(lambda v: elbo(X, alpha, float(eta), v, gamma), lam) < 1e-4
    assert slope(lambda v: elbo(X, alpha, float(eta), lam, v), gamma) < 1e-4
    assert slope(lambda v: elbo(X, alpha, float(eta), v, gamma), lam * 1.5 ** np.arange(2)[:, None]) > .1


def test_learnt_priors_are_stationary():
    "After an M-step, in log alpha and log eta."
    X, _ = written(n=30, v=12, k=3, length=40)
    model, params = TopicModel(learn_alpha="free", learn_eta=True), start(X, 3)
    alpha, eta, lam, gamma = model.maximization(model.expectation(params)(X), params)
    assert slope(lambda v: elbo(X, v, float(eta), lam, gamma), alpha) < 1e-4
    assert slope(lambda v: elbo(X, alpha, float(v[0]), lam, gamma), np.array([float(eta)])) < 1e-4
    alpha, _, lam, gamma = TopicModel(learn_alpha="symmetric").maximization(model.expectation(params)(X), params)
    assert np.ptp(alpha) == 0 and slope(lambda v: elbo(X, np.full(3, v[0]), .2, lam, gamma), alpha[:1]) < 1e-4


def test_one_update_is_that_of_chapter_33():
    X, _ = written(n=20)
    alpha, _, lam, gamma = params = start(X)
    model = TopicModel(updates=1, tol=0)
    _, _, _, new = model.maximization(model.expectation(params)(X), params)
    close(new, update_documents(X, gamma, alpha, expected_log(lam)))


# ---- beside scikit-learn -------------------------------------------------------------------------


@parametrize_with_checks([quiet(n_components=3, max_iter=5), quiet(n_components=2, learning_method="online", max_iter=3, n_jobs=2)])
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


SETTLED = {"n_components": 4, "random_state": 5, "mean_change_tol": 1e-6, "max_doc_update_iter": 500}


@pytest.mark.parametrize("passes", [1, 3])
def test_updates_that_forget_are_scikit_learns_batch_fit(passes):
    "Online with all documents in a batch and a rate of 1."
    X, _ = written(n=50)
    settings = SETTLED | {"max_iter": passes, "doc_topic_prior": .7}
    theirs = sklearn.decomposition.LatentDirichletAllocation(**settings, learning_method="batch").fit(X)
    ours = LatentDirichletAllocation(**settings, learning_method="online", learning_decay=0, batch_size=50).fit(X)
    close(ours.components_, theirs.components_, rtol=1e-4)
    close(ours.transform(X), theirs.transform(X), atol=1e-5)
    close(np.exp(-ours.score(X) / X.sum()), theirs.bound_, rtol=1e-5)
    assert ours.n_iter_ == theirs.n_iter_ and ours.n_batch_iter_ == theirs.n_batch_iter_


def test_the_limit_is_scikit_learns():
    "Where the topics are far apart, the ascent from the same start ends at the same topics."
    X, _ = written(n=60, k=3, length=200, eta=.05, seed=3)
    theirs = sklearn.decomposition.LatentDirichletAllocation(3, random_state=1, mean_change_tol=1e-5, max_doc_update_iter=300, max_iter=25).fit(X)
    rng = np.random.RandomState(1)
    params = np.full(3, 1 / 3), np.asarray(1 / 3), rng.gamma(100, .01, (3, 40)), rng.gamma(100, .01, (60, 3))
    run = em(TopicModel(updates=300, tol=1e-6), params, X, tol=1e-9 * X.sum(), max_iter=300, warn=False)
    shares = [lam / lam.sum(axis=1, keepdims=True) for lam in (run.params[2], theirs.components_)]
    close(*shares, rtol=1e-2, atol=2e-3)
    assert run.log_likelihood > theirs.score(X) - 1e-6 * abs(run.log_likelihood)


@pytest.mark.parametrize("size", [7, 128])
def test_online_is_scikit_learns(size):
    X, _ = written()
    settings = SETTLED | {"max_iter": 4, "learning_method": "online", "batch_size": size, "learning_decay": .6, "learning_offset": 5.0}
    ours, theirs = (library(**settings).fit(X) for library in (LatentDirichletAllocation, sklearn.decomposition.LatentDirichletAllocation))
    close(ours.components_, theirs.components_, rtol=1e-4)
    assert ours.n_batch_iter_ == theirs.n_batch_iter_ and ours.n_iter_ == 4


def test_partial_fit_is_an_online_pass():
    X, _ = written()
    settings = {"n_components": 4, "random_state": 2, "total_samples": 500, "batch_size": 50}
    ours, theirs = quiet(**settings), sklearn.decomposition.LatentDirichletAllocation(**settings)
    for rows in (slice(0, 70), slice(70, 120)):
        ours.partial_fit(X[rows])
        theirs.partial_fit(X[rows])
    close(ours.components_, theirs.components_, rtol=1e-4)
    whole = quiet(n_components=4, random_state=2, learning_method="online", batch_size=50, max_iter=1).fit(X)
    again = quiet(n_components=4, random_state=2, total_samples=120, batch_size=50).partial_fit(X)
    close(again.components_, whole.components_)


def test_the_same_components_transform_the_same():
    X, _ = written()
    theirs = sklearn.decomposition.LatentDirichletAllocation(4, random_state=0, max_iter=20).fit(X)
    ours = quiet(n_components=4, max_iter=1).fit(X)
    ours.components_ = theirs.components_
    close(ours.transform(X), theirs.transform(X), atol=1e-6)
    close(ours.transform(X, normalize=False).sum(axis=1), 1 + X.sum(axis=1))
    close(ours.score(X), theirs.score(X), rtol=1e-6)
    close(ours.exp_dirichlet_component_, theirs.exp_dirichlet_component_, rtol=1e-5)
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()


def test_settings_are_scikit_learns_and_more():
    ours, theirs = LatentDirichletAllocation().get_params(), sklearn.decomposition.LatentDirichletAllocation().get_params()
    assert ours.keys() - theirs.keys() == {"tol", "learn_doc_topic_prior", "learn_topic_word_prior", "checkpoint"} and theirs.keys() < ours.keys()
    assert {name for name in theirs if theirs[name] != ours[name]} == {"max_iter"}


# ---- the estimator -------------------------------------------------------------------------------


def test_history_rises_and_ends_at_the_bound_of_the_fit():
    X, _ = written()
    fit = LatentDirichletAllocation(4, random_state=0, tol=1e-5, max_iter=500, max_doc_update_iter=2000, mean_change_tol=1e-9).fit(X)
    assert fit.converged_ and fit.history_["iteration"].tolist() == list(range(fit.n_iter_ + 1))
    assert (np.diff(fit.history_["bound"]) > 0).all() and (np.diff(fit.history_["seconds"]) > 0).all()
    assert np.diff(fit.history_["bound"])[-1] <= 1e-5 * X.sum() < np.diff(fit.history_["bound"])[-2]
    close(fit.lower_bound_, fit.history_["bound"][-1], rtol=0)
    close(fit.bound_, np.exp(-fit.lower_bound_ / X.sum()))
    close(fit.components_.sum(), X.sum() + 4 * 40 * .25)
    gamma = fit.transform(X, normalize=False)
    assert fit.score(X) == pytest.approx(elbo(X, np.full(4, .25), .25, fit.components_, gamma), rel=1e-10)
    assert fit.score(X) == pytest.approx(fit.lower_bound_, rel=1e-3)


@pytest.mark.parametrize("passes", [0, 1, 2, 3, 4, 6])
def test_any_number_of_passes(passes):
    X, _ = written(n=30)
    fit = quiet(n_components=4, max_iter=passes).fit(X)
    assert fit.n_iter_ == passes and len(fit.history_) == passes + 1


def slow_start(X, k, eta, rng):
    "Topics around anchors, then 16 batches that move the topics a quarter of the way to their counts; all matrices dense."
    n, v = X.shape
    batches, dense = [slice(a, a + 256) for a in range(0, n, 256)], X.toarray()
    factors = rng.gamma(100, .01, (k, v))
    anchors = _anchors(X, k, rng)
    pooled = np.array([dense[dense[:, w] > 0].sum(axis=0) for w in anchors])
    lam = eta + factors * (pooled / pooled.sum(axis=1, keepdims=True) + dense.sum(axis=0) / dense.sum()) / 2 * dense.sum() / k
    for t in range(16):
        part, beta = dense[batches[t % len(batches)]], lam / lam.sum(axis=1, keepdims=True)
        theta = rng.gamma(100, .01, (len(part), k))
        for _ in range(20):
            theta = 1 / k + theta * (part / (theta @ beta) @ beta.T)
        lam = .75 * lam + .25 * (eta + n / len(part) * beta * (theta.T @ (part / (theta @ beta))))
    return lam


def test_the_start_is_slow_updates_around_anchors():
    "So many, each with 256 documents or a sixteenth of them, and the passes go on from there."
    X, _ = written(n=600, length=20)
    rng = np.random.RandomState(0)
    lam = slow_start(X, 4, .25, rng)
    fit = quiet(n_components=4, max_iter=0, mean_change_tol=0, learning_decay=.9, learning_offset=3.0).fit(X)
    close(fit.components_, lam, rtol=1e-7)
    assert fit.n_batch_iter_ == 1
    params = fit._alpha(), np.asarray(.25), fit.components_, rng.gamma(100, .01, (600, 4))
    run = em(TopicModel(updates=5, tol=0), params, _corpus(X), tol=0, max_iter=4, warn=False)
    fit = quiet(n_components=4, max_iter=4, mean_change_tol=0).fit(X)
    close(fit.components_, run.params[2])
    close(fit.history_["bound"], run.history)


def test_the_start_reads_a_sixteenth_at_a_time():
    X, _ = written(n=8000, length=5)
    fit, seen = quiet(n_components=4, max_iter=0), []
    fit._blend_in = lambda X, total, mapper, rate, model: seen.append((X.shape[0], total, rate, model.updates, model.tol))
    fit.fit(X)
    assert seen == [(500, 8000, .25, 20, 1e-3)] * 16
    seen.clear()
    fit.set_params(max_doc_update_iter=7).fit(X[:300])
    assert [row[0] for row in seen] == [256, 44] * 8 and {row[3] for row in seen} == {7}


def test_profiles_are_what_else_the_documents_hold():
    X = csr_array([[2.0, 1, 1, 0], [0, 3, 0, 1], [4, 0, 4, 0], [0, 0, 0, 0]])
    rest = np.array([[(1 / 4 + 3 / 8) / 2, 1 / 8, (1 / 4 + 4 / 8) / 2, 0], [1 / 4, 2 / 8, 1 / 8, 1 / 8]])    # one occurrence taken out
    rest -= np.array([2 / 4 + 4 / 8, 1 / 4 + 3 / 4, 1 / 4 + 4 / 8, 1 / 4]) / 4
    close(_profiles(X, np.array([0, 1]), np.eye(4)), rest, atol=1e-15, strict=True)
    views = np.random.default_rng(0).normal(size=(4, 7))
    close(_profiles(X, np.array([0, 1]), views), rest @ views, atol=1e-14)


def test_profiles_add_up_over_blocks():
    X, _ = written(n=2000, length=20)
    words, dense, lengths = np.array([3, 17]), X.toarray(), X.sum(axis=1)[:, None]
    held = [((dense - np.eye(40)[w]) / lengths)[dense[:, w] > 0].mean(axis=0) for w in words]
    close(_profiles(X, words, np.eye(40)), np.array(held) - (dense / lengths).mean(axis=0), atol=1e-15)
    fractions = X * .3
    close(_profiles(fractions, words, np.eye(40))[:, 0], (np.array(held) - (X.toarray() / lengths).mean(axis=0))[:, 0], atol=1e-15)


def separate(n=600, k=5, each=8, length=30, seed=0):
    "Documents of two topics each; `each` words belong to one topic only, and as many to all, more often; and one word that is rare."
    rng = np.random.default_rng(seed)
    own = np.kron(np.eye(k), rng.dirichlet(np.ones(each), size=1)) * .4
    topics = np.hstack([own, np.tile(rng.dirichlet(np.ones(each)) * .6, (k, 1))])
    shares = np.array([np.bincount(rng.choice(k, 2, replace=False), minlength=k) / 2 for _ in range(n)])
    X = np.array([rng.multinomial(length, row @ topics) for row in shares], dtype=float)
    return csr_array(np.hstack([X, np.eye(n)[:, :1] * 50])), topics


@pytest.mark.parametrize("seed", range(3))
def test_anchors_belong_to_one_topic_each(seed):
    X, _ = separate(seed=seed)
    anchors = _anchors(X, 5, np.random.RandomState(seed))
    assert sorted((anchors // 8).tolist()) == [0, 1, 2, 3, 4]             # not the common words 40 to 47, nor the rare one, 48


def test_anchors_where_words_are_few():
    X = csr_array([[1.0, 0, 0, 2], [0, 3, 0, 0]])
    assert len(set(_anchors(X, 2, np.random.RandomState(0)).tolist()) - {2}) == 2
    assert set(_anchors(X, 5, np.random.RandomState(0)).tolist()) == {0, 1, 3}
    rare = csr_array(np.eye(30))                                         # no word has a fair share of the documents
    assert len(set(_anchors(rare, 3, np.random.RandomState(0)).tolist())) == 3
    zeros = csr_array((np.array([0.0, 1, 2]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 3))
    assert set(_anchors(zeros, 3, np.random.RandomState(0)).tolist()) == {1}


def test_topics_around_anchors():
    X = csr_array([[2.0, 1, 0], [0, 3, 1], [1, 0, 4]])
    factors = np.array([[1.0, 1, 1], [2, 1, 1]])
    half = np.array([[3 / 8, 1 / 8, 4 / 8], [2 / 7, 4 / 7, 1 / 7]]) + np.array([3, 4, 5]) / 12
    close(_around(X, np.array([0, 1]), factors), factors * half * 12 / 4, strict=True)


def test_means_are_em_for_the_shares():
    "Word by word, and the posterior of the shares rises."
    X, _ = written(n=13)
    alpha, _, lam, gamma = start(X)
    beta, dense = lam / lam.sum(axis=1, keepdims=True), X.toarray()
    part = _MeanModel(3, 0).expectation((alpha, np.log(beta), gamma))(X)
    for _ in range(3):
        before, theta = gamma, gamma / gamma.sum(axis=1, keepdims=True)
        gamma = np.array([alpha + sum(dense[d, w] * theta[d] * beta[:, w] / (theta[d] @ beta[:, w]) for w in range(40)) for d in range(13)])
        height = [(dense * np.log(g / g.sum(axis=1, keepdims=True) @ beta)).sum() + (alpha * np.log(g / g.sum(axis=1, keepdims=True))).sum()
                  for g in (before, gamma)]
        assert height[1] > height[0]
    close(part.statistics["gamma"].join(13), gamma)
    theta = gamma / gamma.sum(axis=1, keepdims=True)
    close(part.statistics["topic_words"], beta * (theta.T @ (dense / (theta @ beta))))


@pytest.mark.parametrize("seed", range(3))
def test_the_start_finds_all_topics(seed):
    "Nearly what the ascent reaches from the topics that wrote the corpus, which a random start does not."
    X, topics = written(n=900, v=300, k=8, length=80, alpha=.1, eta=.03, seed=8)
    fit, new = quiet(n_components=8, max_iter=8, random_state=seed).fit(X[:750]), X[750:]
    alpha, eta, lam, gamma = start(X[:750], 8, alpha=1 / 8, eta=1 / 8)
    bounds, other = [np.log(fit.perplexity(new))], clone(fit).set_params(max_iter=0).fit(X[:750])
    for begin in (topics * 1e4 + .1, lam):
        other.components_ = em(TopicModel(), (alpha, eta, begin, gamma), _corpus(X[:750]), tol=0, max_iter=8, warn=False).params[2]
        bounds.append(np.log(other.perplexity(new)))
    assert bounds[0] < bounds[1] + .01 and bounds[2] > bounds[1] + .3


def test_the_start_finds_better_topics():
    X, _ = written(n=600, v=300, k=15, alpha=.1, eta=.05)
    slow = quiet(n_components=15, max_iter=15).fit(X[:450])
    run = em(TopicModel(updates=100), start(X[:450], 15, alpha=1 / 15, eta=1 / 15), _corpus(X[:450]), tol=0, max_iter=15, warn=False)
    at_once = quiet(n_components=15, max_iter=0).fit(X[:450])
    at_once.components_ = run.params[2]
    assert slow.perplexity(X[450:]) < .97 * at_once.perplexity(X[450:])


@pytest.mark.parametrize("kind", [lambda X: X.toarray(), lambda X: X.toarray().astype(int), csc_array, coo_array, csr_matrix,
                                  lambda X: X.astype(np.float32), lambda X: X.toarray().tolist()])
def test_kinds_of_input(kind):
    X, _ = written(n=30)
    settings = {"n_components": 4, "max_iter": 4}
    close(quiet(**settings).fit(kind(X)).components_, quiet(**settings).fit(X).components_)


def test_input_is_not_changed():
    X, _ = written()
    before = X.copy()
    quiet(n_components=4, max_iter=3, n_jobs=2).fit(X).transform(X)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, name), getattr(before, name))


@pytest.mark.parametrize("method", ["batch", "online"])
def test_unsorted_and_repeated_entries_are_the_same_document(method):
    "And the user's array stays as it is: SciPy joins such entries in place when it gets the chance."
    X = csr_array(([1.0, 2, 1, 1, 4, 0], [2, 0, 2, 1, 0, 2], [0, 3, 6]), shape=(2, 3))
    data, indices, indptr = X.data.copy(), X.indices.copy(), X.indptr.copy()
    settings = {"n_components": 2, "max_iter": 4, "learning_method": method}
    fit = quiet(**settings).fit(X)
    np.testing.assert_array_equal(fit.transform(X), fit.transform(X.toarray()))
    close(fit.components_, quiet(**settings).fit(X.toarray()).components_)
    assert np.isfinite(fit.perplexity(X)) and np.isfinite(fit.score(X)) and fit.partial_fit(X) is fit
    for name, before in (("data", data), ("indices", indices), ("indptr", indptr)):
        np.testing.assert_array_equal(getattr(X, name), before)


def test_topics_that_wrote_the_corpus_are_found():
    X, topics = written(n=400, k=4, length=100)
    fit = LatentDirichletAllocation(4, random_state=0, learn_doc_topic_prior="symmetric").fit(X)
    found = fit.components_ / fit.components_.sum(axis=1, keepdims=True)
    distances = abs(found[:, None] - topics).sum(axis=-1)
    assert sorted(distances.argmin(axis=1).tolist()) == [0, 1, 2, 3] and distances.min(axis=1).max() < .15
    assert .1 < fit.doc_topic_prior_ < .4


def test_learning_priors():
    X, _ = written(n=80, seed=1)
    fits = [LatentDirichletAllocation(4, random_state=0, tol=1e-6, max_iter=1000, **how).fit(X) for how in
            ({}, {"learn_doc_topic_prior": "symmetric"}, {"learn_doc_topic_prior": "free", "learn_topic_word_prior": True})]
    assert fits[0].lower_bound_ < fits[1].lower_bound_ < fits[2].lower_bound_
    assert fits[0].doc_topic_prior_ == .25 and isinstance(fits[1].doc_topic_prior_, float)
    assert fits[2].doc_topic_prior_.shape == (4,) and fits[2].topic_word_prior_ != .25
    lone = LatentDirichletAllocation(1, random_state=0, learn_doc_topic_prior="free").fit(X)
    assert lone.doc_topic_prior_ == 1 and lone.converged_
    with pytest.raises(ValueError, match="need learning_method='batch'"):
        quiet(learning_method="online", learn_topic_word_prior=True).fit(X)


def test_given_priors_are_used():
    X, _ = written(n=10)
    fit = quiet(n_components=3, doc_topic_prior=[.1, 5.0, .2], topic_word_prior=2.0, max_iter=3).fit(np.vstack([X.toarray(), np.zeros(40)]))
    close(fit.transform(np.zeros((1, 40)))[0], np.array([.1, 5, .2]) / 5.3)
    assert fit.topic_word_prior_ == 2 and fit.components_.min() >= 2
    with pytest.raises(ValueError, match="doc_topic_prior"):
        quiet(n_components=3, doc_topic_prior=[.1, .2]).fit(X)
    with pytest.raises(ValueError, match="doc_topic_prior"):
        quiet(doc_topic_prior=0).fit(X)


def test_perplexity_has_the_topics_given():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=10).fit(X)
    scores = fit.score_samples(X)
    gamma = fit.transform(X, normalize=False)
    each = [slow_bound(X[[i]], np.full(4, .25), .25, fit.components_, gamma[[i]]) for i in (0, 50)]
    topics = slow_bound(0 * X[[0]], np.full(4, .25), .25, fit.components_, np.full((1, 4), .25))
    close(scores[[0, 50]], np.array(each) - topics)
    close(fit.score(X), scores.sum() + topics)
    close(fit.perplexity(X), np.exp(-scores.sum() / X.sum()))
    close(fit.perplexity(X, sub_sampling=True), fit.perplexity(X))
    with pytest.raises(ValueError, match="holds no words"):
        fit.perplexity(0 * X.toarray())


def test_online_comes_near_batch():
    X, _ = written(n=600, k=5)

    def best(**settings):
        return min(quiet(n_components=5, random_state=seed, **settings).fit(X[:450]).perplexity(X[450:]) for seed in range(3))

    assert abs(np.log(best(max_iter=20) / best(max_iter=4, learning_method="online", batch_size=45, mean_change_tol=.01))) < .05


def test_evaluation_prints_and_stops(capsys):
    X, _ = written()
    fit = quiet(n_components=4, max_iter=80, evaluate_every=2, perp_tol=.05, verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert fit.converged_ and fit.n_iter_ < 80 and fit.n_iter_ % 2 == 0
    values = np.exp(-fit.history_["bound"] / X.sum())[::2]
    assert abs(values[-2] - values[-1]) < .05 and (abs(np.diff(values[1:-1])) >= .05).all()
    assert lines[1] == f"iteration: 2 of max_iter: 80, perplexity: {values[1]:.4f}" and lines[0] == "iteration: 1 of max_iter: 80"
    online = quiet(n_components=4, max_iter=60, evaluate_every=2, perp_tol=.5, learning_method="online").fit(X)
    assert online.converged_ and online.n_iter_ < 60 and online.history_["iteration"].tolist() == list(range(2, online.n_iter_ + 1, 2))
    close(online.lower_bound_, online.score(X))


def test_unfinished_fits_say_so():
    X, _ = written()
    with pytest.warns(ConvergenceWarning, match="max_iter=2 passes"):
        LatentDirichletAllocation(4, max_iter=2, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not quiet(n_components=4, max_iter=2).fit(X).converged_


# ---- documents in blocks -------------------------------------------------------------------------


def in_parts(X, size, kind=lambda part: part):
    return lambda: (kind(X[a:a + size]) for a in range(0, X.shape[0], size))


def test_blocks_of_documents_are_one_corpus():
    X, _ = written(n=500, length=30)
    settings = {"n_components": 4, "max_iter": 3}
    whole = quiet(**settings).fit(in_parts(X, 500))
    for blocks in (in_parts(X, 7), in_parts(X, 90, lambda part: part.toarray()), lambda: iter([X[:0], X[:260], X[:0].toarray(), X[260:]])):
        other = quiet(**settings).fit(blocks)
        close(other.components_, whole.components_)
        close(other.history_["bound"], whole.history_["bound"])
        assert other.n_features_in_ == 40 and other.n_iter_ == 3
    close(whole.transform(X).sum(axis=1), np.ones(500))


def test_blocks_are_passed_over_anew_until_they_settle():
    "The start is that of `fit`, and each pass begins with gamma of ones."
    X, _ = written(n=500, length=30)
    fit = quiet(n_components=4, max_iter=3, mean_change_tol=0, max_doc_update_iter=30).fit(in_parts(X, 100))
    rng = np.random.RandomState(0)
    state = rng.get_state()
    lam, bounds = quiet(n_components=4, max_iter=0, mean_change_tol=0, random_state=_after_choice(rng, state)).fit(X).components_, []
    for _ in range(4):
        params = np.full(4, .25), np.asarray(.25), lam, np.ones((500, 4))
        part = e_step(TopicModel(updates=30, tol=0), params, X)
        bounds.append(part.log_likelihood)
        before, lam = lam, .25 + part.statistics["topic_words"]
    close(fit.history_["bound"], bounds)
    close(fit.components_, before)


def _after_choice(rng, state):
    "A random state that draws what one from the seed draws, but a sample between the topics and the rest."
    class Between(np.random.RandomState):
        def gamma(self, a, b, size):
            drawn = super().gamma(a, b, size)
            if size == (4, 40):
                self.choice(500, 500, replace=False)
            return drawn
    between = Between()
    between.set_state(state)
    return between


def test_a_stream_begins_with_a_sample(monkeypatch):
    X, topics = written(n=2000, length=60)
    monkeypatch.setattr(emlit.topics, "_SAMPLE", 300)
    fits = [quiet(n_components=4, max_iter=passes).fit(in_parts(X, size)) for size, passes in ((2000, 0), (170, 0), (170, 5))]
    close(fits[1].components_, fits[0].components_)
    close(fits[0].components_.sum(), X.sum(), rtol=.05)                   # scaled from the sample to the corpus
    found = fits[2].components_ / fits[2].components_.sum(axis=1, keepdims=True)
    distances = abs(found[:, None] - topics).sum(axis=-1)
    assert sorted(distances.argmin(axis=1).tolist()) == [0, 1, 2, 3] and distances.min(axis=1).max() < .15


def test_blocks_that_are_filled_anew_in_the_same_memory():
    X = written(n=400, length=30)[0].toarray()

    def blocks():
        memory = np.empty((100, 40))
        for a in range(0, 400, 100):
            memory[:] = X[a:a + 100]
            yield memory

    one, two = (quiet(n_components=4, max_iter=2, n_jobs=n).fit(blocks) for n in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)
    close(one.components_, quiet(n_components=4, max_iter=2).fit(in_parts(X, 400)).components_)


def test_a_stream_learns_priors_and_stops():
    X, _ = written(n=300)
    fit = LatentDirichletAllocation(4, random_state=0, learn_doc_topic_prior="free", learn_topic_word_prior=True).fit(in_parts(X, 100))
    assert fit.converged_ and fit.doc_topic_prior_.shape == (4,) and fit.topic_word_prior_ != .25
    assert np.diff(fit.history_["bound"])[-1] <= 1e-3 * X.sum() < np.diff(fit.history_["bound"])[-2]
    close(fit.bound_, np.exp(-fit.lower_bound_ / X.sum()))


def test_streams_that_are_none_are_refused():
    X, _ = written(n=30)
    turns = iter(range(99))
    for blocks, words in ((lambda: iter(()), "gave no blocks"), (lambda: iter([X, X[:, :39]]), "with 39 and with 40 columns"), (lambda: iter([0 * X]), "holds no words"),
                          (lambda: iter([-X]), "Negative"), (lambda: iter([X[:9 + next(turns)]]), "must give the same blocks each time")):
        with pytest.raises(ValueError, match=words):
            quiet(n_components=4).fit(blocks)
    with pytest.raises(ValueError, match="blocks of documents.*need learning_method='batch'"):
        quiet(learning_method="online").fit(in_parts(X, 10))


def documents_of_a_pass(*sizes):
    "A function that gives so many documents in its first pass, in its second, and so on."
    X, turns = written(n=300, length=30)[0], iter(sizes)
    return lambda: iter([X[:next(turns)]])


@pytest.mark.parametrize("sizes", [[200, 200, 200, 203], [200, 200, 200, 200, 199], [200] * 6 + [300]])
def test_passes_over_other_documents_are_refused(sizes):
    "In whichever pass, also where the bound falls or would be the last one."
    with pytest.raises(ValueError, match=f"X gave {sizes[-1]} documents in a pass, and 200 in the first: it must give the same blocks each time"):
        quiet(n_components=4, max_iter=len(sizes) - 3).fit(documents_of_a_pass(*sizes))


@pytest.mark.parametrize("tol", [.3, 1e-3])
def test_a_pass_that_falls_is_the_end(tol):
    "Documents begin anew in each pass: the guard of the driver refuses the pass that lowers the bound, and the fit has the topics of the one before."
    X, _ = written()
    fit = quiet(n_components=4, max_iter=300, max_doc_update_iter=5, mean_change_tol=tol).fit(in_parts(X, 50))
    assert fit.converged_ and 10 < fit.n_iter_ < 300 and (np.diff(fit.history_["bound"]) > 0).all() and len(fit.history_) == fit.n_iter_ + 1
    params = np.full(4, .25), np.asarray(.25), fit.components_, np.ones((120, 4))
    here = e_step(TopicModel(5, tol), params, X)
    close(here.log_likelihood, fit.lower_bound_)
    there = e_step(TopicModel(5, tol), (*params[:2], .25 + here.statistics["topic_words"], params[3]), X)
    assert there.log_likelihood < fit.lower_bound_ - 1e-6
    again = quiet(n_components=4, max_iter=fit.n_iter_, max_doc_update_iter=5, mean_change_tol=tol).fit(in_parts(X, 50))
    np.testing.assert_array_equal(again.components_, fit.components_)
    assert not again.converged_


def test_a_bound_that_falls_in_memory_is_an_error(monkeypatch):
    "There it cannot happen, and is not taken for the end."
    X, _ = written(n=30)
    monkeypatch.setattr(TopicModel, "_topics", lambda self, sums, n, alpha, eta: (alpha, eta, np.ones((4, 40)) + np.eye(4, 40)))
    with pytest.raises(emlit.em.LikelihoodFell):
        quiet(n_components=4, max_iter=9).fit(X)


@pytest.mark.parametrize("far", [False, True])
def test_perplexity_ends_a_fit(far):
    "Between evaluations `every` passes apart, the first of which is after `every` passes; and the tolerance in any pass."
    X, _ = written()
    data, more = (in_parts(X, 50) if far else X), {"n_components": 4, "max_iter": 150}
    whole = quiet(**more | {"max_iter": 24}).fit(data)
    values = np.exp(-whole.history_["bound"] / X.sum())
    for every, perp_tol in ((1, .02), (3, .02), (3, 1e3), (5, .05)):
        changes = abs(np.diff(values[every::every]))
        expected = every * (2 + int(np.argmax(changes < perp_tol)))
        fit = quiet(**more, evaluate_every=every, perp_tol=perp_tol).fit(data)
        assert fit.n_iter_ == expected and fit.converged_
        close(fit.history_["bound"], whole.history_["bound"][:expected + 1], rtol=1e-12)
    gains = np.diff(whole.history_["bound"]) / X.sum()
    fit = quiet(**more, evaluate_every=7, perp_tol=0, ).set_params(tol=5e-3).fit(data)
    assert fit.n_iter_ == 1 + int(np.argmax(gains <= 5e-3))
    first = quiet(**more, evaluate_every=-1, perp_tol=1e3).set_params(max_iter=4).fit(data)
    assert first.n_iter_ == 4 and not first.converged_


def test_functions_and_names():
    "Only `fit` takes a function, and forgets the names of the columns of the last fit."
    pd = pytest.importorskip("pandas")
    X, _ = written(n=30)
    fit = quiet(n_components=2, max_iter=1).fit(pd.DataFrame(X.toarray(), columns=[f"word {j}" for j in range(40)]))
    for ask in (fit.transform, fit.score, fit.perplexity, fit.score_samples, fit.partial_fit, fit.fit_transform):
        with pytest.raises(TypeError, match="X is a function, and numbers in memory are needed here"):
            ask(in_parts(X, 10))
    assert fit.feature_names_in_[3] == "word 3" and not hasattr(fit.fit(in_parts(X, 10)), "feature_names_in_")


def test_blocks_on_a_cluster():
    dask = pytest.importorskip("dask")
    from emlit.distributed import partitions
    X, _ = written(n=400, length=30)
    with dask.config.set(scheduler="synchronous"):
        far = quiet(n_components=4, max_iter=3).fit(partitions([dask.delayed(X[a:b]) for a, b in ((0, 10), (10, 10), (10, 400))]))
    near = quiet(n_components=4, max_iter=3).fit(in_parts(X, 100))
    close(far.components_, near.components_)
    close(far.history_["bound"], near.history_["bound"])


# ---- odd input -----------------------------------------------------------------------------------


def test_empty_documents_have_the_prior_and_change_nothing():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=2).fit(X)
    padded = csr_array(np.vstack([X.toarray(), np.zeros((1, 40))]))
    again = quiet(n_components=4, max_iter=2).fit(padded)
    assert again.history_["bound"][-1] < 0 and np.isfinite(again.components_).all()
    sums = [DocumentModel(9).expectation((np.full(4, .25), expected_log(fit.components_), np.ones((Y.shape[0], 4))))(Y) for Y in (X, padded)]
    close(sums[1].statistics["topic_words"], sums[0].statistics["topic_words"])
    close(sums[1].log_likelihood, sums[0].log_likelihood)
    close(fit.transform(padded)[-1], np.full(4, .25))
    close(fit.score_samples(padded)[-1], 0, atol=1e-12)
    close(fit.transform(np.zeros((2, 40))), np.full((2, 4), .25))


def test_a_word_that_never_occurs_keeps_its_prior():
    X, _ = written()
    X = X.toarray()
    X[:, 7] = 0
    fit = quiet(n_components=4, max_iter=10, topic_word_prior=1e-3).fit(X)
    close(fit.components_[:, 7], np.full(4, 1e-3))
    new = X[:1].copy()
    new[0, 7] = 3
    shares = fit.transform(new)
    assert np.isfinite(shares).all() and np.isfinite(fit.perplexity(new)) and fit.perplexity(new) > fit.perplexity(X[:1])
    close(fit.transform(new, normalize=False).sum(), 1 + new.sum())


def test_more_topics_than_words():
    X = np.random.default_rng(0).poisson(2, (30, 3))
    fit = quiet(n_components=8, max_iter=20).fit(X)
    assert fit.components_.shape == (8, 3) and (np.diff(fit.history_["bound"]) > -1e-9).all()
    close(fit.transform(X).sum(axis=1), np.ones(30))


def test_fractions_are_weights():
    "Twice half a word is a word, and the topics get what was put in."
    X, _ = written()
    half = csr_array((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    close(quiet(n_components=4, max_iter=5).fit(half).components_, quiet(n_components=4, max_iter=5).fit(X).components_)
    fit = quiet(n_components=4, max_iter=5).fit(X * .3)
    close(fit.components_.sum(), .3 * X.sum() + 4 * 40 * .25)


@pytest.mark.parametrize("bad, words", [(lambda X: -X, "Negative values in data"), (lambda X: X * np.nan, "NaN"), (lambda X: X * np.inf, "NaN|infinity"),
                                        (lambda X: X * 0, "X holds no words"), (lambda X: X[0], "Expected 2D array")])
def test_bad_input_is_refused(bad, words):
    X = written(n=20)[0].toarray() + 1
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
        quiet(n_components=2).fit(bad(X))


def test_wrong_columns_and_settings_are_refused():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=2).fit(X)
    for ask in (fit.transform, fit.score, fit.perplexity, fit.score_samples, fit.partial_fit):
        with pytest.raises(ValueError, match="expecting 40 features"):
            ask(X[:, :39])
    for settings in ({"n_components": 0}, {"tol": -1}, {"learning_method": "both"}, {"learn_doc_topic_prior": "yes"}, {"topic_word_prior": 1e13}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            quiet(**settings).fit(X)
    with pytest.raises(ValueError, match="not fitted"):
        quiet().transform(X)


# ---- manners -------------------------------------------------------------------------------------


def test_top_words():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=10).fit(X)
    assert [row[0] for row in fit.top_words(3)] == fit.components_.argmax(axis=1).tolist() and len(fit.top_words(3)[0]) == 3
    names = [f"word {j}" for j in range(40)]
    assert fit.top_words(1, names)[2] == [f"word {fit.components_[2].argmax()}"]
    with pytest.raises(ValueError, match="pass one for each of the 40 words"):
        fit.top_words(1, names[1:])
    with pytest.raises(ValueError, match="n_words"):
        fit.top_words(-1)


def test_clone_pickle_and_pipeline():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=3).fit(X)
    np.testing.assert_array_equal(clone(fit).fit(X).components_, fit.components_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).transform(X), fit.transform(X))
    texts = ["cats and dogs", "dogs and cats", "stars and planets", "planets and stars"] * 4
    pipeline = make_pipeline(CountVectorizer(stop_words="english"), quiet(n_components=2, max_iter=20)).fit(texts)
    labels = pipeline.transform(texts).argmax(axis=1)
    assert labels.tolist() == [labels[0], labels[0], 1 - labels[0], 1 - labels[0]] * 4
    close(quiet(n_components=4, max_iter=3).fit_transform(X), fit.transform(X))
    close(quiet(n_components=4, max_iter=3).fit_transform(X, normalize=False), fit.transform(X, normalize=False))


@pytest.mark.parametrize("method", ["batch", "online"])
def test_a_kept_fit_goes_on_where_it_was(method, tmp_path):
    "Through a file of chapter 19, the state of the random numbers included."
    X, _ = written()
    fit = quiet(n_components=4, max_iter=2, learning_method=method).fit(X)
    emlit.save(fit, tmp_path / "topics.npz")
    again = emlit.load(tmp_path / "topics.npz")
    np.testing.assert_array_equal(again.history_, fit.history_)
    np.testing.assert_array_equal(again.transform(X), fit.transform(X))
    np.testing.assert_array_equal(again.partial_fit(X).components_, fit.partial_fit(X).components_)


def test_partial_fit_in_any_order():
    X, _ = written()
    fit = quiet(n_components=4, max_iter=2).fit(X)
    before = fit.components_.copy()
    assert fit.partial_fit(X).n_batch_iter_ == 4 and (fit.components_ != before).any()
    np.testing.assert_array_equal(fit.fit(X).components_, before)                                 # `fit` begins anew
    stream = quiet(n_components=4)
    with pytest.raises(ValueError, match="Negative values"):
        stream.partial_fit(-X)
    stream.partial_fit(0 * X).partial_fit(X[:, :40])
    assert np.isfinite(stream.components_).all() and stream.n_batch_iter_ == 3


@pytest.mark.parametrize("scale", [1e-200, 1e12, 1e200])
def test_counts_of_any_size(scale):
    X, _ = written(n=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = quiet(n_components=4, max_iter=5).fit(X * scale)
        assert np.isfinite(fit.components_).all() and fit.perplexity(X * scale) > 1
        unseen = quiet(n_components=4, max_iter=5, topic_word_prior=1e-9).fit(np.hstack([X.toarray(), np.zeros((30, 1))]))
        assert unseen.perplexity(np.eye(41)[-1:]) == np.inf


def test_memory_is_of_the_order_of_corpus_and_topics():
    X, _ = written(n=1500, v=1500, k=10, length=60)
    corpus = X.data.nbytes + X.indices.nbytes
    fit = quiet(n_components=10, max_iter=2)
    fit.fit(X[:100])
    tracemalloc.start()
    fit.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * corpus + 20 * fit.components_.nbytes + 12 * 8 * 1500 * 10
