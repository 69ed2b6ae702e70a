"""The figure of success against milliseconds, an SVG that stands alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from imagoal.eval._html import Node, drawing, node

WIDTH, HEIGHT = 560, 320  # px
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 52, 52  # px, margins
CSS = """
text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1d2026; text-anchor: middle; }
.title { font-size: 15px; font-weight: 700; text-anchor: start; } .tick, .value { fill: #667080; font-size: 12px; }
.percent { fill: #667080; font-size: 12px; text-anchor: end; } .grid { stroke: #e3e6eb; }
.interval { stroke: #56657d; stroke-width: 2; } .dot { fill: #56657d; }
.late { fill: #ffffff; stroke: #56657d; stroke-width: 2; }
.curve { fill: none; stroke: #56657d; opacity: 0.45; }
"""


def budget_figure(title: str, rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """The SVG: a dot for each budget at its success rate, on a line for the Wilson 95 % interval.

    A dot is hollow where more than one plan in a hundred missed its deadline.
    """
    budgets = [row["budget_ms"] for row in rows]
    low, high = min(budgets) / 1.5, max(budgets) * 1.5

    def x(milliseconds: float) -> float:
        return round(LEFT + math.log(milliseconds / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT), 1)

    places = [(x(row["budget_ms"]), _y(row["success"][kind]["rate"])) for row in rows]
    curve = node("polyline", points=" ".join(f"{across},{up}" for across, up in places), class_="curve")
    marks = [_mark(row, kind, across) for row, (across, _) in zip(rows, places, strict=True)]
    named = "ms per action (hollow: deadlines missed); below, the median of iterations"
    heading = [_text(16, 24, title, "title"), _text(WIDTH / 2, HEIGHT - 8, named, "tick")]
    page = node("rect", width=WIDTH, height=HEIGHT, fill="#ffffff")
    svg = drawing(WIDTH, HEIGHT, title, node("style", CSS), page, *heading, *_grid(), curve, *marks)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _grid() -> list[Node]:
    parts: list[Node] = []
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        parts.append(node("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(_text(LEFT - 8, y + 4, f"{percent} %", "percent"))
    return parts


def _mark(row: Mapping[str, Any], kind: str, x: float) -> Node:
    rate, times = row["success"][kind], row["latency_ms"]
    late = times["missed"] > 0.01 * times["n"]
    return node(
        "g",
        node("line", x1=x, x2=x, y1=_y(rate["low"]), y2=_y(rate["high"]), class_="interval"),
        node("circle", cx=x, cy=_y(rate["rate"]), r=4.5, class_="late" if late else "dot"),
        _text(x, HEIGHT - BOTTOM + 16, f"{row['budget_ms']:g}", "tick"),
        _text(x, HEIGHT - BOTTOM + 30, f"{row['iterations']['median']:g} it.", "value"),
    )


def _y(share: float) -> float:
    return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)


def _text(x: float, y: float, text: str, kind: str) -> Node:
    return node("text", text, x=x, y=y, class_=kind)
