"""Distractors: seen, part of the state, and without any bearing on the task."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from imagoal.envs import GoalEnv, make
from imagoal.envs._distractors import COLOUR, Distractors
from imagoal.envs.check import Terms, check_env
from imagoal.envs.push import Push
from imagoal.errors import UsageError

NAMES = ["ball", "ball_gust", "reach", "push"]
KINDS = ["noise", "mover", "noise+mover"]


def distracted(name: str, kinds: str = "noise+mover") -> GoalEnv:
    return make(name, {"distractors": kinds})


def tasks(env: GoalEnv, count: int = 20) -> list[Any]:
    return [env.sample_task(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", KINDS)
def test_envs_with_distractors_hold_the_contract(name: str, kinds: str) -> None:
    report = check_env(name, Terms(tasks=4), {"distractors": kinds})
    assert {line.verdict for line in report.lines} == {"ok"}, str(report)


@pytest.mark.parametrize("name", NAMES)
def test_the_task_is_the_same_with_and_without(name: str) -> None:
    plain, env = make(name), distracted(name)
    size = plain.reset(seed=0)[1]["state"].size
    for seed in range(5):
        bare, task = (one.sample_task(np.random.default_rng(seed)) for one in (plain, env))
        assert np.array_equal(task.start[:size], bare.start)
        assert np.array_equal(task.goal[:size], bare.goal)
        assert task.difficulty == bare.difficulty


@pytest.mark.parametrize("name", NAMES)
def test_phases_go_their_own_way_whatever_is_done_and_wanted(name: str) -> None:
    env = distracted(name)
    size = make(name).reset(seed=0)[1]["state"].size
    task, other = tasks(env, 2)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 6, 2))
    path = env.simulate(np.stack([task.start, np.append(other.start[:size], task.start[size:])]), actions)
    assert not np.array_equal(path[0, :, :size], path[1, :, :size])
    assert np.array_equal(path[0, :, size:], path[1, :, size:])
    assert np.all(np.diff(path[0, :, size:], axis=0) != 0), "each moves at every step"
    assert np.all((path[..., size:] >= 0) & (path[..., size:] < 1))


def test_phases_of_start_and_goal_are_independent_of_each_other_and_of_the_task() -> None:
    drawn = tasks(distracted("ball"), 1500)
    starts, goals = np.stack([task.start for task in drawn]), np.stack([task.goal for task in drawn])
    phases = np.concatenate([starts[:, 4:], goals[:, 4:]], 1)
    together = np.corrcoef(np.concatenate([phases, starts[:, :4], goals[:, :2]], 1), rowvar=False)[: phases.shape[1]]
    assert np.abs(together[~np.eye(*together.shape, dtype=bool)]).max() < 4.5 / np.sqrt(len(drawn))
    assert np.abs(phases.mean(0) - 0.5).max() < 0.04


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_task_depends_on_phases(name: str) -> None:
    env = distracted(name)
    size = make(name).reset(seed=0)[1]["state"].size
    states, goals = (np.stack([getattr(task, part) for task in tasks(env)]) for part in ("start", "goal"))
    others = states.copy()
    others[:, size:] = others[::-1, size:]
    assert np.array_equal(env.task_distance(states, goals), env.task_distance(others, goals))
    assert np.array_equal(env.visible(states), env.visible(others))
    assert np.array_equal(env.expert(states, goals), env.expert(others, goals))
    assert not np.array_equal(env.render_states(states), env.render_states(others))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", KINDS)
def test_what_belongs_to_the_task_is_never_covered(name: str, kinds: str) -> None:
    plain, env = make(name), distracted(name, kinds)
    size = plain.reset(seed=0)[1]["state"].size
    states = np.stack([task.start for task in tasks(env)])
    bare, shown, empty = plain.render_states(states[:, :size]), env.render_states(states), env._empty()  # type: ignore[attr-defined]
    moving = np.any(bare != empty, axis=-1)
    assert moving.sum((1, 2)).min() > 20
    assert np.array_equal(shown[moving], bare[moving])
    changed = np.any(shown != bare, axis=-1)[~moving].mean()
    assert (changed > 0.9) == ("noise" in kinds)


def test_noise_is_new_at_each_step_and_follows_from_the_state() -> None:
    env = distracted("ball", "noise")
    observation, info = env.reset(seed=0)
    later = env.simulate(env.state()[None], np.zeros((1, 30, 2)))[0]
    frames = env.render_states(later).astype(float)[:, 2:-2, 2:-2].mean(-1)
    wall_free = np.ptp(frames, axis=0) > 0
    assert wall_free.mean() > 0.97
    pairs = np.corrcoef(frames[:, ::4, ::4].reshape(30, -1)) - np.eye(30)
    assert np.abs(pairs).max() < 0.4, "the ball is in all of them; else they have nothing in common"
    assert np.array_equal(distracted("ball", "noise").render_states(info["state"][None])[0], observation["image"])


@pytest.mark.parametrize("name", NAMES)
def test_the_mover_is_always_seen_and_gets_about(name: str) -> None:
    env = distracted(name)
    for task in tasks(env, 3):
        path = env.simulate(task.start[None], np.zeros((1, 60, 2)))[0]
        green = np.all(np.abs(env.render_states(path).astype(int) - COLOUR) < 3, axis=-1)
        assert green.sum((1, 2)).min() >= 15
        assert green.any((0, 1)).mean() > 0.7
        assert green.any((0, 2)).mean() > 0.5


def test_nothing_else_is_green_whatever_varies() -> None:
    env = make("push")
    for seed in range(8):
        observation, _ = env.reset(seed=seed, options={"variation": "all"})
        red, green, blue = observation["image"].astype(int).transpose(2, 0, 1)
        assert not np.any(green > np.maximum(red, blue) + 20)


def test_distractors_live_in_varied_worlds() -> None:
    env = distracted("push")
    observation, _ = env.reset(seed=2, options={"variation": "all"})
    assert np.array_equal(observation["goal"], env.render_states(env.goal_state()[None])[0])
    grey = np.ptp(observation["image"].astype(int), axis=-1) < 25
    assert len(np.unique(observation["image"][grey], axis=0)) > 60, "noise over the varied table too"
    assert np.array_equal(env.reset(seed=2)[0]["image"], distracted("push").reset(seed=2)[0]["image"])


def test_options_and_variants_tell_them() -> None:
    assert distracted("ball", "noise").options == {"distractors": "noise"}
    assert (make("ball").options, make("ball").variant, distracted("reach", "mover").variant) == ({}, "", "mover")
    both = Push(goal_finger="anywhere", distractors="noise+mover")
    assert both.options == {"goal_finger": "anywhere", "distractors": "noise+mover"}
    assert (both.variant, Push(distractors="noise").variant) == ("anywhere-noise+mover", "noise")


@pytest.mark.parametrize("name", ["ball", "reach", "push"])
def test_wrong_ones_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="distractors 'rain'; expected one of none, noise, mover, noise\\+mover"):
        distracted(name, "rain")


def test_states_of_other_options_are_refused() -> None:
    task = make("push").sample_task(np.random.default_rng(0))
    with pytest.raises(UsageError, match="state of 12 numbers; expected 12, and 1 of distractors 'noise'"):
        distracted("push", "noise").reset(options={"task": task})
    longer = distracted("ball", "mover").sample_task(np.random.default_rng(0))
    with pytest.raises(UsageError, match="state of 6 numbers; expected 4, and 0 of distractors 'none'"):
        make("ball").reset(options={"task": longer})


def test_gymnasium_makes_them_one_by_one_and_by_the_many() -> None:
    alone = gymnasium.make("imagoal/Ball-v0", distractors="noise+mover")
    assert alone.reset(seed=0)[1]["state"].shape == (7,)
    many = gymnasium.make_vec("imagoal/Ball-v0", num_envs=3, distractors="noise+mover")
    many.reset(seed=0)
    observation, *_, info = many.step(np.ones((3, 2), np.float32))
    single = distracted("ball")
    assert np.array_equal(observation["image"], single.render_states(info["state"]))
    assert info["state"].shape == (3, 7)
    with pytest.raises(UsageError, match="takes none"):
        many.reset(options={"variation": ["colour"]})


def test_pictures_of_any_size_can_be_painted() -> None:
    both, empty = Distractors("noise+mover"), np.full((50, 70, 3), 200, np.uint8)
    frames = np.repeat(empty[None], 2, 0)
    phases = np.array([[0.25, 0.0, 1.0 - 2**-30], [0.5, 0.5, 0.5]])
    both.paint(frames, phases, empty)
    assert (frames[0, 45:, 65:] == COLOUR).all(-1).sum() >= 9, "in the corner, wholly inside"
    assert (frames != 200).mean() > 0.9
