"""`imagoal audit`."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files
from imagoal.commands._common import Common, env_options
from imagoal.planning.cem import CEM


@dataclass(frozen=True)
class Audit(Common):
    """Say why a world model misses its goals: planner, specification, information, metric or model."""

    env: str = "ball"
    """Entry, id, or package.module:Class."""
    env_options: tuple[str, ...] = ()
    """Options of the env's constructor as NAME=VALUE, e.g. goal_finger=anywhere."""
    world_model: str = ""
    """Folder of a trained world model, or name of a shipped one (Ball-latent)."""
    planner: CEM = field(default_factory=lambda: CEM(iterations=3))
    """The search of all six rows."""
    agent_weight: float = 0.0
    """Weight of the agent's own body, beside 1 for the object, in rows 2 to 6."""
    replan_every: int | None = None
    """Env steps between plans; one step of the world model if not said."""
    warm_start: bool = True
    """Whether the last plan, shifted, is proposed again."""
    trust: bool = False
    """Import what a file names outside this package."""
    tasks: str = "dev"
    """dev (to choose settings), test (to report), or an .npz file."""
    count: int = 100
    """Only the first so many tasks; 0 for all."""
    batch: int = 1
    """Episodes side by side; latency is reported per batch."""
    rows: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """Which rows to run now; the findings are written as soon as all six are there."""
    have: tuple[Path, ...] = ()
    """Result files, or folders of some: a row that stands there with the same settings and weights is not run again."""
    run_dir: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of the audit; if not said, one below runs/audit that is named after these flags."""

    def run(self) -> int:
        """Run the rows, or continue, and say what they tell."""
        self.prepare()
        from imagoal.eval.explain import ROWS, audit_text, conclude, requests, run_rows

        folder = self.run_dir or Path("runs/audit") / self._name()
        asked = requests(self.world_model, self.planner, self.agent_weight, self.replan_every, self.warm_start, self.trust)
        options = env_options(self.env_options)
        found = run_rows(self.env, asked, self.tasks, self.count, self.batch, folder, self.rows, self.have, options)
        missing = " ".join(str(number) for number in ROWS if number not in found)
        if missing:
            print(f"{len(found)} of {len(ROWS)} rows are in {folder}; the same command with --rows {missing} runs the others")
            return 0
        print(audit_text(conclude(found, folder)))
        print(f"wrote {folder / 'audit.json'} and {folder / 'audit.svg'}")
        return 0

    def _name(self) -> str:
        """Of a folder: the same for the same flags, whichever rows are run now."""
        flags = replace(self, rows=(), have=())
        return f"{re.sub('[^A-Za-z0-9_]', '-', self.env)}-{files.hash_of(repr(flags))[:8]}"
