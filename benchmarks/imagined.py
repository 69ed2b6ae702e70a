"""How far imagination strays: a world model's error on what pictures show, by imagined step, on held-out episodes of a store.

    python benchmarks/imagined.py Push-latent runs/bench/Push/data          (seconds, once the store is encoded)

The positions are linearly probed from true latents (step 0) and from imagined ones. Writes
`eval/results/ENV/imagined-MODEL.table.json`, in centimetres.
"""

import sys
from pathlib import Path

from imagoal.envs import short_name
from imagoal.envs._cache import open_cache
from imagoal.envs._store import Store
from imagoal.eval import _result
from imagoal.world_model import _model, _probe, _train
from imagoal.world_model._latents import encode_all
from imagoal.world_model._windows import Windows, split

ROOT = Path(__file__).parents[1]
STEPS, WINDOWS = 7, 6000


def main(model: str, data: Path) -> None:
    folder, store = _model.load(model), Store.open(data)
    cache, predictor, block = open_cache(store), folder.model.predictor, folder.model.action_block
    index = cache.window_index(predictor.history, STEPS, block, split(cache)[1])
    errors = _train.probe_errors(
        predictor,
        folder.probe,
        Windows(cache, index, 0),
        encode_all(cache, folder.encoder),
        _probe.visible_positions(store.spec.env, cache.states),
        _probe.object_size(store.spec.env),
        WINDOWS,
    )
    rows: list[list[object]] = [[step, *(100 * values[step] for values in errors.values())] for step in range(STEPS + 1)]
    settings = {"model": model, "data_hash": store.hash, "windows": WINDOWS, "action_block": block}
    path = ROOT / f"eval/results/{short_name(store.spec.env)}/imagined-{Path(model).name}.table.json"
    _result.write_table(path, ["step", *(f"{name} cm" for name in errors)], rows, settings)
    for row in rows:
        print(*(f"{value:6.2f}" if isinstance(value, float) else f"{value:4}" for value in row))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
