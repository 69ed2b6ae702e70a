"""Speeds that the docs quote: rendered frames, window reads, the command line's door; with no DATA, the arm's envs.

    python -m experiments.speed.frames DATA          (a minute; DATA is a store of Ball; writes `speed.table.json`)
    python -m experiments.speed.frames               (a minute; writes `arm-speed.table.json`)

One core, CPU time where a process is its own, medians of 7 rounds interleaved, in `experiments/results/speed`.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from experiments import ROOT, publish
from imagoal.envs import make
from imagoal.envs.store import FrameCache, Store, open_cache
from imagoal.eval.latency import take_turns

ROUNDS = 7
Jobs = dict[str, tuple[int, Callable[[], Any]]]
"""How many things are done by what."""


def main(*data: str) -> None:
    jobs = {name: job for env in ("reach", "push") for name, job in arm(env).items()}
    jobs = ball(open_cache(Store.open(Path(data[0])))) if data else jobs
    times = take_turns({name: work for name, (_, work) in jobs.items()}, ROUNDS, clock=time.process_time)
    found = {name: [count / seconds for seconds in times[name]] for name, (count, _) in jobs.items()}
    if data:
        found |= take_turns({"seconds of `imagoal --help` (wall)": door}, ROUNDS, clock=time.perf_counter)
    rows = [[name, *np.percentile(values, [50, 0, 100]).tolist()] for name, values in found.items()]
    publish(f"speed/{'speed' if data else 'arm-speed'}", ["what", "median", "lowest", "highest"], rows, {"rounds": ROUNDS})


def ball(cache: FrameCache) -> Jobs:
    single, index, rng = make("ball"), cache.window_index(3, 1), np.random.default_rng(0)
    many = {count: gymnasium.make_vec("imagoal/Ball-v0", num_envs=count) for count in (256, 64)}
    return {
        **{f"rendered frames/s, vector env of {n} Ball": (100 * n, repeated(env, 100)) for n, env in many.items()},
        "rendered steps/s, single Ball": (1000, repeated(single, 1000)),
        "windows/s of 4 frames, batch 128, warm": (
            12_800,
            lambda: [cache.windows(index, rng.integers(0, len(index), 128)) for _ in range(100)],
        ),
    }


def arm(name: str) -> Jobs:
    """One env as an agent drives it: random actions, every frame rendered, a new task every 30 steps; and its parts."""
    env, rng = make(name), np.random.default_rng(0)
    states = np.stack([env.sample_task(np.random.default_rng(seed)).start for seed in range(300)])
    actions = np.random.default_rng(0).uniform(-1, 1, (64, 14, 2))

    def steps() -> None:
        for step in range(300):
            if step % 30 == 0:
                env.reset(seed=step)
            env.step(rng.uniform(-1, 1, 2).astype(np.float32))

    return {
        f"steps with frame/s, {name}": (300, steps),
        f"frames/s, {name}": (300, lambda: env.render_states(states)),
        f"simulated steps/s, 64 states, {name}": (64 * 14, lambda: env.simulate(states[:64], actions)),
    }


def repeated(env: Any, count: int) -> Callable[[], Any]:
    """The same action, again and again."""
    env.reset(seed=0)
    action = env.action_space.sample()
    return lambda: [env.step(action) for _ in range(count)]


def door() -> None:
    subprocess.run([sys.executable, "-m", "imagoal", "--help"], check=True, capture_output=True, cwd=ROOT)


if __name__ == "__main__":
    main(*sys.argv[1:])
