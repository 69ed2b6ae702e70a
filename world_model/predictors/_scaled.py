"""What all our predictors share: windows of latents, standardised; a displacement out, in units of its own spread."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from imagoal.world_model._types import Memory, Predictor, pad_start


class Scaled(Predictor):
    """Next latent = last latent + delta_std x displacement(standardised window, actions of the window).

    Latents go in and come out raw. Dimensions differ in scale and in how fast they change, hence the two scalings; both are
    shared by all tokens, so that a token in which nothing ever moves is not amplified.

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

    @abstractmethod
    def displacement(self, windows: Tensor, actions: Tensor) -> Tensor:
        """The change (M, N, D) after standardised windows (M, history, N, D) and their actions (M, history, A')."""

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

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, T, N, D) after each of the actions (M, T, A') taken at latents (M, T, N, D); see `Predictor`."""
        latents, actions = pad_start(latents, actions, self.history - 1)
        windows = latents.unfold(1, self.history, 1).movedim(-1, 2)
        window_actions = actions.unfold(1, self.history, 1).movedim(-1, 2)
        following = self._following(windows.flatten(0, 1), window_actions.flatten(0, 1))
        return following.reshape(*windows.shape[:2], *following.shape[1:])

    def unroll(self, memory: Memory, actions: Tensor) -> tuple[Tensor, Memory]:
        """As `Predictor.unroll`, but computes the last window only, not one for each latent in it."""
        window, past = memory
        imagined = []
        for step in range(actions.shape[1]):
            window_actions = torch.cat([past, actions[:, step : step + 1]], 1)
            following = self._following(window, window_actions)[:, None]
            window = torch.cat([window[:, 1:], following], 1)
            past = window_actions[:, 1:]
            imagined.append(following)
        return torch.cat(imagined, 1), (window, past)

    def _following(self, window: Tensor, actions: Tensor) -> Tensor:
        """The latents (M, N, D) after windows (M, history, N, D) and their actions (M, history, A')."""
        standardised = (window - self.latent_mean) / self.latent_std
        return window[:, -1] + self.delta_std * self.displacement(standardised, actions)


def zeroed(linear: nn.Linear) -> nn.Linear:
    """The layer with weights and bias 0; as a last layer it makes a new predictor say that nothing moves."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _off_zero(scales: Tensor) -> Tensor:
    """Scales (D,) that can be divided by: a dead dimension gets 1e-4 of the mean, so that its noise stays small."""
    return scales.clamp_min(1e-4 * float(scales.mean()) + 1e-8)
