"""A result file as a typed row: what a page shows of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagoal.eval.episodes import budget, env_name

KINDS = ("hold", "final", "ever")


@dataclass(frozen=True)
class Rate:
    """A share of successes with its Wilson 95 % interval, all in [0, 1]."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Setting:
    """What rows have in common that stand in one table. Distances in metres.

    Attributes:
        folder: where they were found; empty for files that were named one by one.
        env: short name, and what it was made with.
        split: `dev` or `test`.
        protocol: its name.
        source: where goals come from.
        steps: env steps of every episode.
        tolerance: task distance that counts as at the goal.
        hold_steps: steps in a row that count as *hold*.
        headline: which success comes first.
    """

    folder: str
    env: str
    split: str
    protocol: str
    source: str
    steps: int
    tolerance: float
    hold_steps: int
    headline: str


@dataclass(frozen=True)
class Row:
    """One result file, as far as a page shows it. Times in milliseconds.

    Attributes:
        name: slug of the file, without its seed: the same for all training seeds.
        label: the same with the seed, if training had one.
        cost: place and distance.
        budget: planner and its budget.
        success: by kind.
        n: tasks that count.
        lost: what is to be said about tasks that do not count or failed; else empty.
        p50: of the time per action, None without plans; so `p90`.
        batch: episodes side by side while that was measured.
        machine: processor and threads.
        origin: date, commit and duration.
    """

    setting: Setting
    name: str
    label: str
    role: str
    agent: str
    privileged: bool
    world_model: str
    encoder: str
    cost: str
    budget: str
    training_seed: int | None
    success: Mapping[str, Rate]
    n: int
    lost: str
    p50: float | None
    p90: float | None
    batch: int
    machine: str
    command: str
    origin: str


def parse_row(file: str, folder: str, result: Mapping[str, Any]) -> Row:
    """The row of a result.

    Args:
        file: name of its file, without ending.
        folder: where it was found.
        result: its content.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it lacks something.
    """
    agent, summary, origin = result["agent"], result["summary"], result["provenance"]
    name = re.sub(r"-s\d+$", "", file)
    cost, times = agent["cost"], summary["latency_ms"] or {"per_action": {"p50": None, "p90": None}, "batch": 1}
    return Row(
        setting=_setting(folder, result),
        name=name,
        label=name if agent["training_seed"] is None else file,
        role=str(result["role"]),
        agent=str(agent["name"]),
        privileged=bool(agent["privileged"]),
        world_model=str(agent["world_model"] or ""),
        encoder=str(agent["encoder"]["label"] if agent["encoder"] else ""),
        cost=f"{cost['at']}, {cost['distance']}" if cost else "",
        budget=budget(agent["planner"]),
        training_seed=agent["training_seed"],
        success={kind: _rate(summary["success"][kind]) for kind in KINDS},
        n=int(summary["success"]["hold"]["n"]),
        lost=_lost(summary),
        p50=_milliseconds(times["per_action"]["p50"]),
        p90=_milliseconds(times["per_action"]["p90"]),
        batch=int(times["batch"]),
        machine=f"{origin['hardware']}, {origin['threads']} thread{'s' if origin['threads'] > 1 else ''}, {origin['device']}",
        command=str(origin["command"]),
        origin=_origin(origin),
    )


def _setting(folder: str, result: Mapping[str, Any]) -> Setting:
    protocol = result["protocol"]
    if protocol["headline"] not in KINDS:
        raise ValueError(f"headline {protocol['headline']!r}")
    return Setting(
        folder=folder,
        env=env_name(result),
        split=str(protocol["split"]),
        protocol=str(protocol["name"]),
        source=str(protocol["source"]),
        steps=int(protocol["steps"]),
        tolerance=float(protocol["tolerance"]),
        hold_steps=int(protocol["hold_steps"]),
        headline=protocol["headline"],
    )


def _rate(found: Mapping[str, float]) -> Rate:
    return Rate(float(found["rate"]), float(found["low"]), float(found["high"]))


def _milliseconds(found: float | None) -> float | None:
    return None if found is None else float(found)


def _lost(summary: Mapping[str, Any]) -> str:
    counts = {"trivial, left out": summary["excluded_trivial"], "failed": summary["failed_episodes"]}
    return "; ".join(f"{int(count)} {what}" for what, count in counts.items() if count)


def _origin(origin: Mapping[str, Any]) -> str:
    commit = f"commit {origin['commit'][:10]}" if origin["commit"] else "no commit known"
    changed = ", with changes that are not committed" if origin["commit"] and origin["dirty"] else ""
    return f"{origin['date']}, {commit}{changed}, imagoal {origin['versions']['imagoal']}, {float(origin['wall_s']):.0f} s"
