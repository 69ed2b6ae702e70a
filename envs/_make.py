"""Environments by name."""

from collections.abc import Mapping
from typing import Any

import gymnasium

from imagoal import find
from imagoal.envs._types import GoalEnv
from imagoal.errors import UsageError


def register() -> None:
    """Make all entries known to Gymnasium, as strings: none is imported before it is used."""
    for entry in find.entries("env").values():
        vector = entry.constants.get("vector_class")
        gymnasium.register(
            _id(entry),
            entry_point=f"{entry.module}:{entry.class_name}",
            vector_entry_point=vector and f"{entry.module}:{vector}",
            max_episode_steps=entry.constants["max_episode_steps"],
        )


def make(name: str, options: Mapping[str, str] | None = None) -> GoalEnv:
    """A new environment, without a time limit.

    Args:
        name: an entry (`ball_gravity`), an id that Gymnasium knows (`imagoal/BallGravity-v0`), or `package.module:Class`.
        options: of its constructor, e.g. `{"goal_finger": "anywhere"}`.

    Raises:
        UsageError: nothing has that name, it has no such option, or it is no environment with an image goal.
    """
    options = options or {}
    try:
        if "/" in name:
            env: Any = gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **options).unwrapped
        else:
            env = find.find("env", name)(**options)
    except gymnasium.error.Error as error:
        raise UsageError(f"env {name!r}: {error}; `imagoal list env` shows the entries") from error
    except TypeError as error:
        if not options:
            raise
        raise UsageError(f"env {name!r} with options {dict(options)}: {error}; its class names the options it has") from error
    if not isinstance(env, GoalEnv):
        raise UsageError(f"env {name!r} is a {type(env).__name__}; expected a subclass of imagoal.envs.GoalEnv")
    env.given_name, env.given_options = name, dict(options)
    return env


def remake(env: GoalEnv) -> GoalEnv:
    """Another environment like this one: the same class with the same options."""
    made: GoalEnv = type(env)(**{**env.options, **env.given_options})
    made.given_name, made.given_options = env.given_name, env.given_options
    return made


def identify(name: str) -> str:
    """The id of the environment of that name, however it is spelt, without importing it; the name itself if it is no entry."""
    if "/" in name:
        return name
    module, _, class_name = name.partition(":")
    for entry in find.entries("env").values():
        if entry.name == name.replace("-", "_").lower() or (entry.module, entry.class_name) == (module, class_name):
            return _id(entry)
    return name


def env_id(env: GoalEnv) -> str:
    """The id under which results and stores know an environment, e.g. `imagoal/BallGravity-v0`."""
    for entry in find.entries("env").values():
        if (entry.module, entry.class_name) == (type(env).__module__, type(env).__name__):
            return _id(entry)
    return env.spec.id if env.spec else f"{type(env).__module__}:{type(env).__qualname__}"


def short_name(identity: str) -> str:
    """An id without namespace and version: the name of its folder of results and of its task files."""
    return identity.rpartition("/")[2].rpartition(":")[2].partition("-v")[0]


def _id(entry: find.Entry) -> str:
    return f"imagoal/{entry.class_name}-v{entry.constants['version']}"
