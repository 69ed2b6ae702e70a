"""What becomes of a ball whose future is uncertain: smeared by a regression, somewhere by diffusion.

    python -m experiments.pixels.smear NAME DATA regression=DIR diffusion=DIR    (minutes; DATA is a store of Ball or BallGust;
                                                                              DIR@12 denoises in 12 steps)

In held-out windows the models imagine 8 steps from true frames. By step: the *size* of the ball, i.e. the root of the mean
squared distance in pixels of what is covered, by a quarter at least, from its centre; how *dark* the darkest of what is
covered is, 1 being the ball itself; and the *error* of the centre. Two draws of a diffusion's noise are *apart* by so many
pixels. Writes `experiments/results/pixels/smear-NAME.table.json` and `docs/smear-NAME.webp`: a window in which the ball is
kicked or meets a wall, or the first one.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import pairs, publish
from experiments.pixels.gate import bounces, centres, coverage, in_pixels, states
from experiments.pixels.windows import followed, imagined, in_chunks, known, loaded, save_strips
from imagoal.envs import Floats
from imagoal.envs.store import Store, open_cache

HORIZON, WINDOWS, SHOWN = 8, 256, (1, 4, 8)
FAINT = 0.25
"""Of the ball's colour: less than that is the grain of a whole picture, whose size is not the ball's."""
COLUMNS = ["frames", "step", "size px", "dark", "error px", "apart px"]


def main(name: str, data: str, *named: str) -> None:
    store = Store.open(Path(data))
    cache = open_cache(store)
    models: dict[str, Any] = {label: loaded(path).model for label, path in pairs(named).items()}
    index = known(cache, max(model.history for model in models.values()), HORIZON)
    ids = np.random.default_rng(0).permutation(len(index))[:WINDOWS]
    places, strips = in_pixels(states(cache, index, ids)[..., :2]), [followed(cache, index, ids)]

    def painted(model: Any) -> Tensor:
        return torch.from_numpy(in_chunks(lambda some: imagined(cache, model, index, some), ids))

    rows = told("true", strips[0], places, None)
    for label, model in models.items():
        first = painted(model)
        second = painted(replace(model, draw=1)) if model.head.random else None
        rows += told(label, first, places, second)
        strips += [first] if second is None else [first, second]
    settings = {"models": pairs(named), "data_hash": store.hash, "windows": len(ids)}
    publish(f"pixels/smear-{name}", COLUMNS, rows, settings)
    kicked = np.flatnonzero(bounces(cache, index, (HORIZON,))[ids, 0])
    save_strips(f"smear-{name}", [frames[kicked[0] if len(kicked) else 0] for frames in strips])


def told(label: str, frames: Tensor, places: Floats, again: Tensor | None) -> list[list[object]]:
    """Rows of the table."""
    rows: list[list[object]] = []
    for step in SHOWN:
        seen = frames[:, step - 1]
        covered, middles = coverage(seen), centres(seen)
        error = float(np.linalg.norm(middles - places[:, step - 1], axis=1).mean())
        apart = None if again is None else float(np.linalg.norm(centres(again[:, step - 1]) - middles, axis=1).mean())
        rows.append([label, step, size(covered), float(covered.amax((1, 2)).mean()), error, apart])
    return rows


def size(covered: Tensor) -> float:
    """Mean over pictures of the root of the mean squared distance of what is covered (M, h, w) from its centre, in pixels.

    Grain counts as nothing.
    """
    covered = torch.where(covered < FAINT, 0.0, covered)
    places = torch.arange(covered.shape[-1], dtype=covered.dtype)
    weights = covered / covered.sum((1, 2), keepdim=True).clamp_min(1e-9)
    across, down = weights.sum(1), weights.sum(2)
    variances = [(each * places**2).sum(1) - (each * places).sum(1) ** 2 for each in (across, down)]
    return float((variances[0] + variances[1]).clamp_min(0.0).sqrt().mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
