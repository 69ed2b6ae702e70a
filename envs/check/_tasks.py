"""What tasks must hold: they are given as asked, leak nothing, are not solved already, and can be solved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from imagoal.envs.check._subject import Actions, Seen, Subject, demand, demand_same, same

HELD = 5
"""Steps in a row that *hold* takes."""


def given_task(subject: Subject) -> str:
    """`reset(options={"task": task})` begins that task; the same generator gives the same task."""
    for number in range(4):
        task, again = (subject.live.ask("sample_task", np.random.default_rng(number)) for _ in range(2))
        for part in ("start", "goal", "goal_image"):
            demand(
                same(getattr(task, part), getattr(again, part)), f"sample_task() gives another `{part}` from the same generator"
            )
        seen = subject.live.reset(subject.terms.seed, {"task": task})
        demand(same(seen.state, task.start), "info['state'] is not task.start")
        demand(same(seen.goal_state, task.goal), "info['goal_state'] is not task.goal")
        demand(same(seen.goal, task.goal_image), "`goal` is not task.goal_image")
    return f"start, goal and goal image of {number + 1} tasks"


def no_marker(subject: Subject) -> str:
    """From the same start, by the same actions, `image` is the same whatever the goal."""
    one, *others = (subject.live.ask("sample_task", np.random.default_rng(number)) for number in range(5))
    actions = subject.actions(3)
    wanted = _with_task(subject, one, actions)
    for other in others:
        found = _with_task(subject, replace(other, start=one.start), actions)
        changed = np.any(wanted[0].image != found[0].image, axis=-1).sum()
        demand(not changed, f"{changed} pixels of `image` change with the goal, at the start")
        demand_same(wanted, found, ("image",), "under another goal")
    return f"the same {len(wanted)} images under {1 + len(others)} goals"


def _with_task(subject: Subject, task: object, actions: Actions) -> list[Seen]:
    return [subject.live.reset(subject.terms.seed, {"task": task}), *subject.live.follow(actions)]


def not_solved_yet(subject: Subject) -> str:
    """Hardly a task is solved before anything was done."""
    trivial, count = sum(seen.success for seen in subject.starts), subject.terms.tasks
    demand(trivial <= subject.terms.max_trivial * count, f"{trivial} of {count} tasks; at most {subject.terms.max_trivial:.0%}")
    return f"{trivial} of {count} tasks"


def not_by_idling(subject: Subject) -> str:
    """Doing nothing solves few of the tasks that are not solved at the start."""
    solved = [_solved(subject, number, lambda seen: subject.still) for number in _open(subject)]
    found = f"{sum(solved)} of {len(solved)} tasks ({_headline(subject)})"
    demand(sum(solved) <= subject.terms.max_idle * len(solved), f"{found}; at most {subject.terms.max_idle:.0%}")
    return found


def attainable(subject: Subject) -> str:
    """The expert, which sees states, solves the tasks in time: goals are reachable, and the tolerance is not too tight."""

    def act(seen: Seen) -> Actions:
        action = np.asarray(subject.live.ask("expert", seen.state, seen.goal_state))
        right = action.shape == subject.still.shape and np.all(np.abs(action) <= 1)
        demand(right, f"expert gives {action}; expected {subject.still.shape} numbers in [-1, 1]")
        return action.astype(np.float32)

    solved = [_solved(subject, number, act) for number in _open(subject)]
    found = f"{sum(solved)} of {len(solved)} tasks in {subject.steps} steps ({_headline(subject)})"
    demand(sum(solved) >= subject.terms.min_expert * len(solved), f"{found}; at least {subject.terms.min_expert:.0%}")
    return found


def _open(subject: Subject) -> list[int]:
    """Numbers of the tasks that are not solved at the start."""
    return [number for number, seen in enumerate(subject.starts) if not seen.success]


def _headline(subject: Subject) -> str:
    """Which success counts: `ever`, `hold` or `final`."""
    return str(subject.live.constant("headline", "final"))


def _solved(subject: Subject, number: int, act: Callable[[Seen], Actions]) -> bool:
    """Whether the task of that number is solved by such actions, in the sense of the env's headline."""
    seen = subject.live.reset(subject.terms.seed + number)
    successes: list[bool] = []
    while len(successes) < subject.steps and not seen.terminated:
        seen = subject.live.step(act(seen))
        successes.append(seen.success)
    if _headline(subject) == "final":
        return successes[-1]
    row = 1 if _headline(subject) == "ever" else HELD
    return any(all(successes[end - row : end]) for end in range(row, len(successes) + 1))
