"""What all planners are given in `peers.py`: first plans and replans of Ball's dev tasks, on the shipped latent world model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagoal.agents import Decision, Pace, Planning
from imagoal.agents.mpc import MPC
from imagoal.envs import make
from imagoal.eval.episodes import AgentChoice, BuiltAgent, ModelChoice, build, run_tasks
from imagoal.eval.tasks import choose_tasks
from imagoal.planning import CEM, BoundCost, GoalCost, Planner
from imagoal.world_model import Observation, State

ENV, WORLD_MODEL, TASKS = "ball", "Ball-latent", "dev"
HORIZON = 8
REFERENCE = CEM(horizon=HORIZON, num_samples=300, num_elites=30, iterations=30, init_std=1.0)
"""The field's default budget."""


@dataclass(frozen=True, eq=False)
class Problem:
    """B planning problems: what is to be reached, and what the world model knows now."""

    aim: GoalCost
    state: State

    def __len__(self) -> int:
        return len(self.aim.goal)

    @property
    def action_size(self) -> int:
        return self.aim.model.action_size

    def cost(self) -> BoundCost:
        """The cost function, as an agent of ours binds it for each plan."""
        return self.aim.bind(self.state)

    def row(self, index: int) -> "Problem":
        """One of the problems."""
        return Problem(self.aim.rows([index]), tuple(part[index : index + 1] for part in self.state))

    @torch.no_grad()
    def judge(self, plans: Tensor) -> Tensor:
        """Costs (B,) of plans (B, H, A), which an env would clip to [-1, 1]: the same judge for everyone."""
        return self.cost()(plans.clamp(-1, 1)[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Moment:
    """A problem (B = 1), and what plans for it are measured by.

    Attributes:
        idle: cost of doing nothing.
        best: cost of the reference: the cheaper one of two plans of 300 x 30, by us and by a peer.
    """

    problem: Problem
    idle: float
    best: float


def together(problems: Sequence[Problem]) -> Problem:
    """Problems side by side as one of B."""
    first = problems[0].aim
    goal = torch.cat([problem.aim.goal for problem in problems])
    aim = GoalCost(first.model, first.at, goal, first.chain, first.distance, first.over)
    return Problem(aim, tuple(torch.cat(parts) for parts in zip(*(problem.state for problem in problems), strict=True)))


def shipped(planner: Planner) -> BuiltAgent:
    """The shipped agent on Ball, with this planner."""
    choice = AgentChoice(model=ModelChoice(WORLD_MODEL), planner=planner, pace=Pace(warm_start=False))
    return build(choice, make(ENV))


class Chronicle(MPC):
    """An agent that keeps its problems and plans."""

    def __init__(self, planning: Planning) -> None:
        super().__init__(make(ENV), planning)
        self.problems: list[Problem] = []
        self.plans: list[Tensor] = []

    def act(self, now: Observation) -> Decision:
        decision = super().act(now)
        assert decision.plan is not None
        assert self.belief is not None
        self.problems.append(Problem(self.goal_cost, self.belief))
        self.plans.append(decision.plan.actions)
        return decision


def chronicle(task: int, steps: int) -> tuple[list[Problem], list[Tensor]]:
    """The problems of the first steps of a dev task, each planned from nothing with the reference's budget; and those plans."""
    planning = shipped(REFERENCE).planning
    assert planning is not None
    agent = Chronicle(planning)
    run_tasks(lambda: make(ENV), agent, choose_tasks(make(ENV), TASKS), [task], steps)
    return agent.problems, agent.plans


class Steps:
    """The same world model and cost, one step at a time on flat states: for planners that roll out by themselves.

    The cost of a plan is the sum over its steps, as `Over(mean=1)` gives it.

    Attributes:
        start: (B, S), what the model knows, flat.
        goal: (B, D), flat.
    """

    def __init__(self, problem: Problem, horizon: int) -> None:
        self._aim, self._horizon = problem.aim, horizon
        self._shapes = [part.shape[1:] for part in problem.state]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.start = _flat(problem.state)
        self.goal = problem.aim.goal.flatten(1)

    @property
    def size(self) -> int:
        """S."""
        return sum(self._sizes)

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        """States (M, S) after actions (M, A), clamped."""
        _, memory = self._aim.model.predictor.unroll(self._memory(states), actions.clamp(-1, 1)[:, None])
        return _flat(memory)

    def cost(self, states: Tensor, goals: Tensor) -> Tensor:
        """A step's share (M,) of the cost: the distance of the latest latents in states (M, S) from goals (M, D)."""
        latents = self._memory(states)[0][:, -1]
        return self._aim.distance(latents, goals.reshape(latents.shape)) / self._horizon

    def _memory(self, states: Tensor) -> State:
        parts = states.split(self._sizes, 1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, self._shapes, strict=True))


def _flat(memory: State) -> Tensor:
    return torch.cat([part.flatten(1) for part in memory], 1)
