"""Recorded episodes: the store and its records, collecting, joining, and the frame cache that training reads."""

from imagoal.envs.store._cache import FrameCache, Ints, WindowIndex, drop_damaged_cache, open_cache
from imagoal.envs.store._collect import Actor, ActorFactory, Collecting, Shown, collect, run_episode
from imagoal.envs.store._join import join
from imagoal.envs.store._records import Spec, told_options
from imagoal.envs.store._store import Store

__all__ = [
    "Actor", "ActorFactory", "Collecting", "FrameCache", "Ints", "Shown", "Spec", "Store", "WindowIndex", "collect",
    "drop_damaged_cache", "join", "open_cache", "run_episode", "told_options",
]  # fmt: skip
