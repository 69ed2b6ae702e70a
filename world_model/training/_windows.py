"""Batches of windows for training: which ones come at a step follows from the seed and the step alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from imagoal.envs.store import FrameCache, Ints, WindowIndex
from imagoal.errors import DataError
from imagoal.world_model._frames import to_tensor

HELD_OUT = 20
"""One of so many episodes is never trained on."""


@dataclass(frozen=True)
class Windows:
    """Windows of `index.length` frames, read from a cache.

    Attributes:
        cache: frames and actions.
        index: the windows among which batches are drawn.
        seed: of the draw.
    """

    cache: FrameCache
    index: WindowIndex
    seed: int

    @property
    def action_size(self) -> int:
        """A' of one model step."""
        return int(self.cache.actions.shape[1]) * self.index.block

    def generator(self, step: int) -> Generator:
        """Torch randomness of a step."""
        return Generator().manual_seed(int(np.random.SeedSequence([self.seed, step, 1]).generate_state(1)[0]))

    def frames(self, step: int, batch: int) -> tuple[Tensor, Tensor]:
        """Frames u8 (M, L, 3, h, w) and the actions (M, L - 1, A') between them."""
        frames, actions = self.cache.windows(self.index, self._ids(step, batch))
        return to_tensor(frames), torch.from_numpy(actions)

    def latents(self, latents: Tensor, step: int, batch: int) -> tuple[Tensor, Tensor]:
        """Windows f32 (M, L, N, D) of latents (F, N, D), and the actions (M, L - 1, A') between them."""
        ids = self._ids(step, batch)
        rows = torch.from_numpy(self.index.rows(ids))
        return latents[rows].float(), torch.from_numpy(self.index.actions(self.cache.actions, ids))

    def _ids(self, step: int, batch: int) -> Ints:
        return np.random.default_rng([self.seed, step]).integers(0, len(self.index), batch)


def split_episodes(cache: FrameCache) -> tuple[Ints, Ints]:
    """Episodes to train on and episodes held out, one in `HELD_OUT` and at least one.

    Raises:
        DataError: there are fewer than two episodes.
    """
    every = np.arange(len(cache.starts))
    if len(every) < 2:
        raise DataError(f"the store holds {len(every)} episode; training needs 2 or more, one of them held out; collect more")
    held = every[HELD_OUT - 1 :: HELD_OUT] if len(every) >= HELD_OUT else every[-1:]
    return np.setdiff1d(every, held), held


def frame_rows(cache: FrameCache, episodes: Ints, count: int, seed: int) -> Ints:
    """Flat indices (count,) of frames drawn from these episodes."""
    rows = np.concatenate([np.arange(cache.starts[e], cache.starts[e] + cache.lengths[e] + 1) for e in episodes])
    return np.sort(np.random.default_rng([seed, 7]).choice(rows, min(count, len(rows)), replace=False))
