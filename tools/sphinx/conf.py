"""Sphinx configuration of the site; run by `tools/site.py`, which prepares the notebooks that are read."""
from configparser import ConfigParser
from pathlib import Path

from docutils import nodes

_config = ConfigParser(delimiters=["="])
_config.read(Path(__file__).parents[2] / "settings.ini", encoding="utf-8")
_settings = _config["DEFAULT"]

project = html_title = _settings["title"]
author, copyright = _settings["author"], _settings["copyright"]
release = _settings["version"]
language = "en"
extensions = ["myst_nb"]
suppress_warnings = ["myst.header"]  # an API entry is a third-level heading, wherever it comes

nb_render_markdown_format = "myst"  # tables among outputs
nb_execution_mode = "off"
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath", "attrs_inline", "attrs_block"]
myst_dmath_double_inline = True  # `$$` within a quoted line
myst_heading_anchors = 4

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_show_sourcelink = html_copy_source = html_use_index = False
html_show_search_summary = False  # it would show formulas as TeX, and cannot be had from a file:// address
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system has it
html_theme_options = {
    "repository_url": _settings["git_url"],
    "repository_branch": _settings["branch"],
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "logo": {"text": project},
    "navbar_persistent": [],
    "primary_sidebar_end": [],
    "pygments_light_style": "github-light",
    "pygments_dark_style": "github-dark",
}
mathjax_path = "mathjax/tex-chtml-full.js"
mathjax3_config = {"chtml": {"matchFontHeight": False, "scale": 1.1}}  # one size, in folds too


def prepare_maths(app, doctree):
    r"""Write display maths as it stands: Sphinx would wrap it in `split`, where `\tag` is an error.
    Long formulas within a line are marked: they scroll where the page is narrow."""
    for node in doctree.findall(nodes.math_block):
        node["nowrap"] = node["no-wrap"] = True
        node.children = [nodes.Text(rf"\[{node.astext()}\]")]
    for node in doctree.findall(nodes.math):
        node["classes"] += ["long"] if len(node.astext()) > 40 else []


def setup(app):
    app.connect("doctree-read", prepare_maths)
