"""On-policy collecting: an agent acts as in an evaluation, and what it did and saw is recorded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from imagoal import files, find
from imagoal.agents import Agent
from imagoal.envs import Floats, Frames, GoalEnv, Rng
from imagoal.envs.store import Actor, ActorFactory, Shown
from imagoal.errors import UsageError
from imagoal.eval.episodes._built import BuiltAgent
from imagoal.planning import CostFunction, Plan, Planner, Wrapped
from imagoal.world_model import Observation, to_tensor


def on_policy(built: BuiltAgent, env: GoalEnv, noise: float = 0.0) -> ActorFactory:
    """The agent as something that `collect` has act.

    It is named after all that its plans follow from, so that a store is not continued with another model, planner or noise;
    its randomness in an episode follows from that episode's alone.

    Args:
        built: the agent.
        env: like the one in which it will act, for what it plans with.
        noise: standard deviation of what is added to each action that it executes.

    Raises:
        UsageError: noise for an agent that does not plan, that may keep its plans or judges them anew, or a deadline.
    """
    if built.pace.deadline_ms is not None:
        raise UsageError(
            f"deadline_ms = {built.pace.deadline_ms}; expected none, so that a store does not depend on the machine"
        )
    agent = _exploring(built, env, noise) if noise else built.agent

    def begin(world: GoalEnv, first: Shown, rng: Rng) -> Actor:
        goal = _observation(first["goal"], world.goal_state(), agent.privileged)
        agent.reset(goal, [int(rng.integers(2**31))])

        def act(shown: Shown, state: Floats) -> Floats:
            decision = agent.act(_observation(shown["image"], state, agent.privileged))
            return np.asarray(decision.actions[0].detach().cpu().numpy(), np.float64)

        return act

    plans_follow_from = {"agent": built.description, "hashes": built.hashes, "noise": noise}
    begin.__name__ = f"{built.description['name']}-{files.hash_of(plans_follow_from)[:12]}"
    return begin


def _exploring(built: BuiltAgent, env: GoalEnv, noise: float) -> Agent:
    """The same agent with a planner that adds noise."""
    name, planning = built.description["name"], built.planning
    if not 0 < noise < math.inf:
        raise UsageError(f"noise = {noise}; expected a finite number, 0 or more")
    if planning is None or name != "mpc":
        raise UsageError(f"noise = {noise} with agent {name!r}; expected 0, since only the plans of mpc are disturbed")
    if planning.pace.surprise:
        raise UsageError(
            f"noise = {noise} with surprise = {planning.pace.surprise}; expected one of them to be 0, since noise is put "
            "on what will be executed of a plan, which surprise decides later"
        )
    precision = getattr(planning.model, "precision", "fp32")
    if precision != "fp32":
        raise UsageError(
            f"noise = {noise} with precision {precision}; expected fp32, since noise is put on a plan before it would "
            "be judged in fp32"
        )
    steps = planning.pace.replan_every // planning.model.action_block
    disturbed = replace(planning, planner=Exploring(planning.planner, noise, steps))
    agent: Agent = find.find("agent", name)(env, disturbed)
    return agent


def _observation(frame: Frames, state: Floats, privileged: bool) -> Observation:
    """What an agent is given, of one episode; copies, since an env may use its buffer again."""
    return Observation(to_tensor(np.stack([frame])), torch.from_numpy(np.stack([state])) if privileged else None)


@dataclass(frozen=True)
class Exploring(Wrapped):
    """A planner whose plan is disturbed where it will be executed.

    An agent that acts on such a plan remembers what it really did, as its world model must be told; noise on the way from the
    agent to the env would give models with a history a false past. What is proposed for the next plan stays undisturbed.

    Attributes:
        planner: what searches.
        noise: standard deviation of the Gaussian that is added to each executed action; the sum is clipped to [-1, 1].
        steps: how many model steps of a plan are executed.
    """

    planner: Planner
    noise: float
    steps: int

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """The planner's plan, with noise; its cost is that without."""
        found = self.planner.plan(cost, candidates, generators, deadline_ms)
        executed, rest = found.actions[:, : self.steps], found.actions[:, self.steps :]
        noise = torch.stack([torch.randn(executed.shape[1:], generator=generator) for generator in generators])
        disturbed = (executed + self.noise * noise.to(executed)).clamp(-1, 1)
        return replace(found, actions=torch.cat([disturbed, rest], 1))
