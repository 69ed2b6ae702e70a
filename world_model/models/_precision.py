"""Cheaper arithmetic for imagining, where the processor has it.

Matrix products in bf16, all else in fp32: residual streams, norms, attention weights and costs keep their digits. A search
then ranks by slightly wrong costs, so its best sequences are to be judged once more in fp32 (`planning/_rescoring.py`).
"""

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from imagoal.errors import UsageError
from imagoal.world_model._types import WorldModel

Precision = Literal["fp32", "bf16"]
BF16_UNITS = ("amx_bf16", "avx512_bf16")
"""Without one of these, bf16 is slower than fp32 on a CPU; with the second alone, it depends on the processor."""
PRODUCT, TRIES = 768, 7
"""Side of the square matrices whose product tells whether bf16 is faster, and how often it is taken."""

Network = TypeVar("Network", bound=nn.Module)


@cache
def bf16_units() -> tuple[str, ...]:
    """What this processor multiplies bf16 matrices with; empty if it does not tell, or would be no faster for it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    units = tuple(unit for unit in BF16_UNITS if unit in flags)
    return units if "amx_bf16" in units or (units and bf16_is_faster()) else ()


def bf16_is_faster() -> bool:
    """Whether a product of matrices takes less time in bf16 than in fp32, the best of a few tries by turns.

    Intel processors that have `avx512_bf16` but hide `amx_bf16`, as some virtual machines do, were measured at 0.6 of fp32.
    """
    matrices = [torch.ones(PRODUCT, PRODUCT, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    tries = [[_seconds(each) for each in matrices] for _ in range(TRIES)]
    return min(rough for _, rough in tries) < min(exact for exact, _ in tries)


def _seconds(matrix: Tensor) -> float:
    """That a product takes."""
    began = time.perf_counter()
    matrix @ matrix
    return time.perf_counter() - began


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse arithmetic that the device has no unit for.

    Raises:
        UsageError: bf16 on a CPU that is not faster in it.
    """
    if precision == "bf16" and device.type == "cpu" and not bf16_units():
        raise UsageError("precision bf16: this processor has no unit that makes it faster than fp32; choose fp32")


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Where products and convolutions are computed at that precision, for networks whose weights stay fp32."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)


class RoughModel(WorldModel, Protocol):
    """A world model that imagines at a lower precision than fp32, or out of noise. Told by `is_rough`."""

    @property
    def precision(self) -> Precision:
        """Of its matrix products."""
        ...

    @property
    def exact(self) -> WorldModel:
        """The same in fp32, with other noise: it observes the same, so either goes on from the other's state."""
        ...


def is_rough(model: WorldModel) -> TypeGuard[RoughModel]:
    """Whether what a search found best by a world model is to be judged once more; only where it says so."""
    return getattr(model, "rough", False)


def mixed(network: Network) -> Network:
    """A copy whose linear layers multiply in bf16; what goes in and out of them stays fp32, unless a module says otherwise.

    Gradients flow as before.
    """
    network = copy.deepcopy(network)
    _mix(network)
    return network


def _mix(module: nn.Module) -> None:
    narrow = getattr(module, "narrow", ())
    for name, child in module.named_children():
        if _is_product(child):
            setattr(module, name, Mixed(child, name in narrow))
        else:
            _mix(child)


class Mixed(nn.Module):
    """Linear layers with weights in bf16, rounded once, and the activations between them.

    Args:
        product: the layers.
        narrow: whether what comes out stays bf16; for modules that say by `narrow` which of theirs may.
    """

    def __init__(self, product: nn.Module, narrow: bool) -> None:
        super().__init__()
        self.product, self._narrow = product.bfloat16(), narrow

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., in) to (..., out), fp32 unless narrow."""
        product: Tensor = self.product(values.bfloat16())
        return product if self._narrow else product.float()


def _is_product(module: nn.Module) -> bool:
    """Whether it is a linear layer, or several with nothing but activations between them."""
    if isinstance(module, nn.Sequential):
        return all(isinstance(part, nn.Linear) or not any(True for _ in part.parameters()) for part in module)
    return isinstance(module, nn.Linear)
