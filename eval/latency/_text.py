"""What a bench found, as tables of text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagoal.eval.episodes import percent, share

Columns = tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...]
"""Names, and what the cell of a row is."""

ROWS: Columns = (
    ("B", lambda row: str(row["batch"])),
    ("threads", lambda row: str(row["threads"])),
    ("plans", lambda row: str(row["n"])),
    ("cold", lambda row: _number(row["cold_ms"])),
    ("p50", lambda row: _number(row["wall_ms"]["per_plan"]["p50"])),
    ("p90", lambda row: _number(row["wall_ms"]["per_plan"]["p90"])),
    ("p99", lambda row: _number(row["wall_ms"]["per_plan"]["p99"])),
    ("CPU p50", lambda row: _number(row["cpu_ms"]["per_plan"]["p50"])),
    ("per action", lambda row: _number(row["wall_ms"]["per_action"]["p50"])),
    ("encode", lambda row: _number(row["encode"])),
    ("rollout", lambda row: _number(row["rollout"])),
    ("refit", lambda row: _number(row["refit"])),
    ("evals", lambda row: f"{row['evaluations_per_plan']:g}"),
    ("GFLOP", lambda row: _number(row["flops_per_plan"] and row["flops_per_plan"] / 1e9, 3)),
    ("of GEMM", lambda row: _number(row["share_of_floor"]["fp32"] and 100 * row["share_of_floor"]["fp32"], 0, " %")),
    ("planner", lambda row: _number(row["overhead"], 2, "x")),
    ("B by B=1", lambda row: _number(row["against_one_by_one"], 2, "x")),
)

BUDGETS: Columns = (
    ("ms per action", lambda row: f"{row['budget_ms']:g}"),
    ("hold %", lambda row: share(row["success"]["hold"])),
    ("final %", lambda row: share(row["success"]["final"])),
    ("ever %", lambda row: percent(row["success"]["ever"]["rate"])),
    ("n", lambda row: str(row["success"]["hold"]["n"])),
    ("iterations", lambda row: "{median:g} ({min} to {max})".format(**row["iterations"])),
    ("ms p50", lambda row: _number(row["latency_ms"]["per_action"]["p50"])),
    ("p90", lambda row: _number(row["latency_ms"]["per_action"]["p90"])),
    ("missed", lambda row: f"{row['latency_ms']['missed']} of {row['latency_ms']['n']}"),
)


def bench_text(found: Mapping[str, Any]) -> str:
    """The tables, and what to think of them."""
    origin, setting, rows = found["provenance"], found["setting"], found["rows"]
    parts = [_table(ROWS, rows), _words(rows[0], setting)]
    if found["budgets"]:
        parts.append(_table(BUDGETS, found["budgets"]))
    load = origin["load"]
    parts.append(f"{origin['hardware']}, load {load['start']:g} to {load['end']:g}, peak memory {origin['peak_mb']:.0f} MB.")
    if origin["busy"]:
        parts.append(f"The machine was busy: {origin['busy']}.")
    return "\n\n".join(parts)


def _words(row: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """What the columns are, and what does not differ from row to row."""
    rate = " and ".join(f"{value:.0f} {name}" for name, value in row["gemm_gflops"].items() if value)
    how = f" Searched in {setting['precision']}, judged in fp32." if setting["precision"] not in {None, "fp32"} else ""
    planner = setting["agent"].get("planner") or {}
    how += " Compiled, which the first plan took its time for." if planner.get("compiled") else ""
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    return (
        f"Milliseconds per plan of B problems, {setting['actions_per_plan']} env action(s) executed from each; cold: the first "
        f"plan of the process. Matrix products ran at {rate} GFLOP/s ({threads}); `of GEMM` is the share of a plan's time that "
        "its FLOPs would take at the fp32 rate, `planner` a search against only calling its cost function, and `B by B=1` "
        f"B problems one by one against all at once.{how}"
    )


def _table(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text; columns in which nothing stands are left out."""
    lines = [[name for name, _ in columns], *([cell(row) for _, cell in columns] for row in rows)]
    used = [column for column in range(len(lines[0])) if any(line[column] for line in lines[1:])]
    widths = {column: max(len(line[column]) for line in lines) for column in used}
    return "\n".join("  ".join(line[column].ljust(widths[column]) for column in used).rstrip() for line in lines)


def _number(value: float | None, digits: int = 1, unit: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{unit}"
