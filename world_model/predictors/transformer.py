"""A small causal transformer over the tokens of the window, conditioned on actions by AdaLN."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagoal.world_model._types import Memory
from imagoal.world_model.predictors._blocks import Shape, Trunk
from imagoal.world_model.predictors._scaled import Windowed


@dataclass(frozen=True)
class Transformer(Shape):
    """Causal transformer whose actions condition by AdaLN (arXiv 2212.09748, section 3.2; arXiv 2603.19312)."""

    def build(self, tokens: int, token_size: int, action_size: int) -> "CausalTransformer":
        """A new network for N tokens of size D and actions of size A'; random weights come from torch's generator."""
        return CausalTransformer(self, tokens, token_size, action_size)


class CausalTransformer(Windowed):
    """Reads each window by itself, so that depth does not widen what an output sees: exactly the last `history` entries."""

    def __init__(self, config: Transformer, tokens: int, token_size: int, action_size: int) -> None:
        super().__init__(config.history, token_size)
        self.trunk = Trunk(config, [config.history - 1] * config.depth, tokens, token_size, action_size)

    def displacement(self, windows: Tensor, actions: Tensor) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D) and their actions (M, history, A')."""
        return self._change(windows, self.trunk.modulations(actions), self._bands())

    def unroll(self, memory: Memory, actions: Tensor) -> tuple[Tensor, Memory]:
        """As `Windowed.unroll`; what actions do to the blocks is computed once for each action, not in each of its windows."""
        window, past = memory
        past = torch.cat([past, actions], 1)
        modulations, bands, imagined = self.trunk.modulations(past), self._bands(), []
        for step in range(actions.shape[1]):
            now = [modulation[:, step : step + self.history] for modulation in modulations]
            change = self._change(self.standardised(window), now, bands)
            imagined.append((window[:, -1] + self.delta_std * change)[:, None])
            window = torch.cat([window[:, 1:], imagined[-1]], 1)
        return torch.cat(imagined, 1), (window, past[:, actions.shape[1] :])

    def _change(self, windows: Tensor, modulations: Sequence[Tensor], bands: Sequence[Tensor]) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D)."""
        changes: Tensor = self.trunk(windows, modulations, bands, [()] * len(bands))[0]
        return changes[:, 0]

    def _bands(self) -> list[Tensor]:
        """Of all blocks; the last one computes the last time only."""
        depth = len(self.trunk.blocks)
        return self.trunk.bands([self.history] * (depth - 1) + [1], [self.history] * depth)
