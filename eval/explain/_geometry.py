"""What distances between latents tell of the way to a goal: figures from arrays of distances, whatever measured them.

Shapes: M states, S state size, G goals, W ways away from goals, R radii, P paths of T steps.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

from imagoal.envs import Bools, Floats, GoalEnv

RISING = 0.9
"""Share of ways on which the distance must have risen all along, up to the basin's radius."""
APART = 2.0
"""Tolerances from which on another place of the object is another state."""

CORRELATION = "Spearman with the task's distance"
FALLING = "falls where the expert brings the object nearer"
BASIN = "basin around the goal, radius"

Found = dict[str, tuple[float | None, str]]
"""Values and units by the figures' names; None where there is nothing to measure."""


def correlations(env: GoalEnv, distances: Floats, states: Floats, goals: Floats) -> Found:
    """Spearman's correlation of distances (G, M) with those between states (M, S) and goals (G, S), the mean over goals."""
    seen = np.linalg.norm(env.visible(states)[None] - env.visible(goals)[:, None], axis=-1)
    task = env.task_distance(states[None], goals[:, None])
    return {
        CORRELATION: (spearman(distances, task), ""),
        "Spearman with all that is visible": (spearman(distances, seen), ""),
    }


def monotonicity(env: GoalEnv, distances: Floats, paths: Floats, goals: Floats) -> Found:
    """Shares of the expert's steps, before it arrives, on which distances (P, T + 1) to goals (P, S) fall.

    Of all steps, and of those *nearer*: that bring the object nearer to its goal by a twentieth of the tolerance or more.
    """
    left, there = env.task_distance(paths, goals[:, None]), env.at_goal(paths, goals[:, None])
    underway = np.logical_and.accumulate(~there, axis=1)[:, :-1]
    nearer = underway & (np.diff(left, axis=1) < -env.tolerance / 20)
    falls, arrived = np.diff(distances, axis=1) < 0, there[:, -1] & (distances[:, 0] > 0)
    remaining = distances[arrived, -1] / distances[arrived, 0]
    return {
        "falls on all of the expert's steps": (percent(falls[underway]), "%"),
        FALLING: (percent(falls[nearer]), "%"),
        "left where the expert arrived": (100 * float(np.median(remaining)) if arrived.any() else None, "%"),
    }


def basin(distances: Floats, radii: Floats) -> Found:
    """How far around a goal the distances (W, R) from it rise with the radii (R,), and how often they take far for near.

    NaN where a way does not lead. The basin ends where, of the ways that lead so far, fewer than `RISING` have risen all along.
    An alias is a place at least `APART` tolerances from the goal that is nearer than one at a tolerance usually is.

    Args:
        distances: from the goals; 0 at radius 0.
        radii: 0 first, then half a tolerance apart.
    """
    there, rises = np.isfinite(distances[:, 1:]), np.diff(distances, axis=1) > 0
    risen = np.logical_and.accumulate(rises, axis=1) & there
    shares = risen.sum(0) / np.maximum(there.sum(0), 1)
    good = np.logical_and.accumulate((shares >= RISING) & there.any(0))
    far = distances[:, int(2 * APART) :]
    aliases = far[np.isfinite(far)] < np.nanmedian(distances[:, 2])
    return {BASIN: (100 * float(radii[good.sum()]), "cm"), "aliases": (percent(aliases), "%")}


def sensitivity(changes: Mapping[str, Floats]) -> Found:
    """Median distance when the object moves by a tolerance, over that when the agent's body does.

    Args:
        changes: distances (M,) of each, by `object` and `body`; none for a body where there is none.
    """
    if not changes["body"].size or not changes["object"].size:
        return {"object's change over body's": (None, "")}
    moved, swung = (float(np.median(changes[name])) for name in ("object", "body"))
    return {"object's change over body's": (moved / swung if swung else None, "")}


def spearman(first: Floats, second: Floats) -> float | None:
    """Mean over rows of the rank correlation of numbers (G, M); rows that do not vary are left out, None if that is all."""
    rows = [(a, b) for a, b in zip(first, second, strict=True) if a.min() < a.max() and b.min() < b.max()]
    return float(np.mean([spearmanr(a, b)[0] for a, b in rows])) if rows else None


def percent(flags: Bools) -> float | None:
    """Share of the flags that are set."""
    return 100 * float(flags.mean()) if flags.size else None
