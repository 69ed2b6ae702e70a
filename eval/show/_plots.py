"""The two plots of a report as SVG: success with its interval, and milliseconds per action."""

import math
from collections.abc import Callable, Sequence

from imagoal.eval._html import Node, drawing, node
from imagoal.eval.show._row import Row

WIDTH, LINE, TOP, BOTTOM, RIGHT = 520, 24, 26, 26, 100  # px
LETTER = 6.6  # px, of a label
LONGEST = 26  # letters of a label

Axis = Callable[[float], float]
"""From a value to its x."""


def success(rows: Sequence[Row], kind: str) -> Node:
    """A dot for each row's share of successes, on a line for its Wilson 95 % interval."""
    left = _margin(rows)

    def x(percent: float) -> float:
        return left + percent / 100 * (WIDTH - left - RIGHT)

    def mark(row: Row, y: float) -> list[Node]:
        rate = row.success[kind]
        low, middle, high = (100 * value for value in (rate.low, rate.rate, rate.high))
        return [
            node("line", x1=x(low), x2=x(high), y1=y, y2=y, class_="interval"),
            node("circle", cx=x(middle), cy=y, r=4.5, class_="dot"),
            _text(WIDTH - RIGHT + 14, y, f"{middle:.1f}", "value"),
        ]

    return _plot(f"Success ({kind}), %", rows, x, {tick: str(tick) for tick in (0, 25, 50, 75, 100)}, mark)


def latency(rows: Sequence[Row]) -> Node | None:
    """A bar from the median to the 90th percentile of each row's milliseconds per action.

    Only of rows that ran one episode at a time: others were timed per batch. None if there is no such row.
    """
    timed = [(row, row.p50, row.p90) for row in rows if row.p50 and row.p90 and row.batch == 1]
    if not timed:
        return None
    left = _margin([row for row, _, _ in timed])
    low = 10.0 ** math.floor(math.log10(min(p50 for _, p50, _ in timed)))
    high = max(10 * low, 1.1 * max(p90 for _, _, p90 in timed))

    def x(time: float) -> float:
        return left + math.log(time / low) / math.log(high / low) * (WIDTH - left - RIGHT)

    def mark(row: Row, y: float) -> list[Node]:
        p50, p90 = row.p50 or 0.0, row.p90 or 0.0
        return [
            node("rect", x=x(p50), y=y - 5, width=max(2.0, x(p90) - x(p50)), height=10, class_="bar"),
            node("line", x1=x(p50), x2=x(p50), y1=y - 8, y2=y + 8, class_="median"),
            _text(WIDTH - RIGHT + 14, y, f"{milliseconds(p50)} to {milliseconds(p90)}", "value"),
        ]

    return _plot("Time per action, ms, median to 90th percentile", [row for row, _, _ in timed], x, _decades(low, high), mark)


def milliseconds(time: float) -> str:
    """A time with as many digits as can matter."""
    return f"{time:.1f}" if time < 100 else f"{time:.0f}"


def _decades(low: float, high: float) -> dict[float, str]:
    """Ticks of a logarithmic axis, and their labels: 1, 10, ... and, if there are few of them, 2, 5, 20, ..."""
    steps = (1, 2, 5) if high < 100 * low else (1,)
    values = (low * step * 10**power for power in range(10) for step in steps)
    return {value: f"{value:g}" for value in values if value <= high}


def _plot(title: str, rows: Sequence[Row], x: Axis, ticks: dict[float, str], mark: Callable[[Row, float], list[Node]]) -> Node:
    """Title, ticks, and a labelled line for each row."""
    bottom = TOP + LINE * len(rows)
    parts: list[Node] = []
    for value, label in ticks.items():
        parts.append(node("line", x1=x(value), x2=x(value), y1=TOP, y2=bottom, class_="grid"))
        parts.append(_text(x(value), bottom + 14, label, "tick"))
    for number, row in enumerate(rows):
        y = TOP + LINE * (number + 0.5)
        name = _text(_margin(rows) - 14, y, _short(row.label), "name")
        parts.append(node("g", name, *mark(row, y), class_="headline" if row.role == "headline" else "row"))
    return node("figure", node("figcaption", title), drawing(WIDTH, bottom + BOTTOM, title, *parts))


def _margin(rows: Sequence[Row]) -> float:
    return 20 + LETTER * max(len(_short(row.label)) for row in rows)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def _text(x: float, y: float, text: str, kind: str) -> Node:
    return node("text", text, x=round(x, 1), y=y + 4, class_=kind)
