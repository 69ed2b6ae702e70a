"""Worlds, tasks, episodes, stores, behaviours. Importing it makes `gymnasium.make("imagoal/Ball-v0")` work."""

from imagoal.envs._make import env_id, identify, make, register, remake, short_name
from imagoal.envs._types import Behaviour, Bools, Episode, Floats, Frames, GoalEnv, Rng, Task

__all__ = [
    "Behaviour", "Bools", "Episode", "Floats", "Frames", "GoalEnv", "Rng", "Task", "env_id", "identify", "make", "remake",
    "short_name",
]  # fmt: skip

register()
