"""The rendered site, every page of it, in a headless browser.

Renders nothing: run `make site` first. Without a site or a browser these tests are skipped, but where the
environment variable CI is set they fail. What holds for Sphinx's site alone is marked so: Quarto's takes
MathJax from the network and has a search of its own.
"""
import ast
import functools
import http.server
import json
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml

from tools.notebooks import NBS, ROOT, notebooks, read, source

DOCS = ROOT / "_docs"
PAGES = {path: re.sub(r"^\d+[a-z]?_", "", path.stem) + ".html" for path in notebooks()}  # as nbdev names them
SPHINX = (DOCS / "searchindex.js").exists()
SPHINX_ONLY = pytest.mark.skipif(not SPHINX, reason="holds for the site that Sphinx renders")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]

# What is read off a page, all folds open: texts outside code and formulas, and the parts that can be broken.
READ_PAGE = r"""() => {
    const main = document.querySelector('main'), all = (selector) => [...main.querySelectorAll(selector)];
    const closed = all('details').filter(d => !d.open).map(d => d.querySelector('summary').textContent.trim());
    all('details').forEach(d => d.open = true);
    const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT), texts = [];
    while (walker.nextNode())
        if (!walker.currentNode.parentElement.closest('pre, code, script, style, mjx-container'))
            texts.push(walker.currentNode.textContent);
    const link = (selector) => document.querySelector(selector)?.href;
    return {
        closed, texts,
        ids: [...document.querySelectorAll('[id]')].map(e => e.id),
        headings: all('h1, h2, h3, h4, h5').map(h => h.textContent.replace(/[#¶]\s*$/, '').trim()),
        links: [...document.querySelectorAll('a[href]')].filter(a => !a.closest('mjx-container')).map(a => a.href),
        images: all('img').map(i => [i.getAttribute('src').slice(0, 80), i.alt, i.naturalWidth, !!i.closest('.animation')]),
        bad_maths: all('mjx-merror, [data-mjx-error], mjx-mtext[style*="red"]').map(e => e.textContent || e.outerHTML),
        previous: link('a.left-prev, .nav-page-previous a'), next: link('a.right-next, .nav-page-next a'),
    }}"""
WIDER_THAN_THE_PAGE = """() => {
    const scrolls = (e) => e.tagName != 'MAIN' && (getComputedStyle(e).overflowX != 'visible' || scrolls(e.parentElement));
    return document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('main *')]
        .filter(e => e.getBoundingClientRect().right > innerWidth && !scrolls(e)).map(e => e.outerHTML.slice(0, 200))}"""
MATHS_DONE = "!document.querySelector('.math') || document.querySelector('mjx-container')"


def unavailable(reason):
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def site():
    "The address of the site, served from _docs/."
    if not (DOCS / "index.html").exists():
        unavailable(f"There is no site in {DOCS}: run 'make site'.")
    if missing := [name for name in PAGES.values() if not (DOCS / name).exists()]:
        pytest.fail(f"The site in {DOCS} is old: it has no {', '.join(missing)}. Run 'make site'.")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=DOCS))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(site):
    found = next(filter(None, [*map(shutil.which, NAMES), *(p for p in PLACES if Path(p).exists())]), None)
    if not found:
        unavailable("There is no Chromium, Chrome or Edge to open the pages with: install one (Debian: apt install chromium).")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=ARGUMENTS)
        context = browser.new_context()
        context.set_default_timeout(15_000)
        yield context
        browser.close()


def watched(browser, site):
    "A new tab, and the list of what goes wrong in it."
    tab, wrong = browser.new_page(), []
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}"))
    tab.on("pageerror", lambda e: wrong.append(f"script: {e}"))
    tab.on("requestfailed", lambda r: wrong.append(f"failed: {r.url[:200]}"))
    tab.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
    if SPHINX:
        local = (site, "data:", "blob:", "file:")
        tab.on("request", lambda r: r.url.startswith(local) or wrong.append(f"another host: {r.url}"))
    return tab, wrong


@dataclass
class Visit:
    wrong: list
    too_wide: list
    shown: dict

    def __getattr__(self, name):
        return self.shown[name]


@pytest.fixture(scope="module")
def visits(browser, site):
    "What every page showed: {'gmm.html': Visit}."
    done = {}
    for name in PAGES.values():
        tab, wrong = watched(browser, site)
        tab.goto(site + name)
        tab.wait_for_function(MATHS_DONE)
        tab.evaluate("async () => await window.MathJax?.startup?.promise")
        shown = tab.evaluate(READ_PAGE)
        tab.set_viewport_size({"width": 390, "height": 844})
        done[name] = Visit(wrong, tab.evaluate(WIDER_THAN_THE_PAGE), shown)
        tab.close()
    return done


every_page = pytest.mark.parametrize("path, name", PAGES.items(), ids=[path.stem for path in PAGES])


@every_page
def test_page_opens_without_errors(visits, path, name):
    assert visits[name].wrong == []


