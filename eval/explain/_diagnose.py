"""An encoder before any training: what its latents say of the world, and whether distances between them lead to a goal.

Everything is measured on frames that no training sees: held-out episodes of a store, fresh tasks, and pictures of states that
were put where the question needs them. Shapes as in `_edited`; latents (M, N, D).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagoal.envs import Floats, Frames, GoalEnv, Rng
from imagoal.envs.store import FrameCache, Ints
from imagoal.errors import UsageError
from imagoal.eval.episodes import weighted
from imagoal.eval.explain._edited import expert_paths, moved_states, shown_variables, ways_from
from imagoal.eval.explain._geometry import BASIN, CORRELATION, FALLING, basin, correlations, monotonicity, sensitivity
from imagoal.planning import Distance, euclid
from imagoal.world_model import Encoder, to_tensor
from imagoal.world_model.readouts import Probe, fit_probe, resting, slowness
from imagoal.world_model.training import split_episodes

PAIRS = 2000
"""Frames, each with the one a model step later, to which probe and metric are fitted."""
HELD = 1000
"""Held-out frames."""
MOVED = 200
"""Held-out frames of which the object, or the agent's body, is moved by a tolerance."""
GOALS = 20
"""Tasks: goals, and the expert's paths to them."""
WAYS = 6
"""Ways away from each goal."""
RADII = 16
"""Places on a way, half a tolerance apart."""
LARGEST = 4096
"""Numbers in a frame's latents: more take minutes to invert."""
PROBED = "probe error, mean"
LATENT = ("euclid", "slowness", "resting")
"""Distances that need no labels, of which one must lead to the goal; resting without the agent's body."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: what it is.
        of: whose: a coordinate, or a distance between latents (euclid, slowness, resting, probe).
        value: None where there is nothing to measure, e.g. no body beside the object.
        unit: cm, %, own (that of the state variable), or empty.
    """

    name: str
    of: str
    value: float | None
    unit: str


@dataclass(frozen=True)
class Seen:
    """States (M, S) and the latents (M, N, D) of their frames."""

    states: Floats
    latents: Tensor


class Camera:
    """Shows states to an encoder."""

    def __init__(self, env: GoalEnv, encoder: Encoder) -> None:
        self._env, self._encoder = env, encoder

    @torch.no_grad()
    def encode(self, frames: Frames) -> Tensor:
        """Latents (M, N, D) of frames (M, h, w, 3)."""
        return self._encoder.encode(to_tensor(frames)).float()

    def latents(self, states: Floats) -> Tensor:
        """Latents (..., N, D) of the pictures of states (..., S)."""
        flat = self.encode(self._env.render_states(states.reshape(-1, states.shape[-1])))
        return flat.reshape(*states.shape[:-1], *flat.shape[1:])

    def take(self, cache: FrameCache, rows: Ints) -> Seen:
        """Frames of a store, by their flat indices."""
        return Seen(cache.states[rows], self.encode(cache.frames[rows]))


def diagnose(env: GoalEnv, cache: FrameCache, encoder: Encoder, block: int = 1, seed: int = 0) -> list[Figure]:
    """All figures of an encoder on an env.

    Args:
        env: renders, and makes tasks.
        cache: frames and states of a store of that env.
        encoder: frozen.
        block: env steps per model step, over which metrics take their changes.
        seed: of all that is drawn.

    Raises:
        UsageError: latents too large for a metric.
    """
    rng, camera = np.random.default_rng([seed, 23]), Camera(env, encoder)
    learned, held = split_episodes(cache)
    rows = _pick(cache.window_index(1, 1, block, learned).now, PAIRS, rng)
    size = camera.take(cache, rows[:1]).latents[0].numel()
    if size > LARGEST:
        raise UsageError(f"a frame's latents are {size} numbers; expected at most {LARGEST}; pass --reduce 256, say")
    before, after = camera.take(cache, rows), camera.take(cache, rows + block)
    test = camera.take(cache, _pick(cache.window_index(1, 0, 1, held).now, HELD, rng))
    changes = after.latents - before.latents
    fitted = Seen(np.concatenate([before.states, after.states]), torch.cat([before.latents, after.latents]))
    probe, errors = probes(env, fitted, test)

    def object_apart(first: Tensor, second: Tensor) -> Tensor:
        return weighted((probe(first) - probe(second))[:, : env.object_size], env.object_size, 0.0)

    metrics: dict[str, Distance] = {"slowness": slowness(changes), "resting": resting(changes)}
    distances = {"euclid": euclid, **metrics, "probe": object_apart}
    return errors + geometry(env, camera, distances, test, env.visible(fitted.states), rng)


