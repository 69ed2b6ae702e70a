"""A causal transformer that never computes a frame twice: what its blocks saw of earlier frames is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagoal.world_model._types import Memory, pad_start
from imagoal.world_model.predictors._blocks import Portions, Shape, Trunk
from imagoal.world_model.predictors._scaled import Scaled


@dataclass(frozen=True)
class Streaming(Shape):
    """Causal transformer with a banded mask and relative positions, so that its keys and values stay valid as time goes on.

    A block sees its own time and a few earlier ones; through the blocks below it, it sees further back. The `history` - 1
    earlier frames that an output depends on are shared out among the blocks: one for each where `history` is `depth` + 1.
    Training goes over whole sequences under the same mask, so what is trained is what is streamed. Sliding-window attention
    with a rolling cache: Jiang et al. 2023 (arXiv 2310.06825, section 2); actions condition as in `transformer`.
    """

    history: int = 4
    """How many of the last latents an output depends on, through all blocks together."""

    def lags(self) -> list[int]:
        """How many earlier times each block sees; the first blocks take what does not divide."""
        each, rest = divmod(self.history - 1, self.depth)
        return [each + (block < rest) for block in range(self.depth)]

    def build(self, tokens: int, token_size: int, action_size: int) -> "StreamingTransformer":
        """A new network for N tokens of size D and actions of size A'; random weights come from torch's generator."""
        return StreamingTransformer(self, tokens, token_size, action_size)


class StreamingTransformer(Scaled):
    """Its memory is the last latent, and the keys and values (M, lags, N, 2 inner) of each block that sees earlier times."""

    def __init__(self, config: Streaming, tokens: int, token_size: int, action_size: int) -> None:
        super().__init__(config.history, token_size)
        self.trunk = Trunk(config, config.lags(), tokens, token_size, action_size)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, T, N, D) after each of the actions (M, T, A') taken at latents (M, T, N, D); see `Predictor`."""
        following, _ = self._advance(*pad_start(latents, actions, self.history - 1), ())
        return following[:, self.history - 1 :]

    def start(self, latents: Tensor, actions: Tensor) -> Memory:
        """The memory after latents (M, T, N, D) and the actions (M, T - 1, A') between them."""
        latents, actions = super().start(latents, actions)
        if self.history == 1:
            return (latents,)
        _, caches = self._advance(latents[:, :-1], actions, ())
        return latents[:, -1:], *caches

    def extend(self, memory: Memory, latents: Tensor, actions: Tensor) -> Memory:
        """Append n steps: actions (M, n, A') and the latents (M, n, N, D), real or imagined, to which they led."""
        last, *caches = memory
        _, caches = self._advance(torch.cat([last, latents[:, :-1]], 1), actions, caches)
        return latents[:, -1:], *caches

    def unroll(self, memory: Memory, actions: Tensor) -> tuple[Tensor, Memory]:
        """Imagine: latents (M, H, N, D) after each of the actions (M, H, A'), and the memory then. One frame for each step."""
        last, *caches = memory
        modulations, bands, imagined = self.trunk.modulations(actions), self._bands(1, caches), []
        pasts = [cache.chunk(cache.shape[1], 1) for cache in caches]
        for step in range(actions.shape[1]):
            now = [modulation[:, step : step + 1] for modulation in modulations]
            last, seen = self._following(last, now, bands, pasts)
            pasts = [(*past[1:], new) for past, new in zip(pasts, seen, strict=False)]
            imagined.append(last)
        return torch.cat(imagined, 1), (last, *(torch.cat(past, 1).to(last) for past in pasts))

    def along(self, memory: Memory, path: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, H, N, D) after each of the actions (M, H, A'), if those before are a path (M, H, N, D)."""
        last, *caches = memory
        return self._advance(torch.cat([last, path[:, :-1]], 1), actions, caches)[0]

    def _advance(self, latents: Tensor, actions: Tensor, caches: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The latents after each of (M, T, N, D) and (M, T, A'), all at once, and the caches then."""
        bands, pasts = self._bands(latents.shape[1], caches), [(cache,) for cache in caches]
        following, seen = self._following(latents, self.trunk.modulations(actions), bands, pasts)
        every = [torch.cat([*past, new], 1) for past, new in zip(self._whole(pasts), seen, strict=True)]
        return following, [times[:, -lag:] for times, lag in zip(every, self.trunk.lags, strict=True) if lag]

    def _following(
        self, latents: Tensor, modulations: Sequence[Tensor], bands: Sequence[Tensor], pasts: Sequence[Portions]
    ) -> tuple[Tensor, list[Tensor]]:
        """The latents after each of (M, T, N, D), and what each block saw of these."""
        changes, seen = self.trunk(self.standardised(latents), modulations, bands, self._whole(pasts))
        return latents + self.delta_std * changes, seen

    def _whole(self, pasts: Sequence[Portions]) -> list[Portions]:
        """The past of each block, from those that have one: the first blocks."""
        return [*pasts, *[()] * (len(self.trunk.lags) - len(pasts))]

    def _bands(self, times: int, caches: Sequence[Tensor]) -> list[Tensor]:
        """Of all blocks, for so many new times after those in the caches, which are the first blocks'."""
        depth = len(self.trunk.lags)
        keys = [times + cache.shape[1] for cache in caches] + [times] * (depth - len(caches))
        return self.trunk.bands([times] * depth, keys)
