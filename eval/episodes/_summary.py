"""From episodes to the numbers that a table shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from imagoal.eval.episodes._run import EpisodeResult

ENOUGH_FOR_P99 = 662
"""Plans from which a 99th percentile means something (MLPerf's early stopping bound)."""

Times = np.ndarray[Any, np.dtype[np.float64]]
"""Milliseconds."""


def rate(successes: Sequence[bool]) -> dict[str, float | int]:
    """Share of successes with its Wilson 95 % interval, and n."""
    if not successes:
        return {"rate": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    low, high = wilson(successes)
    return {"rate": sum(successes) / len(successes), "low": low, "high": high, "n": len(successes)}


def wilson(successes: Sequence[bool]) -> tuple[float, float]:
    """The Wilson 95 % interval of a share of successes; at least one outcome."""
    interval = binomtest(sum(successes), len(successes)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def summarise(episodes: Sequence[EpisodeResult], batch: int, replan_every: int, peak_mb: float) -> dict[str, Any]:
    """The `summary` of a result: trivial tasks are excluded and counted, failed episodes count as unsuccessful.

    What `beside` tells of the plans is there if it tells something.
    """
    counted = [episode for episode in episodes if not episode.trivial]
    plans = [plan for episode in episodes for plan in episode.plans]
    steps = [episode.steps_to_goal for episode in counted if episode.steps_to_goal is not None]
    return {
        "success": {kind: rate([getattr(episode, kind) for episode in counted]) for kind in ("ever", "hold", "final")},
        "excluded_trivial": len(episodes) - len(counted),
        "failed_episodes": sum(episode.early_end is not None for episode in counted),
        "steps_to_goal": {"median": _median(steps), "n": len(steps)},
        "final_distance": {"median": _median([episode.final_distance for episode in counted]), "unit": "m"},
        "latency_ms": latency(episodes, batch, replan_every),
        "evaluations_per_plan": _median([plan["evaluations"] for plan in plans]),
        "peak_mb": round(peak_mb, 1),
    } | beside(plans)


def beside(plans: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """What stands beside the costs of plans, as shares of them; nothing beside most.

    `regret`: by how much what a search at a lower precision thought best is worse than the plan, and for which share of plans
    fp32 `changed` it for a better one. `claimed`: what a search over paths took the plan to cost; far below 1 was wishful.
    """
    regrets, claims = ([plan[name] for plan in plans if name in plan] for name in ("regret", "claimed"))
    found: dict[str, dict[str, float]] = {}
    if regrets:
        median, p90 = (float(value) for value in np.percentile(regrets, [50, 90]))
        changed = sum(regret > 0 for regret in regrets) / len(regrets)
        found["regret"] = {"median": median, "p90": p90, "max": max(regrets), "changed": changed}
    return found | ({"claimed": {"median": float(np.median(claims)), "min": min(claims)}} if claims else {})


def latency(episodes: Sequence[EpisodeResult], batch: int, replan_every: int) -> dict[str, Any] | None:
    """Milliseconds of the plans by phase, and how many missed their deadline, if they had one.

    The first plan of the run is `cold` and not among the others.
    """
    plans = [plan for episode in episodes for plan in episode.plans]
    if not plans:
        return None
    cold, warm = plans[0], plans[1:] or plans
    whole = np.array([plan["plan"] for plan in warm])
    phases = {phase: round(float(np.median([plan[phase] for plan in warm])), 4) for phase in ("encode", "rollout", "refit")}
    kept = np.array([int(plan.get("kept", 0)) for plan in warm])
    spent = whole + np.array([plan.get("checks", 0.0) for plan in warm])
    per_plan, per_action = percentiles(whole), percentiles(shares(spent, kept) / replan_every, len(warm))
    head = {"n": len(warm), "batch": batch, "cold": cold["plan"], "per_plan": per_plan, "per_action": per_action}
    deadline = cold.get("deadline")
    return head | phases | {"deadline": deadline, "missed": sum(plan["plan"] > plan.get("deadline", math.inf) for plan in warm)}


def shares(spent: Times, kept: np.ndarray[Any, np.dtype[np.int_]]) -> Times:
    """What was spent on each plan, checks included, shared by the 1 + `kept` times that it was followed; one value for each."""
    return np.repeat(spent / (1 + kept), 1 + kept)


def percentiles(values: Times, plans: int | None = None) -> dict[str, float | None]:
    """p50, p90, and p99 if there are enough plans for it; as many as values, if not said."""
    p50, p90, p99 = (round(float(value), 4) for value in np.percentile(values, [50, 90, 99]))
    return {"p50": p50, "p90": p90, "p99": p99 if (plans or len(values)) >= ENOUGH_FOR_P99 else None}


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
