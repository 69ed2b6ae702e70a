"""What a planner is asked to look at first: the previous plan, shifted, and doing nothing."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.planning._types import Plan


def no_op(
    problems: int,
    horizon: int,
    action_size: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """The sequence that does nothing, once for each problem: zeros (B, 1, H, A')."""
    return torch.zeros(problems, 1, horizon, action_size, dtype=dtype, device=device)


def shift(keep: Tensor, steps: int) -> Tensor:
    """Sequences (B, E, H, A') without their first `steps` model steps, which were executed, and rest at the end.

    The end is padded with zeros rather than with the last action: nothing was ever imagined there, a plan that arrived should
    stay, and one that did not is improved by the search.

    Raises:
        UsageError: `steps` is negative.
    """
    if steps < 0:
        raise UsageError(f"a plan cannot be shifted by {steps} model steps; expected 0 or more")
    rest = torch.zeros_like(keep[:, :, :steps])
    return torch.cat([keep[:, :, steps:], rest], 2)


def propose(previous: Plan | None, executed: int, idle: Tensor) -> Tensor:
    """Proposals (B, E, H, A') for the next plan: the previous one first, if there was one, and always doing nothing.

    Args:
        previous: the last plan for these problems.
        executed: how many of its model steps were executed.
        idle: from `no_op`, (B, 1, H, A').
    """
    if previous is None:
        return idle
    return torch.cat([shift(previous.keep, executed).to(idle), idle], 1)


def check_proposals(candidates: Tensor, horizon: int, num_samples: int, generators: Sequence[Generator]) -> Tensor:
    """Proposals (B, E, H, A') fit for a search, clamped to [-1, 1].

    Raises:
        UsageError: they do not fit the planner or the generators.
        NumericalError: one holds a value that is not finite. A GPU is not waited for to learn that: there, such a search ends
            with no cost that is finite.
    """
    if candidates.ndim != 4 or candidates.shape[1] < 1:
        raise UsageError(
            f"candidates have shape {tuple(candidates.shape)}; expected (problems, 1 or more, horizon, action size)"
        )
    if candidates.shape[0] != len(generators):
        raise UsageError(f"{len(generators)} generators for {candidates.shape[0]} problems; expected one each")
    if candidates.shape[1] > num_samples:
        raise UsageError(f"num_samples is {num_samples}; expected at least the number of candidates, {candidates.shape[1]}")
    if candidates.shape[2] != horizon:
        raise UsageError(f"candidates have {candidates.shape[2]} steps; expected the planner's horizon, {horizon}")
    if candidates.device.type == "cpu" and not torch.isfinite(candidates).all():
        raise NumericalError("a candidate holds an action that is not finite; the policy that proposed it is broken")
    return candidates.clamp(-1, 1)
