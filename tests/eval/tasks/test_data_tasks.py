"""Goals from data: where a held-out episode was some steps later."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagoal import find
from imagoal.cli import main
from imagoal.envs import GoalEnv, make
from imagoal.envs.store import Collecting, Store, collect, open_cache
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes import build, evaluate, load_result
from imagoal.eval.tasks import house_protocol
from imagoal.eval.tasks._from_data import draw_from_data
from imagoal.eval.tasks._lists import SAMPLER, SEEDS, Origin, Split, TaskList, draw_tasks, frozen_tasks, is_trivial, load_tasks
from imagoal.world_model.training import split_episodes as held_out
from tests.choices import choice

OFFSET = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eighty short episodes, four of them held out."""
    path = tmp_path_factory.mktemp("store") / "data"
    collect("ball", path, 80, setting=Collecting(steps=20))
    return Store.open(path)


@pytest.fixture(scope="module")
def ball() -> GoalEnv:
    return make("ball")


def places(store: Store, tasks: TaskList) -> list[tuple[int, int]]:
    """Episode and step at which each task begins."""
    cache = open_cache(store)
    rows = [int(np.flatnonzero((cache.states == start).all(1))[0]) for start in tasks.starts]
    episodes = np.searchsorted(cache.starts, rows, side="right") - 1
    return [(int(e), int(row - cache.starts[e])) for e, row in zip(episodes, rows, strict=True)]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_start_goal_and_picture_are_of_one_held_out_episode(store: Store, ball: GoalEnv, split: Split) -> None:
    tasks = draw_from_data(ball, store, OFFSET, split, 10)
    held = held_out(open_cache(store))[1].tolist()
    for i, (number, step) in enumerate(places(store, tasks)):
        assert number in held
        episode, task = store.read(number), tasks.task(i)
        assert np.array_equal(task.start, episode.states[step])
        assert np.array_equal(task.goal, episode.states[step + OFFSET])
        assert np.array_equal(task.goal_image, episode.frames[step + OFFSET])
        assert task.difficulty == ball.task_distance(task.start, task.goal)
        assert not is_trivial(ball, task)
    assert tasks.seeds.tolist() == list(range(SEEDS[split], SEEDS[split] + 10))
    assert len(set(places(store, tasks))) == 10


def test_dev_and_test_are_of_different_episodes_and_drawing_again_gives_the_same(store: Store, ball: GoalEnv) -> None:
    dev, test = (draw_from_data(ball, store, OFFSET, split, 10) for split in ("dev", "test"))
    assert not {number for number, _ in places(store, dev)} & {number for number, _ in places(store, test)}
    assert draw_from_data(ball, store, OFFSET, "dev", 10).hash == dev.hash


def test_a_store_that_is_for_nothing_else_gives_tasks_of_every_episode(store: Store, ball: GoalEnv) -> None:
    dev, test = (draw_from_data(ball, store, OFFSET, split, 300, whole=True) for split in ("dev", "test"))
    found = [{number for number, _ in places(store, tasks)} for tasks in (dev, test)]
    assert not found[0] & found[1]
    assert len(found[0] | found[1]) > 70
    assert dev.origin.whole


def test_a_model_is_not_evaluated_on_episodes_that_it_was_trained_on(store: Store, ball: GoalEnv, tmp_path: Path) -> None:
    """A random agent that says that it was trained on this store."""
    path = tmp_path / "tasks.npz"
    asked = choice("random_actions", "")

    def row(whole: bool) -> Any:
        draw_from_data(ball, store, OFFSET, "test", 2, whole).save(path)
        agent = replace(build(asked, ball), hashes={"data_hash": store.hash})
        return evaluate(agent, ball, str(path), 0, tmp_path / str(whole))

    with pytest.raises(DataError, match="was trained on the store that the goals are from; use held-out episodes, or another"):
        row(whole=True)
    assert row(whole=False)["protocol"]["source"] == "dataset"


