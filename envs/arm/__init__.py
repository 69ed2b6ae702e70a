"""The MuJoCo envs of the arm: physics, scene, ray and OpenGL renderers, factors of variation."""

from imagoal.envs.arm._env import INSIDE, ArmEnv
from imagoal.envs.arm._factors import PUSH_FACTORS, REACH_FACTORS
from imagoal.envs.arm._gl import GLRenderer
from imagoal.envs.arm._rays import RayRenderer
from imagoal.envs.arm._scene import Renderer

__all__ = ["INSIDE", "PUSH_FACTORS", "REACH_FACTORS", "ArmEnv", "GLRenderer", "RayRenderer", "Renderer"]
