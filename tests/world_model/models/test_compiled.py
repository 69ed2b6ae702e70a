"""Compiled, a world model imagines the same."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from imagoal import find
from imagoal.errors import UsageError
from imagoal.world_model._types import Past
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models import _compiled, _precision
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import build_encoder


def can_compile() -> bool:
    try:
        _compiled.check_compiler()
    except UsageError:
        return False
    return True


pytestmark = [  # torch's own
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
]

needs_compiler = pytest.mark.skipif(not can_compile(), reason="no C++ compiler, or no headers of Python")
others = [name for name in sorted(find.entries("predictor")) if name != "mlp"]


def latent(name: str, compiled: bool) -> Latent:
    torch.manual_seed(0)
    encoder = build_encoder(PatchConv(size=8))
    predictor = find.find("predictor", name)(width=16).build(1, 8, 2)
    for parameter in predictor.parameters():
        nn.init.normal_(parameter, std=0.1)
    return Latent(encoder, predictor, 2, compiled=compiled)


def past(problems: int) -> Past:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (problems, 3, 3, 64, 64), generator=generator, dtype=torch.uint8)
    return Past(frames, torch.zeros(problems, 2, 2))


def actions(*shape: int) -> Tensor:
    return torch.rand(*shape, 3, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1


@needs_compiler
@pytest.mark.parametrize("name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in others)])
def test_any_number_of_sequences_is_imagined_as_before_by_one_compilation(name: str) -> None:
    plain, fast = latent(name, compiled=False), latent(name, compiled=True)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        for shape in ((1, 8), (1, 5), (2, 8), (1, 1)):
            state, wanted = plain.observe(past(shape[0]), range(shape[0])), actions(*shape)
            torch.testing.assert_close(fast.rollout(state, wanted), plain.rollout(state, wanted))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@needs_compiler
@pytest.mark.slow
def test_gradients_flow_through_compiled_code() -> None:
    gradients = []
    for model in (latent("mlp", compiled=False), latent("mlp", compiled=True)):
        wanted = actions(1, 4).requires_grad_()
        model.rollout(model.observe(past(1), [0]), wanted).square().sum().backward()
        gradients.append(wanted.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_what_judges_a_rough_search_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_precision, "bf16_units", lambda: ("amx_bf16",))
    monkeypatch.setattr("imagoal.world_model.models.latent.check_compiler", lambda: None)
    plain = latent("mlp", compiled=False)
    rough = Latent(plain.encoder, plain.predictor, 2, precision="bf16", compiled=True)
    assert (rough.exact.precision, rough.exact.compiled) == ("fp32", False)


def test_without_a_compiler_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="or leave it out"):
        latent("mlp", compiled=True)


def test_without_the_headers_of_python_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setattr(_compiled.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(UsageError, match="python3-dev"):
        latent("mlp", compiled=True)
