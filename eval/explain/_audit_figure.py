"""The figure of an audit, an SVG that stands alone: success falls from row to row, and each fall is a gap."""

import textwrap
from xml.etree import ElementTree

from imagoal.eval._html import Node, drawing, node
from imagoal.eval.episodes import Interval, share
from imagoal.eval.explain._audit_gaps import Findings, Gap
from imagoal.eval.explain._audit_rows import ROWS

WIDTH, LEFT, RIGHT = 800, 250, 150  # px
LINE, TITLE, SENTENCE = 24, 34, 18  # px, heights
LETTERS = 112  # of a line of the sentence
CSS = """
text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1d2026; }
.title { font-size: 16px; font-weight: 700; } .value, .tick { fill: #667080; font-size: 12px; } .tick { text-anchor: middle; }
.name { text-anchor: end; } .grid { stroke: #e3e6eb; } .interval { stroke: #56657d; stroke-width: 2; } .dot { fill: #56657d; }
.loss { fill: #56657d; opacity: 0.45; } .gain { fill: none; stroke: #56657d; } .gap .name { fill: #667080; font-style: italic; }
.largest .loss { fill: #c23f2a; opacity: 0.85; } .largest text { font-weight: 700; } .largest .name { fill: #c23f2a; }
"""


def figure(findings: Findings) -> str:
    """The SVG. A bar is a gap, from the row before to the row after, hollow where success rose; a dot is a row."""
    sentence = textwrap.wrap(findings.sentence, LETTERS)
    top = TITLE + SENTENCE * len(sentence) + 12
    lines = _lines(findings)
    bottom = top + LINE * len(lines)
    heading = [_text(16, 22, f"{findings.env}: why it fails ({findings.kind}, n = {findings.n})", "title")]
    heading += [_text(16, TITLE + SENTENCE * (number + 0.5), line, "sentence") for number, line in enumerate(sentence)]
    grid: list[Node] = []
    for percent in (0, 25, 50, 75, 100):
        grid.append(node("line", x1=_x(percent / 100), x2=_x(percent / 100), y1=top, y2=bottom, class_="grid"))
        grid.append(_text(_x(percent / 100), bottom + 14, f"{percent} %", "tick"))
    for number, line in enumerate(lines):
        line.set("transform", f"translate(0 {top + LINE * (number + 0.5):g})")
    height = bottom + 30
    page = node("rect", width=WIDTH, height=height, fill="#ffffff")
    svg = drawing(WIDTH, height, findings.sentence, node("style", CSS), page, *heading, *grid, *lines)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _lines(findings: Findings) -> list[Node]:
    """Each gap and the row that it leads to; what stands beside comes last."""
    lines = []
    for gap in (*findings.gaps, findings.beside):
        largest = gap == findings.largest and gap in findings.resolved
        before = findings.rows[gap.step.before].rate if gap.step.before else 1.0
        after = gap.step.after
        lines += [
            _gap(gap, before, findings.rows[after].rate, largest),
            _row(f"{after} {ROWS[after].label}", findings.rows[after]),
        ]
    return lines


def _gap(gap: Gap, before: float, after: float, largest: bool) -> Node:
    low, high = sorted((before, after))
    bar = node("rect", x=_x(low), y=-6, width=_x(high) - _x(low), height=12, class_="gain" if after > before else "loss")
    return _labelled(gap.step.name, gap.size, "gap largest" if largest else "gap", bar)


def _row(label: str, rate: Interval) -> Node:
    interval = node("line", x1=_x(rate.low), x2=_x(rate.high), y1=0, y2=0, class_="interval")
    return _labelled(label, rate, "row", interval, node("circle", cx=_x(rate.rate), cy=0, r=4.5, class_="dot"))


def _labelled(label: str, size: Interval, kind: str, *marks: Node) -> Node:
    name, value = _text(LEFT - 14, 0, label, "name"), _text(WIDTH - RIGHT + 14, 0, share(vars(size)), "value")
    return node("g", name, *marks, value, class_=kind)


def _x(rate: float) -> float:
    return round(LEFT + rate * (WIDTH - LEFT - RIGHT), 1)


def _text(x: float, y: float, text: str, kind: str) -> Node:
    return node("text", text, x=x, y=y + 4, class_=kind)
