"""A row of a table: the same from run to run, in any batch, and after an interruption."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagoal import files
from imagoal.envs import make
from imagoal.errors import DataError, ResourceError, UsageError
from imagoal.eval.episodes import _evaluate, _result
from imagoal.eval.episodes._build import build
from imagoal.eval.episodes._choices import AgentChoice
from imagoal.eval.episodes._evaluate import RowSetting, evaluate
from imagoal.eval.episodes._run import EpisodeResult, run_tasks
from imagoal.planning import CEM
from tests.choices import choice

SMALL = CEM(horizon=4, num_samples=8, num_elites=3, iterations=2)


def request(agent: str = "mpc", model: str = "simulator", **settings: Any) -> AgentChoice:
    return choice(agent, model, **{"planner": SMALL, "replan_every": 2} | settings)


def row(
    folder: Path,
    asked: AgentChoice | None = None,
    count: int = 5,
    batch: int = 1,
    role: str = "ablation",
    env: str = "ball_gust",
) -> dict[str, Any]:
    world = make(env)
    return evaluate(build(asked or request(), world), world, "dev", count, folder, RowSetting(batch, role=role))


def interrupted(monkeypatch: pytest.MonkeyPatch, done: int, folder: Path, **asked: Any) -> None:
    """Start a row; Ctrl-C when this many episodes are done."""
    appended = files.append_line

    def append(path: Path, record: Any) -> None:
        if path.name == "episodes.jsonl" and len(files.read_lines(path)) == done:
            raise KeyboardInterrupt
        appended(path, record)

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_line", append)
        with pytest.raises(KeyboardInterrupt):
            row(folder, **asked)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The row of five gusty tasks, in one go."""
    return row(tmp_path_factory.mktemp("eval") / "whole")


def test_a_row_is_written_and_loads(tmp_path: Path) -> None:
    found = row(tmp_path, count=2)
    assert _result.load_result(tmp_path / "result.json") == json.loads(json.dumps(found))
    assert files.read_json(tmp_path / "run.json")["status"] == "done"
    assert (found["env"], found["role"], len(found["episodes"])) == ("imagoal/BallGust-v0", "ablation", 2)
    assert found["agent"]["planner"]["name"] == "cem"
    assert found["agent"]["cost"] == {
        "at": "state",
        "distance": "task",
        "agent_weight": None,
        "last": 0.0,
        "mean": 1.0,
        "min": 0.0,
    }
    assert found["episodes"][0]["iterations"] == [2] * 20, "a plan every other step"
    assert found["summary"]["latency_ms"]["n"] == 39, "all but the cold one"


def test_the_same_command_gives_the_same_episodes(tmp_path: Path, whole: dict[str, Any]) -> None:
    again = row(tmp_path)
    assert again["replay_hash"] == whole["replay_hash"]
    assert again["episodes"] == whole["episodes"]


@pytest.mark.parametrize(("changes", "message"), [({"batch": 2}, "batch = 2"), ({"role": "headline"}, "role 'headline'")])
def test_a_deadline_is_for_one_episode_and_no_headline(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        row(tmp_path / "run", request(deadline_ms=50.0), **changes)
    assert not (tmp_path / "run").exists(), "refused before anything is written"


@pytest.mark.parametrize("batch", [2, 5])
def test_the_batch_changes_nothing_but_the_times(tmp_path: Path, whole: dict[str, Any], batch: int) -> None:
    batched = row(tmp_path, batch=batch)
    assert batched["episodes"] == whole["episodes"]
    assert batched["replay_hash"] == whole["replay_hash"]
    assert batched["summary"]["success"] == whole["summary"]["success"]
    assert batched["summary"]["latency_ms"]["batch"] == batch


def test_fewer_tasks_are_the_first_ones(tmp_path: Path, whole: dict[str, Any]) -> None:
    few = row(tmp_path, count=2)
    assert few["episodes"] == whole["episodes"][:2]
    assert few["protocol"]["tasks_hash"] != whole["protocol"]["tasks_hash"]


@pytest.mark.parametrize(("batch", "done"), [(1, 3), (2, 3), (5, 1)])
def test_an_interrupted_run_continues_to_the_same_result(
    tmp_path: Path,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    batch: int,
    done: int,
) -> None:
    interrupted(monkeypatch, done, tmp_path, batch=batch)
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "LOCK").exists()
    run: list[int] = []

    def counted(maker: Any, agent: Any, tasks: Any, ids: Sequence[int], steps: int) -> list[EpisodeResult]:
        run.extend(ids)
        return run_tasks(maker, agent, tasks, ids, steps)

    monkeypatch.setattr(_evaluate, "run_tasks", counted)
    capsys.readouterr()
    continued = row(tmp_path, batch=batch)
    assert f"{done} of 5 episodes were already done" in capsys.readouterr().err
    assert run == list(range(done, 5)), "none is run twice"
    assert continued["replay_hash"] == whole["replay_hash"]
    assert continued["summary"]["latency_ms"]["n"] == whole["summary"]["latency_ms"]["n"]


def test_a_line_torn_by_a_kill_is_run_again(tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, 3, tmp_path)
    log = tmp_path / "episodes.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    assert row(tmp_path)["replay_hash"] == whole["replay_hash"]


