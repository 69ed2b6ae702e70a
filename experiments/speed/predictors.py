"""What imagining costs, and how far it strays, by predictor; and what bf16 changes in a plan.

    TRAIN="imagoal train --data DATA --encoder world_model/weights/Ball-latent/encoder --future 8 --schedule.lr 2e-3"
    for P in mlp prefix; do $TRAIN --predictor $P --run runs/predictors/$P; done
    for P in streaming transformer; do
        $TRAIN --predictor $P --predictor.width 64 --predictor.depth 2 --predictor.history 3 \\
            --schedule.batch 128 --schedule.steps 1000 --run runs/predictors/$P
    done
    python -m experiments.speed.predictors DATA runs/predictors          (some minutes; DATA is a store of Ball)
    imagoal train --data PUSH --encoder world_model/weights/Push-latent/encoder --run runs/predictors/push-streaming \\
        --predictor streaming --predictor.history 1 --predictor.width 64 --predictor.depth 2 --action-block 2 \\
        --metric resting --schedule.steps 8000 --schedule.batch 128 --schedule.lr 2e-3 --schedule.save-every 2000 \\
        --loss.one-step 0.85 --loss.huber 0.1 --loss.object-weight 10          (20 minutes; PUSH is a store of Push)
    python -m experiments.speed.predictors precision ball=runs/predictors/mlp ball=runs/predictors/transformer \\
        ball=runs/predictors/streaming ball=runs/predictors/prefix push=Push-latent push=runs/predictors/push-streaming

Milliseconds of CPU time on one thread for 8 imagined steps of 64 and of 300 candidates, medians of rounds in which all take
turns; `faster` is the median of the ratios within the rounds. The error is that of the probed position after 8 imagined steps
in held-out episodes. Below: our transformers in the size that LeWM was published with (arXiv 2603.19312), random weights, so
for speed alone: 5 steps, against whole windows computed anew in each step. Writes
`experiments/results/speed/predictors.table.json`.

And what bf16 changes: for plans from the first frames of tasks, with the settings that the env is planned with, by how much
the fp32 cost of a plan that was searched in bf16 is above that of the same search in fp32, before and after the finalists are
judged in fp32; in percent of what the fp32 plan gains over doing nothing, all tasks together. Rounding sends a short search
elsewhere, to better plans or worse, so an fp32 search that draws otherwise stands beside it. Intervals are bootstrapped over
the tasks, 95 %. Writes `experiments/results/speed/precision.table.json`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Generator, Tensor

from experiments import publish
from imagoal.agents import Planning
from imagoal.commands.eval import Eval
from imagoal.envs import Floats, GoalEnv, make
from imagoal.envs.store import Store, open_cache
from imagoal.eval.episodes import build
from imagoal.eval.latency import ratio, take_turns
from imagoal.flags import parse
from imagoal.planning import FINALISTS, CostFunction, Finalists, GoalCost, no_op
from imagoal.world_model import Memory, Observation, Past, Predictor, to_tensor
from imagoal.world_model.models import LatentFolder, bf16_units, load_latent, mixed, probe_errors
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.predictors.streaming import Streaming
from imagoal.world_model.predictors.transformer import CausalTransformer, Transformer
from imagoal.world_model.readouts import visible_positions
from imagoal.world_model.training import Windows, encode_all, split_episodes

NAMES = ("mlp", "transformer", "streaming", "prefix")
STEPS, CANDIDATES, WINDOWS, TASKS = 8, (64, 300), 6000, 200
PUBLISHED = {"width": 192, "depth": 6, "heads": 16, "head_size": 64, "mlp_size": 2048}
PUBLISHED_STEPS, PUBLISHED_SIZE, PUBLISHED_ACTIONS = 5, 192, 10
COLUMNS = ["predictor", "weights", "ms, 64", "ms, 300", "faster, 64", "faster, 300", "error cm"]
REGRETS = [
    "env", "predictor", "tokens", "parameters", "planner", "regret %", "from", "to", "judged: regret %", "from", "to",
    "another draw, fp32: regret %", "from", "to",
]  # fmt: skip

Row = list[object]
Unroll = Callable[[Memory, Tensor], object]


def main(data: Path, runs: Path) -> None:
    torch.set_num_threads(1)
    folders = {name: load_latent(runs / name) for name in NAMES}
    settings = {"data_hash": Store.open(data).hash, "bf16": list(bf16_units()), "rounds": {"trained": 15, "published": 5}}
    rows = [*trained(folders, errors(data, folders)), *published()]
    publish("speed/predictors", COLUMNS, rows, settings | {"steps": STEPS, "windows": WINDOWS})


def precision(*models: str) -> None:
    """The other table, of models as ENV=MODEL."""
    torch.set_num_threads(1)
    units = list(bf16_units())
    absent: Row = ["not measured", *[None] * (len(REGRETS) - 1)]
    rows = [regrets(*each.split("=", 1)) for each in models] if units else [absent]
    publish("speed/precision", REGRETS, rows, {"bf16": units, "tasks": TASKS, "finalists": FINALISTS})


def trained(folders: Mapping[str, LatentFolder], strayed: Mapping[str, float]) -> list[Row]:
    """Predictors trained on Ball, against the MLP's steps one by one."""
    networks = both(folders)
    times = [timed({name: (net, net.unroll) for name, net in networks.items()}, count, STEPS, 2, 15) for count in CANDIDATES]
    rows: list[Row] = []
    for name, network in networks.items():
        schedule = folders[name.partition(",")[0]].config["settings"]["schedule"]
        weights = f"Ball, {schedule['steps']} x {schedule['batch']} windows, {parameters(network)}"
        rows.append([name, weights, *compared(times, name, "mlp"), strayed[name]])
    return rows