@every_page
def test_no_raw_tex_or_markdown_is_left(visits, path, name):
    raw = re.compile(r"\$\$|\\tag\b|\\begin\{|\\\(|\\\[|\$[^$\s][^$]*\$|^:::|\]\(\w")
    assert [text for text in visits[name].texts if raw.search(text)] == []
    assert visits[name].bad_maths == []


@every_page
def test_every_numbered_equation_is_on_its_page(visits, path, name):
    prose = "\n".join(source(c) for c in read(path)["cells"] if c["cell_type"] == "markdown")
    tags = re.findall(r"\\tag\{(.+?)\}", re.sub(r"`[^`]*`", "", prose))
    assert [tag for tag in tags if f"mjx-eqn:{tag}" not in visits[name].ids] == []


@every_page
def test_links_within_the_site_lead_somewhere(visits, site, path, name):
    broken = []
    for link in filter(lambda link: link.startswith(site), visits[name].links):
        target, anchor = urldefrag(link)
        file = unquote(urlsplit(target).path).lstrip("/") or "index.html"
        known = visits[file].ids if file in visits else [anchor]
        if not (DOCS / file).is_file() or unquote(anchor) not in ["", *known]:
            broken.append(link)
    assert broken == []


@every_page
def test_images_are_there_and_described(visits, path, name):
    for src, alt, width, animated in visits[name].images:
        assert width > 0, f"{src} does not load"
        from_markdown = re.search(r"(^|/)_?images/(?![0-9a-f]{64}\.)", src)
        if from_markdown or SPHINX and not animated:
            assert alt and not alt.endswith(".png"), (
                f"{src} has no alternative text: for a figure, begin the cell after it with '*Figure: what it shows.*'")


@every_page
def test_page_fits_a_telephone(visits, path, name):
    assert visits[name].too_wide == []


@every_page
def test_solutions_are_folded(visits, path, name):
    folded = r"code-summary: [\"'](Solution.*?)[\"']|<summary>(Solution.*?)</summary>"
    wanted = ["".join(m) for cell in read(path)["cells"] for m in re.findall(folded, source(cell))]
    closed = visits[name].closed
    assert [title for title in wanted if not any(c.startswith(title) for c in closed)] == []


@every_page
def test_public_names_are_documented(visits, path, name):
    module = ROOT / "emlit" / name.replace(".html", ".py")
    if not module.exists():
        pytest.skip("The page belongs to no module.")
    tree = ast.parse(module.read_text(encoding="utf-8"))
    public = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"}
    assert public - set(visits[name].headings) == set()
    assert any(f"/emlit/{module.name}#L" in link for link in visits[name].links), "no link to the source: is nbdev's index up to date?"


def test_previous_and_next_follow_the_sidebar(visits, site):
    sidebar = yaml.safe_load((NBS / "sidebar.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    order = [PAGES[NBS / n] for part in sidebar for n in ([part] if isinstance(part, str) else part["contents"])]
    shown = [(visits[name].previous, visits[name].next) for name in order]
    around = [None, *(urljoin(site, name) for name in order), None]
    assert shown == list(zip(around, around[2:]))


def test_a_solution_opens_by_click(browser, site):
    path = next((path for path in PAGES if 'code-summary: "Solution' in path.read_text("utf-8").replace('\\"', '"')), None)
    if not path:
        pytest.skip("No notebook has a folded solution.")
    tab, _ = watched(browser, site)
    tab.goto(site + PAGES[path])
    solution = tab.locator("main details", has=tab.locator("summary", has_text="Solution")).first
    assert not solution.locator("pre").first.is_visible()
    solution.locator("summary").click()
    assert solution.locator("pre").first.is_visible()
    tab.close()


def animated():
    return [path for path in PAGES if any("new Animation(" in json.dumps(c.get("outputs", [])) for c in read(path)["cells"])]


@pytest.mark.parametrize("path", animated(), ids=[path.stem for path in animated()])
def test_animation_plays(browser, site, path):
    tab, wrong = watched(browser, site)
    tab.goto(site + PAGES[path])
    tab.click(".animation button[title=Play]")
    slider = "document.querySelector('.animation input[type=range]').value"
    before, frame = tab.evaluate(slider), tab.evaluate("document.querySelector('.animation img').src")
    tab.wait_for_function(f"{slider} != '{before}'")
    assert tab.evaluate("document.querySelector('.animation img').src") != frame
    assert wrong == []
    tab.close()


@SPHINX_ONLY
@pytest.mark.parametrize("over", ["http", "file"])
def test_search_finds_responsibilities(browser, site, over):
    page = PAGES.get(NBS / "14_gmm.ipynb") or pytest.skip("There is no 14_gmm.")
    tab, wrong = watched(browser, site)
    tab.goto((site if over == "http" else DOCS.as_uri() + "/") + "search.html?q=responsibilities")
    tab.wait_for_selector(f"#search-results a[href*='{page}']")
    assert wrong == []
    tab.close()
