"""Worlds, tasks, episodes, stores, behaviours. Importing it makes `gymnasium.make("imagoal/Ball-v0")` work."""

from imagoal.envs._make import env_id, make, register, short_name
from imagoal.envs._types import Behaviour, Bools, Episode, Floats, Frames, GoalEnv, Rng, Task

__all__ = ["Behaviour", "Bools", "Episode", "Floats", "Frames", "GoalEnv", "Rng", "Task", "env_id", "make", "short_name"]

register()
