"""A row that the clock decided can be run again without the clock."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagoal.cli import main
from imagoal.envs import make
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes import _replay, _result
from imagoal.eval.episodes._build import build
from imagoal.eval.episodes._built import BuiltAgent
from imagoal.eval.episodes._evaluate import evaluate
from imagoal.planning import CEM
from tests.choices import choice

ENV = make("ball")
PLANNER = CEM(horizon=4, num_samples=8, num_elites=2, iterations=6)


def agent(deadline_ms: float | None = None, planner: CEM = PLANNER) -> BuiltAgent:
    return build(choice(planner=planner, replan_every=2, deadline_ms=deadline_ms), ENV)


def row(folder: Path, asked: BuiltAgent) -> Path:
    evaluate(asked, ENV, "dev", 2, folder)
    return folder / "result.json"


@pytest.mark.parametrize("deadline_ms", [1e-6, 6.0])
def test_a_row_under_a_deadline_is_replayed_by_its_iterations(tmp_path: Path, deadline_ms: float) -> None:
    asked = agent(deadline_ms)
    assert _replay.replay(asked, ENV, "dev", row(tmp_path, asked)) == []


def test_no_time_gives_other_actions_than_all_the_time(tmp_path: Path) -> None:
    """So that the test above says something."""
    hurried, whole = (_result.load_result(row(tmp_path / name, agent(ms))) for name, ms in (("a", 1e-6), ("b", None)))
    assert {number for line in hurried["episodes"] for number in line["iterations"]} == {1}
    assert [line["actions_sha256"] for line in hurried["episodes"]] != [line["actions_sha256"] for line in whole["episodes"]]


def test_an_episode_that_goes_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _result.load_result(row(tmp_path, agent()))
    result["episodes"][1]["iterations"] = [1 for _ in result["episodes"][1]["iterations"]]
    monkeypatch.setattr(_replay, "load_result", lambda _: result)
    assert _replay.replay(agent(), ENV, "dev", tmp_path) == [1]


def test_a_planner_that_counts_no_iterations_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = row(tmp_path, agent())
    monkeypatch.setattr(_replay, "_check", lambda *_: None)

    class Uncounted:
        horizon, needs, num_samples = 4, "values", 8

    uncounted: Any = SimpleNamespace(planning=SimpleNamespace(planner=Uncounted()), agent=None, description={})
    with pytest.raises(UsageError, match="Uncounted has no field iterations"):
        _replay.replay(uncounted, ENV, "dev", path)


def test_other_flags_or_tasks_are_refused(tmp_path: Path) -> None:
    path = row(tmp_path, agent())
    with pytest.raises(DataError, match="planner"):
        _replay.replay(agent(planner=CEM(horizon=3, num_samples=8, num_elites=2)), ENV, "dev", path)
    with pytest.raises(DataError, match="other tasks"):
        _replay.replay(agent(), ENV, "test", path)


def test_the_command_says_whether_all_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    flags = ["eval", "--env", "ball", "--agent", "random_actions", "--count", "2"]
    assert main([*flags, "--run", str(tmp_path)]) == 0
    assert main([*flags, "--replay", str(tmp_path / "result.json")]) == 0
    assert "every action is the same" in capsys.readouterr().out
    monkeypatch.setattr("imagoal.eval.episodes.replay", lambda *_: [0, 1])
    assert main([*flags, "--replay", str(tmp_path / "result.json")]) == 1
    assert "other actions in episodes 0, 1" in capsys.readouterr().out
