"""Speeds that the docs quote: rendered frames, window reads, the command line's door.

    python -m experiments.speed.frames DATA          (a minute; DATA is a store of Ball)

One core, CPU time where a process is its own, medians of 7 rounds interleaved. Writes
`experiments/results/speed/speed.table.json`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np

import imagoal.envs
from experiments import RESULTS, ROOT
from imagoal.envs.store import FrameCache, Store, open_cache
from imagoal.eval.episodes import write_table

ROUNDS = 7


def main(data: Path) -> None:
    jobs = {
        "rendered frames/s, vector env of 256 Ball": vector_env(256),
        "rendered frames/s, vector env of 64 Ball": vector_env(64),
        "rendered steps/s, single Ball": single_env(),
        "windows/s of 4 frames, batch 128, warm": windows(open_cache(Store.open(data)), 128),
        "seconds of `imagoal --help` (wall)": door,
    }
    write("speed", jobs)


def write(table: str, jobs: dict[str, Callable[[], float]]) -> None:
    """Run each job in turn, round after round, and write medians and extremes to `experiments/results/speed`."""
    for job in jobs.values():
        job()  # warm
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            found[name].append(job())
    rows = [[name, *np.percentile(values, [50, 0, 100]).tolist()] for name, values in found.items()]
    path = RESULTS / f"speed/{table}.table.json"
    write_table(path, ["what", "median", "lowest", "highest"], rows, {"rounds": ROUNDS})
    for name, *values in rows:
        print(f"{name:<48}" + "  ".join(f"{value:,.2f}" if value < 100 else f"{value:,.0f}" for value in values))


def per_second(work: Callable[[], int]) -> float:
    """Things done per second of CPU time."""
    began = time.process_time()
    return work() / (time.process_time() - began)


def vector_env(count: int) -> Callable[[], float]:
    env = gymnasium.make_vec("imagoal/Ball-v0", num_envs=count)
    env.reset(seed=0)
    actions = env.action_space.sample()

    def work() -> int:
        for _ in range(100):
            env.step(actions)
        return 100 * count

    return lambda: per_second(work)


def single_env() -> Callable[[], float]:
    env = imagoal.envs.make("ball")
    env.reset(seed=0)
    action = env.action_space.sample()

    def work() -> int:
        for _ in range(1000):
            env.step(action)
        return 1000

    return lambda: per_second(work)


def windows(cache: FrameCache, batch: int) -> Callable[[], float]:
    index = cache.window_index(3, 1)
    rng = np.random.default_rng(0)

    def work() -> int:
        for _ in range(100):
            cache.windows(index, rng.integers(0, len(index), batch))
        return 100 * batch

    return lambda: per_second(work)


def door() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "imagoal", "--help"], check=True, capture_output=True, cwd=ROOT, env=os.environ)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(Path(sys.argv[1]))
