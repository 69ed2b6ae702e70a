"""Environments by name."""

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


def make(name: str) -> GoalEnv:
    """A new environment, without a time limit.

    Args:
        name: an entry (`ball_gravity`), an id that Gymnasium knows (`imagoal/BallGravity-v0`), or `package.module:Class`.

    Raises:
        UsageError: nothing has that name, or it is no environment with an image goal.
    """
    if "/" in name:
        try:
            env = gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True).unwrapped
        except gymnasium.error.Error as error:
            raise UsageError(f"env {name!r}: {error}; `imagoal list env` shows the entries") from error
    else:
        env = find.find("env", name)()
    if not isinstance(env, GoalEnv):
        raise UsageError(f"env {name!r} is a {type(env).__name__}; expected a subclass of imagoal.envs.GoalEnv")
    return env


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
