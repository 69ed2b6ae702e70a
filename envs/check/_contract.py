"""The contract of an image-goal env, line by line: what is asked, what it rests on, and the cure."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagoal.envs._types import GoalEnv
from imagoal.envs.check._interface import (
    bad_actions,
    closed,
    declared_spaces,
    finite_numbers,
    fixed_goal,
    gymnasium_checker,
    observed_values,
    other_seeds,
    own_arrays,
    rendered,
    same_seed,
    unknown_option,
)
from imagoal.envs.check._subject import BrokenError, MissingError, Subject, Terms, said
from imagoal.envs.check._tasks import attainable, given_task, no_marker, not_by_idling, not_solved_yet
from imagoal.envs.check._world import (
    at_the_goal,
    exact_restore,
    foreseen,
    goal_picture,
    shown_object,
    sound_distance,
    sound_positions,
    told_state,
    true_picture,
    undisturbed,
)

STATES = ("info.state", "info.goal_state")
BASIC = ("spaces",)
SEEDED = (*BASIC, "same seed")


@dataclass(frozen=True)
class Check:
    """One line of the contract.

    Attributes:
        name: of the line.
        ask: looks at the env and says what it found.
        cure: what to do if the line does not hold.
        after: lines without which this one would only repeat their complaint.
        needs: methods, or entries of `info`, without which it cannot be asked.
        lost: what an env without them goes without.
    """

    name: str
    ask: Callable[[Subject], str]
    cure: str
    after: tuple[str, ...] = BASIC
    needs: tuple[str, ...] = ()
    lost: str = ""


@dataclass(frozen=True)
class Line:
    """What became of one check; `remark` is the cure, or what is lost, or empty."""

    name: str
    verdict: Literal["ok", "FAILED", "not offered", "not asked"]
    found: str
    remark: str = ""


@dataclass(frozen=True)
class Report:
    """All lines about one env; `foreign` if it is no `GoalEnv`."""

    name: str
    lines: tuple[Line, ...]
    foreign: bool

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the lines that do not hold."""
        return tuple(line.name for line in self.lines if line.verdict == "FAILED")

    def __str__(self) -> str:
        width = max(len(line.name) for line in self.lines)
        rows = [f"{line.name:<{width}}  {line.verdict:<11}  {line.found}{_below(line, width)}" for line in self.lines]
        counts = {
            verdict: sum(line.verdict == verdict for line in self.lines)
            for verdict in ("ok", "FAILED", "not offered", "not asked")
        }
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        part = ", as far as it offers it" if counts["not offered"] else ""
        judgement = "breaks the contract" if self.failed else f"holds the contract{part}"
        foreign = "\nIt is no imagoal.envs.GoalEnv: collect, eval and plan want a subclass of that." if self.foreign else ""
        return "\n".join([*rows, "", f"{self.name} {judgement}: {told}{foreign}"])


def _below(line: Line, width: int) -> str:
    return f"\n{'':<{width + 15}}-> {line.remark}" if line.remark else ""


