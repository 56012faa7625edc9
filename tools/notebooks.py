"""Run the notebooks, each in a fresh process, and compare what they print with what they store.

    python -m tools.notebooks run [NAME ...]        run; store the outputs that changed
    python -m tools.notebooks reproduce [NAME ...]  run; fail where a stored output differs

A notebook that has run with the same sources, package and pins is not run again unless `--force` is
given. A cell whose first line is `#| timing` measures time: its numbers with a decimal point may differ, its words and whole numbers may not.
"""
import argparse
import base64
import difflib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.make import ROOT, digest

NBS, BUILD = ROOT / "nbs", ROOT / "_build" / "run"
# Where figures are not equal byte by byte: the root mean square allowed, of 255, over the whole and over any tile.
WHOLE_TOLERANCE, TILE_TOLERANCE, TILE = 3.0, 25.0, 16
MEASURED = re.compile(r"[-+]?\d+\.\d*(?:[eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+")
PNG_IN_HTML = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\\\n]+)")


def notebooks(names=()):
    "Paths of the book's notebooks in reading order, or of those whose names start with one of `names`."
    paths = [p for p in sorted(NBS.glob("*.ipynb")) if not names or p.stem.startswith(tuple(names))]
    if names and not paths:
        sys.exit(f"No notebook in nbs/ begins with {' or '.join(names)}.")
    return paths


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def text_of(nb):
    "A notebook as nbdev writes it, sources line by line, so that a clean notebook stays byte-identical."
    lines = nb | {"cells": [cell | {"source": source(cell).splitlines(keepends=True)} for cell in nb["cells"]]}
    return json.dumps(lines, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write(nb, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(nb), encoding="utf-8", newline="\n")


def cleaned(nb):
    "A notebook without execution counts and editor's metadata, as nbdev cleans it."
    from execnb.nbio import dict2nb
    from nbdev.clean import clean_nb
    nb = dict2nb(nb)
    clean_nb(nb, allowed_cell_metadata_keys=["tags", "jupyter"])
    for cell in nb.cells:
        cell.pop("idx_", None)
    return json.loads(json.dumps(nb))


def source(cell):
    return "".join(cell["source"])


def key(path):
    "A digest of all that a notebook's outputs depend on: its cells, the package, the pins and this file."
    package = [p for p in sorted((ROOT / "emlit").rglob("*")) if p.suffix in (".py", ".csv") and p.name != "_modidx.py"]
    cells = hashlib.sha256("\0".join(source(c) for c in read(path)["cells"]).encode()).hexdigest()
    return sys.version + cells + digest(*package, NBS / "book.mplstyle", ROOT / "settings.ini", Path(__file__))


# ---- running (in a process of its own) ----------------------------------------------------------


def execute(path, out):
    "Run one notebook in this process, obeying nbdev's directives, and write it with fresh outputs to `out`."
    from execnb.nbio import read_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import clean_nb
    from nbdev.config import get_config
    from nbdev.process import extract_directives

    nb, shell = read_nb(path), CaptureShell(path, mpl_format="png")
    skip_flags = set(get_config().get("tst_flags", "").split())
    os.chdir(path.parent)
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = []
        directives = extract_directives(cell, remove=False)
        if directives.get("eval:", [""])[0].lower() == "false" or skip_flags & directives.keys():
            continue
        shell.cell(cell)
        if shell.exc:
            print(f"{path.name}, cell {cell.idx_}:\n\n{cell.source}\n", file=sys.stderr)
            print(shell.prettytb(fname=path), file=sys.stderr)
            sys.exit(1)
    clean_nb(nb, allowed_cell_metadata_keys=["tags", "jupyter"])
    for cell in nb.cells:
        cell.pop("idx_", None)
    write(json.loads(json.dumps(nb)), Path(out))


def run_fresh(path):
    "Run one notebook in a fresh process. Returns (copy with fresh outputs, seconds, error text)."
    out, started = BUILD / path.name, time.perf_counter()
    # One thread each: sums then have one order, and two notebooks can run side by side.
    one_thread = {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
    env = {**os.environ, **one_thread, "MPLBACKEND": "agg", "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "tools.notebooks", "execute", str(path), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8")
    error = done.stderr if done.returncode else ""
    return out, time.perf_counter() - started, error


def run_cached(path, force):
    "As `run_fresh`, but a run with the same key is reused. Seconds are then None."
    stamp, wanted = (BUILD / path.name).with_suffix(".key"), key(path)
    if not force and stamp.exists() and stamp.read_text() == wanted:
        return BUILD / path.name, None, ""
    stamp.unlink(missing_ok=True)
    out, seconds, error = run_fresh(path)
    if not error:
        stamp.write_text(wanted)
    return out, seconds, error


# ---- comparing -----------------------------------------------------------------------------------


def joined(value):
    return "".join(value) if isinstance(value, list) else value


def pixels(encoded):
    from matplotlib.image import imread
    return imread(io.BytesIO(base64.b64decode(encoded.replace("\\\n", "").replace("\n", ""))), format="png")


def png_difference(old, new, timing):
    "Why two PNG figures (base64) count as different, or an empty string."
    if old == new:
        return ""
    a, b = pixels(old), pixels(new)
    if a.shape != b.shape:
        return f"figure of {b.shape} pixels, stored {a.shape}"
    squares = 255**2 * ((a - b) ** 2).mean(axis=-1)
    tiles = [squares[i:i + TILE, j:j + TILE].mean() for i in range(0, len(a), TILE) for j in range(0, a.shape[1], TILE)]
    whole, tile = squares.mean() ** 0.5, max(tiles) ** 0.5
    if timing or (whole <= WHOLE_TOLERANCE and tile <= TILE_TOLERANCE):
        return ""
    return (f"figures differ by {whole:.2f} of 255 (allowed {WHOLE_TOLERANCE}), in one place by {tile:.1f} "
            f"(allowed {TILE_TOLERANCE})")


def text_difference(old, new, timing):
    "Why two texts count as different, or an empty string. Figures inside HTML are compared as figures."
    figures = list(zip(PNG_IN_HTML.findall(old), PNG_IN_HTML.findall(new)))
    old, new = PNG_IN_HTML.sub("<png>", old), PNG_IN_HTML.sub("<png>", new)
    if timing:
        old, new = (re.sub(r"\s+", " ", MEASURED.sub("#", t)) for t in (old, new))
    if old != new:
        return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), "stored", "fresh", lineterm="", n=1))
    return next(filter(None, (png_difference(a, b, timing) for a, b in figures)), "")


