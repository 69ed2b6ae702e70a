"""An env under examination: how it is made, what it answers, and the terms that it is held to."""

import contextlib
import copy
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec

from imagoal import find
from imagoal.envs._types import Floats
from imagoal.errors import EnvError, ImagoalError, UsageError

Actions = npt.NDArray[np.float32]


class BrokenError(Exception):
    """A line of the contract does not hold; the text says what was found."""


class MissingError(Exception):
    """The env lacks what a line of the contract asks about; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How closely to look, and what counts as good enough."""

    tasks: int = 50
    """Tasks that are drawn."""
    seed: int = 0
    """Of the first task; the others follow it."""
    max_trivial: float = 0.0
    """Largest share of tasks that may be solved at the start."""
    max_idle: float = 0.1
    """Largest share of the other tasks that doing nothing may solve."""
    min_expert: float = 0.9
    """Smallest share of tasks that the env's expert must solve."""

    def __post_init__(self) -> None:
        if self.tasks < 2:
            raise UsageError(f"tasks = {self.tasks}; expected at least 2")
        if self.seed < 0:
            raise UsageError(f"seed = {self.seed}; expected 0 or more")
        for name in ("max_trivial", "max_idle", "min_expert"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} = {getattr(self, name)}; expected from 0 to 1")


@dataclass(frozen=True)
class Seen:
    """One answer of an env, copied at once: what it does to its arrays later changes nothing here."""

    image: npt.NDArray[Any]
    goal: npt.NDArray[Any]
    reward: Any
    terminated: Any
    truncated: Any
    info: dict[str, Any]

    @property
    def state(self) -> Floats:
        """`info["state"]`, (S,)."""
        return np.asarray(self.info["state"])

    @property
    def goal_state(self) -> Floats:
        """`info["goal_state"]`, (S,)."""
        return np.asarray(self.info["goal_state"])

    @property
    def success(self) -> bool:
        """`info["is_success"]`."""
        return bool(self.info["is_success"])


@dataclass(frozen=True)
class Saved:
    """All from which an episode goes on: the state, and where the env's generator stands."""

    state: Floats
    generator: dict[str, Any]


class Live:
    """One instance of the env."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> Seen:
        """Begin an episode."""
        observation, info = copy.deepcopy(self.env.reset(seed=seed, options=options))
        return Seen(observation["image"], observation["goal"], 0.0, False, False, info)

    def step(self, action: Actions) -> Seen:
        """Do one action (A,)."""
        observation, reward, terminated, truncated, info = copy.deepcopy(self.env.step(action.copy()))
        return Seen(observation["image"], observation["goal"], reward, terminated, truncated, info)

    def follow(self, actions: Sequence[Actions] | Actions) -> list[Seen]:
        """Do the actions (L, A), one after the other."""
        return [self.step(action) for action in actions]

    def episode(self, seed: int, actions: Actions) -> list[Seen]:
        """Begin, and do the actions (L, A): L + 1 answers."""
        return [self.reset(seed), *self.follow(actions)]

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the env, or of one of its wrappers, returns; it is given copies, and copied."""
        return copy.deepcopy(self.env.get_wrapper_attr(method)(*copy.deepcopy(arguments)))

    def offers(self, method: str) -> bool:
        """Whether there is such a method."""
        return self.env.has_wrapper_attr(method) and callable(self.env.get_wrapper_attr(method))

    def constant(self, name: str, default: Any) -> Any:
        """A constant of the env, or the default if it has none."""
        return self.env.get_wrapper_attr(name) if self.env.has_wrapper_attr(name) else default

    def save(self) -> Saved:
        """What `load` needs to go on from here."""
        return Saved(self.ask("state"), copy.deepcopy(dict(self.env.np_random.bit_generator.state)))

    def load(self, saved: Saved) -> None:
        """Go on from there."""
        self.ask("set_state", saved.state)
        self.env.np_random.bit_generator.state = copy.deepcopy(saved.generator)


