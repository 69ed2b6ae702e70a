"""Task lists: frozen ones are as they were frozen, and files that are none are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagoal import find
from imagoal.envs import GoalEnv, make
from imagoal.errors import DataError, UsageError
from imagoal.eval.tasks._lists import SEEDS, Split, TaskList, choose_tasks, draw_tasks, frozen_tasks, is_trivial, load_tasks

BALL = {
    "dev": "21d7d3f6c1ebb105dd0fcb75f3793518865730b81e0dbcad643e1419fbd813d9",
    "test": "6ad1a0b011f9ddb7fcd478e326a07d3600eec843ae448c4cf48e82da2d47bc4b",
}
"""The three Ball envs sample their tasks alike."""

HASHES = {(name, "", split): BALL[split] for name in ("ball", "ball_gravity", "ball_gust") for split in SEEDS} | {
    ("ball", "noise+mover", "dev"): "cbfe6e8db2348cdfb90add9d5dd3f45afd6485c7ca06c4c74b17a594598290a7",
    ("ball", "noise+mover", "test"): "90c5fa8e93354c28dec3837f77ff8dbfb91011c4df601aab2f89964d76a0cc0c",
    ("reach", "", "dev"): "ab2b4c0ffa18860302ff314f289dc9e34794b8c892d7c244a52c14cf8452cdc9",
    ("reach", "", "test"): "d495e7889efe73af7abff3487bc5f224c41acbb9a18d657df80d57fead280cfa",
    ("push_easy", "", "dev"): "459ee87c0ca195a8167cf8ce9eca4f67d00ef84abbf13183ec7f19fd66cf8765",
    ("push_easy", "", "test"): "e4ec64fd24c26d8942cf23a0f0986d82ad5b3b576518d297b37a31ac36bdc75c",
    ("push", "", "dev"): "1c8dbf45e91e4da57882d4a7008bf58f43763ebd59b7404db8892867f446b37d",
    ("push", "", "test"): "1db4f5cf6b2c70ed8f42141d09903eb16b6d9960e559a7f85b1817652c2209e0",
    ("push", "anywhere", "dev"): "827b201bf2a5da9ed5337af3906c7e069b2bf359cd7dfe0755e767ec9dc311bb",
    ("push", "anywhere", "test"): "835e5dfeaf640c3bf9617fb05d24b95946ca8bea75e53b10e3878b9a92da6773",
    ("push", "hidden", "dev"): "898a44aafe6d31e53c723ebd509facebba2ccb1b5f703d0b8172ac6d83725612",
    ("push", "hidden", "test"): "e09a9c84d9924e385f04a030f5d3d1db220bfe0416eefbb5538c28326b4c53d7",
}
"""Of the frozen lists, by env, variant and split. Never to be changed."""

LATER = {
    "dev": "27cf9ff21492cf2329a5fccd6fc4550fde22d4ff21edc04ed424f12eee79a849",
    "test": "5d1cc35f93d25a737f869b9e4c1ee5dbd7403dc22be5773100bce5a5900c5575",
}
"""Of the lists of Push with goals out of held-out episodes, 25 steps after the start."""

every_list = pytest.mark.parametrize(("name", "variant", "split"), list(HASHES))


def made(name: str, variant: str) -> GoalEnv:
    """The env; distractors are Ball's only variants, goal fingers Push's."""
    return make(name, {"distractors" if name == "ball" else "goal_finger": variant} if variant else {})


@pytest.fixture(scope="module")
def ball() -> GoalEnv:
    return make("ball")


@every_list
def test_frozen_lists_are_as_they_were_frozen(name: str, variant: str, split: Split) -> None:
    env = made(name, variant)
    tasks = frozen_tasks(env, split)
    assert tasks.hash == HASHES[name, variant, split]
    assert (tasks.split, len(tasks)) == (split, 200)
    assert not any(is_trivial(env, tasks.task(i)) for i in range(200))
    np.testing.assert_allclose(tasks.difficulties, env.task_distance(tasks.starts, tasks.goals))


@pytest.mark.parametrize("split", list(LATER))
def test_lists_with_goals_from_data_are_as_they_were_frozen(split: Split) -> None:
    tasks = choose_tasks(make("push"), str(find.folder("eval") / f"tasks/Push-later25-{split}.npz"))
    assert tasks.hash == LATER[split]
    assert (tasks.split, len(tasks), tasks.origin.source, tasks.origin.offset) == (split, 200, "dataset", 25)
    assert not tasks.origin.whole, "of episodes that nothing is trained on"


@every_list
def test_frozen_lists_can_be_drawn_again(name: str, variant: str, split: Split) -> None:
    env = made(name, variant)
    tasks, again = frozen_tasks(env, split), draw_tasks(env, split, 200)
    assert np.array_equal(again.seeds, tasks.seeds)
    np.testing.assert_allclose(again.starts, tasks.starts, rtol=0, atol=1e-9)
    np.testing.assert_allclose(again.goals, tasks.goals, rtol=0, atol=1e-9)
    away = np.abs(again.goal_images.astype(int) - tasks.goal_images.astype(int))
    assert away.max() <= 2, "elsewhere a pixel may be rounded otherwise"
    assert again.env == tasks.env


def test_dev_and_test_share_no_task(ball: GoalEnv) -> None:
    dev, test = frozen_tasks(ball, "dev"), frozen_tasks(ball, "test")
    assert not set(dev.seeds.tolist()) & set(test.seeds.tolist())
    apart = np.linalg.norm(dev.starts[:, None] - test.starts[None], axis=-1)
    assert apart.min() > 0


def test_trivial_tasks_are_drawn_again_and_skip_a_seed(ball: GoalEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = ball.sample_task

    def sometimes_solved(rng: np.random.Generator) -> Any:
        task = sample(rng)
        return replace(task, start=task.goal) if task.start[0] < 0.5 else task

    monkeypatch.setattr(ball, "sample_task", sometimes_solved)
    tasks = draw_tasks(ball, "dev", 8)
    assert len(tasks) == 8
    assert not any(is_trivial(ball, tasks.task(i)) for i in range(8))
    assert tasks.seeds[0] >= SEEDS["dev"]
    assert tasks.seeds[-1] > SEEDS["dev"] + 8
    assert np.all(np.diff(tasks.seeds) >= 1)


def test_a_list_comes_back_from_its_file_as_it_was(ball: GoalEnv, tmp_path: Path) -> None:
    tasks = draw_tasks(ball, "dev", 3)
    tasks.save(tmp_path / "mine.npz")
    again = load_tasks(tmp_path / "mine.npz")
    assert (again.env, again.split, again.hash) == ("imagoal/Ball-v0", "dev", tasks.hash)
    assert choose_tasks(ball, str(tmp_path / "mine.npz")).hash == tasks.hash


def test_the_first_tasks_are_the_first(ball: GoalEnv) -> None:
    tasks = frozen_tasks(ball, "test")
    few = tasks.first(7)
    assert len(few) == 7
    assert few.hash != tasks.hash
    assert np.array_equal(few.task(6).start, tasks.task(6).start)


@pytest.mark.parametrize("count", [-1, 0, 201])
def test_more_or_fewer_tasks_than_there_are_is_refused(ball: GoalEnv, count: int) -> None:
    with pytest.raises(UsageError, match=rf"{count} tasks asked of imagoal/Ball-v0 dev; expected from 1 to 200"):
        frozen_tasks(ball, "dev").first(count)


def test_a_name_that_is_none_is_refused(ball: GoalEnv) -> None:
    with pytest.raises(UsageError, match=r"tasks 'tset'; expected dev, test, or the path of an \.npz file"):
        choose_tasks(ball, "tset")


def test_an_env_without_frozen_tasks_is_told_the_cure(ball: GoalEnv) -> None:
    class Foreign(type(ball)):  # type: ignore[misc]
        pass

    with pytest.raises(UsageError, match=r"no frozen dev tasks for .*Foreign.*; pass --tasks FILE\.npz"):
        frozen_tasks(Foreign(), "dev")


def test_tasks_of_another_env_are_refused(ball: GoalEnv, tmp_path: Path) -> None:
    draw_tasks(make("ball_gust"), "dev", 2).save(tmp_path / "gust.npz")
    with pytest.raises(DataError, match="holds tasks of imagoal/BallGust-v0; expected imagoal/Ball-v0"):
        choose_tasks(ball, str(tmp_path / "gust.npz"))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz is no list of tasks: no \.npz file, or cut short"):
        load_tasks(tmp_path / "bad.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*nope\.npz; expected a list of tasks"):
        load_tasks(tmp_path / "nope.npz")


def test_a_file_that_was_cut_short_or_changed_is_refused(ball: GoalEnv, tmp_path: Path) -> None:
    path = tmp_path / "tasks.npz"
    tasks = draw_tasks(ball, "dev", 3)
    tasks.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is no list of tasks"):
            load_tasks(path)
    refused = 0
    for place in range(60, len(whole) - 400, 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert load_tasks(path).hash == tasks.hash, "what does not matter (a time stamp) may differ"
        except DataError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("split", np.array("train"), "split 'train', expected dev or test"),
        ("seeds", np.arange(2), "seeds is int64"),
        ("seeds", np.arange(3.0), "seeds is float64"),
        ("starts", np.zeros((3, 4), np.float32), "starts is float32"),
        ("starts", np.full((3, 4), np.nan), "starts is float64"),
        ("starts", np.zeros(3), "ValueError"),
        ("goals", np.zeros((3, 5)), "goals is float64"),
        ("goal_images", np.zeros((3, 3, 64, 64), np.uint8), "goal_images is uint8"),
        ("goal_images", np.zeros((3, 64, 64, 3)), "goal_images is float64"),
        ("difficulties", None, "TypeError"),
        ("env", None, "KeyError"),
        ("other", np.zeros(3), "TypeError"),
        ("starts", np.array([{}]), "ValueError: Object arrays"),
    ],
)
def test_a_foreign_npz_is_refused(ball: GoalEnv, tmp_path: Path, field: str, value: Any, words: str) -> None:
    tasks = draw_tasks(ball, "dev", 3)
    arrays = {name: getattr(tasks, name) for name in ("seeds", "starts", "goals", "goal_images", "difficulties")}
    arrays |= {"env": np.array(tasks.env), "split": np.array(tasks.split), field: value}
    np.savez(tmp_path / "tasks.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=f"is no list of tasks .*{words}"):
        load_tasks(tmp_path / "tasks.npz")


def test_an_empty_list_is_refused(ball: GoalEnv, tmp_path: Path) -> None:
    tasks = draw_tasks(ball, "dev", 1)
    arrays = {name: getattr(tasks, name)[:0] for name in ("seeds", "starts", "goals", "goal_images", "difficulties")}
    TaskList(tasks.env, "dev", **arrays).save(tmp_path / "none.npz")
    with pytest.raises(DataError, match="1 task or more"):
        load_tasks(tmp_path / "none.npz")
