"""A residual MLP over the whole window: the fastest predictor, and enough for one vector per frame."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.errors import UsageError
from imagoal.world_model.predictors._scaled import Windowed, zeroed


@dataclass(frozen=True)
class MLP:
    """Residual MLP: all latents and actions of the window in, one displacement out."""

    history: int = 3
    """How many of the last latents it sees; two or more show velocity."""
    width: int = 256
    """Size of the hidden vector."""
    depth: int = 3
    """Residual blocks."""

    def __post_init__(self) -> None:
        for field in ("history", "width", "depth"):
            if getattr(self, field) < 1:
                raise UsageError(f"MLP.{field} is {getattr(self, field)}; expected 1 or more")

    def build(self, tokens: int, token_size: int, action_size: int) -> "ResidualMLP":
        """A new network for N tokens of size D and actions of size A'; random weights come from torch's generator."""
        return ResidualMLP(self, tokens, token_size, action_size)


class ResidualMLP(Windowed):
    """A residual stream that starts as the whole window, flat, and ends as the displacement."""

    def __init__(self, config: MLP, tokens: int, token_size: int, action_size: int) -> None:
        super().__init__(config.history, token_size)
        self.network = nn.Sequential(
            nn.Linear(config.history * (tokens * token_size + action_size), config.width),
            *(Block(config.width) for _ in range(config.depth)),
            nn.LayerNorm(config.width),
            zeroed(nn.Linear(config.width, tokens * token_size)),
        )

    def displacement(self, windows: Tensor, actions: Tensor) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D) and their actions (M, history, A')."""
        change: Tensor = self.network(torch.cat([windows.flatten(1), actions.flatten(1)], 1))
        return change.reshape(windows[:, -1].shape)


class Block(nn.Module):
    """Residual block: norm, linear, SiLU; a second linear was slower and learned no better."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden vectors (M, width) to (M, width)."""
        return hidden + F.silu(self.linear(self.norm(hidden)))
