"""The contract of image-goal envs: whole envs pass it, and each defect fails its line and no other."""

import itertools
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from imagoal.cli import main
from imagoal.envs import Task
from imagoal.envs.ball import Ball
from imagoal.envs.check._contract import CHECKS, Report, check_env
from imagoal.envs.check._subject import Terms
from imagoal.errors import EnvError, UsageError

FEW = Terms(tasks=6)


class FloatSpace(Ball):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        picture = spaces.Box(0, 255, (64, 64, 3), np.float32)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]


class WideActions(Ball):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(-2, 2, (2,), np.float32)


class FloatFrames(Ball):
    def _observation(self) -> Any:
        return {name: value.astype(np.float32) for name, value in super()._observation().items()}


class NaNState(Ball):
    def _info(self) -> Any:
        info = super()._info()
        info["state"][3] = np.nan
        return info


class NaNReward(Ball):
    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, float("nan"), *rest


class Unseeded(Ball):
    """Each reset draws something else, whatever the seed; but the same in each run of the test: a start may be trivial."""

    resets: ClassVar[Iterator[int]] = itertools.count()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=next(self.resets), options=options)


class SharedBetweenInstances(Ball):
    steps: ClassVar[list[float]] = [0.0]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps[0] = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self.steps[0] += 1.0
        observation, _, *rest = super().step(action)
        return observation, -self.steps[0], *rest


class AlwaysTheSameTask(Ball):
    def sample_task(self, rng: Any) -> Task:
        rng.random()
        return super().sample_task(np.random.default_rng(0))


class RestlessGoal(Ball):
    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        observation["goal"][0, 0] = int(self._state[0] * 100)
        return observation, *rest


class StaleBuffer(Ball):
    def _observation(self) -> Any:
        observation = super()._observation()
        if not hasattr(self, "_buffer"):
            self._buffer = np.empty((64, 64, 3), np.uint8)
        self._buffer[:] = observation["image"]
        return observation | {"image": self._buffer}


class AliasedState(Ball):
    def _info(self) -> Any:
        return super()._info() | {"state": self._state}


class NaNAccepted(Ball):
    def step(self, action: Any) -> Any:
        return super().step(np.nan_to_num(action))


class AnyOption(Ball):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed, options={key: value for key, value in (options or {}).items() if key == "task"})


class FloatRender(Ball):
    def render(self) -> Any:
        return super().render() / 255


class ClosedOnce(Ball):
    def close(self) -> None:
        del self._model_of_something

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._model_of_something = 1


class NeverClosed(Ball):
    def close(self) -> None:
        raise OSError("busy")


class OwnGenerator(Ball):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self._mine = np.random.default_rng(seed)
        return super().reset(options={"task": self.sample_task(self._mine)} | (options or {}))


class TwoStates(Ball):
    def state(self) -> Any:
        return super().state() + 1e-9

    def _info(self) -> Any:
        return super()._info() | {"state": self._state.copy()}


class RoundedRestore(Ball):
    def set_state(self, state: Any) -> None:
        super().set_state(np.asarray(state, np.float32))


class HiddenClock(Ball):
    clock = 0

    def advance(self, states: Any, actions: Any) -> Any:
        self.clock += 1
        return super().advance(states, actions * (1 - 1e-6 * self.clock))

    def simulate(self, states: Any, actions: Any) -> Any:
        slower = 1 - 1e-6 * (self.clock - actions.shape[1] + 1 + np.arange(actions.shape[1]))
        return super().simulate(states, actions * slower[:, None])

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.clock = 0
        return super().reset(seed=seed, options=options)


class SloppySimulate(Ball):
    def simulate(self, states: Any, actions: Any) -> Any:
        return super().simulate(states, actions) + 1e-12


class MixedRows(Ball):
    def simulate(self, states: Any, actions: Any) -> Any:
        return super().simulate(states, actions) + 1e-12 * (len(states) - 1)


