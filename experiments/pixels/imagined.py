"""How far imagination strays: a world model's error on what pictures show, by imagined step, on held-out episodes of a store.

    python -m experiments.pixels.imagined Push-latent runs/bench/Push/data                            (seconds to minutes)
    python -m experiments.pixels.imagined runs/pixels/push-regression runs/bench/Push/data Push-latent

The positions are linearly probed from true latents (step 0) and from imagined ones. Frames that a pixel model imagines are
read by the encoder and the probe of the model that is named last. Writes
`experiments/results/rows/ENV/imagined-MODEL.table.json` (with a reader, `imagined-MODEL-by-READER`), in centimetres.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments import publish
from experiments.pixels import windows
from imagoal.envs import short_name
from imagoal.envs.store import FrameCache, Ints, Store, WindowIndex, open_cache
from imagoal.world_model import to_tensor
from imagoal.world_model.models import WorldModelFolder, load
from imagoal.world_model.readouts import object_size, visible_positions
from imagoal.world_model.training import split_episodes

STEPS, WINDOWS, CHUNK = 8, 1000, 100


def main(name: str, data: str, *reader: str) -> None:
    readouts = reader[0] if reader else name
    folder, lent, store = load(name), load(readouts), Store.open(Path(data))
    cache, block = open_cache(store), folder.model.action_block
    index = cache.window_index(folder.model.history, STEPS, block, split_episodes(cache)[1])
    ids = np.random.default_rng(0).integers(0, len(index), WINDOWS)
    positions = visible_positions(store.spec.env, cache.states)
    away = torch.cat([errors(cache, index, some, folder, lent, positions) for some in np.split(ids, WINDOWS // CHUNK)])
    size = object_size(store.spec.env)
    parts = {"object cm": away[..., :size], "agent cm": away[..., size:]}
    means = {part: 100 * each.norm(dim=-1).mean(0) for part, each in parts.items() if each.shape[-1]}
    rows = [[step, *(float(each[step]) for each in means.values())] for step in range(STEPS + 1)]
    settings = {"model": name, "readouts": readouts, "data_hash": store.hash, "windows": WINDOWS, "action_block": block}
    slug = Path(name).name + (f"-by-{Path(readouts).name}" if readouts != name else "")
    publish(f"rows/{short_name(store.spec.env)}/imagined-{slug}", ["step", *means], rows, settings)


def errors(
    cache: FrameCache, index: WindowIndex, ids: Ints, folder: WorldModelFolder, lent: WorldModelFolder, positions: Tensor
) -> Tensor:
    """Probed minus true positions (M, 1 + STEPS, V) in metres, now and after each imagined step."""
    assert lent.encoder, "name a model with an encoder and a probe last"
    assert lent.probe, "name a model with a probe last"
    last = index.context - 1
    imagined = windows.imagined(cache, folder.model, index, ids)
    if folder.model.place == "frame":
        imagined = lent.encoder.encode(imagined.flatten(0, 1)).unflatten(0, imagined.shape[:2])
    now = to_tensor(index.take(cache.frames, ids)[:, last])
    path = torch.cat([lent.encoder.encode(now)[:, None], imagined], 1)
    probed = lent.probe(path.flatten(0, 1)).unflatten(0, path.shape[:2])
    return probed - positions[torch.from_numpy(index.rows(ids))[:, last:]]


if __name__ == "__main__":
    main(*sys.argv[1:])
