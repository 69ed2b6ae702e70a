"""Latency of any env, world model, planner and budget: what a plan costs, and how near that is to what the machine can do."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from imagoal.envs import GoalEnv, env_id
from imagoal.errors import UsageError
from imagoal.eval.episodes import BuiltAgent, peak_mb, provenance
from imagoal.eval.latency._budget import Budgets, under_budgets
from imagoal.eval.latency._loop import Subject, Timing, bench_subject, time_plans
from imagoal.eval.latency._machine import SIZE, busy, count_cpus, load_average
from imagoal.eval.latency._rows import make_rows
from imagoal.eval.tasks import TaskList
from imagoal.world_model.models import bf16_units

SCHEMA = "imagoal.bench/1"

DEFINITIONS = {
    "plans": "of real episodes, one after another: observations and warm starts are those of the episodes",
    "cold_ms": "the first plan of the process, after everything was loaded; no row counts it, nor its own first plan",
    "ratios": "of CPU time where there is one thread, else of wall time; medians, what is compared taking turns",
    "flops_per_plan": "torch.utils.flop_counter over a whole warm plan of B problems: matrix products, convolutions, attention",
    "flops_per_step": "torch.utils.flop_counter over one rollout, per sequence and imagined step",
    "precision": "of the matrix products in a search; FLOPs, evaluations and times include judging its finalists in fp32",
    "cost_calls_per_plan": "calls of the cost function in a search, each for a whole population",
    "network_calls_per_plan": "calls of the predictor's last layer in a search, each for a whole population",
    "floor_ms": f"flops_per_plan / median rate of {SIZE}^3 matrix products in the same run on as many threads",
    "share_of_floor": "floor_ms / median time of a plan",
    "overhead": "a search / only calling its cost function as often with the same sequences",
    "against_one_by_one": "B x the time of a plan of one problem / that of a plan of B, on as many threads",
    "budget_ms": "per env action; the deadline of a plan, encoding included, is that x actions_per_plan",
}
"""Of what stands in the file."""


def bench(
    agent: BuiltAgent, env: GoalEnv, tasks: str | TaskList = "dev", timing: Timing | None = None, budgets: Budgets | None = None
) -> dict[str, Any]:
    """Time and count an agent's plans; the content of `bench.json`, for `bench_text` to show.

    Args:
        agent: from `make_agent`.
        env: in whose episodes it plans.
        tasks: `dev`, `test`, an .npz file, or a list.
        timing: which rows, and how many plans of each.
        budgets: deadlines to show the success under, or None.

    Raises:
        UsageError: an agent that does not plan, a deadline or surprise for several problems at a time, or fewer tasks than
            asked for; nothing was run.

    Example:
        >>> import imagoal
        >>> env = imagoal.make("ball")
        >>> found = imagoal.bench(imagoal.make_agent("mpc", env), env, timing=imagoal.Timing(plans=5, batches=(1,)))
    """
    return measure(bench_subject(agent, env, tasks), timing or Timing(), budgets)


def measure(what: Subject, timing: Timing, budgets: Budgets | None) -> dict[str, Any]:
    """The same, of plans that were made ready."""
    cpus = count_cpus()
    single = what.planning.pace.single
    if single and timing.batches != (1,):
        raise UsageError(f"{single} with {', '.join(map(str, timing.batches))} problems at a time; use --batches 1")
    if what.planning.model.device.type != "cpu":
        raise UsageError(
            f"device {what.planning.model.device}; expected cpu, since what is compared here is CPU time; `imagoal eval` gives "
            "the milliseconds of an action on a GPU"
        )
    if budgets:
        what.tasks.first(budgets.count)
    began, load = time.perf_counter(), load_average()
    plans, gemms = time_plans(what, timing)
    rows = make_rows(what, timing, plans, {threads: gemm.gflops() for threads, gemm in gemms.items()})
    found = under_budgets(what, budgets, timing.threads[0], timing.seed) if budgets else []
    origin = provenance({}, {"order": timing.seed}, time.perf_counter() - began, device="cpu", **what.hashes)
    machine = {
        "cpus": cpus,
        "threads": list(timing.threads),
        "bf16_units": list(bf16_units()),
        "load": {"start": load, "end": load_average()},
        "busy": busy(load, max(timing.threads), cpus, _stretch(rows)),
        "peak_mb": round(peak_mb(), 1),
    }
    del origin["config"]
    command = origin.pop("command")
    parts = {"rows": rows, "budgets": found, "provenance": origin | machine}
    return {"schema": SCHEMA, "command": command, "setting": _setting(what, timing, budgets), **parts}


def _setting(what: Subject, timing: Timing, budgets: Budgets | None) -> dict[str, Any]:
    """All that decides what was timed."""
    tasks = {"split": what.tasks.split, "hash": what.tasks.hash, "n": len(what.tasks), "steps": what.steps}
    return {
        "env": env_id(what.env),
        "env_options": dict(what.env.options),
        "agent": dict(what.description),
        "tasks": tasks,
        "precision": getattr(what.planning.model, "precision", None),
        "actions_per_plan": what.planning.pace.replan_every,
        "timing": asdict(timing),
        "budgets": asdict(budgets) if budgets else None,
        "headline": what.env.headline,
        "definitions": DEFINITIONS,
    }


def _stretch(rows: Sequence[Mapping[str, Any]]) -> float:
    """Wall time of a plan on one thread divided by its CPU time, the most of all rows; 1 where no row is on one thread."""
    medians = [(row["wall_ms"]["per_plan"]["p50"], row["cpu_ms"]["per_plan"]["p50"]) for row in rows if row["threads"] == 1]
    return max((wall / cpu for wall, cpu in medians if cpu), default=1.0)
