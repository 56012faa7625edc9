"""Plant known bugs into a copy of the package, one at a time, and show which test notices each.

    python tools/mutants.py [NAME ...]      all mutants, or those whose names hold one of the words

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
MODULES = ("data", "likelihood", "latent", "bound", "em", "classics", "gmm")
LIMIT = 300  # seconds for the tests of one mutant, which may never come to an end


class Mutant(NamedTuple):
    name: str
    module: str
    old: str  # stands in emlit/<module>.py exactly once
    new: str
    equivalent: str = ""  # why no test can tell it from the original, where that is so


MUTANTS = [
]


def planted(mutant, text):
    "The text of the mutant's module with the bug in it."
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in emlit/{mutant.module}.py, not once")
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
