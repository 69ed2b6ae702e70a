"""States put where a question needs them: the object moved with all else alike, a goal's surroundings, an expert's path.

Shapes: M states, S state size, V visible coordinates, G goals, W ways away from goals, R radii, P paths of T steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagoal.envs import Bools, Floats, GoalEnv, Rng, Task
from imagoal.envs.store import Ints

STEP = 1e-5
"""Of a state variable, for derivatives."""
CLOSE = 1e-3
"""Metres by which a placed object may miss its place."""
STILL = 1e-3
"""Spread, in its own unit, up to which a state variable does not vary."""


@dataclass(frozen=True)
class Ways:
    """The object on straight ways away from goals, all else as in the goal.

    Attributes:
        radii: f64 (R,), metres from the goal; the first is 0.
        goals: i64 (W,), which goal a way begins at.
        states: f64 (W, R, S).
        inside: bool (W, R), whether the object is where the data show it too; a way that left the data does not come back.
    """

    radii: Floats
    goals: Ints
    states: Floats
    inside: Bools


def placed_states(env: GoalEnv, states: Floats, wanted: Floats) -> tuple[Floats, Bools]:
    """States (M, S) changed as little as will do to show positions (M, V), and which of them (M,) do, to a millimetre.

    Gauss-Newton on `visible`, so that no env has to say which of its state variables place what: those that place nothing
    stay as they are. The states are for rendering alone: bodies may overlap.
    """
    states = states.copy()
    for _ in range(10):
        missing = wanted - env.visible(states)
        states += np.einsum("msv,mv->ms", np.linalg.pinv(_derivative(env, states), rcond=1e-4), missing)
    missed = np.linalg.norm(wanted - env.visible(states), axis=1)
    return states, np.asarray(missed < CLOSE)


def moved_states(env: GoalEnv, states: Floats, length: float, body: bool, rng: Rng) -> tuple[Floats, Bools]:
    """States (M, S) with the object, or the agent's body, moved by `length` in a random direction, and which of them hold."""
    shift = np.zeros_like(env.visible(states))
    part = shift[:, env.object_size :] if body else shift[:, : env.object_size]
    part[:] = length * _directions(len(part), part.shape[1], rng)
    return placed_states(env, states, env.visible(states) + shift)


def ways_from(env: GoalEnv, goals: Floats, each: int, radii: Floats, seen: Floats, rng: Rng) -> Ways:
    """`each` random ways away from each of the goals (G, S), within the range of what the data show (F, V)."""
    starts, size = np.repeat(goals, each, 0), env.object_size
    wanted = np.repeat(env.visible(starts)[:, None], len(radii), 1)
    wanted[..., :size] += radii[:, None] * _directions(len(starts), size, rng)[:, None]
    low, high = seen[:, :size].min(0), seen[:, :size].max(0)
    inside = np.all((wanted[..., :size] >= low) & (wanted[..., :size] <= high), -1)
    inside[:, 0] = True
    states, held = placed_states(env, np.repeat(starts, len(radii), 0), wanted.reshape(-1, wanted.shape[-1]))
    inside = np.logical_and.accumulate(inside & held.reshape(inside.shape), axis=1)
    return Ways(radii, np.repeat(np.arange(len(goals)), each), states.reshape(*inside.shape, -1), inside)


def expert_paths(env: GoalEnv, tasks: Sequence[Task]) -> Floats:
    """States (P, T + 1, S) of the env's expert on these tasks, without random kicks."""
    states, goals = (np.stack([getattr(task, name) for task in tasks]) for name in ("start", "goal"))
    path = [states]
    for _ in range(env.max_episode_steps):
        actions = np.clip(env.expert(path[-1], goals), -1, 1)
        path.append(env.simulate(path[-1], actions[:, None])[:, 0])
    return np.stack(path, 1)


def shown_variables(env: GoalEnv, states: Floats) -> list[int]:
    """State variables of states (M, S) that a picture shows, i.e. that change pictures when they alone change as usual.

    Those that `visible` gives as they are are left out, and so are those that hardly vary.
    """
    spread, visible = states.std(0), env.visible(states)
    few = states[:: max(1, len(states) // 8)][:8]
    frames, found = env.render_states(few), []
    for variable in np.flatnonzero(spread > STILL):
        changed = few.copy()
        changed[:, variable] += spread[variable]
        known = any(np.allclose(states[:, variable], column) for column in visible.T)
        if not known and np.any(env.render_states(changed) != frames):
            found.append(int(variable))
    return found


def _derivative(env: GoalEnv, states: Floats) -> Floats:
    """Of what is visible by the state, (M, V, S)."""
    steps = STEP * np.eye(states.shape[1])
    ahead, behind = env.visible(states[:, None] + steps), env.visible(states[:, None] - steps)
    return np.asarray((ahead - behind).swapaxes(1, 2) / (2 * STEP))


def _directions(count: int, size: int, rng: Rng) -> Floats:
    """Random unit vectors (count, size)."""
    drawn = rng.normal(size=(count, size))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
