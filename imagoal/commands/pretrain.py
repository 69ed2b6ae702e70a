"""`imagoal pretrain`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from imagoal.commands._common import Folder, Learning
from imagoal.errors import UsageError
from imagoal.flags import Named
from imagoal.world_model._loop import Schedule
from imagoal.world_model.encoders.patch_conv import PatchConv


@dataclass(frozen=True)
class Pretrain(Learning):
    """Train an encoder on a store's frames and actions, and freeze it."""

    data: Path = Path("runs/data")
    """Store, from `imagoal collect`."""
    run_dir: Folder = Path("runs/encoder")
    """Run folder; the encoder is written to its `encoder`."""
    objective: Annotated[Any, Named("objective", "sigreg")] = None
    """What keeps the embedding from collapsing."""
    encoder: PatchConv = field(default_factory=PatchConv)
    """The network."""
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=600, batch=64))
    """How long and how fast it learns."""
    future: int = 3
    """Imagined steps that are compared with the true embeddings."""
    trust: bool = False
    """Import the environment that the store names, if it is from outside this package."""

    def run(self) -> int:
        """Train, or continue, and write the encoder."""
        self.prepare()
        from imagoal.envs._cache import open_cache
        from imagoal.envs._store import Store
        from imagoal.world_model._named import describe
        from imagoal.world_model._pretrain import HISTORY, pretrain, watch
        from imagoal.world_model._probe import visible_positions
        from imagoal.world_model._run import opened
        from imagoal.world_model._windows import Windows, split

        if self.future < 1:
            raise UsageError(f"future = {self.future}; expected at least 1")
        if self.encoder != PatchConv(size=self.encoder.size, width=self.encoder.width):
            raise UsageError("encoder.normalise and encoder.seed follow from the objective and the seed; leave them out")
        store = Store.open(self.data)
        config = {"seed": self.seed, "future": self.future, "encoder": asdict(self.encoder), "schedule": asdict(self.schedule)}
        config["objective"] = describe("objective", self.objective)
        with opened(self.run_dir, "pretrain", config, {"data": store.hash}) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            cache = open_cache(store)
            windows = Windows(cache, cache.window_index(HISTORY, self.future, episodes=split(cache)[0]), self.seed)
            looked = watch(cache, visible_positions(store.spec.env, cache.states, self.trust), self.seed)
            encoder = pretrain(windows, looked, self.encoder, self.objective, self.schedule, self.future, self.seed, run)
            encoder.save(self.run_dir / "encoder")
            last = run.metrics()[-1]
            run.finish(encoder_hash=encoder.hash, **last)
        print(f"wrote {self.run_dir / 'encoder'}: probe R2 {last['r2']:.4f}, rank {last['rank']:.1f}, hash {encoder.hash[:12]}")
        return 0
