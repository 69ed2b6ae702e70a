"""Groups of flags that verbs share, and what they mean."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from imagoal.errors import UsageError

if TYPE_CHECKING:  # the door stays quick
    from imagoal.envs import GoalEnv

Folder = Annotated[Path, tyro.conf.arg(name="run")]


@dataclass(frozen=True)
class Common:
    """Flags of every verb that computes."""

    threads: int = 1
    """CPU threads."""

    def prepare(self) -> None:
        """Set torch up as the flags say.

        Raises:
            UsageError: more threads than CPUs.
        """
        if not 1 <= self.threads <= cpus():
            raise UsageError(f"threads = {self.threads}; expected from 1 to {cpus()}, the CPUs here")
        import torch

        torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class Learning(Common):
    """Flags of every verb that learns."""

    seed: int = 0
    """Of everything random: weights, batches, projections."""

    def prepare(self) -> None:
        """Set torch up as the flags say.

        Raises:
            UsageError: a negative seed, or more threads than CPUs.
        """
        if self.seed < 0:
            raise UsageError(f"seed = {self.seed}; expected 0 or more")
        super().prepare()


@dataclass(frozen=True)
class EnvFlags:
    """Which env."""

    env: str = "ball"
    """Entry, id, or package.module:Class."""
    env_options: tuple[str, ...] = ()
    """Options of the env's constructor as NAME=VALUE, e.g. goal_finger=anywhere."""

    def make_env(self) -> "GoalEnv":
        """The env.

        Raises:
            UsageError: an option is not NAME=VALUE, or the env has no such name or option.
        """
        from imagoal.envs import make

        return make(self.env, env_options(self.env_options))


def env_options(given: Sequence[str]) -> dict[str, str]:
    """Options of an env's constructor, from NAME=VALUE.

    Raises:
        UsageError: one is not of that form.
    """
    wrong = [option for option in given if not option.partition("=")[2]]
    if wrong:
        raise UsageError(f"env option {wrong[0]!r}; expected NAME=VALUE")
    return dict(option.split("=", 1) for option in given)


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
