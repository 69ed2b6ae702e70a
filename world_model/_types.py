"""The nouns of learning: the chain of places, frozen encoders, predictors, world models.

Shapes: B problems side by side, K candidates, M any batch, T past frames, H horizon in model steps, A' action size of one model
step (action_block x A), N tokens per frame, D token size, S state size, h w pixels. One vector per frame is N = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeGuard

import torch
from torch import Tensor, nn

Place = Literal["state", "frame", "latent", "probe"]
"""The chain, left to right: state --render--> frame --encode--> latent --probe--> probed state."""

PLACES: tuple[Place, ...] = ("state", "frame", "latent", "probe")

Label = Literal["generic", "in_domain_action_free", "in_domain_actions", "random"]
"""What an encoder was trained on; every table prints it."""

State = tuple[Tensor, ...]
"""What a world model knows about now; every tensor batch first, so anyone may repeat or slice it."""

Memory = State

Linearised = tuple[Tensor, Tensor, Tensor]
"""One step ahead of each point of a path, (..., H, N, D); its derivatives by the `history` latents before it, oldest first,
(..., H, N x D, history x N x D); and by their actions, (..., H, N x D, history x A'). By what was before the path, which nobody
can change, they are given or left out as 0."""


@dataclass(frozen=True)
class Observation:
    """One instant: what evaluation hands an agent, and what a goal is.

    Attributes:
        frame: u8 (B, 3, h, w).
        state: f64 (B, S), only if the agent is privileged.
    """

    frame: Tensor
    state: Tensor | None = None


@dataclass(frozen=True)
class Past:
    """What an agent has seen and done up to now, one frame per model step.

    Attributes:
        frames: u8 (B, T, 3, h, w), the last one is now.
        actions: (B, T - 1, A'), between the frames.
        state: f64 (B, S) now, only if the agent is privileged.
        new: how many of the frames are later than the previous observation; None if there was none.
    """

    frames: Tensor
    actions: Tensor
    state: Tensor | None = None
    new: int | None = None


class Encoder(Protocol):
    """Frame to latents; frozen."""

    @property
    def label(self) -> Label:
        """What it was trained on."""
        ...

    @property
    def hash(self) -> str:
        """SHA-256 of its configuration and weights."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Latents (M, N, D) of frames (M, 3, h, w), u8 or float in [0, 1]."""
        ...


class EncoderConfig(Protocol):
    """An entry of `world_model/encoders/`: a frozen dataclass that builds the network.

    The network maps float frames (M, 3, h, w) in [0, 1] to latents (M, N, D).
    """

    @property
    def label(self) -> Label:
        """What the network's weights were trained on as it is built."""
        ...

    def build(self) -> nn.Module:
        """The network; its weights depend on nothing but the configuration."""
        ...

    def layers(self) -> nn.Module:
        """The same network with any weights, for whoever has them saved: needs no package that only holds weights."""
        ...


class PredictorConfig(Protocol):
    """An entry of `world_model/predictors/`: a frozen dataclass that builds the network."""

    @property
    def history(self) -> int:
        """How many of the last latents the prediction depends on."""
        ...

    def build(self, tokens: int, token_size: int, action_size: int) -> "Predictor":
        """A new network for N tokens of size D and actions of size A'; random weights come from torch's generator."""
        ...


class Predictor(nn.Module):
    """Latents and actions to the next latents. A subclass defines `forward`, and may override the rest to be faster.

    Attributes:
        history: how many of the last latents (with their actions) an output depends on.
    """

    history: int

    @property
    def unit(self) -> Tensor:
        """What an error is divided by in training: broadcasts over (N, D); 1 unless a subclass scales its dimensions."""
        return torch.ones(())

    def fit_scale(self, latents: Tensor, deltas: Tensor) -> None:
        """Adapt to latents (F, N, D) and to their changes (M, N, D) in one model step, before training; by default nothing."""

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latents after each step.

        Output t is the latent after action t, and sees the last `history` entries up to t; before the start the first latent
        is repeated, with zero actions.

        Args:
            latents: (M, T, N, D), any T.
            actions: (M, T, A'); action t is taken at latent t.

        Returns:
            (M, T, N, D).
        """
        raise NotImplementedError

    def start(self, latents: Tensor, actions: Tensor) -> Memory:
        """The memory after latents (M, T, N, D) and the actions (M, T - 1, A') between them; by default the last window."""
        missing = max(0, self.history - latents.shape[1])
        latents, actions = pad_start(latents, actions, missing)
        return latents[:, -self.history :], actions[:, actions.shape[1] - self.history + 1 :]

    def extend(self, memory: Memory, latents: Tensor, actions: Tensor) -> Memory:
        """Append n steps: actions (M, n, A') and the latents (M, n, N, D), real or imagined, to which they led."""
        past_latents, past_actions = memory
        return self.start(torch.cat([past_latents, latents], 1), torch.cat([past_actions, actions], 1))

    def unroll(self, memory: Memory, actions: Tensor) -> tuple[Tensor, Memory]:
        """Imagine: latents (M, H, N, D) after each of the actions (M, H, A'), and the memory then."""
        imagined = []
        for step in range(actions.shape[1]):
            latents, past = memory
            action = actions[:, step : step + 1]
            following = self(latents, torch.cat([past, action], 1))[:, -1:]
            imagined.append(following)
            memory = self.extend(memory, following, action)
        return torch.cat(imagined, 1), memory

    def along(self, memory: Memory, path: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, H, N, D) after each of the actions (M, H, A'), if those before are a path (M, H, N, D).

        One step ahead of each point, all at once: whatever the path is, what was imagined before a point is not used.
        """
        latents, past = memory
        before = torch.cat([latents, path[:, :-1]], 1)
        following: Tensor = self(before, torch.cat([past, actions], 1))
        return following[:, -actions.shape[1] :]

    def linearise(self, memory: Memory, path: Tensor, actions: Tensor) -> Linearised:
        """As `along`, and how each step answers to small changes of what it sees.

        An output sees the last `history` entries, so steps that are `history` apart share a backward pass.
        """
        with torch.enable_grad():
            path, actions = path.detach().requires_grad_(), actions.detach().requires_grad_()
            ahead = self.along(memory, path, actions).flatten(2)
        batch, steps, size = ahead.shape
        colours, now = min(self.history, steps), torch.arange(steps, device=ahead.device)
        seeds = torch.eye(colours * size, device=ahead.device).reshape(colours * size, colours, size)[:, now % colours]
        gradients = torch.autograd.grad(ahead, (path, actions), seeds[:, None].expand(-1, batch, -1, -1), is_grads_batched=True)

        def seen(gradient: Tensor, before: int) -> Tensor:
            """Of the step at each time, by the window that ends `before` or 1 entries earlier: (M, H, n, history x m)."""
            entries = gradient.reshape(colours, size, batch, steps, -1).movedim(3, 0)
            entries = torch.cat([torch.zeros_like(entries[:1]).expand(before, *entries.shape[1:]), entries])
            windows = entries.unfold(0, self.history, 1)[now, now % colours]  # (H, n, M, m, history)
            return windows.permute(2, 0, 1, 4, 3).flatten(3)

        return ahead.detach().reshape(path.shape), seen(gradients[0], self.history), seen(gradients[1], self.history - 1)


def pad_start(latents: Tensor, actions: Tensor, missing: int) -> tuple[Tensor, Tensor]:
    """Repeat the first latent (M, T, ...) `missing` times, and put as many zero actions (M, ., A') before it."""
    if missing == 0:
        return latents, actions
    first = latents[:, :1].expand(-1, missing, *latents.shape[2:])
    return torch.cat([first, latents], 1), torch.nn.functional.pad(actions, (0, 0, missing, 0))


def shows_paths(model: "WorldModel") -> "TypeGuard[PathModel]":
    """Whether a world model says where each step of any path would lead, not only what it imagines from now on."""
    return hasattr(model, "along") and hasattr(model, "linearise")


class WorldModel(Protocol):
    """Imagines what actions lead to, at one place of the chain. All attributes are read-only."""

    @property
    def place(self) -> Place:
        """Where it imagines."""
        ...

    @property
    def history(self) -> int:
        """Past frames that `observe` wants."""
        ...

    @property
    def action_block(self) -> int:
        """Env steps per model step."""
        ...

    @property
    def action_size(self) -> int:
        """A' = action_block x A."""
        ...

    @property
    def privileged(self) -> bool:
        """Whether it sees the true state."""
        ...

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow from `rollout` to the actions."""
        ...

    @property
    def encoder_hash(self) -> str | None:
        """Hash of the encoder whose latents it imagines, if it does."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the actions that `rollout` wants."""
        ...

    @property
    def device(self) -> torch.device:
        """Where `rollout` runs."""
        ...

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """What the model knows now; called once per plan. Noise, if any, comes from `seeds` (B) and lives in the state."""
        ...

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """Imagine, purely: the same whatever it is chunked or batched with.

        Args:
            state: from `observe`, batch B.
            actions: (B, K, H, A').

        Returns:
            latents (B, K, H, N, D), frames f32 (B, K, H, 3, h, w) or states (B, K, H, S), by `place`.
        """
        ...


class PathModel(WorldModel, Protocol):
    """A world model that also judges paths; what a planner that searches over paths needs. Told by `shows_paths`."""

    @property
    def unit(self) -> Tensor:
        """The usual change in one model step, broadcasts over a point of a path."""
        ...

    def along(self, state: State, path: Tensor, actions: Tensor) -> Tensor:
        """What actions (B, K, H, A') lead to, each from the points before it of a path (B, K, H, ...): (B, K, H, ...)."""
        ...

    def linearise(self, state: State, path: Tensor, actions: Tensor) -> Linearised:
        """As `along`, and how each step answers to small changes of the path and of the actions."""
        ...
