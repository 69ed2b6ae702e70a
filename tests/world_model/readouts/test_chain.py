"""The chain: what is carried where, what is missing, and what gradients pass."""

import pytest
import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.world_model._types import PLACES, Label
from imagoal.world_model.readouts._chain import Chain


class Double:
    """An encoder: the mean of each colour, twice, as one token of size 3."""

    label: Label = "random"
    hash = "double"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.batches.append(len(frames))
        scale = 255 if frames.dtype == torch.uint8 else 1
        return 2 * frames.float().mean((2, 3))[:, None] / scale


def render(states: Tensor) -> Tensor:
    """Frames of one colour: the first three numbers of the state, which are in [0, 1]."""
    return (states[:, :3, None, None] * 255).round().to(torch.uint8).expand(-1, 3, 4, 4)


def probe(latents: Tensor) -> Tensor:
    return latents[:, 0, :2] / 2


WHOLE = Chain(render, Double(), probe)
STATES = torch.randint(0, 256, (7, 5), generator=torch.Generator().manual_seed(0)).double() / 255


def test_a_state_is_carried_along_the_whole_chain() -> None:
    assert torch.equal(WHOLE.carry(STATES, "state", "state"), STATES)
    assert torch.allclose(WHOLE.carry(STATES, "state", "frame"), STATES[:, :3, None, None].float().expand(-1, 3, 4, 4))
    assert torch.allclose(WHOLE.carry(STATES, "state", "latent"), 2 * STATES[:, None, :3].float())
    assert torch.allclose(WHOLE.carry(STATES, "state", "probe"), STATES[:, :2].float())


def test_what_ends_at_frame_is_float_in_0_1_whether_bytes_or_not_before() -> None:
    frames = render(STATES)
    carried = WHOLE.carry(frames, "frame", "frame")
    assert carried.dtype == torch.float32
    assert torch.equal(carried, frames.float() / 255)
    assert torch.equal(WHOLE.carry(carried, "frame", "frame"), carried)


def test_frames_are_held_a_chunk_at_a_time() -> None:
    encoder = Double()
    chunked = Chain(render, encoder, probe, chunk=3).carry(STATES, "state", "probe")
    assert encoder.batches == [3, 3, 1]
    assert torch.equal(chunked, WHOLE.carry(STATES, "state", "probe"))


def test_nothing_leads_back() -> None:
    for start in range(1, 4):
        for end in range(start):
            with pytest.raises(UsageError, match=f"nothing leads from {PLACES[start]} back to {PLACES[end]}"):
                WHOLE.check(PLACES[start], PLACES[end])


def test_a_missing_link_is_named_with_its_cure() -> None:
    with pytest.raises(UsageError, match="from latent to probe needs a probe and there is none; pass --readouts DIR"):
        Chain(render, Double()).check("latent", "probe")
    with pytest.raises(UsageError, match="from state to probe needs an encoder and there is none; pass --readouts DIR"):
        Chain(render, None, probe).check("state", "probe")
    with pytest.raises(UsageError, match="needs a renderer and there is none; name an env"):
        Chain(None, Double(), probe).carry(STATES, "state", "frame")
    for place in PLACES:
        Chain().check(place, place)


def test_gradients_pass_encoder_and_probe_but_no_renderer() -> None:
    frames = (render(STATES).float() / 255).requires_grad_()
    assert WHOLE.differentiable("frame", "probe")
    WHOLE.carry(frames, "frame", "probe").sum().backward()
    assert frames.grad is not None
    assert frames.grad[:, :2].all()
    assert WHOLE.differentiable("state", "state")
    assert not any(WHOLE.differentiable("state", place) for place in PLACES[1:])
