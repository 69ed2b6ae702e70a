"""Latent collocation against shooting, over a long horizon: the rolled-out cost of a plan at equal milliseconds.

    python -m experiments.speed.collocation        (minutes; the shipped Ball world model)

Cold first plans of 30 dev tasks of Ball, H = 24. CPU time on one thread; planners in turn, in a random order for each task;
medians. Each planner is tuned by as many trials, on other dev tasks: the settings of lowest mean cost at 100 ms. How many
iterations fit a budget follows from timing two plans of different length, beside each other, on those tasks; the milliseconds
that plans then took are in the table. Writes `experiments/results/speed/collocation.table.json`.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import publish
from imagoal.envs import make
from imagoal.eval.latency import in_turn
from imagoal.eval.tasks import choose_tasks
from imagoal.planning import CEM, Collocation, CostFunction, GoalCost, Gradient, ICEMAdam, no_op
from imagoal.world_model import Observation, Past, to_tensor
from imagoal.world_model.models import load
from imagoal.world_model.readouts import Chain

HORIZON, TASKS, TUNING, TUNED_AT = 24, 30, 10, 100
BUDGETS = (33, 100, 330)
COLUMNS = [
    "budget ms", "planner", "settings", "iterations", "ms", "cost", "mean cost", "claimed cost", "mean cost / gradient",
    "tasks not worse than gradient %",
]  # fmt: skip

GRIDS: dict[str, tuple[Any, dict[str, Sequence[float]]]] = {
    "gradient": (Gradient, {"num_samples": (1, 4, 8), "lr": (0.1, 0.2), "init_std": (0.2, 0.5)}),
    "collocation": (Collocation, {"num_samples": (16, 32, 64), "num_refined": (1, 2), "steps": (12, 16)}),
    "icem_adam": (ICEMAdam, {"num_samples": (32, 64), "lr": (0.05, 0.1), "beta": (1.0, 2.0, 4.0)}),
    "cem": (CEM, {"num_samples": (32, 64, 128), "init_std": (0.5, 1.0), "correlation": (0.85, 0.95)}),
}
"""Twelve trials each; the other fields are defaults."""


@dataclass(frozen=True)
class Found:
    """One plan."""

    milliseconds: float
    cost: float
    claimed: float | None


def main() -> None:
    torch.set_num_threads(1)
    costs = first_plans(TASKS + TUNING)
    tuning, reported = costs[:TUNING], costs[TUNING:]
    chosen = {name: tuned(name, tuning) for name in GRIDS}
    rows: list[list[Any]] = []
    for budget in BUDGETS:
        ready = {name: fitted(planner, budget, tuning) for name, planner in chosen.items()}
        found: dict[str, list[Found]] = {name: [] for name in GRIDS}
        for task, which in in_turn(len(GRIDS), len(reported), 0):
            name = list(GRIDS)[which]
            found[name].append(plan(ready[name], reported[task]))
        rows += [row(budget, name, ready[name], found) for name in GRIDS]
    config = {"horizon": HORIZON, "tasks": TASKS, "tuning tasks": TUNING, "tuned at ms": TUNED_AT}
    grids = {name: {field: list(values) for field, values in grid.items()} for name, (_, grid) in GRIDS.items()}
    publish("speed/collocation", COLUMNS, rows, config | {"grids": grids})


def first_plans(count: int) -> list[CostFunction]:
    """The cost functions of the first plans of so many dev tasks: the latent's own distance, its mean over the horizon."""
    env, folder = make("ball"), load("Ball-latent")
    tasks, chain = choose_tasks(env, "dev"), Chain(encoder=folder.encoder)
    costs: list[CostFunction] = []
    for index in range(count):
        task = tasks.task(index)
        goal = Observation(to_tensor(task.goal_image[None]))
        now = Past(to_tensor(env.render_states(task.start[None]))[:, None], torch.zeros(1, 0, folder.model.action_size))
        aimed = GoalCost.aim(folder.model, goal, "latent", chain, folder.metrics["slowness"])
        costs.append(aimed.bind(folder.model.observe(now, [0])))
    return costs


def tuned(name: str, costs: Sequence[CostFunction]) -> Any:
    """The best of a planner's trials."""
    kind, grid = GRIDS[name]
    trials = [kind(horizon=HORIZON, **dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]
    trials = [fitted(trial, TUNED_AT, costs) for trial in trials]
    return min(trials, key=lambda trial: np.mean([plan(trial, cost).cost for cost in costs]))


def fitted(planner: Any, budget: float, costs: Sequence[CostFunction]) -> Any:
    """The planner with as many iterations as fit the budget."""
    lengths = (4, 12)
    plan(planner, costs[0])  # warm
    timed = [[plan(replace(planner, iterations=length), cost).milliseconds for length in lengths] for cost in costs[:5]]
    short, long = np.median(timed, 0)
    each = (long - short) / (lengths[1] - lengths[0])
    return replace(planner, iterations=max(1, int((budget - short) / each + lengths[0])))


def plan(planner: Any, cost: CostFunction) -> Found:
    idle: Tensor = no_op(1, HORIZON, 2)
    generators = [torch.Generator().manual_seed(0)]
    began = time.thread_time()
    made = planner.plan(cost, idle, generators)
    milliseconds = (time.thread_time() - began) * 1000
    return Found(milliseconds, made.cost.item(), None if made.claimed is None else made.claimed.item())


def row(budget: float, name: str, planner: Any, found: dict[str, list[Found]]) -> list[Any]:
    mine, costs, shooting = found[name], *([each.cost for each in found[one]] for one in (name, "gradient"))
    claims = [each.claimed for each in mine if each.claimed is not None]
    settings = ", ".join(f"{field} {getattr(planner, field):g}" for field in GRIDS[name][1])
    figures = [median(each.milliseconds for each in mine), median(costs), mean(costs), median(claims) if claims else None]
    better = 100 * mean(own <= other for own, other in zip(costs, shooting, strict=True))
    return [budget, name, settings, planner.iterations, *figures, mean(costs) / mean(shooting), better]


if __name__ == "__main__":
    main()
