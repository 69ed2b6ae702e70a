"""The smallest search that is not worse than an unlimited one, by env: what the defaults are chosen by.

    U="--planner.num-samples 300 --planner.num-elites 30 --planner.iterations 30"
    imagoal eval --env ball --tasks dev --count 60 $U --planner.init-std 1 --run runs/bench/dev/ball-300x30
    imagoal eval --env push --tasks dev $U --run runs/bench/dev/push-300x30
    imagoal eval --env push --tasks dev --planner.num-samples 32 --planner.num-elites 4 --planner.iterations 2 --run ...
    python benchmarks/budgets.py runs/bench/dev          (a second; the rows above, hours)

Dev tasks, shipped weights, one row for each result in the folder, paired with the row of 300 x 30 of its env on the tasks
that both have. A budget is not worse if the lower end of the difference is above -3 points, as `imagoal compare` has it.
Milliseconds are of whatever else the machine did meanwhile. Writes `benchmarks/results/budgets.table.json`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagoal.eval import _result
from imagoal.eval._compare import compare

UNLIMITED = (300, 30)
COLUMNS = [
    "env", "samples", "iterations", "first std", "correlation", "tasks", "success %", "unlimited %", "difference", "from", "to",
    "not worse", "ms per plan, p50", "weights",
]  # fmt: skip


def main(folder: Path) -> None:
    rows = [_result.load(path) for path in sorted(folder.glob("*/result.json"))]
    unlimited = {row["env"]: row for row in rows if budget(row) == UNLIMITED}
    table = [line(row, unlimited[row["env"]]) for row in sorted(rows, key=order) if row["env"] in unlimited]
    _result.write_table(Path(__file__).parent / "results/budgets.table.json", COLUMNS, table, {"rows": len(table)})
    for cells in [COLUMNS, *table]:
        print("  ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells[:-1]))


def order(row: Mapping[str, Any]) -> tuple[str, int, int]:
    samples, iterations = budget(row)
    return row["env"], samples * iterations, samples


def budget(row: Mapping[str, Any]) -> tuple[int, int]:
    planner = row["agent"]["planner"]
    return planner["num_samples"], planner["iterations"]


def line(row: Mapping[str, Any], unlimited: Mapping[str, Any]) -> list[Any]:
    shared = min(len(row["episodes"]), len(unlimited["episodes"]))
    found = compare(*({**each, "episodes": each["episodes"][:shared]} for each in (row, unlimited)))
    success, planner = found.success[found.headline], row["agent"]["planner"]
    away = success.difference
    shares = [100 * share for share in (success.first, success.second, away.rate, away.low, away.high)]
    latency = row["summary"]["latency_ms"]["per_plan"]["p50"]
    about = [found.env, *budget(row), planner["init_std"], planner.get("correlation", 0.0), found.n]
    return [*about, *shares, found.not_worse(), latency, row["provenance"]["weights_hash"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
