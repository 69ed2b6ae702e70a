"""The six rows of an audit: one planner, one budget, one last-step cost; each row takes one thing more away from the truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagoal.agents import Pace
from imagoal.errors import UsageError
from imagoal.eval.episodes import AgentChoice, CostChoice, DistanceName, ModelChoice
from imagoal.planning import CEM, Over
from imagoal.world_model import Place
from imagoal.world_model.models import load_latent

LAST = Over(last=1.0, mean=0.0, min=0.0)
"""Only where the imagined future ends counts: the one cost that means the same in all rows, whatever the headline's is."""


@dataclass(frozen=True)
class Row:
    """What a row of the audit imagines with, and where it measures.

    Attributes:
        imagines: the true simulator, or the learned world model.
        at: where the cost is measured.
        distance: there; None for the place's own.
        label: in tables and figures.
    """

    imagines: Literal["simulator", "learned"]
    at: Place
    distance: DistanceName | None
    label: str


ROWS: Mapping[int, Row] = {
    1: Row("simulator", "state", "task", "simulator, state by the task"),
    2: Row("simulator", "state", "visible", "simulator, state by what shows"),
    3: Row("simulator", "probe", None, "simulator, probe"),
    4: Row("simulator", "latent", None, "simulator, latent"),
    5: Row("learned", "probe", None, "learned, probe"),
    6: Row("learned", "latent", None, "learned, latent"),
}


def folder_name(number: int) -> str:
    """Of the run folder of a row, e.g. `3-simulator-probe`."""
    row = ROWS[number]
    return f"{number}-{row.imagines}-{row.distance or row.at}"


@dataclass(frozen=True)
class AuditSetting:
    """The search that all six rows share, and how they are run."""

    planner: CEM = field(default_factory=lambda: CEM(iterations=3))
    """The search of all six rows."""
    agent_weight: float = 0.0
    """Weight of the agent's own body, beside 1 for the object, in rows 2 to 6; row 1 measures the task alone."""
    replan_every: int | None = None
    """Env steps between plans; one step of the world model if not said."""
    warm_start: bool = True
    """Whether the last plan, shifted, is proposed again."""
    trust: bool = False
    """Import what a file names outside this package."""
    batch: int = 1
    """Episodes side by side; latency is reported per batch."""
    rows: tuple[int, ...] = tuple(ROWS)
    """Which rows to run now; the findings are written as soon as all six are there."""
    have: tuple[Path, ...] = ()
    """Result files, or folders of some: a row that stands there with the same settings and weights is not run again."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rows) - set(ROWS))
        if unknown or not self.rows:
            raise UsageError(f"rows {unknown or list(self.rows)}; expected some of 1 to {len(ROWS)}")


def choices(world_model: str, setting: AuditSetting) -> dict[int, AgentChoice]:
    """The agent of each row, by its number; the world model's action block is the simulator's too.

    Raises:
        UsageError: no trained world model.
        DataError: a damaged or foreign folder.
    """
    if world_model in {"", "simulator"}:
        raise UsageError(f"world model {world_model!r}; an audit is of a trained one: pass --world-model DIR")
    block = load_latent(world_model, setting.trust).model.action_block
    return {number: _choice(row, world_model, block, setting) for number, row in ROWS.items()}


def _choice(row: Row, world_model: str, block: int, setting: AuditSetting) -> AgentChoice:
    simulated = row.imagines == "simulator"
    model = ModelChoice(
        world_model="simulator" if simulated else world_model,
        readouts=world_model if simulated and row.at != "state" else "",
        action_block=block,
        trust=setting.trust,
    )
    cost = CostChoice(row.at, row.distance, 0.0 if row.distance == "task" else setting.agent_weight, LAST)
    pace = Pace(setting.replan_every or block, setting.warm_start)
    return AgentChoice("mpc", model, setting.planner, cost, pace)
