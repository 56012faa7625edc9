"""LatentDirichletAllocation beside scikit-learn's and gensim's: time to the same bound on documents held out, of a pass, and memory."""
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn.decomposition
from scipy.sparse import csr_array, csr_matrix, load_npz, save_npz
from sklearn.utils.parallel import Parallel

import emlit.topics
from benchmarks.harness import wait_until_idle, watched
from emlit.em import e_step
from emlit.lda import expected_log
from emlit.topics import DocumentModel, _corpus

DOCUMENTS, HELD_OUT, WORDS, TOPICS, LENGTH = 20_000, 1_000, 10_000, 50, 100
PASSES, GAP = 20, 1e-3      # of each contender, at most; nats a word
JOBS = 2


def corpus(n, v, k, length, seed=0):
    "Counts of documents that LDA wrote, of a vocabulary in which few words are frequent. Shares of topics: Dirichlet(0.1)."
    rng = np.random.default_rng(seed)
    frequency = 1 / (np.arange(v) + 10.0)**0.8
    topics = rng.gamma(0.5 * v * frequency / frequency.sum(), size=(k, v)) + 1e-300
    shares = rng.dirichlet(np.full(k, 0.1), size=n).cumsum(axis=1)
    document = np.repeat(np.arange(n), rng.poisson(length, size=n))
    topic = (shares[document] < rng.random(len(document))[:, None]).sum(axis=1).clip(max=k - 1)
    word = np.empty(len(document), int)
    for j, row in enumerate(topics):
        chosen = topic == j
        word[chosen] = rng.choice(v, size=chosen.sum(), p=row / row.sum())
    X = csr_array((np.ones(len(word)), (document, word)), shape=(n, v))
    X.sum_duplicates()
    return X


def held_out(topic_words, X):
    "Bound per word of new documents under q(topics), by one and the same function for all: alpha = 1 / k, documents settled."
    k = len(topic_words)
    params = np.full(k, 1 / k), expected_log(topic_words), np.ones((X.shape[0], k))
    return e_step(DocumentModel(updates=1000, tol=1e-5), params, _corpus(X)).log_likelihood / X.sum()


# ---- contenders: each yields (seconds so far, q(topics)) after each pass --------------------------


def emlit_batch(X, k, jobs=JOBS, seed=0, **settings):
    "A fit anew for each number of passes, all that `fit` does included: more than is counted for the others. With 0 it is its start."
    for passes in range(PASSES + 1):
        model = emlit.topics.LatentDirichletAllocation(k, max_iter=passes, tol=0, n_jobs=jobs, random_state=seed, **settings)
        started = time.perf_counter()
        model.fit(X)
        yield time.perf_counter() - started, model.components_


def emlit_online(X, k, jobs=JOBS, seed=0):
    return partial_fits(emlit.topics.LatentDirichletAllocation(k, total_samples=X.shape[0], batch_size=1000, n_jobs=jobs, random_state=seed), X)


def sklearn_online(X, k, jobs=1, seed=0):
    return partial_fits(sklearn.decomposition.LatentDirichletAllocation(k, total_samples=X.shape[0], batch_size=1000, n_jobs=jobs, random_state=seed), X)


def partial_fits(model, X):
    seconds = 0.0
    for _ in range(PASSES):
        started = time.perf_counter()
        model.partial_fit(X)
        seconds += time.perf_counter() - started
        yield seconds, model.components_


def sklearn_batch(X, k, jobs=JOBS, seed=0, **settings):
    "Its passes alone, without the look at the perplexity that ends its `fit`."
    model = sklearn.decomposition.LatentDirichletAllocation(k, n_jobs=jobs, random_state=seed, **settings)
    X, seconds = csr_matrix(X), 0.0
    with Parallel(n_jobs=jobs) as parallel:
        for number in range(PASSES):
            started = time.perf_counter()
            if not number:
                model._init_latent_vars(X.shape[1])
            model._em_step(X, total_samples=X.shape[0], batch_update=True, parallel=parallel)
            seconds += time.perf_counter() - started
            yield seconds, model.components_


def gensim(kind):
    "Passes of gensim's online algorithm with its own settings; the corpus in its own form is made before."
    def run(X, k, seed=0):
        import gensim.models
        documents = [list(zip(X.indices[a:b].tolist(), X.data[a:b].astype(int).tolist())) for a, b in zip(X.indptr, X.indptr[1:])]
        names, seconds, more = dict(enumerate(map(str, range(X.shape[1])))), 0.0, {"workers": JOBS} if kind == "LdaMulticore" else {}
        started = time.perf_counter()
        model = getattr(gensim.models, kind)(id2word=names, num_topics=k, random_state=seed, eval_every=None, **more)
        for _ in range(PASSES):
            model.update(documents)
            seconds += time.perf_counter() - started
            yield seconds, model.state.get_lambda().astype(float)
            started = time.perf_counter()
    return run


