"""`imagoal report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files


@dataclass(frozen=True)
class Report:
    """Put results on one page that needs no other file: tables, success, latency, filmstrips."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Result files and tables, or folders that hold some; by default the results that ship with imagoal."""
    films: tuple[Path, ...] = ()
    """Moving pictures from `imagoal plan`, .webp or .gif."""
    out: Path = Path("runs/report.html")
    """The page."""

    def run(self) -> int:
        """Write the page."""
        from imagoal.eval.show import SHIPPED, report

        files.write_text(self.out, report(self.paths or (SHIPPED,), self.films))
        print(f"wrote {self.out}, {self.out.stat().st_size / 1e6:.1f} MB; open it in a browser")
        return 0
