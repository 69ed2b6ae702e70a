"""Collecting: run whole episodes and append them to a store. Episode i depends on the seed and on i alone.

So one worker or many, and stopped and continued runs, all make the same store.
"""

import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagoal import files
from imagoal.envs._behaviours import behaviour
from imagoal.envs._make import env_id, make
from imagoal.envs._types import Episode, Floats, Frames, GoalEnv, Rng
from imagoal.envs.store._records import Record, Spec
from imagoal.envs.store._store import Store
from imagoal.errors import DivergedError, EnvError, ImagoalError, ResourceError, UsageError
from imagoal.progress import Progress

Shown = dict[str, Frames]
"""What the env shows: `image` and `goal`, u8 (h, w, 3)."""
Actor = Callable[[Shown, Floats], npt.ArrayLike]
"""Chooses actions in one episode: from what the env shows and its state (S,), which is privileged, to an action (A,)."""
ActorFactory = Callable[[GoalEnv, Shown, Rng], Actor]
"""Makes the actor of an episode that the env has just begun, and is named by its `__name__`: how an agent from above acts."""
Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Collecting:
    """How episodes are collected, whatever acts in them."""

    workers: int = 1
    """Processes; the store is the same whatever their number. An agent has one."""
    seed: int = 0
    """From which, with its number, all of an episode follows."""
    steps: int | None = None
    """Limit of an episode's length; by default that of the env."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"workers {self.workers}; expected at least 1")


def collect(
    env: str | GoalEnv,
    data: str | Path,
    episodes: int = 1000,
    behaviour: str | ActorFactory = "mixed",
    setting: Collecting | None = None,
) -> Store:
    """Record episodes into a store, new or not, until it holds `episodes` of them; the same call continues a stopped one.

    Args:
        env: a name as `make` takes it, or an env, of which others like it are made.
        data: the store's folder.
        episodes: how many there shall be in the end.
        behaviour: a name, `mixed` for the env's own mix, or what makes actors (then there is one worker).
        setting: workers, seed and length; with 2 workers or more, a script that calls this needs its
            `if __name__ == "__main__":`.

    Raises:
        UsageError: a name, option or number is wrong; nothing was written.
        DataError: the store was made with other settings, or is damaged.
        EnvError: the env or the behaviour broke its contract; the episodes before that one are kept.
        ResourceError: no space, the store is in use, or a worker died; the same call continues.

    Example:
        >>> import imagoal
        >>> store = imagoal.collect("imagoal/Ball-v0", "data", episodes=2)
        >>> len(store)
        2
    """
    setting, path = setting or Collecting(), Path(data)
    if episodes < 1:
        raise UsageError(f"episodes {episodes}; expected at least 1")
    if callable(behaviour) and setting.workers > 1:
        raise UsageError(f"workers {setting.workers}; expected 1, since an agent acts in this process alone")
    like = make(env) if isinstance(env, str) else env
    given = tuple(sorted({**like.options, **like.given_options}.items()))
    job = _Job(path, like.given_name or env_id(like), given, behaviour, _spec(like, given, behaviour, setting))
    with files.lock(path):
        store = Store.resume(path, job.spec)
        missing = store.missing(episodes)
        if missing:
            _fill(store, job, missing, setting.workers)
    return store


def run_episode(env: GoalEnv, chosen: str | ActorFactory, spec: Spec, number: int) -> Episode:
    """Run episode `number` of a store. Where the physics diverges, it ends before that step, and stderr says so.

    Raises:
        EnvError: the env or what acts failed or broke its contract; the message names episode, seed and step.
    """
    seed = int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0])
    label = f"episode {number} (seed {seed})"
    frames: list[Frames] = []
    actions: list[npt.NDArray[np.float32]] = []
    states: list[Floats] = []
    try:
        rng = np.random.default_rng([seed, 1])  # not the env's own stream
        observation, _ = env.reset(seed=seed)
        name, act = _start(env, observation, chosen, rng)
        frames.append(_frame(observation, spec))
        states.append(_numbers("state", env.state(), spec.state_size))
        ended = False
        while len(actions) < spec.steps and not ended:
            action = _numbers("action", act(observation, states[-1]), spec.action_size)
            actions.append(np.clip(action, -1, 1).astype(np.float32))
            observation, _, terminated, truncated, _ = env.step(actions[-1])
            frames.append(_frame(observation, spec))
            states.append(_numbers("state", env.state(), spec.state_size))
            ended = terminated or truncated
    except Exception as error:
        if not (isinstance(error, DivergedError) and len(states) > 1):
            what = str(error) if isinstance(error, ImagoalError) else f"{type(error).__name__}: {error}"
            raise EnvError(f"{label} failed at step {len(actions)}: {what}") from error
        del actions[len(states) - 1 :]
        _say(f"{label} ends after {len(actions)} steps; step {len(states)} is dropped, since {error}")
    return Episode(np.stack(frames), np.stack(actions), np.stack(states), seed, name, spec.env)


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know."""

    path: Path
    env: str
    options: Options
    behaviour: str | ActorFactory
    spec: Spec


