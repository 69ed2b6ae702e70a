"""Action sequences simulated and rendered once, to be scored again and again under any model and cost.

Shapes: P problems, K sequences, H model steps, A' action size of one, T past frames, S state size, h w pixels.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imagoal import files
from imagoal.envs import Bools, Floats, Frames, GoalEnv, Rng, env_id
from imagoal.envs.store import FrameCache
from imagoal.errors import DataError, UsageError
from imagoal.planning import correlated
from imagoal.progress import Progress
from imagoal.world_model.training import split_episodes

F32 = npt.NDArray[np.float32]
SCHEMA = "imagoal.sequences/1"
GUIDED = 4
"""One of so many sequences begins as the expert does."""
ENDS = 16
"""Sequences of which the one that brings the object farthest gives a goal that can be reached."""


@dataclass(frozen=True)
class Design:
    """How many problems and sequences there are, and how the sequences are drawn."""

    problems: int = 200
    """States to start from, drawn from held-out episodes; half of the goals are of the sampler, half can be reached."""
    sequences: int = 256
    """Action sequences from each: doing nothing, the expert's, beginnings of the expert's, correlated noise."""
    horizon: int = 8
    """Length of a sequence, in model steps."""
    action_block: int = 1
    """Env steps per model step."""
    history: int = 4
    """Past frames that are kept for models that look back."""
    noise: float = 0.5
    """Standard deviation of the actions' noise."""
    correlation: float = 0.85
    """Of the noise from one action to the next, in [0, 1)."""

    def __post_init__(self) -> None:
        least = {"problems": 2, "sequences": 2 * GUIDED, "horizon": 1, "action_block": 1, "history": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UsageError(f"Design.{name} is {getattr(self, name)}; expected at least {value}")
        if not self.noise > 0 or not 0 <= self.correlation < 1:
            raise UsageError(f"Design.noise is {self.noise}, correlation {self.correlation}; expected above 0, and in [0, 1)")


@dataclass(frozen=True)
class Sequences:
    """What happened in the true world.

    Attributes:
        env: id of the environment.
        options: of its constructor.
        block: env steps per model step.
        past_frames: u8 (P, T, h, w, 3), one per model step, the last one is now.
        past_actions: f32 (P, T - 1, A').
        starts: f64 (P, S).
        goals: f64 (P, S).
        goal_frames: u8 (P, h, w, 3).
        sampled: bool (P,), whether the goal is the sampler's; else the end of a sequence that is not among the K.
        actions: f32 (P, K, H, A').
        states: f32 (P, K, H, S), after each model step.
        frames: u8 (P, K, h, w, 3), after the last.
    """

    env: str
    options: dict[str, str]
    block: int
    past_frames: Frames
    past_actions: F32
    starts: Floats
    goals: Floats
    goal_frames: Frames
    sampled: Bools
    actions: F32
    states: F32
    frames: Frames

    def save(self, path: Path) -> None:
        """Write as one `.npz`."""
        about = {"schema": SCHEMA, "env": self.env, "options": self.options, "block": self.block}
        arrays = {name: value for name, value in vars(self).items() if name not in about}
        files.write_npz(path, arrays | {"about": np.array(json.dumps(about))})


def load_sequences(path: Path) -> Sequences:
    """Sequences from their file.

    Raises:
        DataError: missing, damaged, or no such file.
    """
    if not path.exists():
        raise DataError(f"{path} is missing; make it with `imagoal regret make --file {path}`")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays: dict[str, Any] = dict(data)
        about = json.loads(str(arrays.pop("about")))
        if about.pop("schema") != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}")
        found = Sequences(**about, **arrays)
        problems, sequences = found.actions.shape[:2]
        if found.frames.shape[:2] != (problems, sequences) or found.states.shape[:3] != found.actions.shape[:3]:
            raise ValueError("arrays of different lengths")
    except Exception as error:  # whatever a damaged or hostile file makes the parsers raise
        why = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} holds no sequences ({why}); make it with `imagoal regret make`") from error
    return found


