"""Count the words of SciPy's docstrings, and write emlit/csv/docstrings.csv.

    python -m tools.corpus [FILE]

One line a function: its name, then each word, with the number of times it occurs if more than once. Only words and numbers are kept,
not the text. The counts are those of one version of SciPy (VERSION) under one of Python (PYTHON, since some docstrings
are made when SciPy is imported), from which the file can be made again, to the byte.
"""
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections import Counter
from pathlib import Path

import scipy
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

VERSION, PYTHON = "1.17.1", (3, 11)
FILE = Path(__file__).resolve().parent.parent / "emlit" / "csv" / "docstrings.csv"
MODULES = ("cluster.hierarchy", "cluster.vq", "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal",
           "signal.windows", "sparse", "sparse.csgraph", "sparse.linalg", "spatial", "spatial.distance", "stats")
LATE = re.compile(r"^\s*(Examples|References|See Also|Array API Standard Support)\s*\n\s*-{3,}", re.MULTILINE)
BOILERPLATE = re.compile(  # the same paragraphs in very many docstrings
    r"^\s*(?:nan_policy|keepdims) : .*?(?=\n\S|\Z)"
    r"|\*\*Array API Standard Support\*\*.*?(?:for more information\.|\Z)"
    r"|The documentation is written assuming array arguments are of specified.*?for details\.", re.DOTALL | re.MULTILINE)
RARE, COMMON, SHORT = 12, 0.15, 25  # documents a word must occur in, share it may occur in at most, words a document must have
HEADER = """\
# How often each word occurs in the docstrings of public functions and classes of SciPy {version} (https://scipy.org).
# A line: name of the function, then its words, with their counts if above 1. Made by tools/corpus.py; the text itself is not here.
# SciPy's licence (BSD, 3 clauses), under which this file is derived and distributed:
"""


def licence():
    "The text of SciPy's own licence, without those of the code that it bundles."
    (file,) = [f for f in importlib.metadata.files("scipy") if f.name == "LICENSE.txt"]
    return file.read_text(encoding="utf-8").split("\n----")[0].strip()


def docstrings():
    "Name and docstring of each public function and class, each once."
    seen = set()
    for module in MODULES:
        space = importlib.import_module(f"scipy.{module}")
        for name in sorted(space.__all__):
            thing = getattr(space, name)
            if (inspect.isroutine(thing) or inspect.isclass(thing)) and id(thing) not in seen and thing.__doc__:
                seen.add(id(thing))
                yield f"{module}.{name}", inspect.cleandoc(thing.__doc__)


def words(text):
    "The words of the part that says what a function does, in small letters."
    prose = re.sub(r"``?[^`]*``?|:\w+:|\.\. \S+::.*|https?://\S+|\\\w+|^.*>>>.*$", " ", BOILERPLATE.sub(" ", LATE.split(text)[0]), flags=re.MULTILINE)
    return [w for w in re.findall(r"(?<![A-Za-z_])[a-z]{3,}(?![A-Za-z_(=])", prose.lower()) if w not in ENGLISH_STOP_WORDS]


def corpus():
    "Name and word counts of each document, without the rare words, the common words and the short documents."
    counts = {name: Counter(words(text)) for name, text in docstrings()}
    documents = Counter(w for c in counts.values() for w in c)
    kept = {w for w, n in documents.items() if RARE <= n <= COMMON * len(counts)}
    for name, c in counts.items():
        c = {w: n for w, n in c.items() if w in kept}
        if sum(c.values()) >= SHORT:
            yield name, c


def is_the_version():
    "Whether this SciPy and this Python are those that the file was made with."
    return (scipy.__version__, sys.version_info[:2]) == (VERSION, PYTHON)


def text():
    "The file."
    notes = HEADER.format(version=scipy.__version__) + "".join(f"# {line}".rstrip() + "\n" for line in licence().splitlines())
    lines = (",".join([name, *(f"{w}:{c[w]}" if c[w] > 1 else w for w in sorted(c))]) for name, c in corpus())
    return notes + "\n".join(lines) + "\n"


if __name__ == "__main__":
    if not is_the_version():
        sys.exit(f"the file counts the words of SciPy {VERSION} under Python {PYTHON}: install these, or change VERSION and PYTHON")
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8", newline="\n")