def probes(env: GoalEnv, fitted: Seen, test: Seen) -> tuple[Probe, list[Figure]]:
    """A linear read-out of visible coordinates and shown variables, and its errors: of object and body first, then of each."""
    variables, count, size = shown_variables(env, test.states), env.visible(test.states).shape[1], env.object_size
    targets = [np.concatenate([env.visible(seen.states), seen.states[:, variables]], 1) for seen in (fitted, test)]
    probe = fit_probe(fitted.latents, torch.from_numpy(targets[0]))
    missed = np.abs(probe(test.latents).numpy() - targets[1])
    names = [*(f"visible[{place}]" for place in range(count)), *(f"state[{variable}]" for variable in variables)]
    parts = {"object": missed[:, :size], "body": missed[:, size:count]}
    parts |= {name: missed[:, [column]] for column, name in enumerate(names)}
    figures = []
    for name, part in parts.items():
        if part.shape[1]:
            scale, unit = (1, "own") if name.startswith("state") else (100, "cm")
            error = scale * np.linalg.norm(part, axis=1)
            figures.append(Figure(PROBED, name, float(error.mean()), unit))
            figures.append(Figure("probe error, p90", name, float(np.quantile(error, 0.9)), unit))
    return probe, figures


def geometry(
    env: GoalEnv, camera: Camera, distances: Mapping[str, Distance], test: Seen, seen: Floats, rng: Rng
) -> list[Figure]:
    """What each distance between latents tells of the way to a goal.

    Args:
        env: renders.
        camera: encodes.
        distances: by name.
        test: held-out frames.
        seen: what the data show (F, V), within whose range the object is moved.
        rng: draws tasks and ways.
    """
    tasks = [env.sample_task(rng) for _ in range(GOALS)]
    goals, pictures = np.stack([task.goal for task in tasks]), camera.encode(np.stack([task.goal_image for task in tasks]))
    paths = expert_paths(env, tasks)
    along = camera.latents(paths)
    ways = ways_from(env, goals, WAYS, env.tolerance * np.arange(RADII + 1) / 2, seen, rng)
    inside = torch.from_numpy(ways.inside)
    around, centres = camera.latents(ways.states[ways.inside]), camera.latents(goals)[torch.from_numpy(ways.goals)]
    moved = {name: _moved(env, camera, test, name == "body", rng) for name in ("object", "body")}
    figures = []
    for name, distance in distances.items():
        far = torch.stack([distance(test.latents, goal.expand_as(test.latents)) for goal in pictures])
        left = torch.stack([distance(path, goal.expand_as(path)) for path, goal in zip(along, pictures, strict=True)])
        out = np.full(ways.inside.shape, np.nan)
        out[ways.inside] = distance(around, centres.repeat_interleave(inside.sum(1), 0)).numpy()
        found = correlations(env, far.numpy(), test.states, goals)
        found |= monotonicity(env, left.numpy(), paths, goals) | basin(out, ways.radii)
        found |= sensitivity({part: distance(*pair).numpy() for part, pair in moved.items()})
        figures += [Figure(label, name, value, unit) for label, (value, unit) in found.items()]
    return figures


def verdict(figures: Sequence[Figure], tolerance: float) -> tuple[bool, str]:
    """Whether an encoder is worth a training, and which figures decide.

    An object that a linear probe misses by more than a third of the tolerance is not in the latents as a planner needs it. On
    Push that is 1 cm: the encoders on which planning succeeds are at 0.13 and 0.71, global ImageNet components at 1.30
    (`experiments/results/rows/Push/diagnose-*`). The others ask of the best distance that needs no labels that it leads to a
    goal at all; an untrained encoder misses them.

    Args:
        figures: from `diagnose`.
        tolerance: of the env, metres.
    """
    values = {(figure.name, figure.of): figure.value or 0.0 for figure in figures}
    off = values[PROBED, "object"]
    reasons = [] if off <= 100 * tolerance / 3 else [f"object off by {off:.2f} cm, at most {100 * tolerance / 3:.2f} asked"]
    asked = ((FALLING, 90.0, "%"), (BASIN, 200 * tolerance, "cm"), (CORRELATION, 0.5, ""))
    short = {
        name: [
            f"{label} {values[label, name]:.2f} {unit}".rstrip() + f", at least {least:g} asked"
            for label, least, unit in asked
            if values[label, name] < least
        ]
        for name in LATENT
    }
    best = min(short, key=lambda name: (len(short[name]), -values[CORRELATION, name]))
    reasons += short[best]
    if reasons:
        return False, f"reject: {'; '.join(reasons)} (best distance: {best})"
    return True, f"keep: object off by {off:.2f} cm, and {best} leads to the goal"


def _moved(env: GoalEnv, camera: Camera, test: Seen, body: bool, rng: Rng) -> tuple[Tensor, Tensor]:
    """Latents (M, N, D) before and after the object, or the body, moved by one tolerance; none if there is no body."""
    few = Seen(test.states[:: max(1, len(test.states) // MOVED)], test.latents[:: max(1, len(test.states) // MOVED)])
    if body and env.visible(few.states).shape[1] == env.object_size:
        return few.latents[:0], few.latents[:0]
    states, held = moved_states(env, few.states, env.tolerance, body, rng)
    return few.latents[torch.from_numpy(held)], camera.latents(states[held])


def _pick(rows: Ints, count: int, rng: Rng) -> Ints:
    return np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
