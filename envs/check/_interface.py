"""What any image-goal env must hold, whatever methods it has beside Gymnasium's."""

import copy
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from imagoal.envs.check._subject import BrokenError, MissingError, Subject, demand, demand_same, said, same

STEPS = 12
"""Of the episodes that are looked at."""
EVERYTHING = ("image", "goal", "reward", "terminated", "truncated", "info")


def declared_spaces(subject: Subject) -> str:
    """Pictures in, actions in [-1, 1] out."""
    seen, action = subject.live.env.observation_space, subject.live.env.action_space
    named = isinstance(seen, spaces.Dict) and set(seen) == subject.keys == {"image", "goal"}
    demand(named, f"observation space {seen}, observation with {sorted(subject.keys)}")
    assert isinstance(seen, spaces.Dict)
    for name, box in seen.items():
        picture = isinstance(box, spaces.Box) and box.dtype == np.uint8 and len(box.shape) == 3 and box.shape[2] == 3
        demand(picture and np.all(box.low == 0) and np.all(box.high == 255), f"`{name}` is a {box}")  # type: ignore[attr-defined]
    demand(seen["image"].shape == seen["goal"].shape, f"image {seen['image'].shape}, goal {seen['goal'].shape}")
    unit = isinstance(action, spaces.Box) and np.all(action.low == -1) and np.all(action.high == 1)
    demand(unit and action.dtype == np.float32 and len(action.shape or ()) == 1, f"action space {action}")
    return f"u8 {seen['image'].shape}, {action.shape} actions"


def observed_values(subject: Subject) -> str:
    """Observations are what the space declares."""
    env, shape = subject.live.env, subject.live.env.observation_space["image"].shape  # type: ignore[index]
    answers = [env.reset(seed=subject.terms.seed)[0], *(env.step(action)[0] for action in subject.actions(STEPS))]
    for observation in answers:
        demand(set(observation) == {"image", "goal"}, f"an observation holds {sorted(observation)}")
        for name, value in observation.items():
            demand(isinstance(value, np.ndarray), f"`{name}` is a {type(value).__name__}")
            demand(value.dtype == np.uint8 and value.shape == shape, f"`{name}` is {value.dtype} {value.shape}")
    return f"{len(answers)} observations, all inside"


def finite_numbers(subject: Subject) -> str:
    """Rewards are numbers, ends are bools, and nothing in `info` is NaN or infinite."""
    answers = subject.live.episode(subject.terms.seed, subject.actions(2 * STEPS))
    for step, seen in enumerate(answers):
        number = isinstance(seen.reward, int | float | np.number) and np.isfinite(seen.reward)
        demand(number, f"reward {seen.reward!r} in answer {step}")
        ends = (seen.terminated, seen.truncated)
        demand(all(isinstance(end, bool | np.bool_) for end in ends), f"terminated, truncated are {ends}")
        for name, value in _numbers("info", seen.info):
            demand(np.all(np.isfinite(value)), f"{name} of answer {step} is not finite: {value}")
        for name in {"state", "goal_state"} & set(seen.info):
            value = np.asarray(seen.info[name])
            demand(value.dtype == np.float64 and value.ndim == 1, f"info['{name}'] is {value.dtype} {value.shape}")
    return f"reward and info in {len(answers)} answers"


def _numbers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every array and number inside, with its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}[{key!r}]", inner)
    elif np.asarray(value).dtype.kind in "fc":
        yield name, value


def same_seed(subject: Subject) -> str:
    """The same seed and actions give the same answers, again and in another instance, whatever happens in between."""
    seed, actions = subject.terms.seed, subject.actions(STEPS)
    first = subject.live.episode(seed, actions)
    demand_same(first, subject.live.episode(seed, actions), EVERYTHING, "the second time")
    subject.live.reset(seed + 1)
    second = [subject.twin.reset(seed)]
    for action in actions:
        subject.live.step(-action)
        second.append(subject.twin.step(action))
    demand_same(first, second, EVERYTHING, "in a second instance beside the first")
    return f"{len(first)} answers equal, bit for bit, in two instances"


def other_seeds(subject: Subject) -> str:
    """Other seeds give other tasks."""
    count = subject.terms.tasks
    images, goals = ({getattr(seen, part).tobytes() for seen in subject.starts} for part in ("image", "goal"))
    tasks = {seen.image.tobytes() + seen.goal.tobytes() for seen in subject.starts}
    found = f"{count} seeds: {len(images)} starts, {len(goals)} goals"
    demand(2 * len(tasks) > count, found)
    return found


