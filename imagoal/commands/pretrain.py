"""`imagoal pretrain`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from imagoal.commands._common import Folder, Learning
from imagoal.errors import UsageError
from imagoal.flags import Named
from imagoal.world_model.encoders.autoencoder import Autoencoder
from imagoal.world_model.encoders.feature_grid import FeatureGrid
from imagoal.world_model.encoders.keypoints import Keypoints
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.objectives.sigreg import SIGReg
from imagoal.world_model.training import Schedule

SCHEDULE = Schedule(steps=600, batch=64)


@dataclass(frozen=True)
class Pretrain(Learning):
    """Train an encoder on a store's frames, and freeze it.

    patch_conv learns to predict its own next embedding, from actions too, under an objective. The others learn from frames
    alone: keypoints to paint a frame's features again, autoencoder the frame itself; feature_grid whitens features.
    """

    data: Path = Path("runs/data")
    """Store, from `imagoal collect`."""
    run_dir: Folder = Path("runs/encoder")
    """Run folder; the encoder is written to its `encoder`."""
    encoder: Annotated[Any, Named("encoder", "patch_conv")] = field(default_factory=PatchConv)
    """The network: patch_conv, keypoints, feature_grid or autoencoder."""
    objective: Annotated[Any, Named("objective", "sigreg")] = field(default_factory=SIGReg)
    """What keeps the embedding of patch_conv from collapsing."""
    schedule: Schedule = field(default_factory=lambda: SCHEDULE)
    """How long and how fast it learns; feature_grid takes no steps."""
    future: int = 3
    """Imagined steps of patch_conv that are compared with the true embeddings."""
    trust: bool = False
    """Import the environment that the store names, if it is from outside this package."""

    def run(self) -> int:
        """Train, or continue, and write the encoder."""
        self.prepare()
        from imagoal.envs.store import Store, open_cache
        from imagoal.world_model.disk import open_run
        from imagoal.world_model.encoders import watch
        from imagoal.world_model.readouts import visible_positions

        config = self._settings()
        store = Store.open(self.data)
        with open_run(self.run_dir, "pretrain", config, {"data": store.hash}) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            cache = open_cache(store)
            looked = watch(cache, visible_positions(store.spec.env, cache.states, self.trust), self.seed)
            encoder = self._learn(cache, looked, run)
            encoder.save(self.run_dir / "encoder")
            last = run.metrics()[-1]
            run.finish(encoder_hash=encoder.hash, **last)
        print(f"wrote {self.run_dir / 'encoder'}: probe R2 {last['r2']:.4f}, rank {last['rank']:.1f}, hash {encoder.hash[:12]}")
        return 0

    def _settings(self) -> dict[str, Any]:
        """What decides the result.

        Raises:
            UsageError: it does not fit together.
        """
        from imagoal.world_model.disk import describe

        if self.future < 1:
            raise UsageError(f"future = {self.future}; expected at least 1")
        settings = {"seed": self.seed, "schedule": asdict(self.schedule)}
        if isinstance(self.encoder, PatchConv):
            if self.encoder != PatchConv(size=self.encoder.size, width=self.encoder.width):
                raise UsageError("encoder.normalise and encoder.seed follow from the objective and the seed; leave them out")
            objective = describe("objective", self.objective)
            return settings | {"future": self.future, "encoder": asdict(self.encoder), "objective": objective}
        self._check_frames_alone()
        return settings | {"encoder": describe("encoder", self.encoder)}

    def _check_frames_alone(self) -> None:
        """Refuse what encoders that learn from single frames do not read."""
        from imagoal.world_model.disk import describe

        name = describe("encoder", self.encoder)["name"]
        if not isinstance(self.encoder, Keypoints | FeatureGrid | Autoencoder):
            raise UsageError(f"encoder {name!r} is not trained; expected patch_conv, keypoints, feature_grid or autoencoder")
        if (self.objective, self.future) != (SIGReg(), Pretrain.future):
            raise UsageError(f"objective and future are of patch_conv; {name} learns from single frames: leave them out")
        if isinstance(self.encoder, FeatureGrid) and self.schedule != SCHEDULE:
            raise UsageError("schedule is of encoders that learn step by step; feature_grid is fitted at once: leave it out")
        if self.encoder.seed:
            raise UsageError("encoder.seed follows from the seed; leave it out")

    def _learn(self, cache: Any, looked: Any, run: Any) -> Any:
        """The encoder, trained and frozen."""
        if isinstance(self.encoder, Keypoints):
            from imagoal.world_model.encoders import learn_keypoints

            return learn_keypoints(cache, looked, self.encoder, self.schedule, self.seed, run)
        if isinstance(self.encoder, Autoencoder):
            from imagoal.world_model.encoders import learn_autoencoder

            return learn_autoencoder(cache, looked, self.encoder, self.schedule, self.seed, run)
        if isinstance(self.encoder, FeatureGrid):
            from imagoal.world_model.encoders import fit_whitening

            return fit_whitening(cache, looked, self.encoder, self.seed, run)
        from imagoal.world_model.encoders import HISTORY, pretrain
        from imagoal.world_model.training import Windows, split_episodes

        windows = Windows(cache, cache.window_index(HISTORY, self.future, episodes=split_episodes(cache)[0]), self.seed)
        return pretrain(windows, looked, self.encoder, self.objective, self.schedule, self.future, self.seed, run)
