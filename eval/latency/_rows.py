"""The rows of a bench: percentiles of the plans, what they take, and how far they are from what the machine can do."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from imagoal.eval.episodes import Times, percentiles, shares
from imagoal.eval.latency._counts import Counts, count, overhead
from imagoal.eval.latency._loop import Subject, Timed, Timing, Variant
from imagoal.eval.latency._machine import since_start

ENOUGH_FOR_P90 = 64
"""Plans from which a 90th percentile means something (MLPerf's early stopping bound)."""
ROUNDS = 20
"""Of search against bare loop, at most."""

Rates = Mapping[str, float | None]
"""GFLOP/s by type."""


def make_rows(
    what: Subject, timing: Timing, plans: Mapping[Variant, Sequence[Timed]], rates: Mapping[int, Rates]
) -> list[dict[str, Any]]:
    """One row for each variant, in order.

    Args:
        what: whose plans.
        timing: how many.
        plans: of each variant, the first of which is not among the warm ones.
        rates: of matrix products, by threads.
    """
    warm = {variant: timed[1:] for variant, timed in plans.items()}
    counted = {batch: count(what, batch) for batch in timing.batches}
    rows = []
    for variant, timed in warm.items():
        counts, problem = counted[variant.batch]
        row: dict[str, Any] = {"batch": variant.batch, "threads": variant.threads, "n": len(timed)}
        row |= times(timed, what.planning.pace.replan_every) | takes(what, counts)
        row |= floor(counts.flops, middle(timed, variant.threads), rates[variant.threads])
        row["overhead"] = overhead(problem, variant.threads, min(ROUNDS, timing.plans), timing.seed)
        single = warm.get(Variant(1, variant.threads))
        row["against_one_by_one"] = batching(timed, single, variant) if single and variant.batch > 1 else None
        rows.append(row | {"cold_ms": None, "since_process_start_ms": None})
    first = next(iter(plans.values()))[0]
    rows[0] |= {"cold_ms": first.wall, "since_process_start_ms": since_start(first.ended)}
    return rows


def times(timed: Sequence[Timed], replan_every: int) -> dict[str, Any]:
    """Milliseconds: wall and CPU, per plan and per env action; the medians of the phases."""
    wall, cpu = np.array([plan.wall for plan in timed]), np.array([plan.cpu for plan in timed])
    checks = np.array([plan.checks_wall for plan in timed]), np.array([plan.checks_cpu for plan in timed])
    kept = np.array([plan.kept for plan in timed])
    spreads: dict[str, Any] = {
        name: {"per_plan": spread(plans), "per_action": spread(shares(plans + checked, kept) / replan_every, len(timed))}
        for name, plans, checked in (("wall_ms", wall, checks[0]), ("cpu_ms", cpu, checks[1]))
    }
    phases = {phase: median(plan.phases[phase] for plan in timed) for phase in ("encode", "rollout", "refit")}
    return spreads | phases | {"iterations": median(plan.iterations for plan in timed)}


def spread(values: Times, plans: int | None = None) -> dict[str, float | None]:
    """p50, and p90 and p99 if there are enough plans for them; as many as values, if not said."""
    found = percentiles(values, plans)
    return found if (plans or len(values)) >= ENOUGH_FOR_P90 else found | {"p90": None}


def takes(what: Subject, counts: Counts) -> dict[str, Any]:
    """What was counted of a plan, and how large the network is."""
    return {
        "evaluations_per_plan": counts.evaluations,
        "cost_calls_per_plan": counts.cost_calls,
        "network_calls_per_plan": counts.network_calls,
        "parameters": what.description["parameters"],
        "flops_per_step": counts.flops_per_step,
        "flops_per_plan": counts.flops,
    }


def floor(flops: int | None, milliseconds: float, rates: Rates) -> dict[str, Any]:
    """The time that the FLOPs of a plan would take at these rates, and its share of the plan's time."""
    floors = {name: flops / rate / 1e6 if flops and rate else None for name, rate in rates.items()}
    shares = {name: each / milliseconds if each and milliseconds else None for name, each in floors.items()}
    return {"gemm_gflops": dict(rates), "floor_ms": floors, "share_of_floor": shares}


def batching(timed: Sequence[Timed], single: Sequence[Timed], variant: Variant) -> float | None:
    """Time of B plans of one problem each divided by that of one plan of B problems."""
    together = middle(timed, variant.threads)
    return variant.batch * middle(single, variant.threads) / together if together else None


def middle(timed: Sequence[Timed], threads: int) -> float:
    """Median milliseconds of a plan, of CPU time on one thread, else of wall time: what ratios are taken of."""
    return median(plan.cpu if threads == 1 else plan.wall for plan in timed)