class Subject:
    """The env that is examined, in two instances.

    Raises:
        UsageError: nothing has that name, or it is no env.
        EnvError: it cannot be made, begun or stepped, so that nothing can be asked.
    """

    def __init__(self, name: str, terms: Terms, options: dict[str, Any]) -> None:
        self.name, self.terms, self.options = name, terms, options
        self.spec, self._made = _spec(name), list[Live]()
        try:
            self.live, self.twin = self.fresh(), self.fresh()
            self.live.env.action_space.seed(terms.seed)
            observation, self.info = self.live.env.reset(seed=terms.seed)
            self.live.env.step(self.live.env.action_space.sample())
        except ImagoalError:
            raise
        except Exception as error:  # an env of somebody else's may raise anything
            raise EnvError(f"env {name!r} cannot be made, reset and stepped once ({said(error)}); mend that first") from error
        self.keys = set(observation) if isinstance(observation, dict) else set()

    def fresh(self, render_mode: str | None = None) -> Live:
        """Another instance, without a time limit; `close` closes it too."""
        options = self.options | ({"render_mode": render_mode} if render_mode else {})
        bare = replace(self.spec, order_enforce=False, disable_env_checker=True, max_episode_steps=None)
        self._made.append(Live(gymnasium.make(bare, **options)))
        return self._made[-1]

    def offers(self, thing: str) -> bool:
        """Whether the env has the method, or the entry of `info` (written `info.state`)."""
        kind, _, key = thing.rpartition(".")
        return key in self.info if kind == "info" else self.live.offers(thing)

    def actions(self, count: int) -> Actions:
        """Random actions (count, A)."""
        shape = self.live.env.action_space.shape or ()
        return np.random.default_rng(self.terms.seed).uniform(-1, 1, (count, *shape)).astype(np.float32)

    @property
    def still(self) -> Actions:
        """The action (A,) that does nothing."""
        return np.zeros(self.live.env.action_space.shape or (), np.float32)

    @property
    def steps(self) -> int:
        """Of an episode."""
        known = self.spec.max_episode_steps or self.live.constant("max_episode_steps", None)
        if not known:
            raise MissingError("no max_episode_steps")
        return int(known)

    @cached_property
    def starts(self) -> list[Seen]:
        """What the env shows at the start of each task."""
        return [self.live.reset(self.terms.seed + number) for number in range(self.terms.tasks)]

    @cached_property
    def states(self) -> Floats:
        """States (M, S) of starts, then of goals, of some tasks."""
        few = self.starts[:8]
        return np.stack([seen.state for seen in few] + [seen.goal_state for seen in few]).astype(np.float64)

    def close(self) -> None:
        """Close every instance; whether that works is asked elsewhere."""
        for one in self._made:
            with contextlib.suppress(Exception):
                one.env.close()


def _spec(name: str) -> EnvSpec:
    """Gymnasium's description of what has that name."""
    if "/" not in name and not re.search(r"-v\d+$", name):
        cls = find.find("env", name)
        if not issubclass(cls, gymnasium.Env):
            raise UsageError(f"env {name!r} is a {cls.__name__}; expected a gymnasium.Env")
        limit = getattr(cls, "max_episode_steps", None)
        return EnvSpec(name, entry_point=cls, max_episode_steps=limit if isinstance(limit, int) else None)
    module, _, identity = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(identity)
    except Exception as error:  # importing somebody else's module may raise anything
        hint = "write package.module:namespace/Name-v0 for an env that an import registers"
        raise UsageError(f"env {name!r}: {said(error)}; `imagoal list env` shows the entries; {hint}") from error


def said(error: Exception) -> str:
    """An error in one line of bearable length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def same(one: object, other: object) -> bool:
    """Whether two values are equal bit for bit; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape:
        return False
    inexact = first.dtype.kind in "fc" and second.dtype.kind in "fc"
    return bool(np.array_equal(first, second, equal_nan=inexact))


def demand_same(some: Sequence[Seen], others: Sequence[Seen], parts: Sequence[str], when: str) -> None:
    """Two runs are the same in these parts (attributes of `Seen`).

    Raises:
        BrokenError: they are not; the text names the first difference.
    """
    for step, (one, other) in enumerate(zip(some, others, strict=True)):
        for part in parts:
            if not same(getattr(one, part), getattr(other, part)):
                raise BrokenError(f"`{part}` of answer {step} is another {when}")


def demand(holds: object, found: str) -> None:
    """What must hold.

    Raises:
        BrokenError: it does not; `found` says what was seen instead.
    """
    if not holds:
        raise BrokenError(found)
