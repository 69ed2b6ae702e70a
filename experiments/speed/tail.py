"""How long plans take, the slowest too: on an idle machine, compiled, and beside a program that keeps one core busy.

    python -m experiments.speed.tail          (five minutes; nothing else should run)

The shipped agents, each planning by itself in the episodes of its dev tasks, on one thread: `imagoal bench`, wall-clock time.
Each row names the committed result whose success goes with the same weights and settings; the commit of the planners stands
in both files. Writes `experiments/results/speed/tail.table.json`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import ROOT, ROWS, publish
from imagoal.eval.episodes import budget, load_result

ENVS = {"ball": "Ball", "reach": "Reach", "push": "Push"}
PLANS = 662
"""The fewest of which a 99th percentile is given."""
COLUMNS = ["env", "planner", "beside", "plans", "p50 ms", "p90 ms", "p99 ms", "p99 / p50", "weights", "success %", "of"]


def main() -> None:
    ways: tuple[tuple[str, Sequence[str]], ...] = (("nothing", ()), ("one busy core", ()), ("nothing", ("--compile",)))
    publish("speed/tail", COLUMNS, [row(env, *way) for env in ENVS for way in ways], {"plans": PLANS})


def row(env: str, beside: str, more: Sequence[str]) -> list[Any]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside != "nothing" else None
    try:
        result = bench(env, more)
    finally:
        if busy:
            busy.kill()
            busy.wait()
    times = result["rows"][0]["wall_ms"]["per_plan"]
    setting = budget(result["setting"]["agent"]["planner"])
    ratio = times["p99"] / times["p50"]
    measured = [times["p50"], times["p90"], times["p99"], ratio, result["provenance"]["weights_hash"]]
    return [env, setting, beside, result["rows"][0]["n"], *measured, *success(env)]


def bench(env: str, more: Sequence[str]) -> dict[str, Any]:
    """What `imagoal bench` measures in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.json"
        flags = ["--env", env, "--plans", str(PLANS), "--batches", "1", "--out", str(out), *more]
        subprocess.run([sys.executable, "-m", "imagoal", "bench", *flags], check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(out.read_text()))


def success(env: str) -> list[Any]:
    """In percent, of the row that the shipped weights come from, and its file."""
    path = ROWS / ENVS[env] / "latent-s0.json"
    result = load_result(path)
    return [100 * result["summary"]["success"][result["protocol"]["headline"]]["rate"], str(path.relative_to(ROOT))]


if __name__ == "__main__":
    main()
