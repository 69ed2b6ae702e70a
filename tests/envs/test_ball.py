"""Ball, BallGravity and BallGust: physics, pictures, and Gymnasium's contract."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import imagoal.envs
from imagoal.envs import GoalEnv
from imagoal.envs._ball_world import DRAG, FLOOR_COLOUR, RADIUS, SCALE, STEP, WALL, coast, draw, push
from imagoal.errors import EnvError, UsageError

NAMES = ["ball", "ball_gravity", "ball_gust"]


@pytest.fixture(params=NAMES)
def env(request: pytest.FixtureRequest) -> GoalEnv:
    return imagoal.envs.make(request.param)


def states(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = rng.uniform(RADIUS, 1 - RADIUS, (count, 2))
    return np.concatenate([place, rng.uniform(-1.5, 1.5, (count, 2))], 1)


@pytest.mark.parametrize("name", ["Ball", "BallGravity", "BallGust"])
def test_gymnasium_is_content(name: str) -> None:
    check_env(gymnasium.make(f"imagoal/{name}-v0", render_mode="rgb_array").unwrapped)


def test_time_limit_truncates_and_success_does_not_end() -> None:
    env = gymnasium.make("imagoal/Ball-v0")
    env.reset(seed=0)
    env.unwrapped.set_state(env.unwrapped.goal_state())
    for step in range(40):
        _, reward, terminated, truncated, info = env.step(np.zeros(2, np.float32))
        assert (reward, terminated, truncated) == (0, False, step == 39)
        assert info["is_success"]


def test_same_seed_same_episode(env: GoalEnv) -> None:
    def episode() -> list[np.ndarray]:
        env.reset(seed=7)
        rng = np.random.default_rng(1)
        return [env.step(rng.uniform(-1, 1, 2).astype(np.float32))[0]["image"] for _ in range(20)]

    assert np.array_equal(episode(), episode())


@pytest.mark.parametrize("name", ["ball", "ball_gravity"])
def test_simulate_foresees_the_episode_exactly_and_disturbs_nothing(name: str) -> None:
    env = imagoal.envs.make(name)
    env.reset(seed=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 2)).astype(np.float32)
    foreseen = env.simulate(env.state()[None], actions[None].astype(np.float64))[0]
    pictures = env.render_states(foreseen)
    for action, state, picture in zip(actions, foreseen, pictures, strict=True):
        observation, *_ = env.step(action)
        assert np.array_equal(env.state(), state)
        assert np.array_equal(observation["image"], picture)


def test_gusts_are_not_foreseen_but_follow_the_seed() -> None:
    env = imagoal.envs.make("ball_gust")
    start, still = states(4000), np.zeros((4000, 1, 2))
    env.reset(seed=0)
    calm = env.simulate(start, still)[:, 0]
    kicked = env.advance(start, still[:, 0])
    share = np.mean(np.any(kicked != calm, axis=1))
    assert 0.08 < share < 0.12


def test_energy_falls_without_pushes_and_the_ball_stays_inside() -> None:
    env = imagoal.envs.make("ball")
    path = env.simulate(states(300), np.zeros((300, 80, 2)))
    speed = np.linalg.norm(path[..., 2:], axis=-1)
    assert np.all(np.diff(speed, axis=1) < 0)
    assert np.all((path[..., :2] >= RADIUS) & (path[..., :2] <= 1 - RADIUS))


def test_a_wall_returns_nine_tenths_of_the_speed() -> None:
    after = coast(np.array([[0.93, 0.5, 1.0, 0.0]]), gravity=0.0)[0]
    assert after[2] == pytest.approx(-0.9 * np.exp(-DRAG * STEP))


def test_free_fall() -> None:
    fall = imagoal.envs.make("ball_gravity").simulate(np.array([[0.5, 0.9, 0.0, 0.0]]), np.zeros((1, 5, 2)))[0, -1]
    assert fall[1] == pytest.approx(0.9 - 0.5 * 0.5**2, abs=0.02)  # drag and substeps make up the difference


def test_a_push_is_at_most_a_fifth_of_a_metre_per_second() -> None:
    pushed = push(np.zeros((1, 4)), np.array([[1.0, 1.0]]))[0]
    assert np.hypot(*pushed[2:]) == pytest.approx(0.2)


def test_picture_shows_the_ball_where_it_is() -> None:
    start = states(200)
    frames = draw(start).astype(float)
    away = np.abs(frames - np.array(FLOOR_COLOUR)).sum(-1)[:, WALL:-WALL, WALL:-WALL]
    grid = (np.arange(SCALE) + 0.5) / SCALE
    x = (away.sum(1) * grid).sum(1) / away.sum((1, 2))
    y = 1 - (away.sum(2) * grid).sum(1) / away.sum((1, 2))
    assert np.allclose(np.stack([x, y], 1), start[:, :2], atol=0.002)  # an eighth of a pixel


def test_tasks_are_far_and_within_the_box(env: GoalEnv) -> None:
    rng = np.random.default_rng(0)
    tasks = [env.sample_task(rng) for _ in range(300)]
    assert min(task.difficulty for task in tasks) >= 0.35
    for task in tasks:
        assert np.all((task.goal[:2] >= RADIUS) & (task.goal[:2] <= 1 - RADIUS))
        assert np.all(task.goal[2:] == 0)


@pytest.mark.parametrize(("name", "share"), [("ball", 1.0), ("ball_gravity", 1.0), ("ball_gust", 0.97)])
def test_expert_solves_the_tasks(name: str, share: float) -> None:
    env = imagoal.envs.make(name)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    tasks = [env.sample_task(rng) for _ in range(300)]
    state, goal = np.stack([t.start for t in tasks]), np.stack([t.goal for t in tasks])
    streak, held = np.zeros(300), np.zeros(300, bool)
    for _ in range(40):
        state = env.advance(state, env.expert(state, goal))
        streak = np.where(env.at_goal(state, goal), streak + 1, 0)
        held |= streak >= 5
    assert held.mean() >= share


def test_vector_env_equals_single_physics_and_resets_by_itself() -> None:
    many = gymnasium.make_vec("imagoal/Ball-v0", num_envs=3)
    many.reset(seed=0)
    single = imagoal.envs.make("ball")
    rng = np.random.default_rng(0)
    before = many.unwrapped.single.simulate
    state = None
    for step in range(42):
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        observation, reward, _, truncated, info = many.step(actions)
        if state is not None and step != 40:
            assert np.array_equal(info["state"], before(state, actions[:, None].astype(np.float64))[:, 0])
        assert np.array_equal(observation["image"], single.render_states(info["state"]))
        assert truncated.all() == (step == 39)
        assert reward.shape == (3,)
        state = info["state"]


@pytest.mark.parametrize("action", [np.array([np.nan, 0.0]), np.zeros(3), np.float32(0.5)])
def test_bad_actions_are_refused(env: GoalEnv, action: np.ndarray) -> None:
    env.reset(seed=0)
    with pytest.raises(EnvError, match=r"expected \(2,\) finite numbers"):
        env.step(action)


def test_bad_states_and_options_are_refused(env: GoalEnv) -> None:
    env.reset(seed=0)
    with pytest.raises(UsageError, match="4 finite numbers"):
        env.set_state(np.zeros(3))
    with pytest.raises(UsageError, match="expected 'task'"):
        env.reset(options={"tusk": 1})
    with pytest.raises(UsageError, match="rgb_array"):
        type(env)(render_mode="human")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'ball'"):
        imagoal.envs.make("bal")
    with pytest.raises(UsageError, match="imagoal/Bal-v0"):
        imagoal.envs.make("imagoal/Bal-v0")
    with pytest.raises(UsageError, match="GoalEnv"):
        imagoal.envs.make("gymnasium.envs.classic_control.cartpole:CartPoleEnv")