def fixed_goal(subject: Subject) -> str:
    """The goal stays what it is throughout an episode."""
    first, *others = subject.live.episode(subject.terms.seed, subject.actions(STEPS))
    changed = sum(not same(first.goal, seen.goal) for seen in others)
    demand(not changed, f"another goal image in {changed} of {len(others)} steps")
    moved = "goal_state" in first.info and sum(not same(first.goal_state, seen.goal_state) for seen in others)
    demand(not moved, f"another info['goal_state'] in {moved} of {len(others)} steps")
    return f"the same throughout {len(others)} steps"


def own_arrays(subject: Subject) -> str:
    """Arrays that were handed out are the user's: the env neither writes to them later nor reads them."""
    env, seed, actions = subject.live.env, subject.terms.seed, subject.actions(STEPS)
    wanted = subject.live.episode(seed, actions)
    kept = [env.reset(seed=seed)]
    copies = [copy.deepcopy(kept[0])]
    for action in actions:
        observation, *_, info = env.step(action)
        kept.append((observation, info))
        copies.append(copy.deepcopy(kept[-1]))
    for step, (now, then) in enumerate(zip(kept, copies, strict=True)):
        for index, name in enumerate(("observation", "info")):
            demand(same(now[index], then[index]), f"{name} of answer {step} was overwritten by a later step")
    for step, (seen, action) in enumerate(zip(wanted, [None, *actions], strict=True)):
        answer = env.reset(seed=seed) if action is None else env.step(action)
        intact = same(seen.image, answer[0]["image"]) and same(seen.goal, answer[0]["goal"]) and same(seen.info, answer[-1])
        demand(intact, f"writing to the arrays of answer {step - 1} changed answer {step}")
        for array in (value for part in (answer[0], answer[-1]) for value in part.values()):
            if isinstance(array, np.ndarray) and array.flags.writeable:
                array[...] = 1
    return f"arrays of {len(kept)} answers, kept and scribbled on"


def bad_actions(subject: Subject) -> str:
    """An action that is no action is refused."""
    size = len(subject.still)
    bad = {
        "NaN": np.full(size, np.nan, np.float32),
        "infinite": np.full(size, np.inf, np.float32),
        "too long": np.zeros(size + 1, np.float32),
    }
    taken = [name for name, action in bad.items() if _accepts_action(subject, action)]
    demand(not taken, f"accepted: {', '.join(taken)}")
    return f"refused: {', '.join(bad)}"


def _accepts_action(subject: Subject, action: Any) -> bool:
    subject.live.reset(subject.terms.seed)
    try:
        subject.live.env.step(action)
    except Exception:  # which error is the env's own affair
        return False
    return True


def unknown_option(subject: Subject) -> str:
    """A reset option that does not exist is refused: a misspelt one would be a silent default."""
    try:
        subject.live.reset(subject.terms.seed, {"no_such_option": 1})
    except Exception as error:  # which error is the env's own affair
        return f"refused: {said(error)}"
    raise BrokenError("reset(options={'no_such_option': 1}) was accepted")


def rendered(subject: Subject) -> str:
    """`render()` gives a picture."""
    if "rgb_array" not in subject.live.env.metadata.get("render_modes", ()):
        raise MissingError("no render mode 'rgb_array'")
    fresh = subject.fresh("rgb_array")
    fresh.reset(subject.terms.seed)
    picture: Any = fresh.env.render()
    right = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    demand(right, f"render() gives {getattr(picture, 'dtype', type(picture).__name__)} {np.shape(picture)}")
    return f"u8 {picture.shape}"


def closed(subject: Subject) -> str:
    """Closing works at any time and twice, and disturbs no other instance."""
    wanted = subject.live.episode(subject.terms.seed, subject.actions(2))
    unused, used = subject.fresh(), subject.fresh()
    used.reset(subject.terms.seed)
    for live in (unused, used, used):
        live.env.close()
    again = subject.live.episode(subject.terms.seed, subject.actions(2))
    demand_same(wanted, again, ("image", "goal"), "after another instance was closed")
    return "unused, used and twice; the others live on"


def gymnasium_checker(subject: Subject) -> str:
    """Gymnasium's own checker."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(subject.live.env, skip_render_check=True, skip_close_check=True)  # both have a line of their own
        except Exception as error:
            raise BrokenError(said(error)) from error
    texts = [re.sub(r"\x1b\[\d*m", "", str(warning.message)) for warning in caught]
    return f"content; warnings: {len(texts)}, the first: {' '.join(texts[0].split())[:160]}" if texts else "content"
