"""`imagoal regret`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from imagoal.commands._store_flags import StoreFlags
from imagoal.errors import UsageError
from imagoal.eval.explain import Design

if TYPE_CHECKING:  # the door stays quick
    from imagoal.eval.explain import Score
    from imagoal.world_model import Place


@dataclass(frozen=True)
class Regret(StoreFlags):
    """Simulate and render action sequences once (make); say how well a model and a cost choose among them (score)."""

    action: Annotated[Literal["make", "score"], tyro.conf.Positional] = "score"
    """make or score."""
    file: Path = Path("runs/regret/sequences.npz")
    """Where the sequences are; --env, --env-options, --data, --seed and --design.* are for making it."""
    design: Design = field(default_factory=Design)
    """How many sequences, and which."""
    world_model: str = ""
    """Folder of a trained world model, or name of a shipped one; to be scored."""
    cost: Literal["latent", "probe"] | None = None
    """Place where the cost is measured; both if not said."""
    distance: Literal["slowness", "resting", "euclid"] | None = None
    """Distance at latent; the world model's own if not said."""
    agent_weight: float = 0.0
    """Weight of the agent's own body in the distance, beside 1 for the object, where the distance tells them apart."""
    out: Path | None = None
    """The table of scores as JSON; if not said, beside the file of the sequences."""
    trust: bool = False
    """Import what a file names outside this package."""

    def run(self) -> int:
        """Write the sequences, or the scores."""
        self.prepare()
        return self._make() if self.action == "make" else self._score()

    def _make(self) -> int:
        from imagoal.envs.store import open_cache
        from imagoal.eval.explain import make_sequences

        env = self.made()
        bench = make_sequences(env, open_cache(self.store(env)), self.design, self.seed)
        bench.save(self.file)
        problems, sequences, horizon = bench.actions.shape[:3]
        size = self.file.stat().st_size / 1e6
        print(f"wrote {self.file}: {problems} states x {sequences} sequences of {horizon} steps, {size:.1f} MB")
        return 0

    def _score(self) -> int:
        from imagoal.envs import make
        from imagoal.eval.episodes import default_distance, write_table
        from imagoal.eval.explain import (
            COLUMNS,
            LEARNED,
            TRUE,
            check_sequences,
            imagine_ends,
            load_sequences,
            score_sources,
            sentence,
            true_latents,
        )
        from imagoal.world_model.disk import check_trust
        from imagoal.world_model.models import load_latent

        if not self.world_model:
            raise UsageError("regret score needs --world-model, a trained one or the name of a shipped one")
        bench, folder = load_sequences(self.file), load_latent(self.world_model, self.trust)
        check_sequences(bench, folder, self.world_model)
        check_trust("env", bench.env, self.trust)
        env = make(bench.env, bench.options)
        imagined = imagine_ends(env, bench, folder)
        sources = {LEARNED: imagined.ends, TRUE: true_latents(bench, folder.encoder, self.file)}
        places: tuple[Place, ...] = (self.cost,) if self.cost else ("latent", "probe")
        scores = score_sources(env, bench, folder, sources, places, self.distance, self.agent_weight)
        print(_table(COLUMNS, scores))
        off = ", ".join(f"{100 * error:.2f}" for error in imagined.off)
        print(*(sentence(scores, at) for at in places), f"object off by {off} cm after 1, 2, ... steps", sep="\n")
        self._write(write_table, COLUMNS, scores, imagined.off, self.distance or default_distance("latent", folder))
        return 0

    def _write(self, write_table: Any, columns: Sequence[str], scores: "Sequence[Score]", off: Any, distance: str) -> None:
        from imagoal import files
        from imagoal.world_model.models import locate, weights_hash

        name = Path(self.world_model).name
        path = self.out or self.file.with_name(f"{self.file.stem}-{name}.table.json")
        hashes = {"sequences": files.sha256(self.file), "weights_hash": weights_hash(locate(self.world_model))}
        about = {"distance": distance, "agent_weight": self.agent_weight, "object_off_cm": [100 * float(e) for e in off]}
        write_table(path, columns, [list(asdict(score).values()) for score in scores], hashes | about)
        print(f"wrote {path}")


def _table(columns: Sequence[str], scores: "Sequence[Score]") -> str:
    """Scores as text."""
    cells = [[_cell(value) for value in asdict(score).values()] for score in scores]
    widths = [max(len(line[column]) for line in [columns, *cells]) for column in range(len(columns))]
    lines = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [columns, *cells]]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _cell(value: str | float | None) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value)
