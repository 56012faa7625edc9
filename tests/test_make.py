"""The commands: what they say where something is missing, and that make and tools/make.py offer the same."""
import builtins
import re
import subprocess
import sys

import pytest

from tools import make


def test_an_old_python_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"needs 3\.11 or newer.*make test PYTHON="):
        make.check_python()


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == missing:
            raise ImportError(name=missing)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit, match=rf"no '{missing}' module.*apt install python3-venv"):
        make.check_python()


def test_this_python_will_do():
    assert make.check_python() is None


def test_help_lists_every_target_and_a_wrong_one_is_named():
    listed = subprocess.run([sys.executable, "tools/make.py", "help"], cwd=make.ROOT, capture_output=True, text=True)
    assert listed.returncode == 0 and all(re.search(rf"^  {name} +\w", listed.stdout, re.M) for name in make.TARGETS)
    wrong = subprocess.run([sys.executable, "tools/make.py", "tset"], cwd=make.ROOT, capture_output=True, text=True)
    assert wrong.returncode == 1 and "There is no target tset" in wrong.stderr


def test_the_makefile_offers_the_same_targets():
    text = (make.ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split()) == {*make.TARGETS, "help"}
    assert set(re.search(r"^(help book .*):$", text, re.M)[1].split()) == {*make.TARGETS, "help"}


def test_the_digest_changes_with_any_byte(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("x")
    b.write_text("y")
    before = make.digest(a, b)
    b.write_text("z")
    assert make.digest(a, b) != before
    b.write_text("y")
    assert make.digest(a, b) == before
