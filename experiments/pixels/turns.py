"""Equal samples: how many times the milliseconds of the latent model a plan in pixels takes, all timed by turns in one run.

    python -m experiments.pixels.turns ball         (a few minutes; nothing else should run)
    python -m experiments.pixels.turns push

The search is that of the committed rows. In a round each model makes the first plan of one dev task twice, and the second is
timed, so that none finds the caches full of another's; the ratio to the latent model is taken within the round. Milliseconds
are CPU time of one thread; the goal is encoded before. Writes `experiments/results/pixels/turns-ENV.table.json`.
"""

import statistics
import sys
from functools import partial

import torch

from experiments import publish
from experiments.pixels.first_plans import COSTS, agent_from, begin, first_plan, plan, short
from imagoal.envs import make
from imagoal.eval.latency import take_turns
from imagoal.eval.tasks import choose_tasks
from imagoal.world_model import Observation
from imagoal.world_model.models import bf16_units

TASKS = 12
SEARCH = {"Ball": "", "Push": " --planner.num-samples 64 --planner.num-elites 8 --planner.iterations 2"}
"""Flags beside the env's own settings."""
COLUMNS = ["imagines", "flags", "plans", "ms, median", "times the latent model's, median", "lowest", "highest"]


def main(name: str) -> None:
    torch.set_num_threads(1)
    env = make(name)
    tasks = choose_tasks(env, "dev").first(TASKS)
    models = flags(short(env))
    agents = {model: agent_from(env, tasks, words) for model, words in models.items()}
    seen: dict[str, Observation] = {}

    def prepare(model: str, number: int) -> None:
        first_plan(env, agents[model], tasks, number % TASKS)
        seen[model] = begin(env, agents[model], tasks, number % TASKS)

    def work(model: str) -> None:
        plan(env, agents[model], seen[model])

    taken = take_turns({model: partial(work, model) for model in agents}, TASKS, prepare=prepare)
    rows: list[list[object]] = []
    for model, words in models.items():
        ratios = [own / least for own, least in zip(taken[model], taken["latent"], strict=True)]
        middles = [statistics.median(values) for values in (taken[model], ratios)]
        rows.append([model, words, TASKS, 1000 * middles[0], middles[1], min(ratios), max(ratios)])
    publish(f"pixels/turns-{short(env)}", COLUMNS, rows, {"tasks": TASKS})


def flags(env: str) -> dict[str, str]:
    """What `imagoal eval` was told for the row of each model."""
    fast = COSTS[env] + " --compile" + (" --precision bf16" if bf16_units() else "")
    pixels = {kind: f"--world-model {env}-pixel_{kind}{SEARCH[env]}{fast}" for kind in ("regression", "diffusion")}
    return {"latent": f"--world-model {env}-latent{SEARCH[env]}"} | pixels


if __name__ == "__main__":
    main(sys.argv[1])
