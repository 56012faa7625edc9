"""Every rule of the book, applied to every notebook, and to small bad notebooks in which it must find something."""
import ast
import re

import pytest
from book import DEFINITIONS, DIRECTIVE, IMPORTS, Cell, Notebook, load_book, prose, public_definitions
from tools.notebooks import ROOT

BOOK = load_book()
BEFORE, REACH = 2, 8  # cells above and below a definition or equation in which its test counts as near
LONGEST_EXPORT, LONGEST_RUN, EXERCISES = 25, 3, 4
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:home|root|Users|tmp|work|var|opt|mnt)/\w|\b[A-Z]:\\\\?(?:Users|Windows|Temp)")
RULES = {}


def rule(check):
    "Register a generator of pairs (cell, complaint) about a notebook."
    RULES[check.__name__] = check
    return check


def complaints(notebook, check):
    return [f"{notebook.name}, cell {cell.number if cell else '-'}: {text}" for cell, text in check(notebook)]


# ---- equations -----------------------------------------------------------------------------------


@rule
def equations_are_numbered(nb):
    for cell in nb.markdown:
        own_words = re.sub(r"^ *>.*$", "", prose(cell.source), flags=re.MULTILINE)  # what is quoted stays as it was
        for display in re.findall(r"\$\$(.+?)\$\$", own_words, re.DOTALL):
            if "\\tag" not in display:
                yield cell, f"a displayed equation without \\tag: {display.strip()[:60]}"


@rule
def equations_are_checked(nb):
    for tag, cell in nb.tags:
        below = nb.near(cell, BEFORE, len(nb.cells))
        if not any(tag in c.checks for c in below):
            yield cell, f"equation ({tag}) has no cell below it that begins '# checks ({tag})'"


@rule
def checks_assert(nb):
    for cell in nb.code:
        if cell.checks and not nb.asserts(cell):
            yield cell, f"says that it checks {cell.checks} and asserts nothing that could fail"


@rule
def checks_name_equations(nb):
    known = {tag for other in nb.book for tag, _ in other.tags}
    for cell in nb.code:
        for tag in cell.checks:
            if tag not in known:
                yield cell, f"checks ({tag}), which no equation bears"


@rule
def equation_numbers_are_unique(nb):
    everywhere = [tag for other in nb.book for tag, _ in other.tags]
    for tag, cell in nb.tags:
        if everywhere.count(tag) > 1:
            yield cell, f"the number ({tag}) is given to more than one equation"


@rule
def equation_numbers_begin_with_the_chapter(nb):
    for tag, cell in nb.tags:
        if not re.fullmatch(rf"{nb.chapter}\.\d+[a-z]?", tag):
            yield cell, f"equation ({tag}) should be numbered ({nb.chapter}.1), ({nb.chapter}.2), ..."


# ---- what is exported ----------------------------------------------------------------------------


@rule
def exports_have_docstrings(nb):
    for cell in nb.exported:
        for name, node in public_definitions(cell):
            if not (ast.get_docstring(node) or "").strip():
                yield cell, f"{name} has no docstring"


@rule
def exports_are_tested_nearby(nb):
    for cell in nb.exported:
        for name, node in public_definitions(cell):
            reach = REACH if isinstance(node, ast.FunctionDef) and "." not in name else len(nb.cells)  # classes: when in use
            if not any(node.name in c.names and nb.asserts(c) for c in nb.near(cell, 0, reach)):
                yield cell, f"no asserting cell within {reach} cells names {name}"


@rule
def exports_are_tested_by_pytest(nb):
    known = names_in_pytest_files()
    for cell in nb.exported:
        for name, node in public_definitions(cell):
            if node.name not in known:
                yield cell, f"no file tests/test_*.py uses {name}"


def names_in_pytest_files(files=None):
    "Every identifier used, not just imported, in the test files of the modules."
    named = set()
    for file in ROOT.glob("tests/test_*.py") if files is None else files:
        named |= Cell(0, "code", file.read_text(encoding="utf-8")).names
    return named


@rule
def exports_only_define(nb):
    allowed = (*DEFINITIONS, *IMPORTS, ast.Assign, ast.AnnAssign)
    for cell in nb.exported:
        for node in cell.tree.body:
            if not isinstance(node, allowed) and not is_text(node):
                yield cell, f"an exported cell that computes: {ast.unparse(node)[:60]}"


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@rule
def imports_stand_apart(nb):
    "The site runs every cell of a module's notebook that imports something: such a cell must not need earlier results."
    for cell in nb.code if nb.module else []:
        allowed = IMPORTS if cell.is_exported else (*IMPORTS, *DEFINITIONS, ast.Expr) if cell.is_hidden else (*IMPORTS, *DEFINITIONS)
        others = [n for n in cell.tree.body if not isinstance(n, allowed) and not is_text(n)]
        if others and any(isinstance(n, IMPORTS) for n in cell.tree.body):
            yield cell, f"imports and other code in one cell: {ast.unparse(others[0])[:60]}"


