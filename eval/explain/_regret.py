"""Offline regret: how much worse than the best is the action sequence that a model and a cost would choose?

The learned model imagines the sequences of `_sequences`, or the true frames stand in for what it imagines; both are carried to
the same place and measured by the same cost, after the last step. Regret with true frames is the metric's; what the learned
model adds is the model's. Shapes as in `_sequences`; latents (M, N, D).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from imagoal import files
from imagoal.envs import Bools, Floats, GoalEnv
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes import DistanceName, default_distance, distance
from imagoal.eval.explain._geometry import spearman
from imagoal.eval.explain._sequences import Sequences
from imagoal.planning import GoalCost, Over
from imagoal.progress import Progress
from imagoal.world_model import Encoder, Observation, Past, Place, to_tensor
from imagoal.world_model.models import LatentFolder
from imagoal.world_model.readouts import Chain

TOP = 0.1
"""Share of the sequences that are compared by the overlap."""
COLUMNS = ("imagined", "cost", "goals", "n", "regret cm", "p90 cm", "reached %", "Spearman", "top 10 % overlap")
Kind = Literal["all", "sampled", "reachable"]
LEARNED, TRUE, CHANCE = "learned model", "true frames", "chance"


@dataclass(frozen=True)
class Score:
    """How well a cost chooses.

    Attributes:
        imagined: what the cost was measured on.
        cost: where it was measured.
        goals: which problems: with goals of the sampler, with goals that can be reached, or all.
        problems: how many; those whose start is at the goal are left out.
        regret: mean task distance of the chosen sequence's end minus that of the best one's, cm.
        p90: its 90th percentile, cm.
        reached: of the problems that some sequence solves, the share in which the chosen one does, %; None if there are none.
        correlation: mean over problems of Spearman's between costs and task distances; None if nothing varies.
        overlap: of a tenth of the sequences with the lowest cost, the share that is as near as the truly best tenth, %.
    """

    imagined: str
    cost: str
    goals: Kind
    problems: int
    regret: float
    p90: float
    reached: float | None
    correlation: float | None
    overlap: float


@dataclass(frozen=True)
class Imagined:
    """What a learned model makes of the sequences.

    Attributes:
        ends: latents (P, K, N, D) after the last step.
        off: metres (H,), how far the object is from where the probe finds it after each step, on average.
    """

    ends: Tensor
    off: Floats


def check_sequences(bench: Sequences, folder: LatentFolder, name: str) -> None:
    """Refuse a world model that cannot imagine these sequences.

    Raises:
        UsageError: it sees other frames, wants other actions, or looks further back than the file does.
    """
    model, shown = folder.model, bench.goal_frames.shape[1:]
    has = (folder.gallery.frames.shape[1:], model.action_block, model.action_size)
    if has != (shown, bench.block, bench.actions.shape[-1]):
        wanted = f"{shown}, {bench.block}, {bench.actions.shape[-1]}"
        raise UsageError(
            f"world model {name} has frames {has[0]}, action block {has[1]}, actions of size {has[2]}; the sequences {wanted}; "
            f"name another, or make its own with `imagoal regret make --design.action-block {has[1]}`"
        )
    if model.history > bench.past_frames.shape[1]:
        raise UsageError(
            f"world model {name} looks at {model.history} frames, the sequences keep {bench.past_frames.shape[1]}; "
            f"make them with `imagoal regret make --design.history {model.history}`"
        )


@torch.no_grad()
def imagine_ends(env: GoalEnv, bench: Sequences, folder: LatentFolder) -> Imagined:
    """Let the learned model imagine all sequences.

    Args:
        env: says what is visible.
        bench: the sequences.
        folder: of the model and its probe.
    """
    model, size = folder.model, env.object_size
    first = bench.past_frames.shape[1] - model.history
    ends, off = [], []
    with Progress("imagining", total=len(bench.actions)) as progress:
        for number, actions in enumerate(torch.from_numpy(bench.actions)):
            frames, taken = to_tensor(bench.past_frames[number, first:]), torch.from_numpy(bench.past_actions[number, first:])
            state = model.observe(Past(frames[None], taken[None]), [number])
            path = model.rollout(state, actions[None])[0]
            shown = env.visible(bench.states[number].astype(np.float64))[..., :size]
            probed = folder.probe(path.flatten(0, 1)).reshape(*path.shape[:2], -1).numpy()[..., :size]
            off.append(np.linalg.norm(probed - shown, axis=-1).mean(0))
            ends.append(path[:, -1])
            progress.advance()
    return Imagined(torch.stack(ends), np.mean(off, 0))


def true_latents(bench: Sequences, encoder: Encoder, path: Path) -> Tensor:
    """Latents f16 (P, K, N, D) of the true last frames; kept beside the file of the sequences for the next model.

    Args:
        bench: the sequences.
        encoder: frozen.
        path: of the sequences' file.

    Raises:
        DataError: latents that are kept have another shape.
    """
    kept = path.with_name(f"{path.stem}-{files.sha256(path)[:8]}-{encoder.hash[:8]}.latents.npy")
    if kept.exists():
        found = np.load(kept, allow_pickle=False)
        if found.shape[:2] != bench.frames.shape[:2]:
            raise DataError(f"{kept} holds latents of {found.shape[:2]} frames, not of {bench.frames.shape[:2]}; delete it")
        return torch.from_numpy(found)
    latents = []
    with Progress("encoding", total=len(bench.frames)) as progress, torch.no_grad():
        for frames in bench.frames:
            latents.append(encoder.encode(to_tensor(frames)).half())
            progress.advance()
    encoded = torch.stack(latents)
    files.write(kept, lambda file: np.save(file, encoded.numpy(), allow_pickle=False))
    return encoded


def costs(
    env: GoalEnv, bench: Sequences, folder: LatentFolder, ends: Tensor, at: Place, name: DistanceName, agent_weight: float
) -> Floats:
    """Costs (P, K) of latents (P, K, N, D) after the last step, as the planner would measure them; never NaN."""
    measure = distance(name, at, env, folder, agent_weight)
    chain = Chain(None, folder.encoder, folder.probe)
    aimed = GoalCost.aim(folder.model, Observation(to_tensor(bench.goal_frames)), at, chain, measure, Over(last=1, mean=0))
    with torch.no_grad():
        measured = [
            aimed.rows([number]).measure(end[None, :, None].float())  # f16 latents are widened one problem at a time
            for number, end in enumerate(ends)
        ]
    return torch.cat(measured).double().nan_to_num(nan=torch.inf).numpy()


def score_sources(
    env: GoalEnv,
    bench: Sequences,
    folder: LatentFolder,
    sources: dict[str, Tensor],
    places: Sequence[Place],
    name: DistanceName | None = None,
    agent_weight: float = 0.0,
) -> list[Score]:
    """Scores of all sources of latents (P, K, N, D) at all places, and of choosing at random.

    Args:
        env: measures the true distances.
        bench: the sequences.
        folder: encoder, metric, probe.
        sources: latents by name.
        places: where the cost is measured.
        name: distance at `latent`; None for the world model's own.
        agent_weight: of the agent's own body, where the distance tells it from the object.
    """
    metres = env.task_distance(bench.states[:, :, -1].astype(np.float64), bench.goals[:, None])
    trivial = env.at_goal(bench.starts, bench.goals)
    kinds: dict[Kind, Bools] = {"all": ~trivial, "sampled": ~trivial & bench.sampled, "reachable": ~trivial & ~bench.sampled}
    names = {at: name if name and at == "latent" else default_distance(at, folder) for at in places}
    measured: dict[tuple[str, str], Floats] = {
        (source, at): costs(env, bench, folder, ends, at, names[at], agent_weight)
        for at in places
        for source, ends in sources.items()
    }
    measured[CHANCE, ""] = np.random.default_rng(0).random(metres.shape)
    return [
        replace(rate_choice(cost[rows], metres[rows], env.tolerance), imagined=source, cost=at, goals=kind)
        for (source, at), cost in measured.items()
        for kind, rows in kinds.items()
        if rows.any()
    ]


def rate_choice(cost: Floats, metres: Floats, tolerance: float) -> Score:
    """How well costs (P, K) choose where the true distances are metres (P, K)."""
    best = metres.min(1)
    chosen = np.take_along_axis(metres, cost.argmin(1)[:, None], 1)[:, 0]
    count = max(1, round(TOP * cost.shape[1]))
    good = metres <= np.sort(metres, 1)[:, count - 1 : count]
    overlap = np.take_along_axis(good, np.argsort(cost, 1, kind="stable")[:, :count], 1)
    solved = best <= tolerance
    reached = 100 * float((chosen[solved] <= tolerance).mean()) if solved.any() else None
    regret = 100 * (chosen - best)
    return Score(
        "",
        "",
        "all",
        len(cost),
        float(regret.mean()),
        float(np.quantile(regret, 0.9)),
        reached,
        spearman(cost, metres),
        100 * float(overlap.mean()),
    )


def sentence(scores: Sequence[Score], at: str) -> str:
    """What of the regret is the metric's, and what the model's."""
    by_source = {score.imagined: score.regret for score in scores if score.cost == at and score.goals == "all"}
    metric, whole = by_source[TRUE], by_source[LEARNED]
    return (
        f"{at}: of {whole:.2f} cm of regret, {metric:.2f} stand with true frames (metric); the model adds {whole - metric:+.2f}"
    )
