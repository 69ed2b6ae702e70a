"""Equal time: how good a plan each world model makes in so many milliseconds.

    python -m experiments.pixels.clock ENV latent=Ball-latent regression=Ball-pixel_regression diffusion=Ball-pixel_diffusion
    python -m experiments.pixels.clock flags ENV           (prints tasks, budget, model and flags of whole episodes to run)

Every model has a ladder of settings: samples, iterations, horizon and, for diffusion, denoising steps; pixel models are
compiled, and in bf16 where that is faster, but for the smallest searches, of which judging the finalists in fp32 would take
most. A plan of each setting is timed once. For each budget up to 3.3 s six settings are tried, the largest that fit it of each
horizon and number of denoising steps: on the first 20 dev tasks the first plan is carried out by the true simulator without
planning again, and its *true cost* is the mean distance from the goal in centimetres over the next env steps, the same number
for all. The best of them is chosen for the budget; beyond 3.3 s the largest is that shares the horizon and the denoising steps
chosen before. What was chosen is reported on the first 60 test tasks, also as a paired difference to the latent model's of
100 ms. Milliseconds are CPU time of one thread, of a plan; the goal is encoded before.

Writes `experiments/results/pixels/clock-ENV-MODEL.table.json` after each budget. What is there stays and is not done again, on
a processor of that name. No plan has a deadline: whatever was chosen replays on any machine.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from experiments import RESULTS
from experiments.pixels.clock_settings import group, settings, timed, varied
from experiments.pixels.first_plans import AHEAD, Trial, idle_costs, interval, short, tried
from imagoal import files
from imagoal.envs import GoalEnv, make
from imagoal.eval.episodes import hardware, write_table
from imagoal.eval.tasks import TaskList, choose_tasks

BUDGETS = (33, 100, 330, 1000, 3300, 10_000, 30_000)
"""Milliseconds."""
TRIALS, TRIED = 6, 3300
"""How many settings are tried for a budget, and up to which."""
CLOSED = {"Ball": {33: 200, 100: 200, 330: 60, 1000: 60}, "Push": {100: 60, 330: 60, 1000: 60}}
"""Of which budgets whole episodes are run with what was chosen, and of how many tasks."""
DEV, TEST = 20, 60
"""Tasks that choose, and tasks that report."""
TESTS: dict[str, Trial] = {}
"""By flags."""
IDLE = "no action"
"""A row of the table: what becomes of those who do nothing."""
REFERENCE = "latent", 100
"""Model and budget of the plans that all others are compared with, task by task; it is made first."""
COLUMNS = ["budget ms", "model", "flags", "dev ms", "dev cost cm", "test ms", "test cost cm", "low", "high"]
COLUMNS += ["over the latent's of 100 ms, cm", "low of it", "high of it"]


def main(name: str, models: dict[str, str]) -> None:
    torch.set_num_threads(1)
    env = make(name)
    if short(env) not in AHEAD:
        raise SystemExit(f"env {name!r}: no settings are written for it here; expected {' or '.join(AHEAD).lower()}")
    tasks = choose_tasks(env, "test").first(TEST)
    for model, folder in models.items():
        rows = committed(env, model) or [[0, IDLE, "", None, None]]
        for budget, words, dev in chosen(env, settings(short(env), model, folder), rows):
            rows.append([budget, model, words, *([dev.median, dev.cost] if dev else [None, None])])
            write(env, model, rows)
        for row in rows:
            if len(row) < len(COLUMNS) or row[-1] is None:
                row[5:] = reported(env, tasks, row[2])
                print(*row, flush=True)
                write(env, model, rows)


def reported(env: GoalEnv, tasks: TaskList, words: str) -> list[float]:
    """Of a setting, or of doing nothing: milliseconds, true cost, and by how much it is more than the reference."""
    model, budget = REFERENCE
    least = next((str(row[2]) for row in committed(env, model) if row[0] == budget), None)
    if least is None:
        raise SystemExit(f"{table(env, model)} has no row of {budget} ms, with which others are compared; make it first")
    trial = on_test(env, tasks, words)
    gaps = [own - other for own, other in zip(trial.costs, on_test(env, tasks, least).costs, strict=True)]
    return [trial.median, *interval(trial.costs), *interval(gaps)]


def on_test(env: GoalEnv, tasks: TaskList, words: str) -> Trial:
    """Of each task, once for each setting."""
    if words not in TESTS:
        TESTS[words] = tried(env, tasks, words) if words else Trial([0.0], idle_costs(env, tasks))
    return TESTS[words]


def write(env: GoalEnv, model: str, rows: list[list[Any]]) -> None:
    """The table of a model, in which what is not known yet is empty."""
    about = {"dev": DEV, "test": TEST, "ahead": AHEAD[short(env)]}
    padded = [row + [None] * (len(COLUMNS) - len(row)) for row in rows]
    write_table(table(env, model), COLUMNS, padded, about)


def committed(env: GoalEnv, model: str) -> list[list[Any]]:
    """Rows that are there."""
    path = table(env, model)
    if not path.exists():
        return []
    found = files.read_json(path)
    if found["provenance"]["hardware"] != hardware():
        raise SystemExit(f"{path} was made on {found['provenance']['hardware']}; remove it to make all of it here")
    return list(found["rows"])


def table(env: GoalEnv, model: str) -> Path:
    """Where the results are."""
    return RESULTS / f"pixels/clock-{short(env)}-{model}.table.json"


def chosen(env: GoalEnv, ladder: dict[str, int], rows: list[list[Any]]) -> Iterator[tuple[int, str, Trial | None]]:
    """Of each budget that has no row and that something fits, the flags that are best on dev tasks, or the largest."""
    done = {row[0]: row[2] for row in rows}
    tasks = choose_tasks(env, "dev").first(DEV)
    once = {} if done.keys() >= set(BUDGETS) else timed(env, tasks.first(1), ladder, max(BUDGETS))
    trials: dict[str, Trial] = {}
    for budget in [each for each in BUDGETS if each not in done]:
        fitting = varied([words for words in sorted(once, key=once.__getitem__) if once[words] <= budget])
        if budget > TRIED:
            best = next((words for words in fitting if group(words) == group(done[TRIED])), None)
        else:
            for words in fitting[:TRIALS]:
                trials[words] = trials.get(words) or tried(env, tasks, words)
                print(f"{budget:5} {trials[words].median:8.1f} ms  {trials[words].cost:6.2f} cm  {words}", flush=True)
            held = [words for words in fitting[:TRIALS] if trials[words].median <= budget]  # one plan may say otherwise than 20
            best = min(held, key=lambda words: trials[words].cost, default=None)
        if best:
            done[budget] = best
            yield budget, best, trials.get(best)


def show_flags(name: str) -> None:
    """For `experiments/pixels/run clock`, which runs the episodes."""
    env = make(name)
    for path in sorted(RESULTS.glob(f"pixels/clock-{short(env)}-*.table.json")):
        for budget, model, words, *_ in files.read_json(path)["rows"]:
            if budget in CLOSED[short(env)]:
                print(CLOSED[short(env)][budget], budget, model, words)


if __name__ == "__main__":
    if sys.argv[1] == "flags":
        show_flags(sys.argv[2])
    else:
        main(sys.argv[1], dict(each.split("=", 1) for each in sys.argv[2:]))
