"""`imagoal merge`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files
from imagoal.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Put the shards of a row together: the result is as if the row had been run whole."""

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Result files of `imagoal eval --shard i/n`, all n of them, in any order."""
    out: Path
    """The row's result file."""
    across_commits: bool = False
    """Take shards that were run at different commits; the result lists them."""

    def run(self) -> int:
        """Merge, write the result and print its row."""
        from imagoal.eval.episodes import merge, table

        if self.out.resolve() in {path.resolve() for path in self.shards}:
            raise UsageError(f"out = {self.out} is one of the shards; name another file")
        result = merge(self.shards, self.across_commits)
        files.write_json(self.out, result)
        print(table([result]))
        print(f"wrote {self.out}, merged from {len(self.shards)} shards")
        return 0
