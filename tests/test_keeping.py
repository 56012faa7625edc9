"""emlit.keeping: everything comes back, and files that are damaged, foreign, newer or hostile are refused in words."""
import io
import json
import os
import pickle
import re
import stat
import sys
import types
import zipfile

import numpy as np
import pytest
import sklearn.cluster
import sklearn.mixture
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import emlit
from emlit.chains import HMM, CategoricalHMM, GaussianHMM, PoissonHMM
from emlit.conditional import GaussianMixtureImputer
from emlit.data import load_faithful
from emlit.families import Categorical, Poisson
from emlit.gaussian import GaussianMixture, Prior
from emlit.keeping import load, save
from emlit.mixture import Mixture
from emlit.regression import LinearRegression, LogisticRegression
from emlit.topics import LatentDirichletAllocation

KINDS = ("full", "tied", "diag", "spherical")
X = load_faithful().X


def same(a, b):
    "Equal, and of the same types all the way down."
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.flags.f_contiguous == b.flags.f_contiguous or not a.flags.forc  # a view with gaps comes back without them
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for u, v in zip(a, b):
            same(u, v)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, np.random.RandomState):
        same(a.get_state(legacy=False), b.get_state(legacy=False))
    elif isinstance(a, (BaseEstimator, Prior)):
        same(dict(sorted(vars(a).items())), dict(sorted(vars(b).items())))
    else:
        assert a == b or a != a and b != b


def roundtrip(model, tmp_path):
    save(model, tmp_path / "model")
    return load(tmp_path / "model")


COUNTS = np.random.default_rng(0).integers(0, 3, (60, 2))
MODELS = {
    **{kind: lambda kind=kind: GaussianMixture(3, covariance_type=kind, random_state=0).fit(X) for kind in KINDS},
    "unfitted": lambda: GaussianMixture(3, tol=np.float64(1e-3), random_state=None),
    "float32": lambda: GaussianMixture(2, random_state=0).fit(X.astype(np.float32), sample_weight=np.ones(272)),
    "given start": lambda: GaussianMixture(2, means_init=[[2, 50], (4, 80)], weights_init=(.5, .5), max_iter=np.int64(300), random_state=0).fit(X),
    "generator": lambda: GaussianMixture(2, random_state=np.random.RandomState(4)).fit(X),
    "poisson": lambda: Mixture(2, family="poisson", random_state=0).fit(COUNTS),
    "a family": lambda: Mixture(2, family=Categorical(3), random_state=0).fit(COUNTS),
    "another family": lambda: Mixture(2, family=Poisson(), random_state=0).fit(COUNTS),
    "prior": lambda: GaussianMixture(2, prior=Prior(scale=np.eye(2), mean=[3, 70]), random_state=0).fit(X),
}


@pytest.mark.parametrize("name", MODELS)
def test_roundtrip(name, tmp_path):
    "All that a model holds comes back, to the last bit and type."
    model = MODELS[name]()
    again = roundtrip(model, tmp_path)
    same(model, again)
    if hasattr(model, "weights_"):
        data = X if isinstance(model, GaussianMixture) else COUNTS
        np.testing.assert_array_equal(model.predict_proba(data), again.predict_proba(data))
        np.testing.assert_array_equal(model.sample(5)[0], again.sample(5)[0])
        assert again.set_params(warm_start=True).fit(data).n_iter_ <= 3


LETTERS = np.random.default_rng(1).integers(0, 3, (60, 1))
HOLED = np.where(np.random.default_rng(2).random(X.shape) < .1, np.nan, X)
OTHERS = {
    **{f"GaussianHMM {kind}": (GaussianHMM(2, kind, n_iter=9, random_state=0), X) for kind in KINDS},
    "GaussianHMM with holes": (GaussianHMM(2, means_prior=[3, 70], means_weight=.1, n_iter=9, random_state=np.random.RandomState(1)), HOLED),
    "CategoricalHMM": (CategoricalHMM(2, emissionprob_prior=np.full((2, 3), 2.), n_iter=9, random_state=0), LETTERS),
    "PoissonHMM": (PoissonHMM(2, n_iter=9, random_state=0), COUNTS),
    "HMM by name": (HMM(2, family="bernoulli", n_iter=9, random_state=0), COUNTS > 0),
    "HMM of a family": (HMM(2, family=Categorical(3), transmat_prior=[[2, 1], [1, 2]], n_iter=9, random_state=0), LETTERS),
    **{f"topics {how}": (LatentDirichletAllocation(3, learning_method=how, max_iter=4, random_state=0), COUNTS) for how in ("batch", "online")},
    "topics, priors learnt": (LatentDirichletAllocation(2, learn_doc_topic_prior="free", learn_topic_word_prior=True, max_iter=4, random_state=0), COUNTS),
    "imputer": (GaussianMixtureImputer(), HOLED),
    "imputer that draws": (GaussianMixtureImputer(GaussianMixture(2, prior=Prior(dof=4), random_state=0), method="draw", random_state=3), HOLED),
}


