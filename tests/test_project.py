"""The parts of the project agree: notebooks with the package, README with the index, settings with both."""
import ast
import difflib
import shutil
import subprocess
import sys
from configparser import ConfigParser

import pytest
from book import load_book
from packaging.requirements import Requirement
from tools.notebooks import NBS, ROOT, notebooks, read, text_of

NOT_AT_RUN_TIME = ("nbdev", "execnb", "fastcore", "ghapi", "fastgit", "IPython", "ipykernel", "jupyter", "jupyterlab", "notebook",
                   "nbformat", "matplotlib.pyplot")
PINNED_FOR_NBDEV = {"nbdev", "execnb", "fastcore", "ghapi", "fastgit"}


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def text(path):
    return path.read_text(encoding="utf-8")


def difference(stored, fresh, name):
    labels = f"stored {name}", f"fresh {name}"
    return "\n".join(difflib.unified_diff(stored.splitlines(), fresh.splitlines(), *labels, lineterm="", n=1))


# ---- notebooks and package -----------------------------------------------------------------------


def export_into(folder, nbs=NBS):
    "Copy what an export needs into `folder`, export there in a process of its own, and return the new package."
    shutil.copy(ROOT / "settings.ini", folder)
    shutil.copytree(nbs, folder / "nbs", ignore=lambda _, names: [n for n in names if not n.endswith(".ipynb")])
    (folder / "emlit").mkdir()
    shutil.copy(ROOT / "emlit" / "__init__.py", folder / "emlit")
    command = [sys.executable, "-c", "from nbdev.doclinks import nbdev_export; nbdev_export()"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "emlit"


def export_differences(stored, fresh):
    "How the modules of two packages differ."
    names = sorted({p.name for folder in (stored, fresh) for p in folder.glob("*.py")})
    for name in names:
        if not (fresh / name).exists():
            yield f"emlit/{name} has no notebook"
        elif not (stored / name).exists():
            yield f"emlit/{name} is missing: run nbdev_export"
        elif text(stored / name) != text(fresh / name):
            yield f"emlit/{name} is not what its notebook exports:\n{difference(text(stored / name), text(fresh / name), name)}"


def test_export_in_step(tmp_path):
    "The package is what the notebooks export, module by module, with its index of symbols."
    if found := list(export_differences(ROOT / "emlit", export_into(tmp_path))):
        pytest.fail("\n".join(found), pytrace=False)


def test_export_differences_are_found(tmp_path):
    "A changed, a missing and an orphaned module are each noticed."
    folders = tmp_path / "stored", tmp_path / "fresh"
    for folder, names in zip(folders, ("ab", "bc")):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.py").write_text(f"x = '{folder.name}'")
    assert [found.split()[0] for found in export_differences(*folders)] == ["emlit/a.py", "emlit/b.py", "emlit/c.py"]


def test_one_module_a_notebook():
    "Two notebooks never export to one module, and a module bears the name of its notebook."
    modules = {nb.name: nb.module for nb in load_book() if nb.module}
    assert len(set(modules.values())) == len(modules)
    assert modules == {name: name.partition("_")[2] for name in modules}


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: p.stem)
def test_notebook_is_clean(path):
    "nbdev_clean would change nothing."
    from nbdev.clean import clean_nb
    nb, cfg = read(path), settings()
    clean_nb(nb, allowed_metadata_keys=cfg.get("allowed_metadata_keys", "").split(),
             allowed_cell_metadata_keys=cfg["allowed_cell_metadata_keys"].split(), clean_ids=cfg.getboolean("clean_ids"))
    if changes := difference(text(path), text_of(nb), path.name):
        pytest.fail(f"{changes[:2000]}\nRun nbdev_clean.", pytrace=False)


def test_cells_have_ids():
    "Every cell has an id of its own, so that exports are the same each time."
    for path in notebooks():
        ids = [cell.get("id") for cell in read(path)["cells"]]
        assert None not in ids and len(set(ids)) == len(ids), path.name


def test_readme_in_step():
    "README.md is what tools/readme.py makes of the index."
    from tools.readme import readme_text
    if changes := difference(text(ROOT / "README.md"), readme_text(), "README.md"):
        pytest.fail(changes, pytrace=False)


# ---- settings ------------------------------------------------------------------------------------


def test_settings_for_nbdev():
    "nbdev finds what it needs, and is told not to write a pyproject.toml."
    needed = {"lib_name", "lib_path", "nbs_path", "doc_path", "version", "description", "author", "license", "min_python", "branch",
              "git_url", "doc_host", "doc_baseurl", "requirements", "dev_requirements", "custom_sidebar", "clean_ids"}
    assert needed <= settings().keys()
    assert not settings().getboolean("update_pyproject") and not (ROOT / "pyproject.toml").exists()


def test_version():
    "One version in the settings and in the package."
    import emlit
    assert settings()["version"] == emlit.__version__


def test_requirements():
    "Every requirement is well formed; nbdev and Jupyter are for development only."
    run_time, dev = ({Requirement(r).name for r in settings()[key].split()} for key in ("requirements", "dev_requirements"))
    assert run_time.isdisjoint(NOT_AT_RUN_TIME)
    assert PINNED_FOR_NBDEV <= dev


def modules_imported(file):
    "The top-level names that a Python file imports, wherever in it."
    for node in ast.walk(ast.parse(text(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_requirements_cover_the_imports():
    "What the package imports is in the standard library or among its requirements; the extra only where it can be done without."
    required = {Requirement(r).name.replace("scikit-learn", "sklearn") for r in settings()["requirements"].split()}
    extras = {Requirement(r).name for r in settings()["numba_requirements"].split()}
    for file in (ROOT / "emlit").glob("*.py"):
        assert set(modules_imported(file)) <= required | extras | sys.stdlib_module_names | {"emlit"}, file.name
    assert not extras & imported_by("import emlit")


def imported_by(statement):
    "The modules that a statement brings into a fresh interpreter."
    command = [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_imports_are_light():
    "Importing every module of the package brings in no nbdev, no Jupyter and no plotting."
    every = "import emlit, importlib, pkgutil\nfor m in pkgutil.walk_packages(emlit.__path__, 'emlit.'): importlib.import_module(m.name)"
    assert imported_by(every).isdisjoint(NOT_AT_RUN_TIME)
    assert "fastcore" in imported_by("import fastcore")
