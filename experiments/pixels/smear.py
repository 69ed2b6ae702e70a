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

from experiments import RESULTS
from experiments.pixels.gate import bounces, centres, coverage, in_pixels, known, loaded
from experiments.pixels.strips import HORIZON, followed, imagined, save
from imagoal.envs import Floats
from imagoal.envs.store import Store, open_cache
from imagoal.eval.episodes import write_table
from imagoal.world_model.training import split_episodes

WINDOWS, SHOWN = 256, (1, 4, 8)
FAINT = 0.25
"""Of the ball's colour: less than that is the grain of a whole picture, whose size is not the ball's."""
COLUMNS = ["frames", "step", "size px", "dark", "error px", "apart px"]


def main(name: str, data: Path, paths: dict[str, str]) -> None:
    store = Store.open(data)
    cache, rows = open_cache(store), []
    models: dict[str, Any] = {label: loaded(path).model for label, path in paths.items()}
    index = known(cache.window_index(max(model.history for model in models.values()), HORIZON, 1, split_episodes(cache)[1]))
    ids = np.random.default_rng(0).permutation(len(index))[:WINDOWS]
    shown = followed(cache, index, ids)
    places = in_pixels(np.asarray(index.take(cache.states, ids)[:, index.context :, :2]))
    strips = [shown]
    rows += told("true", shown, places, None)
    for label, model in models.items():
        first = imagined(cache, model, index, ids)
        second = imagined(cache, replace(model, draw=1), index, ids) if model.head.random else None
        rows += told(label, first, places, second)
        strips += [first] if second is None else [first, second]
    for row in rows:
        print(*row)
    settings = {"models": paths, "data_hash": store.hash, "windows": len(ids)}
    write_table(RESULTS / f"pixels/smear-{name}.table.json", COLUMNS, rows, settings)
    kicked = np.flatnonzero(bounces(cache, index, (HORIZON,))[ids, 0])
    chosen = int(kicked[0]) if len(kicked) else 0
    save(f"smear-{name}", [frames[chosen] for frames in strips])


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
    named = (each.partition("=") for each in sys.argv[3:])
    main(sys.argv[1], Path(sys.argv[2]), {name: path for name, _, path in named})