def make_sequences(env: GoalEnv, cache: FrameCache, design: Design, seed: int) -> Sequences:
    """Draw problems and sequences, and simulate and render all of them.

    Args:
        env: simulates without random kicks, and renders.
        cache: of a store of that env; the problems begin in held-out episodes.
        design: how many.
        seed: of all that is drawn.
    """
    rng = np.random.default_rng([seed, 29])
    index = cache.window_index(design.history, 0, design.action_block, split_episodes(cache)[1])
    ids = np.sort(rng.choice(len(index), design.problems, replace=design.problems > len(index)))
    past_frames, past_actions = cache.windows(index, ids)
    starts = cache.states[index.now[ids]]
    parts = []
    with Progress("simulating and rendering", total=len(starts)) as progress:
        for number, start in enumerate(starts):
            parts.append(_problem(env, start, number % 2 == 0, design, rng))
            progress.advance()
    goals, goal_frames, sampled, actions, states, frames = (np.stack(each) for each in zip(*parts, strict=True))
    return Sequences(
        env_id(env),
        env.options,
        design.action_block,
        past_frames,
        past_actions,
        starts,
        goals,
        goal_frames,
        sampled,
        actions,
        states,
        frames,
    )


def _problem(env: GoalEnv, start: Floats, sampled: bool, design: Design, rng: Rng) -> tuple[Any, ...]:
    """Goal (S,), its frame, whether it is the sampler's, actions (K, H, A'), states (K, H, S), last frames of one problem."""
    task = env.sample_task(rng)
    goal, picture = task.goal, task.goal_image
    if not sampled:
        ends = _simulated(env, start, _draw(env, start, goal, ENDS, design, rng))[:, -1]
        goal = ends[np.argmax(env.task_distance(ends, start))]
        picture = env.render_states(goal[None])[0]
    actions = _draw(env, start, goal, design.sequences, design, rng)
    path = _simulated(env, start, actions)
    diverged = ~np.isfinite(path).all((1, 2))
    actions[diverged], path[diverged] = actions[0], path[0]  # doing nothing stands in for what the physics could not follow
    states = path[:, design.action_block - 1 :: design.action_block].astype(np.float32)
    blocks = actions.reshape(len(actions), design.horizon, -1).astype(np.float32)
    return goal, picture, np.array(sampled), blocks, states, env.render_states(path[:, -1])


def _draw(env: GoalEnv, start: Floats, goal: Floats, count: int, design: Design, rng: Rng) -> Floats:
    """Actions (count, L, A): doing nothing, the expert's, beginnings of the expert's with some noise, correlated noise."""
    steps, size = design.horizon * design.action_block, (env.action_space.shape or (1,))[0]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    like = torch.zeros(1, 1, steps, size, dtype=torch.float64)
    actions: Floats = design.noise * correlated([generator], count, like, design.correlation, 1)[0].numpy()
    guide = _expert(env, start, goal, steps)
    guided = count // GUIDED
    begin = np.arange(steps) < rng.integers(1, steps + 1, guided)[:, None]
    spread = rng.uniform(0, 1, (guided, 1, 1))
    actions[:guided] = np.where(begin[..., None], guide + spread * actions[:guided], actions[:guided])
    actions[0], actions[1] = 0, guide
    return np.clip(actions, -1, 1).astype(np.float32).astype(np.float64)  # as they will be stored


def _expert(env: GoalEnv, start: Floats, goal: Floats, steps: int) -> Floats:
    """The expert's actions (L, A)."""
    state, actions = start[None], []
    for _ in range(steps):
        actions.append(np.clip(env.expert(state, goal[None]), -1, 1))
        state = env.simulate(state, actions[-1][:, None])[:, 0]
    return np.concatenate(actions)


def _simulated(env: GoalEnv, start: Floats, actions: Floats) -> Floats:
    """States (K, L, S) after each of the actions (K, L, A)."""
    return env.simulate(np.repeat(start[None], len(actions), 0), actions)
