"""Every command of the project. Needs Python 3.11 or newer and nothing else: it sets up the rest.

    python tools/make.py TARGET      (or: make TARGET)

"""
import hashlib
import os
import shutil
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
BUILD = ROOT / "_build"


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def digest(*files):
    "One digest of the contents of files, by which the commands know what is unchanged."
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


# ---- the steps -----------------------------------------------------------------------------------


def check_python():
    "Say what to install where Python is too old or cannot make virtual environments."
    wanted = tuple(int(part) for part in settings()["min_python"].split("."))
    if sys.version_info < wanted:
        sys.exit(f"This is Python {sys.version.split()[0]} ({sys.executable}); emlit needs {settings()['min_python']} or newer. "
                 "Install one and name it: make test PYTHON=python3.12")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as missing:
        sys.exit(f"This Python has no '{missing.name}' module, which makes the virtual environment. "
                 "Install it (Debian and Ubuntu: sudo apt install python3-venv) and run the same command again.")


def environment():
    "Create .venv and install the project with its development pins, unless that is done."
    check_python()
    cfg = settings()
    wanted = hashlib.sha256("\n".join([cfg["requirements"], cfg["dev_requirements"], sys.version]).encode()).hexdigest()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Setting up .venv: the packages are downloaded once (about 400 MB with JupyterLab, a minute or two).", flush=True)
    ours = ["--clear"] if stamp.exists() else []  # what somebody else made there is not wiped
    subprocess.run([sys.executable, "-m", "venv", *ours, str(VENV)], check=True)
    install("--editable", ".[dev]")
    python("-m", "pip", "check")
    stamp.write_text(wanted)


def python(*args, **env):
    "Run the environment's Python in the project's folder; end with its exit code if it fails."
    done = subprocess.run([str(PYTHON), *args], cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1", **env})
    if done.returncode:
        sys.exit(done.returncode)


def install(*what):
    "Run pip, show one line that counts the packages, and its whole output only where it fails."
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *what]
    pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    log, found, live = [], 0, sys.stdout.isatty()
    for line in pip.stdout:
        log.append(line)
        found += (new := line.startswith("Collecting "))
        if line.startswith("Installing collected"):
            print(f"\n  installing {line.count(',') + 1} packages", flush=True)
        elif new and (live or found % 20 == 0):
            print(f"\r  {found:3} found, {line.split()[1]:<50.50}", end="" if live else "\n", flush=True)
    if pip.wait():
        sys.exit("".join(log) + "\npip could not install the packages: see above. Is the package index reachable?")


def step(title):
    print(f"\n== {title}", flush=True)


def export():
    step("Export the package from the notebooks")
    python("-c", "from nbdev.doclinks import nbdev_export; nbdev_export()")


def site():
    step("Render the site")
    python("-m", "tools.site")


# ---- the targets ---------------------------------------------------------------------------------


def book():
    "export, rerun every notebook, store outputs that changed, write README.md, render the site into _docs/"
    export()
    step("Run the notebooks, each in a fresh process")
    python("-m", "tools.notebooks", "run")
    python("-m", "tools.readme")
    site()


def test():
    "everything: outputs reproduced, site rendered, all tests (export, README, notebooks, links, wheel, pages)"
    step("Rerun the notebooks and compare their outputs with the stored ones")
    python("-m", "tools.notebooks", "reproduce")
    site()
    step("Tests")
    python("-m", "pytest", "-q", "--durations=5", "tests")


def reproduce():
    "rerun every notebook from nothing and compare all stored outputs with the fresh ones"
    python("-m", "tools.notebooks", "reproduce", "--force")


def mutants():
    "plant known bugs one at a time in a copy of the package and show that a test fails for each"
    python("-m", "tools.mutants")


def bench():
    "measure speed and memory beside other libraries, on an idle machine (about 30 minutes)"
    onedal()
    install(*settings()["bench_requirements"].split())
    python("-m", "benchmarks")
    print("\nThe page of benchmarks shows the new figures after: make book")


def onedal():
    "Intel's oneDAL in an environment of its own, as it wants older versions of NumPy and scikit-learn."
    folder = BUILD / "onedal"
    if not folder.exists():
        step("Set up oneDAL")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        own = folder / PYTHON.relative_to(VENV)
        if subprocess.run([str(own), "-m", "pip", "install", "-q", "--disable-pip-version-check", "daal4py==2024.7.0"]).returncode:
            shutil.rmtree(folder)
            print("oneDAL cannot be installed here: its columns stay empty.", flush=True)


def lab():
    "open the notebooks in JupyterLab"
    python("-m", "jupyterlab", "nbs")


def clean():
    "remove everything that these commands made, the environment included"
    for folder in [VENV, BUILD, ROOT / "_docs", ROOT / "_proc", ROOT / "build", ROOT / "emlit.egg-info"]:
        shutil.rmtree(folder, ignore_errors=True)


TARGETS = {f.__name__: f for f in (book, test, reproduce, mutants, bench, site, lab, clean)}


def usage():
    print(__doc__)
    for name, target in TARGETS.items():
        print(f"  {name:<11}{target.__doc__ or 'render the site into _docs/ from the stored outputs'}")


def main():
    names = sys.argv[1:]
    if not names or set(names) - TARGETS.keys():
        usage()
        sys.exit(0 if names in ([], ["help"]) else f"\nThere is no target {' '.join(sorted(set(names) - TARGETS.keys()))}.")
    started = time.perf_counter()
    for name in names:
        if name != "clean":
            environment()
        TARGETS[name]()
    print(f"\nmake {' '.join(names)}: done in {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
