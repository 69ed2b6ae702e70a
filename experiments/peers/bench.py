"""Our planners and those of other libraries side by side: the same world model, the same process, the same judge.

    scripts/bench-peers [--quick] [--rounds N]          (some ten minutes on one core; --quick two, and writes nothing)

Equal budgets (on Ball's shipped world model, and for speed alone on a network of the published size), what planners add to
their cost function, eight problems at once, and each planner's fastest setting that is as good as the field's default budget,
found by as many trials for everyone. CPU time on one thread. Writes `experiments/results/peers/peers.json`, from which
`python -m experiments.book` makes the page.
"""

import argparse
import contextlib
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import torch

from experiments import RESULTS
from experiments.peers import table
from imagoal import files
from imagoal.errors import ImagoalError, ResourceError
from imagoal.eval.episodes import provenance

PATH = RESULTS / "peers/peers.json"
PEERS = ("stable-worldmodel", "torchrl", "pytorch-mppi", "pytorch-icem", "mbrl")
PROBLEMS, STEPS = 8, 3
"""Problems side by side; steps of a task of which plans are compared."""


def main() -> None:
    flags = parsed()
    torch.set_num_threads(1)
    began = time.perf_counter()
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):  # a peer prints after each plan
        result = measure(flags.rounds, flags.quick)
    origin = provenance(vars(flags), {}, time.perf_counter() - began)
    command = origin.pop("command")
    result = {"schema": table.SCHEMA, "command": command, **result, "provenance": origin}
    if not flags.quick:
        files.write_json(PATH, result)
    print(table.markdown(result))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each comparison of times")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, tasks and trials, to see that it runs; writes nothing"
    )
    flags = parser.parse_args()
    if flags.rounds < 1:
        parser.error(f"--rounds {flags.rounds}; expected 1 or more")
    return flags


def measure(rounds: int, quick: bool) -> dict[str, Any]:
    """Everything.

    Raises:
        ResourceError: the peers are not installed here.
    """
    try:
        from experiments.peers import runs
    except ModuleNotFoundError as error:
        raise ResourceError(
            f"{error.name} is not installed: peers need an environment of their own; run scripts/bench-peers, which makes it"
        ) from error
    rounds, trials = (1, 2) if quick else (rounds, None)
    tasks = 3 if quick else 20
    paths = [runs.moments(task, STEPS) for task in range(max(tasks, PROBLEMS))]
    problems = [path[0].problem for path in paths[:PROBLEMS]]
    return {
        "peers": {name: version(name) for name in PEERS},
        "horizon": runs.SHORT,
        "limit": runs.LIMIT,
        "trials": trials or 12,
        "tasks": tasks,
        "draws": runs.DRAWS,
        "fixed_budget": [*runs.fixed_budget(problems, rounds), *runs.transformer(rounds)],
        "overhead": runs.overhead(problems[0], 5 * rounds),
        "batching": runs.batching(problems, rounds),
        "quality": runs.quality(paths[:tasks], trials),
    }


if __name__ == "__main__":
    try:
        main()
    except ImagoalError as error:
        sys.exit(str(error))
