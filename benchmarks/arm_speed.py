"""Speeds of the arm's envs that the docs quote: steps with a rendered frame, frames, simulated steps.

    python benchmarks/arm_speed.py          (a minute)

One core, CPU time, medians of 7 rounds interleaved. Writes `benchmarks/results/arm-speed.table.json`.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagoal.envs import GoalEnv, make
from imagoal.eval import _result

ROOT = Path(__file__).parents[1]
ROUNDS = 7


def main() -> None:
    jobs: dict[str, Callable[[], float]] = {}
    for name in ("reach", "push"):
        env = make(name)
        jobs |= {
            f"steps with frame/s, {name}": steps(env),
            f"frames/s, {name}": frames(env),
            f"simulated steps/s, 64 states, {name}": simulated(env),
        }
    for job in jobs.values():
        job()  # warm
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            found[name].append(job())
    rows = [[name, *np.percentile(values, [50, 0, 100]).tolist()] for name, values in found.items()]
    path = ROOT / "benchmarks/results/arm-speed.table.json"
    _result.write_table(path, ["what", "median", "lowest", "highest"], rows, {"rounds": ROUNDS})
    for name, *values in rows:
        print(f"{name:<44}" + "  ".join(f"{value:,.0f}" for value in values))


def per_second(work: Callable[[], int]) -> float:
    """Things done per second of CPU time."""
    began = time.process_time()
    return work() / (time.process_time() - began)


def steps(env: GoalEnv) -> Callable[[], float]:
    """One env as an agent drives it: random actions, every frame rendered, a new task every 30 steps."""
    rng = np.random.default_rng(0)

    def work() -> int:
        for step in range(300):
            if step % 30 == 0:
                env.reset(seed=step)
            env.step(rng.uniform(-1, 1, 2).astype(np.float32))
        return 300

    return lambda: per_second(work)


def frames(env: GoalEnv) -> Callable[[], float]:
    states = np.stack([env.sample_task(np.random.default_rng(seed)).start for seed in range(300)])
    return lambda: per_second(lambda: len(env.render_states(states)))


def simulated(env: GoalEnv) -> Callable[[], float]:
    states = np.stack([env.sample_task(np.random.default_rng(seed)).start for seed in range(64)])
    actions = np.random.default_rng(0).uniform(-1, 1, (64, 14, 2))
    return lambda: per_second(lambda: env.simulate(states, actions).shape[1] * len(states))


if __name__ == "__main__":
    main()
