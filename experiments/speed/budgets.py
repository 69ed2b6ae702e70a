"""The smallest search that is not worse than an unlimited one, by env: what the defaults are chosen by.

    B="imagoal eval --tasks dev --env"
    $B push --planner.num-samples 300 --planner.num-elites 30 --planner.iterations 30 --run runs/bench/dev/push-300x30
    $B push --planner.num-samples 32 --planner.num-elites 4 --planner.iterations 2 --run runs/bench/dev/push-32x2
    $B ball --planner.num-samples 32 --planner.num-elites 4 --planner.iterations 1 --planner.init-std 2 \\
        --planner.correlation 0.5 --run runs/bench/dev/ball-32x1                   (and so on: half an hour; 300 x 30, hours)
    python -m experiments.speed.budgets runs/bench/dev

Dev tasks, shipped weights, one row for each result in the folder, paired with the row of 300 x 30 of its env; where there is
none, with success in every task, which no search exceeds. A budget is not worse if the lower end of the difference is above -3
points, as `imagoal compare` has it. Milliseconds were taken beside other work, so they are upper bounds. Writes
`experiments/results/speed/budgets.table.json`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import publish
from imagoal.eval.episodes import load_result
from imagoal.eval.show import compare

UNLIMITED = (300, 30)
COLUMNS = [
    "env", "samples", "iterations", "first std", "correlation", "tasks", "success %", "difference", "from", "to",
    "unlimited measured", "not worse", "ms per action, p50", "p90", "weights",
]  # fmt: skip


def main(folder: Path) -> None:
    rows = [load_result(path) for path in sorted(folder.glob("*/result.json"))]
    unlimited = {row["env"]: row for row in rows if budget(row) == UNLIMITED}
    table = [line(row, unlimited.get(row["env"])) for row in sorted(rows, key=order)]
    publish("speed/budgets", COLUMNS, table, {"rows": len(table)})


def order(row: Mapping[str, Any]) -> tuple[str, int, int]:
    samples, iterations = budget(row)
    return row["env"], samples * iterations, samples


def budget(row: Mapping[str, Any]) -> tuple[int, int]:
    planner = row["agent"]["planner"]
    return planner["num_samples"], planner["iterations"]


def line(row: Mapping[str, Any], unlimited: Mapping[str, Any] | None) -> list[Any]:
    kind, planner = row["protocol"]["headline"], row["agent"]["planner"]
    perfect = {**row, "episodes": [{**episode, kind: True} for episode in row["episodes"]]}
    found = compare(row, unlimited or perfect)
    away = found.success[kind].difference
    about = [row["env"], *budget(row), planner["init_std"], planner.get("correlation", 0.0), found.n]
    shares = [100 * share for share in (found.success[kind].first, away.rate, away.low, away.high)]
    times = row["summary"]["latency_ms"]["per_action"]
    verdict = [unlimited is not None, found.not_worse()]
    return [*about, *shares, *verdict, times["p50"], times["p90"], row["provenance"]["weights_hash"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
