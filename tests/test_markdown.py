"""Markdown that reads the same in JupyterLab, on GitHub and on both sites."""
import re

import pytest
from book import prose
from documents import READERS, counts, documents, markdown_cells, parse

TRAPS = {
    r"^:::": "::: is raw text in JupyterLab",
    r"\{#(eq|fig|sec|tbl)-|(?<![\w`])@(eq|fig|sec|tbl)-": "Quarto's cross references are raw text in JupyterLab",
    r"\]\([^)]*\)\{": "attributes of links and images are raw text in JupyterLab",
    r"\[\^[\w-]+\]": "footnotes do not work in JupyterLab",
    r"^> *\[!": "> [!NOTE] does not work in JupyterLab: write > **Note.**",
    r"\\bm\b": r"\bm is an error in MathJax: write \boldsymbol",
    r"\\(label|eqref)\b": r"\label and \eqref show (???) in JupyterLab: write \tag and (11.2)",
    r"\\\$[^\n]*\\\$": r"text between two \$ is set as maths in JupyterLab",
    r"\]\(attachment:": "attachments are lost outside Jupyter",
    r"^(?!\s|>|[-*+] |\d+[.)] |\||$).*\n(?=[-*+] |1[.)] )": "a list with no blank line before it runs into the paragraph in Quarto",
    r"^(?!\s*(#|>|$)).*\S.*\n#{1,6} ": "a heading with no blank line before it runs into the paragraph in Quarto",
    r"^(?! *>)(?! *\$\$ *$)(?! *\$\$[^$]+\$\$ *$).*\$\$": "$$ belongs on a line of its own",
}
INLINE_MATHS = re.compile(r"(?<![\\$])\$((?:[^$\n]|\n(?!\n))+?)(?<!\\)\$(?!\$)")
DOCUMENTS = documents()


def traps(text):
    "Why a text would read wrongly somewhere, by patterns. Code does not count."
    text = prose(text)
    found = [why for pattern, why in TRAPS.items() if re.search(pattern, text, re.MULTILINE)]
    if any(maths != maths.strip() for maths in INLINE_MATHS.findall(re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL))):
        found.append("$ x $ is not maths in Quarto: no spaces inside the dollars")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    if any(re.search(r"(?<!\\)\|", maths) for row in rows for maths in INLINE_MATHS.findall(row)):
        found.append(r"| inside maths ends a table cell: write \mid")
    return found


def disagreements(texts):
    "Pairs (position, what the two readers count differently)."
    try:
        pairs = list(zip(*(parse(tuple(texts), reader) for reader in READERS)))
    except ValueError as error:
        return [(int(str(error)), "something is not closed, and swallows what follows")]
    found = []
    for i, (github, pandoc) in enumerate(map(counts, blocks) for blocks in pairs):
        kinds = [k for k in {**github, **pandoc} if github[k] != pandoc[k]]
        found += [(i, f"GitHub sees {github[k]} {k}, Pandoc {pandoc[k]}") for k in kinds]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_no_traps(path):
    "No form that is known to break somewhere."
    if found := [f"{path.name}, cell {i}: {why}" for i, text in markdown_cells(path) for why in traps(text)]:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_readers_agree(path):
    "GitHub's reader and Pandoc's see the same headings, lists, tables, formulas and links."
    cells = markdown_cells(path)
    if found := [f"{path.name}, cell {cells[i][0]}: {what}" for i, what in disagreements(text for _, text in cells)]:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize("text", [
    "::: {.callout-note}\nA\n:::", "$$\na\n$$ {#eq-a}", "see @eq-a", "![a](a.png){width=3}", "as shown[^1]", "> [!NOTE]\n> A", r"$\bm{x}$",
    r"$$\label{a}$$", r"by \eqref{a}", "so $ x $ is", "so $x $ is", "so $ x$ is", r"costs \$3 or \$4",
    "| a | b |\n|---|---|\n| $p(x|z)$ | 1 |",
    "![a](attachment:a.png)", "Two:\n- one\n- two", "Two:\n1. one\n2. two", "Text\n## Heading", "hence $$a = b$$", "$$ a\n= b $$"])
def test_traps_are_found(text):
    "Each trap is caught, and the same text as code is not."
    assert traps(text)
    assert not traps(f"````\n{text}\n````")


@pytest.mark.parametrize("text", [
    "Two:\n\n- one\n  and more\n- two\n\n1. x\n2. y", "# A\n\ntext\n\n## B\n\ntext", r"so $x$, $y$ and $p(x \mid z)$ in $\mathbb{R}$",
    "| a | b |\n|---|---|\n| $p(x \\mid z)$ | $y$ |", "$$\na \\tag{1.1}\n$$", "> $$a = b$$", "> **Note.** A", "$$a = b$$", r"it costs \$3",
    "- $a$ - $b$\n- c", "`$ x $` and ``\\bm``", "[a](b.ipynb) and ![c](d.png)",
    "<details><summary>Why</summary>\n\nAs $x$:\n\n- one\n\n</details>"])
def test_sound_markdown_passes(text):
    "Forms that read well everywhere are left alone."
    assert not traps(text)
    assert not disagreements([text])


@pytest.mark.parametrize("text", [
    "Two:\n- one\n- two", "Text\n## Heading", "Text\n> quote", "Term\n: definition", "(i) first, by name\n",
    "note^[inline]", "see https://example.org", "I.  Newton\n", "```\nnot closed", "    indented and\n\n<!-- not closed"])
def test_disagreements_are_found(text):
    "What one reader sees and the other does not is caught, in the cell where it stands."
    found = disagreements(["One.", text, "Three."])
    assert found and {i for i, _ in found} == {1}
