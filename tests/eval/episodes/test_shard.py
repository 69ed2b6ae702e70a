"""Shards: together they are the row, apart they are never taken for one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from imagoal import files
from imagoal.cli import main
from imagoal.envs import make
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes import RowSetting, _evaluate, _result, build
from imagoal.eval.episodes._evaluate import evaluate
from imagoal.eval.episodes._run import EpisodeResult, run_tasks
from imagoal.eval.episodes._shard import Shard, described_shard, merge
from imagoal.eval.show import report
from imagoal.planning import CEM
from tests.choices import choice

SMALL = CEM(horizon=3, num_samples=4, num_elites=2, iterations=1)
ORIGINS = {"command": "imagoal eval", "commit": "c" * 40, "dirty": False, "date": "2026-01-01", "hardware": "a cpu"}


def row(folder: Path, shard: Shard, agent: str = "random_actions", count: int = 5, **settings: Any) -> dict[str, Any]:
    asked, env = choice(agent, "simulator" if agent == "mpc" else "", **{"planner": SMALL} | settings), make("ball_gust")
    return evaluate(build(asked, env), env, "dev", count, folder, RowSetting(shard=str(shard)))


@pytest.fixture(autouse=True)
def _one_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that come from one clean commit, whatever the working tree is like."""
    origin = "imagoal.eval.episodes._evaluate.provenance"
    monkeypatch.setattr(origin, lambda *args, **hashes: _result.provenance(*args, **hashes) | ORIGINS)


def resealed(path: Path, **changes: Any) -> None:
    """Edit the provenance of a shard as if it had come from elsewhere."""
    content = files.read_json(path)
    del content["sha256"]
    content["provenance"] |= changes
    files.write_json(path, _result.sealed(content))


@pytest.fixture
def halves(tmp_path: Path) -> list[Path]:
    """The files of both shards of a row of five tasks."""
    for number in (1, 2):
        row(tmp_path / str(number), Shard(number, 2))
    return [tmp_path / str(number) / "result.json" for number in (1, 2)]


@pytest.mark.parametrize("agent", ["random_actions", "mpc"])
@pytest.mark.parametrize("of", [2, 3, 5])
def test_the_shards_together_are_the_row(tmp_path: Path, agent: str, of: int) -> None:
    whole = row(tmp_path / "whole", Shard(), agent)
    for number in range(1, of + 1):
        row(tmp_path / str(number), Shard(number, of), agent)
    merged = merge([tmp_path / str(number) / "result.json" for number in reversed(range(1, of + 1))])
    assert merged["replay_hash"] == whole["replay_hash"]
    for key in ("schema", "protocol", "env", "env_options", "role", "agent", "episodes"):
        assert merged[key] == json.loads(json.dumps(whole[key])), key
    for key in set(whole["summary"]) - {"latency_ms", "peak_mb"}:
        assert merged["summary"][key] == whole["summary"][key], key
    if agent == "mpc":
        assert merged["summary"]["latency_ms"]["n"] == whole["summary"]["latency_ms"]["n"] == 5 * 40 - 1
    assert merged["provenance"]["config"] == json.loads(json.dumps(whole["provenance"]["config"]))
    files.write_json(tmp_path / "merged.json", merged)
    assert _result.load_result(tmp_path / "merged.json") == merged


def test_a_shard_runs_every_nth_task_and_one_of_one_is_the_row() -> None:
    assert [Shard(number, 3).ids(8) for number in (1, 2, 3)] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert Shard.parse("1/1") == Shard()
    assert Shard().whole
    assert not Shard(1, 2).whole


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "1.5/2", "²/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"shard .*; expected i/n with i from 1 to n, e\.g\. 2/4"):
        Shard.parse(text)


def test_more_shards_than_tasks_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shard 6/6 of 5 tasks; expected at most as many shards as tasks"):
        row(tmp_path / "run", Shard(6, 6))
    assert not (tmp_path / "run").exists()


def test_a_shard_is_no_result(halves: list[Path]) -> None:
    with pytest.raises(DataError, match=r"is no result file; expected schema 'imagoal\.result/1', .* by imagoal merge"):
        _result.load_result(halves[0])
    with pytest.raises(DataError, match="is no result file"):
        report([halves[0]], [])
    with pytest.raises(DataError, match="holds no result file"):
        report([halves[0].parents[1]], [])
    content = files.read_json(halves[0])
    assert not {"summary", "replay_hash"} & set(content), "what reads rows without asking stumbles"
    assert (content["shard"], content["tasks"], [line["id"] for line in content["episodes"]]) == ("1/2", 5, [0, 2, 4])


def test_a_result_is_no_shard(tmp_path: Path) -> None:
    row(tmp_path, Shard(), count=2)
    with pytest.raises(DataError, match=r"is no shard file; expected schema 'imagoal\.shard/1'"):
        merge([tmp_path / "result.json"])


