"""The result file: its hashes, where it comes from, and the ones that are committed."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagoal import files, find
from imagoal.envs import make, short_name
from imagoal.errors import DataError
from imagoal.eval.episodes._result import ROLES, assemble_result, load_result, provenance, row_subject
from imagoal.eval.episodes._run import EpisodeResult
from imagoal.eval.episodes._summary import summarise
from imagoal.eval.tasks import Protocol, TaskList, frozen_tasks, load_tasks

RESULTS = find.folder("results")
COMMITTED = sorted(path for path in RESULTS.glob("*/*.json") if not path.name.endswith(".table.json"))
PROTOCOL = Protocol("house", "tasks", "test", 40, 0.06, 5, "hold")


def episode(number: int, milliseconds: float = 5.0) -> EpisodeResult:
    times = {"plan": milliseconds, "encode": 1.0, "rollout": 2.0, "refit": 2.0, "evaluations": 10.0}
    return EpisodeResult(number, number, 0.5, False, True, True, False, 3, 0.5, 0.1, None, [4], "ab", [times])


def result(milliseconds: float = 5.0, wall_s: float = 1.0) -> dict[str, Any]:
    episodes = [episode(0, milliseconds), episode(1, milliseconds)]
    origin = provenance({"batch": 1}, {"training": None}, wall_s)
    agent = {"name": "no_op", "planner": None}
    about = row_subject(PROTOCOL, make("ball"), "floor", agent)
    return assemble_result(about, summarise(episodes, 1, 1, 0.0), episodes, origin)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a nested JSON object are."""
    children = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    if not children:
        yield path
    for key, child in children:
        yield from leaves(child, (*path, key))


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """A deep copy with one leaf replaced."""
    copied = copy.deepcopy(value)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "edited" if holder[path[-1]] != "edited" else "again"
    return copied


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = result()
    files.write_json(tmp_path / "result.json", written)
    assert load_result(tmp_path / "result.json") == written


def test_any_edit_is_detected(tmp_path: Path) -> None:
    written = json.loads(json.dumps(result()))
    places = list(leaves(written))
    assert len(places) > 60
    for place in places:
        files.write_text(tmp_path / "result.json", json.dumps(changed(written, place)))
        with pytest.raises(DataError, match=r"is no result file|does not match its own sha256"):
            load_result(tmp_path / "result.json")


def test_a_line_more_or_less_is_detected(tmp_path: Path) -> None:
    written = result()
    for edited in (written | {"new": 1}, {k: v for k, v in written.items() if k != "env_options"}):
        files.write_json(tmp_path / "result.json", edited)
        with pytest.raises(DataError, match="does not match its own sha256: it was edited or damaged; run the command"):
            load_result(tmp_path / "result.json")
    files.write_json(tmp_path / "result.json", written | {"episodes": written["episodes"][:1]})
    with pytest.raises(DataError, match="does not match"):
        load_result(tmp_path / "result.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"schema": "imagoal.result/2"}'])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(DataError, match=r"result\.json is (no result file; expected schema|not readable JSON)"):
        load_result(tmp_path / "result.json")
    with pytest.raises(DataError, match="is missing"):
        load_result(tmp_path / "nope.json")


def test_the_replay_hash_knows_no_times_and_no_origin() -> None:
    first, second = result(5.0, 1.0), result(7.0, 2.0)
    assert first["summary"]["latency_ms"] != second["summary"]["latency_ms"]
    assert first["sha256"] != second["sha256"]
    assert first["replay_hash"] == second["replay_hash"]
    assert "plans" not in first["episodes"][0]


def test_the_replay_hash_follows_protocol_agent_and_episodes() -> None:
    def replay(protocol: Protocol = PROTOCOL, name: str = "no_op", number: int = 1) -> str:
        about = row_subject(protocol, make("ball"), "floor", {"name": name})
        return str(assemble_result(about, {}, [episode(0), episode(number)], {})["replay_hash"])

    other = Protocol("house", "other", "test", 40, 0.06, 5, "hold")
    assert len({replay(), replay(other), replay(name="mpc"), replay(number=2)}) == 4
    assert replay() == replay()


def test_a_result_has_what_the_contract_asks_for() -> None:
    found = result()
    assert set(found) == {
        *("schema", "protocol", "env", "env_options", "role", "agent", "summary", "episodes"),
        *("provenance", "replay_hash", "sha256"),
    }
    origin = found["provenance"]
    assert set(origin) == {
        *("command", "config", "seeds", "versions", "hardware", "threads", "device", "date", "commit", "dirty"),
        *("data_hash", "weights_hash", "wall_s"),
    }
    assert origin["versions"]["torch"]
    assert origin["threads"] == 1
    assert set(found["summary"]) == {
        *("success", "excluded_trivial", "failed_episodes", "steps_to_goal", "final_distance", "latency_ms"),
        *("evaluations_per_plan", "peak_mb"),
    }


def test_the_command_is_what_a_user_would_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*argv: str) -> Any:
        monkeypatch.setattr("sys.argv", list(argv))
        return provenance({}, {}, 0.0)["command"]

    assert command("/usr/bin/imagoal", "eval", "--run", "my runs/x") == "imagoal eval --run 'my runs/x'"
    assert command("/site-packages/imagoal/__main__.py", "eval") == "imagoal eval"
    assert command("mine/speed.py", "3") == "python mine/speed.py 3"
    script = RESULTS.resolve().parents[1] / "speed/tail.py"
    assert command(str(script), "3") == "python -m experiments.speed.tail 3"


