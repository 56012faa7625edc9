"""Write README.md from nbs/index.ipynb, so that the front page of the repository and of the site are one text.

    python -m tools.readme
"""
import re

from tools.notebooks import NBS, ROOT, joined, read, source


def outputs_text(cell):
    "What a cell printed, as the lines that a reader would see."
    parts = [joined(o["text"]) if "text" in o else joined(o["data"]["text/plain"]) for o in cell["outputs"]]
    return "\n".join(part.rstrip() for part in parts)


def from_cell(cell):
    text = source(cell)
    if cell["cell_type"] == "markdown":
        # Links of the notebook are relative to nbs/; those of the README to the top.
        text = re.sub(r"\]\((?!https?:|#|\.\./)([^)]+)\)", r"](nbs/\1)", text)
        return text.replace("](../", "](").replace("\n> ", "\n\n> ")
    if text.startswith("#| hide"):
        return ""
    shown = f"```python\n{text}\n```"
    return shown + (f"\n\n```text\n{outputs_text(cell)}\n```" if cell["outputs"] else "")


def readme_text():
    "The README that nbs/index.ipynb stands for."
    head = "<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook. -->"
    return "\n\n".join(filter(None, [head, *map(from_cell, read(NBS / "index.ipynb")["cells"])])) + "\n"


def main():
    path, text = ROOT / "README.md", readme_text()
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8", newline="\n")
        print("README.md written from nbs/index.ipynb")


if __name__ == "__main__":
    main()
