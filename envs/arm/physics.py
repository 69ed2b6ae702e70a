"""How a two-link arm moves a finger over a table, and a puck with it: MuJoCo, over any number of states at once.

A state is what MuJoCo calls qpos and qvel: shoulder and elbow angle (radians), then the puck's x, y, z (metres) and yaw, if
there is a puck; then their rates. Nothing else is remembered: the motion within a step ends at rest, and the solver starts
anew at each. Positions are in metres from the centre of the picture, x to the right, y up.
"""

import mujoco
import numpy as np
from mujoco import rollout

from imagoal.envs._types import Floats

LINK = 0.34  # m, each of the two
BASE = np.array([0.0, -0.36])  # m, the shoulder
REACH = 0.235  # m: the finger stays within +-REACH in x and y
FINGER, PUCK = 0.016, 0.038  # m, radii
CONTACT = FINGER + PUCK
PARKED = np.array([-np.pi / 2 - 0.2, 0.4])  # rad: the arm is folded away, out of the picture
LIP = 0.19  # m: the puck stays within +-LIP, the finger passes above
STRIDE = 0.05  # m that a full action moves the finger in x and in y

STEP = 0.2  # s between actions
SUBSTEPS = 30
SUBSTEP = STEP / SUBSTEPS
MOVING = 0.8  # share of a step in which the target moves; then the arm comes to rest

VIEW = 0.52  # m, side of the picture at the height of the table
CAMERA = 3.0  # m above it: far away, so that height hardly shows

_SCENE = f"""
<mujoco model="arm">
  <compiler angle="radian"/>
  <option timestep="{SUBSTEP}" integrator="implicitfast" cone="elliptic" jacobian="dense"/>
  <visual><headlight ambient="0.35 0.35 0.35" diffuse="0 0 0" specular="0 0 0"/></visual>
  <default>
    <geom contype="0" conaffinity="0" friction="1.0 0.005 0.0001" condim="4" solref="{2 * SUBSTEP} 1"/>
    <joint armature="0.01"/>
    <default class="lip"><geom type="box" contype="1" conaffinity="1" rgba="0.55 0.53 0.50 1"/></default>
    <default class="link"><geom type="capsule" size="0.011" rgba="0.30 0.36 0.45 1" mass="0.1"/></default>
  </default>
  <worldbody>
    <light name="sun" directional="true" pos="0 0 2" dir="-0.4 0.5 -1" diffuse="0.75 0.75 0.75"/>
    <camera name="above" pos="0 0 {CAMERA}" fovy="{np.degrees(2 * np.arctan(VIEW / 2 / CAMERA))}"/>
    <geom name="table" type="plane" size="2 2 0.1" contype="1" conaffinity="1" rgba="0.93 0.92 0.89 1"/>
    {{lips}}
    <body name="upper" pos="{BASE[0]} {BASE[1]} 0.1">
      <joint name="shoulder" axis="0 0 1"/>
      <geom name="upper" class="link" fromto="0 0 0 {LINK} 0 0"/>
      <body name="lower" pos="{LINK} 0 0">
        <joint name="elbow" axis="0 0 1"/>
        <geom name="lower" class="link" fromto="0 0 0 {LINK} 0 0"/>
        <geom name="finger" type="cylinder" fromto="{LINK} 0 -0.088 {LINK} 0 0.02" size="{FINGER}" mass="0.1"
              contype="2" conaffinity="0" friction="0.3 0.005 0.0001" rgba="0.13 0.45 0.68 1"/>
      </body>
    </body>
    {{puck}}
  </worldbody>
  <actuator>
    <position joint="shoulder" kp="600" dampratio="1" forcerange="-8 8"/>
    <position joint="elbow" kp="600" dampratio="1" forcerange="-8 8"/>
  </actuator>
</mujoco>
"""
_PUCK = f"""
    <body name="puck" pos="0 0 0.02">
      <joint name="puck_x" type="slide" axis="1 0 0" armature="0"/>
      <joint name="puck_y" type="slide" axis="0 1 0" armature="0"/>
      <joint name="puck_z" type="slide" axis="0 0 1" armature="0"/>
      <joint name="puck_yaw" axis="0 0 1" armature="0"/>
      <geom name="puck" type="cylinder" size="{PUCK} 0.02" mass="0.2" contype="1" conaffinity="3" rgba="0.84 0.29 0.20 1"/>
    </body>"""


def scene(puck: bool) -> str:
    """The arm over its table, with or without a puck and the lip that keeps it, in MuJoCo's XML."""
    long, high, thick = LIP + 0.012, 0.005, 0.006
    middle = LIP + thick
    sides = [(middle, 0, thick, long), (-middle, 0, thick, long), (0, middle, long, thick), (0, -middle, long, thick)]
    lips = [f'<geom class="lip" pos="{x} {y} {high}" size="{wide} {deep} {high}"/>' for x, y, wide, deep in sides]
    return _SCENE.format(lips="".join(lips) if puck else "", puck=_PUCK if puck else "")


def tip(states: Floats) -> Floats:
    """Where the finger is, (..., 2) in metres, in states (..., S)."""
    shoulder, both = states[..., 0], states[..., 0] + states[..., 1]
    across, up = np.cos(shoulder) + np.cos(both), np.sin(shoulder) + np.sin(both)
    return BASE + LINK * np.stack([across, up], -1)


def joints(tips: Floats) -> Floats:
    """The angles (..., 2) that put the finger at (..., 2): of the two, those with the elbow to the right of the line."""
    x, y = np.moveaxis(tips - BASE, -1, 0)
    elbow = np.arccos(np.clip((x**2 + y**2) / (2 * LINK**2) - 1, -1, 1))
    shoulder = np.arctan2(y, x) - elbow / 2
    return np.stack([shoulder, elbow], -1)


class ArmPhysics:
    """Advances states (M, S) by steps of 0.2 s; keeps no state of its own."""

    def __init__(self, model: mujoco.MjModel) -> None:
        mujoco.set_mju_user_warning(_ignore)  # else MuJoCo writes MUJOCO_LOG.TXT; `advance` sees what diverged by itself
        self.model, self._data = model, mujoco.MjData(model)
        share = np.clip(np.arange(1, SUBSTEPS + 1) / (MOVING * SUBSTEPS), 0, 1)
        self._progress = share**2 * (3 - 2 * share)  # smoothstep: starts and ends at rest

    def advance(self, states: Floats, actions: Floats) -> Floats:
        """States (M, S) after displacements of the finger (M, 2), in strides; NaN where the physics diverged."""
        begin = tip(states)
        end = np.clip(begin + STRIDE * actions, -REACH, REACH)
        targets = joints(begin[:, None] + self._progress[:, None] * (end - begin)[:, None])  # (M, SUBSTEPS, 2)
        full = np.concatenate([np.zeros((len(states), 1)), states], 1)  # MuJoCo's own state begins with the time
        path, _ = rollout.rollout(self.model, self._data, full, targets)
        after = np.array(path[:, -1])
        after[np.abs(after[:, 0] - STEP) > SUBSTEP] = np.nan  # MuJoCo resets itself, and its clock, silently
        return after[:, 1:]


def _ignore(message: str) -> None:
    """MuJoCo's warning, which nobody reads."""
