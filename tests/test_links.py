"""Links and images lead somewhere: to a file of the repository, to a heading, or to a well-formed address."""
import re
from posixpath import normpath
from urllib.parse import unquote, urlsplit

import pytest
from book import prose, repo_files
from documents import READERS, anchors, documents, markdown_cells, parse, targets
from tools.notebooks import ROOT

DOCUMENTS = documents()
LOCAL = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")
IN_HTML = re.compile(r"""<(?:img|a|source|video)\b[^>]*?\b(?:src|href)=["']([^"']+)["']""")


def address_problem(target):
    "What is wrong with the form of a web address, or an empty string."
    parts = urlsplit(target)
    if parts.scheme not in ("https", "mailto"):
        return "is not an https address"
    if parts.scheme == "https" and "." not in parts.netloc or parts.hostname in LOCAL:
        return "has no public host"
    return "contains a space" if re.search(r"\s|%20", target) else ""


def file_problem(target, path, files):
    "What is wrong with a relative link in the document `path`, or an empty string."
    name, _, anchor = unquote(target).partition("#")
    resolved = normpath(path.parent.relative_to(ROOT).joinpath(name).as_posix()) if name else path.relative_to(ROOT).as_posix()
    if resolved not in files and not any(f.startswith(f"{resolved}/") for f in files):
        return f"leads to {resolved}, which is not in the repository"
    if anchor and resolved.endswith((".md", ".ipynb")) and anchor not in anchors(ROOT / resolved):
        return f"names a heading that {resolved} does not have"
    return ""


def link_problem(target, path, files):
    return address_problem(target) if re.match(r"[a-z]+:|//", target) else file_problem(target, path, files)


def links(path):
    "Pairs (cell number, target) of the links and images of a document."
    cells = markdown_cells(path)
    for (number, text), blocks in zip(cells, parse(tuple(text for _, text in cells), READERS[0])):
        yield from ((number, target) for target in [*targets(blocks), *IN_HTML.findall(prose(text))])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    "Every link and image of a document resolves."
    files = repo_files()
    if found := [f"{path.name}, cell {i}: {t} {why}" for i, t in links(path) if (why := link_problem(t, path, files))]:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize("target", [
    "nbs/missing.ipynb", "nbs/12_EM.ipynb", "../outside.md", "/nbs/12_em.ipynb", "#no-such-heading", "nbs/12_em.ipynb#no-such-heading",
    "http://example.org", "https://localhost/x", "https://127.0.0.1:8000/x", "https://", "https://example.org/a b", "file:///x"])
def test_bad_links_are_found(target):
    "A link that leads nowhere is caught."
    assert link_problem(target, ROOT / "README.md", {"README.md", "nbs/12_em.ipynb"})


@pytest.mark.parametrize("target", [
    "nbs/12_em.ipynb", "nbs", "nbs/images/a%20b.png", "README.md#emlit", "#emlit", "https://example.org/a#b", "mailto:a@b.org"])
def test_good_links_pass(target, monkeypatch):
    "A link that leads somewhere is left alone."
    monkeypatch.setattr(f"{__name__}.anchors", lambda path: {"emlit"})
    assert not link_problem(target, ROOT / "README.md", {"README.md", "nbs/12_em.ipynb", "nbs/images/a b.png"})


def test_links_and_anchors_are_seen(tmp_path):
    "Links and images in Markdown and in HTML, and the names of headings."
    page = tmp_path / "a.md"
    page.write_text('# The E-step, again\n\n[a](x.md) ![b](y.png)\n\n<img src="z.png" alt="c">\n\n`[d](code.md)` $\\ell[a](b)$\n')
    assert [target for _, target in links(page)] == ["x.md", "y.png", "z.png"]
    assert "the-e-step-again" in anchors(page)
