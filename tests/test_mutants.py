"""The list of planted bugs fits the package as it is; `make mutants` shows that the tests find them."""
import ast

import pytest
from tools.mutants import MODULES, MUTANTS, ROOT, Mutant, describe, killer, planted


def module_text(mutant):
    return (ROOT / "emlit" / f"{mutant.module}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.module}: {m.name}")
def test_mutant_can_be_planted(mutant):
    "The text to replace stands in the module exactly once, and what replaces it is Python that means something else."
    text = module_text(mutant)
    assert ast.dump(ast.parse(planted(mutant, text))) != ast.dump(ast.parse(text))


def test_mutants_cover_every_module():
    "Each module has mutants and a test file; names are unique within a module."
    assert {m.module for m in MUTANTS} == set(MODULES)
    assert all((ROOT / "tests" / f"test_{name}.py").exists() for name in MODULES)
    assert len({(m.module, m.name) for m in MUTANTS}) == len(MUTANTS)


def test_stale_mutants_are_refused():
    "A text that is not there, or there twice, is an error that names the mutant."
    for text in ("", "x = 1; x = 1"):
        with pytest.raises(ValueError, match="one for two: 'x = 1' stands"):
            planted(Mutant("one for two", "em", "x = 1", "x = 2"), text)


def test_verdicts():
    "A failing test kills, passing tests do not, and a run that tested nothing is an error."
    mutant = Mutant("one for two", "em", "x = 1", "x = 2")
    output = "F\n=== short test summary info ===\nFAILED tests/test_em.py::test_a[1 2] - assert 1 == 2\n1 failed"
    assert killer(1, output) == "test_em.py::test_a[1 2]" and killer(0, "5 passed") == ""
    assert describe(mutant, killer(1, output)).endswith("killed by test_em.py::test_a[1 2]")
    assert describe(mutant, "").endswith("SURVIVED")
    assert describe(mutant._replace(equivalent="same value"), "").endswith("same value")
    with pytest.raises(RuntimeError, match="no tests ran"):
        killer(5, "no tests ran")
