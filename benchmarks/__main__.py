"""Run benchmarks and keep what they measured in benchmarks/results.json, which the book's page of benchmarks shows.

    python -m benchmarks [NAME ...]      all, or the modules of these names
"""
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.harness import machine

MODULES = ("mixture", "regression", "conditional", "acceleration", "hmm", "lda", "missing", "scale")
RESULTS = Path(__file__).with_name("results.json")


def main(names):
    if unknown := [name for name in names if name not in MODULES]:
        sys.exit(f"No benchmark is called {unknown[0]!r}. There are: {', '.join(MODULES)}.")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or MODULES:
        print(f"== {name}", flush=True)
        results[name] = {"machine": machine()} | import_module(f"benchmarks.{name}").run()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
