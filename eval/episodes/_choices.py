"""What an agent is made of, as arguments of `make_agent` and as groups of flags: a model, a planner, a cost and a pace."""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
import tyro

from imagoal import find
from imagoal.agents import Pace
from imagoal.errors import UsageError
from imagoal.planning import CEM, Over, Planner
from imagoal.world_model import Place
from imagoal.world_model.models import Precision

DistanceName = Literal["task", "visible", "blur", "slowness", "resting", "euclid"]


@dataclass(frozen=True)
class ModelChoice:
    """What imagines, and where it computes."""

    world_model: str = ""
    """Folder of a trained world model, name of a shipped one, simulator, or copy_last."""
    readouts: str = ""
    """World model whose encoder and probe are borrowed by a model without its own."""
    action_block: int = 1
    """Env steps per model step of the simulator; a trained world model has its own."""
    precision: Precision = "fp32"
    """Rollout precision during search; with bf16, finalists are re-scored in fp32."""
    compile: bool = False
    """Fuse the rollout with torch.compile: the first plan takes seconds to minutes, all others less time than before."""
    denoising_steps: int | None = None
    """Euler steps for each map that a diffusion model imagines; if not said, as many as it was trained with. One that learned
    from what it had imagined is at its best with those."""
    device: str = "cpu"
    """Where a trained world model computes, and the search with it: cpu, cuda, or cuda:1 for the second GPU."""
    trust: bool = False
    """Import what a file names outside this package."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device {self.device!r}; expected cpu, cuda, or cuda:1 for the second GPU")
        seen, wanted = torch.cuda.device_count(), int(self.device.partition(":")[2] or 0)
        if self.device != "cpu" and wanted >= seen:
            raise UsageError(f"device {self.device!r}: this PyTorch sees {seen} GPUs; use cpu, or a build of it for CUDA")
        if self.action_block < 1:
            raise UsageError(f"action_block = {self.action_block}; expected at least 1")


@dataclass(frozen=True)
class CostChoice:
    """Where and how the distance to the goal is measured."""

    at: Annotated[Place | None, tyro.conf.arg(name="cost")] = None
    """Place where the cost is measured; the model's own place if not said."""
    distance: DistanceName | None = None
    """Distance there: task (state), visible (state, probe), blur (frame), slowness, resting (latent), euclid (any); or the
    place's own."""
    agent_weight: float = 0.0
    """Weight of the agent's own body in the distance, beside 1 for the object, where the distance tells them apart."""
    over: Over = field(default_factory=Over)
    """How the distances along the horizon become one cost."""

    def __post_init__(self) -> None:
        if not 0 <= self.agent_weight < math.inf:
            raise UsageError(f"agent_weight = {self.agent_weight}; expected a finite number, 0 or more")


@dataclass(frozen=True)
class AgentChoice:
    """A whole agent: who acts, and all that it plans with."""

    agent: str = "mpc"
    """Entry or `package.module:Class`."""
    model: ModelChoice = field(default_factory=ModelChoice)
    planner: Planner = field(default_factory=CEM)
    cost: CostChoice = field(default_factory=CostChoice)
    pace: Pace = field(default_factory=Pace)

    def __str__(self) -> str:
        """What differs from the defaults, as flags."""
        planner: Any = self.planner
        parts = [("", self.model), ("planner.", planner), ("", self.cost), ("", self.pace)]
        flags = [flag for prefix, part in parts for flag in _flags(part, prefix)]
        return " ".join([f"--planner {find.name_of('planner', type(planner))}", *flags])


def _flags(part: Any, prefix: str) -> list[str]:
    """The fields of a dataclass that are not at their default, as flags."""
    words: list[str] = []
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        name = "cost" if each.name == "at" else each.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            words += _flags(value, f"{prefix}{name}.")
        elif value != default:
            words.append(f"--{prefix}{name} {value}")
    return words
