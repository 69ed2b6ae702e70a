"""What states, simulation and pictures must hold: oracles, probes and the audit rest on it."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from imagoal.envs._types import Floats
from imagoal.envs.check._subject import Live, Saved, Seen, Subject, demand, demand_same, same

STEPS = 10
PURE = ("state", "goal_state", "simulate", "render_states", "task_distance", "at_goal", "visible", "expert", "sample_task")
"""Methods that may be called at any time and change nothing."""


def told_state(subject: Subject) -> str:
    """`state()` and `goal_state()` are what `info` says."""
    live, seed = subject.live, subject.terms.seed
    for step, action in enumerate([None, *subject.actions(STEPS)]):
        seen = live.reset(seed) if action is None else live.step(action)
        for name in (name for name in ("state", "goal_state") if live.offers(name)):
            demand(same(live.ask(name), seen.info[name]), f"{name}() is not info['{name}'] after step {step}")
        demand(seen.state.shape == seen.goal_state.shape, f"state {seen.state.shape}, goal_state {seen.goal_state.shape}")
    return f"{seen.state.size} numbers"


def exact_restore(subject: Subject) -> str:
    """A state that was saved in mid-episode goes on as it did, bit for bit; also in another instance."""
    live, twin, seed, actions = subject.live, subject.twin, subject.terms.seed, subject.actions(2 * STEPS)
    before, after = actions[:STEPS], actions[STEPS:]
    live.episode(seed, before)
    saved = live.save()
    wanted = live.follow(after)
    twin.episode(seed, -before[:3])
    for one, where in ((live, "after set_state(state())"), (twin, "after set_state() in another instance")):
        one.load(saved)
        lost = np.max(np.abs(one.ask("state") - saved.state))
        demand(lost == 0, f"state() differs by {lost:.1g} {where}")
        demand_same(wanted, one.follow(after), ("image", "state"), where)
    return f"{len(wanted)} states and frames equal, bit for bit, in two instances"


def foreseen(subject: Subject) -> str:
    """`simulate` gives what `step` would, if the world is not random; one row does not depend on the others."""
    live, actions = subject.live, subject.actions(2 * STEPS)
    live.episode(subject.terms.seed, actions[:3])
    saved, chosen = live.save(), actions[3:]
    path = np.stack([seen.state for seen in live.follow(chosen)])
    plan = chosen[None].astype(np.float64)
    imagined = live.ask("simulate", saved.state[None], plan)
    demand(
        imagined.shape == (1, *path.shape) and imagined.dtype == np.float64, f"simulate gives {imagined.dtype} {imagined.shape}"
    )
    demand(np.all(np.isfinite(imagined)), "simulate gives numbers that are not finite")
    states, plans = np.stack([subject.states[0], saved.state, subject.states[1]]), np.concatenate([-plan, plan, 0.5 * plan])
    demand(same(live.ask("simulate", states, plans)[1], imagined[0]), "a row of simulate() depends on the rows beside it")
    wrong = int(np.sum(np.any(imagined[0] != path, axis=1)))
    if wrong and _is_random(live, saved, path, chosen):
        return f"the world is random: {len(path) - wrong} of {len(path)} steps as foreseen"
    demand(not wrong, f"{wrong} of {len(path)} steps differ, by up to {np.max(np.abs(imagined[0] - path)):.1g}")
    return f"{len(path)} steps equal, bit for bit"


def _is_random(live: Live, saved: Saved, path: Floats, actions: Any) -> bool:
    """Whether the same state and actions lead elsewhere under another generator."""
    other = replace(saved, generator=dict(np.random.default_rng(1).bit_generator.state))
    if other.generator["bit_generator"] != saved.generator["bit_generator"] or not live.offers("set_state"):
        return False
    live.load(saved)
    again = live.follow(actions)
    live.load(other)
    elsewhere = live.follow(actions)
    return same(path, [seen.state for seen in again]) and not same(path, [seen.state for seen in elsewhere])


def undisturbed(subject: Subject) -> str:
    """Methods that only answer leave the live episode, their arguments, and what they answered before as they were."""
    live, seed, actions = subject.live, subject.terms.seed, subject.actions(STEPS)
    wanted = live.episode(seed, actions)
    asked = [method for method in PURE if live.offers(method)]
    for method in asked:
        found = [live.reset(seed)]
        for action in actions:
            _question(subject, method)
            found.append(live.step(action))
        demand_same(wanted, found, ("image", "goal", "state", "reward"), f"if {method}() is called between the steps")
    return f"by {', '.join(asked)}"


def _question(subject: Subject, method: str) -> None:
    """Call a method twice, with different arguments, and look at what became of these and of the first answer."""
    call = subject.live.env.get_wrapper_attr(method)
    first, second = (_arguments(subject, method, turn) for turn in (0, 1))
    untouched = copy.deepcopy(first)
    answer = call(*first)
    kept = copy.deepcopy(answer)
    call(*second)
    if method != "sample_task":  # whose argument is a generator, and whose answer is a task
        demand(
            all(same(one, other) for one, other in zip(first, untouched, strict=True)), f"{method}() writes to its arguments"
        )
        demand(same(answer, kept), f"{method}() overwrites what it returned before")


def _arguments(subject: Subject, method: str, turn: int) -> tuple[Any, ...]:
    states = np.roll(subject.states, turn, axis=0)
    if method == "sample_task":
        return (np.random.default_rng(turn),)
    if method in {"state", "goal_state"}:
        return ()
    if method == "simulate":
        return states, np.stack([subject.actions(3)] * len(states)).astype(np.float64)
    return (states,) if method in {"render_states", "visible"} else (states, states[::-1].copy())


def true_picture(subject: Subject) -> str:
    """`image` is the picture of the state; a picture is the same again, and whatever else is drawn with it."""
    live = subject.live
    answers = live.episode(subject.terms.seed, subject.actions(STEPS))
    states = np.stack([seen.state for seen in answers])
    together = live.ask("render_states", states)
    demand(together.dtype == np.uint8, f"render_states gives {together.dtype}")
    demand(same(together, live.ask("render_states", states)), "render_states gives another picture the second time")
    for step, seen in enumerate(answers):
        found = difference(seen.image, together[step])
        demand(not found, f"render_states(state()) is not `image` of answer {step}: {found}")
        alone = live.ask("render_states", states[step][None])[0]
        demand(same(alone, together[step]), "a picture depends on those that are drawn with it")
    return f"{len(answers)} pictures equal, bit for bit"


def goal_picture(subject: Subject) -> str:
    """The goal image is the picture of the goal state."""
    goals = np.stack([seen.goal_state for seen in subject.starts])
    drawn = np.concatenate([subject.live.ask("render_states", goal[None]) for goal in goals])
    wrong = [difference(seen.goal, picture) for seen, picture in zip(subject.starts, drawn, strict=True)]
    told = [text for text in wrong if text]
    demand(not told, f"{len(told)} of {len(goals)} goal images are not render_states(goal_state); {told[0] if told else ''}")
    return f"{len(goals)} goal images equal, bit for bit"


def difference(one: Any, other: Any) -> str:
    """How two pictures differ, in words; empty if they do not."""
    if np.shape(one) != np.shape(other):
        return f"{np.shape(one)} and {np.shape(other)}"
    gap = np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)).max(-1)
    return f"{np.count_nonzero(gap)} pixels differ, by up to {gap.max():.0f} levels" if gap.any() else ""


def shown_object(subject: Subject) -> str:
    """Whatever moves the task's object beyond the tolerance, in one number of the state alone, changes the picture."""
    live, tolerance = subject.live, subject.live.constant("tolerance", 0.0)
    states, others = subject.states, np.roll(subject.states, 1, axis=0)
    asked, fewest = 0, np.inf
    for number in range(states.shape[1]):
        moved = states.copy()
        moved[:, number] = others[:, number]
        far = np.asarray(live.ask("task_distance", moved, states)) > tolerance
        if far.any():
            before, after = live.ask("render_states", states[far]), live.ask("render_states", moved[far])
            changed = np.any(before != after, axis=-1).sum((1, 2))
            hidden = int(np.sum(changed == 0))
            demand(
                not hidden, f"state[{number}] moves the object beyond the tolerance unseen in {hidden} of {len(changed)} pairs"
            )
            asked, fewest = asked + len(changed), min(fewest, int(changed.min()))
    demand(asked, "no number of the state moves the object by more than the tolerance")
    return f"{asked} moves, each changes at least {fewest} pixels"