def says(model, data):
    "What a fit says about data."
    methods = ("predict", "predict_proba", "score_samples", "score", "bic", "decode", "transform", "perplexity")
    return [getattr(model, name)(data) for name in methods if hasattr(model, name)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_chains_topics_and_imputers(name, tmp_path):
    "Unfitted and fitted; what is loaded predicts the same, is fitted the same, and the file of it is the same."
    unfitted, data = OTHERS[name]
    model = sklearn.clone(unfitted)
    again = roundtrip(model, tmp_path)
    same(model, again)
    with pytest.raises(NotFittedError):
        says(again, data)
    model.fit(data)
    refitted, again = again.fit(data), roundtrip(model, tmp_path)
    same(model, again)
    said = says(model, data)
    assert len(said) >= 1 and len(said) >= 3 * hasattr(model, "score")
    same(said, says(again, data))
    if name != "imputer":  # it has no seed
        same(said, says(refitted, data))
    before = (tmp_path / "model").read_bytes()
    save(again, tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == before
    for missing in ("transmat_", "components_"):
        if hasattr(model, missing):
            with pytest.raises(ValueError, match=f"is fitted, but has no {missing}: fit it again"):
                save(incomplete(again, missing), tmp_path / "third")


def test_any_value_comes_back(tmp_path):
    "What an attribute may be: every kind of number, nested containers, structured, empty and Fortran arrays, odd names."
    model = GaussianMixture(2)
    model.odds_ = {"a": (1, [2.5, None], ()), 3: {"": np.float32(.1)}, (1, "x"): True, "b.c": np.arange(3), "b": {"c": np.ones(2)}}
    model.numbers_ = [np.inf, -np.inf, np.nan, -0.0, 5e-324, 2**200, np.bool_(True), np.int8(-3), np.complex128(1j), np.str_("é\ud800")]
    model.arrays_ = (np.asfortranarray(np.arange(6.).reshape(2, 3)), np.zeros((0, 3)), np.array(2.5), np.array(["a", "bc"]), np.arange(3, dtype=">i2"),
                     np.array([(1, .5)], dtype=[("i", int), ("x", float)]), np.array(["eruption", "wait"], dtype=object), np.array([], dtype=object))
    again = roundtrip(model, tmp_path)
    same(model, again)
    assert np.signbit(again.numbers_[3])


def test_names_of_columns_and_output(tmp_path):
    "feature_names_in_ of a data frame."
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["eruption", "wait"])
    again = roundtrip(GaussianMixture(2, random_state=0).fit(frame), tmp_path)
    same(again.feature_names_in_, np.array(["eruption", "wait"], dtype=object))
    again.predict(frame)


def test_the_file_is_open_and_deterministic(tmp_path):
    "The same bytes each time; arrays by their names and JSON, which NumPy reads without pickle; no time stamps."
    for name in ("a.npz", "b.npz"):
        save(GaussianMixture(2, random_state=0).fit(X), tmp_path / name)
    a, b = (re.sub(rb'"seconds": [^,}]*', b"", (tmp_path / name).read_bytes()) for name in ("a.npz", "b.npz"))
    assert len(a) == len(b)
    save(first := load(tmp_path / "a.npz"), tmp_path / "c.npz")
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as opened:
        header = json.loads(opened["emlit"].item())
        np.testing.assert_array_equal(opened["means_"], first.means_)
    assert header["format"] == 1 and header["emlit"] == emlit.__version__ and header["model"]["class"] == "GaussianMixture"
    assert header["model"]["settings"]["n_components"] == 2 and header["model"]["learnt"]["means_"] == {"array": "means_"}
    assert {i.date_time for i in zipfile.ZipFile(tmp_path / "a.npz").infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("value, words", [
    ({1, 2}, "odd_ is a builtins.set"), (len, "builtin_function"), (np.array([1, "a"], dtype=object), "numpy.ndarray"), (b"x", "bytes"),
    (np.ma.masked_array([1, 2], [0, 1]), "MaskedArray"), (np.random.default_rng(0), "Generator"), (1j, "complex"),
    (np.random.RandomState(np.random.PCG64(0)), "RandomState"), ([1, {"a": {2}}], r"odd_\.1\.0\.1 is a builtins.set"),
    (sklearn.mixture.GaussianMixture(), "sklearn.mixture"), (np.array([["a"]], dtype=object), "numpy.ndarray")])
def test_what_cannot_be_held_is_refused(value, words, tmp_path):
    "A TypeError that says where it stands and what it is; no file is left."
    model = GaussianMixture()
    model.odd_ = value
    with pytest.raises(TypeError, match=words):
        save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


class Mine(GaussianMixture):
    "A subclass that emlit does not know."


@pytest.mark.parametrize("model", [sklearn.mixture.GaussianMixture(), sklearn.cluster.KMeans(), Mine(), X, None, Poisson(), GaussianMixture])
def test_only_estimators_of_the_package(model, tmp_path):
    "Others are refused by name."
    with pytest.raises(TypeError, match="save writes the estimators of emlit"):
        save(model, tmp_path / "model")


def test_later_estimators_need_no_new_code(tmp_path, monkeypatch):
    "A class that a later chapter defines is found, and one of the user's is not."
    class Later(BaseEstimator):
        def __init__(self, inner=None, width=1.0):
            self.inner, self.width = inner, width
    Later.__module__ = "emlit.later"
    later = types.ModuleType("emlit.later")
    later.Later = Later
    monkeypatch.setitem(sys.modules, "emlit.later", later)
    model = Later(inner=MODELS["a family"](), width=2.0)
    model.blocks_ = [Later(), Categorical(2)]
    again = roundtrip(model, tmp_path)
    assert type(again) is Later and type(again.blocks_[0]) is Later and again.blocks_[1] == Categorical(2)
    same(model.inner, again.inner)
    monkeypatch.delitem(sys.modules, "emlit.later")
    with pytest.raises(ValueError, match=r"cannot be loaded: it holds a 'Later', and emlit .* has no such class"):
        load(tmp_path / "model")


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    "Where writing fails the old file stays, and nothing else."
    file = tmp_path / "model.npz"
    save(GaussianMixture(2, random_state=0).fit(X), file)
    before = file.read_bytes()
    def fail(*args):
        raise OSError("disk full")
    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(os, name, fail)
            save(GaussianMixture(3, random_state=0).fit(X), file)
        assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
    link = tmp_path / "link"
    link.symlink_to(file)
    save(GaussianMixture(4), link)  # what the link points to is replaced, and not the link
    assert link.is_symlink() and load(file).n_components == 4
    with pytest.raises(FileNotFoundError):
        save(GaussianMixture(), tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_what_is_no_regular_file_is_left_alone(tmp_path):
    "A pipe, a link to one, and a folder are refused, and stay what they are."
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, tmp_path):
        with pytest.raises(ValueError, match="a pipe or a device, and is left as it is: pass the name of a file"):
            save(GaussianMixture(2), path)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and sorted(tmp_path.iterdir()) == [link, pipe]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of Unix")
def test_the_mode_is_kept(tmp_path, monkeypatch):
    "A private file stays private, also while it is written; an open one stays open; a new one is as the umask says."
    file, seen, fsync = tmp_path / "model", [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (seen.append(stat.S_IMODE(os.fstat(number).st_mode)), fsync(number)))
    before = os.umask(0o027)
    try:
        save(GaussianMixture(2), file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        for mode in (0o600, 0o666, 0o400):
            file.chmod(mode)
            save(GaussianMixture(3), file)
            assert stat.S_IMODE(file.stat().st_mode) == mode and seen[-1] & ~mode == 0
    finally:
        os.umask(before)
    assert load(file).n_components == 3


def test_metadata_requests_are_left_out(tmp_path):
    "They belong to a pipeline; the rest comes back."
    with sklearn.config_context(enable_metadata_routing=True):
        model = GaussianMixture(2, random_state=0).set_fit_request(sample_weight=True).fit(X)
    again = roundtrip(model, tmp_path)
    assert not hasattr(again, "_metadata_request")
    del model._metadata_request
    same(model, again)


def test_settings_are_validated(tmp_path, blob):
    "Neither written nor read when the class does not take them, wherever in the file they stand."
    with pytest.raises(ValueError, match="'n_components' parameter of GaussianMixture must be"):
        save(GaussianMixture("lots"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    for part in ("settings", "learnt"):
        with pytest.raises(ValueError, match="cannot be loaded: .*'n_components' parameter of Mixture must be"):
            loaded(changed(blob, lambda h, part=part: h["model"][part].update(n_components="lots")), tmp_path)


def incomplete(model, name):
    vars(model).pop(name)
    return model


def test_fits_are_complete(tmp_path, blob):
    "A part of a fit is refused by save and by load; a fit that failed is no fit."
    with pytest.raises(ValueError, match="cannot be loaded: the Mixture is fitted, but has no weights_: fit it again"):
        loaded(changed(blob, lambda h: h["model"]["learnt"].pop("weights_")), tmp_path)
    with pytest.raises(ValueError, match="has no weights_, parameters_"):
        loaded(changed(blob, lambda h: [h["model"]["learnt"].pop(name) for name in ("weights_", "parameters_")]), tmp_path)
    for model, names in ((MODELS["full"], ("means_", "covariances_")), (lambda: LinearRegression().fit(X[:, :1], X[:, 1]), ("coef_", "covariance_", "residual_variance_")),
                         (lambda: LogisticRegression().fit(X[:, 1:], X[:, 0] > 3.7), ("classes_", "estimates_", "_contrasts"))):
        for name in names:
            with pytest.raises(ValueError, match=f"is fitted, but has no {name}: fit it again"):
                save(incomplete(model(), name), tmp_path / "other")
    failed = LogisticRegression(), np.arange(6.)[:, None], [0, 0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="separat"):
        failed[0].fit(*failed[1:])
    same(roundtrip(failed[0], tmp_path), failed[0])
    by_hand = GaussianMixture(2)
    by_hand.weights_, by_hand.means_, by_hand.covariances_ = np.ones(2) / 2, np.eye(2), np.array([np.eye(2)] * 2)
    same(roundtrip(by_hand, tmp_path), by_hand)


def regression_data(named):
    rng = np.random.default_rng(5)
    A, w = rng.normal(size=(90, 2)), rng.integers(1, 4, 90)
    y = A @ [1, -1] + rng.normal(size=90)
    if named:
        pd = pytest.importorskip("pandas")
        A = pd.DataFrame(A, columns=["age", "<b>dose</b>"])
    return A, y, w


def report(model, A):
    "All that a fit says."
    parts = ["coef_", "intercept_", "estimates_", "covariance_", "standard_errors_", "statistics_", "p_values_", "parameter_names_"]
    more = [model.predict_proba(A), model.classes_] if hasattr(model, "classes_") else [model.f_test()]
    if isinstance(model, LinearRegression) and model.covariance == "model":
        more.append(model.confint(method="profile"))
    tests = [model.wald_test(np.eye(len(model.estimates_))[1]), model.likelihood_ratio_test(), model.summary(.9), *more]
    return [*(getattr(model, name) for name in parts), model.predict(A), model.confint(.9), model.aic(), model.bic(),
            model.summary()._repr_html_(), *map(repr, tests)]


REGRESSIONS = {f"linear {c} {w}": (LinearRegression(covariance=c, weights=w), None) for c in ("model", "HC1", "HC3", "sandwich") for w in ("frequency", "precision")}
REGRESSIONS |= {f"logistic {c} {len(labels)}": (LogisticRegression(covariance=c, reference=labels[-1]), labels)
                for c in ("model", "HC1", "sandwich") for labels in (["no", "yes"], ["none", "some", "much"], [1, 2, 5, 7], [False, True])}
REGRESSIONS |= {"linear without constant": (LinearRegression(fit_intercept=False), None)}
REGRESSIONS |= {"logistic without constant": (LogisticRegression(fit_intercept=False, reference=np.int64(2)), [1, 2])}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions(name, weighted, named, tmp_path):
    "Predictions, standard errors, intervals, tests and the text of the summary come back; fits can be compared."
    (model, labels), (A, y, w) = REGRESSIONS[name], regression_data(named)
    model = sklearn.clone(model)
    if labels:
        y = np.array(labels)[np.searchsorted(np.quantile(y, np.linspace(0, 1, len(labels) + 1)[1:-1]), y)]
        y = y.astype(object) if named and isinstance(labels[0], str) else y
    model.fit(A, y, sample_weight=w if weighted else None)
    again = roundtrip(model, tmp_path)
    same(model, again)
    same(report(model, A), report(again, A))
    small = sklearn.clone(model).fit(A.iloc[:, :1] if named else A[:, :1], y, sample_weight=w if weighted else None)
    assert repr(again.likelihood_ratio_test(roundtrip(small, tmp_path))) == repr(model.likelihood_ratio_test(small))
    if labels and model.covariance == "model":
        with pytest.raises(ValueError, match="a profile needs the rows"):
            again.confint(method="profile")


def test_regressions_at_the_edge(tmp_path):
    "Separated classes, a perfect line, categories and strings of pandas."
    with pytest.warns(UserWarning, match="separated"):
        smooth = LogisticRegression(on_separation="smooth").fit(np.arange(6.)[:, None], [0, 0, 0, 1, 1, 1])
    again = roundtrip(smooth, tmp_path)
    same(smooth, again)
    with pytest.raises(ValueError, match="the classes are separated"):
        again.summary()
    with pytest.warns(UserWarning, match="leave nothing to judge"):
        perfect = LinearRegression().fit([[0.], [1.]], [0., 1.])
    same(perfect, roundtrip(perfect, tmp_path))
    pd = pytest.importorskip("pandas")
    A, y, _ = regression_data(True)
    for kind in ("string", "category", object):
        labels = pd.Series(np.where(y > 0, "yes", "no")).astype(kind)
        model = LogisticRegression(reference="yes").fit(A, labels)
        again = roundtrip(model, tmp_path)
        same(model, again)
        same(report(model, A), report(again, A))


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    file = tmp_path_factory.mktemp("blob") / "model.npz"
    save(Mixture(2, family=Categorical(3), random_state=np.random.RandomState(0)).fit(COUNTS), file)
    return file.read_bytes()


def loaded(blob, tmp_path):
    (tmp_path / "model.npz").write_bytes(blob)
    return load(tmp_path / "model.npz")


def test_damage_is_noticed(blob, tmp_path):
    "Cut anywhere, or one byte changed: a ValueError that names the file, or the very same model."
    model, rng = loaded(blob, tmp_path), np.random.default_rng(0)
    for size in [0, 1, 30, *rng.integers(2, len(blob), 30), len(blob) - 1]:
        with pytest.raises(ValueError, match="model.npz cannot be loaded: "):
            loaded(blob[:size], tmp_path)
    refused = 0
    for place in rng.integers(0, len(blob), 400):
        changed = bytearray(blob)
        changed[place] ^= int(rng.integers(1, 256))
        try:
            same(loaded(bytes(changed), tmp_path), model)
        except ValueError as error:
            refused += str(error).count("model.npz cannot be loaded: ")
    assert refused > 300


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def changed(blob, change):
    "The file with its header changed."
    with np.load(io.BytesIO(blob)) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["emlit"].item())
    change(header)
    return archive(**arrays | {"emlit": np.array(json.dumps(header))})


class Bomb:
    "A pickle that would leave a trace."
    def __reduce__(self):
        return print, ("the bomb went off",)


@pytest.mark.parametrize("make, words", [
    (lambda b: b"", "it is no .npz archive"), (lambda b: b"# a text", "it is no .npz archive"),
    (lambda b: pickle.dumps(Bomb()), "it is no .npz archive"), (lambda b: b"PK", "it is damaged"),
    (lambda b: archive(x=np.ones(3)), "an .npz archive of something else"),
    (lambda b: archive(emlit=np.array([Bomb()], dtype=object)), "it is damaged"),
    (lambda b: archive(emlit=np.array("{}")), "it is damaged.*KeyError"), (lambda b: archive(emlit=np.array("{")), "it is damaged.*JSON"),
    (lambda b: archive(emlit=np.ones(3)), "it is damaged"),
    (lambda b: changed(b, lambda h: h.update(format=2, emlit="9.1")), "emlit 9.1 wrote it, in format 2, .* reads format 1: install a newer one"),
    (lambda b: changed(b, lambda h: h["model"].update({"class": "os.system"})), "it holds a 'os.system', and emlit .* has no such class"),
    (lambda b: changed(b, lambda h: h["model"].update({"class": "BaseEstimator"})), "it holds a 'BaseEstimator'"),
    (lambda b: changed(b, lambda h: h["model"]["settings"].update(alpha=1)), "has no 'alpha' to set in a Mixture"),
    (lambda b: changed(b, lambda h: h["model"]["learnt"].update(predict=1)), "has no 'predict' to set in a Mixture"),
    (lambda b: changed(b, lambda h: h["model"]["learnt"].update(__class__="x")), "has no '__class__' to set"),
    (lambda b: changed(b, lambda h: h["model"]["learnt"].update(x={"array": "gone"})), "it is damaged.*KeyError"),
    (lambda b: changed(b, lambda h: h["model"]["learnt"].update(x={"code": "1"})), "it is damaged.*KeyError"),
    (lambda b: changed(b, lambda h: h["model"]["learnt"].update(x={"a": 1, "b": 2})), "it is damaged"),
    (lambda b: changed(b, lambda h: h.update(model={"class": "Poisson", "settings": {}, "learnt": {}})), "it holds a Poisson and no estimator"),
    (lambda b: changed(b, lambda h: h.update(format="1")), "it is damaged.*TypeError")])
def test_foreign_newer_and_hostile_files(make, words, blob, tmp_path, capsys):
    "Each is refused in its own words, and nothing in it is run."
    with pytest.raises(ValueError, match=f"model.npz cannot be loaded: .*{words}"):
        loaded(make(blob), tmp_path)
    assert capsys.readouterr().out == ""


def test_an_archive_that_would_fill_the_memory(tmp_path):
    "A small file that unpacks to much more is refused before it does."
    buffer = io.BytesIO()
    np.savez_compressed(buffer, emlit=np.array("{}"), x=np.zeros(1_000_000))
    with pytest.raises(ValueError, match="it is compressed"):
        loaded(buffer.getvalue(), tmp_path)


def test_many_small_members_that_unpack_to_much(tmp_path, blob):
    "One compressed member is enough to refuse, however small; and members that share their bytes."
    for type in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        buffer = io.BytesIO(blob)
        with zipfile.ZipFile(buffer, "a") as file:
            file.writestr("x.npy", b"x", compress_type=type)
        with pytest.raises(ValueError, match="it is compressed"):
            loaded(buffer.getvalue(), tmp_path)
    buffer = io.BytesIO(blob)
    with zipfile.ZipFile(buffer, "a") as file:
        for number in range(200):
            file.writestr(f"x{number}.npy", b"")
            file.infolist()[-1].header_offset = file.infolist()[0].header_offset
            file.infolist()[-1].file_size = file.infolist()[-1].compress_size = len(blob) // 2
    with pytest.raises(ValueError, match="it is compressed"):
        loaded(buffer.getvalue(), tmp_path)


def test_arrays_that_nothing_refers_to(tmp_path, blob):
    "Each array in the file is a part of the model, and of one place in it."
    with np.load(io.BytesIO(blob)) as file:
        more = {name: file[name] for name in file.files} | {"ballast": np.zeros(3)}
    with pytest.raises(ValueError, match="it holds 'ballast', which is no part of the Mixture"):
        loaded(archive(**more), tmp_path)
    with pytest.raises(ValueError, match="it holds 'history_', which is no part"):
        loaded(changed(blob, lambda h: h["model"]["learnt"].pop("history_")), tmp_path)


def test_a_file_without_a_newer_setting(blob, tmp_path):
    "A setting that the file does not name has its default: files outlive new settings."
    model = loaded(changed(blob, lambda h: h["model"]["settings"].pop("verbose_interval")), tmp_path)
    assert model.verbose_interval == 10 and model.n_components == 2


def test_paths_are_kept_as_words(tmp_path):
    "A setting that is a path comes back as a string."
    model = GaussianMixture(2, random_state=0, checkpoint=tmp_path / "c.npz").fit(np.random.default_rng(0).normal(size=(50, 2)))
    save(model, tmp_path / "m.npz")
    assert load(tmp_path / "m.npz").checkpoint == str(tmp_path / "c.npz")
