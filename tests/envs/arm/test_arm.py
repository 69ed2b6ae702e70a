"""Reach, Push and PushEasy: physics that comes to rest, tasks that can be solved, what the goal picture shows."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from imagoal.envs import GoalEnv, make
from imagoal.envs._types import Floats
from imagoal.envs.arm import physics as world
from imagoal.envs.push import Push
from imagoal.envs.store import Spec, run_episode
from imagoal.errors import DivergedError, UsageError

NAMES = ["reach", "push", "push_easy"]


@pytest.fixture(params=NAMES, scope="module")
def env(request: pytest.FixtureRequest) -> GoalEnv:
    return make(request.param)


@pytest.fixture(scope="module")
def push() -> GoalEnv:
    return make("push")


def laid(env: GoalEnv, fingers: np.ndarray, pucks: np.ndarray) -> np.ndarray:
    """States at rest (M, 12) with fingers (M, 2) and pucks (M, 2)."""
    states = np.zeros((len(fingers), 12))
    states[:, :2], states[:, 2:4] = world.joints(fingers), pucks
    return states


@pytest.mark.parametrize("name", ["Reach", "Push", "PushEasy"])
def test_gymnasium_is_content(name: str) -> None:
    check_env(gymnasium.make(f"imagoal/{name}-v0", render_mode="rgb_array").unwrapped)


def test_joints_put_the_finger_where_it_is_wanted() -> None:
    wanted = np.random.default_rng(0).uniform(-world.REACH, world.REACH, (500, 2))
    angles = world.joints(wanted)
    assert np.allclose(world.tip(angles), wanted)
    assert np.all(angles[:, 1] >= 0), "the elbow bends to one side only, so finger and picture tell the same"


def test_simulate_foresees_the_episode_exactly_and_disturbs_nothing(env: GoalEnv) -> None:
    env.reset(seed=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 12, 2)).astype(np.float32)
    actions[0] *= 0.1
    foreseen = env.simulate(np.repeat(env.state()[None], 6, 0), actions.astype(np.float64))[3]
    pictures = env.render_states(foreseen)
    for action, state, picture in zip(actions[3], foreseen, pictures, strict=True):
        observation, *_ = env.step(action)
        assert np.array_equal(env.state(), state), "alone or among others, the same to the bit"
        assert np.array_equal(observation["image"], picture)


def test_the_finger_goes_where_it_is_told_and_rests(push: GoalEnv) -> None:
    rng = np.random.default_rng(1)
    fingers, actions = rng.uniform(-0.23, 0.23, (200, 2)), rng.uniform(-1, 1, (200, 2))
    before = laid(push, fingers, np.full((200, 2), 5.0))  # the puck far away
    after = push.advance(before, actions)
    wanted = np.clip(fingers + world.STRIDE * actions, -world.REACH, world.REACH)
    assert np.linalg.norm(world.tip(after) - wanted, axis=1).max() < 0.002
    assert np.abs(after[:, 6:8]).max() * 2 * world.LINK < 0.05, "m/s"


def test_a_pushed_puck_goes_with_the_finger_and_stops_with_it(push: GoalEnv) -> None:
    rng = np.random.default_rng(2)
    pucks, angle = rng.uniform(-0.08, 0.08, (100, 2)), rng.uniform(0, 2 * np.pi, 100)
    ahead = np.stack([np.cos(angle), np.sin(angle)], 1)
    before = laid(push, pucks - ahead * (world.CONTACT + 0.003), pucks)
    after = push.advance(before, 0.7 * ahead)
    moved = np.linalg.norm(after[:, 2:4] - pucks, axis=1)
    assert np.median(moved) == pytest.approx(0.7 * world.STRIDE - 0.003, rel=0.1)
    later = push.advance(after, np.zeros((100, 2)))
    drift = np.linalg.norm(later[:, 2:4] - after[:, 2:4], axis=1)
    assert np.percentile(drift, 95) < 0.002, "one picture shows the whole state"


def test_the_lip_keeps_the_puck_and_the_finger_passes_above_it(push: GoalEnv) -> None:
    state = laid(push, np.array([[-0.1, 0.0]]), np.array([[0.0, 0.0]]))
    for _ in range(10):
        state = push.advance(state, np.array([[1.0, 0.0]]))
    assert 0.1 < state[0, 2] < world.LIP - world.PUCK + 0.01
    beyond = laid(push, np.array([[0.2, -0.15]]), np.array([[-0.1, 0.1]]))
    assert world.tip(push.advance(beyond, np.array([[0.7, 0.0]])))[0, 0] == pytest.approx(0.235, abs=0.002)


def test_expert_solves_the_tasks(env: GoalEnv) -> None:
    rng = np.random.default_rng(0)
    tasks = [env.sample_task(rng) for _ in range(60)]
    state, goal = np.stack([t.start for t in tasks]), np.stack([t.goal for t in tasks])
    assert not env.at_goal(state, goal).any()
    for _ in range(env.max_episode_steps):
        state = env.advance(state, env.expert(state, goal))
    assert env.at_goal(state, goal).mean() >= 0.98


@pytest.mark.parametrize("name", ["push", "push_easy"])
def test_tasks_are_as_the_docstrings_say(name: str) -> None:
    env = make(name)
    rng = np.random.default_rng(0)
    tasks = [env.sample_task(rng) for _ in range(200)]
    starts, goals = np.stack([t.start for t in tasks]), np.stack([t.goal for t in tasks])
    way = goals[:, 2:4] - starts[:, 2:4]
    far = np.linalg.norm(way, axis=1)
    assert far.min() >= 0.08
    assert far.max() <= 0.25
    assert np.linalg.norm(world.tip(starts) - starts[:, 2:4], axis=1).min() > world.CONTACT
    behind = goals[:, 2:4] - (world.CONTACT + 0.001) * way / far[:, None]
    assert np.allclose(world.tip(goals), np.clip(behind, -world.REACH, world.REACH))
    if name == "push_easy":
        push = starts[:, 2:4] - world.tip(starts)
        cosine = (push * way).sum(1) / np.linalg.norm(push, axis=1) / far
        assert cosine.min() >= np.cos(np.radians(60)) - 1e-9
        assert np.linalg.norm(push, axis=1).max() <= 0.14


def test_goal_finger_changes_nothing_but_the_finger_in_the_goal() -> None:
    tasks = {name: Push(goal_finger=name).sample_task(np.random.default_rng(5)) for name in ("behind", "anywhere", "hidden")}
    for task in tasks.values():
        assert np.array_equal(task.start, tasks["behind"].start)
        assert np.array_equal(task.goal[2:], tasks["behind"].goal[2:])
    hidden = tasks["hidden"].goal_image
    blue = (hidden[..., 2] > hidden[..., 0].astype(int) + 20).sum()
    assert blue == 0, "no finger and no link in the picture"
    shown = tasks["anywhere"].goal_image
    assert (shown[..., 2] > shown[..., 0].astype(int) + 20).sum() > 4
    assert Push(goal_finger="hidden").options == {"goal_finger": "hidden"}
    assert (Push().options, Push().variant, Push(goal_finger="anywhere").variant) == ({}, "", "anywhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"goal_finger": "above"}, "goal_finger 'above'"), ({"renderer": "glx"}, "renderer 'glx'"), ({"colour": "red"}, "colour")],
)
def test_wrong_options_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("push", options)


def test_diverged_physics_is_told_and_leaves_state_and_folder_as_they_were(
    push: GoalEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    push.reset(seed=0)
    wild = push.state()
    wild[8] = 1e14
    good = push.state()
    after = push.advance(np.stack([good, wild, good]), np.zeros((3, 2)))
    assert np.isnan(after[1]).all()
    assert np.array_equal(after[0], after[2])
    assert np.isfinite(after[0]).all()
    push.set_state(wild)
    with pytest.raises(DivergedError, match="diverged"):
        push.step(np.zeros(2, np.float32))
    assert np.array_equal(push.state(), wild)
    assert not list(tmp_path.iterdir()), "no MUJOCO_LOG.TXT"


def test_an_episode_ends_before_its_physics_diverges(capsys: pytest.CaptureFixture[str]) -> None:
    env = make("push")
    spec = Spec("imagoal/Push-v0", (64, 64, 3), 2, 12, seed=0, behaviour="expert", steps=6)
    whole = run_episode(env, "expert", spec, 0)
    moved, calls = env._moved, 0  # type: ignore[attr-defined]

    def blown(states: Floats, actions: Floats) -> Floats:
        nonlocal calls
        calls += 1
        return np.asarray(moved(states, actions) * (np.nan if calls == 5 else 1))

    env._moved = blown  # type: ignore[attr-defined]
    episode = run_episode(env, "expert", spec, 0)
    assert len(episode) == 4
    spec.check(episode, "the rest")
    for name, length in (("frames", 5), ("actions", 4), ("states", 5)):
        np.testing.assert_array_equal(getattr(episode, name), getattr(whole, name)[:length])
    assert (
        f"episode 0 (seed {episode.seed}) ends after 4 steps; step 5 is dropped, since the physics" in capsys.readouterr().err
    )


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_envs_work(mode: str) -> None:
    many = gymnasium.make_vec("imagoal/Push-v0", num_envs=2, vectorization_mode=mode)
    one = make("push")
    try:
        observation, _ = many.reset(seed=4)
        assert np.array_equal(observation["image"][0], one.reset(seed=4)[0]["image"]), "the same picture in every process"
        observation, reward, *_ = many.step(np.zeros((2, 2), np.float32))
        assert observation["image"].shape == (2, 64, 64, 3)
        assert reward.tolist() == [-1, -1]
    finally:
        many.close()


def test_many_envs_leak_nothing() -> None:
    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    for number in range(200):
        env = gymnasium.make("imagoal/Push-v0")
        env.reset(seed=number)
        env.close()
        if number == 50:
            before = held()
    assert (held() - before) * 4096 < 20e6
