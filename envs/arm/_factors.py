"""What can vary in the worlds of the arm, and how far.

Hues keep apart what tells things apart: the puck from magenta to yellow, the arm from cyan to violet; green is left for what
is none of the task's. The camera keeps the places of puck and finger in the picture.
"""

import colorsys
from collections.abc import Callable
from typing import TypeAlias

import mujoco
import numpy as np

from imagoal.envs._variation import Factor, Number
from imagoal.envs.arm import physics as world

Spec: TypeAlias = mujoco.MjSpec


def _puck_hue(spec: Spec, hue: float) -> None:
    spec.geom("puck").rgba[:3] = _rgb(hue, 0.76, 0.84)


def _arm_hue(spec: Spec, hue: float) -> None:
    spec.geom("finger").rgba[:3] = _rgb(hue, 0.81, 0.68)
    for link in ("upper", "lower"):
        spec.geom(link).rgba[:3] = _rgb(hue, 0.33, 0.45)


def _table(spec: Spec, brightness: float) -> None:
    spec.geom("table").rgba[:3] = brightness * np.array([1.0, 0.99, 0.96])


def _rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)


def _radius(*names: str) -> Callable[[Spec, float], None]:
    def write(spec: Spec, radius: float) -> None:
        for name in names:
            spec.geom(name).size[0] = radius / 100

    return write


def _friction(spec: Spec, coefficient: float) -> None:
    for name in ("table", "puck"):  # of two that touch, MuJoCo takes the larger
        spec.geom(name).friction[0] = coefficient


def _mass(spec: Spec, mass: float) -> None:
    spec.geom("puck").mass = mass / 1000


def _roll(spec: Spec, degrees: float) -> None:
    half = np.radians(degrees) / 2
    spec.camera("above").quat[:] = np.cos(half), 0, 0, np.sin(half)


def _shift(axis: int) -> Callable[[Spec, float], None]:
    def write(spec: Spec, centimetres: float) -> None:
        spec.camera("above").pos[axis] = centimetres / 100

    return write


def _view(spec: Spec, centimetres: float) -> None:
    spec.camera("above").fovy = np.degrees(2 * np.arctan(centimetres / 200 / world.CAMERA))


def _slant(axis: int) -> Callable[[Spec, float], None]:
    def write(spec: Spec, slope: float) -> None:
        spec.light("sun").dir[axis] = slope

    return write


def _sun(spec: Spec, brightness: float) -> None:
    spec.light("sun").diffuse[:] = brightness


def _ambient(spec: Spec, brightness: float) -> None:
    spec.visual.headlight.ambient[:] = brightness


_ARM_COLOURS = {"arm": Number(180, 270, "degrees of hue", _arm_hue), "table": Number(0.7, 0.95, "", _table)}
_ARM_SIZES = {
    "finger": Number(1.3, 2.0, "cm, radius", _radius("finger")),
    "links": Number(0.8, 1.4, "cm, radius", _radius("upper", "lower")),
}
_CAMERA = Factor(
    "turn, place and width of the picture",
    {
        "turn": Number(-8, 8, "degrees", _roll),
        "right": Number(-1, 1, "cm", _shift(0)),
        "up": Number(-1, 1, "cm", _shift(1)),
        "view": Number(55, 62, "cm", _view),
    },
)
_LIGHT = Factor(
    "where the sun stands, and how bright sun and sky are",
    {
        "right": Number(-0.6, 0.6, "slope", _slant(0)),
        "up": Number(-0.6, 0.6, "slope", _slant(1)),
        "sun": Number(0.5, 0.75, "", _sun),
        "sky": Number(0.2, 0.4, "", _ambient),
    },
)

REACH_FACTORS = {
    "colour": Factor("colours of arm and table", _ARM_COLOURS),
    "size": Factor("thickness of finger and links", _ARM_SIZES),
    "camera": _CAMERA,
    "light": _LIGHT,
}
PUSH_FACTORS = {
    "colour": Factor("colours of puck, arm and table", {"puck": Number(-60, 60, "degrees of hue", _puck_hue), **_ARM_COLOURS}),
    "size": Factor(
        "size of the puck, thickness of finger and links",
        {"puck": Number(3.2, 4.4, "cm, radius", _radius("puck")), **_ARM_SIZES},
    ),
    "friction": Factor("how the puck slides", {"puck": Number(0.5, 1.5, "coefficient", _friction)}),
    "mass": Factor("how heavy the puck is", {"puck": Number(100, 400, "g", _mass)}),
    "camera": _CAMERA,
    "light": _LIGHT,
}
