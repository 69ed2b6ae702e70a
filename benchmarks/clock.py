"""Equal time: how good a plan each world model makes in so many milliseconds.

    python benchmarks/clock.py ENV latent=Ball-latent regression=Ball-pixel_regression diffusion=Ball-pixel_diffusion
    python benchmarks/clock.py flags ENV           (prints tasks, budget, model and flags of whole episodes to run)

Every model has a ladder of settings: samples, iterations, horizon and, for diffusion, denoising steps; pixel models are
compiled, and in bf16 where that is faster, but for the smallest searches, of which judging the finalists in fp32 would take
most. A plan of each setting is timed once. For each budget the largest settings that fit it are tried: on the first 20 dev
tasks the first plan is carried out by the true simulator without planning again, and its *true cost* is the mean distance from
the goal in centimetres over the next env steps, the same number for all. The best of them is chosen for the budget, and
reported on the first 60 test tasks, also as a paired difference to the latent model's of 100 ms; beyond 3.3 s the largest is.
Milliseconds are CPU time of one thread, of a first plan.

Writes `benchmarks/results/clock-ENV.table.json` after each budget. What is there stays and is not done again. No plan has a
deadline: whatever was chosen replays on any machine.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagoal import files, flags
from imagoal.agents._types import Agent
from imagoal.agents.mpc import MPC
from imagoal.commands.eval import Eval
from imagoal.envs import GoalEnv, make, short_name
from imagoal.envs._make import env_id
from imagoal.eval import _result
from imagoal.eval._build import Built, Request, build
from imagoal.eval._tasks import TaskList, choose
from imagoal.world_model import Observation, WorldModel
from imagoal.world_model._frames import to_tensor
from imagoal.world_model._precision import bf16_units

RESULTS = Path(__file__).parents[1] / "benchmarks/results"
BUDGETS = {33: 6, 100: 6, 330: 6, 1000: 6, 3300: 2, 10_000: 1, 30_000: 1}
"""Milliseconds, and how many settings are tried for them."""
CLOSED = {"Ball": {33: 200, 100: 200, 330: 60, 1000: 60}, "Push": {100: 60, 1000: 60}}
"""Of which budgets whole episodes are run with what was chosen, and of how many tasks."""
DEV, TEST = 20, 60
"""Tasks that choose, and tasks that report."""
AHEAD = {"Ball": 8, "Push": 14}
"""Env steps over which a plan is judged."""
ELITES = {4: 2, 8: 2, 16: 3, 32: 4, 64: 8, 128: 16, 300: 30}
LADDERS = {
    "latent": [(8, 1), (16, 1), (32, 1), (32, 2), (64, 3), (128, 3), (300, 5), (300, 15), (300, 50), (300, 150), (300, 500)],
    "pixel": [
        (4, 1),
        (8, 1),
        (16, 1),
        (16, 2),
        (32, 1),
        (32, 2),
        (64, 2),
        (64, 3),
        (128, 2),
        (128, 3),
        (300, 3),
        (300, 5),
        (300, 15),
    ],
}
"""Samples and iterations."""
SMALLEST = [(4, 1), (8, 1)]
"""Samples and iterations of pixel models in fp32, whose plans are short as well: half of the least horizon, and all of it."""
HORIZONS = {"Ball": {"latent": (8,), "pixel": (4, 6, 8)}, "Push": {"latent": (7,), "pixel": (5, 7)}}
"""Steps of the model that a plan has: for the latent model those it ships with."""
COSTS = {"Ball": "", "Push": " --cost latent --readouts Push-latent"}
"""Where what pixel models imagine is compared, if not between frames."""
MODELS: dict[tuple[str, int | None, str], WorldModel] = {}
"""Those that were built, by name, denoising steps and precision: each is compiled once."""
TESTS: dict[str, "Trial"] = {}
"""By flags."""
IDLE = "no action"
"""A row of the table: what becomes of those who do nothing."""
REFERENCE = "latent", 100
"""Model and budget of the plans that all others are compared with, task by task; named first, it is there for the others."""
COLUMNS = ["budget ms", "model", "flags", "dev ms", "dev cost cm", "test ms", "test cost cm", "low", "high"]
COLUMNS += ["over the latent's of 100 ms, cm", "low of it", "high of it"]


@dataclass(frozen=True)
class Trial:
    """A setting, what its plans took and how good they were.

    Attributes:
        milliseconds: of each plan.
        costs: true, of each plan, in centimetres.
    """

    milliseconds: list[float]
    costs: list[float]

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def cost(self) -> float:
        """Centimetres."""
        return statistics.mean(self.costs)


def main(name: str, models: dict[str, str]) -> None:
    torch.set_num_threads(1)
    env = make(name)
    if short(env) not in AHEAD:
        raise SystemExit(f"env {name!r}: no settings are written for it here; expected one of {', '.join(AHEAD)}")
    tasks = choose(env, "test").first(TEST)
    for model, folder in models.items():
        choose_settings(env, model, folder)
    write(env, IDLE, [[0, IDLE, "", None, None, *reported(env, tasks, "")]])
    for model in models:
        rows = rows_of(env, model)
        for row in rows:
            if len(row) < len(COLUMNS) or row[-1] is None:
                row[5:] = reported(env, tasks, str(row[2]))
                print(*row, flush=True)
                write(env, model, rows)


def choose_settings(env: GoalEnv, model: str, folder: str) -> None:
    """Put what is best on dev tasks in the table, of each budget that is not there."""
    rows = rows_of(env, model)
    owed = {budget: count for budget, count in BUDGETS.items() if budget not in {row[0] for row in rows}}
    for budget, words, dev in chosen(env, settings(short(env), model, folder), owed):
        judged = [dev.median, dev.cost] if dev else [None, None]
        rows.append([budget, model, words, *judged])
        write(env, model, rows)


def reported(env: GoalEnv, tasks: TaskList, words: str) -> list[object]:
    """Of a setting, or of doing nothing: milliseconds, true cost, and by how much it is more than the reference."""
    trial = on_test(env, tasks, words)
    least = next((str(row[2]) for row in committed(env) if (row[1], row[0]) == REFERENCE), None)
    if least is None:
        return [trial.median, *interval(trial.costs), None, None, None]
    gaps = [own - other for own, other in zip(trial.costs, on_test(env, tasks, least).costs, strict=True)]
    return [trial.median, *interval(trial.costs), *interval(gaps)]


def on_test(env: GoalEnv, tasks: TaskList, words: str) -> Trial:
    """Of each task, once for each setting."""
    if words not in TESTS:
        TESTS[words] = tried(env, tasks, words) if words else Trial([0.0], idle_costs(env, tasks))
    return TESTS[words]


def write(env: GoalEnv, model: str, rows: list[list[Any]]) -> None:
    """Put a model's rows in the table, in place of those that it had."""
    about = {"dev": DEV, "test": TEST, "ahead": AHEAD[short(env)]}
    padded = [row + [None] * (len(COLUMNS) - len(row)) for row in rows]
    _result.write_table(table(env), COLUMNS, [row for row in committed(env) if row[1] != model] + padded, about)


