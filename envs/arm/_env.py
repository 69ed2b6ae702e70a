"""What Reach and Push share: the arm's physics, its picture, and how the finger is told where to go."""

from abc import abstractmethod
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces

from imagoal.envs._distractors import DistractedEnv, Kinds
from imagoal.envs._types import Floats, Frames
from imagoal.envs._variation import Values, write
from imagoal.envs.arm import physics as world
from imagoal.envs.arm._scene import SIZE, Renderer, Scene
from imagoal.errors import DivergedError, UsageError

INSIDE = 0.2  # m: fingers start, and goals show them, within +-INSIDE


class ArmEnv(DistractedEnv):
    """An env of the arm; a subclass adds tasks, distance and expert.

    Args:
        render_mode: None or "rgb_array".
        renderer: `rays` (anywhere, the same bytes everywhere) or `gl` (OpenGL, with shadows).
        distractors: `none`, `noise`, `mover` or `noise+mover`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}  # type: ignore[misc]
    puck: ClassVar[bool]

    def __init__(self, render_mode: str | None = None, renderer: Renderer = "rays", distractors: Kinds = "none") -> None:
        super().__init__(render_mode, distractors)
        if renderer not in {"rays", "gl"}:
            raise UsageError(f"renderer {renderer!r}; expected 'rays' or 'gl'")
        picture = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.renderer: Renderer = renderer
        self._plain = Scene(mujoco.MjModel.from_xml_string(world.scene(self.puck)), renderer)
        self._scene, self._variation = self._plain, Values()

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default."""
        return ({} if self.renderer == "rays" else {"renderer": self.renderer}) | super().options

    def step(self, action: Any) -> Any:
        """Advance by one step of 0.2 s; see `GoalEnv.step`.

        Raises:
            EnvError: the action is wrong.
            DivergedError: the physics diverged; the state is that before the step.
        """
        before = self._state
        result = super().step(action)
        if np.isnan(self._state).any():
            self._state = before
            raise DivergedError(
                f"the physics diverged from state {before.tolist()} under action {np.asarray(action).tolist()}; reset the env"
            )
        return result

    def _moved(self, states: Floats, actions: Floats) -> Floats:
        """Own states (M, S) one step of 0.2 s after displacements (M, 2) of the finger; NaN where the physics diverged."""
        return self._scene.physics.advance(states, actions)

    def _drawn(self, states: Floats) -> Frames:
        """Pictures u8 (M, 64, 64, 3) of own states (M, S)."""
        return self._scene.draw(states)

    def _empty(self) -> Frames:
        """The picture u8 (64, 64, 3) without arm and puck."""
        return self._scene.empty

    def _vary(self, values: Values) -> None:
        """Make another world if anything varies; the plain one is never touched, so that it cannot drift."""
        self._variation, self._scene = values, self._plain
        if values:
            description = mujoco.MjSpec.from_string(world.scene(self.puck))
            write(self.variations, values, description)
            self._scene = Scene(description.compile(), self.renderer)

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"variation": {factor: dict(numbers) for factor, numbers in self._variation.items()}}

    def approach(self, states: Floats, points: Floats) -> Floats:
        """Actions (..., 2) that move the finger straight towards points (..., 2), as fast as it can."""
        way = (points - world.tip(states)) / world.STRIDE
        return np.asarray(way / np.maximum(np.abs(way).max(-1, keepdims=True), 1))

    @abstractmethod
    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2) of the finger by an expert that sees states (..., S) and goals (..., S)."""

    def _place(self, finger: Floats) -> Floats:
        """The own state (S,) of an arm at rest with its finger at (2,)."""
        state = np.zeros(self.own_size)
        state[:2] = world.joints(finger)
        return state
