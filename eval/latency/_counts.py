"""What a plan takes, counted: network calls, FLOPs, and what the planner adds to its cost function."""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imagoal.agents import Agent, Decision
from imagoal.eval.latency._loop import Subject
from imagoal.eval.latency._machine import fair_clock
from imagoal.eval.latency._turns import take_turns
from imagoal.planning import CostFunction, Finalists, PathCost, Plan, Planner, Wrapped
from imagoal.world_model import Observation, WorldModel


@dataclass(frozen=True)
class Counts:
    """What one warm plan of B problems takes.

    Attributes:
        evaluations: cost evaluations per problem.
        cost_calls: calls of the cost function, for whole populations.
        network_calls: of the last layer of the predictor at the search's precision, each for a whole population: forward
            passes, whichever of its methods makes them. None if the world model has no such network.
        flops: multiplications and additions of the matrix products, convolutions and attentions in all of the plan: encoding,
            rollout, cost. Other operations are not counted. None if there were none, as in a simulator.
        flops_per_step: the same in a rollout of the plan's proposals, per sequence and imagined step.
    """

    evaluations: int
    cost_calls: int
    network_calls: int | None
    flops: int | None
    flops_per_step: float | None


@dataclass(frozen=True)
class Problem:
    """What a planner was given at one moment of an episode, and what it asked of the cost function."""

    planner: Planner
    cost: CostFunction
    candidates: Tensor
    states: Sequence[Tensor]
    populations: Sequence[Tensor]

    def search(self) -> Plan:
        """Plan again, from the same proposals and random numbers."""
        return self.planner.plan(self.cost, self.candidates, [_restored(state) for state in self.states])

    def bare(self) -> None:
        """Only call the cost function, with the same sequences; and its gradient where the planner took one."""
        for population in self.populations:
            costs = self.cost(population)
            if population.requires_grad:
                torch.autograd.grad(costs.sum(), population)


class Recorder:
    """A cost function that remembers what it was asked for."""

    def __init__(self, cost: CostFunction) -> None:
        self._cost, self.differentiable = cost, cost.differentiable
        self.populations: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A')."""
        self.populations.append(actions.detach().clone().requires_grad_(actions.requires_grad))
        return self._cost(actions)

    def __getattr__(self, name: str) -> Any:
        """All else that the cost function offers, such as paths."""
        return getattr(self._cost, name)


class Witness(Wrapped):
    """A planner that keeps the last problem it was given."""

    problem: Problem

    def __init__(self, planner: Planner) -> None:
        self.planner = planner

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """What the planner finds."""
        states, recorder = [generator.get_state() for generator in generators], Recorder(cost)
        plan = self.planner.plan(recorder, candidates, generators, deadline_ms)
        self.problem = Problem(self.planner, cost, candidates, states, recorder.populations)
        return plan


class Counted:
    """An agent whose last plan is counted."""

    plan: Plan
    calls: int
    flops: int

    def __init__(self, agent: Agent, model: WorldModel) -> None:
        self._agent, self._model, self.privileged = agent, model, agent.privileged

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes."""
        self._agent.reset(goal, seeds)

    def act(self, now: Observation) -> Decision:
        """What the agent does; if it plans anew, that is counted."""
        with FlopCounterMode(display=False) as flops, _calls(self._model) as calls:
            decision = self._agent.act(now)
        if decision.plan is not None:
            self.plan, self.calls, self.flops = decision.plan, len(calls), flops.get_total_flops()
        return decision


def count(what: Subject, batch: int) -> tuple[Counts, Problem]:
    """What the second plan of the first episodes takes, and that plan's problem; none is timed, hurried or kept.

    Compiled code is counted as what it was compiled from.
    """
    witness = Witness(what.planning.planner)
    unhurried = dataclasses.replace(what.planning.pace, deadline_ms=None, surprise=0.0)
    planning = dataclasses.replace(what.planning, planner=witness, pace=unhurried)
    plain = dataclasses.replace(planning, model=_plain(planning.model))
    counted = Counted(what.agent(what.env, plain), plain.model)
    what.play(counted, range(batch), planning.pace.replan_every + 1)
    problem = witness.problem
    with FlopCounterMode(display=False) as flops:
        _inside(problem.cost).imagine(problem.candidates)
    steps = flops.get_total_flops() / problem.candidates[..., 0].numel()
    calls, network = len(problem.populations), counted.calls or None
    if plain.model is not planning.model:
        what.play(what.agent(what.env, planning), range(batch), planning.pace.replan_every + 1)
    return Counts(counted.plan.evaluations, calls, network, counted.flops or None, steps or None), witness.problem


def _plain(model: Any) -> Any:
    """The same world model, not compiled."""
    return dataclasses.replace(model, compiled=False) if getattr(model, "compiled", False) else model


def overhead(problem: Problem, threads: int, rounds: int, seed: int) -> float | None:
    """Median time of a search divided by that of a bare loop with the same calls of the cost function, in turn.

    None for planners over paths, which ask for more than costs.
    """
    if problem.planner.needs == "path":
        return None
    torch.set_num_threads(threads)
    seconds = take_turns({"search": problem.search, "bare": problem.bare}, rounds, seed, fair_clock(threads))
    search, bare = (median(times) for times in seconds.values())
    return search / bare if bare else None


@contextmanager
def _calls(model: WorldModel) -> Iterator[list[None]]:
    """One entry for each call of the last layer with weights of its own in what the model imagines by, in order of making."""
    calls: list[None] = []
    network = getattr(model, "imagining", None)
    modules = network.modules() if isinstance(network, nn.Module) else ()
    layers = [module for module in modules if next(module.parameters(recurse=False), None) is not None]
    hooks = [layer.register_forward_hook(lambda *_: calls.append(None)) for layer in layers[-1:]]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _inside(cost: CostFunction) -> PathCost:
    """What shows the path that a cost is of."""
    return cast(PathCost, cost.cost if isinstance(cost, Finalists) else cost)


def _restored(state: Tensor) -> Generator:
    return Generator().set_state(state)
