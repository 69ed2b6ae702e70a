"""What chooses the actions while data are collected. A behaviour is made anew for each episode."""

from collections.abc import Callable

import numpy as np

from imagoal.envs._types import Behaviour, Floats, GoalEnv, Rng
from imagoal.errors import UsageError

CORRELATION = 0.7
"""Of the noise, from one step to the next: uncorrelated pushes hardly move anything."""


NEAR = 0.1
"""Metres around the object in which `through` aims."""


def noise(env: GoalEnv, rng: Rng) -> Behaviour:
    """Correlated random actions of a strength drawn for the episode; it pauses at times: doing nothing is an action too."""
    size = env.action_space.shape or ()
    strength = rng.uniform(0.2, 1.5)
    value = rng.normal(size=size)

    def act(state: Floats, goal: Floats) -> Floats:
        nonlocal value
        value = CORRELATION * value + np.sqrt(1 - CORRELATION**2) * rng.normal(size=size)
        pause = rng.random() < 0.15
        return np.zeros(size) if pause else np.clip(strength * value, -1, 1)

    return act


def expert(env: GoalEnv, rng: Rng) -> Behaviour:
    """The env's scripted expert on the episode's own goal, with noise of a strength drawn for the episode."""
    spread = rng.uniform(0.0, 0.5)

    def act(state: Floats, goal: Floats) -> Floats:
        action = env.expert(state, goal)
        return np.clip(action + spread * rng.normal(size=action.shape), -1, 1)

    return act


def waypoints(env: GoalEnv, rng: Rng) -> Behaviour:
    """The noisy expert, with a new goal every 5 to 20 steps."""
    follow = expert(env, rng)
    goal, left = env.sample_task(rng).goal, 0

    def act(state: Floats, _: Floats) -> Floats:
        nonlocal goal, left
        if left == 0:
            goal, left = env.sample_task(rng).goal, int(rng.integers(5, 21))
        left -= 1
        return follow(state, goal)

    return act


def through(env: GoalEnv, rng: Rng) -> Behaviour:
    """The agent's body goes, for 2 to 6 steps at a time, towards a random point near the object, and so often through it."""
    left, offset = 0, np.zeros(env.object_size)

    def act(state: Floats, _: Floats) -> Floats:
        nonlocal left, offset
        if left == 0:
            left, offset = int(rng.integers(2, 7)), rng.normal(size=env.object_size)
            offset *= rng.uniform(0, NEAR) / np.linalg.norm(offset)
        left -= 1
        action = env.approach(state, env.visible(state)[: env.object_size] + offset)
        return np.clip(action + 0.3 * rng.normal(size=action.shape), -1, 1)

    return act


def wander(env: GoalEnv, rng: Rng) -> Behaviour:
    """The agent's body goes to where it is at the start of random tasks, a new one every 3 to 12 steps, with noise."""
    left, point = 0, np.zeros(0)
    spread = rng.uniform(0.0, 0.5)

    def act(state: Floats, _: Floats) -> Floats:
        nonlocal left, point
        if left == 0:
            left, point = int(rng.integers(3, 13)), env.visible(env.sample_task(rng).start)[-env.object_size :]
        left -= 1
        action = env.approach(state, point)
        return np.clip(action + spread * rng.normal(size=action.shape), -1, 1)

    return act


BEHAVIOURS: dict[str, Callable[[GoalEnv, Rng], Behaviour]] = {
    "noise": noise,
    "expert": expert,
    "waypoints": waypoints,
    "through": through,
    "wander": wander,
}


def behaviour(env: GoalEnv, name: str, rng: Rng) -> Behaviour:
    """A fresh behaviour for one episode.

    Raises:
        UsageError: no behaviour has that name.
    """
    if name not in BEHAVIOURS:
        raise UsageError(f"behaviour {name!r}; expected one of {', '.join(BEHAVIOURS)}, or 'mixed' for the env's own mix")
    return BEHAVIOURS[name](env, rng)
