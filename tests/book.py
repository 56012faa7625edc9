"""The notebooks as the tests see them: cells with their directives, syntax trees, names and assertions."""
import ast
import re
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile

from tools.notebooks import PNG_IN_HTML, ROOT, joined, read, source
from tools.notebooks import notebooks as notebook_paths

DIRECTIVE = re.compile(r"\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*)")
MAGIC = re.compile(r"^(\s*)(%%?[a-z]|!).*$", re.MULTILINE)
CHECKS = re.compile(r"^\s*#\s*checks?\s+(\(.*)$", re.MULTILINE)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


def prose(markdown):
    "Markdown without its code blocks and code spans."
    return re.sub(r"^( *)(```+|~~~+).*?^ *\2`*~*\s*$|(`+)(?!`).+?(?<!`)\3(?!`)", "", markdown, flags=re.DOTALL | re.MULTILINE)


def repo_files():
    "Paths of the files that belong to the repository, relative to its root: tracked, or new and not ignored."
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return {name for name in listed if name and (ROOT / name).exists()}


# ---- what counts as a test -----------------------------------------------------------------------


def called(node):
    "The dotted name that a call calls: 'np.testing.assert_allclose'. Empty for anything else."
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def same_without_calls(a, b):
    return ast.dump(a) == ast.dump(b) and not any(isinstance(n, ast.Call) for n in ast.walk(a))


def is_vacuous(test):
    "Whether an asserted expression can never be false: a literal, or a value compared with itself."
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq):
        return same_without_calls(test.left, test.comparators[0])
    return isinstance(test, (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Lambda, ast.JoinedStr))


def is_assertion(node, helpers=()):
    "Whether a syntax node asserts something that could fail. `helpers` names functions that assert when called."
    if isinstance(node, ast.Assert):
        return not is_vacuous(node.test)
    parent, _, name = called(node).rpartition(".")
    if parent.endswith("testing") or name.startswith("assert_"):
        return not (len(node.args) > 1 and same_without_calls(*node.args[:2]))
    return name in {"test_fail", *helpers} or (parent, name) in {("pytest", "raises"), ("pytest", "warns")}


def executed(tree):
    "The nodes that run when a cell runs: all but the bodies of the functions that it defines."
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from executed(child)


# ---- cells and notebooks -------------------------------------------------------------------------


@dataclass
class Cell:
    number: int
    kind: str
    source: str
    outputs: list = field(default_factory=list)

    @cached_property
    def directives(self):
        "The `#|` lines at the top of a code cell, as {'export': '', 'code-fold': 'true'}."
        top = takewhile(lambda line: not line.strip() or DIRECTIVE.match(line), self.source.splitlines())
        return {m[1]: m[2].strip("\"' ") for line in top if (m := DIRECTIVE.match(line))}

    @cached_property
    def tree(self):
        "The syntax tree. Magics count as `pass`."
        return ast.parse(MAGIC.sub(r"\1pass", self.source))

    @cached_property
    def names(self):
        "Every identifier that the cell uses, as `name` or as `something.name`."
        return {getattr(n, "id", None) or getattr(n, "attr", None) for n in ast.walk(self.tree)}

    @property
    def checks(self):
        "The numbers of the equations that the cell says it checks."
        return [tag for listed in CHECKS.findall(self.source) for tag in re.findall(r"\(([^()]+)\)", listed)]

    is_code = property(lambda self: self.kind == "code")
    is_markdown = property(lambda self: self.kind == "markdown")
    is_exported = property(lambda self: self.is_code and bool({"export", "exports", "exporti"} & self.directives.keys()))
    is_hidden = property(lambda self: "hide" in self.directives or self.directives.get("include") == "false")
    is_folded = property(lambda self: self.directives.get("code-fold") == "true")
    is_empty = property(lambda self: not self.tree.body)

    def texts(self):
        "The texts of the outputs, with the pixels of figures taken out."
        for output in self.outputs:
            data = output.get("data", {}).items()
            parts = [output["text"]] if "text" in output else [value for kind, value in data if kind.startswith("text/")]
            yield from (PNG_IN_HTML.sub("", joined(part)) for part in parts)

    def shows_figure(self):
        html = [joined(o["data"]["text/html"]) for o in self.outputs if "text/html" in o.get("data", {})]
        pictures = [k for o in self.outputs for k in o.get("data", {}) if k.startswith("image/")]
        return bool(pictures) or any("<img" in text for text in html)


@dataclass
class Notebook:
    name: str
    cells: list
    book: list = field(default_factory=list, repr=False)  # the notebooks of the whole book, this one among them

    @property
    def chapter(self):
        "The number in front of the name; None for the index."
        return int(self.name[:2]) if self.name[:2].isdigit() else None

    @property
    def module(self):
        return next((c.directives["default_exp"] for c in self.code if "default_exp" in c.directives), None)

    code = property(lambda self: [c for c in self.cells if c.is_code])
    markdown = property(lambda self: [c for c in self.cells if c.is_markdown])
    exported = property(lambda self: [c for c in self.cells if c.is_exported])

    @cached_property
    def tags(self):
        "Pairs (equation number, cell) in reading order."
        return [(tag, c) for c in self.markdown for tag in re.findall(r"\\tag\*?\{([^}]*)\}", prose(c.source))]

    @cached_property
    def helpers(self):
        "Functions defined in the notebook, but not exported, that assert when they are called."
        functions = [f for c in self.code if not c.is_exported for f in c.tree.body if isinstance(f, ast.FunctionDef)]
        return {f.name for f in functions if any(is_assertion(n) for n in ast.walk(f))}

    def asserts(self, cell):
        return cell.is_code and any(is_assertion(n, self.helpers) for n in executed(cell.tree))

    def near(self, cell, before, after):
        "The code cells from `before` cells above to `after` cells below a cell."
        return [c for c in self.cells[max(cell.number - before, 0):cell.number + after + 1] if c.is_code]


def public_definitions(cell):
    "Pairs (dotted name, node) of the public functions, classes and methods that a cell defines. Protocols have no methods."
    for node in cell.tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield node.name, node
            concrete = isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases)
            for child in node.body if concrete else []:
                if isinstance(child, DEFINITIONS) and not child.name.startswith("_"):
                    yield f"{node.name}.{child.name}", child


def as_notebook(name, raw, book=None):
    "A `Notebook` from the JSON of one. It is added to `book`."
    book = [] if book is None else book
    cells = [Cell(i, c["cell_type"], source(c), c.get("outputs", [])) for i, c in enumerate(raw["cells"])]
    book.append(Notebook(name, cells, book))
    return book[-1]


def load_book():
    "Every notebook of the book, in reading order."
    book = []
    for path in notebook_paths():
        as_notebook(path.stem, read(path), book)
    return book
