"""Running tasks: what counts as success, what an agent may see, and what a broken env or agent costs."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from imagoal.agents import Decision
from imagoal.agents.no_op import NoOp
from imagoal.agents.random_actions import RandomActions
from imagoal.envs import Floats, Frames, GoalEnv, Rng, Task, make
from imagoal.errors import EnvError
from imagoal.eval.episodes._run import EpisodeResult, Moment, longest_streak, run_tasks
from imagoal.eval.tasks import TaskList, frozen_tasks, house_protocol
from imagoal.world_model import Observation

GUST = frozen_tasks(make("ball_gust"), "dev")


class Told(GoalEnv):
    """An env that is at the goal (state 0) when its script says so, and else away from it (state 1)."""

    max_episode_steps: ClassVar[int] = 9
    tolerance: ClassVar[float] = 0.5

    def __init__(self, script: str = "", hook: Callable[["Told"], None] | None = None) -> None:
        super().__init__()
        picture = spaces.Box(0, 255, (4, 5, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.script, self.hook, self.steps = script, hook, 0

    def sample_task(self, rng: Rng) -> Task:
        raise NotImplementedError

    def advance(self, states: Floats, actions: Floats) -> Floats:
        self.steps += 1
        if self.hook:
            self.hook(self)
        return np.array([[0.0 if self.script[self.steps - 1] == "+" else 1.0]])

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        raise NotImplementedError

    def render_states(self, states: Floats) -> Frames:
        return np.full((len(states), 4, 5, 3), self.steps, np.uint8)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        return np.asarray(np.abs(states - goals)[..., 0])

    def visible(self, states: Floats) -> Floats:
        return states

    def expert(self, states: Floats, goals: Floats) -> Floats:
        raise NotImplementedError


def told_tasks(count: int = 1, start: float = 1.0) -> TaskList:
    images = np.zeros((count, 4, 5, 3), np.uint8)
    return TaskList("told", "dev", np.arange(count), np.full((count, 1), start), np.zeros((count, 1)), images, np.ones(count))


def score(script: str, start: float = 1.0) -> EpisodeResult:
    return run_tasks(lambda: Told(script), NoOp(Told()), told_tasks(start=start), [0], len(script))[0]


@pytest.mark.parametrize(
    ("script", "ever", "hold", "final", "first"),
    [
        ("---------", False, False, False, None),
        ("+++++++++", True, True, True, 1),
        ("--+++++--", True, True, False, 3),  # five in a row are enough
        ("-++++-+++", True, False, True, 2),  # four are not, nor are four and three
        ("-++++----", True, False, False, 2),
        ("----+++++", True, True, True, 5),  # the last five
        ("-----++++", True, False, True, 6),
        ("--------+", True, False, True, 9),
        ("+--------", True, False, False, 1),
        ("+++++----", True, True, False, 1),
        ("++++-++++", True, False, True, 1),
    ],
)
def test_ever_hold_and_final(script: str, ever: bool, hold: bool, final: bool, first: int | None) -> None:
    episode = score(script)
    assert (episode.ever, episode.hold, episode.final, episode.steps_to_goal) == (ever, hold, final, first)
    assert (episode.start_distance, episode.final_distance) == (1, 0 if script[-1] == "+" else 1)
    assert not episode.trivial


def test_being_at_the_goal_from_the_start_is_trivial_and_counts_for_nothing() -> None:
    episode = score("---------", start=0.0)
    assert episode.trivial
    assert not any([episode.ever, episode.hold, episode.final])
    assert not score("++++-----", start=0.0).hold, "the start is no step: four steps are not five"


@pytest.mark.parametrize(("there", "longest"), [("", 0), ("-", 0), ("+", 1), ("++-+", 2), ("-+-+++", 3), ("+++++", 5)])
def test_longest_streak(there: str, longest: int) -> None:
    assert longest_streak(np.array([mark == "+" for mark in there])) == longest


def test_the_protocol_of_the_house_is_the_env_s_own_and_its_hash_covers_all_of_it() -> None:
    protocol = house_protocol(make("ball_gust"), GUST)
    assert (protocol.steps, protocol.tolerance, protocol.hold_steps, protocol.headline) == (40, 0.06, 5, "hold")
    assert (protocol.split, protocol.tasks_hash) == ("dev", GUST.hash)
    changes: dict[str, Any] = {"name": "x", "tasks_hash": "x", "split": "test", "steps": 41, "tolerance": 0.07, "hold_steps": 4}
    changes |= {"headline": "final", "source": "dataset"}
    assert set(changes) == {field.name for field in fields(protocol)}
    hashes = {replace(protocol, **{name: value}).hash for name, value in changes.items()}
    assert len(hashes | {protocol.hash}) == len(changes) + 1


class Spy:
    """An agent that does nothing but remember all that it is told."""

    def __init__(self, privileged: bool) -> None:
        self.privileged = privileged
        self.told: list[tuple[Any, ...]] = []

    def reset(self, *told: Any) -> None:
        self.told.append(told)

    def act(self, *told: Any) -> Decision:
        self.told.append(told)
        return Decision(torch.zeros(len(told[0].frame), 2), {})


def test_an_agent_sees_pictures_and_nothing_else() -> None:
    spy = Spy(privileged=False)
    run_tasks(lambda: make("ball_gust"), spy, GUST, [4, 5], 3)
    (goal, seeds), *moments = spy.told
    assert seeds == GUST.seeds[[4, 5]].tolist()
    assert torch.equal(goal.frame, torch.from_numpy(GUST.goal_images[[4, 5]]).movedim(-1, 1))
    assert len(moments) == 3
    for (seen,) in [(goal,), *moments]:
        assert {field.name for field in fields(seen)} == {"frame", "state"}
        assert (seen.frame.dtype, seen.frame.shape) == (torch.uint8, (2, 3, 64, 64))
        assert seen.state is None


def test_a_privileged_agent_also_sees_the_states() -> None:
    spy = Spy(privileged=True)
    run_tasks(lambda: make("ball_gust"), spy, GUST, [4, 5], 2)
    (goal, _), (now,), _ = spy.told
    assert torch.equal(goal.state, torch.from_numpy(GUST.goals[[4, 5]]))
    assert torch.equal(now.state, torch.from_numpy(GUST.starts[[4, 5]]))


def test_an_agent_sees_the_present_frame_at_each_step() -> None:
    spy = Spy(privileged=True)
    run_tasks(lambda: Told("-+-"), spy, told_tasks(2), [0, 1], 3)
    assert [moment.frame.unique().tolist() for (moment,) in spy.told[1:]] == [[0], [1], [2]]
    assert [moment.state.flatten().tolist() for (moment,) in spy.told[1:]] == [[1, 1], [1, 1], [0, 0]]


def test_the_same_tasks_end_the_same_whatever_they_are_run_with() -> None:
    world = make("ball_gust")
    together = run_tasks(lambda: make("ball_gust"), RandomActions(world), GUST, range(6), 20)
    alone = [run_tasks(lambda: make("ball_gust"), RandomActions(world), GUST, [i], 20)[0] for i in range(6)]
    assert together == alone
    assert len({episode.final_distance for episode in alone}) == 6


def test_the_hash_of_the_actions_is_that_of_their_float32_bytes() -> None:
    agent = RandomActions(Told())
    episode = run_tasks(lambda: Told("---"), agent, told_tasks(), [0], 3)[0]
    agent.reset(Observation(torch.zeros(1, 3, 4, 5, dtype=torch.uint8)), [0])
    actions = [agent.act(Observation(torch.zeros(1, 3, 4, 5))).actions[0].numpy().astype("<f4") for _ in range(3)]
    assert episode.actions_sha256 == hashlib.sha256(np.concatenate(actions).tobytes()).hexdigest()


def test_a_recorder_sees_every_step_of_every_episode() -> None:
    seen: list[tuple[int, int, int]] = []

    def record(index: int, moment: Moment) -> None:
        seen.append((index, moment.row, int(moment.frame.max())))

    run_tasks(lambda: Told("--"), NoOp(Told()), told_tasks(2), [1, 0], 2, record)
    assert seen == [(1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1)]


def fail(env: Told) -> None:
    if env.steps == 4:
        raise ZeroDivisionError("the physics\nblew up")


def lose_state(env: Told) -> None:
    env.state = lambda: np.array([np.nan])  # type: ignore[method-assign]


def shrink(env: Told) -> None:
    env.render_states = lambda states: np.zeros((1, 4, 4, 3), np.uint8)  # type: ignore[method-assign]


def whiten(env: Told) -> None:
    env.render_states = lambda states: np.zeros((1, 4, 5, 3))  # type: ignore[method-assign,assignment,return-value]


def run_pair(hook: Callable[[Told], None], script: str = "+++++++++") -> list[EpisodeResult]:
    """Two episodes at the goal all the time, the first one spoilt."""
    envs = iter([Told(script, hook), Told(script)])
    return run_tasks(lambda: next(envs), NoOp(Told()), told_tasks(2), [0, 1], len(script))


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (fail, "ZeroDivisionError: the physics\nblew up at step 3"),
        (lose_state, "EnvError: state is [nan], expected 1 finite numbers at step 0"),
        (shrink, "EnvError: frame is uint8 (4, 4, 3), expected uint8 (4, 5, 3) at step 0"),
        (whiten, "EnvError: frame is float64 (4, 5, 3), expected uint8 (4, 5, 3) at step 0"),
    ],
)
def test_an_episode_whose_env_fails_is_unsuccessful_and_says_why_and_the_others_go_on(
    hook: Callable[[Told], None], words: str
) -> None:
    spoilt, other = run_pair(hook)
    assert spoilt.early_end == words
    assert not any([spoilt.ever, spoilt.hold, spoilt.final])
    assert spoilt.steps_to_goal is None
    assert np.isfinite(spoilt.final_distance)
    assert other.early_end is None
    assert other.hold
    assert other.final
    assert spoilt.actions_sha256 == other.actions_sha256, "the agent goes on, so that its other episodes are as ever"


class Ending(Told):
    """Ends the episode by itself after some steps."""

    def __init__(self, script: str, after: int, how: str) -> None:
        super().__init__(script)
        self.after, self.how = after, how

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        over = self.steps >= self.after
        return (
            observation,
            reward,
            terminated or (over and self.how == "term"),
            truncated or (over and self.how == "trunc"),
            info,
        )


@pytest.mark.parametrize("how", ["term", "trunc"])
def test_an_env_that_ends_an_episode_before_its_time_has_failed(how: str) -> None:
    episode = run_tasks(lambda: Ending("+++++++++", 7, how), NoOp(Told()), told_tasks(), [0], 9)[0]
    assert episode.early_end == "the env ended the episode after 7 steps"
    assert not episode.hold
    in_time = run_tasks(lambda: Ending("+++++++++", 9, how), NoOp(Told()), told_tasks(), [0], 9)[0]
    assert in_time.early_end is None
    assert in_time.hold


def test_an_env_that_cannot_start_is_named_with_its_task() -> None:
    class Stuck(Told):
        def reset(self, **_: Any) -> Any:
            raise RuntimeError("no display")

    with pytest.raises(EnvError, match=r"task 1 \(seed 1\) cannot start: RuntimeError: no display; mend the env"):
        run_tasks(Stuck, NoOp(Told()), told_tasks(2), [1], 3)


class Doer:
    """An agent with one action."""

    privileged = False

    def __init__(self, actions: Tensor) -> None:
        self.actions = actions

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        pass

    def act(self, now: Observation) -> Decision:
        return Decision(self.actions, {})


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (torch.tensor([[0.0, torch.nan]]), r"actions are \[\[0.0, nan\]\]; expected finite numbers"),
        (torch.tensor([[-torch.inf, 0.0]]), "expected finite numbers in"),
        (torch.tensor([[1e300, 0.0]], dtype=torch.float64), "expected finite numbers"),
        (torch.zeros(1, 3), r"have shape \(1, 3\); expected \(1, 2\)"),
        (torch.zeros(2), r"have shape \(2,\); expected \(1, 2\)"),
        (torch.zeros(2, 2), r"have shape \(2, 2\); expected \(1, 2\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_actions_that_are_none_are_the_agent_s_fault(actions: Tensor, words: str) -> None:
    with pytest.raises(EnvError, match=words):
        run_tasks(lambda: Told("---"), Doer(actions), told_tasks(), [0], 3)


def test_plans_are_kept_with_their_times_where_there_are_any() -> None:
    assert score("---").iterations is None
    assert score("---").plans == []


def test_physics_that_diverge_cost_their_episode_and_no_other() -> None:
    """Of the arm's own `step`, whose world is made to blow up once."""
    env = make("push")
    tasks = frozen_tasks(env, "dev")
    envs = [make("push"), make("push")]
    advance, calls = envs[0].advance, 0

    def blown(states: Floats, actions: Floats) -> Floats:
        nonlocal calls
        calls += 1
        found = advance(states, actions)
        return found * np.nan if calls == 3 else found

    envs[0].advance = blown  # type: ignore[method-assign]
    left = iter(envs)
    lost, other = run_tasks(lambda: next(left), NoOp(env), tasks, [0, 1], 5)
    assert lost.early_end
    assert lost.early_end.startswith("DivergedError: the physics diverged from state")
    assert lost.early_end.endswith("at step 2")
    assert not any([lost.ever, lost.hold, lost.final])
    assert np.isfinite(lost.final_distance)
    assert other.early_end is None
    assert calls == 3, "a world that has failed is not stepped again"