def errors(data: Path, folders: Mapping[str, LatentFolder]) -> dict[str, float]:
    """Centimetres by which the probed ball is off after the last step, in held-out episodes."""
    store = Store.open(data)
    cache, positions = open_cache(store), visible_positions(store.spec.env, open_cache(store).states)
    latents, held = encode_all(cache, folders["mlp"].encoder), split_episodes(cache)[1]
    off = {}
    for name, network in both(folders).items():
        windows = Windows(cache, cache.window_index(network.history, STEPS, 1, held), 0)
        probe = folders[name.partition(",")[0]].probe
        off[name] = 100 * probe_errors(network, probe, windows, latents, positions, 2, WINDOWS)["object"][-1]
    return off


def published() -> list[Row]:
    """Transformers in the published size, against windows computed anew in each step."""
    torch.manual_seed(0)
    windowed = Transformer(**PUBLISHED).build(1, PUBLISHED_SIZE, PUBLISHED_ACTIONS)
    banded = Streaming(history=1 + 2 * PUBLISHED["depth"], **PUBLISHED).build(1, PUBLISHED_SIZE, PUBLISHED_ACTIONS)
    jobs: dict[str, tuple[Predictor, Unroll]] = {"whole windows": (windowed, lambda *given: anew(windowed, *given))}
    for name, network in {"transformer": windowed, "streaming": banded}.items():
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.02)  # a new one says that nothing moves, and zeros might be fast
        jobs[name] = (network, network.eval().requires_grad_(False).unroll)
        if bf16_units():
            jobs[f"{name}, bf16"] = (network, mixed(network).unroll)
    times = [timed(jobs, count, PUBLISHED_STEPS, PUBLISHED_ACTIONS, 5) for count in CANDIDATES]
    size = f"random, speed only, {parameters(windowed)}"
    rows: list[Row] = [[f"published size: {name}", size, *compared(times, name, "whole windows"), None] for name in jobs]
    return rows if bf16_units() else [*rows, ["published size: bf16", "not measured", *[None] * 5]]


@torch.no_grad()
def anew(network: CausalTransformer, memory: Memory, actions: Tensor) -> Tensor:
    """As the published model imagines: in each step every token of the window passes every block, and so do its actions."""
    window, past = memory
    bands = network.trunk.bands([network.history] * len(network.trunk.lags), [network.history] * len(network.trunk.lags))
    for step in range(actions.shape[1]):
        past = torch.cat([past, actions[:, step : step + 1]], 1)
        modulations = network.trunk.modulations(past)
        changes, _ = network.trunk(network.standardised(window), modulations, bands, [()] * len(bands))
        window = torch.cat([window, window[:, -1:] + network.delta_std * changes[:, -1:]], 1)[:, 1:]
        past = past[:, 1:]
    return window