def sound_distance(subject: Subject) -> str:
    """`task_distance` is finite, 0 at the goal and the same both ways; a goal is at itself."""
    states = subject.states
    rows, columns = (np.ascontiguousarray(part) for part in np.broadcast_arrays(states[:, None], states[None]))
    distance = np.asarray(subject.live.ask("task_distance", rows, columns))
    demand(distance.shape == rows.shape[:2], f"shape {distance.shape} for states {rows.shape}")
    demand(np.all(np.isfinite(distance)) and distance.min() >= 0, f"from {distance.min():.3g} to {distance.max():.3g}")
    demand(np.all(np.diag(distance) == 0), f"{np.diag(distance).max():.3g} between a state and itself")
    gap = np.max(np.abs(distance - distance.T))
    demand(gap <= 1e-9 * max(distance.max(), 1), f"there and back differ by {gap:.3g}")
    if subject.live.offers("at_goal"):
        here = np.asarray(subject.live.ask("at_goal", states, states))
        demand(here.dtype == np.bool_ and here.all(), "at_goal(state, state) is not always True")
    return f"finite, symmetric, up to {distance.max():.3g} m"


def sound_positions(subject: Subject) -> str:
    """`visible` gives finite positions, as many for every state, however the states are stacked."""
    states = subject.states
    flat = np.asarray(subject.live.ask("visible", states))
    demand(flat.ndim == 2 and len(flat) == len(states), f"shape {flat.shape} for states {states.shape}")
    demand(np.all(np.isfinite(flat)), "not all positions are finite")
    stacked = np.asarray(subject.live.ask("visible", states.reshape(2, -1, states.shape[1])))
    demand(same(stacked.reshape(-1, flat.shape[1]), flat), "stacked states give other positions")
    varied = np.ptp(flat, axis=0) > 0
    return f"{flat.shape[1]} numbers, {int(varied.sum())} of which vary between tasks"


def at_the_goal(subject: Subject) -> str:
    """At the goal `is_success` says so, and the episode goes on."""
    live, solved = subject.live, 0
    few = range(subject.terms.seed, subject.terms.seed + min(8, subject.terms.tasks))
    for seed in few:
        goal = live.reset(seed).goal_state
        live.ask("set_state", goal)
        seen: Seen = live.step(subject.still)
        demand(not seen.terminated, "terminated at the goal")
        solved += seen.success
    demand(solved, f"is_success is False in {len(few)} of {len(few)} goals, one idle step after set_state(goal_state)")
    return f"is_success in {solved} of {len(few)} goals one idle step later; the episode goes on"
