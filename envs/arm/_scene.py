"""One arm over one table: how it moves and how it looks. Frames are 64x64."""

from functools import cached_property
from typing import Any, Literal

import mujoco
import numpy as np

from imagoal.envs._types import Floats, Frames
from imagoal.envs.arm import physics as world
from imagoal.envs.arm._gl import GLRenderer
from imagoal.envs.arm._rays import RayRenderer

Renderer = Literal["rays", "gl"]
SIZE = 64  # px
BACKGROUND = (58, 64, 76)


class Scene:
    """A model's physics and its picture; states are those of `physics`."""

    def __init__(self, model: mujoco.MjModel, renderer: Renderer) -> None:
        """Take a model of `physics`, which must not change any more, and what shall draw it."""
        self.physics = world.ArmPhysics(model)
        self._model, self._data = model, mujoco.MjData(model)
        self._camera = _camera(renderer, model)

    @cached_property
    def contact(self) -> float:
        """Metres between the centres of finger and puck that touch."""
        return sum(float(self._model.geom(name).size[0]) for name in ("finger", "puck"))

    @cached_property
    def empty(self) -> Frames:
        """The picture (64, 64, 3) without arm and puck."""
        away = np.zeros((1, self._model.nq + self._model.nv))
        away[0, : self._model.nq] = 5.0  # m, where a puck is out of sight
        away[0, :2] = world.PARKED
        picture: Frames = self.draw(away)[0]
        return picture

    def draw(self, states: Floats) -> Frames:
        """Pictures u8 (M, 64, 64, 3) of states (M, S)."""
        frames = np.empty((len(states), SIZE, SIZE, 3), np.uint8)
        joints = self._model.nq
        for frame, state in zip(frames, states, strict=True):
            self._data.qpos[:] = state[:joints]
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            frame[:] = self._camera.render(self._data)
        return frames


def _camera(renderer: Renderer, model: mujoco.MjModel) -> Any:
    """What draws."""
    if renderer == "rays":
        return RayRenderer(model, SIZE, "above", BACKGROUND)
    return GLRenderer(model, SIZE, "above")
