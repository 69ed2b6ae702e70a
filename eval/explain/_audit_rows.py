"""The six rows of an audit: one planner, one budget, one last-step cost; each row takes one thing more away from the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imagoal.errors import UsageError
from imagoal.eval.episodes import DistanceName, Request
from imagoal.planning import Over, Planner
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


def requests(
    world_model: str,
    planner: Planner,
    agent_weight: float,
    replan_every: int | None = None,
    warm_start: bool = True,
    trust: bool = False,
) -> dict[int, Request]:
    """What each row runs, by its number.

    Args:
        world_model: folder of a trained world model, or name of a shipped one; its action block is the simulator's too.
        planner: of all rows.
        agent_weight: of the agent's own body, in all rows but the first, which measures the task alone.
        replan_every: env steps between plans; None for one step of the model.
        warm_start: whether the last plan is proposed again.
        trust: import what the folder names outside this package.

    Raises:
        UsageError: no trained world model.
        DataError: a damaged or foreign folder.
    """
    if world_model in {"", "simulator"}:
        raise UsageError(f"world model {world_model!r}; an audit is of a trained one: pass --world-model DIR")
    block = load_latent(world_model, trust).model.action_block
    return {
        number: Request(
            agent="mpc",
            world_model="simulator" if row.imagines == "simulator" else world_model,
            readouts=world_model if row.imagines == "simulator" and row.at != "state" else "",
            planner=planner,
            at=row.at,
            distance=row.distance,
            over=LAST,
            replan_every=replan_every or block,
            warm_start=warm_start,
            trust=trust,
            agent_weight=0.0 if row.distance == "task" else agent_weight,
            action_block=block,
        )
        for number, row in ROWS.items()
    }