@torch.no_grad()
def timed(
    jobs: Mapping[str, tuple[Predictor, Unroll]], count: int, steps: int, size: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of CPU time by job and round; all jobs take turns."""
    actions = torch.rand(count, steps, size, generator=Generator().manual_seed(0)) * 2 - 1
    works = {name: partial(unroll, repeated(network, count, size), actions) for name, (network, unroll) in jobs.items()}
    return take_turns(works, rounds)


def repeated(network: Predictor, count: int, size: int) -> Memory:
    """What candidates start from: one past, many times."""
    past = torch.randn(1, network.history, 1, len(network.latent_mean), generator=Generator().manual_seed(0))
    memory = network.start(past, torch.zeros(1, network.history - 1, size))
    return tuple(part.repeat_interleave(count, 0) for part in memory)


def compared(times: list[dict[str, list[float]]], name: str, other: str) -> list[object]:
    """Medians of milliseconds, and of how many times faster than another in the same round."""
    return [*(1000 * median(each[name]) for each in times), *(ratio(each, other, name) for each in times)]


def both(folders: Mapping[str, LatentFolder]) -> dict[str, Predictor]:
    """The predictors, and where the processor has it the same in bf16."""
    exact = {name: folder.model.predictor for name, folder in folders.items()}
    return exact | ({f"{name}, bf16": mixed(network) for name, network in exact.items()} if bf16_units() else {})


def parameters(network: Predictor) -> str:
    count = sum(weight.numel() for weight in network.parameters())
    return f"{count / 1e6:.1f} M" if count > 1e6 else f"{count / 1e3:.0f} k"


def regrets(name: str, model: str) -> Row:
    """What searching in bf16 loses, by a model of an env, with the settings that the env is planned with."""
    env, config = make(name), load_latent(model).config
    built = build(parse(Eval, ["--env", name, "--world-model", model], "eval").choice(), env)
    planning, planner = built.planning, built.description["planner"]
    assert planning is not None
    assert isinstance(planning.model, Latent)
    losses = np.array([loss(env, planning, planning.model, task) for task in range(TASKS)])
    budget = f"{planner['name']} {planner['num_samples']} x {planner['iterations']}, H {planner['horizon']}"
    size = parameters(planning.model.predictor)
    return [name, config["predictor"]["name"], config["tokens"], size, budget, *shares(losses)]


@torch.no_grad()
def loss(env: GoalEnv, planning: Planning, model: Latent, task: int) -> list[float]:
    """What a first plan loses by searching in bf16; once judged; by drawing otherwise, in fp32; and what fp32 gains at all."""
    shown, _ = env.reset(seed=task)
    now, goal = (to_tensor(shown[name][None]) for name in ("image", "goal"))
    idle = no_op(1, planning.planner.horizon, model.action_size)
    aimed = GoalCost.aim(model, Observation(goal), planning.at, planning.chain, planning.distance, planning.over)
    state = model.observe(Past(now[:, None], torch.zeros(1, 0, model.action_size)), [task])
    exact, rough = aimed.bind(state), replace(aimed, model=replace(model, precision="bf16")).bind(state)
    listed = Finalists(rough, FINALISTS)

    def found(cost: CostFunction, seed: int) -> float:
        plan = planning.planner.plan(cost, idle, [Generator().manual_seed(seed)])
        return float(exact(plan.actions[:, None]))

    best, rounded, other = found(exact, task), found(listed, task), found(exact, TASKS + task)
    return [rounded - best, float(listed.settle(exact).cost) - best, other - best, float(exact(idle)) - best]


def shares(losses: Floats) -> Row:
    """Percent lost of what is gained, each with its interval, from losses and the gain of each task, (TASKS, 3 + 1)."""
    drawn = np.random.default_rng(0).integers(0, len(losses), (10_000, len(losses)))
    sums = np.concatenate([losses.sum(0)[None], losses[drawn].sum(1)])
    percent = 100 * sums[:, :3] / sums[:, 3:]
    return list(np.stack([percent[0], *np.percentile(percent[1:], [2.5, 97.5], 0)], 1).flatten().tolist())


if __name__ == "__main__":
    if sys.argv[1] == "precision":
        precision(*sys.argv[2:])
    else:
        main(*map(Path, sys.argv[1:]))
