"""Latent: imagines in the latents of a frozen encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from imagoal.world_model._types import Encoder, Linearised, Past, Place, Predictor, State
from imagoal.world_model.models._compiled import Imagine, check_compiler, compile_rollout, plain_rollout
from imagoal.world_model.models._precision import Precision, check_precision, mixed


@dataclass(frozen=True, eq=False)
class Latent:
    """A frozen encoder, and a predictor that imagines the latents to come.

    Attributes:
        encoder: frames to latents.
        predictor: latents and actions to the next latents; its weights do not change any more.
        action_size: A' of one model step.
        action_block: env steps per model step.
        precision: of the matrix products of a rollout; what is observed, and what lies along a path, is always fp32.
        compiled: whether rollouts of many sequences are compiled: seconds to minutes at the first, less time for all others.

    Raises:
        UsageError: the processor has no unit for that precision, or there is nothing to compile with.
    """

    place: ClassVar[Place] = "latent"
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    dtype: ClassVar[torch.dtype] = torch.float32

    encoder: Encoder
    predictor: Predictor
    action_size: int
    action_block: int = 1
    precision: Precision = "fp32"
    compiled: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision, self.device)
        if self.compiled:
            check_compiler()
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

    @property
    def rough(self) -> bool:
        """Whether what is imagined is rounded, and to be judged again."""
        return self.precision != "fp32"

    @property
    def exact(self) -> "Latent":
        """The same in fp32: observes the same, and judges what was found at a lower precision, few sequences at a time."""
        return replace(self, precision="fp32", compiled=False)

    @torch.no_grad()
    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """Encode what is new of the past, and remember it; frames that an earlier call has encoded are not encoded again."""
        steps, actions = past.actions.shape[1], past.actions.to(self.device)
        if previous is None or past.new is None or past.new > steps:  # nothing known, or the action before the new is not
            return self.predictor.start(self._encode(past.frames), actions)
        first = steps - past.new
        return self.predictor.extend(previous, self._encode(past.frames[:, first + 1 :]), actions[:, first:])

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """Imagined latents (B, K, H, N, D) after each of the actions (B, K, H, A')."""
        latents = self.imagine(_repeated(state, actions.shape[1]), actions.flatten(0, 1))
        return latents.reshape(*actions.shape[:2], *latents.shape[1:])

    def along(self, state: State, path: Tensor, actions: Tensor) -> Tensor:
        """The latents (B, K, H, N, D) that are imagined after each of the actions (B, K, H, A') from a path (B, K, H, N, D).

        Step t is imagined from the path's points before t; a path is a rollout exactly where it is equal to what it gives here.
        """
        latents = self.predictor.along(_repeated(state, actions.shape[1]), path.flatten(0, 1), actions.flatten(0, 1))
        return latents.reshape(path.shape)

    def linearise(self, state: State, path: Tensor, actions: Tensor) -> Linearised:
        """As `along`, and how each step answers to small changes of the path and of the actions; see `Linearised`."""
        memory = _repeated(state, actions.shape[1])
        ahead, *derivatives = self.predictor.linearise(memory, path.flatten(0, 1), actions.flatten(0, 1))
        by_latents, by_actions = (each.reshape(*actions.shape[:2], *each.shape[1:]) for each in derivatives)
        return ahead.reshape(path.shape), by_latents, by_actions

    @property
    def unit(self) -> Tensor:
        """The usual change in one model step, broadcasts over (N, D)."""
        return self.predictor.unit

    @cached_property
    def imagining(self) -> Predictor:
        """The predictor at the model's precision."""
        return self.predictor if self.precision == "fp32" else mixed(self.predictor)

    @cached_property
    def imagine(self) -> Imagine:
        """What rollouts come from: that predictor, compiled or not."""
        imagine = plain_rollout(self.imagining)
        return compile_rollout(imagine, self.device) if self.compiled else imagine

    def _encode(self, frames: Tensor) -> Tensor:
        """Latents (B, T, N, D) of frames (B, T, 3, h, w), one by one: how an encoder rounds depends on how many there are."""
        latents = torch.cat([self.encoder.encode(frame[None]) for frame in frames.flatten(0, 1)])
        return latents.reshape(*frames.shape[:2], *latents.shape[1:])


def _repeated(state: State, candidates: int) -> State:
    """A state of batch B x K: that of each problem, K times."""
    return tuple(tensor.repeat_interleave(candidates, 0) for tensor in state)