def test_there_are_committed_results() -> None:
    assert len(COMMITTED) >= 12


def shipped_lists(found: dict[str, Any]) -> list[TaskList]:
    """The frozen test tasks of a result's env and options, or those with goals from data that ship for its env."""
    if found["protocol"]["source"] == "sampler":
        return [frozen_tasks(make(found["env"], found["env_options"]), "test")]
    lists = [load_tasks(path) for path in (find.folder("eval") / "tasks").glob("*-test.npz")]
    return [tasks for tasks in lists if (tasks.env, tasks.origin.source) == (found["env"], "dataset")]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_results_are_whole_clean_and_on_the_frozen_test_tasks(path: Path) -> None:
    found = load_result(path)
    protocol, summary = found["protocol"], found["summary"]
    assert found["role"] in ROLES
    assert path.parent.name == short_name(found["env"])
    assert path.stem.rpartition("-s")[2].isdigit()
    assert protocol["split"] == "test"
    assert not found["provenance"]["dirty"]
    assert found["provenance"]["commit"]
    count = len(found["episodes"])
    assert count in {200, 100, 60}
    assert protocol["tasks_hash"] in {tasks.first(count).hash for tasks in shipped_lists(found) if len(tasks) >= count}
    assert [line["id"] for line in found["episodes"]] == list(range(count))
    assert summary["excluded_trivial"] == 0
    for kind, shown in summary["success"].items():
        assert shown["n"] == count
        assert shown["rate"] == sum(line[kind] for line in found["episodes"]) / count


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_results_are_what_their_role_says(path: Path) -> None:
    found = load_result(path)
    agent = found["agent"]
    if found["role"] == "headline":
        assert (agent["world_model"], agent["privileged"], agent["cost"]["at"]) == ("latent", False, "latent")
        assert agent["training_seed"] is not None
    if found["role"] == "ceiling":
        assert (agent["world_model"], agent["cost"]["at"]) == ("simulator", "state")
    if found["role"] == "floor":
        assert agent["planner"] is None
        assert not agent["privileged"] or agent["name"] in {"straight", "mimic"}, "a simple rule may see the state"
    if agent["planner"]:
        assert (found["summary"]["latency_ms"]["batch"], found["provenance"]["threads"]) == (1, 1)


def test_committed_tables_have_rows_of_their_columns_and_are_clean() -> None:
    for path in RESULTS.glob("*/*.table.json"):
        found = files.read_json(path)
        assert found["schema"] == "imagoal.table/1"
        assert found["command"]
        assert all(len(row) == len(found["columns"]) for row in found["rows"]), path
        assert not found["provenance"]["dirty"], path
