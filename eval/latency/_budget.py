"""Success against milliseconds: the same episodes, with less and more time for each action."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imagoal.errors import UsageError
from imagoal.eval.episodes import EpisodeResult, latency, rate, run_tasks
from imagoal.eval.latency._loop import Subject
from imagoal.eval.latency._turns import in_turn
from imagoal.planning import Planner
from imagoal.progress import Progress


@dataclass(frozen=True)
class Budgets:
    """Deadlines to plan under."""

    milliseconds: tuple[float, ...]
    """For each env action; a plan from which two are executed has twice as much."""
    count: int = 20
    """Episodes of each: the first so many tasks."""
    most_iterations: int = 30
    """Of a search that time does not end before."""

    def __post_init__(self) -> None:
        given = self.milliseconds
        if not given or not all(0 < each < math.inf for each in given) or len(set(given)) < len(given):
            raise UsageError(f"budget_ms = {', '.join(map(str, given))}; expected different numbers above 0")
        for field in ("count", "most_iterations"):
            if getattr(self, field) < 1:
                raise UsageError(f"{field} = {getattr(self, field)}; expected at least 1")


def under_budgets(what: Subject, budgets: Budgets, threads: int, seed: int) -> list[dict[str, Any]]:
    """One row for each budget, the smallest first. Each task is gone through under all of them, in random order.

    Raises:
        UsageError: there are fewer tasks.
    """
    tasks = what.tasks.first(budgets.count)
    ordered = sorted(budgets.milliseconds)
    agents = [what.agent(what.env, _limited(what, each, budgets.most_iterations)) for each in ordered]
    episodes: list[list[EpisodeResult]] = [[] for _ in ordered]
    torch.set_num_threads(threads)
    with Progress("episodes", total=len(ordered) * len(tasks)) as progress:
        for index, which in in_turn(len(ordered), len(tasks), seed):
            episodes[which] += run_tasks(what.env_maker, agents[which], tasks, [index], what.steps)
            progress.advance()
    every = what.planning.pace.replan_every
    return [_row(each, every, found) for each, found in zip(ordered, episodes, strict=True)]


def _limited(what: Subject, milliseconds: float, most_iterations: int) -> Any:
    """What is planned with under a budget."""
    deadline = milliseconds * what.planning.pace.replan_every
    pace = dataclasses.replace(what.planning.pace, deadline_ms=deadline)
    return dataclasses.replace(what.planning, planner=_patient(what.planning.planner, most_iterations), pace=pace)


def _patient(planner: Planner, iterations: int) -> Planner:
    """The planner, for which time rather than a number of iterations is what ends a search, if it counts any."""
    fields: Any = planner
    if "iterations" not in {field.name for field in dataclasses.fields(fields)}:
        return planner
    patient: Planner = dataclasses.replace(fields, iterations=iterations)
    return patient


def _row(milliseconds: float, replan_every: int, episodes: Sequence[EpisodeResult]) -> dict[str, Any]:
    counted = [episode for episode in episodes if not episode.trivial]
    iterations = [number for episode in episodes for number in episode.iterations or ()]
    return {
        "budget_ms": milliseconds,
        "success": {kind: rate([getattr(episode, kind) for episode in counted]) for kind in ("ever", "hold", "final")},
        "iterations": {"median": float(np.median(iterations)), "min": min(iterations), "max": max(iterations)},
        "latency_ms": latency(episodes, 1, replan_every),
    }
