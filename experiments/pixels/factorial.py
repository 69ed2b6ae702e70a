"""One trunk, six models: what is imagined, pixels or the tokens of one of two encoders, by regression or by diffusion.

    python -m experiments.pixels.factorial FOLDER ROWS FLAGS...   (a quarter of an hour; `experiments/pixels/run` says which)

FOLDER holds the models and ROWS their results, both by name; FLAGS are of `imagoal eval`, the same for all. What is imagined is
compared by probed positions; imagined pixels borrow the autoencoder and its probe. Each question is one paired
difference on the same test tasks: of *hold*, from the rows, and of the first plan's true cost, i.e. the mean distance from the
goal in centimetres over the next steps when that plan is carried out without planning again (lower is better).

Writes `experiments/results/pixels/factorial.table.json`.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
import torch

from experiments import publish
from experiments.pixels.first_plans import built_from, first_plan, interval, true_cost
from experiments.pixels.tables import HEADS, SPACES
from imagoal.envs import make
from imagoal.eval.episodes import load_result
from imagoal.eval.show import compare
from imagoal.eval.tasks import choose_tasks

ENV, TASKS = "imagoal/Ball-v0", 100
SHIPPED = {"one-vector": "Ball-latent"}
"""A model apart: another encoder and another predictor, so that its difference has more than one reason."""
QUESTIONS = {
    "features or pixels": [(f"features-{head}", f"pixels-{head}") for head in HEADS],
    "compressed pixels or pixels": [(f"autoencoder-{head}", f"pixels-{head}") for head in HEADS],
    "compressed pixels or features": [(f"autoencoder-{head}", f"features-{head}") for head in HEADS],
    "diffusion or regression": [(f"{space}-diffusion", f"{space}-regression") for space in SPACES],
    "one vector or a grid of features": [("one-vector", "features-regression")],
}
"""What is asked, and the pairs of models that differ in nothing else."""
COLUMNS = ["question", "a", "b", "n", "hold a %", "hold b %", "a - b points", "low", "high"]
COLUMNS += ["true cost a cm", "true cost b cm", "a - b cm", "low cm", "high cm"]


def main(folder: Path, results: Path, flags: str) -> None:
    torch.set_num_threads(1)
    names = {name for pairs in QUESTIONS.values() for pair in pairs for name in pair}
    costs = {name: first_costs(f"{model(folder, name)} {flags}") for name in sorted(names)}
    rows = [
        [question, a, b, *held(results, a, b), *cost(costs, a, b)] for question, pairs in QUESTIONS.items() for a, b in pairs
    ]
    publish("pixels/factorial", COLUMNS, rows, {"flags": flags, "tasks": TASKS})


def model(folder: Path, name: str) -> str:
    """Flags of a model by name, and of what reads positions in imagined pixels."""
    lent = f" --readouts {folder / 'autoencoder-regression'}" if name.startswith("pixels") else ""
    return f"--world-model {SHIPPED.get(name, folder / name)}{lent}"


def first_costs(words: str) -> list[float]:
    """True cost, in centimetres, of each task's first plan."""
    env = make(ENV)
    tasks, agent = choose_tasks(env, "test").first(TASKS), built_from(env, words).agent
    costs = [100 * true_cost(env, tasks, i, first_plan(env, agent, tasks, i)) for i in range(len(tasks))]
    print(f"{np.mean(costs):.2f} cm  {words}", flush=True)
    return costs


def held(results: Path, a: str, b: str) -> list[float]:
    """Tasks, shares of *hold* in percent, and their difference with its interval, in points."""
    found = compare(*(load_result(results / f"factorial-{name}-s0.json") for name in (a, b)))
    success = found.success["hold"]
    away = success.difference
    return [found.n, *(100 * share for share in (success.first, success.second, away.rate, away.low, away.high))]


def cost(costs: dict[str, list[float]], a: str, b: str) -> list[float]:
    """Mean true costs, and their paired difference with its interval."""
    return [
        *(float(np.mean(costs[name])) for name in (a, b)),
        *interval([x - y for x, y in zip(costs[a], costs[b], strict=True)]),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), shlex.join(sys.argv[3:]))