class DeafToTasks(Ball):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed, options={key: value for key, value in (options or {}).items() if key != "task"})


class Marker(Ball):
    def _observation(self) -> Any:
        observation = super()._observation()
        column, row = (self._task.goal[:2] * 60).astype(int)
        observation["image"][row, column] = 0
        return observation


class Mirrored(Ball):
    def _observation(self) -> Any:
        observation = super()._observation()
        return observation | {"image": observation["image"][:, ::-1].copy()}


class GoalOfAnotherState(Ball):
    def sample_task(self, rng: Any) -> Task:
        task = super().sample_task(rng)
        shown = self.render_states(np.array([[0.5, 0.5, 0, 0]]))[0]
        return Task(task.start, task.goal, shown + np.uint8(int(task.goal[0] * 100)), task.difficulty)


class HalfHidden(Ball):
    def render_states(self, states: Any) -> Any:
        return super().render_states(np.concatenate([states[:, :1], np.full((len(states), 1), 0.5), states[:, 2:]], 1))


class OneWay(Ball):
    def task_distance(self, states: Any, goals: Any) -> Any:
        return super().task_distance(states, goals) * np.where(states[..., 0] > goals[..., 0], 1.1, 1)


class NaNPositions(Ball):
    def visible(self, states: Any) -> Any:
        return np.where(states[..., :2] > 0.5, np.nan, states[..., :2])


class Disturbing(Ball):
    def simulate(self, states: Any, actions: Any) -> Any:
        path = super().simulate(states, actions)
        self._state = path[0, -1].copy()
        return path


class OverwritesItsArguments(Ball):
    def simulate(self, states: Any, actions: Any) -> Any:
        path = super().simulate(states, actions)
        states[:] = path[:, -1]
        return path


class EndsAtTheGoal(Ball):
    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, info["is_success"], truncated, info


class Trivial(Ball):
    def sample_task(self, rng: Any) -> Task:
        task = super().sample_task(rng)
        goal = np.append(task.start[:2], [0, 0])
        return Task(task.start, goal, self.render_states(goal[None])[0], 0.0)


class SolvesItself(Ball):
    headline: ClassVar[str] = "final"

    def sample_task(self, rng: Any) -> Task:
        start, goal = super().sample_task(rng).start, np.zeros(4)
        start[2:] *= 0.3 / np.linalg.norm(start[2:])
        goal[:2] = self.simulate(start[None], np.zeros((1, 40, 2)))[0, -1, :2]
        if self.at_goal(start, goal):
            return self.sample_task(rng)
        return Task(start, goal, self.render_states(goal[None])[0], float(self.task_distance(start, goal)))


class Unattainable(Ball):
    tolerance: ClassVar[float] = 1e-9


class ClumsyExpert(Ball):
    def expert(self, states: Any, goals: Any) -> Any:
        return 3 * super().expert(states, goals)


DEFECTS: dict[str, tuple[type[Ball], ...]] = {
    "spaces": (FloatSpace, WideActions),
    "observations": (FloatFrames,),
    "finite": (NaNState, NaNReward),
    "same seed": (Unseeded, SharedBetweenInstances),
    "other seeds": (AlwaysTheSameTask,),
    "fixed goal": (RestlessGoal,),
    "own arrays": (StaleBuffer, AliasedState),
    "bad actions": (NaNAccepted,),
    "unknown option": (AnyOption,),
    "render": (FloatRender,),
    "close": (ClosedOnce, NeverClosed),
    "Gymnasium": (OwnGenerator,),
    "state": (TwoStates,),
    "restore": (RoundedRestore, HiddenClock),
    "simulate": (SloppySimulate, MixedRows),
    "given task": (DeafToTasks,),
    "no goal marker": (Marker,),
    "picture": (Mirrored,),
    "goal picture": (GoalOfAnotherState,),
    "object shown": (HalfHidden,),
    "distance": (OneWay,),
    "visible": (NaNPositions,),
    "undisturbed": (Disturbing, OverwritesItsArguments),
    "at the goal": (EndsAtTheGoal,),
    "solved at start": (Trivial,),
    "solved idly": (SolvesItself,),
    "expert": (Unattainable, ClumsyExpert),
}