def _fill(store: Store, job: _Job, missing: range, workers: int) -> None:
    """Run the missing episodes and commit them in order."""
    try:
        with (
            Progress("collecting", total=missing.stop, done=len(store)) as progress,
            _map(min(workers, len(missing))) as spread,
        ):
            for record in spread(partial(_run, job), missing):
                store.commit(record)
                progress.advance()
    except BrokenProcessPool as error:
        raise ResourceError(
            f"a worker died (killed, or out of memory) after episode {len(store) - 1}; run the same again, with fewer workers"
        ) from error


def _run(job: _Job, number: int) -> Record:
    """Run an episode and write its file."""
    episode = run_episode(_env(job.env, job.options), job.behaviour, job.spec, number)
    return Store(job.path, job.spec, []).write(number, episode)


@lru_cache(maxsize=1)
def _env(name: str, options: Options) -> GoalEnv:
    """One env per process."""
    return make(name, dict(options))


@contextmanager
def _map(workers: int) -> Iterator[Callable[[Callable[[int], Record], Iterable[int]], Iterator[Record]]]:
    """A `map`, in this process or spread over several, whose results come in order."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and leave with it, however it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _spec(env: GoalEnv, given: Options, chosen: str | ActorFactory, setting: Collecting) -> Spec:
    """The settings of the store; all names are tried here, before anything is written."""
    env.reset(seed=0)
    for name in _shares(env, chosen):
        behaviour(env, name, np.random.default_rng(0))
    image, actions = env.observation_space["image"], env.action_space.shape or (0,)  # type: ignore[index]
    limit, options = env.max_episode_steps if setting.steps is None else setting.steps, _options(env, given)
    return Spec(env_id(env), image.shape, actions[0], env.state().size, setting.seed, _name(chosen), limit, options)


def _options(env: GoalEnv, given: Options) -> dict[str, str]:
    """The options that an env tells of, and those that were given, are not the default, and that it does not tell of."""
    known = inspect.signature(type(env)).parameters
    return {name: value for name, value in given if name not in known or known[name].default != value} | env.options


def _shares(env: GoalEnv, chosen: str | ActorFactory) -> dict[str, float]:
    """Names of behaviours and the probability of each; none for an actor."""
    if callable(chosen):
        return {}
    return env.behaviour_mix if chosen == "mixed" else {chosen: 1.0}


def _name(chosen: str | ActorFactory) -> str:
    return chosen if isinstance(chosen, str) else chosen.__name__


def _start(env: GoalEnv, observation: Shown, chosen: str | ActorFactory, rng: Rng) -> tuple[str, Actor]:
    """Name and actor for one episode."""
    if callable(chosen):
        return _name(chosen), chosen(env, observation, rng)
    shares = _shares(env, chosen)
    name = str(rng.choice(list(shares), p=list(shares.values())))
    choose = behaviour(env, name, rng)
    return name, lambda _, state: choose(state, env.goal_state())


def _frame(observation: dict[str, Frames], spec: Spec) -> Frames:
    """A copy of the picture, since an env may use its buffer again."""
    frame: Any = observation["image"]
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape != spec.frame_shape:
        found = f"{getattr(frame, 'dtype', type(frame).__name__)} {np.shape(frame)}"
        raise EnvError(f"frame is {found}, expected uint8 {spec.frame_shape}; mend the env")
    return frame.copy()


def _numbers(name: str, values: npt.ArrayLike, size: int) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.shape != (size,) or not np.all(np.isfinite(array)):
        raise EnvError(f"{name} {array.tolist()}, expected {size} finite numbers; mend the env or the behaviour")
    return array


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
