"""From the six rows of an audit to its gaps, and to one sentence that names the largest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagoal.envs import short_name
from imagoal.eval.episodes import Interval, paired_difference, share, wilson
from imagoal.eval.explain._audit_rows import ROWS

PERFECT = 0
"""Stands for the row that would always succeed."""


@dataclass(frozen=True)
class Step:
    """From one row to the next: what is lost on the way, and why.

    Attributes:
        name: of the gap.
        before: number of the row without the loss.
        after: number of the row with it.
        cause: what the gap is due to, in words.
    """

    name: str
    before: int
    after: int
    cause: str


STEPS = (
    Step("planner", PERFECT, 1, "this search misses even with the true simulator and the task's own distance"),
    Step("specification", 1, 2, "the goal picture asks for more than the task"),
    Step("information", 2, 3, "frame and encoder do not tell where things are"),
    Step("metric", 3, 4, "the distance between latents misleads where probed metres do not"),
    Step("model", 4, 6, "what the learned model imagines is not what happens"),
)
"""In this order the gaps add up to what row 6 fails."""

BESIDE = Step("model, at the probe", 3, 5, "as the model gap, measured at the probe")


@dataclass(frozen=True)
class Gap:
    """The loss of a step: a signed difference of success rates on the same tasks."""

    step: Step
    size: Interval

    @property
    def said(self) -> str:
        """Name and size, e.g. `metric, 42.0 points [31.2, 52.5]`."""
        points, _, interval = share(vars(self.size)).partition(" ")
        return f"{self.step.name}, {points} points {interval}"


@dataclass(frozen=True)
class Findings:
    """What an audit found.

    Attributes:
        env: short name.
        kind: of success: the protocol's headline.
        n: tasks that count.
        rows: success of each row, with its Wilson 95 % interval.
        gaps: of `STEPS`, in their order.
        beside: the model's gap at the probe.
    """

    env: str
    kind: str
    n: int
    rows: Mapping[int, Interval]
    gaps: Sequence[Gap]
    beside: Gap

    @property
    def largest(self) -> Gap:
        """The gap with the largest estimate."""
        return max(self.gaps, key=lambda gap: gap.size.rate)

    @property
    def resolved(self) -> list[Gap]:
        """Gaps whose interval lies above 0, largest first."""
        return sorted((gap for gap in self.gaps if gap.size.low > 0), key=lambda gap: -gap.size.rate)

    @property
    def sentence(self) -> str:
        """The largest gap by name; or that it, or none, can be told from 0 with so few tasks."""
        where, largest, resolved = f"n = {self.n} ({self.kind})", self.largest, self.resolved
        if largest in resolved:
            text = f"The largest gap is {largest.said} at {where}: {largest.step.cause}"
            text += f" (at the probe, {share(vars(self.beside.size))})" if largest.step.name == "model" else ""
            text += f"; next is {resolved[1].said}" if len(resolved) > 1 else ""
        elif resolved:
            text = (
                f"The largest gap, {largest.said}, is not resolved at {where}; {resolved[0].said}, is: {resolved[0].step.cause}"
            )
        else:
            text = f"No gap is resolved at {where}: the largest is {largest.said}"
        gains = [gap.said for gap in self.gaps if gap.size.high < 0]
        return text + "".join(f"; on the other side of 0 is {gain}" for gain in gains) + "."


def find_gaps(results: Mapping[int, Mapping[str, Any]]) -> Findings:
    """The findings of six results on the same tasks, by their number."""
    protocol, env = results[1]["protocol"], results[1]["env"]
    kind = protocol["headline"]
    outcomes = {number: _outcomes(result, kind) for number, result in results.items()}
    gaps = [Gap(step, _size(step, outcomes)) for step in (*STEPS, BESIDE)]
    rows = {number: _rate(outcomes[number]) for number in ROWS}
    return Findings(short_name(env), kind, len(outcomes[1]), rows, gaps[:-1], gaps[-1])


def _outcomes(result: Mapping[str, Any], kind: str) -> list[bool]:
    """Success on each task that was not solved at its start; a result's tasks are in the order of their list."""
    return [episode[kind] for episode in result["episodes"] if not episode["trivial"]]


def _size(step: Step, outcomes: Mapping[int, Sequence[bool]]) -> Interval:
    """The gap of a step; perfection is no sample, so that only row 1 is uncertain in the first."""
    if step.before == PERFECT:
        return _rate([not success for success in outcomes[step.after]])
    return paired_difference(outcomes[step.before], outcomes[step.after])


def _rate(outcomes: Sequence[bool]) -> Interval:
    return Interval(sum(outcomes) / len(outcomes), *wilson(outcomes))


def gap_table(findings: Findings) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of `imagoal.table/1`: the six rows, then the gaps; shares in percent."""
    columns = ["row or gap", f"{findings.kind} %", "low", "high", "what it is"]
    rows = [[f"row {number}", *_percent(rate), ROWS[number].label] for number, rate in findings.rows.items()]
    gaps = [[gap.step.name, *_percent(gap.size), difference(gap.step)] for gap in (*findings.gaps, findings.beside)]
    return columns, rows + gaps


def audit_text(findings: Findings) -> str:
    """The same for a screen, and the sentence."""
    columns, rows = gap_table(findings)
    cells = [[name, f"{rate:.1f} [{low:.1f}, {high:.1f}]", what] for name, rate, low, high, what in rows]
    cells = [[columns[0], columns[1], columns[-1]], *cells]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1 : 1 + len(ROWS)], rule, *lines[1 + len(ROWS) :], "", findings.sentence])


def difference(step: Step) -> str:
    """Of which rows a gap is the difference, e.g. `row 3 - row 4`."""
    return f"{'100' if step.before == PERFECT else f'row {step.before}'} - row {step.after}"


def _percent(interval: Interval) -> list[float]:
    return [round(100 * value, 1) for value in (interval.rate, interval.low, interval.high)]