class Plain(gymnasium.Env):  # type: ignore[type-arg]
    """Somebody else's: Gymnasium's methods alone, and nothing privileged."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 10}  # type: ignore[misc]
    marker = False

    def __init__(self) -> None:
        self._ball = Ball()
        self.observation_space, self.action_space = self._ball.observation_space, self._ball.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if options:
            raise ValueError("there are no options")
        return self._ball.reset(options={"task": self._ball.sample_task(self.np_random)})[0], {}

    def step(self, action: Any) -> Any:
        observation, reward, *_ = self._ball.step(action)
        return observation, reward, False, False, {}


class Successful(Plain):
    """One that also tells success, in episodes of unknown length."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed, options=options)[0], {"is_success": False}

    def step(self, action: Any) -> Any:
        observation, reward, *ends, _ = super().step(action)
        return observation, reward, *ends, {"is_success": reward == 0}


class Unmade(Ball):
    def __init__(self) -> None:
        raise OSError("no display")


class Stuck(Ball):
    def step(self, action: Any) -> Any:
        raise RuntimeError("stuck")


class Choosy(Ball):
    def __init__(self, render_mode: str | None = None, size: str = "small") -> None:
        super().__init__(render_mode)
        if size not in {"small", "large"}:
            raise UsageError(f"size {size!r}; expected 'small' or 'large'")


BROKEN = [cls for classes in DEFECTS.values() for cls in classes]


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The classes above, as somebody else's module."""
    module = ModuleType("somebody")
    for cls in (*BROKEN, Plain, Successful, Unmade, Stuck, Choosy):
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "somebody", module)
    return


def report_on(cls: type, terms: Terms = FEW) -> Report:
    return check_env(f"somebody:{cls.__name__}", terms)


@pytest.mark.parametrize("name", ["ball", "ball_gravity", "imagoal/BallGust-v0", "imagoal.envs.ball:Ball"])
def test_our_envs_hold_all_of_it(name: str) -> None:
    report = check_env(name, Terms())
    assert {line.verdict for line in report.lines} == {"ok"}, str(report)
    assert not report.foreign
    assert str(report).endswith(f"{name} holds the contract: {len(CHECKS)} ok")


@pytest.mark.parametrize(("line", "cls"), [(line, cls) for line, classes in DEFECTS.items() for cls in classes])
def test_a_defect_fails_its_line_and_no_other(line: str, cls: type[Ball]) -> None:
    report = report_on(cls)
    assert report.failed == (line,), str(report)
    (failed,) = (one for one in report.lines if one.name == line)
    assert failed.found
    assert failed.remark
    assert "breaks the contract" in str(report)


def test_every_line_has_a_defect_that_it_finds() -> None:
    assert list(DEFECTS) == [one.name for one in CHECKS]


def test_lines_come_after_those_that_they_rest_on() -> None:
    names = [one.name for one in CHECKS]
    assert all(names.index(before) < names.index(one.name) for one in CHECKS for before in one.after)


def test_every_line_has_a_cure_and_says_what_its_absence_costs() -> None:
    assert all(one.cure for one in CHECKS)
    assert all(one.lost for one in CHECKS if one.needs)


def test_what_was_found_is_told_in_words() -> None:
    found = {
        cls: next(line.found for line in report_on(cls).lines if line.verdict == "FAILED")
        for cls in (Marker, Trivial, Mirrored)
    }
    assert found[Marker] == "2 pixels of `image` change with the goal, at the start"
    assert found[Trivial] == "6 of 6 tasks; at most 0%"
    assert found[Mirrored].startswith("render_states(state()) is not `image` of answer 0: ")


