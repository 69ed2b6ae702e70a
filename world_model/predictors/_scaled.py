"""What all our predictors share: latents standardised on the way in; a displacement out, in units of its own spread."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from imagoal.world_model._types import Linearised, Memory, Predictor, pad_start


class Scaled(Predictor):
    """Latents go in and come out raw. Dimensions differ in scale and in how fast they change, hence two scalings.

    Both are shared by all tokens, so that a token in which nothing ever moves is not amplified.

    Attributes:
        latent_mean: (D,), of latents.
        latent_std: (D,), of latents.
        delta_std: (D,), root mean square of the change in one model step: the unit of the network's output.
    """

    latent_mean: Tensor
    latent_std: Tensor
    delta_std: Tensor

    def __init__(self, history: int, token_size: int) -> None:
        super().__init__()
        self.history = history
        self.register_buffer("latent_mean", torch.zeros(token_size))
        self.register_buffer("latent_std", torch.ones(token_size))
        self.register_buffer("delta_std", torch.ones(token_size))

    @property
    def unit(self) -> Tensor:
        """The usual change of each dimension, (D,)."""
        return self.delta_std

    @torch.no_grad()
    def fit_scale(self, latents: Tensor, deltas: Tensor) -> None:
        """Set the scales from latents (F, N, D) and changes (M, N, D) in one model step, as found in the data."""
        self.latent_mean.copy_(latents.mean((0, 1)))
        self.latent_std.copy_(_off_zero(latents.std((0, 1), correction=0)))
        self.delta_std.copy_(_off_zero(torch.linalg.vector_norm(deltas, dim=(0, 1)) / deltas[..., 0].numel() ** 0.5))

    def standardised(self, latents: Tensor) -> Tensor:
        """Latents (..., D) with mean 0 and spread 1."""
        return (latents - self.latent_mean) / self.latent_std

    def windows(self, latents: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The last `history` entries up to each of (M, T, N, D), (M, T, A'): (M x T, history, N, D), (M x T, history, A')."""
        latents, actions = pad_start(latents, actions, self.history - 1)
        windows = latents.unfold(1, self.history, 1).movedim(-1, 2)
        window_actions = actions.unfold(1, self.history, 1).movedim(-1, 2)
        return windows.flatten(0, 1), window_actions.flatten(0, 1)


class Windowed(Scaled):
    """Next latent = last latent + delta_std x displacement(standardised window, actions of the window)."""

    @abstractmethod
    def displacement(self, windows: Tensor, actions: Tensor) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D) and their actions (M, history, A')."""

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, T, N, D) after each of the actions (M, T, A') taken at latents (M, T, N, D); see `Predictor`."""
        return self._following(*self.windows(latents, actions)).reshape(latents.shape)

    def unroll(self, memory: Memory, actions: Tensor) -> tuple[Tensor, Memory]:
        """As `Predictor.unroll`, but computes the last window only, not one for each latent in it, and standardises it once."""
        window, every = memory[0], torch.cat([memory[1], actions], 1)
        standard, unit = self.standardised(window), self.delta_std / self.latent_std
        imagined = [*window.unbind(1)]
        for step in range(actions.shape[1]):
            change = self.displacement(standard, every[:, step : step + self.history])
            imagined.append(torch.addcmul(imagined[-1], self.delta_std, change))
            standard = torch.cat([standard[:, 1:], torch.addcmul(standard[:, -1], unit, change)[:, None]], 1)
        memory = (torch.stack(imagined[-self.history :], 1), every[:, actions.shape[1] :])
        return torch.stack(imagined[self.history :], 1), memory

    def linearise(self, memory: Memory, path: Tensor, actions: Tensor) -> Linearised:
        """As `Predictor.linearise`; each step has a window of its own, so one backward pass serves all steps."""
        latents, past = torch.cat([memory[0], path[:, :-1]], 1), torch.cat([memory[1], actions], 1)
        with torch.enable_grad():
            windows = latents.unfold(1, self.history, 1).movedim(-1, 2).flatten(0, 1).detach().requires_grad_()
            window_actions = past.unfold(1, self.history, 1).movedim(-1, 2).flatten(0, 1).detach().requires_grad_()
            ahead = self._following(windows, window_actions).flatten(1)
        seeds = torch.eye(ahead.shape[1], device=ahead.device)[:, None].expand(-1, *ahead.shape)
        gradients = torch.autograd.grad(ahead, (windows, window_actions), seeds, is_grads_batched=True)
        by_latents, by_actions = (each.flatten(2).movedim(0, 1) for each in gradients)
        shape = (*path.shape[:2], ahead.shape[1], -1)
        return ahead.detach().reshape(path.shape), by_latents.reshape(shape), by_actions.reshape(shape)

    def _following(self, window: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, N, D) after windows (M, history, N, D) and their actions (M, history, A')."""
        return window[:, -1] + self.delta_std * self.displacement(self.standardised(window), actions)


def zeroed(linear: nn.Linear) -> nn.Linear:
    """The layer with weights and bias 0; as a last layer it makes a new predictor say that nothing moves."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _off_zero(scales: Tensor) -> Tensor:
    """Scales (D,) that can be divided by: a dead dimension gets 1e-4 of the mean, so that its noise stays small."""
    return scales.clamp_min(1e-4 * float(scales.mean()) + 1e-8)
