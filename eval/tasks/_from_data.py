"""Tasks out of recorded episodes: the goal is where an episode was some steps later."""

import numpy as np

from imagoal.envs import GoalEnv, env_id
from imagoal.envs.store import FrameCache, Ints, Store, open_cache
from imagoal.errors import DataError, UsageError
from imagoal.eval.tasks._lists import SEEDS, Origin, Split, TaskList
from imagoal.world_model.training import split_episodes as held_out


def draw_from_data(env: GoalEnv, store: Store, offset: int, split: Split, count: int, whole: bool = False) -> TaskList:
    """Draw tasks from a store's held-out episodes, which are never trained on.

    The start is a state of an episode, the goal its state `offset` env steps later, and the goal image the frame that was
    recorded there; as in DINO-WM (arXiv 2411.04983) and LeWorldModel (arXiv 2603.19312). Every second of those episodes is for
    `dev`, the others are for `test`. Tasks whose start is at the goal are left out and counted.

    Args:
        env: whose distance says what is at the goal.
        store: of the same env.
        offset: env steps from start to goal, at most the env's budget.
        split: `dev` or `test`.
        count: how many tasks.
        whole: draw from all episodes, of a store that nothing is trained on.

    Raises:
        DataError: the store is of another env, or its episodes are too few, too short or too idle.
        UsageError: an offset or count that is none.
    """
    if not 1 <= offset <= env.max_episode_steps:
        raise UsageError(f"offset = {offset}; expected from 1 to {env.max_episode_steps}, the steps that an episode has")
    if count < 1:
        raise UsageError(f"count = {count}; expected at least 1")
    if store.spec.env != env_id(env):
        raise DataError(f"{store.path} holds episodes of {store.spec.env}; expected {env_id(env)}; name another store or env")
    cache = open_cache(store)
    starts = _moments(cache, split, offset, whole)
    starts = np.random.default_rng(SEEDS[split]).permutation(starts)
    solved = env.at_goal(cache.states[starts], cache.states[starts + offset])
    if (~solved).sum() < count:
        raise DataError(
            f"{store.path} gives {(~solved).sum()} {split} tasks with goals {offset} steps later, and {solved.sum()} that are "
            f"solved at their start; expected {count}: collect more or longer episodes, or ask for fewer tasks"
        )
    drawn = int(np.flatnonzero(~solved)[count - 1]) + 1  # until there are enough
    return _tasks(
        env, cache, starts[:drawn][~solved[:drawn]], split, Origin("dataset", offset, drawn - count, store.hash, whole)
    )


def _moments(cache: FrameCache, split: Split, offset: int, whole: bool) -> Ints:
    """Flat indices of all frames of the split's episodes that have another `offset` steps later."""
    eligible = np.arange(len(cache.starts)) if whole else held_out(cache)[1]
    episodes = eligible[0 if split == "dev" else 1 :: 2]
    spans = [np.arange(cache.starts[e], cache.starts[e] + cache.lengths[e] + 1 - offset) for e in episodes]
    return np.concatenate([np.zeros(0, np.int64), *spans])


def _tasks(env: GoalEnv, cache: FrameCache, starts: Ints, split: Split, origin: Origin) -> TaskList:
    """The list of the tasks that begin at these frames."""
    begin, end = cache.states[starts], cache.states[starts + origin.offset]
    seeds = SEEDS[split] + np.arange(len(starts), dtype=np.int64)
    distances = np.asarray(env.task_distance(begin, end), np.float64)
    return TaskList(env_id(env), split, seeds, begin, end, cache.frames[starts + origin.offset], distances, origin)
