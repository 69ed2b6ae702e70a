"""What velocity and actions are worth: a predictor's error on the ball's position, with and without each.

    python -m experiments.ball.history_actions DATA ENCODER RUNS          (some 8 minutes on one core)

DATA is a store of Ball, ENCODER a run folder of `imagoal pretrain` on it, RUNS a folder for the runs. Four predictors: history
of 1 or 3 frames x actions given, or shuffled among all transitions in training and in test. Errors are of the linearly probed
position, in centimetres, one imagined step ahead on held-out episodes, in free flight and where the ball hits a wall. Writes
`experiments/results/rows/Ball/history-actions.table.json`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from experiments import publish
from experiments.pixels.gate import turned
from imagoal.envs.store import FrameCache, Store, WindowIndex, open_cache
from imagoal.world_model.disk import open_run
from imagoal.world_model.models import Trained, train_latent
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import named_encoder, visible_positions
from imagoal.world_model.training import Schedule, encode_all, split_episodes

FUTURE, SEED = 5, 0


def main(data: Path, encoder_run: Path, runs: Path) -> None:
    store = Store.open(data)
    cache = open_cache(store)
    encoder = named_encoder(str(encoder_run))
    positions = visible_positions(store.spec.env, cache.states)
    index, ids = held_out(cache, 1)
    before = index.now[ids]
    hits = turned(cache)[before]
    rows: list[list[object]] = []
    for history in (1, 3):
        for actions in ("given", "shuffled"):
            given = cache if actions == "given" else shuffled(cache)
            with open_run(runs / f"{actions}-{history}", "history-actions", {"history": history}, {"data": store.hash}) as run:
                config = MLP(history=history)
                trained = train_latent(given, positions, encoder, config, Schedule(), FUTURE, 1, SEED, run)
            rows += lines(history, actions, one_step(given, trained, encode_all(cache, encoder), positions), hits)
    rows += lines("-", "nothing moves", (positions[before] - positions[before + 1]).norm(dim=-1).numpy(), hits)
    columns = ["history", "actions", "where", "mean cm", "median cm", "n"]
    config = {"future": FUTURE, "seed": SEED, "encoder_hash": encoder.hash}
    publish("rows/Ball/history-actions", columns, rows, config)


def lines(history: object, actions: str, errors: np.ndarray, hits: np.ndarray) -> list[list[object]]:
    """Two rows of the table from errors (M,) in metres: free flight, and where the ball hit a wall (M,)."""
    parts = {"free flight": 100 * errors[~hits], "bounce": 100 * errors[hits]}
    return [[history, actions, where, float(e.mean()), float(np.median(e)), len(e)] for where, e in parts.items()]


def shuffled(cache: FrameCache) -> FrameCache:
    """The same frames, the actions permuted among all transitions."""
    return replace(cache, actions=np.random.default_rng(SEED).permutation(cache.actions))


@torch.no_grad()
def one_step(cache: FrameCache, trained: Trained, latents: torch.Tensor, positions: torch.Tensor) -> np.ndarray:
    """Errors (M,) in metres of the probed position after one imagined step, on `held_out` transitions."""
    predictor = trained.predictor
    index, ids = held_out(cache, predictor.history)
    rows, actions = index.rows(ids), torch.from_numpy(index.actions(cache.actions, ids))
    past = latents[torch.from_numpy(rows[:, :-1])].float()
    imagined, _ = predictor.unroll(predictor.start(past, actions[:, :-1]), actions[:, -1:])
    return (trained.probe(imagined[:, 0]) - positions[rows[:, -1]]).norm(dim=-1).numpy()


def held_out(cache: FrameCache, history: int) -> tuple[WindowIndex, np.ndarray]:
    """Windows of `history` frames and the next one, none of which reaches before its episode."""
    index = cache.window_index(history, 1, 1, split_episodes(cache)[1])
    return index, np.flatnonzero(index.now - index.start >= 2)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
