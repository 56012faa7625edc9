"""Plant known bugs into a copy of the package, one at a time, and show which test notices each.

    python -m tools.mutants [NAME ...]      all mutants, or those whose names hold one of the words

The tree is not touched. A mutant that no test notices has SURVIVED; the exit status is then 1, unless the list
below says why no test can notice it.
"""
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("data", "likelihood", "latent", "bound", "em", "classics", "gmm", "families", "mixture")
LIMIT = 300  # seconds for the tests of one mutant, which may never come to an end


class Mutant(NamedTuple):
    name: str
    module: str
    old: str  # stands in emlit/<module>.py exactly once
    new: str
    equivalent: str = ""  # why no test can tell it from the original, where that is so


MUTANTS = [
    # data
    Mutant("columns swapped", "data", "[float(v) for v in line.split(\",\")]", "[float(v) for v in line.split(\",\")[::-1]]"),
    Mutant("first row lost", "data", "for line in lines[1:]", "for line in lines[2:]"),
    Mutant("two counts exchanged", "data", "X=[85, 196, 341]", "X=[85, 341, 196]"),
    Mutant("data that can be written to", "data", "X.setflags(write=False)", "X.setflags(write=True)"),
    Mutant("variance for standard deviation", "data", "np.sqrt(values.clip(0))", "values.clip(0)"),
    Mutant("spread of another component", "data", "roots[labels], noise", "roots[labels[::-1]], noise"),
    Mutant("label off by one", "data", "biases[labels]", "biases[labels - 1]"),
    # likelihood
    Mutant("all tosses counted as heads", "likelihood", "xlogy(heads, theta)", "xlogy(tosses, theta)"),
    Mutant("sign inside log(1 - theta)", "likelihood", "xlog1py(tosses - heads, -theta)", "xlog1py(tosses - heads, theta)"),
    Mutant("one-sided for central difference", "likelihood", "(8 * (c - b) - (d - a)) / (12 * h)", "(d - b) / (3 * h)"),
    Mutant("factor 2 in mixed derivatives", "likelihood", "(plus - minus) / 4", "(plus - minus) / 2"),
    Mutant("mixed derivatives on one side only", "likelihood", "H[i, j] = H[j, i] =", "H[i, j] ="),
    # latent
    Mutant("variance for precision", "latent", "** 2 / variances", "** 2 * variances"),
    Mutant("missing log-determinant", "latent", "np.log(2 * np.pi * variances)", "np.log(2 * np.pi)"),
    Mutant("missing mixture weights", "latent", "np.log(weights) - 0.5", "0 * np.log(weights) - 0.5"),
    Mutant("sum over the wrong axis", "latent", "(log_joint), axis=1).sum()", "(log_joint), axis=0).sum()"),
    Mutant("log of a sum of exp, which underflows", "latent", "logsumexp(_check_log_joint(log_joint), axis=1)",
           "np.log(np.exp(_check_log_joint(log_joint)).sum(axis=1))"),
    Mutant("best assignment for the sum", "latent", "return logsumexp([", "return max(["),
    Mutant("sum for log-sum-exp", "latent", "logsumexp(_check_log_joint(log_joint), axis=1)", "_check_log_joint(log_joint).sum(axis=1)"),
    # bound
    Mutant("sign of the entropy", "bound", "return entr(", "return -entr("),
    Mutant("divergence the other way round", "bound", "rel_entr(q, p)", "rel_entr(p, q)"),
    Mutant("posterior that underflows", "bound", "np.exp(log_joint - largest)", "np.exp(log_joint)"),
    Mutant("posterior normalised over the points", "bound", "joint.sum(axis=1, keepdims=True)", "joint.sum(axis=0, keepdims=True)"),
    Mutant("swapped responsibilities", "bound", "return joint / joint.sum(", "return joint[:, ::-1] / joint.sum("),
    Mutant("bound without the entropy", "bound", " + entropy(q)", ""),
    # em
    Mutant("a decreasing step accepted", "em", "if after < before - 1e-10 *", "if after < before - 1e10 *"),
    Mutant("rounding taken for a fall", "em", "before - 1e-10 * (abs(after) + expected.weight)", "before"),
    Mutant("NaN accepted", "em", "if not np.isfinite(after):", "if np.isinf(after):"),
    Mutant("last block dropped", "em", "range(0, len(X), size)", "range(0, len(X) - size + 1, size)"),
    Mutant("only the first block used", "em", "part if total is None else total + part", "part if total is None else total"),
    Mutant("weights of blocks not added", "em", "self.weight + other.weight", "self.weight"),
    Mutant("mapper ignored", "em", "for part in mapper(", "for part in map("),
    Mutant("mapper not handed on", "em", "expected = e_step(model, params, data, mapper)", "expected = e_step(model, params, data)"),
    Mutant("tolerance on the wrong side", "em", "history[-1] - history[-2] <= tol", "history[-1] - history[-2] >= tol"),
    Mutant("iterations off by one", "em", "step.iteration, converged)", "step.iteration + 1, converged)"),
    Mutant("one round too few", "em", "range(max_iter + 1)", "range(max_iter)"),
    Mutant("parameters of the round after", "em", "yield Step(iteration, params,", "yield Step(iteration, model.maximization(expected, params),"),
    Mutant("callbacks not called", "em", "            callback(step)", "            pass"),
    # classics
    Mutant("wrong split fraction in linkage", "classics", "np.array([2, pi]) / (2 + pi)", "np.array([1, pi]) / (1 + pi)"),
    Mutant("split the wrong way round", "classics", "np.array([2, pi]) / (2 + pi)", "np.array([pi, 2]) / (2 + pi)"),
    Mutant("hidden cells left out of the ratio", "classics", "_ratio(x2 + y4, x2", "_ratio(y4, x2"),
    Mutant("coins exchanged", "classics", "r = posterior(log_joint).T", "r = posterior(log_joint).T[::-1]"),
    Mutant("hard assignment for responsibilities", "classics", "r = posterior(log_joint).T", "r = posterior(log_joint).T.round()"),
    Mutant("log-likelihood without the coins' prior", "classics", "np.log(0.5) + xlogy(", "xlogy("),
    Mutant("factor 2 missing in moth alleles", "classics", "== 2, 1, 2)", "== 2, 1, 1)"),
    Mutant("dominance the wrong way round", "classics", "np.array([0, 0, 0, 1, 1, 2])", "np.array([0, 0, 0, 1, 2, 2])"),
    Mutant("genotypes not given the look", "classics", "n[self.looks] * fraction", "n[self.looks] * genotype"),
    # gmm
    Mutant("missing log-determinant", "gmm", " - np.log(np.diag(L)).sum()", ""),
    Mutant("log-determinant with the wrong sign", "gmm", " - np.log(np.diag(L)).sum()", " + np.log(np.diag(L)).sum()"),
    Mutant("log 2 pi once for all columns", "gmm", "0.5 * X.shape[1] * np.log(2 * np.pi)", "0.5 * np.log(2 * np.pi)"),
    Mutant("covariance for its factor", "gmm", "return np.linalg.cholesky(covariance)", "return covariance"),
    Mutant("standard deviations for variances", "gmm", "covariances.reshape(k, -1, 1) * np.eye(d)",
           "covariances.reshape(k, -1, 1) ** 2 * np.eye(d)"),
    Mutant("missing weights in the E-step", "gmm", "return np.log(params.weights) + log_gaussian", "return log_gaussian"),
    Mutant("swapped responsibilities", "gmm", "r, D = posterior(table).T,", "r, D = posterior(table).T[::-1],"),
    Mutant("hard assignment for responsibilities", "gmm", "r, D = posterior(table).T,", "r, D = posterior(table).T.round(),"),
    Mutant("missing weights in the M-step", "gmm", "GMMParams(counts / counts.sum(), ", "GMMParams(params.weights, "),
    Mutant("n - 1 for n", "gmm", '{"full": counts[:, None, None], "tied"', '{"full": counts[:, None, None] - 1, "tied"'),
    Mutant("n - k for n when tied", "gmm", '"tied": counts.sum()', '"tied": counts.sum() - len(counts)'),
    Mutant("tied covariance not pooled", "gmm", "else S.sum(axis=0)", "else len(S) * S[0]"),
    Mutant("sum over the columns for their mean", "gmm", "variances.mean(axis=1)", "variances.sum(axis=1)"),
    Mutant("responsibilities squared in the scatter", "gmm", "np.sqrt(weights)[:, :, None] * D", "weights[:, :, None] * D"),
    Mutant("covariances around the old means", "gmm", " - _scatter(counts[:, None], delta[:, None], kind)", ""),
    Mutant("means moved the wrong way", "gmm", "params.means + delta", "params.means - delta"),
    Mutant("empty component accepted", "gmm", "(counts > 1e-8).all()", "(counts > -1).all()"),
    Mutant("collapse accepted", "gmm", "(thinnest > 1e-12).all()", "(thinnest > -1).all()"),
    Mutant("repeated points counted as distinct", "gmm", "len(np.unique(X, axis=0))", "len(X)"),
    Mutant("worst start kept", "gmm", "best = max(fits", "best = min(fits"),
    Mutant("all starts alike", "gmm", "covariance_type, rng) for rng in", "covariance_type, np.random.default_rng(0)) for rng in"),
    Mutant("tied matrix counted for each component", "gmm", '"tied": per_matrix,', '"tied": k * per_matrix,'),
    Mutant("penalty with the wrong sign", "gmm", "+ n_parameters(params) * np.log", "- n_parameters(params) * np.log"),
    # families
    Mutant("products counted twice off the diagonal", "families", "np.where(i == j, -0.5, -1)", "np.where(i == j, -0.5, -2)"),
    Mutant("products halved off the diagonal", "families", "np.where(i == j, -0.5, -1)", "-0.5"),
    Mutant("log-determinant doubled", "families", "return -np.log(L.diagonal(axis1=1, axis2=2)).sum(axis=1)",
           "return -2 * np.log(L.diagonal(axis1=1, axis2=2)).sum(axis=1)"),
    Mutant("normaliser of the Bernoulli left out", "families", "_log(1 - p).sum(axis=1), ", "0 * p[:, 0], "),
    Mutant("log of the factorial with the wrong sign", "families", "np.negative(gammaln(X + 1)", "np.positive(gammaln(X + 1)"),
    Mutant("mean log rate for the normaliser", "families", "-rates.sum(axis=1)", "-rates.mean(axis=1)"),
    Mutant("last level left out", "families", "np.arange(self.levels)[:, None], out=", "np.arange(1, 1 + self.levels)[:, None], out="),
    Mutant("variance without the mean's part", "families", "return means, second - means**2", "return means, second"),
    Mutant("spherical variance summed over columns", "families", " / (m.shape[1] - 1)", ""),
    Mutant("tied covariance without shares", "families", "shares, (means, second) = moments[:, 0] / moments[:, 0].sum()",
           "shares, (means, second) = np.full(len(moments), 1 / len(moments))"),
    Mutant("never whitened", "families", "< _MOST_LOST", "< np.inf"),
    Mutant("always whitened", "families", "< _MOST_LOST", "< 0"),
    Mutant("loss at the mean alone", "families", "np.sqrt(means**2 + np.diagonal(covariances, axis1=-2, axis2=-1))", "abs(means)"),
    Mutant("no centring", "families", "    centre = weights @ theta[0]\n", "    centre = 0 * theta[0][0]\n"),
    Mutant("centre not added back", "families", "new[0] + weights @ theta[0], new[1]", "new[0], new[1]"),
    Mutant("whitened shift with the wrong sign", "families", "return means + (L @ shift", "return means - (L @ shift"),
    Mutant("whitened moments not carried back", "families", 'if name == "whitened":', 'if name == "white":'),
    Mutant("triangle cut short", "families", "A[i:i + 16, :i + 16], D[:i + 16]", "A[i:i + 16, :i + 1], D[:i + 1]"),
    Mutant("sample weights left out of the sums", "families", "L *= np.divide(w, z, out=z)", "L *= np.divide(w > 0, z, out=z)"),
    Mutant("sample weights left out of the log-likelihood", "families", "log_likelihood = w @ (np.log(z) + top)",
           "log_likelihood = (w > 0) @ (np.log(z) + top)"),
    Mutant("sample weights not counted", "families", "if weight is None else weight.sum()", "if weight is None else len(rows)"),
    Mutant("rows that fill up counted", "families", "w = np.zeros(", "w = np.ones("),
    Mutant("rows that fill up out of range", "families", "    X[:, len(rows):] = X[:, :1]\n", "    X[:, len(rows):] = 0\n"),
    Mutant("underflow not noticed", "families", "if not (z.min() > 1e-280 and z.max() < 1e280):", "if False:"),
    Mutant("maximum not added back", "families", "(np.log(z) + top)", "np.log(z)"),
    Mutant("level not added back", "families", " + self.level * w.sum()", ""),
    Mutant("common part left out", "families", "            log_likelihood += self.shared @ common\n", ""),
    Mutant("common part credited to each in full", "families", "np.tile(common / k, (k, 1))", "np.tile(common, (k, 1))"),
    Mutant("counts may be fractions", "families", "(X >= 0) & (X == np.floor(X)) & (X < np.inf)", "(X >= 0) & (X < np.inf)"),
    Mutant("counts may be negative", "families", "(X >= 0) & (X == np.floor(X)) & (X < np.inf)", "(X == np.floor(X)) & (X < np.inf)"),
    Mutant("codes beyond the levels accepted", "families", "(X >= 0) & (X < self.levels)", "(X >= 0) & (X <= self.levels)"),
    Mutant("negative sample weights accepted", "families", "((weight >= 0) & (weight < np.inf))", "(weight < np.inf)"),
    Mutant("NaN not looked for", "families", "if not np.isfinite(log_likelihood):", "if False:"),
    Mutant("empty component accepted", "families", "    _check_counts(", "    len("),
    Mutant("one buffer for all threads", "families", "threading.local()", "type('_Shared', (), {})()"),
    Mutant("last part of the rows dropped", "families", "in range(0, len(rows), size)", "in range(0, max(1, len(rows) - size), size)"),
    Mutant("products cut at the wrong place", "families", "range(0, len(B), width)", "range(0, len(B) - width + 1, width)"),
    # mixture
    Mutant("floor left out", "mixture", "amount = reg + _noise(", "amount = 0 * reg + _noise("),
    Mutant("no credit for the floor", "mixture", "new, credit + _price(new, old, kind, amount)", "new, credit"),
    Mutant("price with the wrong sign", "mixture", "* (P[0] - P[1])).sum()", "* (P[1] - P[0])).sum()"),
    Mutant("price twice", "mixture", "return 0.5 * (new[0][:, None]", "return 1.0 * (new[0][:, None]"),
    Mutant("credit left in the history", "mixture", "step.log_likelihood - credit * step.expected.weight", "step.log_likelihood"),
    Mutant("rounding taken for a variance", "mixture", "np.where(low.any(axis=1, keepdims=True), 1e-13 * scale, 0)", "np.zeros(shape)"),
    Mutant("singular covariance accepted", "mixture", "| ~(thinnest > 1e-13)", "| ~(thinnest > -1)"),
    Mutant("coinciding rows accepted", "mixture", "flat = ~(variances >", "flat = ~(variances > -1 + 0 *"),
    Mutant("another component blamed", "mixture", "k, same = int(np.argmax(bad))", "k, same = int(np.argmin(bad))"),
    Mutant("floor not reported", "mixture", "< 2 * self.reg_covar)", "< 0 * self.reg_covar)"),
    Mutant("tolerance in nats of the whole", "mixture", "tol=settings.tol * weight", "tol=settings.tol"),
    Mutant("worst start kept", "mixture", "= max(fits, key", "= min(fits, key"),
    Mutant("all starts alike", "mixture", "self._start(X, weight, rng)", "self._start(X, weight, check_random_state(0))"),
    Mutant("warm start forgotten", "mixture", "resume, runs = self.warm_start and", "resume, runs = not self.warm_start and"),
    Mutant("weights lost at the start", "mixture", "p=chances), row[:k]] = 1\n    return R if weight is None else R * weight[:, None]", "p=chances), row[:k]] = 1\n    return R"),
    Mutant("rows of weight 0 kept", "mixture", "X[weight > 0], weight[weight > 0]", "X[weight > -1], weight[weight > -1]"),
    Mutant("weights lost between blocks", "mixture", "(X[a:a + size], weight[a:a + size])", "(X[a:a + size], weight[:len(X[a:a + size])])"),
    Mutant("last rows dropped", "mixture", "for a in range(0, n, size):", "for a in range(0, n - n % size, size):"),
    Mutant("precision factor transposed", "mixture", "lower=True).T for L in lower", "lower=True) for L in lower"),
    Mutant("entropy with the wrong sign", "mixture", "+ uncertainty * 2 * entr(", "- uncertainty * 2 * entr("),
    Mutant("criterion ignores the weights", "mixture", "weight @ terms", "terms.sum()"),
    Mutant("tied matrix counted for each component", "mixture", '"tied": matrix,', '"tied": k * matrix,'),
    Mutant("start covariances around the wrong mean", "mixture", "X[part] - means[:, None], R", "X[part] - 0 * means[:, None] - centre, R"),
    Mutant("precisions taken for covariances", "mixture", "return np.linalg.inv(precisions)", "return precisions"),
    Mutant("start of a mixture not smoothed", "mixture", ".9 * R + .1 * each", "1.0 * R + .0 * each"),
    Mutant("levels counted as free", "mixture", "(theta[..., 0].size if theta.ndim == 3 else 0)", "0"),
]


