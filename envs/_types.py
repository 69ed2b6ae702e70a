"""The nouns of the world side: tasks, episodes, and the contract of an image-goal environment.

Shapes: M states at once, L env steps, S state size, A action size, V visible coordinates, T steps of an episode, h w pixels.
Frames are u8 (..., h, w, 3), RGB; states are f64 and privileged; actions are in [-1, 1].
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from imagoal.envs._variation import Factor, Values, chosen, drawn
from imagoal.errors import EnvError, UsageError

Floats = npt.NDArray[np.float64]
Frames = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator

Behaviour = Callable[[Floats, Floats], Floats]
"""Chooses actions while data are collected: from a state (S,) and a goal (S,) to an action (A,)."""


@dataclass(frozen=True)
class Task:
    """A start and a goal. Never an environment.

    Attributes:
        start: state f64 (S,) in which the episode begins.
        goal: state f64 (S,) that the goal image shows.
        goal_image: u8 (h, w, 3), all that a headline agent learns of the goal.
        difficulty: task distance from start to goal, metres.
    """

    start: Floats
    goal: Floats
    goal_image: Frames
    difficulty: float


@dataclass(frozen=True)
class Episode:
    """What was seen and done in one run of an environment.

    Attributes:
        frames: u8 (T + 1, h, w, 3).
        actions: f32 (T, A) in [-1, 1].
        states: f64 (T + 1, S), privileged.
        seed: of the reset and of the behaviour.
        behaviour: name of what chose the actions.
        env: id of the environment, with version.
    """

    frames: Frames
    actions: npt.NDArray[np.float32]
    states: Floats
    seed: int
    behaviour: str
    env: str

    def __len__(self) -> int:
        return len(self.actions)


class GoalEnv(gymnasium.Env[dict[str, Frames], npt.NDArray[np.float32]]):
    """An environment whose goal is an image.

    Observation: `Dict(image, goal)`, u8 (h, w, 3) each. `info`: `state`, `goal_state`, `is_success` (at the goal *now*).
    Reaching the goal never ends the episode; the time limit truncates. The reward is 0 at the goal and -1 elsewhere.
    `reset(options={"task": Task})` starts a given task; otherwise one is sampled from the env's own generator.
    `reset(options={"variation": [names]})` draws these of the env's `variations` anew, for this episode alone.

    A subclass sets the two spaces and defines the abstract methods. All but `advance` are pure: they may be called in
    mid-episode and disturb nothing.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # type: ignore[misc]
    max_episode_steps: ClassVar[int]
    tolerance: ClassVar[float]
    """Task distance up to which a state is at the goal, metres."""
    headline: ClassVar[str] = "final"
    """Which success the tables head: `ever`, `hold` or `final`."""
    version: ClassVar[int] = 0
    object_size: ClassVar[int] = 2
    """How many leading numbers of `visible` are the object's, whose place is the task; the others are the agent's own body."""
    behaviour_mix: ClassVar[dict[str, float]]
    """Names of behaviours (`envs/_behaviours.py`) and their shares in a collected data set."""
    variations: ClassVar[Mapping[str, Factor]] = {}
    """What `reset(options={"variation": [...]})` can draw anew, by name, with the range of each number."""

    given_name: str = ""
    """Name by which `imagoal.envs.make` made it."""
    given_options: Mapping[str, str] = MappingProxyType({})
    """Options that `imagoal.envs.make` gave to the constructor."""

    _state: Floats
    _task: Task

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in {None, *self.metadata["render_modes"]}:
            raise UsageError(f"render_mode {render_mode!r}; expected one of {self.metadata['render_modes']} or None")
        self.render_mode = render_mode

    @abstractmethod
    def sample_task(self, rng: Rng) -> Task:
        """A task that can be reached and is not already solved."""

    @abstractmethod
    def advance(self, states: Floats, actions: Floats) -> Floats:
        """The states (M, S) one env step after actions (M, A) in [-1, 1]. May draw from `np_random`."""

    @abstractmethod
    def simulate(self, states: Floats, actions: Floats) -> Floats:
        """States (M, L, S) after each of the actions (M, L, A) from states (M, S). Imagines no random kicks."""

    @abstractmethod
    def render_states(self, states: Floats) -> Frames:
        """Pictures u8 (M, h, w, 3) of states (M, S)."""

    @abstractmethod
    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between states (..., S) and goals (..., S): what success is about."""

    def at_goal(self, states: Floats, goals: Floats) -> Bools:
        """Whether each state (..., S) is within `tolerance` of its goal (..., S) now, without regard to history."""
        return np.asarray(self.task_distance(states, goals) <= self.tolerance)

    @abstractmethod
    def visible(self, states: Floats) -> Floats:
        """Positions that a picture shows, (..., V) in metres: the object first, then the agent's body."""

    @abstractmethod
    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Actions (..., A) of a scripted expert that sees states (..., S) and goals (..., S)."""

    def approach(self, states: Floats, points: Floats) -> Floats:
        """Actions (..., A) that move the agent's body straight to points, given as `visible` gives its place.

        Raises:
            EnvError: this env does not offer it.
        """
        raise EnvError(f"{type(self).__name__} has no body that could approach a point; use another agent or behaviour")

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default, for results and stores."""
        return {}

    @property
    def variant(self) -> str:
        """Name of the frozen task lists' variant that the options ask for; empty for the default."""
        return ""

    def state(self) -> Floats:
        """The current state (S,), a copy."""
        return self._state.copy()

    def goal_state(self) -> Floats:
        """The state (S,) that the goal image shows, a copy."""
        return self._task.goal.copy()

    def set_state(self, state: Floats) -> None:
        """Put the world into a state (S,)."""
        if np.shape(state) != self._state.shape or not np.all(np.isfinite(state)):
            raise UsageError(f"state {state!r}; expected {self._state.shape[0]} finite numbers")
        self._state = np.array(state, dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Frames], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the env's own generator; None goes on with it.
            options: `{"task": Task}` chooses start and goal; `{"variation": names}` factors to be drawn anew (`all` for every
                one), while all others are at their default. A given task's goal is then drawn as this episode looks.

        Raises:
            UsageError: there is no such option, or no such factor.
        """
        wish = options or {}
        unknown = set(wish) - {"task", "variation"}
        if unknown:
            raise UsageError(f"reset option {sorted(unknown)}; expected 'task' or 'variation'")
        factors = chosen(type(self).__name__, self.variations, wish.get("variation", ()))
        super().reset(seed=seed)
        self._vary(drawn(self.variations, factors, self.np_random))
        self._task = wish.get("task") or self.sample_task(self.np_random)
        if factors:
            self._task = replace(self._task, goal_image=self.render_states(self._task.goal[None])[0])
        self._state = self._task.start.copy()
        return self._observation(), self._info()

    def step(self, action: npt.NDArray[np.float32]) -> tuple[dict[str, Frames], float, bool, bool, dict[str, Any]]:
        """Advance by one step; actions outside [-1, 1] are clipped.

        Raises:
            EnvError: the action has another shape, or is not finite.
            DivergedError: any env may raise it where its physics ran away; the state is then that before the step, and of an
                episode under way what came before this step is still true.
        """
        wanted = self.action_space.shape
        if np.shape(action) != wanted or not np.all(np.isfinite(action)):
            raise EnvError(f"action {action!r}; expected {wanted} finite numbers in [-1, 1]; mend the agent")
        self._state = self.advance(self._state[None], np.clip(np.asarray(action, dtype=np.float64), -1, 1)[None])[0]
        info = self._info()
        return self._observation(), 0.0 if info["is_success"] else -1.0, False, False, info

    def render(self) -> Frames:
        """The current picture, u8 (h, w, 3)."""
        return self._picture()

    def _vary(self, values: Values) -> None:
        """Give the world these values of its `variations`, and all others their default; an env with variations defines it."""

    def _picture(self) -> Frames:
        picture: Frames = self.render_states(self._state[None])[0]
        return picture

    def _observation(self) -> dict[str, Frames]:
        return {"image": self._picture(), "goal": self._task.goal_image.copy()}

    def _info(self) -> dict[str, Any]:
        success = bool(self.at_goal(self._state, self._task.goal))
        return {"state": self.state(), "goal_state": self.goal_state(), "is_success": success}
