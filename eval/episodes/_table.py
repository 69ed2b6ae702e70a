"""Results as a table of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from imagoal.envs import short_name
from imagoal.eval.episodes._result import ROLES

HEAD = ("env", "agent", "imagines (encoder)", "cost", "planner", "hold %", "final %", "ever %", "n", "ms p50", "p90")


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line per result, headlines first; the headline rate with its Wilson 95 % interval, times per action."""
    rows = [HEAD, *(cells(result) for result in sorted(results, key=lambda result: ROLES.index(result["role"])))]
    used = [column for column in range(len(HEAD)) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in used}
    lines = ["  ".join(row[column].ljust(widths[column]) for column in used).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * widths[column] for column in used), *lines[1:]])


def cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of one result, as in `HEAD`; empty where there is nothing to say."""
    agent, summary = result["agent"], result["summary"]
    times = (summary["latency_ms"] or {}).get("per_action", {})
    encoder = agent["encoder"]
    rates = summary["success"].items()
    shown = {kind: share(rate) if kind == result["protocol"]["headline"] else percent(rate["rate"]) for kind, rate in rates}
    return (
        env_name(result),
        agent["name"] + ("*" if agent["privileged"] else ""),
        (agent["world_model"] or "") + (f" ({encoder['label']})" if encoder else ""),
        cost(agent["cost"]),
        budget(agent["planner"]),
        *(shown[kind] for kind in ("hold", "final", "ever")),
        str(summary["success"]["hold"]["n"]),
        *(f"{times[p]:.1f}" if times.get(p) is not None else "" for p in ("p50", "p90")),
    )


def env_name(result: Mapping[str, Any]) -> str:
    """The env of a result, and what it was made with, e.g. `Ball distractors=noise+mover`."""
    options = (f"{name}={value}" for name, value in sorted(result["env_options"].items()))
    return " ".join([short_name(result["env"]), *options])


def cost(described: Mapping[str, Any] | None) -> str:
    """Where and how a cost is measured, e.g. `latent slowness mean`; weights other than 1 before their names."""
    if described is None:
        return ""
    weights = {kind: described[kind] for kind in ("last", "mean", "min") if described[kind]}
    over = "+".join(kind if weight == 1 else f"{weight:g} {kind}" for kind, weight in weights.items())
    return f"{described['at']} {described['distance']} {over}"


def budget(planner: Mapping[str, Any] | None) -> str:
    """A planner and its budget, e.g. `cem 64x4 H8`, and how it imagines, if that is not as in most."""
    if planner is None:
        return ""
    size = "x".join(str(planner[field]) for field in ("num_samples", "iterations") if field in planner)
    words = [planner["name"], size, f"H{planner['horizon']}", planner.get("precision", "")]
    words += ["compiled"] if planner.get("compiled") else []
    return " ".join(filter(None, words))


def share(rate: Mapping[str, float]) -> str:
    """A rate with its interval, in percent, e.g. `97.5 [94.3, 98.9]`."""
    return f"{percent(rate['rate'])} [{percent(rate['low'])}, {percent(rate['high'])}]"


def percent(value: float) -> str:
    """A share in percent, e.g. `97.5`."""
    return f"{100 * value:.1f}"
