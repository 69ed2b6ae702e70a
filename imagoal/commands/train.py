"""`imagoal train`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from imagoal.commands._common import Folder, Learning
from imagoal.errors import UsageError
from imagoal.flags import Named
from imagoal.world_model._loop import Schedule
from imagoal.world_model._loss import Loss
from imagoal.world_model._pixel_net import Trunk
from imagoal.world_model._pixel_train import PixelLoss

GALLERY = 1024
"""Frames that a model keeps to show what it imagines."""

PIXELS = "--schedule.steps 8000 --schedule.batch 16 --schedule.lr 1.5e-3 --future 4"
"""How a pixel model learns unless flags say otherwise."""

OWN = {"latent": ("encoder", "loss", "metric", "reduce"), "pixel_regression": ("trunk", "pixel_loss")}
"""Flags that one kind of world model has and no other."""


@dataclass(frozen=True)
class Train(Learning):
    """Train a world model: on a store's latents, encoded once by a frozen encoder, or on its frames."""

    data: Path = Path("runs/data")
    """Store, from `imagoal collect`."""
    encoder: str = "runs/encoder"
    """Encoder folder (or the run folder that holds it), or an entry, e.g. effnet_lite0."""
    run_dir: Folder = Path("runs/model")
    """Run folder; the world model is written to its `model`."""
    kind: Literal["latent", "pixel_regression"] = "latent"
    """Kind of world model."""
    predictor: Annotated[Any, Named("predictor", "mlp")] = None
    """What imagines the next latents."""
    schedule: Schedule = field(default_factory=Schedule)
    """How long and how fast it learns."""
    loss: Loss = field(default_factory=Loss)
    """How errors count."""
    trunk: Trunk = field(default_factory=Trunk)
    """Network of a pixel model."""
    pixel_loss: PixelLoss = field(default_factory=PixelLoss)
    """What a pixel model is trained on."""
    future: int = 5
    """Imagined model steps that the rollout loss covers."""
    action_block: int = 1
    """Env steps per model step."""
    metric: Literal["slowness", "resting"] = "slowness"
    """Distance between its latents that the model is planned with unless --distance says otherwise."""
    reduce: int = 0
    """Leading principal components to which a frame's tokens are reduced, as one vector; 0 leaves them as they are."""
    trust: bool = False
    """Import what a file names outside this package."""

    @staticmethod
    def preset(args: Sequence[str]) -> list[str]:
        """Flags that stand before those of the user, whose flags win."""
        asked = {("--kind", "pixel_regression"), ("--kind=pixel_regression", "")}
        return PIXELS.split() if asked & {*pairwise(args), *((arg, "") for arg in args)} else []

    def run(self) -> int:
        """Train, or continue, and write the world model."""
        self.prepare()
        self._refuse_flags_of_other_kinds()
        from imagoal.envs._cache import open_cache
        from imagoal.envs._store import Store
        from imagoal.world_model import _model, _probe, _train
        from imagoal.world_model._named import describe
        from imagoal.world_model._run import opened

        if self.future < 1 or self.action_block < 1 or self.reduce < 0:
            raise UsageError(
                f"future = {self.future}, action_block = {self.action_block}, reduce = {self.reduce}; expected >= 1, 1, 0"
            )
        if self.kind == "pixel_regression":
            return self._train_pixels()
        store = Store.open(self.data)
        cache = open_cache(store)
        encoder = self._encoder(cache)
        config = {
            "seed": self.seed,
            "future": self.future,
            "action_block": self.action_block,
            "schedule": asdict(self.schedule),
            "loss": asdict(self.loss),
        }
        config["predictor"] = describe("predictor", self.predictor)
        with opened(self.run_dir, "train", config, {"data": store.hash, "encoder": encoder.hash}) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            positions = _probe.visible_positions(store.spec.env, cache.states, self.trust)
            trained = _train.train(
                cache,
                positions,
                encoder,
                self.predictor,
                self.schedule,
                self.future,
                self.action_block,
                self.seed,
                run,
                self.loss,
                _probe.object_size(store.spec.env, self.trust),
            )
            origin = {
                "env": store.spec.env,
                "data_hash": store.hash,
                "training_seed": self.seed,
                "settings": config,
                "metric": self.metric,
                "probe_errors_m": trained.errors,
            }
            folder = _model.assemble(cache, encoder, trained, self.action_block, GALLERY, origin)
            _model.save(self.run_dir / "model", folder, self.predictor)
            run.finish(probe_errors_m=trained.errors, encoder_hash=encoder.hash)
        print(f"wrote {self.run_dir / 'model'}; off in cm, now and after 1, 2, ... imagined steps:")
        for name, errors in trained.errors.items():
            print(f"{name:<8}" + " ".join(f"{100 * error:6.2f}" for error in errors))
        return 0

    def _train_pixels(self) -> int:
        """Train, or continue, a world model that imagines frames, and write it."""
        from imagoal.envs._cache import open_cache
        from imagoal.envs._store import Store
        from imagoal.world_model import _pixel_model, _pixel_train
        from imagoal.world_model._run import opened
        from imagoal.world_model.pixel_regression import PixelRegression

        store = Store.open(self.data)
        cache = open_cache(store)
        how = (self.trunk, self.schedule, self.pixel_loss, self.future, self.action_block, self.seed)
        config = {
            "kind": self.kind,
            "seed": self.seed,
            "future": self.future,
            "action_block": self.action_block,
            "schedule": asdict(self.schedule),
            "trunk": asdict(self.trunk),
            "pixel_loss": asdict(self.pixel_loss),
        }
        with opened(self.run_dir, "train", config, {"data": store.hash}) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            trained = _pixel_train.train(cache, *how, run)
            height, width = cache.frames.shape[1:3]
            actions = cache.actions.shape[1] * self.action_block
            model = PixelRegression(trained.net, actions, (height, width), self.action_block)
            origin = {"env": store.spec.env, "data_hash": store.hash, "training_seed": self.seed, "settings": config}
            _pixel_model.save(
                self.run_dir / "model", _pixel_model.PixelFolder(model, origin | {"frame_errors": trained.errors})
            )
            run.finish(frame_errors=trained.errors)
        print(f"wrote {self.run_dir / 'model'}; root mean squared errors of frames after 1, 2, ... steps, in percent of white:")
        for name, errors in trained.errors.items():
            print(f"{name:<8}" + " ".join(f"{100 * error:6.2f}" for error in errors))
        return 0

    def _refuse_flags_of_other_kinds(self) -> None:
        defaults = Train()
        for kind, names in OWN.items():
            given = [name for name in names if kind != self.kind and getattr(self, name) != getattr(defaults, name)]
            if given:
                flag = given[0].replace("_", "-")
                raise UsageError(f"--{flag} is of kind {kind}, not of {self.kind}; leave it out, or pass --kind {kind}")

    def _encoder(self, cache: Any) -> Any:
        """The encoder that was named, frozen."""
        from imagoal.world_model import _frozen
        from imagoal.world_model._windows import frame_rows, split

        encoder = _frozen.named(self.encoder, self.trust)
        if not self.reduce:
            return encoder
        rows = frame_rows(cache, split(cache)[0], 2000, self.seed)
        return encoder.with_reduction(cache.frames[rows], self.reduce, self.seed)
