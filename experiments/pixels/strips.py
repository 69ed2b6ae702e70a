"""What models imagine of a held-out window, as strips of frames: the true one, then one for each model.

    python -m experiments.pixels.strips NAME DATA WINDOW regression=DIR diffusion=DIR           (seconds; DATA is a store)

Writes `docs/NAME.webp`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments import ROOT
from experiments.pixels import gate
from experiments.pixels.gate import known, loaded
from imagoal.envs.store import FrameCache, Ints, Store, WindowIndex, open_cache
from imagoal.world_model import as_float, to_array, to_tensor
from imagoal.world_model.models import MapModel
from imagoal.world_model.training import split_episodes

HORIZON = 8
ENLARGED = 2


def main(name: str, data: Path, window: int, paths: dict[str, str]) -> None:
    cache = open_cache(Store.open(data))
    models: list[Any] = [loaded(path).model for path in paths.values()]
    index = known(cache.window_index(max(model.history for model in models), HORIZON, 1, split_episodes(cache)[1]))
    ids = np.array([window])
    save(name, [followed(cache, index, ids)[0], *(imagined(cache, model, index, ids)[0] for model in models)])


def followed(cache: FrameCache, index: WindowIndex, ids: Ints) -> Tensor:
    """Frames f32 (W, HORIZON, 3, h, w) that followed."""
    return as_float(to_tensor(index.take(cache.frames, ids)[:, index.context :]))


def imagined(cache: FrameCache, model: MapModel, index: WindowIndex, ids: Ints) -> Tensor:
    """Frames f32 (W, HORIZON, 3, h, w) that a model imagines in their place."""
    return torch.cat([gate.imagined(cache, model, index, some) for some in np.array_split(ids, max(1, len(ids) // 64))])


def save(name: str, strips: list[Tensor]) -> None:
    """`docs/NAME.webp`, with strips f32 (HORIZON, 3, h, w) one below the other."""
    framed = np.pad(
        np.stack([to_array(strip) for strip in strips]), ((0, 0), (0, 0), (0, 2), (0, 2), (0, 0)), constant_values=255
    )
    joined = np.concatenate([np.concatenate(list(strip), 1) for strip in framed])
    Image.fromarray(joined.repeat(ENLARGED, 0).repeat(ENLARGED, 1)).save(ROOT / f"docs/{name}.webp", quality=90)


if __name__ == "__main__":
    named = (each.partition("=") for each in sys.argv[4:])
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), {name: path for name, _, path in named})
