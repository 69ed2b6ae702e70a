"""A frozen encoder: a network that never changes again, its label, and a hash that proves it."""

import dataclasses
import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from imagoal import files, find
from imagoal.envs import Frames
from imagoal.errors import DataError, UsageError
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model._types import EncoderConfig, Label
from imagoal.world_model.disk import describe, put_tensors, read_folder, restore, understood, write_folder

SCHEMA = "imagoal.encoder/1"

FRAMES_AT_ONCE = 512
"""Frames encoded at once: bounds memory, and is large enough to be fast."""


class Reduce(nn.Module):
    """All tokens of a frame as one vector of its leading principal components: (M, N, D) to (M, 1, size)."""

    mean: Tensor
    basis: Tensor

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("basis", torch.zeros(inputs, size))

    def forward(self, latents: Tensor) -> Tensor:
        """Project (M, N, D) to (M, 1, size)."""
        return ((latents.flatten(1) - self.mean) @ self.basis)[:, None]


@dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """Frames to latents, frozen.

    Attributes:
        config: the entry that built the network.
        net: float frames (M, 3, h, w) in [0, 1] to (M, N, D); its weights are rounded to what a float16 file holds.
        label: what the weights were trained on.
        reduce: optional projection to one vector, fitted on frames alone.
    """

    config: EncoderConfig
    net: nn.Module
    label: Label
    reduce: Reduce | None = None

    def __post_init__(self) -> None:
        for module in self._modules().values():
            module.eval().requires_grad_(False)
            for tensor in module.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(tensor.half().float())

    def encode(self, frames: Tensor) -> Tensor:
        """Latents (M, N, D) of frames (M, 3, h, w), u8 or float in [0, 1]."""
        if len(frames) <= FRAMES_AT_ONCE:
            return self._encode(frames)
        return torch.cat([self._encode(chunk) for chunk in torch.split(frames, FRAMES_AT_ONCE)])

    @property
    def device(self) -> torch.device:
        """Where its weights are, and frames are brought."""
        weights = itertools.chain(self.net.parameters(), self.net.buffers())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def to(self, device: torch.device) -> "FrozenEncoder":
        """This encoder, moved there."""
        for module in self._modules().values():
            module.to(device)
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256 of configuration, label and weights."""
        arrays = {f"{part}.{name}": value for part, group in self._tensors().items() for name, value in group.items()}
        weights = files.hash_arrays({name: value.cpu().numpy() for name, value in arrays.items()})
        return files.hash_of([describe("encoder", self.config), self.label, weights])

    def with_reduction(self, frames: Frames, size: int, seed: int) -> "FrozenEncoder":
        """This encoder followed by the `size` leading principal components of its latents on frames (M, h, w, 3).

        Raises:
            UsageError: there are fewer latents, or fewer frames, than components.
        """
        latents = self.encode(to_tensor(frames)).flatten(1)
        if size > min(latents.shape):
            raise UsageError(f"reduce = {size}; expected at most {min(latents.shape)}, the size of a frame's latents")
        reduce = Reduce(latents.shape[1], size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the algorithm starts from random directions
            _, _, basis = torch.pca_lowrank(latents - latents.mean(0), q=size, niter=4)
        reduce.mean.copy_(latents.mean(0))
        reduce.basis.copy_(basis)
        return dataclasses.replace(self, reduce=reduce)

    def save(self, path: Path) -> None:
        """Write the encoder as a folder, weights in float16."""
        size = self.reduce.basis.shape if self.reduce else None
        config = {"schema": SCHEMA, "encoder": describe("encoder", self.config), "label": self.label}
        write_folder(path, config | {"hash": self.hash, "reduce": size and list(size)}, self._tensors())

    def _encode(self, frames: Tensor) -> Tensor:
        latents: Tensor = self.net(as_float(frames.to(self.device)))
        return self.reduce(latents) if self.reduce else latents

    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.net} | ({"reduce": self.reduce} if self.reduce else {})

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        return {
            part: {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
            for part, module in self._modules().items()
        }


def build_encoder(config: EncoderConfig) -> FrozenEncoder:
    """The encoder of an entry, as it comes: with its own pretrained weights, or untrained."""
    return FrozenEncoder(config, config.build(), config.label)


def load_encoder(path: Path, trust: bool = False) -> FrozenEncoder:
    """An encoder from its folder.

    Raises:
        DataError: the folder is missing, damaged, or no encoder, or its hash is not the one that it was saved with.
    """
    folder = read_folder(path, SCHEMA)
    with understood(path):
        config: EncoderConfig = restore("encoder", folder.config["encoder"], trust)
        net = config.layers()
        put_tensors(net, folder.tensors["model"], path)
        reduce = Reduce(*folder.config["reduce"]) if folder.config["reduce"] else None
        if reduce:
            put_tensors(reduce, folder.tensors["reduce"], path)
        encoder = FrozenEncoder(config, net, folder.config["label"], reduce)
        wanted = folder.config["hash"]
    if encoder.hash != wanted:
        raise DataError(f"{path} holds encoder {encoder.hash[:8]}.., its config.json says {wanted!s:.8}..; restore the folder")
    return encoder


def named_encoder(name: str, trust: bool = False) -> FrozenEncoder:
    """An encoder by name: a folder from `save` (or a run folder that holds one), else an entry as it comes.

    Raises:
        UsageError: neither a folder nor an entry has that name.
    """
    path = Path(name)
    if path.is_dir():
        return load_encoder(path / "encoder" if (path / "encoder").is_dir() else path, trust)
    if "/" in name:
        raise UsageError(f"no encoder folder {name}; make it with `imagoal pretrain`, or name one of `imagoal list encoder`")
    return build_encoder(find.find("encoder", name)())
