"""`imagoal diagnose`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagoal.commands._store_flags import StoreFlags
from imagoal.errors import UsageError

if TYPE_CHECKING:  # the door stays quick
    from imagoal.eval.explain import Figure


@dataclass(frozen=True)
class Diagnose(StoreFlags):
    """Reject an encoder before any training: probes, and whether distances between its latents lead to a goal."""

    encoder: str = "runs/encoder"
    """Encoder folder (or the run folder or world model that holds it), or an entry, e.g. effnet_lite0."""
    reduce: int = 0
    """Leading principal components to which a frame's tokens are reduced, as one vector; 0 leaves them as they are."""
    action_block: int = 1
    """Env steps per model step, over which metrics take their changes."""
    out: Path | None = None
    """The table as JSON; if not said, a file below runs/diagnose named after env and encoder."""
    trust: bool = False
    """Import what a file names outside this package."""

    def run(self) -> int:
        """Print the figures and the verdict; 1 if the encoder is rejected."""
        self.prepare()
        from imagoal.envs.store import open_cache
        from imagoal.eval.episodes import write_table
        from imagoal.eval.explain import diagnose, verdict
        from imagoal.world_model.readouts import named_encoder
        from imagoal.world_model.training import frame_rows, split_episodes

        if self.reduce < 0 or self.action_block < 1:
            raise UsageError(f"reduce = {self.reduce}, action_block = {self.action_block}; expected at least 0 and 1")
        env = self.made()
        store = self.store(env)
        cache, encoder = open_cache(store), named_encoder(self.encoder, self.trust)
        if self.reduce:
            rows = frame_rows(cache, split_episodes(cache)[0], 2000, self.seed)
            encoder = encoder.with_reduction(cache.frames[rows], self.reduce, self.seed)
        figures = diagnose(env, cache, encoder, self.action_block, self.seed)
        good, sentence = verdict(figures, env.tolerance)
        print(_probes(figures), _geometry(figures), f"{self._name()} ({encoder.label}): {sentence}", sep="\n\n")
        config = {"encoder": {"hash": encoder.hash, "label": encoder.label}, "data_hash": store.hash, "verdict": sentence}
        lines = [[figure.name, figure.of, figure.value, figure.unit] for figure in figures]
        path = self.out or Path("runs/diagnose") / f"{self._name()}.table.json"
        write_table(path, ("figure", "of", "value", "unit"), lines, config)
        print(f"wrote {path}")
        return int(not good)

    def _name(self) -> str:
        """Of env and encoder, for a file."""
        parts = [self.env, *self.env_options, self.encoder, *([f"reduce{self.reduce}"] if self.reduce else [])]
        return re.sub("[^A-Za-z0-9_]+", "-", "-".join(parts)).strip("-")


def _probes(figures: Sequence["Figure"]) -> str:
    """Errors by coordinate."""
    names = list(dict.fromkeys(figure.of for figure in figures if figure.name.startswith("probe error")))
    return _grid("linear probe", {name: [f for f in figures if f.of == name and "probe error" in f.name] for name in names})


def _geometry(figures: Sequence["Figure"]) -> str:
    """Figures by distance."""
    names = list(dict.fromkeys(figure.name for figure in figures if not figure.name.startswith("probe error")))
    return _grid("distance between latents", {name: [f for f in figures if f.name == name] for name in names})


def _grid(title: str, rows: dict[str, list["Figure"]]) -> str:
    """A line for each name, its figures and their unit; the columns are named after what the figures do not share."""
    first = next(iter(rows.values()))
    shared = len({figure.name for figure in first}) == 1
    heads = [figure.of if shared else figure.name.partition(", ")[2] for figure in first]
    lines = [(title, *heads, "")]
    for name, figures in rows.items():
        shown = [f"{figure.value:.2f}" if figure.value is not None else "-" for figure in figures]
        lines.append((name, *shown, figures[0].unit))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:], strict=False))])
        + (f" {line[-1]}" if line[-1] else "")
        for line in lines
    )
