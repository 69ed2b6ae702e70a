"""How far pixel and token models misplace Ball's ball: the gate before any of them is compared by speed or by success.

    imagoal train --kind pixel_regression --data DATA --run runs/pixels/regression
    python -m experiments.pixels.gate pixel-gate DATA regression=runs/pixels/regression          (a minute each; DATA is a store
                                                                                of Ball; DIR@3 denoises in 3 steps)

In windows of held-out episodes whose past frames are all true ones, the centre of the ball is found in the imagined frame,
and its distance from the true centre, which the state tells, is the error in pixels of 1/60 m. The centre is found by
colour: the mean of the channels says how much of a pixel the ball covers, from 0 for the floor to 1; pixels that are covered
by less than a tenth count as floor, and the covered shares of all others weigh their places. `true frame` is what this finds
in the true frame, and `copy last frame` what it finds in the last one seen. Where nothing is covered, the middle of the box
counts. In the tokens that a token model imagines, its own linear probe finds the ball; `true tokens` is its error there.
A window is of free flight if the ball meets no wall in it, from the first frame that the model sees to the one that is
imagined, and else a bounce; in flight nothing but the push changes the direction of the velocity.

The first word names the table, `experiments/results/pixels/pixel-gate.table.json`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from experiments import pairs, publish
from experiments.pixels.windows import followed, imagined, in_chunks, known, loaded
from imagoal.envs import Floats
from imagoal.envs.ball import EMPTY, SIZE, draw, push
from imagoal.envs.store import FrameCache, Ints, Store, WindowIndex, open_cache
from imagoal.errors import UsageError
from imagoal.world_model import as_float, to_tensor
from imagoal.world_model.models import WorldModelFolder
from imagoal.world_model.readouts import Link

ENV, WALL, SCALE = "imagoal/Ball-v0", 2, SIZE - 4
"""Of pictures: pixels that a wall is thick, and pixels a metre."""
FLOOR, BALL = (float(frame[SIZE // 2, SIZE // 2].mean()) / 255 for frame in (EMPTY, draw(np.array([[0.5, 0.5, 0, 0]]))[0]))
"""Mean of the channels."""
STEPS = (1, 8)
"""Imagined steps after which errors are told."""
SHOWN = [step - 1 for step in STEPS]
COVERED = 0.1
"""Share of a pixel from which on it counts."""
COLUMNS = ["frames", "step", "flight", "windows", "mean px", "median px", "p90 px"]
Flags = npt.NDArray[np.bool_]


def main(table: str, data: str, *named: str) -> None:
    store = Store.open(Path(data))
    if store.spec.env != ENV:
        raise UsageError(f"{data} is a store of {store.spec.env}; expected {ENV}, where the ball and its bounces can be told")
    cache, models = open_cache(store), pairs(named)
    rows: list[list[object]] = []
    for name, path in models.items():
        folder = loaded(path)
        index = known(cache, folder.model.history, max(STEPS), folder.model.action_block)
        errors = {name: imagined_errors(cache, folder, index)} | ({} if rows else seen_errors(cache, index))
        if folder.model.place == "latent":
            errors |= {f"true tokens of {name}": token_errors(cache, folder, index)}
        rows += [row for frames, error in errors.items() for row in told(frames, error, bounces(cache, index))]
    publish(f"pixels/{table}", COLUMNS, rows, {"models": models, "data_hash": store.hash})


def imagined_errors(cache: FrameCache, folder: WorldModelFolder, index: WindowIndex) -> Floats:
    """Pixels (W, STEPS) by which the ball is misplaced in what is imagined."""

    def work(ids: Ints) -> Floats:
        return misplaced(imagined(cache, folder.model, index, ids)[:, SHOWN], states(cache, index, ids), folder.probe)

    return in_chunks(work, np.arange(len(index)))


def token_errors(cache: FrameCache, folder: WorldModelFolder, index: WindowIndex) -> Floats:
    """The same of the tokens of true frames."""
    assert folder.encoder is not None
    encode = folder.encoder.encode

    def work(ids: Ints) -> Floats:
        frames = to_tensor(index.take(cache.frames, ids)[:, index.context :][:, SHOWN])
        tokens = encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return misplaced(tokens, states(cache, index, ids), folder.probe)

    return in_chunks(work, np.arange(len(index)))


def seen_errors(cache: FrameCache, index: WindowIndex) -> dict[str, Floats]:
    """The same of true frames: the last that is seen, and the one that is to be imagined."""
    ids = np.arange(len(index))
    last, true = as_float(to_tensor(index.take(cache.frames, ids)[:, index.context - 1])), followed(cache, index, ids)
    copied = torch.stack([last] * len(STEPS), 1)
    found = {"copy last frame": copied, "true frame": true[:, SHOWN]}
    return {name: misplaced(frames, states(cache, index, ids)) for name, frames in found.items()}


def states(cache: FrameCache, index: WindowIndex, ids: Ints) -> Floats:
    """True states (M, H, 4) after each step of windows."""
    return np.asarray(index.take(cache.states, ids)[:, index.context :])


def misplaced(seen: Tensor, states: Floats, probe: Link | None = None) -> Floats:
    """Pixels (M, STEPS) between the ball in frames or tokens (M, STEPS, ...) and in the states (M, H, 4) after each step."""
    true, flat = in_pixels(states[:, SHOWN, :2]), seen.flatten(0, 1)
    found = centres(flat) if seen.ndim == 5 or probe is None else in_pixels(probe(flat).double().numpy())
    return np.asarray(np.linalg.norm(found.reshape(true.shape) - true, axis=-1))


def in_pixels(positions: Floats) -> Floats:
    """Columns and rows (..., 2) of positions (..., 2) in metres."""
    places = positions * SCALE + WALL
    places[..., 1] = SIZE - places[..., 1]  # rows run downwards
    return np.asarray(places)


def centres(frames: Tensor) -> Floats:
    """Where the ball is in frames f32 (M, 3, h, w): column and row (M, 2) in pixels from the upper left corner."""
    weights = coverage(frames)
    weights = torch.where(weights.sum((1, 2), keepdim=True) > 0, weights, 1)
    places = torch.arange(weights.shape[-1], dtype=torch.float64) + 0.5 + WALL
    moments = torch.stack([(weights * places).sum((1, 2)), (weights * places[:, None]).sum((1, 2))], 1)
    return np.asarray((moments / weights.sum((1, 2))[:, None]).numpy())


def coverage(frames: Tensor) -> Tensor:
    """How much of each pixel within the walls the ball covers, f64 (M, h', w'), in frames f32 (M, 3, h, w)."""
    covered = ((FLOOR - frames.mean(1)[:, WALL:-WALL, WALL:-WALL]) / (FLOOR - BALL)).clamp(0, 1).double()
    return torch.where(covered < COVERED, 0, covered)


def turned(cache: FrameCache) -> Flags:
    """Whether in each step (M,) the ball meets a wall or is kicked: nothing but the push turns it in free flight."""
    pushed, following = push(cache.states, cache.actions)[:, 2:4], np.roll(cache.states, -1, 0)[:, 2:4]
    lengths = np.linalg.norm(pushed, axis=1) * np.linalg.norm(following, axis=1)
    return np.asarray((pushed * following).sum(1) < (1 - 1e-9) * lengths)


def bounces(cache: FrameCache, index: WindowIndex, steps: Sequence[int] = STEPS) -> Flags:
    """Whether it does so between a window's first frame and that after each of steps, (W, steps)."""
    met = index.take(turned(cache), np.arange(len(index)))
    return np.stack([met[:, : index.context - 1 + step].any(1) for step in steps], 1)


def told(frames: str, errors: Floats, bounced: Flags) -> list[list[object]]:
    """Rows of the table from the errors (W, STEPS) in frames of some origin."""
    rows: list[list[object]] = []
    for column, step in enumerate(STEPS):
        met = bounced[:, column]
        for flight, chosen in {"all": met | True, "free": ~met, "bounce": met}.items():
            off = errors[chosen, column]
            rows.append([frames, step, flight, len(off), float(off.mean()), *np.percentile(off, [50, 90]).tolist()])
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