@pytest.mark.parametrize("line", ["3", "[]", "{}", '{"id": 0}', '{"id": 0, "what": 1}'])
def test_a_log_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    interrupted(monkeypatch, 1, tmp_path, count=2)
    log = tmp_path / "episodes.jsonl"
    log.write_text(log.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"episodes\.jsonl holds a line that is no episode .*another --run folder"):
        row(tmp_path, count=2)


def test_a_finished_row_is_not_run_again_and_keeps_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = row(tmp_path, count=2)
    before = (tmp_path / "result.json").read_bytes()
    origin = "imagoal.eval.episodes._evaluate.provenance"
    monkeypatch.setattr(origin, lambda *_, **__: pytest.fail("the commit of now is not that of the episodes"))
    assert row(tmp_path, count=2)["sha256"] == first["sha256"]
    assert "is complete: nothing to do" in capsys.readouterr().err
    assert (tmp_path / "result.json").read_bytes() == before


def test_an_edited_result_of_a_finished_row_is_noticed(tmp_path: Path) -> None:
    row(tmp_path, request("no_op", ""), count=2)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"hold": false', '"hold": true'))
    with pytest.raises(DataError, match="was edited or damaged"):
        row(tmp_path, request("no_op", ""), count=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asked": request(replan_every=1)}, "replan_every"),
        ({"asked": request(planner=CEM(horizon=5, num_samples=8, num_elites=3, iterations=2))}, "horizon 4 -> 5"),
        ({"asked": request(warm_start=False)}, "warm_start"),
        ({"asked": request("no_op", "")}, "config.agent"),
        ({"asked": request(deadline_ms=50.0)}, "deadline_ms None -> 50.0"),
        ({"batch": 2}, "config.batch 1 -> 2"),
        ({"role": "ceiling"}, "config.role 'ablation' -> 'ceiling'"),
        ({"count": 1}, "parents.protocol"),
        ({"env": "ball"}, "config.env"),
    ],
)
def test_a_folder_of_another_row_is_refused_and_left_alone(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    row(tmp_path, count=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=f"was made with other settings .*{words}.*use another --run folder"):
        row(tmp_path, **{"count": 2, **changes})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with files.lock(tmp_path), pytest.raises(ResourceError, match="in use"):
        row(tmp_path, count=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "best"}, "role 'best'; expected one of headline, "),
        ({"batch": 0}, "batch = 0; expected at least 1"),
        ({"count": 201}, "201 tasks asked"),
        ({"count": -1}, "-1 tasks asked"),
        ({"env": "bal"}, "no env 'bal'; did you mean 'ball'"),
        ({"asked": request("mcp")}, "no agent 'mcp'; did you mean 'mpc'"),
        ({"asked": request(model="")}, "the mpc agent needs a world model"),
        ({"asked": request(at="latent")}, "needs an encoder and there is none; pass --readouts DIR"),
        ({"asked": request(at="frame", distance="slowness")}, "no distance 'slowness' at frame"),
        ({"asked": request(at="frame", distance="task")}, "no distance 'task' at frame"),
        ({"asked": request(distance="blur")}, "no distance 'blur' at state; .* blur at frame"),
        ({"asked": request(replan_every=5)}, r"replan_every = 5; expected a multiple of the action block \(1\)"),
        (
            {"asked": request(surprise=0.5, replan_every=1), "batch": 2},
            "batch = 2 with surprise; expected 1",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        row(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_deadline_and_what_was_done_under_it_are_recorded(tmp_path: Path) -> None:
    found = row(tmp_path, request(deadline_ms=0.001), count=1)
    times = found["summary"]["latency_ms"]
    assert found["agent"]["planner"]["deadline_ms"] == 0.001
    assert (times["deadline"], times["missed"], times["n"]) == (0.001, 19, 19)
    assert found["episodes"][0]["iterations"] == [1] * 20, "one iteration is done in any case"
    assert "deadline_ms" not in row(tmp_path / "free", count=1)["agent"]["planner"], "rows from before have none either"


def test_a_cost_measured_on_rendered_frames_is_the_same_in_any_batch(tmp_path: Path) -> None:
    found = [row(tmp_path / str(batch), request(at="frame"), count=2, batch=batch) for batch in (1, 2)]
    assert found[0]["replay_hash"] == found[1]["replay_hash"]
    assert found[0]["agent"]["cost"]["distance"] == "blur"
    assert found[0]["agent"]["privileged"], "the simulator is, wherever the cost is measured"


def test_a_planner_s_settings_are_no_part_of_an_agent_that_does_not_plan(tmp_path: Path) -> None:
    found = row(tmp_path, request("random_actions", ""), count=2, role="floor")
    assert found["agent"] == {
        "name": "random_actions",
        "privileged": False,
        "planner": None,
        "world_model": None,
        "encoder": None,
        "cost": None,
        "training_seed": None,
        "parameters": None,
    }
    assert found["summary"]["latency_ms"] is None


def test_a_headline_is_searched_in_fp32(tmp_path: Path) -> None:
    rough = build(request(), make("ball"))
    rough = replace(rough, description=rough.description | {"planner": {"precision": "bf16"}})
    with pytest.raises(UsageError, match="role 'headline' with precision bf16; expected ablation"):
        evaluate(rough, make("ball"), "dev", 1, tmp_path, RowSetting(role="headline"))
