"""The benchmarks: that they measure what they say, on problems small enough for a test. No times are tested."""
import json

import numpy as np
import pytest

import benchmarks.__main__ as program
from benchmarks import harness, mixture, peers
from tools.make import ROOT

RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())


def test_turns_are_taken_in_order_and_ratios_round_by_round(monkeypatch):
    calls = []
    monkeypatch.setattr(harness, "wait_until_idle", lambda: None)
    monkeypatch.setattr(harness, "watched", lambda run: (run(), 0.0))

    def runner(name, seconds):
        def run():
            calls.append(name)
            return next(seconds)
        return run

    seconds, disturbed = harness.in_turns({"a": runner("a", iter([1.0, 2.0, 4.0])), "b": runner("b", iter([3.0, 4.0, 4.0]))}, 3)
    assert calls == ["a", "b"] * 3 and disturbed == 0
    assert harness.ratio(seconds["b"], seconds["a"]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}


def test_a_disturbed_turn_is_run_again_and_counted_if_it_stays_so(monkeypatch):
    others = iter([0.5, 0.0] + [0.5] * harness.TRIES)
    monkeypatch.setattr(harness, "wait_until_idle", lambda: None)
    monkeypatch.setattr(harness, "watched", lambda run: (run(), next(others)))
    counter = iter(range(10))
    seconds, disturbed = harness.in_turns({"a": lambda: next(counter)}, 2)
    assert seconds["a"].tolist() == [1, 1 + harness.TRIES] and disturbed == 1


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_peers_do_the_same(kind):
    "From the same start, the same means after the same number of iterations."
    problem = peers.problem(2000, 3, 4, kind)
    found = peers.peers(problem)
    means = {name: run(5)[1] for name, run in found.items()}
    for run in found.values():
        run.close()
    assert {"emlit", "emlit, one thread", "scikit-learn"} <= found.keys()
    for m in means.values():
        np.testing.assert_allclose(m, means["emlit"], rtol=1e-8)
    assert abs(means["emlit"] - problem["means"]).max() > 1e-3


@pytest.mark.parametrize("kind, M", [("full", 1 + 5 + 15), ("diag", 11), ("spherical", 7), ("tied", 1 + 5 + 25 / 6)])
def test_features_counted(kind, M):
    assert mixture.features(5, 3, kind) == M


def test_an_unknown_benchmark_is_named():
    with pytest.raises(SystemExit, match="No benchmark is called 'mixtures'"):
        program.main(["mixtures"])


def test_stored_results_are_of_what_is_measured_now():
    rows = RESULTS["mixture"]["iteration"]
    assert [(r["N"], r["D"], r["K"], r["type"]) for r in rows] == [row[:4] for row in mixture.ITERATIONS]
    assert max(r["apart"] for r in rows) < 1e-6 and [r["N"] for r in RESULTS["mixture"]["size"]] == mixture.SIZES
    assert RESULTS["mixture"]["machine"]["cores"] and RESULTS["mixture"]["machine"]["processor"]
