"""The package as others get it: built, installed where nothing else is, and used there."""
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_string

import pytest
from book import repo_files
from documents import READERS, parse, targets
from tools.notebooks import ROOT

pytestmark = pytest.mark.slow
SMOKE = """
import importlib.util
import sys

import numpy as np
import emlit
from emlit.data import load_faithful
from emlit.gmm import fit_gmm

assert emlit.__file__.startswith(sys.prefix), emlit.__file__
for name in ("nbdev", "fastcore", "IPython", "ipykernel", "jupyter_core", "notebook"):
    assert importlib.util.find_spec(name) is None, name
result = fit_gmm(load_faithful().X, 2)
np.testing.assert_allclose(result.log_likelihood, -1130.26396, atol=1e-4)
print(f"{result.log_likelihood:.5f}")
"""


def call(*command, cwd):
    "Run a command away from this environment's packages and return what it prints."
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    "A copy of the files that belong to the repository."
    folder = tmp_path_factory.mktemp("tree")
    for name in repo_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def archives(tree):
    "The sdist, and the wheel made from it, both built in isolation."
    call(sys.executable, "-m", "build", "--outdir", tree / "dist", tree, cwd=tree)
    (wheel,), (sdist,) = (tree / "dist").glob("*.whl"), (tree / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    "The interpreter of a new, empty environment."
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    return message_from_string(archive.read(name).decode("utf-8"))


def test_wheel_holds_the_package_only(archives, tree):
    "Every module and data file of emlit, and nothing of tests, notebooks or tools."
    inside = {n for n in zipfile.ZipFile(archives[0]).namelist() if ".dist-info/" not in n}
    assert inside == {p.relative_to(tree).as_posix() for p in (tree / "emlit").rglob("*.*")}
    assert "emlit/csv/faithful.csv" in inside


def test_sdist_can_be_built_from(archives):
    "The source archive holds the settings that setup.py reads, the README and the licence."
    inside = {n.partition("/")[2] for n in tarfile.open(archives[1]).getnames()}
    assert {"setup.py", "settings.ini", "README.md", "LICENSE", "emlit/csv/faithful.csv"} <= inside


def test_metadata(archives):
    "Licence, Python version and requirements; the tools of development only in the extra."
    meta = metadata(archives[0])
    assert meta["License-Expression"] == "Apache-2.0" or meta["License"] == "Apache-2.0"
    assert meta["Requires-Python"] == ">=3.11" and meta["Description-Content-Type"] == "text/markdown"
    unconditional = [r for r in meta.get_all("Requires-Dist") if "extra ==" not in r]
    assert not [r for r in unconditional if re.match("nbdev|jupyter|fastcore|execnb|ghapi", r)]


def relative_links(markdown):
    "Links and images that a package index could not resolve."
    found = [*targets(parse((markdown,), READERS[0])[0]), *re.findall(r"""(?:src|href)=["']([^"']+)""", markdown)]
    return [target for target in found if not target.startswith(("https://", "mailto:"))]


def test_description_has_no_relative_links(archives):
    "What PyPI shows leads somewhere from there."
    assert relative_links(metadata(archives[0]).get_payload()) == []


def test_relative_links_are_found():
    "A relative link, image or anchor is noticed; an address is not."
    page = '[a](nbs/a.ipynb) ![b](b.png) [c](#c) <img src="d.png"> [e](https://example.org)'
    assert relative_links(page) == ["nbs/a.ipynb", "b.png", "#c", "d.png"]


def test_installs(archives, clean_python, tree):
    "The wheel, the sdist and the tree install into an empty environment, and each fits Old Faithful there."
    wheel, sdist = archives
    pip, elsewhere = (clean_python, "-m", "pip", "--disable-pip-version-check", "--quiet"), clean_python.parent
    for arguments in ([wheel], ["--force-reinstall", "--no-deps", sdist], ["--force-reinstall", "--no-deps", tree]):
        call(*pip, "install", *arguments, cwd=elsewhere)
        call(*pip, "check", cwd=elsewhere)
        assert call(clean_python, "-c", SMOKE, cwd=elsewhere).strip() == "-1130.26396", arguments
