"""The comparison with other libraries' planners: its sums, its tables, its grids, and what it says where they are missing."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import ROOT
from experiments.peers import contenders, problems, table
from imagoal import files, find
from imagoal.errors import DataError


def row(planner: str, gap: float, ms: float, default: bool = False) -> dict[str, Any]:
    unused = dict.fromkeys(("temperature", "lr", "descents", "correlation"))
    setting = {"samples": 64, "iterations": 5, "std": 0.5, **unused}
    who = {"planner": planner, "ours": planner.startswith("imagoal"), "default": default, "note": ""}
    return {**who, "setting": setting, "gap": gap, "gap_again": gap, "gap_again_p90": gap, "ms": ms}


ROWS = [
    row("imagoal CEM", 0.005, 20.0),
    row("imagoal fast", 0.02, 1.0),
    {**row("peer A", 0.01, 40.0), "note": "std 1 always"},
    row("peer B", 0.009, 60.0),
    row("default", 0.0, 600.0, default=True),
]


def test_gap_is_the_share_of_the_references_gain_that_is_missed() -> None:
    assert table.gap(3.0, 5.0, 3.0) == 0
    assert table.gap(5.0, 5.0, 3.0) == 1
    assert table.gap(2.5, 5.0, 3.0) == -0.25  # better than the reference
    assert table.gap(float("nan"), 5.0, 3.0) == 1


def test_fastest_good_trial_is_chosen_and_else_the_best() -> None:
    assert table.choose([0.5, 0.01, 0.0], [1.0, 2.0, 3.0], 0.01) == 1
    assert table.choose([0.5, 0.03, 0.02], [1.0, 2.0, 3.0], 0.01) == 2


def test_ratio_is_taken_within_rounds() -> None:
    """A round in which all took ten times as long changes nothing."""
    assert table.times_as_fast([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2


def test_headline_leaves_out_what_missed_the_limit_and_the_default() -> None:
    found = table.headline(ROWS, 0.01)
    assert (found["ours"], found["peer"]) == ("imagoal CEM", "peer A")
    assert found["default_by_ours"] == 30
    assert found["default_by_peer"] == 15
    assert found["peer_by_ours"] == 2


def test_a_gap_that_was_luck_does_not_count_both_times() -> None:
    lucky = [{**each, "gap_again": 0.02} if each["planner"] == "imagoal CEM" else each for each in ROWS]
    assert table.headline(lucky, 0.01)["ours"] == "imagoal CEM"
    both = table.headline(lucky, 0.01, again=True)
    assert (both["ours"], both["peer"], both["peer_by_ours"]) == (None, "peer A", None)


def test_headline_without_a_good_row_of_ours() -> None:
    found = table.headline(ROWS[1:], 0.01)
    assert found["ours"] is None
    assert found["default_by_ours"] is None
    assert "none of ours" in table.sentence("within the limit", found)


def result() -> dict[str, Any]:
    budget = {
        "model": "m",
        "samples": 300,
        "iterations": 10,
        "problems": 8,
        "ms": 12.3,
        "against_swm_cem": 1.25,
        "over_bare": 1.1,
    }
    return {
        "schema": "imagoal.peers/1",
        "peers": {"torchrl": "0.14.1"},
        "horizon": 5,
        "limit": 0.01,
        "trials": 12,
        "tasks": 20,
        "fixed_budget": [{"planner": "imagoal CEM", "ours": True, **budget}],
        "overhead": [{"planner": "torchrl CEM", "ours": False, "ms": 4.0, "over_bare": 2.0, "over_own": None}],
        "batching": [{"planner": "p", "ours": False, "one_by_one_ms": 8.0, "together_ms": 4.0, "ratio": 2.0}],
        "quality": {"cold": ROWS, "warm": ROWS},
        "provenance": {"hardware": "a processor"},
    }


def test_tables_name_processor_peers_and_every_row() -> None:
    text = table.markdown(result())
    assert text.startswith("a processor; one thread, CPU time")
    assert "torchrl 0.14.1" in text
    assert "| m | 300 x 10 | 8 | **imagoal CEM** | 12.3 | 1.25 | 1.10 |" in text
    assert "| torchrl CEM | 4.0 | 2.00 |  |" in text
    assert "| p | 8.0 | 4.0 | 2.00 |" in text
    assert "| **imagoal fast** | 64 x 5, std 0.5 | 2.00 (missed) | 2.00 / 2.0 | 1.0 | 600.0 |" in text
    assert text.endswith("peer A: std 1 always.")
    assert (
        "Fastest of ours within the limit in the trials: imagoal CEM, 30.0 times as fast as 300 x 30, and 2.00 times as" in text
    )


def test_all_rows_of_a_table_have_as_many_cells() -> None:
    for block in table.markdown(result()).split("\n\n"):
        cells = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(cells) <= 1, block


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    files.write_json(tmp_path / "other.json", {"schema": "imagoal.table/1"})
    with pytest.raises(DataError, match=r"no file of imagoal\.peers/1; make it with scripts/bench-peers"):
        table.load(tmp_path / "other.json")


def test_every_planner_takes_part() -> None:
    made = {type(kind.make(kind.cold[0], 4).planner).__name__.lower() for kind in contenders.OURS}
    named = {entry.class_name.lower() for entry in find.entries("planner").values()}
    assert made == named


def test_our_grids_are_of_twelve_trials_that_a_planner_accepts() -> None:
    for kind in contenders.OURS:
        for trials in (kind.cold, kind.warm):
            assert len(set(trials)) == 12, kind.name
            for setting in trials:
                kind.make(setting, 8)  # raises for a setting out of range


def test_flat_steps_add_up_to_the_cost_of_whole_plans() -> None:
    """What planners with a rollout of their own see is the same problem."""
    agent = problems.Chronicle(problems.shipped(problems.CEM(horizon=4, num_samples=8, num_elites=2, iterations=1)).planning)
    problems.run_tasks(lambda: problems.make("ball"), agent, problems.choose_tasks(problems.make("ball"), "dev"), [0, 1], 2)
    problem = agent.problems[-1]
    steps = problems.Steps(problem, 4)
    plans = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(0)) * 3 - 1.5  # clamped by both
    states, total = steps.start, torch.zeros(2)
    for number in range(4):
        states = steps.step(states, plans[:, number])
        total += steps.cost(states, steps.goal)
    torch.testing.assert_close(total, problem.judge(plans), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(problem.row(1).judge(plans[1:]), problem.judge(plans)[1:])
    both = problems.together([problem.row(0), problem.row(1)])
    torch.testing.assert_close(both.judge(plans), problem.judge(plans))


def test_without_the_peers_it_says_how_to_get_them() -> None:
    if importlib.util.find_spec("torchrl"):
        pytest.skip("the peers are installed here")
    command = [sys.executable, "-m", "experiments.peers.bench", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("run scripts/bench-peers, which makes it")
    assert len(done.stderr.strip().splitlines()) == 1
