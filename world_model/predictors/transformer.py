"""A small causal transformer over the tokens of the window, conditioned on actions by AdaLN."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.errors import UsageError
from imagoal.world_model.predictors._scaled import Scaled, zeroed


@dataclass(frozen=True)
class Transformer:
    """Causal transformer with AdaLN-zero action conditioning (arXiv 2212.09748, section 3.2; arXiv 2603.19312)."""

    history: int = 3
    """How many of the last latents it sees; two or more show velocity."""
    width: int = 96
    """Size of a token inside; a multiple of `heads`."""
    depth: int = 3
    """Blocks."""
    heads: int = 4
    """Attention heads."""

    def __post_init__(self) -> None:
        for field in ("history", "width", "depth", "heads"):
            if getattr(self, field) < 1:
                raise UsageError(f"Transformer.{field} is {getattr(self, field)}; expected 1 or more")
        if self.width % self.heads:
            raise UsageError(f"Transformer.width is {self.width}; expected a multiple of heads, {self.heads}")

    def build(self, tokens: int, token_size: int, action_size: int) -> "CausalTransformer":
        """A new network for N tokens of size D and actions of size A'; random weights come from torch's generator."""
        return CausalTransformer(self, tokens, token_size, action_size)


class CausalTransformer(Scaled):
    """Reads each window by itself, so that depth does not widen what an output sees: exactly the last `history` entries."""

    def __init__(self, config: Transformer, tokens: int, token_size: int, action_size: int) -> None:
        super().__init__(config.history, token_size)
        width = config.width
        self.read = nn.Linear(token_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.read_action = nn.Sequential(nn.Linear(action_size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(config, tokens) for _ in range(config.depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.write = zeroed(nn.Linear(width, token_size))

    def displacement(self, windows: Tensor, actions: Tensor) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D) and their actions (M, history, A')."""
        hidden = self.read(windows) + self.position
        conditions = self.read_action(actions)[:, :, None]
        for block in self.blocks[:-1]:
            hidden = block(hidden, conditions, self.history)
        last: Tensor = self.blocks[-1](hidden, conditions, 1)[:, 0]
        shift, scale = self.modulation(conditions[:, -1]).chunk(2, -1)
        change: Tensor = self.write(_modulate(last, shift, scale))
        return change


class Block(nn.Module):
    """Attention to the same and earlier times, then an MLP; actions shift, scale and gate both."""

    lags: Tensor

    def __init__(self, config: Transformer, tokens: int) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.lag_bias = nn.Parameter(torch.zeros(config.heads, config.history))
        times = torch.arange(config.history).repeat_interleave(tokens)
        self.register_buffer("lags", times[:, None] - times, persistent=False)

    def forward(self, hidden: Tensor, conditions: Tensor, times: int) -> Tensor:
        """The last `times` of hidden (M, history, N, width), each changed by its action (M, history, 1, width)."""
        shift, scale, gate, *after = self.modulation(conditions).chunk(6, -1)
        seen = _modulate(hidden, shift, scale)
        hidden = hidden[:, -times:]
        hidden = hidden + gate[:, -times:] * self._attend(seen, times)
        shift, scale, gate = (part[:, -times:] for part in after)
        change: Tensor = gate * self.mlp(_modulate(hidden, shift, scale))
        return hidden + change

    def _attend(self, seen: Tensor, times: int) -> Tensor:
        """What the last `times` of (M, history, N, width) gather; from 16 tokens up, plain matmuls beat the fused kernel."""
        query = self._split(self.query(seen[:, -times:]))
        key, value = (self._split(part) for part in self.key_value(seen).chunk(2, -1))
        lags = self.lags[-query.shape[2] :]
        bias = self.lag_bias[:, lags.clamp_min(0)].masked_fill(lags < 0, -torch.inf)
        scores = (query / query.shape[3] ** 0.5) @ key.transpose(2, 3) + bias
        gathered = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        out: Tensor = self.out(gathered)
        return out.reshape(len(out), times, -1, out.shape[2])

    def _split(self, hidden: Tensor) -> Tensor:
        """(M, times, N, width) to (M, heads, times x N, width / heads)."""
        return hidden.reshape(len(hidden), -1, self.heads, hidden.shape[3] // self.heads).transpose(1, 2)


def _modulate(hidden: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(hidden, hidden.shape[-1:]) * (1 + scale) + shift
