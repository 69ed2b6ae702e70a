"""Imagining by machine code that is made for one network: compiled once, faster ever after."""

import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.world_model._types import Memory, Predictor

Imagine = Callable[[Memory, Tensor], Tensor]
"""A memory of M sequences and actions (M, H, A') to the latents (M, H, N, D) after each of them."""

COMPILERS = ("g++", "clang++", "c++")


def check_compiler() -> None:
    """Refuse what could not be compiled here.

    Raises:
        UsageError: there is no C++ compiler, or nothing of Python to compile with.
    """
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(map(shutil.which, names)):
        raise UsageError(f"compile: there is no {' or '.join(names)}; install a C++ compiler, e.g. g++, or leave it out")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        raise UsageError(f"compile: there is no {header}; install the headers of Python, e.g. python3-dev, or leave it out")


def plain_rollout(predictor: Predictor) -> Imagine:
    """What imagines as the predictor does."""

    def imagine(memory: Memory, actions: Tensor) -> Tensor:
        latents, _ = predictor.unroll(memory, actions)
        return latents

    return imagine


def compile_rollout(imagine: Imagine, device: torch.device) -> Imagine:
    """The same, compiled when it is first called, for any number of sequences; one sequence alone is not worth compiling for.

    Operations melt into few loops; on a GPU they are replayed as one CUDA graph. Digits may round otherwise than before.
    """
    graphs = device.type == "cuda"
    fast: Imagine = torch.compile(imagine, mode="reduce-overhead" if graphs else None)

    def choose(memory: Memory, actions: Tensor) -> Tensor:
        if len(actions) == 1:
            return imagine(memory, actions)
        for tensor in (*memory, actions):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)  # else it would be compiled again for another number of sequences
        latents = fast(memory, actions)
        return latents.clone() if graphs else latents  # the graph's next replay writes over its last

    return choose
