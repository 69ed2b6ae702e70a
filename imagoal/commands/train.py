"""`imagoal train`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from imagoal import flags
from imagoal.commands._common import Folder, Learning
from imagoal.errors import UsageError
from imagoal.flags import Named, parse
from imagoal.world_model.models import MAP_KINDS, Align, Diffusion, Loss, Practice, Trunk
from imagoal.world_model.training import Schedule

GALLERY = 1024
"""Frames that a model keeps to show what it imagines."""

MAP_DEFAULTS = {"schedule": Schedule(steps=16000, batch=16, lr=1.5e-3), "future": 4}
"""How a pixel or token model learns unless flags say otherwise."""

Kind = Literal["latent", "pixel_regression", "pixel_diffusion", "token_regression", "token_diffusion"]

KINDS_OF = {
    "encoder": ("latent", "token_regression", "token_diffusion"),
    **dict.fromkeys(("predictor", "loss", "metric", "reduce"), ("latent",)),
    **dict.fromkeys(("trunk", "practice", "align"), MAP_KINDS),
    "diffusion": ("pixel_diffusion", "token_diffusion"),
}
"""Kinds of world model that a flag is of; all other flags are of all kinds."""


@dataclass(frozen=True)
class Train(Learning):
    """Train a world model: on a store's latents, encoded once by a frozen encoder, or on its frames."""

    data: Path = Path("runs/data")
    """Store, from `imagoal collect`."""
    encoder: str = "runs/encoder"
    """Encoder folder (or the run folder that holds it), or an entry, e.g. effnet_lite0."""
    run_dir: Folder = Path("runs/model")
    """Run folder; the world model is written to its `model`."""
    kind: Kind = "latent"
    """Kind of world model."""
    predictor: Annotated[Any, Named("predictor", "mlp")] = None
    """What imagines the next latents."""
    schedule: Schedule = field(default_factory=Schedule)
    """How long and how fast it learns."""
    loss: Loss = field(default_factory=Loss)
    """How errors count."""
    trunk: Trunk = field(default_factory=Trunk)
    """Network of a pixel or token model."""
    practice: Practice = field(default_factory=Practice)
    """What a pixel or token model is trained on."""
    align: Align = field(default_factory=Align)
    """What a pixel or token model's hidden maps are aligned to."""
    diffusion: Diffusion = field(default_factory=Diffusion)
    """Noise that a diffusion model learns to take away."""
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
    def preset(args: Sequence[str]) -> Mapping[str, Any]:
        """Defaults of this kind of world model, field by field."""
        return MAP_DEFAULTS if flags.peek(args, "kind").get("kind") in MAP_KINDS else {}

    def run(self) -> int:
        """Train, or continue, and write the world model."""
        self.prepare()
        self._refuse_flags_of_other_kinds()
        from imagoal.envs.store import Store, open_cache
        from imagoal.world_model.disk import describe, open_run
        from imagoal.world_model.models import assemble_latent, save_latent, train_latent
        from imagoal.world_model.readouts import object_size, visible_positions

        if self.future < 1 or self.action_block < 1 or self.reduce < 0:
            raise UsageError(
                f"future = {self.future}, action_block = {self.action_block}, reduce = {self.reduce}; expected >= 1, 1, 0"
            )
        if self.kind != "latent":
            return self._train_maps()
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
        with open_run(self.run_dir, "train", config, {"data": store.hash, "encoder": encoder.hash}) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            positions = visible_positions(store.spec.env, cache.states, self.trust)
            trained = train_latent(
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
                object_size(store.spec.env, self.trust),
            )
            origin = {
                "env": store.spec.env,
                "data_hash": store.hash,
                "training_seed": self.seed,
                "settings": config,
                "metric": self.metric,
                "probe_errors_m": trained.errors,
            }
            folder = assemble_latent(cache, encoder, trained, self.action_block, GALLERY, origin)
            save_latent(self.run_dir / "model", folder, self.predictor)
            run.finish(probe_errors_m=trained.errors, encoder_hash=encoder.hash)
        print(f"wrote {self.run_dir / 'model'}; off in cm, now and after 1, 2, ... imagined steps:")
        for name, errors in trained.errors.items():
            print(f"{name:<8}" + " ".join(f"{100 * error:6.2f}" for error in errors))
        return 0

    def _train_maps(self) -> int:
        """Train, or continue, a world model that imagines frames or a grid of tokens, and write it."""
        from imagoal.envs.store import Store, open_cache
        from imagoal.world_model.disk import open_run
        from imagoal.world_model.models import Mean, assemble_maps, fit_readouts, save_maps, train_maps
        from imagoal.world_model.readouts import named_encoder

        store = Store.open(self.data)
        cache = open_cache(store)
        encoder = self._encoder(cache) if self.kind in KINDS_OF["encoder"] else None
        trunk = self.trunk if encoder is None else replace(self.trunk, patch=1)
        head = self.diffusion if self.kind in KINDS_OF["diffusion"] else Mean()
        config = {
            "kind": self.kind,
            "seed": self.seed,
            "future": self.future,
            "action_block": self.action_block,
            "schedule": asdict(self.schedule),
            "trunk": asdict(trunk),
            "practice": asdict(self.practice),
        }
        config |= {"diffusion": asdict(self.diffusion)} if self.kind in KINDS_OF["diffusion"] else {}
        config |= {"align": asdict(self.align)} if self.align.to else {}
        guide = named_encoder(self.align.to, self.trust) if self.align.to else None
        parents = {"data": store.hash} | {
            name: each.hash for name, each in (("encoder", encoder), ("guide", guide)) if each is not None
        }
        how = (self.schedule, self.practice, self.future, self.action_block, self.seed)
        with open_run(self.run_dir, "train", config, parents) as run:
            if run.done:
                print(f"{self.run_dir} is complete: nothing to do")
                return 0
            trained = train_maps(cache, trunk, head, encoder, *how, run, self.align, guide)
            origin = {
                "env": store.spec.env,
                "data_hash": store.hash,
                "training_seed": self.seed,
                "settings": config,
                "metric": "euclid",
                "errors": trained.errors,
            }
            readouts = fit_readouts(cache, encoder, self._positions(store, cache), self.seed) if encoder else None
            folder = assemble_maps(self.kind, cache, trained, head, encoder, readouts, self.action_block, origin)
            save_maps(self.run_dir / "model", folder)
            run.finish(errors=trained.errors)
        what = "tokens" if encoder else "frames, white being 100"
        print(f"wrote {self.run_dir / 'model'}; root mean squared errors of {what}, after 1, 2, ... imagined steps:")
        for name, errors in trained.errors.items():
            print(f"{name:<8}" + " ".join(f"{100 * error:6.2f}" for error in errors))
        return 0

    def _positions(self, store: Any, cache: Any) -> Any:
        """What each frame shows, for a probe."""
        from imagoal.world_model.readouts import visible_positions

        return visible_positions(store.spec.env, cache.states, self.trust)

    def _refuse_flags_of_other_kinds(self) -> None:
        defaults = parse(Train, [], "train")
        for name, kinds in KINDS_OF.items():
            if self.kind not in kinds and getattr(self, name) not in {None, getattr(defaults, name)}:
                raise UsageError(
                    f"--{name} is of kind {', '.join(kinds)}, not of {self.kind}; leave it out, or pass --kind {kinds[0]}"
                )

    def _encoder(self, cache: Any) -> Any:
        """The encoder that was named, frozen."""
        from imagoal.world_model.readouts import named_encoder
        from imagoal.world_model.training import frame_rows, split_episodes

        encoder = named_encoder(self.encoder, self.trust)
        if not self.reduce:
            return encoder
        rows = frame_rows(cache, split_episodes(cache)[0], 2000, self.seed)
        return encoder.with_reduction(cache.frames[rows], self.reduce, self.seed)
