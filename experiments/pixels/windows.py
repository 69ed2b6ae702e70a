"""Held-out windows of a store, and what a model imagines in them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments import ROOT
from imagoal.envs import Floats
from imagoal.envs.store import FrameCache, Ints, WindowIndex
from imagoal.world_model import Past, WorldModel, as_float, to_array, to_tensor
from imagoal.world_model.models import MapFolder, WorldModelFolder, load
from imagoal.world_model.training import split_episodes

BATCH, ENLARGED = 64, 2


def loaded(name: str) -> WorldModelFolder:
    """A world model by name; PATH@3 denoises in 3 steps."""
    path, _, steps = name.partition("@")
    folder = load(path)
    if not steps:
        return folder
    assert isinstance(folder, MapFolder), f"{path} does not denoise"
    return replace(folder, model=folder.model.denoising(int(steps)))


def known(cache: FrameCache, history: int, steps: int, block: int = 1) -> WindowIndex:
    """Held-out windows that begin in their episode, not before it: what they do not show, nobody can know."""
    index = cache.window_index(history, steps, block, split_episodes(cache)[1])
    kept = index.now - index.start >= (index.context - 1) * index.block
    return replace(index, now=index.now[kept], start=index.start[kept])


def in_chunks(work: Callable[[Ints], Floats | Tensor], ids: Ints) -> Floats:
    """What is made of windows, some at a time."""
    return np.concatenate([np.asarray(work(some)) for some in np.array_split(ids, max(1, len(ids) // BATCH))])


def imagined(cache: FrameCache, model: WorldModel, index: WindowIndex, ids: Ints) -> Tensor:
    """Frames or tokens (W, H, ...) that a model imagines in windows, all at once."""
    frames, actions = (torch.from_numpy(part) for part in cache.windows(index, ids))
    past = Past(to_tensor(frames[:, : index.context].numpy()), actions[:, : index.context - 1])
    return model.rollout(model.observe(past, ids.tolist()), actions[:, None, index.context - 1 :])[:, 0]


def followed(cache: FrameCache, index: WindowIndex, ids: Ints) -> Tensor:
    """Frames f32 (W, H, 3, h, w) that followed."""
    return as_float(to_tensor(index.take(cache.frames, ids)[:, index.context :]))


def save_strips(name: str, strips: list[Tensor]) -> None:
    """`docs/NAME.webp`, with strips f32 (H, 3, h, w) one below the other."""
    edges = ((0, 0), (0, 0), (0, 2), (0, 2), (0, 0))
    framed = np.pad(np.stack([to_array(strip) for strip in strips]), edges, constant_values=255)
    joined = np.concatenate([np.concatenate(list(strip), 1) for strip in framed])
    Image.fromarray(joined.repeat(ENLARGED, 0).repeat(ENLARGED, 1)).save(ROOT / f"docs/{name}.webp", quality=90)
