"""How long LatentDirichletAllocation, scikit-learn's and gensim's work until documents held out have the same bound, and what memory they take."""
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn.decomposition
from scipy.sparse import csr_array, csr_matrix, save_npz
from sklearn.utils.parallel import Parallel

import emlit.topics
from benchmarks.harness import wait_until_idle, watched
from emlit.em import e_step
from emlit.lda import expected_log
from emlit.topics import DocumentModel, _corpus

DOCUMENTS, HELD_OUT, WORDS, TOPICS, LENGTH = 20_000, 1_000, 10_000, 50, 100
PASSES, SECONDS = 10, 40    # scikit-learn makes so many passes; gensim at most so many, and no new one after so many seconds
GAP = 1e-3                  # nats a word: near enough to the target
JOBS = 2


def corpus(n, v, k, length, seed=0):
    """Counts of documents that LDA wrote, of a vocabulary in which few words are frequent. Shares of topics: Dirichlet(0.1).

    Topics are sparse, as those of people are. With ten times their concentrations there would be nothing to find: in documents so
    short even the topics that wrote them have a lower bound than the frequencies of the words alone."""
    rng = np.random.default_rng(seed)
    frequency = 1 / (np.arange(v) + 10.0)**0.8
    topics = rng.gamma(0.05 * v * frequency / frequency.sum(), size=(k, v)) + 1e-300
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
    return float(e_step(DocumentModel(updates=1000, tol=1e-4), params, _corpus(X)).log_likelihood / X.sum())


# ---- contenders: each yields (passes, seconds so far, q(topics)) ---------------------------------


def emlit_batch(X, k, seed=0):
    "`fit` from the beginning for 0, 1, 2, 4, ... passes after its start, and each time all that `fit` does is counted."
    for passes in (0, 1, 2, 4, 8, 16):
        model = emlit.topics.LatentDirichletAllocation(k, max_iter=passes, tol=0, n_jobs=JOBS, random_state=seed)
        started = time.perf_counter()
        model.fit(X)
        yield passes, time.perf_counter() - started, model.components_


def sklearn_batch(X, k, seed=0):
    "Its passes alone, in processes that are there already, without the look at the perplexity that ends its `fit`."
    model = sklearn.decomposition.LatentDirichletAllocation(k, n_jobs=JOBS, random_state=seed)
    X, seconds = csr_matrix(X), 0.0
    sklearn.decomposition.LatentDirichletAllocation(2, n_jobs=JOBS, max_iter=1).fit(X[:20])      # starts the processes
    with Parallel(n_jobs=JOBS) as parallel:
        for number in range(1, PASSES + 1):
            started = time.perf_counter()
            if number == 1:
                model._init_latent_vars(X.shape[1])
            model._em_step(X, total_samples=X.shape[0], batch_update=True, parallel=parallel)
            seconds += time.perf_counter() - started
            yield number, seconds, model.components_


def gensim(kind):
    "Passes of gensim's online algorithm with its own settings; the corpus in its own form is made before."
    def run(X, k, seed=0):
        import gensim.models
        documents = [list(zip(X.indices[a:b].tolist(), X.data[a:b].astype(int).tolist())) for a, b in zip(X.indptr, X.indptr[1:])]
        names, seconds, more = dict(enumerate(map(str, range(X.shape[1])))), 0.0, {"workers": JOBS} if kind == "LdaMulticore" else {}
        started = time.perf_counter()
        model = getattr(gensim.models, kind)(id2word=names, num_topics=k, random_state=seed, eval_every=None, **more)
        for number in range(1, PASSES + 1):
            model.update(documents)
            seconds += time.perf_counter() - started
            yield number, seconds, model.state.get_lambda().astype(float)
            if seconds > SECONDS:
                return
            started = time.perf_counter()
    return run


def contenders():
    "Those that are installed."
    found = {"scikit-learn": sklearn_batch, "emlit": emlit_batch}
    try:
        import gensim as _  # noqa: F401
    except ImportError:
        return found
    return found | {f"gensim {kind}": gensim(kind) for kind in ("LdaModel", "LdaMulticore")}


def curve(run, X, new, k):
    "Passes, seconds and bound per word held out, from the first pass to the last, and the share of a core that others took meanwhile."
    wait_until_idle()
    points, running = [], run(X, k)
    while (watch := watched(lambda: next(running, None)))[0] is not None:
        (passes, seconds, topic_words), others = watch
        points.append({"passes": passes, "seconds": seconds, "bound": held_out(topic_words, new), "others": others})
    return points


def first(points, target):
    "Seconds when the target was first reached, or None."
    return next((point["seconds"] for point in points if point["bound"] >= target), None)


def to_the_same_bound(n=DOCUMENTS, held=HELD_OUT, v=WORDS, k=TOPICS, length=LENGTH):
    """Seconds until the bound per word of documents held out comes within GAP of the best that scikit-learn's batch fit has in its
    default of 10 passes. None for who did not get there; `best` says how far each of them came."""
    X = corpus(n + held, v, k, length)
    X, new = X[:n], X[n:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curves = {name: curve(run, X, new, k) for name, run in contenders().items()}
    target = max(point["bound"] for point in curves["scikit-learn"]) - GAP
    return {"documents": n, "words": v, "topics": k, "entries": int(X.nnz), "tokens": float(X.sum()), "target": target, "curves": curves,
            "seconds": {name: first(points, target) for name, points in curves.items()},
            "best": {name: max(point["bound"] for point in points) for name, points in curves.items()}}


# ---- memory: each fit in a process of its own ----------------------------------------------------

CHILD = """
import sys, warnings
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
L(int(k), max_iter=1, random_state=0, **more).fit(X)
print(memory("VmHWM:") - before)
"""


def peak_memory(n=DOCUMENTS, v=WORDS, k=TOPICS, length=LENGTH):
    "MB beyond the corpus at the peak of `fit`, two threads for emlit and one process for scikit-learn; sizes of corpus and topics."
    X = corpus(n, v, k, length)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npz"
        save_npz(path, csr_matrix(X), compressed=False)
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