def test_a_random_world_is_told_from_a_wrong_simulation() -> None:
    report = check_env("ball_gust", FEW)
    assert next(line.found for line in report.lines if line.name == "simulate").startswith("the world is random: ")


def test_an_env_of_somebody_elses_loses_lines_but_is_not_blamed() -> None:
    report = report_on(Plain)
    assert not report.failed, str(report)
    verdicts = {line.name: line.verdict for line in report.lines}
    asked = {"spaces", "observations", "finite", "same seed", "other seeds", "fixed goal", "own arrays", "bad actions"}
    assert {name for name, verdict in verdicts.items() if verdict == "ok"} == asked | {"unknown option", "close", "Gymnasium"}
    assert "simulate         not offered  no info.state, info.goal_state, state, simulate\n" in str(report)
    assert "-> no oracle rows" in str(report)
    assert "holds the contract, as far as it offers it" in str(report)
    assert "no imagoal.envs.GoalEnv" in str(report)


def test_success_without_states_gives_floors_if_the_length_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.name: line for line in report_on(Successful).lines}
    assert lines["solved at start"].verdict == "ok"
    assert (lines["solved idly"].verdict, lines["solved idly"].found) == ("not offered", "no max_episode_steps")
    monkeypatch.setattr(Successful, "max_episode_steps", 10, raising=False)
    assert {line.name: line for line in report_on(Successful).lines}["solved idly"].found == "0 of 6 tasks (final)"


def test_an_env_without_pictures_is_asked_no_further() -> None:
    report = check_env("CartPole-v1", FEW)
    assert report.failed == ("spaces",)
    assert {line.verdict for line in report.lines} == {"FAILED", "not asked", "not offered"}


def test_bounds_are_the_users() -> None:
    assert not report_on(Trivial, Terms(tasks=6, max_trivial=1.0)).failed
    assert not report_on(SolvesItself, Terms(tasks=6, max_idle=1.0)).failed
    assert not report_on(Unattainable, Terms(tasks=6, min_expert=0.0)).failed


@pytest.mark.parametrize("terms", [{"tasks": 1}, {"seed": -1}, {"max_idle": 1.5}, {"min_expert": float("nan")}])
def test_terms_are_checked(terms: Any) -> None:
    with pytest.raises(UsageError, match="expected"):
        Terms(**terms)


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-env", "ball", "--tasks", "4"]) == 0
    assert capsys.readouterr().out.count("\n") == len(CHECKS) + 2
    assert main(["check-env", "somebody:Marker", "--tasks", "4"]) == 1
    assert "no goal marker   FAILED " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("bal", 2, "did you mean 'ball'"),
        ("imagoal/Bal-v0", 2, "env 'imagoal/Bal-v0': "),
        ("Ball-v7", 2, "env 'Ball-v7': "),
        ("nobody:some/Env-v0", 2, "No module named 'nobody'"),
        ("nobody:Env", 2, "cannot be imported"),
        ("pathlib:Path", 2, "expected a gymnasium.Env"),
        ("ball --tasks 0", 2, "tasks = 0; expected at least 2"),
        ("somebody:Choosy --env-options size=huge", 2, "size 'huge'; expected 'small' or 'large'"),
        ("somebody:Choosy --env-options size", 2, "env option 'size'; expected NAME=VALUE"),
        ("somebody:Unmade", 4, "cannot be made, reset and stepped once (OSError: no display)"),
        ("somebody:Stuck", 4, "RuntimeError: stuck"),
    ],
)
def test_wrong_input_is_one_line(args: str, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-env", *args.split()]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not said.out


def test_options_reach_the_env() -> None:
    assert not check_env("somebody:Choosy", FEW, {"size": "large"}).failed
    with pytest.raises(EnvError, match="sise"):
        check_env("somebody:Choosy", FEW, {"sise": "large"})
