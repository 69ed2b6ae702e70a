"""Equal time: how good the first plan of each world model is that fits so many milliseconds.

    python benchmarks/clock.py ENV latent=Ball-latent regression=Ball-pixel_regression diffusion=Ball-pixel_diffusion

Every model has a ladder of settings (samples, iterations and horizon; pixel models in bf16 and compiled). On the
first 20 dev tasks each setting's first plan is carried out by the true simulator without planning again; its true cost is the
mean distance from the goal, in metres, over the next steps, the same number for all. For each budget the best true cost is
chosen among the six largest settings whose median plan fits it. Milliseconds are CPU time of one thread.

Writes `benchmarks/results/clock-ENV.table.json`; the flags of what was chosen are in it, for `imagoal eval`.
"""

import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagoal import flags
from imagoal.agents._types import Agent
from imagoal.commands.eval import Eval
from imagoal.envs import GoalEnv, make, short_name
from imagoal.envs._make import env_id
from imagoal.eval import _result
from imagoal.eval._build import Built, build
from imagoal.eval._tasks import TaskList, choose
from imagoal.world_model import Observation
from imagoal.world_model._frames import to_tensor

ROOT = Path(__file__).parents[1]
BUDGETS = (33, 100, 330, 1000)
TASKS, TRIALS, AHEAD = 20, 6, 8
"""Tasks, settings that are tried at most for a budget, and env steps ahead over which a plan is judged."""
ELITES = {8: 2, 16: 3, 32: 4, 64: 8, 128: 16, 300: 30}
LADDERS = {
    "latent": [(8, 1), (16, 1), (32, 1), (32, 2), (64, 3), (128, 3), (300, 5), (300, 10), (300, 30), (300, 60), (300, 150)],
    "pixel": [(8, 1), (16, 1), (16, 2), (32, 1), (32, 2), (64, 2), (64, 3), (128, 2), (128, 3)],
}
"""Samples and iterations."""
HORIZONS = {"latent": (8,), "pixel": (4, 6, 8)}
COLUMNS = ["budget ms", "model", "flags", "ms, median", "true cost, m", "low", "high"]


@dataclass(frozen=True)
class Trial:
    """A setting, what its plans took and how good they were.

    Attributes:
        model: its name here.
        flags: of `imagoal eval`.
        milliseconds: of each plan.
        costs: true, of each plan.
    """

    model: str
    flags: str
    milliseconds: list[float]
    costs: list[float]

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)


def main(name: str, models: dict[str, str]) -> None:
    torch.set_num_threads(1)
    env = make(name)
    tasks = choose(env, "dev").first(TASKS)
    trials = [tried(env, tasks, model, words) for model, words in settings(models)]
    rows: list[list[Any]] = []
    for budget, model in itertools.product(BUDGETS, models):
        fitting = sorted((t for t in trials if t.model == model and t.median <= budget), key=lambda t: t.median)[-TRIALS:]
        if fitting:
            best = min(fitting, key=lambda trial: np.mean(trial.costs))
            rows.append([budget, model, best.flags, best.median, *interval(best.costs)])
            print(*rows[-1], flush=True)
    config = {"tasks": TASKS, "trials": TRIALS, "ahead": AHEAD, "models": models}
    every = [[t.model, t.flags, t.median, *interval(t.costs)] for t in trials]
    path = ROOT / f"benchmarks/results/clock-{short_name(env_id(env))}.table.json"
    _result.write_table(path, COLUMNS, rows, config | {"all": every})


def settings(models: dict[str, str]) -> list[tuple[str, str]]:
    """Models and flags of every setting, cheapest first."""
    found = []
    for model, folder in models.items():
        kind = "latent" if "latent" in model else "pixel"
        fast = "" if kind == "latent" else " --precision bf16 --compile"
        for horizon, (samples, iterations) in itertools.product(HORIZONS[kind], LADDERS[kind]):
            search = f"--planner.num-samples {samples} --planner.num-elites {ELITES[samples]} --planner.iterations {iterations}"
            found.append((model, f"--world-model {folder} {search} --planner.horizon {horizon}{fast}"))
    return found


def tried(env: GoalEnv, tasks: TaskList, model: str, words: str) -> Trial:
    """Every task's first plan, carried out to its end."""
    agent = built_from(env, words).agent
    milliseconds, costs = [], []
    first_plan(env, agent, tasks, 0)  # warm: compiles what is to be compiled
    for index in range(len(tasks)):
        began = time.thread_time()
        actions = first_plan(env, agent, tasks, index)
        milliseconds.append(1000 * (time.thread_time() - began))
        costs.append(true_cost(env, tasks, index, actions))
    trial = Trial(model, words, milliseconds, costs)
    print(f"{trial.median:8.1f} ms  {np.mean(costs):.4f} m  {model} {words}", flush=True)
    return trial


def built_from(env: GoalEnv, words: str) -> Built:
    """What flags of `imagoal eval` build."""
    return build(flags.parse(Eval, ["--env", env_id(env), *words.split()], "imagoal eval").request(), env)


def first_plan(env: GoalEnv, agent: Agent, tasks: TaskList, index: int) -> torch.Tensor:
    """Env actions (L, A) of the first plan."""
    task = tasks.task(index)
    frame = to_tensor(env.render_states(task.start[None]))
    agent.reset(Observation(to_tensor(task.goal_image[None])), [int(tasks.seeds[index])])
    plan = agent.act(Observation(frame)).plan
    assert plan is not None
    return plan.actions[0].reshape(-1, (env.action_space.shape or (1,))[0])


def true_cost(env: GoalEnv, tasks: TaskList, index: int, actions: torch.Tensor) -> float:
    """Mean distance from the goal over the next steps; after a plan's end nothing is done."""
    ahead = np.zeros((AHEAD, actions.shape[1]))
    ahead[: len(actions)] = actions[:AHEAD].double().numpy()
    states = env.simulate(tasks.starts[index][None], ahead[None])[0]
    return float(env.task_distance(states, np.broadcast_to(tasks.goals[index], states.shape)).mean())


def interval(costs: list[float]) -> list[float]:
    """Mean, and its 95 % interval over tasks by the bootstrap."""
    draws = np.random.default_rng(0).choice(costs, (2000, len(costs))).mean(1)
    return [float(np.mean(costs)), *np.percentile(draws, [2.5, 97.5]).tolist()]


if __name__ == "__main__":
    main(sys.argv[1], dict(each.split("=", 1) for each in sys.argv[2:]))
