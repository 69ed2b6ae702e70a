"""What models imagine of a held-out window, as strips of frames: the true one, then one for each model.

    python -m experiments.pixels.strips NAME DATA WINDOW regression=DIR diffusion=DIR           (seconds; DATA is a store)

Writes `docs/NAME.webp`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments import pairs
from experiments.pixels.windows import followed, imagined, known, loaded, save_strips
from imagoal.envs.store import Store, open_cache

HORIZON = 8


def main(name: str, data: str, window: str, *named: str) -> None:
    cache, ids = open_cache(Store.open(Path(data))), np.array([int(window)])
    models: list[Any] = [loaded(path).model for path in pairs(named).values()]
    index = known(cache, max(model.history for model in models), HORIZON)
    save_strips(name, [followed(cache, index, ids)[0], *(imagined(cache, model, index, ids)[0] for model in models)])


if __name__ == "__main__":
    main(*sys.argv[1:])
