"""Factors of variation: each changes what its table says and nothing else, for one episode, its goal picture included."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest

from imagoal.envs import GoalEnv, make
from imagoal.envs.arm import physics as world
from imagoal.errors import UsageError

NAMES = ["reach", "push", "push_easy"]
LOOKS, PHYSICS, BOTH = ["colour", "camera", "light"], ["friction", "mass"], ["size"]
PUSHED = np.array([[[1.0, 0.1]] * 3 + [[0.0, 0.0]]])


@pytest.fixture(scope="module")
def push() -> GoalEnv:
    return make("push")


def pushing() -> np.ndarray:
    """A state (1, 12) with the finger behind the puck, off its middle."""
    state = np.zeros((1, 12))
    state[0, :2], state[0, 2:4] = world.joints(np.array([-0.07, 0.01])), (0.0, 0.0)
    return state


def begin(env: GoalEnv, names: Any, seed: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    return env.reset(seed=seed, options={"variation": names})


@pytest.mark.parametrize("names", [[name] for name in LOOKS + PHYSICS + BOTH])
def test_a_factor_changes_what_it_says_and_nothing_else(push: GoalEnv, names: list[str]) -> None:
    push.reset(seed=0)
    state = pushing()
    picture, path = push.render_states(state), push.simulate(state, PUSHED)
    begin(push, names)
    assert (not np.array_equal(push.render_states(state), picture)) == (names[0] in LOOKS + BOTH)
    assert (not np.array_equal(push.simulate(state, PUSHED), path)) == (names[0] in PHYSICS + BOTH)


@pytest.mark.parametrize("name", NAMES)
def test_the_next_episode_is_as_if_nothing_had_varied(name: str) -> None:
    def episode(env: GoalEnv) -> list[Any]:
        observation, info = env.reset(seed=7)
        assert info["variation"] == {}
        answers = [env.step(np.array([0.5, -0.9], np.float32)) for _ in range(3)]
        seen = [observation, *(answer[0] for answer in answers)]
        return [*(one[key] for one in seen for key in ("image", "goal")), env.state()]

    untouched, varied = make(name), make(name)
    begin(varied, "all")
    varied.step(np.ones(2, np.float32))
    assert all(np.array_equal(one, other) for one, other in zip(episode(untouched), episode(varied), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_goal_picture_and_simulation_are_of_the_same_world(name: str) -> None:
    env = make(name)
    observation, info = begin(env, ["all"])
    assert set(info["variation"]) == set(env.variations)
    assert np.array_equal(observation["goal"], env.render_states(env.goal_state()[None])[0])
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 2)).astype(np.float32)
    foreseen = env.simulate(env.state()[None], actions[None].astype(np.float64))[0]
    saved = env.state()
    for action, state in zip(actions, foreseen, strict=True):
        observation, *_, info = env.step(action)
        assert np.array_equal(info["state"], state)
        assert np.array_equal(observation["image"], env.render_states(state[None])[0])
    env.set_state(saved)
    assert np.array_equal(env.step(actions[0])[-1]["state"], foreseen[0])


def test_a_given_task_keeps_its_states_and_its_goal_is_drawn_anew(push: GoalEnv) -> None:
    push.reset(seed=0)
    task = push.sample_task(np.random.default_rng(0))
    observation, info = push.reset(seed=1, options={"task": task, "variation": ["colour"]})
    assert np.array_equal(info["state"], task.start)
    assert np.array_equal(info["goal_state"], task.goal)
    assert not np.array_equal(observation["goal"], task.goal_image)
    assert np.array_equal(observation["goal"], push.render_states(task.goal[None])[0])
    plain, _ = push.reset(options={"task": task})
    assert np.array_equal(plain["goal"], task.goal_image)


def test_values_follow_from_the_seed_and_do_not_depend_on_the_other_factors(push: GoalEnv) -> None:
    every = begin(push, "all")[1]["variation"]
    assert begin(make("push"), ["all"])[1]["variation"] == every
    assert begin(push, ["mass", "colour"])[1]["variation"] == {name: every[name] for name in ("colour", "mass")}
    assert begin(push, "all", seed=4)[1]["variation"] != every
    first = push.reset(options={"variation": ["mass"]})[1]["variation"]
    assert push.reset(options={"variation": ["mass"]})[1]["variation"] != first, "the generator goes on"
    for factor, numbers in every.items():
        assert numbers.keys() == push.variations[factor].numbers.keys()
        for name, value in numbers.items():
            assert push.variations[factor].numbers[name].low <= value <= push.variations[factor].numbers[name].high


def test_told_values_cannot_be_written_to(push: GoalEnv) -> None:
    begin(push, ["mass"])[1]["variation"]["mass"]["puck"] = 0.0
    assert push.step(np.zeros(2, np.float32))[-1]["variation"]["mass"]["puck"] >= 100


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_tells_every_range(name: str) -> None:
    env = make("push" if name == "push_easy" else name)
    rows = dict(re.findall(r"\| (\w+) \| (.*) \|\n", (env.__doc__ or "").partition("## Variation")[2]))
    assert [name for name in rows if name != "Name"] == list(env.variations)
    for factor, entry in env.variations.items():
        for number in entry.numbers.values():
            assert f"{number.low:g} to {number.high:g}" in rows[factor]


@pytest.mark.parametrize(
    ("name", "wish", "said"),
    [
        (
            "push",
            ["colour", "gravity"],
            "variation 'gravity'; expected any of colour, size, friction, mass, camera, light, or all",
        ),
        ("push", "colours", "variation 'colours'"),
        ("push", {"colour": 1}, "expected a list of names"),
        ("push", [["colour"]], "variation \\['colour'\\]"),
        ("reach", ["friction"], "expected any of colour, size, camera, light"),
        ("ball", ["colour"], "Ball has no factors of variation"),
        ("ball", "all", "Ball has no factors of variation"),
    ],
)
def test_unknown_factors_are_refused_and_the_known_ones_named(name: str, wish: Any, said: str) -> None:
    env = make(name)
    env.reset(seed=0)
    before = env.state()
    with pytest.raises(UsageError, match=said):
        env.reset(options={"variation": wish})
    assert np.array_equal(env.state(), before)


@pytest.mark.parametrize("name", ["push", "push_easy"])
def test_expert_solves_varied_tasks(name: str) -> None:
    env, solved = make(name), 0
    for seed in range(30):
        begin(env, "all", seed)
        state, goal = env.state()[None], env.goal_state()[None]
        gap = np.linalg.norm(world.tip(state) - state[:, 2:4])
        assert gap > 0.01 * sum(env.step(np.zeros(2, np.float32))[-1]["variation"]["size"][part] for part in ("finger", "puck"))
        for _ in range(env.max_episode_steps):
            state = env.advance(state, env.expert(state, goal))
        solved += bool(env.at_goal(state, goal)[0])
    assert solved >= 28


def test_puck_and_finger_are_always_in_the_picture(push: GoalEnv) -> None:
    corners = 0.999 * world.REACH * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    states = np.zeros((4, 12))
    states[:, :2], states[:, 2:4] = world.joints(corners), 0.14 * np.sign(corners)
    for seed in range(8):
        begin(push, ["camera"], seed)
        picture = push.render_states(states).astype(int)
        red, blue = picture[..., 0] - picture[..., 2] > 90, picture[..., 2] - picture[..., 0] > 60
        assert red.sum((1, 2)).min() > 25
        assert blue.sum((1, 2)).min() > 2


def test_vector_envs_tell_what_was_drawn() -> None:
    many = gymnasium.make_vec("imagoal/Push-v0", num_envs=2, vectorization_mode="sync")
    _, info = many.reset(seed=4, options={"variation": ["mass"]})
    alone = begin(make("push"), ["mass"], seed=4)[1]["variation"]["mass"]["puck"]
    assert info["variation"]["mass"]["puck"][0] == alone
    assert info["variation"]["mass"]["puck"][1] != alone
    many.close()