def test_an_interrupted_shard_continues(tmp_path: Path, halves: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    appended, ran = files.append_line, []

    def append(path: Path, record: Any) -> None:
        if path.name == "episodes.jsonl" and len(files.read_lines(path)) == 2:
            raise KeyboardInterrupt
        appended(path, record)

    def counted(maker: Any, agent: Any, tasks: Any, ids: Sequence[int], steps: int) -> list[EpisodeResult]:
        ran.extend(ids)
        return run_tasks(maker, agent, tasks, ids, steps)

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_line", append)
        with pytest.raises(KeyboardInterrupt):
            row(tmp_path / "again", Shard(1, 2))
    monkeypatch.setattr(_evaluate, "run_tasks", counted)
    row(tmp_path / "again", Shard(1, 2))
    assert ran == [4]
    again = [tmp_path / "again/result.json", halves[1]]
    assert merge(again)["replay_hash"] == merge(halves)["replay_hash"]
    with pytest.raises(DataError, match=r"made with other settings \(config\.shard '1/2' -> '2/2'\)"):
        row(tmp_path / "again", Shard(2, 2))


def test_the_row_says_where_each_shard_comes_from(halves: list[Path]) -> None:
    resealed(halves[0], wall_s=10.0, hardware="a cpu", dirty=False)
    resealed(halves[1], wall_s=2.5, hardware="another", dirty=True)
    origin = merge(halves)["provenance"]
    assert (origin["wall_s"], origin["dirty"], origin["hardware"]) == (12.5, True, "a cpu and another")
    assert origin["command"].startswith("imagoal eval && imagoal eval && ")
    assert "shard" not in origin["config"]
    assert [part["shard"] for part in origin["merged"]] == ["1/2", "2/2"]
    assert [part["sha256"] for part in origin["merged"]] == [files.read_json(path)["sha256"] for path in halves]


def test_shards_of_two_commits_are_refused_unless_it_is_asked_for(halves: list[Path]) -> None:
    resealed(halves[1], commit="d" * 40, date="2026-01-02")
    with pytest.raises(DataError, match=r"of different rows \(commit 'c+' -> 'd+'\); .*or pass --across-commits"):
        merge(halves)
    origin = merge(halves, across_commits=True)["provenance"]
    assert (origin["commit"], origin["date"]) == ("d" * 40, "2026-01-02")
    assert [part["commit"][0] for part in origin["merged"]] == ["c", "d"]
    resealed(halves[1], threads=2)
    with pytest.raises(DataError, match="of different rows"):
        merge(halves, across_commits=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agent": "no_op"}, "agent.name 'random_actions' -> 'no_op'"),
        ({"agent": "mpc"}, "agent.cost.at None -> 'state'"),
        ({"count": 4}, "protocol.hash"),
    ],
)
def test_shards_of_different_rows_are_refused(tmp_path: Path, halves: list[Path], changes: dict[str, Any], words: str) -> None:
    row(tmp_path / "other", Shard(2, 2), **changes)
    with pytest.raises(DataError, match=f"of different rows .*{words}.*; merge shards of one row"):
        merge([halves[0], tmp_path / "other/result.json"])


@pytest.mark.parametrize(
    "changes", [{"weights_hash": "x"}, {"data_hash": "x"}, {"readouts_hash": "x"}, {"versions": {"torch": "0"}}, {"threads": 2}]
)
def test_shards_of_different_weights_or_versions_are_refused(halves: list[Path], changes: dict[str, Any]) -> None:
    resealed(halves[1], **changes)
    with pytest.raises(DataError, match=f"of different rows .*{next(iter(changes))}"):
        merge(halves)


def test_missing_and_doubled_shards_are_refused(tmp_path: Path, halves: list[Path]) -> None:
    with pytest.raises(DataError, match="shards 2/2 are missing; run and name them too"):
        merge(halves[:1])
    with pytest.raises(DataError, match="are both shard 1/2; name each shard once"):
        merge([*halves, halves[0]])
    row(tmp_path / "third", Shard(3, 3))
    with pytest.raises(DataError, match="shards 1/2, 3/3 are of different divisions; use one n"):
        merge([halves[0], tmp_path / "third/result.json"])
    with pytest.raises(UsageError, match="no shards"):
        merge([])


def test_an_edited_shard_is_noticed(halves: list[Path]) -> None:
    halves[1].write_text(halves[1].read_text().replace('"final": false', '"final": true'))
    with pytest.raises(DataError, match="does not match its own sha256"):
        merge(halves)


def test_a_shard_without_one_of_its_episodes_is_refused(halves: list[Path]) -> None:
    content = files.read_json(halves[1])
    del content["sha256"], content["episodes"][0]
    files.write_json(halves[1], _result.sealed(content))
    with pytest.raises(DataError, match="does not hold the tasks of shard 2/2 of 5; run it again"):
        merge(halves)


def test_the_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    flags = "eval --agent no_op --count 3 --role floor"
    for number in (1, 2):
        assert main([*flags.split(), "--shard", f"{number}/2", "--run", str(number)]) == 0
    assert "shard 2/2: 1 of 3 tasks, hold 0.0 %, final 0.0 %, ever 0.0 %; no row yet" in capsys.readouterr().out
    assert main([*flags.split(), "--run", "whole"]) == 0
    assert main(["merge", "2/result.json", "1/result.json", "--out", "row.json"]) == 0
    assert "wrote row.json, merged from 2 shards" in capsys.readouterr().out
    assert _result.load_result(Path("row.json"))["replay_hash"] == _result.load_result(Path("whole/result.json"))["replay_hash"]
    report([Path("row.json")], [])
    assert main(["merge", "1/result.json", "--out", "row.json"]) == 3
    assert main(["merge", "1/result.json", "--out", "1/result.json"]) == 2
    assert main([*flags.split(), "--shard", "3/2", "--run", "no"]) == 2
    assert not Path("no").exists()


def test_a_shard_says_how_it_went_without_its_trivial_tasks() -> None:
    lines = [{"trivial": solved, "hold": solved, "final": solved, "ever": True} for solved in (True, False)]
    said = described_shard({"shard": "1/2", "tasks": 4, "episodes": lines})
    assert said == "shard 1/2: 2 of 4 tasks, hold 0.0 %, final 0.0 %, ever 100.0 %; no row yet"
