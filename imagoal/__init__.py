"""imagoal: reach goals given only as an image, with learned world models, and measure how well and how fast that works.

    import imagoal

    env = imagoal.make("push")
    agent = imagoal.make_agent("mpc", env, world_model="Push-latent")
    result = imagoal.evaluate(agent, env, tasks="dev", count=20)

Nothing is imported before it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from imagoal.version import __version__ as __version__

if TYPE_CHECKING:
    from imagoal.agents import Pace
    from imagoal.envs import make
    from imagoal.envs.store import Collecting, Store, collect
    from imagoal.eval.episodes import CostChoice, ModelChoice, RowSetting, evaluate, make_agent
    from imagoal.eval.explain import AuditSetting, audit
    from imagoal.eval.latency import Budgets, Timing, bench
    from imagoal.planning import Over

_PLACES = {
    "agents": ("Pace",),
    "envs": ("make",),
    "envs.store": ("Collecting", "Store", "collect"),
    "eval.episodes": ("CostChoice", "ModelChoice", "RowSetting", "evaluate", "make_agent"),
    "eval.explain": ("AuditSetting", "audit"),
    "eval.latency": ("Budgets", "Timing", "bench"),
    "planning": ("Over",),
}
"""Public names by the room whose face shows them."""

__all__ = [
    "AuditSetting", "Budgets", "Collecting", "CostChoice", "ModelChoice", "Over", "Pace", "RowSetting", "Store", "Timing",
    "audit", "bench", "collect", "evaluate", "make", "make_agent",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"imagoal.{place}"), name)
    raise AttributeError(f"module 'imagoal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
