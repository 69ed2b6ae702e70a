"""`imagoal audit`."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files
from imagoal.commands._common import Common, EnvFlags
from imagoal.eval.explain import AuditSetting
from imagoal.flags import Flat


@dataclass(frozen=True)
class Audit(EnvFlags, Common):
    """Say why a world model misses its goals: planner, specification, information, metric or model."""

    world_model: str = ""
    """Folder of a trained world model, or name of a shipped one (Ball-latent)."""
    tasks: str = "dev"
    """dev (to choose settings), test (to report), or an .npz file."""
    count: int = 100
    """Only the first so many tasks; 0 for all."""
    setting: Flat[AuditSetting] = field(default_factory=AuditSetting)
    """The search, and which rows to run."""
    run_dir: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of the audit; if not said, one below runs/audit that is named after these flags."""

    def run(self) -> int:
        """Run the rows, or continue, and say what they tell."""
        self.prepare()
        from imagoal.eval.explain import audit

        folder = self.run_dir or Path("runs/audit") / self._name()
        found = audit(self.make_env(), self.world_model, self.tasks, self.count, folder, self.setting)
        print(found)
        if found.findings:
            print(f"wrote {folder / 'audit.json'} and {folder / 'audit.svg'}")
        return 0

    def _name(self) -> str:
        """Of a folder: the same for the same flags, whichever rows are run now."""
        flags = replace(self, setting=replace(self.setting, rows=AuditSetting.rows, have=()))
        return f"{re.sub('[^A-Za-z0-9_]', '-', self.env)}-{files.hash_of(repr(flags))[:8]}"
