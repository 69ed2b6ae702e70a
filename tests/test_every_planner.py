"""Every verb that plans works with every planner, from its first line to its last."""

import json
from pathlib import Path

import pytest

from imagoal import find
from imagoal.cli import main

SMALL = ["--planner.horizon", "3", "--planner.num-samples", "8", "--planner.iterations", "1"]
LEAST = {
    "cem": ["--planner.num-elites", "2"],
    "icem": ["--planner.num-elites", "2"],
    "icem_adam": ["--planner.num-elites", "2"],
}
VERBS = {
    "eval": ["--count", "1", "--run", "out"],
    "plan": ["--run", "out", "--scale", "1"],
    "bench": ["--plans", "2", "--batches", "1", "--budget-ms", "50", "--count", "1", "--out", "out.json"],
    "collect": ["--agent", "mpc", "--data", "out", "--episodes", "1", "--steps", "3"],
}


@pytest.mark.parametrize("planner", find.entries("planner"))
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_with_a_planner(verb: str, planner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([verb, "--env", "ball", "--planner", planner, *SMALL, *LEAST.get(planner, []), *VERBS[verb]]) == 0
    if verb == "bench":
        row = json.loads((tmp_path / "out.json").read_text())["rows"][0]
        paths = find.find("planner", planner).needs == "path"  # of which neither is counted
        assert (row["overhead"] is None, row["cost_calls_per_plan"] == 0) == (paths, paths)