def output_difference(old, new, timing):
    kinds = [o["output_type"] + o.get("name", "") for o in (old, new)]
    if kinds[0] != kinds[1]:
        return f"an output of kind {kinds[1]}, stored {kinds[0]}"
    if "text" in old:
        return text_difference(joined(old["text"]), joined(new["text"]), timing)
    a, b = old.get("data", {}), new.get("data", {})
    if a.keys() != b.keys():
        return f"an output with {sorted(b)}, stored {sorted(a)}"
    for mime in a:
        compare = png_difference if mime == "image/png" else text_difference
        pair = [joined(d[mime]) if isinstance(d[mime], (str, list)) else json.dumps(d[mime]) for d in (a, b)]
        if difference := compare(*pair, timing):
            return difference
    return ""


def is_timing(cell):
    return bool(re.match(r"(#\|.*\n)*#\| *timing\b", source(cell)))


def cell_difference(old, new):
    "Why the fresh outputs of a code cell count as different from the stored ones, or an empty string."
    a, b = old["outputs"], new["outputs"]
    if len(a) != len(b):
        return f"{len(b)} outputs, stored {len(a)}"
    return next(filter(None, (output_difference(x, y, is_timing(old)) for x, y in zip(a, b))), "")


def differences(stored, fresh):
    "Pairs (cell number, why) over the code cells of two copies of one notebook."
    pairs = zip(stored["cells"], fresh["cells"], strict=True)
    found = ((i, cell_difference(a, b)) for i, (a, b) in enumerate(pairs) if a["cell_type"] == "code")
    return [(i, why) for i, why in found if why]


# ---- commands ------------------------------------------------------------------------------------


def store(path, fresh):
    "Clean a notebook and put fresh outputs where they differ from the stored ones. Returns how many changed."
    stored = cleaned(read(path))
    changed = differences(stored, fresh)
    for i, _ in changed:
        stored["cells"][i]["outputs"] = fresh["cells"][i]["outputs"]
    if text_of(stored) != path.read_text(encoding="utf-8"):
        write(stored, path)
    return len(changed)


def report(path, seconds):
    took = f"{seconds:6.1f} s" if seconds is not None else "unchanged"
    print(f"  {path.stem:<20} {took:>9}", end="", flush=True)


def run_all(paths, force, handle):
    "Run the notebooks two at a time, call `handle(path, fresh)` on each in order; exit 1 at the end if any failed."
    failed = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for path, (out, seconds, error) in zip(paths, pool.map(lambda p: run_cached(p, force), paths)):
            report(path, seconds)
            problem = error or handle(path, read(out))
            print(f"  FAILED\n\n{problem}\n" if problem else "", flush=True)
            failed += [path.stem] * bool(problem)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


def images():
    "The image files that notebooks write, by path."
    return {path: path.read_bytes() for path in sorted((NBS / "images").glob("*.png"))}


def check_images(stored):
    "Put the stored image files back; exit 1 if a notebook wrote another picture."
    fresh = images()
    for path, old in stored.items():
        path.write_bytes(old)
        pair = (base64.b64encode(content).decode() for content in (old, fresh[path]))
        if why := png_difference(*pair, timing=False):
            sys.exit(f"Failed: nbs/images/{path.name}: {why}.")


def handle_run(path, fresh):
    if changed := store(path, fresh):
        print(f"  stored {changed} changed outputs", end="")


def handle_reproduce(path, fresh):
    found = differences(read(path), fresh)
    lines = [f"{path.name}, cell {i}:\n{source(fresh['cells'][i])[:300]}\n--\n{why}\n" for i, why in found]
    if not lines:
        print("  all outputs reproduced", end="")
    return "\n".join(lines)


def main():
    if sys.argv[1:2] == ["execute"]:
        return execute(Path(sys.argv[2]), sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "reproduce"])
    parser.add_argument("names", nargs="*", help="notebooks, by the start of their names (default: all)")
    parser.add_argument("--force", action="store_true", help="run again even what is unchanged")
    args = parser.parse_intermixed_args()
    stored = images()
    run_all(notebooks(args.names), args.force, {"run": handle_run, "reproduce": handle_reproduce}[args.command])
    if args.command == "reproduce":
        check_images(stored)


if __name__ == "__main__":
    main()
