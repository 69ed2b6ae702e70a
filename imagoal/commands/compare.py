"""`imagoal compare`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Compare:
    """What one row is better by than another on the same tasks, task by task, with a 95 % interval."""

    first: Annotated[Path, tyro.conf.Positional]
    """Result file of row A."""
    second: Annotated[Path, tyro.conf.Positional]
    """Result file of row B."""
    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> int:
        """Compare and print."""
        from imagoal.eval.episodes import load_result
        from imagoal.eval.show import compare

        results = [load_result(path) for path in (self.first, self.second)]
        found = compare(*results)
        if self.json:
            files = {"first": str(self.first), "second": str(self.second)}
            hashes = {f"{name}_sha256": result["sha256"] for name, result in zip(files, results, strict=True)}
            print(json.dumps({"schema": "imagoal.comparison/1", **files, **hashes, **asdict(found)}, indent=1))
        else:
            print(found.text(str(self.first), str(self.second)))
        return 0
