"""Frames from MuJoCo by OpenGL: shadows, textures and highlights, for large or pretty pictures.

OpenGL does not survive a fork: a child of a process that drew would hang, so it is refused there with a message. Vector envs
and data loaders in worker processes need the `spawn` or `forkserver` start method, or the ray renderer. Frames differ between
drivers, in the last bits at least.
"""

import atexit
import copy
import importlib
import os
import platform
import warnings
import weakref
from ctypes.util import find_library
from typing import Any

import mujoco
import numpy as np

from imagoal.envs._types import Frames
from imagoal.envs.arm._rays import camera_id, checked_size
from imagoal.errors import ResourceError

CURE = "apt-get install libegl1 libgl1, or take renderer='rays'"
PLATFORMS = ("egl", "osmesa", "glfw", "cgl")  # MuJoCo's modules that open a context

_opened_by: int | None = None
"""Process that first opened OpenGL here; a child by fork inherits the number along with the dead context."""


class GLRenderer:
    """Draws states of one MuJoCo model from one camera; a drop-in for `RayRenderer`, with shadows where lights cast them."""

    def __init__(self, model: mujoco.MjModel, size: int, camera: str | int = 0) -> None:
        """Open an OpenGL context of its own, which takes a tenth of a second and some 20 MB.

        Args:
            model: with at least one camera; read here and at `refresh`, and never written.
            size: height and width of a frame, pixels.
            camera: name or index of a perspective camera.

        Raises:
            UsageError: for a size below 1 or an unknown camera.
            ResourceError: there is no OpenGL, or this process was forked from one that had opened it.
        """
        self._size = checked_size(size)
        self._source = model
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = camera_id(model, camera)
        self.refresh()
        self._scene = mujoco.MjvScene(self._model, maxgeom=10 * model.ngeom + 1000)
        self._options, self._rect = mujoco.MjvOption(), mujoco.MjrRect(0, 0, size, size)
        self._gl, self._painter = _open(self._model, size)
        # At exit MuJoCo shuts EGL down, and what is freed later complains: so be first (registered later, called earlier).
        atexit.register(weakref.finalize(self, _free, self._gl, self._painter))

    def refresh(self) -> None:
        """Take over what changed in the model: colours, sizes, camera, light; not its meshes and textures."""
        self._model = copy.copy(self._source)
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = self._size

    def render(self, data: mujoco.MjData) -> Frames:
        """A fresh picture u8 (size, size, 3) of `data`, after `mj_kinematics` and `mj_camlight`, or what includes them.

        Raises:
            ResourceError: this process was forked after the renderer was made.
        """
        _same_process()
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._painter)
        upside_down = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._rect, self._painter)
        return np.ascontiguousarray(upside_down[::-1])


def _free(gl: Any, painter: mujoco.MjrContext) -> None:
    """Give back what `_open` took, in the process that took it."""
    if _opened_by == os.getpid():
        gl.make_current()
        painter.free()
        gl.free()


def _open(model: mujoco.MjModel, size: int) -> tuple[Any, mujoco.MjrContext]:
    """An OpenGL context and MuJoCo's painter in it."""
    global _opened_by
    _same_process()
    name = _platform()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GLFW reports a missing display by a warning, and then by failing
            gl = importlib.import_module(f"mujoco.{name}").GLContext(size, size)
            gl.make_current()
            painter = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
    except Exception as error:  # drivers and their bindings fail with whatever they like
        reason = str(error).partition("\n")[0]
        raise ResourceError(f"renderer 'gl': OpenGL by {name} failed ({type(error).__name__}: {reason}); {CURE}") from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, painter)
    _opened_by = os.getpid()
    return gl, painter


def _platform() -> str:
    """How to reach OpenGL here: as the variable MUJOCO_GL says, or what is installed and needs no display, or a display."""
    wish = os.environ.get("MUJOCO_GL", "").lower()
    if wish in PLATFORMS:
        return wish
    if wish:
        raise ResourceError(f"renderer 'gl' with MUJOCO_GL={wish}; expected one of {', '.join(PLATFORMS)}, or renderer='rays'")
    if platform.system() != "Linux":
        return "cgl" if platform.system() == "Darwin" else "glfw"
    if find_library("EGL") and find_library("GL"):
        return "egl"
    if find_library("OSMesa"):
        return "osmesa"
    if os.environ.get("DISPLAY"):
        return "glfw"
    raise ResourceError(f"renderer 'gl' needs OpenGL: neither EGL, nor OSMesa, nor a display was found; {CURE}")


def _same_process() -> None:
    """Refuse to draw in a fork of a process that drew: it would hang."""
    if _opened_by not in (None, os.getpid()):
        raise ResourceError(
            "renderer 'gl' in a process forked after OpenGL was opened; start it by 'spawn', or take renderer='rays'"
        )
