"""What Reach and Push share: the arm's physics, its picture, and how the finger is told where to go."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import mujoco
import numpy as np
from gymnasium import spaces

from imagoal.envs import _arm_world as world
from imagoal.envs._rays import RayRenderer
from imagoal.envs._types import Floats, Frames, GoalEnv
from imagoal.errors import EnvError, UsageError

Renderer = Literal["rays", "gl"]
SIZE = 64  # px
INSIDE = 0.2  # m: fingers start, and goals show them, within +-INSIDE
BACKGROUND = (58, 64, 76)


class ArmEnv(GoalEnv):
    """An env of the arm; a subclass adds tasks, distance and expert.

    Args:
        render_mode: None or "rgb_array".
        renderer: `rays` (anywhere, the same bytes everywhere) or `gl` (OpenGL, with shadows).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}  # type: ignore[misc]
    puck: ClassVar[bool]

    def __init__(self, render_mode: str | None = None, renderer: Renderer = "rays") -> None:
        super().__init__(render_mode)
        if renderer not in {"rays", "gl"}:
            raise UsageError(f"renderer {renderer!r}; expected 'rays' or 'gl'")
        picture = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.renderer = renderer
        self._model = world.scene(self.puck)
        self._physics = world.ArmPhysics(self._model)
        self._shown = mujoco.MjData(self._model)
        self._camera = _camera(renderer, self._model)

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default."""
        return {} if self.renderer == "rays" else {"renderer": self.renderer}

    def step(self, action: Any) -> Any:
        """Advance by one step of 0.2 s; see `GoalEnv.step`.

        Raises:
            EnvError: the action is wrong, or the physics diverged; the state is then that before the step.
        """
        before = self._state
        result = super().step(action)
        if np.isnan(self._state).any():
            self._state = before
            raise EnvError(f"the physics diverged from state {before.tolist()} under action {np.asarray(action).tolist()}")
        return result

    def advance(self, states: Floats, actions: Floats) -> Floats:
        """The states (M, S) one step of 0.2 s after displacements (M, 2) of the finger; NaN where the physics diverged."""
        return self._physics.advance(states, actions)

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        """States (M, L, S) after each of the actions (M, L, 2) from states (M, S)."""
        path = np.empty((*actions.shape[:2], states.shape[1]))
        for step in range(actions.shape[1]):
            states = self._physics.advance(states, actions[:, step])
            path[:, step] = states
        return path

    def render_states(self, states: Floats) -> Frames:
        """Pictures u8 (M, 64, 64, 3) of states (M, S)."""
        frames = np.empty((len(states), SIZE, SIZE, 3), np.uint8)
        joints = self._model.nq
        for frame, state in zip(frames, states, strict=True):
            self._shown.qpos[:] = state[:joints]
            mujoco.mj_kinematics(self._model, self._shown)
            mujoco.mj_camlight(self._model, self._shown)
            frame[:] = self._camera.render(self._shown)
        return frames

    def approach(self, states: Floats, points: Floats) -> Floats:
        """Actions (..., 2) that move the finger straight towards points (..., 2), as fast as it can."""
        way = (points - world.tip(states)) / world.STRIDE
        return np.asarray(way / np.maximum(np.abs(way).max(-1, keepdims=True), 1))

    @abstractmethod
    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2) of the finger by an expert that sees states (..., S) and goals (..., S)."""

    def _place(self, finger: Floats) -> Floats:
        """The state (S,) of an arm at rest with its finger at (2,)."""
        state = np.zeros(self._model.nq + self._model.nv)
        state[:2] = world.joints(finger)
        return state


def _camera(renderer: Renderer, model: mujoco.MjModel) -> Any:
    """What draws."""
    if renderer == "rays":
        return RayRenderer(model, SIZE, "above", BACKGROUND)
    from imagoal.envs._gl import GLRenderer  # asks for OpenGL as soon as it is imported

    return GLRenderer(model, SIZE, "above")