def test_trivial_tasks_are_left_out_and_counted(store: Store, ball: GoalEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two candidates is made trivial: as many are left out as were passed on the way to the last task."""
    monkeypatch.setattr(ball, "at_goal", lambda states, goals: states[..., 0] < np.median(states[..., 0]))
    few, many = (draw_from_data(ball, store, OFFSET, "test", count) for count in (5, 12))
    assert 0 < many.origin.excluded <= 13
    assert few.origin.excluded <= many.origin.excluded
    assert np.array_equal(many.starts[:5], few.starts)
    with pytest.raises(DataError, match=r"gives 13 test tasks with goals 8 steps later, and 13 that are solved at their start"):
        draw_from_data(ball, store, OFFSET, "test", 14)


def test_where_they_come_from_is_kept_in_the_file_but_is_no_part_of_the_hash(
    store: Store, ball: GoalEnv, tmp_path: Path
) -> None:
    tasks = draw_from_data(ball, store, OFFSET, "test", 5)
    assert tasks.origin == Origin("dataset", OFFSET, tasks.origin.excluded, store.hash, whole=False)
    tasks.save(tmp_path / "tasks.npz")
    again = load_tasks(tmp_path / "tasks.npz")
    assert (again.origin, again.hash) == (tasks.origin, tasks.hash)
    assert again.first(2).origin == tasks.origin
    assert replace(tasks, origin=SAMPLER).hash == tasks.hash
    with np.load(tmp_path / "tasks.npz") as data:
        assert (str(data["source"]), int(data["offset"])) == ("dataset", OFFSET)


def test_lists_from_the_sampler_have_files_and_protocols_as_ever(ball: GoalEnv, tmp_path: Path) -> None:
    tasks = draw_tasks(ball, "dev", 2)
    tasks.save(tmp_path / "tasks.npz")
    with np.load(tmp_path / "tasks.npz") as data:
        assert set(data.files) == {"seeds", "starts", "goals", "goal_images", "difficulties", "env", "split"}
    assert load_tasks(tmp_path / "tasks.npz").origin == SAMPLER == frozen_tasks(ball, "test").origin
    for path in find.folder("results").glob("Ball*/*-s?.json"):
        found = load_result(path)
        env, count = make(found["env"], found["env_options"]), len(found["episodes"])
        assert house_protocol(env, frozen_tasks(env, "test").first(count)).hash == found["protocol"]["hash"], path


def test_the_protocol_tells_goals_from_data_apart_and_how_far_off_they_are(store: Store, ball: GoalEnv) -> None:
    tasks = draw_from_data(ball, store, OFFSET, "test", 5)
    protocol = house_protocol(ball, tasks)
    assert (protocol.source, protocol.name) == ("dataset", "house, goals 8 steps later")
    assert protocol.hash != house_protocol(ball, replace(tasks, origin=SAMPLER)).hash


@pytest.mark.parametrize(
    "values", [("sampler", 3), ("dataset", 0), ("dataset", 3, -1), ("elsewhere", 3), ("sampler", 0, 0, "x")]
)
def test_an_origin_that_is_none_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match="expected sampler alone, or dataset with an offset of 1 or more"):
        Origin(*values)


@pytest.mark.parametrize(
    "changes", [{"source": "elsewhere"}, {"offset": 0}, {"offset": "far"}, {"offset": None}, {"excluded": [1, 2]}]
)
def test_a_file_with_an_origin_that_is_none_is_refused(store: Store, ball: GoalEnv, tmp_path: Path, changes: Any) -> None:
    path = tmp_path / "tasks.npz"
    draw_from_data(ball, store, OFFSET, "test", 3).save(path)
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    ((name, value),) = changes.items()
    arrays |= {name: np.array(value)}
    np.savez(path, **{key: array for key, array in arrays.items() if value is not None or key != name})
    with pytest.raises(DataError, match="is no list of tasks"):
        load_tasks(path)


@pytest.mark.parametrize(
    ("offset", "count", "words"),
    [
        (0, 5, "offset = 0; expected from 1 to 40"),
        (41, 5, "offset = 41; expected from 1 to 40"),
        (8, 0, "count = 0; expected at least 1"),
    ],
)
def test_an_offset_or_count_that_is_none_is_refused(store: Store, ball: GoalEnv, offset: int, count: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        draw_from_data(ball, store, offset, "test", count)


def test_a_store_that_gives_too_few_tasks_is_refused(store: Store, ball: GoalEnv) -> None:
    with pytest.raises(DataError, match="expected 500: collect more or longer episodes, or ask for fewer tasks"):
        draw_from_data(ball, store, OFFSET, "test", 500)
    with pytest.raises(DataError, match="gives 0 test tasks with goals 30 steps later, and 0 that are solved"):
        draw_from_data(ball, store, 30, "test", 1)
    with pytest.raises(DataError, match="holds episodes of imagoal/Ball-v0; expected imagoal/BallGust-v0"):
        draw_from_data(make("ball_gust"), store, OFFSET, "test", 1)


def test_the_verb_and_a_row_on_its_list(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", str(store.path), "--offset", "8"]
    assert main(["tasks", *data, "--count", "4", "--split", "test", "--out", "later.npz"]) == 0
    assert "wrote later.npz: 4 test tasks of imagoal/Ball-v0, " in capsys.readouterr().out
    assert main(["tasks", "--env", "ball_gust", "--count", "3", "--out", "own.npz"]) == 0
    assert load_tasks(Path("own.npz")).hash == draw_tasks(make("ball_gust"), "dev", 3).hash
    row = "eval --agent no_op --tasks later.npz --run run"
    assert main([*row.split(), "--role", "headline"]) == 2
    assert main(row.split()) == 0
    found = load_result(Path("run/result.json"))
    assert found["protocol"]["source"] == "dataset"
    assert found["provenance"]["config"]["goals"]["offset"] == 8
    assert main(["report", "run", "--out", "report.html"]) == 0
    assert "Test tasks, goals from dataset, protocol house, goals 8 steps later." in Path("report.html").read_text()
    assert main(["tasks", "--out", "own.txt"]) == 2
    assert main(["tasks", "--out", "own.npz", "--count", "0"]) == 2
    assert main(["tasks", "--data", "nowhere", "--out", "x.npz"]) == 3
    assert not Path("x.npz").exists()
