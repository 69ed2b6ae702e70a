"""`imagoal list`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from imagoal import find


@dataclass(frozen=True)
class List:
    """What can be named: envs, agents, planners, world models, encoders, objectives, predictors."""

    kind: Annotated[str, tyro.conf.Positional] = "all"
    """One kind, or all."""

    def run(self) -> int:
        """Print the entries, with the first line of each one's docstring."""
        asked = self.kind.replace("_", "-").removesuffix("s")
        kinds = [kind for kind in find.KINDS if kind != "command"] if asked == "all" else [asked]
        for kind, entries in [(kind, find.entries(kind)) for kind in kinds]:
            print(f"{kind}:")
            width = max(map(len, entries), default=0) + 2
            for entry in entries.values():
                print(f"  {entry.name:<{width}}{entry.summary}")
        return 0
