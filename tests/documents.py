"""The Markdown of the project as two readers see it: GitHub's (and JupyterLab's) and Pandoc's (Quarto's)."""
import json
from collections import Counter
from functools import cache

import pypandoc
from tools.notebooks import ROOT, notebooks, read, source

READERS = ("gfm+tex_math_dollars", "markdown")
COUNTED = ("Header", "BulletList", "OrderedList", "DefinitionList", "Table", "BlockQuote", "CodeBlock", "Math", "Link", "Image", "Note")
BREAK = "cellbreak"


def documents():
    "Paths of all that is read as Markdown: the pages at the top and the notebooks."
    return [*sorted(ROOT.glob("*.md")), *notebooks()]


def markdown_cells(path):
    "Pairs (cell number, Markdown). A page is one cell."
    if path.suffix == ".md":
        return [(0, path.read_text(encoding="utf-8"))]
    return [(i, source(c)) for i, c in enumerate(read(path)["cells"]) if c["cell_type"] == "markdown"]


def elements(node):
    "All nodes of Pandoc's syntax tree."
    if isinstance(node, dict) and "t" in node:
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from elements(child)


@cache
def parse(texts, reader):
    """The top-level blocks of each of several texts, read by Pandoc in one go.

    They are joined by paragraphs of one word. A text that swallows the one after it (an unclosed fence, say)
    raises `ValueError` with its position.
    """
    joined = "".join(f"{text}\n\n{BREAK}{i}\n\n" for i, text in enumerate(texts))
    parsed, blocks = [], []
    for block in json.loads(pypandoc.convert_text(joined, "json", format=reader))["blocks"]:
        if block == {"t": "Para", "c": [{"t": "Str", "c": f"{BREAK}{len(parsed)}"}]}:
            parsed.append(blocks)
            blocks = []
        else:
            blocks.append(block)
    if len(parsed) < len(texts):
        raise ValueError(f"{len(parsed)}")
    return parsed


def counts(blocks):
    return Counter(node["t"] for node in elements(blocks) if node["t"] in COUNTED)


def targets(blocks):
    "Where the links and images of some blocks lead."
    return [node["c"][-1][0] for node in elements(blocks) if node["t"] in ("Link", "Image")]


def anchors(path):
    "The names of the headings of a document, in the spelling of either reader."
    texts = tuple(text for _, text in markdown_cells(path))
    blocks = [block for reader in READERS for parsed in parse(texts, reader) for block in parsed]
    return {node["c"][1][0] for node in elements(blocks) if node["t"] == "Header"}