def rows_of(env: GoalEnv, model: str) -> list[list[Any]]:
    """A model's rows that are there."""
    return [row for row in committed(env) if row[1] == model]


def committed(env: GoalEnv) -> list[list[Any]]:
    """Rows that are there."""
    return list(files.read_json(table(env))["rows"]) if table(env).exists() else []


def short(env: GoalEnv) -> str:
    """Name of an env."""
    return short_name(env_id(env))


def table(env: GoalEnv) -> Path:
    """Where the results are."""
    return RESULTS / f"clock-{short(env)}.table.json"


def settings(env: str, model: str, folder: str) -> dict[str, int]:
    """Flags of every setting of a model, and of how many denoised frames or predicted latents its plans are made."""
    kind = "latent" if "latent" in model else "pixel"
    fast = "" if kind == "latent" else COSTS[env] + " --compile"
    half = " --precision bf16" if fast and bf16_units() else ""
    shapes = [(*size, horizon, half) for horizon in HORIZONS[env][kind] for size in LADDERS[kind]]
    if half:
        least = min(HORIZONS[env][kind])
        shapes += [(*size, horizon, "") for horizon in (least // 2, least) for size in SMALLEST]
    return {
        f"--world-model {folder} --planner.num-samples {samples} --planner.num-elites {ELITES[samples]} "
        f"--planner.iterations {iterations} --planner.horizon {horizon}{fast}{precision}"
        + (f" --denoising-steps {steps}" if "diffusion" in model else ""): samples * iterations * horizon * steps
        for samples, iterations, horizon, precision in shapes
        for steps in ((1, 3) if "diffusion" in model else (1,))
    }


def timed(env: GoalEnv, tasks: TaskList, ladder: dict[str, int]) -> dict[str, float]:
    """Milliseconds of a plan of every setting that can fit a budget, as the largest before it foretells."""
    found: dict[str, float] = {}
    pace = 0.0
    for words, work in sorted(ladder.items(), key=lambda each: each[1]):
        if pace * work <= max(BUDGETS):
            found[words] = tried(env, tasks, words).median
            pace = 0.8 * found[words] / work  # with room for one that is less slow
    return found


def chosen(env: GoalEnv, ladder: dict[str, int], budgets: dict[int, int]) -> Iterator[tuple[int, str, Trial | None]]:
    """Of each budget that something fits, the flags that are best on dev tasks; nothing is tried where there is no choice."""
    tasks = choose(env, "dev").first(DEV)
    once = timed(env, tasks.first(1), ladder)
    trials: dict[str, Trial] = {}
    for budget, count in budgets.items():
        fitting = sorted((words for words in once if once[words] <= budget), key=once.__getitem__)[-count:]
        for words in fitting if count > 1 else []:
            if words not in trials:
                trials[words] = tried(env, tasks, words)
                print(f"{trials[words].median:8.1f} ms  {trials[words].cost:6.2f} cm  {words}", flush=True)
        if fitting:
            best = min(fitting, key=lambda words: trials[words].cost if words in trials else 0.0)
            yield budget, best, trials.get(best)


def tried(env: GoalEnv, tasks: TaskList, words: str) -> Trial:
    """Every task's first plan, carried out to its end."""
    agent = agent_from(env, tasks, words)
    milliseconds, costs = [], []
    for index in range(len(tasks)):
        began = time.thread_time()
        actions = first_plan(env, agent, tasks, index)
        milliseconds.append(1000 * (time.thread_time() - began))
        costs.append(100 * true_cost(env, tasks, index, actions))
    return Trial(milliseconds, costs)


def agent_from(env: GoalEnv, tasks: TaskList, words: str) -> MPC:
    """What flags build, around the world model that was compiled before, if it was; else it is compiled now, by a plan."""
    request, built = asked(env, words), built_from(env, words)
    assert built.planning
    key = request.world_model, request.denoising_steps, request.precision
    new = key not in MODELS
    agent = MPC(env, replace(built.planning, model=MODELS.setdefault(key, built.planning.model)))
    if new:
        first_plan(env, agent, tasks, 0)
    return agent


def asked(env: GoalEnv, words: str) -> Request:
    """What flags of `imagoal eval` ask for."""
    return flags.parse(Eval, ["--env", env_id(env), *words.split()], "imagoal eval").request()


def built_from(env: GoalEnv, words: str) -> Built:
    """What they build."""
    return build(asked(env, words), env)


def first_plan(env: GoalEnv, agent: Agent, tasks: TaskList, index: int) -> torch.Tensor:
    """Env actions (L, A) of the first plan."""
    task = tasks.task(index)
    frame = to_tensor(env.render_states(task.start[None]))
    agent.reset(Observation(to_tensor(task.goal_image[None])), [int(tasks.seeds[index])])
    plan = agent.act(Observation(frame)).plan
    assert plan is not None
    return plan.actions[0].reshape(-1, (env.action_space.shape or (1,))[0])


def true_cost(env: GoalEnv, tasks: TaskList, index: int, actions: torch.Tensor) -> float:
    """Mean distance in metres from the goal over the next steps; after a plan's end nothing is done."""
    steps = AHEAD[short(env)]
    ahead = np.zeros((steps, actions.shape[1]))
    ahead[: len(actions)] = actions[:steps].double().numpy()
    states = env.simulate(tasks.starts[index][None], ahead[None])[0]
    return float(env.task_distance(states, np.broadcast_to(tasks.goals[index], states.shape)).mean())


def idle_costs(env: GoalEnv, tasks: TaskList) -> list[float]:
    """Centimetres, of each task, where nothing is done."""
    nothing = torch.zeros(0, (env.action_space.shape or (1,))[0])
    return [100 * true_cost(env, tasks, index, nothing) for index in range(len(tasks))]


def interval(costs: list[float]) -> list[float]:
    """Mean, and its 95 % interval over tasks by the bootstrap."""
    draws = np.random.default_rng(0).choice(costs, (2000, len(costs))).mean(1)
    return [float(np.mean(costs)), *np.percentile(draws, [2.5, 97.5]).tolist()]


def show_flags(name: str) -> None:
    """For `benchmarks/pixels clock`, which runs the episodes."""
    env = make(name)
    for budget, model, words, *_ in committed(env):
        if budget in CLOSED[short(env)]:
            print(CLOSED[short(env)][budget], budget, model, words)


if __name__ == "__main__":
    if sys.argv[1] == "flags":
        show_flags(sys.argv[2])
    else:
        main(sys.argv[1], dict(each.split("=", 1) for each in sys.argv[2:]))
