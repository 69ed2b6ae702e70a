"""A native vector env for every `GoalEnv` whose methods work on many states at once."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from imagoal.envs._distractors import DistractedEnv, Kinds
from imagoal.envs._types import Bools, Floats, Frames, Task
from imagoal.errors import EnvError, UsageError

Observations = dict[str, Frames]


class GoalVectorEnv(VectorEnv[Observations, npt.NDArray[np.float32], npt.NDArray[Any]]):
    """`num_envs` worlds of one kind, advanced and drawn by one call each.

    Observations `Dict(image, goal)` u8 (num_envs, h, w, 3); rewards, infos and the end of episodes as in the single env. An
    episode that was truncated is reset by the next step (autoreset mode NEXT_STEP), which ignores its action.

    Args:
        num_envs: how many worlds.
        max_episode_steps: truncate after so many steps; None takes the single env's own.
        render_mode: None or "rgb_array".
        distractors: as in the single env.
    """

    single_class: ClassVar[type[DistractedEnv]]
    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        distractors: Kinds = "none",
    ) -> None:
        self.single = self.single_class(render_mode=render_mode, distractors=distractors)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.max_episode_steps = max_episode_steps or self.single_class.max_episode_steps
        self.single_action_space, self.single_observation_space = self.single.action_space, self.single.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._steps = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start all episodes; one generator, seeded by `seed`, serves all worlds.

        Raises:
            UsageError: there are options; the worlds of one call share everything but their states.
        """
        if options:
            raise UsageError(f"reset options {sorted(options)}; this vector env takes none; take vectorization_mode='sync'")
        if isinstance(seed, list):
            seed = seed[0]
        super().reset(seed=seed)
        if seed is not None:
            self.single.reset(seed=seed)
        tasks = [self.single.sample_task(self.single.np_random) for _ in range(self.num_envs)]
        self._states = np.stack([task.start for task in tasks])
        self._goals = np.stack([task.goal for task in tasks])
        self._goal_images = np.stack([task.goal_image for task in tasks])
        self._steps[:], self._ended[:] = 0, False
        return self._observation(), self._info(self.single.at_goal(self._states, self._goals))

    def step(self, actions: npt.NDArray[np.float32]) -> tuple[Observations, Floats, Bools, Bools, dict[str, Any]]:
        """Advance all worlds by one step; actions outside [-1, 1] are clipped.

        Raises:
            EnvError: the actions have another shape, or one is not finite.
        """
        wanted = self.action_space.shape
        if np.shape(actions) != wanted or not np.all(np.isfinite(actions)):
            raise EnvError(f"actions of shape {np.shape(actions)}; expected {wanted} finite numbers in [-1, 1]; mend the agent")
        self._states = self.single.advance(self._states, np.clip(actions, -1, 1).astype(np.float64))
        self._steps += 1
        for index in np.flatnonzero(self._ended):
            self._begin(int(index), self.single.sample_task(self.single.np_random))
        success = self.single.at_goal(self._states, self._goals)
        rewards = np.where(success | self._ended, 0.0, -1.0)
        truncated = self._steps >= self.max_episode_steps
        self._ended = truncated.copy()
        return self._observation(), rewards, np.zeros(self.num_envs, bool), truncated, self._info(success)

    def render(self) -> tuple[Frames, ...]:
        """The current pictures, u8 (h, w, 3) each."""
        return tuple(self.single.render_states(self._states))

    def _begin(self, index: int, task: Task) -> None:
        self._states[index], self._goals[index], self._goal_images[index] = task.start, task.goal, task.goal_image
        self._steps[index] = 0

    def _observation(self) -> Observations:
        return {"image": self.single.render_states(self._states), "goal": self._goal_images.copy()}

    def _info(self, success: Bools) -> dict[str, Any]:
        everyone = np.ones(self.num_envs, bool)
        info = {"state": self._states.copy(), "goal_state": self._goals.copy(), "is_success": success.copy()}
        return info | {f"_{key}": everyone.copy() for key in list(info)}
