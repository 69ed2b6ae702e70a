"""A predictor of the published size for `peers.py`: LeWM as stable-worldmodel ships it, random weights, so for speed alone.

LeWM (arXiv 2603.19312) reads windows of 3 latents: depth 6, width 192, 16 heads of 64, MLPs of 2048; 10.8 M parameters. Its own
rollout computes the whole window anew in each step. `Exact` gives the same numbers, computing nothing twice. `Made` is a
predictor of ours in the same size, made for planning: other windows, so it has to be trained as such.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.peers.foreign import hollow
from imagoal.world_model import Predictor
from imagoal.world_model.models import Imagine, compile_rollout, mixed, plain_rollout
from imagoal.world_model.predictors.streaming import Streaming

hollow("stable_worldmodel.wm")
from stable_worldmodel.wm.lewm.lewm import LeWM
from stable_worldmodel.wm.lewm.module import MLP, Embedder
from stable_worldmodel.wm.lewm.module import Predictor as Published

SIZE, ACTION_SIZE, WINDOW, DEPTH, HEADS = 192, 10, 3, 6, 16
KeyValue = tuple[Tensor, Tensor]
Costing = Callable[[Tensor], Tensor]


def build(seed: int) -> LeWM:
    """Random weights, also where LeWM starts from zero, so that nothing is exact by being zero."""
    torch.manual_seed(seed)
    predictor = Published(
        num_frames=WINDOW, depth=DEPTH, heads=HEADS, mlp_dim=2048, input_dim=SIZE, hidden_dim=SIZE, dim_head=64
    )
    embedder = Embedder(input_dim=ACTION_SIZE, smoothed_dim=ACTION_SIZE, emb_dim=SIZE)
    model = LeWM(nn.Identity(), predictor, embedder, pred_proj=MLP(SIZE, 2048, SIZE))
    for block in predictor.transformer.layers:
        nn.init.normal_(block.adaLN_modulation[-1].weight, std=0.02)
        nn.init.normal_(block.adaLN_modulation[-1].bias, std=0.5)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Task:
    """B problems of random latents, with a way to compute their cost.

    Attributes:
        now: (B, D), the one latent that is known.
        goal: (B, D).
        costing: makes the cost function.
    """

    now: Tensor
    goal: Tensor
    costing: "Callable[[Task], Costing]"
    action_size: ClassVar[int] = ACTION_SIZE

    def __len__(self) -> int:
        return len(self.now)

    @classmethod
    def random(cls, count: int, costing: "Callable[[Task], Costing]") -> "Task":
        return cls(*torch.randn(2, count, SIZE, generator=torch.Generator().manual_seed(count)), costing)

    def cost(self) -> "Costing":
        return self.costing(self)

    def row(self, index: int) -> "Task":
        """One of the problems."""
        return Task(self.now[index : index + 1], self.goal[index : index + 1], self.costing)


class Native:
    """LeWM's own cost, by its own rollout."""

    differentiable = False

    def __init__(self, model: LeWM, task: Task) -> None:
        self._model, self._task = model, task

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A)."""
        count, task = actions.shape[1], self._task
        known = {"emb": task.now[:, None], "goal_emb": task.goal[:, None], "pixels": task.now[:, None, :1], "goal": task.goal}
        return self._model.get_cost(
            {key: value[:, None].expand(-1, count, *value.shape[1:]) for key, value in known.items()}, actions
        )


class Weights:
    """LeWM's weights, as `Exact` uses them.

    Args:
        dtype: of products and attention; sums and norms are fp32.
    """

    def __init__(self, model: LeWM, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.embed = dtype, model.action_encoder
        self.positions, self.norm = model.predictor.pos_embedding, model.predictor.transformer.norm
        self.layers = [Layer(block, dtype) for block in model.predictor.transformer.layers]
        first, self._head_norm, self._activation, second = model.pred_proj.net
        self._head_in, self._head_out = as_product(first, dtype), as_product(second, dtype)

    def head(self, hidden: Tensor) -> Tensor:
        """Latents (M, D) of the last tokens (M, D)."""
        return self._head_out(self._activation(self._head_norm(self._head_in(self.norm(hidden)).float()))).float()


class Exact:
    """The same cost of the same weights: keys and values kept while the window grows, what follows from actions alone computed
    once, and in the last layer and the head the last token only.
    """

    differentiable = False

    def __init__(self, weights: Weights, task: Task) -> None:
        self._weights, self._task = weights, task

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A)."""
        weights, (count, horizon) = self._weights, actions.shape[1:3]
        conditions = F.silu(weights.embed(actions.flatten(0, 1))).to(weights.dtype)
        changes = [layer.modulate(conditions).float().chunk(6, -1) for layer in weights.layers]
        latents = [self._task.now.repeat_interleave(count, 0)]
        kept: list[KeyValue | None] = [None] * DEPTH
        for step in range(horizon):
            first = max(0, step + 1 - WINDOW)
            if step >= WINDOW:  # the window slides: every position in it has changed
                kept = [None] * DEPTH
            new = step if kept[0] else first
            hidden = torch.stack(latents[new:], 1) + weights.positions[:, new - first : step + 1 - first]
            for number, layer in enumerate(weights.layers):
                change = [part[:, new : step + 1] for part in changes[number]]
                hidden, kept[number] = layer(hidden, change, kept[number], number == DEPTH - 1)
            latents.append(weights.head(hidden[:, -1]))
        goals = self._task.goal.repeat_interleave(count, 0)
        return F.mse_loss(latents[-1], goals, reduction="none").sum(1).reshape(-1, count)


