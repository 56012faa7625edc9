"""Render the book as a web site into `_docs/`.

    python -m tools.site

nbdev processes the notebooks: hidden cells go, the API documentation and the links to it come. Then Quarto
renders them where it is installed, and otherwise Sphinx does, with `tools/sphinx/conf.py`; the addresses of
the pages are the same. What Sphinx makes needs no network, neither to be built nor to be read.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from itertools import takewhile
from pathlib import Path

import yaml

from tools.make import digest, settings
from tools.notebooks import NBS, ROOT, read, source

PROC, PAGES, DOCS = ROOT / "_proc", ROOT / "_build" / "site", ROOT / "_docs"
# Quarto's cell options, and the tags by which MyST-NB knows the same.
TAGS = {("echo", False): "remove-input", ("output", False): "remove-output", ("include", False): "remove-cell",
        ("code-fold", True): "hide-input"}

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"}}


def parts():
    "Pairs (title of the part, its notebooks) in reading order, as nbs/sidebar.yml has them."
    sidebar = yaml.safe_load((NBS / "sidebar.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    listed = [("", [o]) if isinstance(o, str) else (o["section"], o["contents"]) for o in sidebar]
    names, present = {name for _, part in listed for name in part}, {p.name for p in NBS.glob("*.ipynb")}
    if names != present:
        sys.exit(f"nbs/sidebar.yml and the notebooks in nbs/ differ in: {', '.join(sorted(names ^ present))}.")
    return listed


# ---- one page: what nbdev wrote for Quarto, said as MyST-NB says it ------------------------------


def front_matter(cells):
    "The title, description and address that nbdev took from the first cell."
    return yaml.safe_load(source(cells[0]).strip().strip("-"))


def options(cell):
    "Quarto's options at the top of a code cell, and the code without them."
    lines = source(cell).splitlines()
    head = [line[2:] for line in takewhile(lambda line: line.startswith("#|"), lines)]
    return yaml.safe_load("\n".join(head)) or {}, "\n".join(lines[len(head):])


def local_links(text, pages):
    "Links to notebooks and to the published site become links to pages; `pages` maps notebook to page."
    def page(match):
        name, anchor = pages.get(match["nb"], match["nb"] or match["page"]), match["anchor"] or ""
        if match["page"]:  # nbdev points to methods and private names too, but documents neither
            anchor = re.sub(r"#_.*|\..*", "", anchor)
        return f"]({name}.ipynb{anchor})"
    address = re.escape(settings()["doc_host"] + settings()["doc_baseurl"])
    return re.sub(rf"\]\((?:(?P<nb>\w+)\.ipynb|{address}/(?P<page>\w+)\.html)(?P<anchor>#[^)\s]*)?\)", page, text)


def markdown(text, pages):
    return {"cell_type": "markdown", "metadata": {}, "source": local_links(text, pages)}


def api(text):
    "An entry of the API documentation: no rule before it, its name set as code, no links within its signature."
    text = re.sub(r"(\[source\]\(.*?\))\{.*\}", r"\1{.source}", text.removeprefix("---"))
    text = re.sub(r"^(#+) (.+)$", r"\1 `\2`", text, count=1, flags=re.MULTILINE)
    heading, fence, rest = text.partition("```python")
    signature, end, words = rest.partition("\n```")
    return heading + fence + re.sub(r"\[(`.+?`)\]\(.*?\)", r"\1", signature).replace("__main__.", "") + end + words


def code(cell, following, pages):
    "A code cell with its options as tags. Its figure gets the sentence that follows it as alternative text."
    chosen, text = options(cell)
    if chosen.get("output") == "asis":
        return markdown("\n".join(api("".join(o["data"]["text/markdown"])) for o in cell["outputs"]), pages)
    tags = [tag for (name, value), tag in TAGS.items() if chosen.get(name) is value]
    summary = chosen.get("code-summary", "Code")
    if summary.startswith("Solution"):
        tags = ["hide-cell"]  # what a solution prints would give it away
    shown = {"code_prompt_show": summary, "code_prompt_hide": summary}
    if caption := re.match(r"\*Figure:\s*(.+?)\*", following, re.DOTALL):
        shown["image"] = {"alt": caption[1].replace("\n", " ")}
    return {**cell, "source": text, "metadata": {"tags": tags, "mystnb": shown}, "outputs": [linked(o, pages) for o in cell["outputs"]]}


def linked(output, pages):
    "An output with the links of its Markdown, if it has any, made local."
    data = output.get("data", {})
    if "text/markdown" not in data:
        return output
    return {**output, "data": {**data, "text/markdown": local_links("".join(data["text/markdown"]), pages)}}


def toctrees(pages):
    return [markdown("```{toctree}\n:hidden:\n" + (f":caption: \"{title}\"\n" if title else "") +
                     "\n" + "\n".join(pages[Path(n).stem] for n in part) + "\n```", {})
            for title, part in parts() if part != ["index.ipynb"]]


def page(name, cells, pages):
    "The cells that Sphinx reads for those that nbdev has processed. The title gets the number of the notebook."
    about, *cells = front_matter(cells), *cells[1:]
    number = re.match(r"(\d+_)?", name)[0].replace("_", " ")
    lead = f"# {number}{about['title']}\n" + (f"\n{{.lead}}\n{about['description']}\n" if "description" in about else "")
    following = [source(c) for c in cells[1:]] + [""]
    cells = [markdown(source(c), pages) if c["cell_type"] == "markdown" else code(c, after, pages)
             for c, after in zip(cells, following)]
    return [markdown(lead, pages), *cells]


# ---- the site ------------------------------------------------------------------------------------


def write_pages():
    "The notebooks and images that Sphinx reads, in _build/site/, each page named as on the published site."
    from nbdev.serve import proc_nbs
    proc_nbs(".", n_workers=0, force=True)
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    if (PROC / "images").exists():
        shutil.copytree(PROC / "images", PAGES / "images")
    notebooks = {path.stem: read(path) for path in PROC.glob("*.ipynb")}
    pages = {name: Path(front_matter(nb["cells"])["output-file"]).stem for name, nb in notebooks.items()}
    for name, nb in notebooks.items():
        cells = page(name, nb["cells"], pages) + (toctrees(pages) if name == "index" else [])
        made = {**nb, "cells": [{**c, "id": f"cell-{i}"} for i, c in enumerate(cells)], "metadata": METADATA}
        (PAGES / f"{pages[name]}.ipynb").write_text(json.dumps(made), encoding="utf-8")


def copy_mathjax():
    "MathJax with its fonts and its speech in English, from the package that carries it."
    import importlib.util
    package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    for wanted in ("tex-chtml-full.js", "output/chtml/fonts/woff-v2/*", "a11y/*", "sre/mathmaps/base.json",
                   "sre/mathmaps/en.json", "sre/mathmaps/nemeth.json"):
        for file in Path(package, "static", "mathjax").glob(wanted):
            target = DOCS / "_static" / "mathjax" / file.relative_to(Path(package, "static", "mathjax"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)


def with_sphinx():
    write_pages()
    html = PAGES.with_name("html")  # MyST-NB leaves a folder of its own beside its output
    shutil.rmtree(html, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--fresh-env",
                           "--conf-dir", ROOT / "tools" / "sphinx", "--doctree-dir", PAGES.with_name("doctrees"),
                           PAGES, html], cwd=ROOT)
    if done.returncode:
        sys.exit("The site was not rendered: see the warnings above.")
    shutil.move(html, DOCS)
    copy_mathjax()


def with_quarto():
    from nbdev.quarto import nbdev_docs
    (ROOT / "README.md").touch()  # or nbdev would render it anew, by the times of the files
    nbdev_docs.__wrapped__(path=".", n_workers=0)


def inputs():
    "A digest of all that the site is made from."
    folders = [NBS, ROOT / "emlit", ROOT / "tools" / "sphinx"]
    files = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".pyc"]
    return digest(*files, ROOT / "settings.ini", Path(__file__)) + str(shutil.which("quarto"))


def main():
    parts()
    stamp = DOCS.parent / "_build" / "site.key"
    if stamp.exists() and stamp.read_text() == inputs() and (DOCS / "index.html").exists():
        return print(f"Unchanged in {DOCS}: open {DOCS / 'index.html'}")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(DOCS, ignore_errors=True)  # no old page stays, nor an old site where this one fails
    warnings.filterwarnings("ignore", "Found cells containing imports")  # the set-up cells choose a style too
    os.chdir(NBS)  # where the notebooks run: nbdev runs their exported cells and imports again
    with_quarto() if shutil.which("quarto") else with_sphinx()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(inputs())
    print(f"The site is in {DOCS}: open {DOCS / 'index.html'}")


if __name__ == "__main__":
    main()
