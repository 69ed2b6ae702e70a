"""What our transformers are made of: blocks over the tokens of frames x time, conditioned on actions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.errors import UsageError
from imagoal.world_model.predictors._scaled import zeroed

Portions = Sequence[Tensor]
"""Keys and values of a block: (M, S, N, 2 inner), of one or more times each."""

FEW = 8
"""Up to so many keys, a single query is faster without matmuls, and without the fused kernel."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer."""

    history: int = 3
    """How many of the last latents it sees; two or more show velocity."""
    width: int = 96
    """Size of a token inside; a multiple of `heads`, unless `head_size` is set."""
    depth: int = 3
    """Blocks."""
    heads: int = 4
    """Attention heads."""
    head_size: int = 0
    """Size of a head; 0: width / heads."""
    mlp_size: int = 0
    """Hidden size of a block's MLP; 0: 4 x width."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name not in {"head_size", "mlp_size"})
            if value < least:
                raise UsageError(f"{type(self).__name__}.{field.name} is {value}; expected {least} or more")
        if not self.head_size and self.width % self.heads:
            raise UsageError(f"{type(self).__name__}.width is {self.width}; expected a multiple of heads, {self.heads}")


class Trunk(nn.Module):
    """From standardised latents to their changes.

    What follows from the actions (`modulations`) and from the shapes (`bands`) alone is computed apart from the rest, so that
    an imagined future needs it once, not in each step.

    Attributes:
        lags: how many earlier times each block sees.
    """

    def __init__(self, shape: Shape, lags: Sequence[int], tokens: int, token_size: int, action_size: int) -> None:
        super().__init__()
        width, self.lags = shape.width, list(lags)
        self.read = nn.Linear(token_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.read_action = nn.Sequential(nn.Linear(action_size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        head_size, mlp_size = shape.head_size or width // shape.heads, shape.mlp_size or 4 * width
        self.blocks = nn.ModuleList(Block(width, shape.heads, head_size, mlp_size, lag) for lag in lags)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.write = zeroed(nn.Linear(width, token_size))

    def modulations(self, actions: Tensor) -> list[Tensor]:
        """What actions (M, T, A') do to each block, (M, T, 1, 6 width), and to the output, (M, T, 1, 2 width)."""
        conditions = self.read_action(actions)[:, :, None]
        return [*(block.modulation(conditions) for block in self._each()), self.modulation(conditions)]

    def bands(self, times: Sequence[int], keys: Sequence[int]) -> list[Tensor]:
        """The band of each block, which computes the last `times` of `keys` times."""
        tokens, each = len(self.position), zip(self._each(), times, keys, strict=True)
        return [block.band(now, seen, tokens) for block, now, seen in each]

    def forward(
        self, latents: Tensor, modulations: Sequence[Tensor], bands: Sequence[Tensor], pasts: Sequence[Portions]
    ) -> tuple[Tensor, list[Tensor]]:
        """As many of the last times as the last band is for.

        Args:
            latents: (M, T, N, D), standardised.
            modulations: from `modulations` of T actions.
            bands: from `bands`.
            pasts: what each block saw of earlier times.

        Returns:
            Changes (M, times, N, D), and what each block saw of these times, (M, T, N, 2 inner).
        """
        hidden, seen = self.read(latents) + self.position, []
        for block, modulation, band, past in zip(self.blocks, modulations[:-1], bands, pasts, strict=True):
            hidden, now = block(hidden, modulation, band, past)
            seen.append(now)
        shift, scale = modulations[-1][:, -hidden.shape[1] :].chunk(2, -1)
        return self.write(_modulate(hidden, shift, scale)), seen

    def _each(self) -> list["Block"]:
        return cast(list[Block], list(self.blocks))


class Block(nn.Module):
    """Attention to the same and at most `lags` earlier times, then an MLP; actions shift, scale and gate both (AdaLN).

    How far two times are apart, and nothing else, tells them from each other: it does not matter where a window begins.
    """

    narrow: ClassVar[tuple[str, ...]] = ("query", "key_value")
    """Layers whose output may stay in bf16, if they multiply in it: attention reads it often, and sums in fp32."""

    def __init__(self, width: int, heads: int, head_size: int, mlp_size: int, lags: int) -> None:
        super().__init__()
        self.heads, self.lags, inner = heads, lags, heads * head_size
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_size), nn.SiLU(), nn.Linear(mlp_size, width))
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        nn.init.ones_(self.modulation.bias[2 * width : 3 * width])  # gates begin open, and heads with a time of their own each:
        nn.init.ones_(self.modulation.bias[5 * width :])  # it learns sooner, and the last layer, at 0, says that nothing moves
        head = torch.arange(heads)
        self.lag_bias = nn.Parameter(torch.where(head[:, None] % (lags + 1) == torch.arange(lags + 1), 0.0, -4.0))

    def band(self, times: int, keys: int, tokens: int) -> Tensor:
        """What is added to the scores of the last `times` of `keys` times, (heads, times x N, keys x N); -inf is not seen."""
        at = torch.arange(keys, device=self.lag_bias.device)
        lags = at[keys - times :, None] - at
        bias = self.lag_bias[:, lags.clamp(0, self.lags)].masked_fill((lags < 0) | (lags > self.lags), -torch.inf)
        return bias.repeat_interleave(tokens, 1).repeat_interleave(tokens, 2)

    def forward(self, hidden: Tensor, modulation: Tensor, band: Tensor, past: Portions = ()) -> tuple[Tensor, Tensor]:
        """As many of the last times as the band is for.

        Args:
            hidden: (M, T, N, width).
            modulation: (M, T, 1, 6 width), of each time's action.
            band: from `band`, for these times, and S + T keys.
            past: keys and values of S earlier times.

        Returns:
            Hidden (M, times, N, width), and keys and values (M, T, N, 2 inner).
        """
        shift, scale, gate, *after = modulation.chunk(6, -1)
        normed = _modulate(hidden, shift, scale)
        keys_values = self.key_value(normed)
        times = band.shape[1] // hidden.shape[2]
        gathered = self._gather(self.query(normed[:, -times:]), [*past, keys_values], band)
        hidden = hidden[:, -times:] + gate[:, -times:] * self.out(gathered)
        shift, scale, gate = (part[:, -times:] for part in after)
        return hidden + gate * self.mlp(_modulate(hidden, shift, scale)), keys_values

    def _gather(self, query: Tensor, portions: Portions, band: Tensor) -> Tensor:
        """What queries (M, T, N, inner) gather from keys and values, (M, T, N, inner)."""
        if band.shape[1] == 1 and band.shape[2] <= FEW:
            return self._gather_one(query, portions, band)
        every = (torch.cat(list(portions), 1) if len(portions) > 1 else portions[0]).to(band)
        queries = query.to(band).reshape(len(query), -1, self.heads, query.shape[3] // self.heads).transpose(1, 2)
        keys, values = every.reshape(len(query), -1, 2 * self.heads, queries.shape[3]).transpose(1, 2).chunk(2, 1)
        gathered = F.scaled_dot_product_attention(queries, keys, values, band[None])  # the fused kernel wants four dimensions
        return gathered.transpose(1, 2).reshape(query.shape)

    def _gather_one(self, query: Tensor, portions: Portions, band: Tensor) -> Tensor:
        """The same for one query, time by time: several times faster there than the fused kernel, and nothing is copied."""
        size = query.shape[3] // self.heads
        times = [time.reshape(len(query), 2 * self.heads, size) for portion in portions for time in portion.unbind(1)]
        keys, values = zip(*(time.chunk(2, 1) for time in times), strict=True)
        scaled = query.reshape(len(query), self.heads, size) * size**-0.5
        scores = torch.stack([(scaled * key).sum(2, dtype=band.dtype) for key in keys]) + band[:, 0].T[:, None]
        weights = scores.softmax(0)[..., None].to(query)
        gathered: Tensor = weights[0] * values[0]
        for weight, value in zip(weights[1:], values[1:], strict=True):
            gathered = torch.addcmul(gathered, weight, value)
        return gathered.reshape(query.shape)


def _modulate(hidden: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Hidden vectors (..., width), normed, then shifted and scaled."""
    return torch.addcmul(shift, F.layer_norm(hidden, hidden.shape[-1:]), 1 + scale)