class Made:
    """The same cost by a predictor of ours."""

    differentiable = False

    def __init__(self, network: Predictor, imagine: Imagine, task: Task) -> None:
        self._network, self._imagine, self._task = network, imagine, task

    @classmethod
    def streaming(cls, bf16: bool, fast: bool = False) -> "Callable[[Task], Made]":
        """Of the published size, random weights; a block sees as many times as a window holds, none is computed twice.

        Args:
            bf16: whether its products are in bf16.
            fast: whether it is compiled.
        """
        torch.manual_seed(0)
        shape = Streaming(history=1 + (WINDOW - 1) * DEPTH, width=SIZE, depth=DEPTH, heads=HEADS, head_size=64, mlp_size=2048)
        network = shape.build(1, SIZE, ACTION_SIZE).eval().requires_grad_(False)
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.02)
        network = mixed(network) if bf16 else network
        imagine = plain_rollout(network)
        return partial(cls, network, compile_rollout(imagine, torch.device("cpu")) if fast else imagine)

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A)."""
        count, now = actions.shape[1], self._task.now[:, None, None]
        memory = self._network.start(now, actions[:, 0, :0])
        repeated = tuple(part.repeat_interleave(count, 0) for part in memory)
        latents = self._imagine(repeated, actions.flatten(0, 1))
        goals = self._task.goal.repeat_interleave(count, 0)
        return F.mse_loss(latents[:, -1, 0], goals, reduction="none").sum(1).reshape(-1, count)


class Layer:
    """One block of LeWM."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self._block, feed = block, block.mlp.net
        self.modulate = as_product(block.adaLN_modulation[1], dtype)
        self._query_key_value, self._out = (as_product(linear, dtype) for linear in (block.attn.to_qkv, block.attn.to_out[0]))
        inner = block.attn.to_qkv.out_features // 3
        weight = block.attn.to_qkv.weight
        self._query, self._key_value = (product(part, None, dtype) for part in (weight[:inner], weight[inner:]))
        self._up, self._down = as_product(feed[1], dtype), as_product(feed[4], dtype)

    def __call__(self, hidden: Tensor, change: Sequence[Tensor], kept: KeyValue | None, last: bool) -> tuple[Tensor, KeyValue]:
        """The new tokens (M, n, D), or the last one of them, after attention to all, and the keys and values of all."""
        shift, scale, gate, *after = change
        block = self._block
        seen = block.attn.norm(block.norm1(hidden) * (1 + scale) + shift)
        if last and hidden.shape[1] > 1:
            query, parts = self._query(seen[:, -1:]), self._key_value(seen).chunk(2, -1)
            hidden, gate, after = hidden[:, -1:], gate[:, -1:], [part[:, -1:] for part in after]
        else:
            query, *parts = self._query_key_value(seen).chunk(3, -1)
        key, value = (part.unflatten(2, (HEADS, -1)) for part in parts)
        if kept is not None:
            key, value = torch.cat([kept[0], key], 1), torch.cat([kept[1], value], 1)
        hidden = hidden + gate * self._out(attend(query.unflatten(2, (HEADS, -1)), key, value)).float()
        shift, scale, gate = after
        seen = block.mlp.net[0](block.norm2(hidden) * (1 + scale) + shift)
        return hidden + gate * self._down(F.gelu(self._up(seen))).float(), (key, value)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What the last n tokens (M, n, heads, d) gather from T (M, T, heads, d), causally: (M, n, heads x d).

    By plain products: for windows this small, PyTorch's fused attention takes most of its time to begin, in bf16 above all.
    """
    scores = torch.einsum("mqhd,mkhd->mhqk", query, key).float() * query.shape[3] ** -0.5
    new, total = scores.shape[2:]
    if new > 1:
        scores = scores + torch.full((new, total), -torch.inf).triu(1 + total - new)
    return torch.einsum("mhqk,mkhd->mqhd", scores.softmax(3).to(value.dtype), value).flatten(2)


Product = Callable[[Tensor], Tensor]


def as_product(linear: nn.Linear, dtype: torch.dtype) -> Product:
    return product(linear.weight, linear.bias, dtype)


def product(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Product:
    """A linear layer computed in a type."""
    weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    return lambda inputs: F.linear(inputs.to(dtype), weight, bias)