@rule
def imports_point_to_lower_numbers(nb):
    chapters = {other.module: other.chapter for other in nb.book if other.module}
    for cell in nb.code:
        for module in emlit_modules(cell):
            if module in chapters and nb.chapter is not None and chapters[module] >= nb.chapter:
                yield cell, f"imports emlit.{module}, which is not an earlier chapter"


def emlit_modules(cell):
    "The modules of the package that a cell imports."
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("emlit.") for a in node.names if a.name.startswith("emlit."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "emlit":
            module = node.module.removeprefix("emlit").removeprefix(".")
            yield from [module] if module else [a.name for a in node.names]


@rule
def exported_cells_are_short(nb):
    for cell in nb.exported:
        if (lines := code_lines(cell)) > LONGEST_EXPORT:
            yield cell, f"an exported cell of {lines} lines of code (at most {LONGEST_EXPORT})"


def code_lines(cell):
    "Lines of code: not blank, not a comment, not in a docstring."
    texts = [n for n in ast.walk(cell.tree) if is_text(n)]
    in_text = {line for n in texts for line in range(n.lineno, n.end_lineno + 1)}
    lines = enumerate(cell.source.splitlines(), 1)
    return sum(1 for i, line in lines if line.strip() and not line.lstrip().startswith("#") and i not in in_text)


# ---- how a chapter reads -------------------------------------------------------------------------


@rule
def hidden_cells_hold_no_tests(nb):
    for cell in nb.code:
        if cell.is_hidden and nb.asserts(cell):
            yield cell, "a hidden cell that asserts: readers should see every test"


@rule
def directives_come_first(nb):
    for cell in nb.code:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        top = next((i for i, line in enumerate(lines) if not DIRECTIVE.match(line)), len(lines))
        for line in lines[top:]:
            if DIRECTIVE.match(line):
                yield cell, f"nbdev ignores a directive below the first lines: {line.strip()}"


@rule
def prose_interrupts_code(nb):
    run = 0
    for cell in nb.cells:
        shown = cell.is_code and not cell.is_hidden and not cell.is_empty
        run = run + 1 if shown else run if cell.is_code else 0
        if run == LONGEST_RUN + 1:
            yield cell, f"more than {LONGEST_RUN} code cells in a row without prose"


@rule
def chapters_have_exercises(nb):
    if not nb.chapter:
        return
    text = "\n".join(c.source for c in nb.markdown)
    posed = set(re.findall(r"Exercise (\d+\.\d+)", text))
    solved = {number for c in nb.code if c.is_folded and nb.asserts(c)
              for number in re.findall(r"exercise (\d+\.\d+)", c.directives.get("code-summary", ""), re.IGNORECASE)}
    if len(posed & solved) < EXERCISES:
        yield None, f"{len(posed & solved)} exercises with a folded solution that asserts (at least {EXERCISES})"


@rule
def solutions_assert(nb):
    for cell in nb.code:
        if cell.is_folded and "olution" in cell.directives.get("code-summary", "") and not nb.asserts(cell):
            yield cell, "a solution that asserts nothing"


@rule
def figures_are_described(nb):
    for cell in nb.cells:
        if cell.is_code and cell.shows_figure() and not described(nb.cells[cell.number + 1:]):
            yield cell, "a figure without a sentence '*Figure: ...*' below it"
        if cell.is_markdown:
            for image in re.findall(r"!\[\s*\]\([^)]*\)|<img(?![^>]*\balt=.\w)[^>]*>", prose(cell.source)):
                yield cell, f"an image without alternative text: {image}"


def described(cells):
    "Whether the first prose after a figure or animation says what it shows."
    following = next((c for c in cells if c.is_markdown or c.shows_figure()), None)
    return bool(following and following.is_markdown and re.search(r"\*(Figure|Animation)\b", following.source))


# ---- what is stored ------------------------------------------------------------------------------


@rule
def no_errors_stored(nb):
    for cell in nb.code:
        if any(o["output_type"] == "error" for o in cell.outputs):
            yield cell, "a stored error"


@rule
def no_warnings_stored(nb):
    for cell in nb.code:
        if any(o.get("name") == "stderr" for o in cell.outputs):
            yield cell, "a stored warning (output on stderr)"


@rule
def no_addresses_stored(nb):
    for cell in nb.code:
        for text in cell.texts():
            if found := ADDRESS.search(text):
                yield cell, f"a memory address: {found[0]}"


@rule
def no_machine_paths(nb):
    for cell in nb.cells:
        for text in [cell.source, *cell.texts()]:
            if found := MACHINE_PATH.search(text):
                yield cell, f"a path of one machine: {text[found.start():][:40]}"


@rule
def no_unsafe_comparisons(nb):
    for cell in nb.code:
        if "test_close" in cell.names:
            yield cell, "test_close broadcasts shapes: use np.testing.assert_allclose(..., strict=True)"


@pytest.mark.parametrize("name", [nb.name for nb in BOOK])
@pytest.mark.parametrize("check", RULES)
def test_rule(check, name):
    "A notebook follows a rule."
    notebook = next(nb for nb in BOOK if nb.name == name)
    if found := complaints(notebook, RULES[check]):
        pytest.fail("\n".join(found), pytrace=False)


def test_there_is_a_book():
    "The notebooks are found, the index among them."
    assert {"index", "00_data"} <= {nb.name for nb in BOOK}


# ---- the rules themselves ------------------------------------------------------------------------


def md(text):
    return ("markdown", text, [])


def code(text, *outputs):
    return ("code", text, list(outputs))


def make(*cells, name="11_bound", book=None):
    book = [] if book is None else book
    book.append(Notebook(name, [Cell(i, *cell) for i, cell in enumerate(cells)], book))
    return book[-1]


EQUATION = "$$\na = b \\tag{11.1}\n$$"
FIGURE = {"output_type": "display_data", "data": {"image/png": "iVBOR"}}
PLAIN = {"output_type": "stream", "name": "stdout", "text": ["x = 1\n"]}
FUNCTION = '#| export\ndef em(x):\n    "One line."\n    return x'


def solution(number, text="assert 1 + 1 == 2"):
    return code(f'#| code-fold: true\n#| code-summary: "Solution to exercise {number}"\n{text}')


EXERCISE_CELLS = [cell for i in range(1, 5) for cell in (md(f"**Exercise 11.{i}.** Do it."), solution(f"11.{i}"))]
GOOD = [md("# A title\n> A sentence"), code("#| default_exp bound"), code("#| export\nimport numpy as np"),
        code("#| hide\nimport matplotlib.pyplot as plt\nplt.style.use('book.mplstyle')"),
        md(f"Now\n\n{EQUATION}\n\n`\\tag{{7.7}}` is code\n\n> $$a = b$$"), code("# checks (11.1)\nassert em(1) == 1", PLAIN),
        md("A function"), code(FUNCTION), md("which"), code("test_fail(lambda: em(None), contains='x')"),
        code("fig, ax = plt.subplots();", FIGURE), md("*Figure: a line.*"), *EXERCISE_CELLS]

BAD = {
    "equations_are_numbered": [[md("$$\na = b\n$$")], [md("$$ a $$ and $$ b \\tag{11.1} $$")]],
    "equations_are_checked": [[md(EQUATION)], [md(EQUATION), code("assert x == 1")],
                              [code("# checks (11.1)\nassert x == 1"), md("a"), md("b"), md(EQUATION)]],
    "checks_assert": [[code(f"# checks (11.1)\n{text}")] for text in (
        "print(1)", "assert True", "assert 1, 'no'", "assert x == x", "assert (x == 1, 'always true')", "assert 'text'",
        "np.testing.assert_allclose(x, x)", "def f():\n    assert x == 1", "# assert x == 1", "print('assert x')")],
    "checks_name_equations": [[md(EQUATION), code("# checks (11.1), (11.2)\nassert x == 1")]],
    "equation_numbers_are_unique": [[md(EQUATION), md(EQUATION)]],
    "equation_numbers_begin_with_the_chapter": [[md("$$ a \\tag{12.1} $$")], [md("$$ a \\tag{11} $$")], [md("$$ a \\tag{1.1} $$")]],
    "exports_have_docstrings": [[code("#| export\ndef f(): pass")], [code('#| export\nclass A:\n    "A."\n    def f(self): pass')],
                                [code("#| exports\nclass A: pass")]],
    "exports_are_tested_nearby": [[code(FUNCTION)], [code(FUNCTION), code("em(1)")],
                                  [code(FUNCTION), *[md("")] * REACH, code("assert em(1)")],
                                  [code('#| export\nclass A:\n    "A."\n    def f(self): pass'), code("assert A()")]],
    "exports_are_tested_by_pytest": [[code("#| export\ndef a_name_that_is_used_nowhere(): pass")]],
    "exports_only_define": [[code("#| export\nprint(1)")], [code("#| export\nfor i in x: pass")], [code("#| export\nassert x == 1")]],
    "imports_stand_apart": [[code(f"#| default_exp bound\n{text}")] for text in (
        "#| export\nimport os\ndef f(): pass", "import os\nx = 1", "#| hide\nimport os\nfor i in x: pass")],
    "imports_point_to_lower_numbers": [[code(f"#| default_exp bound\n{text}")] for text in (
        "from emlit.bound import posterior", "import emlit.gmm", "from emlit import gmm")],
    "exported_cells_are_short": [[code("#| export\ndef f():\n" + "    x = 1\n" * LONGEST_EXPORT)]],
    "hidden_cells_hold_no_tests": [[code("#| hide\nassert x == 1")], [code("#| include: false\ntest_fail(f)")]],
    "directives_come_first": [[code("# a comment\n#| export\nx = 1")], [code("x = 1\n#| hide")]],
    "prose_interrupts_code": [[code("x = 1")] * 4, [code("x = 1"), code("x"), code("#| hide\nimport os"), code("x"), code("x")]],
    "chapters_have_exercises": [[md("None")], EXERCISE_CELLS[:-2], [*EXERCISE_CELLS[:-1], solution("11.4", "print(1)")],
                                [*EXERCISE_CELLS[:-1], solution("11.3")], [c for c in EXERCISE_CELLS if c[0] == "code"]],
    "solutions_assert": [[solution("11.1", "print(1)")]],
    "figures_are_described": [[code("plot()", FIGURE)], [code("plot()", FIGURE), code("plot()", FIGURE), md("*Figure: one.*")],
                              [code("plot()", FIGURE), md("Now to something else.")], [md("![](images/a.png)")],
                              [code("plot()", {"output_type": "display_data", "data": {"text/html": ["<img src='x'>"]}})],
                              [md('<img src="images/a.png">')]],
    "no_errors_stored": [[code("x", {"output_type": "error", "ename": "NameError"})]],
    "no_warnings_stored": [[code("x", {"output_type": "stream", "name": "stderr", "text": ["beware"]})]],
    "no_addresses_stored": [[code("x", {**PLAIN, "text": ["<function f at 0x7f12ab34cd56>"]})],
                            [code("x", {"output_type": "execute_result", "data": {"text/plain": ["<f 0x7f12ab34cd56>"]}})]],
    "no_machine_paths": [[md("See /home/ann/book")], [code("open('/tmp/x')")], [code("x", {**PLAIN, "text": ["File /root/a.py"]})],
                         [md(r"C:\Users\ann")]],
    "no_unsafe_comparisons": [[code("test_close(1, 1)")]],
}


def test_every_rule_has_bad_samples():
    "No rule goes untested."
    assert BAD.keys() == RULES.keys()


@pytest.mark.parametrize("check, number", [(check, i) for check, samples in BAD.items() for i in range(len(samples))])
def test_rule_finds_bad_notebook(check, number):
    "A rule complains about a notebook that breaks it."
    later = make(code("#| default_exp gmm"), name="14_gmm")
    bad = make(*BAD[check][number], book=later.book)
    found = complaints(bad, RULES[check])
    assert found and all(text.startswith("11_bound, cell ") for text in found)


@pytest.mark.parametrize("check", RULES)
def test_rule_accepts_good_notebook(check):
    "A rule has nothing to say about a notebook that follows it."
    assert complaints(make(*GOOD), RULES[check]) == []


@pytest.mark.parametrize("text", [
    "np.testing.assert_allclose(a, b)", "numpy.testing.assert_equal(a, b)", "assert_array_equal(a, b)", "assert f(x) == f(x)",
    "with pytest.raises(ValueError):\n    f()", "test_fail(lambda: f())", "for a in b:\n    assert a == 1", "check_it(1)",
    "if a:\n    assert b < c < d"])
def test_assertions_are_recognised(text):
    "Each way to assert in a notebook counts as a test."
    nb = make(code("def check_it(x):\n    assert x == 1"), code(text))
    assert nb.asserts(nb.cells[1]) and not nb.asserts(nb.cells[0])


def test_pytest_names_need_a_use(tmp_path):
    "A name that a test file imports and does not use is not tested by it."
    file = tmp_path / "test_x.py"
    file.write_text("from emlit.em import em, in_blocks\nassert em(1)\n")
    assert "em" in names_in_pytest_files([file]) and "in_blocks" not in names_in_pytest_files([file])
