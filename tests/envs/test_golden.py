"""The physics and pictures of frozen envs do not drift: a version is a promise.

To make the file anew, which only a new version of an env may: `python tests/envs/test_golden.py`.
"""

from pathlib import Path

import numpy as np
import pytest

import imagoal.envs

GOLDEN = Path(__file__).parents[1] / "golden/ball.npz"
NAMES = ["ball", "ball_gravity", "ball_gust"]


def episode(name: str) -> tuple[np.ndarray, np.ndarray]:
    """States and every tenth picture of an episode with random actions."""
    env = imagoal.envs.make(name)
    env.reset(seed=5)
    rng = np.random.default_rng(6)
    states, frames = [env.state()], [env.render()]
    for step in range(40):
        observation, *_ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
        states.append(env.state())
        if step % 10 == 9:
            frames.append(observation["image"])
    return np.stack(states), np.stack(frames)


@pytest.mark.parametrize("name", NAMES)
def test_episode_is_the_golden_one(name: str) -> None:
    states, frames = episode(name)
    with np.load(GOLDEN, allow_pickle=False) as golden:
        assert np.allclose(states, golden[f"{name}_states"], atol=1e-9)
        assert np.abs(frames.astype(int) - golden[f"{name}_frames"]).max() <= 1  # another libm may round otherwise


if __name__ == "__main__":
    arrays = {}
    for each in NAMES:
        arrays[f"{each}_states"], arrays[f"{each}_frames"] = episode(each)
    np.savez_compressed(GOLDEN, **arrays)
