"""Speeds of the arm's envs that the docs quote: steps with a rendered frame, frames, simulated steps.

    python -m experiments.speed.arm_frames          (a minute)

One core, CPU time, medians of 7 rounds interleaved. Writes `experiments/results/speed/arm-speed.table.json`.
"""

from collections.abc import Callable

import numpy as np

from experiments.speed.frames import per_second, write
from imagoal.envs import GoalEnv, make


def main() -> None:
    jobs: dict[str, Callable[[], float]] = {}
    for name in ("reach", "push"):
        env = make(name)
        jobs |= {
            f"steps with frame/s, {name}": steps(env),
            f"frames/s, {name}": frames(env),
            f"simulated steps/s, 64 states, {name}": simulated(env),
        }
    write("arm-speed", jobs)


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
