"""Latent: imagines in the latents of a frozen encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imagoal.world_model._types import Encoder, Past, Place, Predictor, State


@dataclass(frozen=True, eq=False)
class Latent:
    """A frozen encoder, and a predictor that imagines the latents to come.

    Attributes:
        encoder: frames to latents.
        predictor: latents and actions to the next latents; its weights do not change any more.
        action_size: A' of one model step.
        action_block: env steps per model step.
    """

    place: ClassVar[Place] = "latent"
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    dtype: ClassVar[torch.dtype] = torch.float32

    encoder: Encoder
    predictor: Predictor
    action_size: int
    action_block: int = 1

    def __post_init__(self) -> None:
        self.predictor.eval().requires_grad_(False)

    @property
    def history(self) -> int:
        """Past frames that the predictor sees."""
        return self.predictor.history

    @property
    def encoder_hash(self) -> str:
        """Hash of the encoder whose latents are imagined."""
        return self.encoder.hash

    @property
    def device(self) -> torch.device:
        """Where the predictor is."""
        return next(self.predictor.parameters()).device

    @torch.no_grad()
    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """Encode what is new of the past, and remember it; frames that an earlier call has encoded are not encoded again."""
        steps = past.actions.shape[1]
        if previous is None or past.new is None or past.new > steps:  # nothing known, or the action before the new is not
            return self.predictor.start(self._encode(past.frames), past.actions)
        first = steps - past.new
        return self.predictor.extend(previous, self._encode(past.frames[:, first + 1 :]), past.actions[:, first:])

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """Imagined latents (B, K, H, N, D) after each of the actions (B, K, H, A')."""
        batch, candidates = actions.shape[:2]
        memory = tuple(tensor.repeat_interleave(candidates, 0) for tensor in state)
        latents, _ = self.predictor.unroll(memory, actions.flatten(0, 1))
        return latents.reshape(batch, candidates, *latents.shape[1:])

    def _encode(self, frames: Tensor) -> Tensor:
        """Latents (B, T, N, D) of frames (B, T, 3, h, w), one by one: how an encoder rounds depends on how many there are."""
        latents = torch.cat([self.encoder.encode(frame[None]) for frame in frames.flatten(0, 1)])
        return latents.reshape(*frames.shape[:2], *latents.shape[1:])