CONTENDERS = {
    "emlit": emlit_batch, "emlit, one thread": lambda X, k: emlit_batch(X, k, jobs=1), "emlit, online": emlit_online,
    "scikit-learn": sklearn_batch, "scikit-learn, 10 updates": lambda X, k: sklearn_batch(X, k, max_doc_update_iter=10),
    "scikit-learn, online": sklearn_online, "gensim LdaModel": gensim("LdaModel"), "gensim LdaMulticore": gensim("LdaMulticore")}


def available():
    "The contenders that are installed."
    try:
        import gensim as found
    except ImportError:
        found = None
    return {name: run for name, run in CONTENDERS.items() if found or not name.startswith("gensim")}


def curve(run, X, new, k):
    "Seconds and bound per word held out after each pass, and the share of a core that others took meanwhile."
    wait_until_idle()
    points, started = [], run(X, k)
    while True:
        point, others = watched(lambda: next(started, None))
        if point is None:
            return points
        points.append({"seconds": point[0], "bound": float(held_out(point[1], new)), "others": others})


def first(points, target):
    "Seconds when the target was first reached, or None."
    return next((point["seconds"] for point in points if point["bound"] >= target), None)


def to_the_same_bound(n=DOCUMENTS, held=HELD_OUT, v=WORDS, k=TOPICS, length=LENGTH):
    """Seconds to two targets: what scikit-learn's batch fit has after its default of 10 passes, and the best that each contender but emlit
    reaches. Ratios are theirs over emlit's."""
    X = corpus(n + held, v, k, length)
    X, new = X[:n], X[n:]
    curves = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, run in available().items():
            curves[name] = curve(run, X, new, k)
            print(name, [(round(p["seconds"], 2), round(p["bound"], 4)) for p in curves[name][:3] + curves[name][3::6]], flush=True)
    reference = curves["scikit-learn"]
    ten = reference[min(9, len(reference) - 1)]["bound"] - GAP
    best = {name: max(p["bound"] for p in points) - GAP for name, points in curves.items() if not name.startswith("emlit")}
    return {"documents": n, "words": v, "topics": k, "entries": int(X.nnz), "tokens": float(X.sum()), "curves": curves, "target": ten,
            "seconds": {name: first(points, ten) for name, points in curves.items()},
            "to_their_best": {name: {"target": target, "theirs": first(curves[name], target), "emlit": first(curves["emlit"], target)}
                              for name, target in best.items()},
            "pass": {name: float(np.median(np.diff([p["seconds"] for p in points]))) for name, points in curves.items() if len(points) > 1}}


# ---- memory: each fit in a process of its own ----------------------------------------------------

CHILD = """
import sys, warnings, numpy as np
from pathlib import Path
from scipy.sparse import load_npz
warnings.simplefilter("ignore")
def memory(name):
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)).split()[1]) / 1024
library, file, k = sys.argv[1:]
if library == "emlit":
    from emlit.topics import LatentDirichletAllocation as L
    more = {"n_jobs": 2}
else:
    from sklearn.decomposition import LatentDirichletAllocation as L
    more = {}
X = load_npz(file)
L(2, max_iter=1, **more).fit(X[:20])                                         # what every fit loads
before = memory("VmRSS:")
Path("/proc/self/clear_refs").write_text("5")
L(int(k), max_iter=2, random_state=0, **more).fit(X)
print(memory("VmHWM:") - before)
"""


def peak_memory(n=DOCUMENTS, v=WORDS, k=TOPICS, length=LENGTH):
    "MB beyond the corpus at the peak of `fit`, two threads for emlit and one process for scikit-learn; sizes of corpus and topics."
    X = corpus(n, v, k, length)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npz"
        save_npz(path, csr_matrix(X), compressed=False)
        assert load_npz(path).nnz == X.nnz
        def once(library):
            return float(subprocess.run([sys.executable, "-c", CHILD, library, path, str(k)], capture_output=True, text=True, check=True).stdout)
        return {"documents": n, "words": v, "topics": k, "corpus": (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20,
                "components": 8 * k * v / 2**20, "gamma": 8 * k * n / 2**20, "MB": {library: once(library) for library in ("emlit", "scikit-learn")}}


def show(row):
    print(json.dumps({name: value for name, value in row.items() if name != "curves"}), flush=True)
    return row


def run():
    "All tables of this module."
    return {"to_the_same_bound": show(to_the_same_bound()), "memory": show(peak_memory())}
