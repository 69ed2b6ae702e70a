"""The training loop: AdamW with warm-up and cosine decay, checkpoints, refusal of what is not finite."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imagoal.errors import NumericalError, UsageError
from imagoal.progress import Progress
from imagoal.world_model.disk import Run

StepLoss = Callable[[int], tuple[Tensor, dict[str, float]]]
"""From the step's number, which decides its batch and its noise, to the loss and numbers to log."""

BAD_STEPS = 5
"""Steps in a row without a finite loss after which training gives up."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns."""

    steps: int = 1500
    """Optimiser steps."""
    batch: int = 256
    """Windows per step."""
    lr: float = 1e-3
    """Peak learning rate; warmed up over 5 % of the steps, then a cosine to a hundredth."""
    weight_decay: float = 1e-3
    """Of AdamW."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    save_every: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}; expected at least 1")
        for name in ("lr", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"{name} = {getattr(self, name)}; expected a number above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UsageError(f"weight_decay = {self.weight_decay}; expected 0 or more")

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        warm = max(1, self.steps // 20)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))))


def fit(module: nn.Module, loss_at: StepLoss, schedule: Schedule, run: Run, label: str, log_every: int = 50) -> None:
    """Train a module in place, from the run's newest checkpoint if there is one.

    Raises:
        NumericalError: no finite loss and gradient in several steps in a row, or weights that are not finite; they are not
            saved, and the last checkpoint is good.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    first, bad = run.resume(module, optimizer), 0
    began = time.process_time() - run.spent(first)
    module.train()
    with Progress(label, schedule.steps, done=first) as progress:
        for step in range(first, schedule.steps):
            loss, numbers = loss_at(step)
            value = loss.item()
            bad = 0 if _update(module, optimizer, loss, schedule, step) else bad + 1
            if bad == BAD_STEPS:
                raise _diverged(f"loss is {value}, or its gradient not finite, {BAD_STEPS} times", step, schedule, run)
            progress.advance(loss=value)
            if step % log_every == 0 or step + 1 == schedule.steps:
                logged = {"loss": value, **numbers}
                run.clock(step, time.process_time() - began)
                run.log(step, {name: number for name, number in logged.items() if math.isfinite(number)})
            if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
                if not all(torch.isfinite(tensor).all() for tensor in module.state_dict().values()):
                    raise _diverged("a weight or statistic is not finite", step, schedule, run)
                run.save(step + 1, module, optimizer)
    module.eval()


def _diverged(what: str, step: int, schedule: Schedule, run: Run) -> NumericalError:
    cure = f"the last checkpoint is good; try a learning rate below {schedule.lr} in another run"
    return NumericalError(f"{run.path}: {what} at step {step}; {cure}")


def _update(module: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, schedule: Schedule, step: int) -> bool:
    """One optimiser step; False, and nothing changed, if loss or gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step)
    optimizer.zero_grad(set_to_none=True)
    if not torch.isfinite(loss):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(module.parameters(), schedule.clip)
    if not torch.isfinite(norm):
        return False
    optimizer.step()
    return True
