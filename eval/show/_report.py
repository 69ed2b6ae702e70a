"""A report: one page with tables, plots and filmstrips, that needs no other file."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from imagoal import find
from imagoal.eval._html import Node, node, page
from imagoal.eval.episodes import ROLES
from imagoal.eval.show._filmstrip import Filmstrip, read_filmstrip
from imagoal.eval.show._plots import latency, milliseconds, success
from imagoal.eval.show._row import KINDS, Rate, Row, Setting
from imagoal.eval.show._sources import Table, read_results
from imagoal.version import __version__

SHIPPED = find.folder("results")
"""The committed results."""

INTRODUCTION = (
    "Success in percent, with its Wilson 95 % interval below. Ever: at the goal after some step; hold: after several steps in "
    "a row; final: after the last step. Times: median and 90th percentile of planning, per action taken."
)


def report(paths: Sequence[Path], films: Sequence[Path]) -> str:
    """The page.

    Args:
        paths: result files and tables, or folders that hold some.
        films: `.webp` or `.gif` files.

    Raises:
        DataError: a file is missing, damaged, edited or foreign, or a folder holds none.
    """
    rows, tables = read_results(paths)
    folders = list(dict.fromkeys(row.setting.folder for row in rows))
    settings = sorted({row.setting for row in rows}, key=lambda one: (folders.index(one.folder), one.env, one.split == "dev"))
    sections = [_section(setting, [row for row in rows if row.setting == setting]) for setting in settings]
    others = [_other(table) for table in sorted(tables, key=lambda table: (table.env, table.topic))]
    strips = [_strip(read_filmstrip(path)) for path in films]
    css = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    head = node("header", node("h1", "imagoal report"), node("p", INTRODUCTION))
    return page("imagoal report", css, head, *strips, *sections, *others)


def _section(setting: Setting, rows: Sequence[Row]) -> Node:
    """One environment: table, plots, and how to make the rows again."""
    rows = sorted(rows, key=lambda row: (_rank(row.role), row.name, row.training_seed or 0, row.label))
    kinds = sorted(KINDS, key=lambda kind: kind != setting.headline)
    plots = [success(rows, setting.headline), latency(rows)]
    return node(
        "section",
        node("h2", setting.env),
        node("p", _conditions(setting)),
        node("div", _table(rows, kinds), class_="wide"),
        _notes(rows),
        node("div", *(plot for plot in plots if plot is not None), class_="plots"),
        _commands(rows),
    )


def _conditions(setting: Setting) -> str:
    goals = "" if setting.source == "sampler" else f", goals from {setting.source}"
    protocol = "" if setting.protocol == "house" else f", protocol {setting.protocol}"
    folder = f" From {_place(setting.folder)}." if setting.folder else ""
    return (
        f"{setting.split.capitalize()} tasks{goals}{protocol}. {setting.steps} steps each; at the goal within "
        f"{setting.tolerance:g} m; hold is {setting.hold_steps} steps in a row. Headline: {setting.headline}.{folder}"
    )


def _place(folder: str) -> str:
    return f"the results that ship with imagoal {__version__}" if Path(folder) == SHIPPED else folder


def _table(rows: Sequence[Row], kinds: Sequence[str]) -> Node:
    """All rows; those of several training seeds are preceded by their median."""
    lines: list[Node] = []
    for _, group in itertools.groupby(rows, key=lambda row: (row.role, row.name)):
        seeds = list(group)
        if len({row.training_seed for row in seeds} - {None}) > 1:
            lines.append(_median_line(seeds, kinds))
        lines += [_line(row, kinds, _marks(rows)) for row in seeds]
    names = ["row", *(f"{kind} %" for kind in kinds), "n", "ms per action", "world model", "planner"]
    head = node("tr", *(node("th", name, scope="col") for name in names))
    return node("table", node("thead", head), node("tbody", *lines))


def _line(row: Row, kinds: Sequence[str], marks: dict[str, str]) -> Node:
    """One row."""
    who = f"{row.role}: {row.agent}" + (", sees the true state" if row.privileged else "")
    batch = "" if row.batch == 1 else f", batch {row.batch}"
    time = "" if row.p50 is None else milliseconds(row.p50)
    slow = "" if row.p90 is None else f"p90 {milliseconds(row.p90)}{batch}"
    return node(
        "tr",
        node("th", row.label, node("small", who), scope="row"),
        *(_share(row.success[kind], kind == kinds[0]) for kind in kinds),
        node("td", str(row.n), node("small", row.lost)),
        node("td", time, node("sup", marks[row.machine] if time else ""), node("small", slow)),
        *_making(row),
        class_=_class(row.role),
    )


def _median_line(rows: Sequence[Row], kinds: Sequence[str]) -> Node:
    """Several training seeds together."""
    one = rows[0]
    p50, p90 = (median(times) if times else None for times in ([r.p50 for r in rows if r.p50], [r.p90 for r in rows if r.p90]))
    return node(
        "tr",
        node("th", one.name, node("small", f"{one.role}: median and range of {len(rows)} training seeds"), scope="row"),
        *(_spread([row.success[kind].rate for row in rows], kind == kinds[0]) for kind in kinds),
        node("td", str(min(row.n for row in rows))),
        node("td", milliseconds(p50) if p50 else "", node("small", f"p90 {milliseconds(p90)}" if p90 else "")),
        *_making(one),
        class_=f"{_class(one.role)} median",
    )


def _making(row: Row) -> list[Node]:
    """What imagines, and what searches."""
    return [
        node("td", row.world_model, node("small", row.encoder and f"encoder {row.encoder}"), class_="wrap"),
        node("td", row.budget, node("small", row.cost and f"cost at {row.cost}"), class_="wrap"),
    ]


def _share(rate: Rate, strong: bool) -> Node:
    interval = node("small", f"{100 * rate.low:.1f} to {100 * rate.high:.1f}")
    return node("td", f"{100 * rate.rate:.1f}", interval, class_="strong" if strong else "")


def _spread(rates: Sequence[float], strong: bool) -> Node:
    span = node("small", f"{100 * min(rates):.1f} to {100 * max(rates):.1f}")
    return node("td", f"{100 * median(rates):.1f}", span, class_="strong" if strong else "")


def _marks(rows: Sequence[Row]) -> dict[str, str]:
    """A letter for each machine on which something was timed."""
    machines = dict.fromkeys(row.machine for row in rows if row.p50 is not None)
    return {machine: chr(ord("a") + number) for number, machine in enumerate(machines)}


def _notes(rows: Sequence[Row]) -> Node:
    notes = [node("p", node("sup", mark), f" {machine}") for machine, mark in _marks(rows).items()]
    return node("div", *notes, class_="notes")


def _commands(rows: Sequence[Row]) -> Node:
    """How to make each row again, folded away."""
    lines = [
        part
        for row in rows
        for part in (node("dt", row.label), node("dd", node("code", row.command), node("small", row.origin)))
    ]
    return node("details", node("summary", "Commands and origin of these rows"), node("dl", *lines))


def _other(table: Table) -> Node:
    """A table of any other kind, as it is."""
    head = node("tr", *(node("th", column, scope="col") for column in table.columns))
    body = [node("tr", *(_value(cell) for cell in row)) for row in table.rows]
    whole = node("table", node("thead", head), node("tbody", *body), class_="other")
    command = node("details", node("summary", "Command"), node("code", table.command))
    return node("section", node("h2", f"{table.env}: {table.topic}"), node("div", whole, class_="wide"), command)


def _value(cell: object) -> Node:
    if isinstance(cell, float | int) and not isinstance(cell, bool):
        return node("td", f"{cell:.4g}" if isinstance(cell, float) else str(cell))
    return node("td", "" if cell is None else str(cell))


def _strip(film: Filmstrip) -> Node:
    """The moving picture, and its frames."""
    frames = [node("img", src=address, alt=f"frame {number}") for number, address in film.frames]
    caption = node("figcaption", film.name)
    return node(
        "figure", node("img", src=film.moving, alt=film.name), caption, node("div", *frames, class_="strip"), class_="film"
    )


def _rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _class(role: str) -> str:
    return "headline" if role == "headline" else "row"
