"""bf16 may cost digits, never more: what is imagined stays near, and the plan is judged in fp32."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from imagoal import find
from imagoal.errors import UsageError
from imagoal.world_model._types import Past, Predictor
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models import _precision
from imagoal.world_model.models._precision import bf16_units
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import build_encoder

PREDICTORS = sorted(find.entries("predictor"))


@pytest.fixture(autouse=True)
def _any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 is computed everywhere, only slowly."""
    monkeypatch.setattr(_precision, "bf16_units", lambda: ("amx_bf16",))


def predictor(name: str) -> Predictor:
    torch.manual_seed(0)
    built: Predictor = find.find("predictor", name)().build(1, 8, 2)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.1)
    return built.requires_grad_(False)


def numbers(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_mixed_copy_imagines_nearly_the_same_and_leaves_the_original_alone(name: str) -> None:
    exact = predictor(name)
    latents, actions = numbers(4, 6, 1, 8), numbers(4, 6, 2)
    memory = exact.start(latents, actions[:, 1:])
    before, _ = exact.unroll(memory, actions)
    rough, after = _precision.mixed(exact).unroll(memory, actions)
    assert torch.equal(exact.unroll(memory, actions)[0], before)
    assert rough.dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in after)
    error, change = (rough - before).norm(), (before - latents[:, -1:]).norm()
    assert 1e-5 * change < error < 0.05 * change


@pytest.mark.parametrize("name", PREDICTORS)
def test_gradients_flow_through_a_mixed_copy(name: str) -> None:
    exact = predictor(name)
    memory = exact.start(numbers(4, 6, 1, 8), numbers(4, 5, 2))
    gradients = []
    for network in (exact, _precision.mixed(exact)):
        actions = numbers(4, 6, 2).requires_grad_()
        network.unroll(memory, actions)[0][:, -1].square().sum().backward()
        assert actions.grad is not None
        gradients.append(actions.grad)
    assert torch.nn.functional.cosine_similarity(*(gradient.flatten() for gradient in gradients), dim=0) > 0.99


def test_a_model_observes_exactly_and_imagines_roughly() -> None:
    with torch.random.fork_rng(devices=[]):
        network = predictor("streaming")
    exact = Latent(build_encoder(PatchConv(size=8, width=4)), network, 2)
    rough = Latent(exact.encoder, network, 2, precision="bf16")
    frames = torch.randint(0, 256, (1, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    past, plans = Past(frames, numbers(1, 3, 2)), numbers(1, 5, 4, 2)
    state = exact.observe(past, [0])
    for ours, theirs in zip(rough.observe(past, [0]), state, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(rough.rollout(state, plans), exact.rollout(state, plans))
    assert torch.equal(rough.exact.rollout(state, plans), exact.rollout(state, plans))
    path = exact.rollout(state, plans)
    assert torch.equal(rough.along(state, path, plans), exact.along(state, path, plans))


def test_a_processor_without_bf16_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_precision, "bf16_units", lambda: ())
    with pytest.raises(UsageError, match=r"precision bf16: this processor has no unit .* choose fp32"):
        Latent(build_encoder(PatchConv(size=8, width=4)), predictor("mlp"), 2, precision="bf16")


@pytest.mark.parametrize(
    ("flags", "faster", "units"),
    [
        ("avx2 avx512_bf16 amx_bf16", False, ("amx_bf16", "avx512_bf16")),
        ("avx2 avx512_bf16", True, ("avx512_bf16",)),
        ("avx2 avx512_bf16", False, ()),
        ("avx2", True, ()),
    ],
)
def test_a_unit_counts_if_it_is_faster(
    flags: str, faster: bool, units: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor : 0\nflags : fpu {flags}\n")
    monkeypatch.setattr(_precision, "Path", lambda _: told)
    monkeypatch.setattr(_precision, "bf16_is_faster", lambda: faster)
    assert bf16_units.__wrapped__() == units