def planted(mutant, text):
    "The text of the mutant's module with the bug in it."
    if text.count(mutant.old) != 1:
        found = text.count(mutant.old)
        raise ValueError(f"{mutant.name}: {mutant.old!r} stands {found} times in emlit/{mutant.module}.py, not once")
    return text.replace(mutant.old, mutant.new)


def copy_into(folder):
    "Copy the package and what its tests need."
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("emlit", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "settings.ini", folder)


def run_tests(folder, first="data"):
    "Run the tests of the modules on the package in `folder`, those of one module first. Returns (status, output)."
    files = [f"tests/test_{name}.py" for name in sorted(MODULES, key=lambda name: name != first)]
    one_thread = {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
    env = {**os.environ, **one_thread, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return 1, f"FAILED no end within {LIMIT} s"
    return done.returncode, done.stdout + done.stderr


def killer(status, output):
    "The first failing test, or an empty string where all passed. Anything but a test's verdict is an error."
    if status == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - |$)", output, re.MULTILINE)
    if status not in (1, 2) or not failed:
        raise RuntimeError(f"pytest could not run (status {status}):\n{output[-3000:]}")
    return failed[1]


def check_original():
    "The tests pass on a copy without a bug, and it is the copy that they test."
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_into(folder)
        (folder / "tests" / "test_data.py").open("a").write(
            f"\n\ndef test_this_is_the_copy():\n    import emlit\n    assert emlit.__file__.startswith({str(folder)!r})\n")
        status, output = run_tests(folder)
        if status:
            sys.exit(f"The tests fail without any mutant:\n{output[-3000:]}")


def try_mutant(mutant):
    "Plant one bug into a copy and run the tests there. Returns the first failing test, or an empty string."
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_into(folder)
        file = folder / "emlit" / f"{mutant.module}.py"
        file.write_text(planted(mutant, file.read_text(encoding="utf-8")), encoding="utf-8")
        return killer(*run_tests(folder, mutant.module))


def describe(mutant, test):
    fate = f"killed by {test}" if test else f"cannot be killed: {mutant.equivalent}" if mutant.equivalent else "SURVIVED"
    return f"  {mutant.module:<10} {mutant.name:<48} {fate}"


def main(words):
    started = time.perf_counter()
    chosen = [m for m in MUTANTS if not words or any(word in f"{m.module} {m.name}" for word in words)]
    print("The tests on the package as it is:", end=" ", flush=True)
    check_original()
    print(f"pass. Now {len(chosen)} mutants, two at a time:", flush=True)
    survived = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for mutant, test in zip(chosen, pool.map(try_mutant, chosen)):
            print(describe(mutant, test), flush=True)
            survived += [mutant] * (not test)
    unexplained = [m.name for m in survived if not m.equivalent]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mutants killed, in {time.perf_counter() - started:.0f} s.")
    if unexplained:
        sys.exit(f"Survived: {', '.join(unexplained)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