CHECKS = (
    Check(
        "spaces",
        declared_spaces,
        "declare Dict(image, goal), each Box(0, 255, (h, w, 3), uint8), and actions Box(-1, 1, (A,), float32)",
        after=(),
    ),
    Check("observations", observed_values, "return uint8 arrays of the declared shape"),
    Check("finite", finite_numbers, "find where it comes from; state and goal_state are one-dimensional float64"),
    Check(
        "same seed",
        same_seed,
        "draw all that is random from self.np_random, after super().reset(seed=seed), and share nothing between instances",
    ),
    Check("other seeds", other_seeds, "draw start and goal from self.np_random"),
    Check("fixed goal", fixed_goal, "choose the goal in reset() alone"),
    Check("own arrays", own_arrays, "return copies", SEEDED),
    Check("bad actions", bad_actions, "raise an error in step() unless the action has the right shape and is finite"),
    Check("unknown option", unknown_option, "raise an error in reset() that names the options there are"),
    Check("render", rendered, "return a uint8 picture (h, w, 3)", lost="no films at another size"),
    Check("close", closed, "free only what this instance holds, and allow a second close()", SEEDED),
    Check(
        "Gymnasium",
        gymnasium_checker,
        "do as gymnasium.utils.env_checker.check_env says",
        (*SEEDED, "observations", "finite", "own arrays"),
    ),
    Check(
        "state",
        told_state,
        "let info tell what the methods return",
        ("finite",),
        STATES,
        "no oracle, no probes, no audit",
    ),
    Check(
        "restore",
        exact_restore,
        "put all that decides the future and the picture into the state (time, contacts, warm starts), in full precision",
        ("same seed", "state"),
        ("info.state", "state", "set_state"),
        "no goals out of recorded episodes, no exact replay",
    ),
    Check(
        "simulate",
        foreseen,
        "let step() and simulate() run the same code, from the state alone",
        ("state",),
        (*STATES, "state", "simulate"),
        "no oracle rows: nobody can tell the planner's error from the model's",
    ),
    Check(
        "given task",
        given_task,
        'begin options["task"] as it is',
        ("state",),
        (*STATES, "sample_task"),
        "no frozen lists of tasks",
    ),
    Check(
        "no goal marker",
        no_marker,
        "draw the state alone; the goal belongs into `goal`",
        ("same seed", "given task"),
        (*STATES, "sample_task"),
        "not known whether the observation shows the goal",
    ),
    Check(
        "picture",
        true_picture,
        "draw from the state alone, and into a new array",
        ("state", "no goal marker"),
        ("info.state", "render_states"),
        "no cost at frame or latent for the simulator",
    ),
    Check(
        "goal picture",
        goal_picture,
        "draw the goal image from the goal state",
        ("state",),
        (*STATES, "render_states"),
        "not known whether goals are reachable states",
    ),
    Check(
        "object shown",
        shown_object,
        "draw what task_distance measures, and keep no second copy of it in the state",
        ("state", "picture"),
        (*STATES, "render_states", "task_distance"),
        "not known whether pictures show the task",
    ),
    Check(
        "distance",
        sound_distance,
        "return metres between states, of any leading shape",
        ("state",),
        (*STATES, "task_distance"),
        "no oracle's cost, no final distance",
    ),
    Check(
        "visible",
        sound_positions,
        "return positions that a picture shows, (..., V)",
        ("state",),
        (*STATES, "visible"),
        "no probe",
    ),
    Check(
        "undisturbed",
        undisturbed,
        "compute on copies, on a second simulation, and without self.np_random",
        (*SEEDED, "state"),
        STATES,
        "no oracle beside a live episode",
    ),
    Check(
        "at the goal",
        at_the_goal,
        "set is_success from the state now, and return terminated=False",
        ("state",),
        (*STATES, "set_state", "info.is_success"),
        "no success known",
    ),
    Check(
        "solved at start",
        not_solved_yet,
        "draw goals further away than the tolerance",
        needs=("info.is_success",),
        lost="no success is known",
    ),
    Check(
        "solved idly",
        not_by_idling,
        "draw starts at rest, or goals further away, or let success mean `hold`",
        needs=("info.is_success",),
        lost="no floor is known",
    ),
    Check(
        "expert",
        attainable,
        "draw goals that can be reached; widen the tolerance or the time limit; or mend the expert",
        ("state", "at the goal"),
        (*STATES, "info.is_success", "expert"),
        "not known whether tasks can be solved",
    ),
)


def check_env(name: str, terms: Terms, options: Mapping[str, Any] | None = None) -> Report:
    """Hold an env to the contract.

    Args:
        name: an entry (`ball_gravity`), an id that Gymnasium knows, or `package.module:Class`; need not be a `GoalEnv`.
        terms: how closely to look.
        options: of its constructor.

    Raises:
        UsageError: nothing has that name, or it is no Gymnasium env.
        EnvError: it cannot be made, reset or stepped, so that nothing can be asked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an env's warnings are no answers
        subject = Subject(name, terms, dict(options or {}))
        lines: dict[str, Line] = {}
        for one in CHECKS:
            lines[one.name] = _line(one, subject, lines)
        subject.close()
    return Report(subject.name, tuple(lines.values()), not isinstance(subject.live.env.unwrapped, GoalEnv))


def _line(check: Check, subject: Subject, before: Mapping[str, Line]) -> Line:
    """Ask, unless an earlier line or the env's lack of methods forbids it."""
    missing = [thing for thing in check.needs if not subject.offers(thing)]
    if missing:
        return Line(check.name, "not offered", f"no {', '.join(missing)}", check.lost)
    blocking = [name for name in check.after if before[name].verdict in {"FAILED", "not asked"}]
    if blocking:
        return Line(check.name, "not asked", f"before `{blocking[0]}` holds")
    try:
        return Line(check.name, "ok", check.ask(subject))
    except MissingError as missing_error:
        return Line(check.name, "not offered", str(missing_error), check.lost)
    except BrokenError as broken:
        return Line(check.name, "FAILED", str(broken), check.cure)
    except Exception as error:  # an env of somebody else's may raise anything
        return Line(check.name, "FAILED", f"raised {said(error)}", check.cure)
