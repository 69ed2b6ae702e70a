"""`imagoal train --kind pixel_regression`."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from imagoal.envs._cache import open_cache
from imagoal.envs._store import Store
from imagoal.world_model import _pixel_model, _pixel_train
from imagoal.world_model._run import opened
from imagoal.world_model.pixel_regression import PixelRegression

if TYPE_CHECKING:
    from imagoal.commands.train import Train


def train_pixels(asked: "Train") -> int:
    """Train, or continue, and write a world model that imagines frames."""
    store = Store.open(asked.data)
    cache = open_cache(store)
    how = (asked.trunk, asked.schedule, asked.pixel_loss, asked.future, asked.action_block, asked.seed)
    config = {
        "kind": asked.kind,
        "seed": asked.seed,
        "future": asked.future,
        "action_block": asked.action_block,
        "schedule": asdict(asked.schedule),
        "trunk": asdict(asked.trunk),
        "pixel_loss": asdict(asked.pixel_loss),
    }
    with opened(asked.run_dir, "train", config, {"data": store.hash}) as run:
        if run.done:
            print(f"{asked.run_dir} is complete: nothing to do")
            return 0
        trained = _pixel_train.train(cache, *how, run)
        height, width = cache.frames.shape[1:3]
        actions = cache.actions.shape[1] * asked.action_block
        model = PixelRegression(trained.net, actions, (height, width), asked.action_block)
        origin = {"env": store.spec.env, "data_hash": store.hash, "training_seed": asked.seed, "settings": config}
        _pixel_model.save(asked.run_dir / "model", _pixel_model.PixelFolder(model, origin | {"frame_errors": trained.errors}))
        run.finish(frame_errors=trained.errors)
    print(f"wrote {asked.run_dir / 'model'}; root mean squared errors of frames after 1, 2, ... steps, in percent of white:")
    for name, errors in trained.errors.items():
        print(f"{name:<8}" + " ".join(f"{100 * error:6.2f}" for error in errors))
    return 0
