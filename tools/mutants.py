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
MODULES = ("data", "likelihood", "closed_forms", "linear", "logistic", "uncertainty", "regression", "latent", "bound", "em", "classics",
           "gmm", "families", "mixture", "gaussian", "choosing", "keeping")
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
    # closed_forms
    Mutant("features without the leading one", "closed_forms", "np.ones((len(X), 1)), *T", "0 * np.ones((len(X), 1)), *T"),
    Mutant("log of the factorial with the wrong sign", "closed_forms", "-gammaln(X + 1)", "gammaln(X + 1)"),
    Mutant("codes counted from 1", "closed_forms", "== np.arange(levels))", "== np.arange(1, 1 + levels))"),
    Mutant("pairs in another order", "closed_forms", "return i, (i + turn) % d", "return i, (i + d - turn) % d"),
    Mutant("fractions taken for counts", "closed_forms", "(X >= 0) & (X == np.floor(X)), \"counts", "(X >= 0), \"counts"),
    Mutant("infinity taken for a wait", "closed_forms", "fits(X, levels) & np.isfinite(X)", "fits(X, levels)"),
    Mutant("weights squared", "closed_forms", "W.reshape(len(T), -1).T @ T", "(W * W).reshape(len(T), -1).T @ T"),
    Mutant("groups mixed up", "closed_forms", "W.reshape(len(T), -1).T @ T", "W.reshape(len(T), -1).T[::-1] @ T"),
    Mutant("number of rows for the sum of weights", "closed_forms", "return moments[:, 1:] / moments[:, :1]", "return moments[:, 1:] / moments[:, :1].sum()"),
    Mutant("empty group accepted", "closed_forms", "if not (moments[:, 0] > 0).all()", "if not (moments[:, 0] >= 0).all()"),
    Mutant("log-factorial among the rates", "closed_forms", "return _means(moments, 3)[:, :-1]", "return _means(moments, 3)[:, 1:]"),
    Mutant("mean wait for the rate", "closed_forms", "return 1 / means", "return means"),
    Mutant("levels and columns exchanged", "closed_forms", "shares.reshape(len(shares), -1, levels)", "shares.reshape(len(shares), levels, -1).swapaxes(1, 2)"),
    Mutant("mean products for covariances", "closed_forms", "second - means[:, :, None] * means[:, None]", "second"),
    Mutant("groups of equal size when tied", "closed_forms", "moments[:, 0] / moments[:, 0].sum()", "np.full(len(moments), 1 / len(moments))"),
    Mutant("standard deviations for variances", "closed_forms", "return means, second - means**2", "return means, np.sqrt(second - means**2)"),
    Mutant("sum over the columns for their mean", "closed_forms", ".sum(axis=1)) / (m.shape[1] - 1)", ".sum(axis=1)) / 1"),
    Mutant("half of the matrix left empty", "closed_forms", "second[:, i, j] = second[:, j, i] =", "second[:] = 0; second[:, i, j] ="),
    # linear
    Mutant("variance without the degrees of freedom", "linear", "self.total - len(self.inverse_gram)", "self.total"),
    Mutant("unbiased variance for the most likely one", "linear", "return self.rss / self.total", "return self.rss / self.dof"),
    Mutant("constant of the log-likelihood", "linear", "(np.log(2 * np.pi * self.sigma2) + 1)", "np.log(2 * np.pi * self.sigma2)"),
    Mutant("rounding error of a sum left out", "linear", "return s, (a - (s - t)) + (b - t)", "return s, (b - t)"),
    Mutant("rounding error of a product left out", "linear", "+ a2 * b1) + a2 * b2", "+ a2 * b1)"),
    Mutant("no low parts of the design", "linear", "+ y_low - x @ d_low)", "+ y_low)"),
    Mutant("no low parts in the products with residuals", "linear", "e.sum(axis=1) - d_low @ part]", "e.sum(axis=1)]"),
    Mutant("no low parts of y", "linear", "(low + e.sum(axis=0) + y_low - x @ d_low)", "(low + e.sum(axis=0) - x @ d_low)"),
    Mutant("no refinement", "linear", "for turn in range(20):", "for turn in range(1):"),
    Mutant("refinement that stops too early", "linear", " and turn > 1: break", ": break"),
    Mutant("residuals not kept as unknowns", "linear", "c = Q.T @ f - solve_triangular(R, g, trans=\"T\")", "c = Q.T @ f"),
    Mutant("no centring", "linear", "D[1:] - np.outer(top[1:], first)", "D[1:] - 0 * np.outer(top[1:], first)"),
    Mutant("a nearly constant column accepted", "linear", "if (flat := norms <= tiny * size).any():", "if (flat := norms < 0 * size).any():"),
    Mutant("noise of large numbers taken for news", "linear", "tiny * np.hypot(noise[k], np.linalg.norm(a * noise[:k])):", "tiny:"),
    Mutant("coefficients in the wrong units", "linear", "enumerate(a * units / units[k]) if v]", "enumerate(a) if v]"),
    Mutant("weights for their roots", "linear", "np.sqrt(w[keep]), w[keep]", "w[keep], w[keep]"),
    Mutant("rounding error of the root left out", "linear", "e + high * rest + low * root", "e + low * root"),
    Mutant("sum of squares around zero", "linear", "b[0] - Q[:, 0] * (Q[:, 0] @ b[0]) if intercept else b[0]", "b[0]"),
    Mutant("number of rows for the sum of weights", "linear", "total = float(len(y[0]) if w is None else w.sum())", "total = float(len(y[0]))"),
    Mutant("ill-conditioned problems taken the quick way", "linear", "100 * _EPS**(2 / 3), 1e-7", "1e-30, 1e-7"),
    Mutant("columns with little spread taken the quick way", "linear", "100 * _EPS**(2 / 3), 1e-7", "100 * _EPS**(2 / 3), 0"),
    Mutant("weights squared in the quick way", "linear", "None if w is None else np.sqrt(w), np.ones", "w, np.ones"),
    Mutant("mean without the weights", "linear", "np.append(u @ X, u @ y) / total if", "np.append(X.mean(axis=0), y.mean()) if"),
    Mutant("no correction", "linear", "b, rss = b + step, max(", "b, rss = b, max("),
    Mutant("intercept's variance without the means", "linear", "1 / total + centre[:p] @ m", "1 / total"),
    Mutant("sign of the intercept's covariances", "linear", "-m[None]], [-m[:, None], V]", "m[None]], [m[:, None], V]"),
    Mutant("rows without weight counted", "linear", "len(y) if w is None else np.count_nonzero(w), X.shape[1]", "len(y), X.shape[1]"),
    Mutant("long integers rounded", "linear", "<= 2**53)", "<= 2**63)"),
    Mutant("missing numbers accepted in the quick way", "linear", "if not np.isfinite(S).all() or", "if"),
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
    Mutant("never whitened", "families", "< _MOST_LOST", "< np.inf"),
    Mutant("always whitened", "families", "< _MOST_LOST", "< 0"),
    Mutant("loss at the mean alone", "families", "np.sqrt(means**2 + np.diagonal(covariances, axis1=-2, axis2=-1))", "abs(means)"),
    Mutant("no centring", "families", "    centre = weights @ theta[0]\n", "    centre = 0 * theta[0][0]\n"),
    Mutant("centre not added back", "families", "new[0] + weights @ theta[0], new[1]", "new[0], new[1]"),
    Mutant("whitened shift with the wrong sign", "families", "return means + (L @ shift", "return means - (L @ shift"),
    Mutant("whitened moments not carried back", "families", 'if name == "whitened":', 'if name == "white":'),
    Mutant("triangle cut short", "families", "A[i:i + 16, :i + 16], D[:i + 16]", "A[i:i + 16, :i + 1], D[:i + 1]"),
    Mutant("sample weights left out of the sums", "families", "L *= np.divide(w, z, out=z)", "L *= np.divide(w > 0, z, out=z)"),
    Mutant("sample weights left out of the log-likelihood", "families", "log_likelihood = w @ np.add(log_z, top, out=log_z)",
           "log_likelihood = (w > 0) @ np.add(log_z, top, out=log_z)"),
    Mutant("sample weights not counted", "families", "if weight is None else weight.sum()", "if weight is None else len(rows)"),
    Mutant("rows that fill up counted", "families", "w = np.zeros(", "w = np.ones("),
    Mutant("rows that fill up out of range", "families", "    X[:, len(rows):] = X[:, :1]\n", "    X[:, len(rows):] = 0\n"),
    Mutant("underflow not noticed", "families", "if not (z.min() > 1e-280 and z.max() < 1e280):", "if False:"),
    Mutant("maximum not added back", "families", "np.add(log_z, top, out=log_z)", "log_z"),
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
    Mutant("products cut at the wrong place", "families", "for a in range(0, m, _share(m, most))",
           "for a in range(0, m - _share(m, most) + 1, _share(m, most))"),
    Mutant("one piece for the sum of the pieces", "families", "            out += part\n", "            out[:] = part\n"),
    # mixture
    Mutant("tolerance in nats of the whole", "mixture", "settings.tol * model.total", "settings.tol"),
    Mutant("worst start kept", "mixture", "best = max(fits, key", "best = min(fits, key"),
    Mutant("all starts alike", "mixture", "else self._start(X, weight, rng, model)", "else self._start(X, weight, check_random_state(0), model)"),
    Mutant("warm start forgotten", "mixture", "resume, runs, rng = self.warm_start and", "resume, runs, rng = not self.warm_start and"),
    Mutant("warm start with other settings", "mixture", "        if had != wanted:", "        if False:"),
    Mutant("weights lost at the start", "mixture", "p=chances), row[:k]] = 1\n    return R if weight is None else R * weight[:, None]", "p=chances), row[:k]] = 1\n    return R"),
    Mutant("rows of weight 0 kept", "mixture", "X[weight > 0], weight[weight > 0]", "X[weight > -1], weight[weight > -1]"),
    Mutant("weights lost between blocks", "mixture", "else weight[a:a + size])", "else weight[:len(X[a:a + size])])"),
    Mutant("last rows dropped", "mixture", "for a in range(0, n, size)]", "for a in range(0, n - n % size, size)]"),
    Mutant("rows of a file copied", "mixture", "copy = np.asfortranarray if held is None else np.asarray", "copy = np.asfortranarray"),
    Mutant("all threads on one core", "mixture", "{next(free)}", "{cores[0]}"),
    Mutant("entropy with the wrong sign", "mixture", "+ uncertainty * 2 * entr(", "- uncertainty * 2 * entr("),
    Mutant("criterion ignores the weights", "mixture", "weight @ terms", "terms.sum()"),
    Mutant("start of a mixture not smoothed", "mixture", ".9 * R + .1 * R.mean(", "1.0 * R + .0 * R.mean("),
    Mutant("levels counted as free", "mixture", "theta[..., 1:].shape if theta.ndim == 3", "theta.shape if theta.ndim == 3"),
    Mutant("start from the first rows", "mixture", 'sample_without_replacement(len(X), size, method="tracking_selection", random_state=rng)', "np.arange(size)"),
    Mutant("chosen rows not counted by weight", "mixture", "p=weight / weight.sum()), return_counts", "p=None), return_counts"),
    Mutant("rows chosen twice counted once", "mixture", "times.astype(float)", "np.ones(len(rows))"),
    Mutant("a few rows are enough", "mixture", ">= needed).all()", ">= 0).all()"),
    Mutant("matrices known by their shape alone", "families", "if np.array_equal(known.C, C):", "if known.C.shape == C.shape:"),
    Mutant("matrices kept without a copy", "families", "self.C = C.copy()", "self.C = C"),
    Mutant("variances taken for standard deviations in the peak", "families", "-0.5 * np.log(v).reshape(k, -1)", "-np.log(v).reshape(k, -1)"),
    Mutant("diagonal of the factor's inverse alone", "gaussian", ".inverses**2).sum(axis=1), shape)", ".inverses**2).sum(axis=2), shape)"),
    Mutant("the worst of several starts", "mixture", "max(mapper(attempt, seeds)", "min(mapper(attempt, seeds)"),
    Mutant("a start that was tried, without its rounds", "mixture", "return value, step.params\n", "return value, theta\n"),
    Mutant("given means moved by tries", "gaussian", "given is not None for given in (self.weights_init, self.means_init,", "given is not None for given in (self.weights_init,"),
    Mutant("a start from all rows", "mixture", "size = max(_ENOUGH, 20 * k * needed)", "size = len(X)"),
    Mutant("rounds of a restart counted anew", "mixture", "self.first, self.clock = self.rows[-1][0] + 1, self.rows[-1][1]", "self.first, self.clock = 0, 0.0"),
    Mutant("max_iter for each restart", "mixture", "run.settings.max_iter - run.first", "run.settings.max_iter"),
    Mutant("Gaussians without a guard", "mixture", 'getattr(self.family, "kind", None)) in GAUSSIANS', 'getattr(self.family, "kind", None)) in ()'),
    Mutant("coins for every family", "mixture", "if not isinstance(family, (Poisson, Bernoulli, Categorical)):", "if False:"),
    Mutant("masked values taken for numbers", "mixture", "if np.ma.is_masked(values):", "if False:"),
    Mutant("each thread puts back for itself", "mixture", "            if not _Single.inside:\n                _Single.limit.restore", "            if True:\n                _Single.limit.restore"),
    Mutant("negative weights accepted", "mixture", "ensure_non_negative=True", "ensure_non_negative=False"),
    Mutant("dates taken for numbers", "mixture", 'dtype.kind in "mM"', 'dtype.kind in ""'),
    # gaussian
    Mutant("worst attempt kept", "gaussian", "min(ends, key", "max(ends, key"),
    Mutant("a fit that worked thrown away", "gaussian", "None if ends else error)", "error)"),
    Mutant("floor left out", "gaussian", "amount = self.reg_covar + _noise(", "amount = 0 * self.reg_covar + _noise("),
    Mutant("no credit for the floor", "gaussian", "credit + _price(shares, new, old, kind, amount)", "credit"),
    Mutant("price with the wrong sign", "gaussian", "* (P[0] - P[1])).sum()", "* (P[1] - P[0])).sum()"),
    Mutant("price twice", "gaussian", "return 0.5 * (shares[:, None]", "return 1.0 * (shares[:, None]"),
    Mutant("price without the prior's part", "gaussian", "            new, shares = _mode(", "            new, _ = _mode("),
    Mutant("credit left in the history", "gaussian", "- credit * step.expected.weight - prior", "- prior"),
    Mutant("prior left in the history", "gaussian", "- credit * step.expected.weight - prior", "- credit * step.expected.weight"),
    Mutant("best start by the likelihood alone", "gaussian", "log_likelihood=plain)), plain + prior", "log_likelihood=plain)), plain"),
    Mutant("rounding taken for a variance", "gaussian", "np.where(low.any(axis=1, keepdims=True), 1e-13 * scale, 0)", "np.zeros(shape)"),
    Mutant("singular covariance accepted", "gaussian", "flat.any(axis=1) | ~(thinnest > 1e-13)", "flat.any(axis=1) | ~(thinnest > -1)"),
    Mutant("coinciding rows accepted", "gaussian", "flat = ~(variances >", "flat = ~(variances > -1 + 0 *"),
    Mutant("another component blamed", "gaussian", "k, same = int(np.argmax(bad))", "k, same = int(np.argmin(bad))"),
    Mutant("collapsed component not handed on", "gaussian", "None if kind == \"tied\" else k)", "None)"),
    Mutant("floor not reported", "gaussian", "< 2 * reg_covar)", "< 0 * reg_covar)"),
    Mutant("empty component not reported", "gaussian", "< 1e-6 * min(1.0, total)", "< -1e-6 * min(1.0, total)"),
    Mutant("precision factor transposed", "gaussian", "lower=True).T for L in lower", "lower=True) for L in lower"),
    Mutant("tied matrix counted for each component", "gaussian", '"tied": matrix,', '"tied": k * matrix,'),
    Mutant("start covariances around the wrong mean", "gaussian", "X[part] - means[:, None], R", "X[part] - 0 * means[:, None] - centre, R"),
    Mutant("precisions taken for covariances", "gaussian", "return np.linalg.inv(precisions)", "return precisions"),
    Mutant("one degree of freedom too few", "gaussian", '"full": d + 1 + means', '"full": d + means'),
    Mutant("one mean for all components", "gaussian", '"tied": d + 1 + k * means', '"tied": d + 1 + means'),
    Mutant("one coordinate for all columns", "gaussian", '"spherical": 2 + d * means', '"spherical": 2 + means'),
    Mutant("means counted where they are free", "gaussian", "means = prior.shrinkage > 0", "means = True"),
    Mutant("no pull on the covariance", "gaussian", "_scatter_sums(kappa * counts / (kappa + counts), away, kind)", "0 * _scatter_sums(counts, away, kind)"),
    Mutant("means shrunk by the full count", "gaussian", "(counts / (counts + kappa))", "(counts / (counts + 1 + kappa))"),
    Mutant("concentration one too high", "gaussian", "counts + (prior.concentration - 1)", "counts + prior.concentration"),
    Mutant("scale not divided among the components", "gaussian", "/ k**(2 / d)", "/ 1"),
    Mutant("start without the prior", "gaussian", "if model.prior else theta\n", "if False else theta\n"),
    Mutant("log prior without the scale", "gaussian", "pull = self.scale + self.shrinkage", "pull = 0 * self.scale + self.shrinkage"),
    Mutant("log prior without the weights", "gaussian", "(self.concentration - 1) * np.log(weights)", "0 * np.log(weights)"),
    Mutant("component placed where it was", "gaussian", "np.where(spent, 0, score.max() - score)", "np.where(False, 0, score.max() - score)"),
    Mutant("best explained row for the worst", "gaussian", "score.max() - score)", "score - score.min())"),
    Mutant("weights ignored when placing", "gaussian", "* (1 if weight is None else weight)", "* 1"),
    Mutant("its own density counted", "gaussian", "logsumexp(np.delete(table, k, axis=1), axis=1)", "logsumexp(table, axis=1)"),
    Mutant("one restart too many", "gaussian", "len(placed) < self.n_restarts", "len(placed) <= self.n_restarts"),
    Mutant("restarts kept quiet", "gaussian", "        run.words.append(", "        str("),
    Mutant("arrays shared with scikit-learn", "gaussian", "np.copy(getattr(self, name)) if isinstance", "getattr(self, name) if isinstance"),
    Mutant("settings not handed to scikit-learn", "gaussian", "theirs.set_params(**{n: v", "dict(**{n: v"),
    Mutant("settings not taken from scikit-learn", "gaussian", "ours = cls(**fitted.get_params(deep=False))", "ours = cls()"),
    # choosing
    Mutant("worst for best", "choosing", "table[criterion].round(6))", "-table[criterion].round(6))"),
    Mutant("a needle wins", "choosing", "[not _FLOOR.search(note) for note", "[True for note"),
    Mutant("failed fits raised at once", "choosing", "except (ValueError, ArithmeticError) as failed:", "except KeyError as failed:"),
    Mutant("typos taken for failed fits", "choosing", "        except InvalidParameterError:\n            raise\n", ""),
    Mutant("weights not used in the criteria", "choosing", "getattr(estimator, name)(X, *weights)", "getattr(estimator, name)(X)"),
    Mutant("likelihood at the start reported", "choosing", 'estimator.history_["log_likelihood"][-1]', 'estimator.history_["log_likelihood"][0]'),
    Mutant("warnings lost", "choosing", '"; ".join(words)', '""'),
    Mutant("another seed for each fit", "choosing", "**setting, random_state=seed) for setting in grid]", "**setting, random_state=seed + i) for i, setting in enumerate(grid)]"),
    Mutant("the caller's estimator fitted", "choosing", "clone(estimator).set_params(**settings", "estimator.set_params(**settings"),
    Mutant("notes into HTML as they are", "choosing", "html.escape(word)", "word"),
    Mutant("variance for half-axis", "choosing", "2 * np.sqrt(-2 * np.log(1 - level) * values.clip(0))", "2 * -2 * np.log(1 - level) * values"),
    Mutant("one standard deviation for every level", "choosing", "np.sqrt(-2 * np.log(1 - level) * values.clip(0))", "np.sqrt(values + 0 * level)"),
    Mutant("ellipse lying across", "choosing", "np.arctan2(vectors[1, 1], vectors[0, 1])", "np.arctan2(vectors[1, 0], vectors[0, 0])"),
    Mutant("ellipse mirrored", "choosing", "np.arctan2(vectors[1, 1], vectors[0, 1])", "np.arctan2(-vectors[1, 1], vectors[0, 1])"),
    Mutant("rows of other columns", "choosing", "shown = np.asarray(X)[:, columns]", "shown = np.asarray(X)[:, :len(columns)]"),
    Mutant("curves without weights", "choosing", "weights[:, None] * norm.pdf", "norm.pdf"),
    Mutant("variance for standard deviation in curves", "choosing", "means[:, None], variances[:, None]**.5)", "means[:, None], variances[:, None])"),
    Mutant("losses drawn as gains", "choosing", "mine = sign * gains > 0", "mine = sign * abs(gains) > 0"),
    Mutant("gains a round early", "choosing", "rounds[1:][mine]", "rounds[:-1][mine]"),
    Mutant("responsibilities not sorted", "choosing", "r = r[np.lexsort([toward, first])]", "r = r[np.lexsort([toward])]"),
    Mutant("unsure rows on the wrong side", "choosing", "np.where(other > first, 1, -1)", "np.where(other > first, -1, 1)"),
    Mutant("last bar lost", "choosing", "np.linspace(0, 1, len(r) + 1)", "np.linspace(0, 1 + 1 / len(r), len(r) + 1)"),
    # keeping
    Mutant("infinity as JSON", "keeping", "kind is float and np.isfinite(value)", "kind is float"),
    Mutant("tuples come back as lists", "keeping", '"tuple": lambda c, a: tuple(_unpack(c, a))', '"tuple": lambda c, a: _unpack(c, a)'),
    Mutant("NumPy scalars come back as arrays", "keeping", "a.pop(c)[()]", "a.pop(c)"),
    Mutant("pickle allowed", "keeping", "io.BytesIO(blob), allow_pickle=False)", "io.BytesIO(blob), allow_pickle=True)"),
    Mutant("newer format read", "keeping", 'if header["format"] > _FORMAT:', 'if header["format"] > _FORMAT + 9:'),
    Mutant("methods replaced by what a file holds", "keeping", "{n for n in learnt if hasattr(known[name], n)}", "set()"),
    Mutant("classes from anywhere", "keeping", 'if cls.__module__.split(".")[0] == "emlit" and', "if"),
    Mutant("priors not known", "keeping", "(issubclass(cls, BaseEstimator) or is_dataclass(cls))", "issubclass(cls, BaseEstimator)"),
    Mutant("written in place", "keeping", "part = path.with_name(f", "part = path if True else path.with_name(f"),
    Mutant("compressed archives read", "keeping", "any(m.compress_type != ZIP_STORED for m in members) or ", ""),
    Mutant("members that overlap read", "keeping", " or sum(m.file_size for m in members) > len(blob)", ""),
    Mutant("arrays without a reference read", "keeping", "        if arrays:\n", "        if False:\n"),
    Mutant("learnt attributes left out", "keeping", "    vars(made).update(learnt)\n", ""),
    Mutant("pipes replaced", "keeping", "if path.exists() and not path.is_file():", "if path.is_dir():"),
    Mutant("mode of the old file narrowed by the umask", "keeping", "            os.chmod(part, mode)\n", "            pass\n"),
    Mutant("private file open to all while it is written", "keeping", "0o666 if mode is None else mode", "0o666"),
    Mutant("metadata requests written", "keeping", '{*settings, "_metadata_request"}', "settings"),
    Mutant("settings not validated", "keeping", "        value._validate_params()\n", "        pass\n"),
    Mutant("fits in part accepted", "keeping", "if missing and (", "if False and ("),
    Mutant("failed fits refused", "keeping", '({"converged_", *needed} - _BEFORE)', '{"converged_", *needed}'),
    Mutant("reports may be missing", "keeping", '"LinearRegression": f"{_REPORT} ', '"LinearRegression": f"'),
    # logistic
    Mutant("reference class left out of the softmax", "logistic", "full = np.concatenate([np.zeros((len(eta), 1)), eta], axis=1)", "full = np.concatenate([np.full((len(eta), 1), -1e9), eta], axis=1)"),
    Mutant("symmetric form around the reference", "logistic", "return full - full.mean(axis=0)", "return full - full[0]"),
    Mutant("sign of the residuals", "logistic", "(sign * weight * wrong)[None]", "(weight * wrong)[None]"),
    Mutant("weights left out of the residuals", "logistic", "(sign * weight * wrong)[None]", "(sign * wrong)[None]"),
    Mutant("mu for mu (1 - mu)", "logistic", "pair = weight * e * share**2", "pair = weight * e * share"),
    Mutant("log(1 + e) without the margin", "logistic", "weight @ (np.minimum(margin, 0) - np.log1p(e))", "weight @ (-np.log1p(e))"),
    Mutant("probability of the own class left at zero", "logistic", "residual[own], P[own] = P.sum(axis=0), mine / total", "residual[own] = P.sum(axis=0)"),
    Mutant("diagonal blocks without the reference", "logistic", "on_diagonal = H.sum(axis=2)", "on_diagonal = H[:, :, 1:].sum(axis=2)"),
    Mutant("off-diagonal blocks with the wrong sign", "logistic", "    H *= -1\n", ""),
    Mutant("centre not undone", "logistic", "    if intercept: back[0, 1:] = -centre / spread\n", ""),
    Mutant("centred without a constant", "logistic", "centre = some.mean(axis=0) * intercept", "centre = some.mean(axis=0)"),
    Mutant("last block dropped", "logistic", "for a in range(0, n, size)]", "for a in range(0, max(n - size, 1), size)]"),
    Mutant("never halved", "logistic", "for t in 0.5**np.arange(60):", "for t in 0.5**np.arange(1):"),
    Mutant("secants in the wrong order", "logistic", "for (p, q), share in zip(memory, reversed(shares)):", "for (p, q), share in zip(reversed(memory), shares):"),
    Mutant("every fit certain", "logistic", "if decrement**2 < point.least: return True", "if True: return True"),
    Mutant("no fit certain", "logistic", "return bool(2 * decrement**2 * highest < 1)", "return False"),
    Mutant("certain without the decrement squared", "logistic", "if decrement**2 < point.least: return True", "if point.least > 0: return True"),
    Mutant("objecting rows ignored", "logistic", "margins < -1e-8 * np.abs(b).sum()", "margins < -np.inf"),
    Mutant("separation asked of weightless rows", "logistic", "(X[used], y[used], weight[used])", "(X, y, weight)"),
    Mutant("direction in scaled columns", "logistic", "            b = b @ design.back.T\n", ""),
    Mutant("dependent columns accepted", "logistic", "    if rank < d:\n", "    if False:\n"),
    Mutant("another column blamed", "logistic", "labels[order[rank]]} is ", "labels[order[0]]} is "),
    Mutant("covariance not carried back", "logistic", "carry(cho_solve((factor, True), np.eye(size)), design.back)", "carry(cho_solve((factor, True), np.eye(size)), np.eye(len(design.back)))"),
    Mutant("unit of the weights lost", "logistic", "covariance / unit, int(n_iter)", "covariance, int(n_iter)"),
    Mutant("stops ten thousand times too early", "logistic", "if decrement <= tol or point.margin > 0", "if decrement <= 1e4 * tol or point.margin > 0"),
    # uncertainty
    Mutant("one-sided quantile", "uncertainty", "z = stats.norm.isf((1 - level) / 2)", "z = stats.norm.isf(1 - level)"),
    Mutant("interval on one side", "uncertainty", "estimate - z * standard_error, estimate", "estimate, estimate"),
    Mutant("information with the wrong sign", "uncertainty", "information = -numerical_hessian(", "information = numerical_hessian("),
    Mutant("not at the top accepted", "uncertainty", "if distance > .01:", "if False:"),
    Mutant("inverse of the factor for the inverse", "uncertainty", "return half.T @ half", "return half @ half.T"),
    Mutant("flat direction accepted", "uncertainty", "values[0] <= 1e-14 * len(values)", "values[0] <= -1"),
    Mutant("asymmetry accepted", "uncertainty", "if not np.allclose(scaled, scaled.T, rtol=0, atol=1e-6):", "if False:"),
    Mutant("delta method without the covariances", "uncertainty", "return value, J @ covariance @ J.T", "return value, J @ np.diag(np.diag(covariance)) @ J.T"),
    Mutant("Wald's statistic around zero", "uncertainty", "np.asarray(estimate, np.float64) - null, covariance", "np.asarray(estimate, np.float64), covariance"),
    Mutant("length not squared", "uncertainty", "(np.array(white)**2).sum(axis=-1)", "np.abs(np.array(white)).sum(axis=-1)"),
    Mutant("factor 2 missing in Wilks's statistic", "uncertainty", "statistic = 2 * (np.asarray(log_likelihood", "statistic = 1 * (np.asarray(log_likelihood"),
    Mutant("smaller model higher and accepted", "uncertainty", "if not (statistic >= -1e-8 * (1 + np.abs(log_likelihood))).all():", "if False:"),
    Mutant("lower tail for the p-value", "uncertainty", "stats.chi2.sf(statistic, df)", "stats.chi2.cdf(statistic, df)"),
    Mutant("profile falls by the whole quantile", "uncertainty", "stats.chi2.isf(1 - level, 1) / 2", "stats.chi2.isf(1 - level, 1)"),
    Mutant("bound overstepped", "uncertainty", "if (outside - bound) * step >= 0: outside = bound", "if False: outside = bound"),
    Mutant("filling left out of the sandwich", "uncertainty", "return influence.T @ influence", "return covariance"),
    Mutant("scores that do not add up accepted", "uncertainty", "if not (np.abs(total) <= .01 * size + 1e-300).all():", "if False:"),
    Mutant("coverage of one end only", "uncertainty", "(intervals[..., 0] <= truth) & (truth <= intervals[..., 1])", "(intervals[..., 0] <= truth)"),
    Mutant("Monte Carlo error that can be zero", "uncertainty", "share = (hits + 2) / (len(intervals) + 4)", "share = hits / len(intervals)"),
    # regression
    Mutant("normal for t quantiles", "regression", "def _law(self): return stats.t(self.dof_)", "def _law(self): return stats.norm()"),
    Mutant("one-sided p-values", "regression", "return 2 * self._law().sf(abs(self.statistics_))", "return self._law().sf(abs(self.statistics_))"),
    Mutant("variance with the rows for the degrees of freedom", "regression", "self.residual_variance_ = float(np.float64(fit.rss) / self.dof_)", "self.residual_variance_ = float(np.float64(fit.rss) / n)"),
    Mutant("variance not counted as a parameter", "regression", "float(n), float(n - q), q + 1", "float(n), float(n - q), q"),
    Mutant("precisions counted as rows", "regression", "n = len(y) if w is None else w.sum() if frequency else np.count_nonzero(w)\n        noise", "n = len(y) if w is None else w.sum()\n        noise"),
    Mutant("log of the precisions left out", "regression", "np.log(w[w > 0]).sum() / 2", "0.0"),
    Mutant("frequencies squared in the sandwich", "regression", "(np.sqrt(W) if frequency else W) * residuals", "W * residuals"),
    Mutant("HC2 and HC3 exchanged", "regression", '{"HC2": 0.5, "HC3": 1}', '{"HC2": 1, "HC3": 0.5}'),
    Mutant("leverage of a single row for a precise one", "regression", ".sum(axis=1) * (1 if frequency else W)", ".sum(axis=1)"),
    Mutant("centre not undone in the sandwich", "regression", "    if i: back[0, 1:] = -centre\n    V = back", "    V = back"),
    Mutant("F not divided by its restrictions", "regression", "F = float(found.statistic) / m", "F = float(found.statistic)"),
    Mutant("other rows accepted", "regression", "if other._data_id != self._data_id:", "if False:"),
    Mutant("profile of a line without the degrees of freedom", "regression", "np.sqrt(self.dof_ * np.expm1(quantile", "np.sqrt(self.n_observations_ * np.expm1(quantile"),
    Mutant("multiplier of the unconstrained step", "regression", "step = a - slope * b", "step = a"),
    Mutant("root without its slope", "regression", "(goal - root) * root / (-sign * slope)", "(goal - root) * root / (-slope)"),
    Mutant("both ends on one side", "regression", "np.sqrt(quantile), sign) for sign in (-1, 1)]", "np.sqrt(quantile), 1) for sign in (-1, 1)]"),
    Mutant("contrasts against the first class only", "regression", "(np.eye(C)[others] - np.eye(C)[base])[:, 1:]", "np.eye(C)[others][:, 1:]"),
    Mutant("coefficients against a reference where all classes have a row", "regression", "full = theta if C == 2 else symmetric(theta)", "full = theta if C == 2 else np.vstack([0 * theta[:1], theta])"),
    Mutant("residual of the expected class only", "regression", "(np.eye(C)[codes] - P)[:, 1:, None]", "(-P)[:, 1:, None]"),
    Mutant("weights squared in the scores' sandwich", "regression", "influence *= np.sqrt(w)[:, None]", "influence *= w[:, None]"),
    Mutant("smoothing that forgets the shares", "regression", "extra * share[k]) for k in range(C)]", "extra / C) for k in range(C)]"),
    Mutant("standard errors of a smoothed fit", "regression", "if self.separation_ is not None:\n            raise ValueError", "if False:\n            raise ValueError"),
    Mutant("changed rows accepted", "regression", "if not np.isclose(top.log_likelihood, self.log_likelihood_, rtol=1e-8, atol=1e-8):", "if False:"),
    Mutant("null model without its constant", "regression", "float(totals @ np.log(totals / totals.sum())) if i else", "float(totals @ np.log(totals / totals.sum())) if False else"),
    Mutant("names not escaped in HTML", "regression", "<tr><th>{escape(r[0])}</th>", "<tr><th>{r[0]}</th>"),
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
