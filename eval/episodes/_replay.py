"""Running a result again: the same episodes, each plan with as many iterations as it had, whatever the clock says now."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from imagoal.agents import Agent, Decision, Planning
from imagoal.envs import GoalEnv, remake
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes._built import BuiltAgent
from imagoal.eval.episodes._result import load_result
from imagoal.eval.episodes._run import run_tasks
from imagoal.eval.tasks import TaskList, choose_tasks
from imagoal.planning import CostFunction, Plan, Planner, Wrapped
from imagoal.progress import Progress
from imagoal.world_model import Observation


@dataclass
class Counted(Wrapped):
    """A planner that searches for as many iterations as it is told, plan by plan.

    Attributes:
        planner: what searches.
        left: iterations of the plans to come.
    """

    planner: Planner
    left: deque[int] = field(default_factory=deque)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """The plan after the next number of iterations; no deadline holds."""
        planner: Any = self.planner
        found: Plan = replace(planner, iterations=self.left.popleft()).plan(cost, candidates, generators)
        return found


class Replaying:
    """An agent whose plans take as many iterations as were recorded, one episode at a time."""

    def __init__(self, make_agent: Callable[[Planning], Agent], planning: Planning, recorded: Mapping[int, list[int]]) -> None:
        self._counted, self._recorded = Counted(planning.planner), recorded
        unhurried = replace(planning.pace, deadline_ms=None)
        self._agent = make_agent(replace(planning, planner=self._counted, pace=unhurried))
        self.privileged = self._agent.privileged

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin the episode of this seed."""
        (seed,) = seeds
        self._counted.left = deque(self._recorded[seed])
        self._agent.reset(goal, seeds)

    def act(self, now: Observation) -> Decision:
        """What the agent does."""
        return self._agent.act(now)


def replay(agent: BuiltAgent, env: GoalEnv, tasks: str | TaskList, path: Path) -> list[int]:
    """Run the episodes of a result again; the ids of those in which the agent now acts otherwise.

    Sampling planners act alike on the same processor; elsewhere numbers may be rounded otherwise.

    Raises:
        DataError: the result is damaged, or of other tasks, or of another agent.
        UsageError: a planner that counts no iterations.
    """
    result, chosen = load_result(path), choose_tasks(env, tasks)
    lines = result["episodes"]
    _check(result, chosen.first(len(lines)).hash, agent.description, path)
    again = _replaying(agent, env, {line["seed"]: line["iterations"] for line in lines})
    other = []
    with Progress("replaying", total=len(lines)) as progress:
        for line in lines:
            (now,) = run_tasks(partial(remake, env), again, chosen, [line["id"]], result["protocol"]["steps"])
            other += [] if now.actions_sha256 == line["actions_sha256"] else [now.id]
            progress.advance()
    return other


def _replaying(built: BuiltAgent, env: GoalEnv, recorded: Mapping[int, list[int]]) -> Agent:
    """The agent, its plans held to the iterations that were recorded, if it plans."""
    if built.planning is None:
        return built.agent
    if not hasattr(built.planning.planner, "iterations"):
        raise UsageError(f"a {type(built.planning.planner).__name__} has no field iterations, by which plans are replayed")
    agent_class: Callable[[GoalEnv, Planning], Agent] = type(built.agent)
    return Replaying(partial(agent_class, env), built.planning, recorded)


def _check(result: Mapping[str, Any], tasks_hash: str, description: Mapping[str, Any], path: Path) -> None:
    """Insist that a result is of these tasks and this agent."""
    if result["protocol"]["tasks_hash"] != tasks_hash:
        raise DataError(f"{path} is of other tasks; name its env and --tasks as its `command` does")
    found = {name: value for name, value in result["agent"].items() if value != description.get(name)}
    if found:
        name = next(iter(found))
        raise DataError(
            f"{path} has {name} {found[name]!r:.120}, these flags ask for {description.get(name)!r:.120}; use its flags"
        )
