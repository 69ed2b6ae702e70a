"""MPC: plans anew every few steps towards the goal image."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from imagoal.agents._types import Decision, Planning
from imagoal.envs._types import GoalEnv
from imagoal.errors import UsageError
from imagoal.planning._candidates import no_op, propose
from imagoal.planning._checks import check_needs
from imagoal.planning._goal_cost import GoalCost
from imagoal.planning._types import Plan
from imagoal.world_model._types import Observation, Past, State


class MPC:
    """Plans with a world model and a planner, executes the first actions, plans again (receding horizon).

    Each plan starts from the last one, shifted, and from doing nothing. A plan's randomness follows from the episode's seed
    and the plan's number alone, so that a result does not depend on what it was batched with.
    """

    def __init__(self, env: GoalEnv, planning: Planning | None) -> None:
        if planning is None:
            raise UsageError("the mpc agent needs a world model; name one with --world-model")
        check_needs(planning.planner, _differentiable(planning))
        self.planning = planning
        self.privileged = planning.model.privileged or planning.at == "state"

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes: the goal is carried to the place of the cost, once.

        Raises:
            UsageError: several episodes under a deadline, which none of them could keep by itself.
        """
        setting = self.planning
        if setting.deadline_ms is not None and len(seeds) > 1:
            raise UsageError(f"a deadline for {len(seeds)} episodes side by side; expected one at a time: use --batch 1")
        self.goal_cost = GoalCost.aim(setting.model, goal, setting.at, setting.chain, setting.distance, setting.over)
        self.seeds = list(seeds)
        self.frames: list[Tensor] = []  # one per model step
        self.actions: list[Tensor] = []  # one per env step
        self.plan: Plan | None = None
        self.belief: State | None = None

    def act(self, now: Observation) -> Decision:
        """The next action of the current plan; a new plan first, if it is time."""
        block = self.planning.model.action_block
        step = len(self.actions)
        if step % block == 0:
            self.frames.append(now.frame)
        since = step % self.planning.replan_every
        milliseconds = self._replan(now) if since == 0 else {}
        assert self.plan is not None
        action = self.plan.actions.reshape(len(self.seeds), self.planning.planner.horizon * block, -1)[:, since]
        self.actions.append(action)
        if since == 0:
            return Decision(action, milliseconds, self.plan, self.plan.cost, self.imagine)
        return Decision(action, {})

    @torch.no_grad()
    def imagine(self) -> Tensor:
        """The future (B, H, ...) that the current plan is thought to lead to, at the world model's place.

        Raises:
            UsageError: there is no plan yet.
        """
        if self.plan is None or self.belief is None:
            raise UsageError("nothing is planned yet, so nothing is imagined; call act first")
        return self.goal_cost.bind(self.belief).imagine(self.plan.actions[:, None])[:, 0]

    def _replan(self, now: Observation) -> dict[str, float]:
        """Make a new plan; milliseconds by phase."""
        setting = self.planning
        began = time.perf_counter()
        first = self.plan is None
        executed = 0 if first else setting.replan_every // setting.model.action_block
        past = self._past(now.state, None if first else executed)
        self.belief = setting.model.observe(past, self.seeds, self.belief)
        encoded = time.perf_counter()
        idle = no_op(len(self.seeds), setting.planner.horizon, setting.model.action_size)
        candidates = propose(self.plan if setting.warm_start else None, executed, idle)
        number = len(self.actions) // setting.replan_every
        generators = [_generator(seed, number) for seed in self.seeds]
        deadline = setting.deadline_ms
        left = None if deadline is None else max(0.0, deadline - 1000 * (time.perf_counter() - began))
        self.plan = setting.planner.plan(self.goal_cost.bind(self.belief), candidates, generators, left)
        whole, encode = (1000 * (moment - began) for moment in (time.perf_counter(), encoded))
        rollout = self.plan.cost_ms
        times = {"plan": whole, "encode": encode, "rollout": rollout, "refit": whole - encode - rollout}
        return times if deadline is None else times | {"deadline": deadline}

    def _past(self, state: Tensor | None, new: int | None) -> Past:
        """The last frames that the model looks at, and the action blocks between them."""
        block = self.planning.model.action_block
        count = min(len(self.frames), max(self.planning.model.history, 1 + (new or 0)))  # the new ones, and what they follow
        frames = torch.stack(self.frames[-count:], 1)
        actions = torch.zeros(len(frames), 0, self.planning.model.action_size)
        if count > 1:
            taken = torch.stack(self.actions[-(count - 1) * block :], 1).float()
            actions = taken.reshape(len(frames), count - 1, -1)
        return Past(frames, actions, state, new)


def _differentiable(planning: Planning) -> bool:
    return planning.model.differentiable and planning.chain.differentiable(planning.model.place, planning.at)


def _generator(seed: int, number: int) -> torch.Generator:
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(mixed)
