"""MPC: plans anew every few steps towards the goal image, or when the world is not as imagined."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.planning import GoalCost, Plan, Rescoring, check_needs, no_op, propose
from imagoal.world_model import Observation, Past, State, shows_paths
from imagoal.world_model.models import is_rough


class MPC:
    """Plans with a world model and a planner, executes the first actions, plans again (receding horizon).

    Each plan starts from the last one, shifted, and from doing nothing. A plan's randomness follows from the episode's seed
    and the step alone, so that a result does not depend on what it was batched with. With `surprise`, a plan is kept, as far
    as it goes, while the world behaves as it imagined. A model of lower precision searches only; fp32 chooses and imagines;
    so does other noise, where a model imagines out of noise.
    """

    def __init__(self, env: GoalEnv, planning: Planning | None) -> None:
        if planning is None:
            raise UsageError("the mpc agent needs a world model; name one with --world-model")
        if not isinstance(planning, Planning):
            raise UsageError(
                f"planning is a {type(planning).__name__}; expected imagoal.agents.Planning, all that an agent plans with; "
                "imagoal.make_agent builds it from a world model"
            )
        check_needs(planning.planner, _differentiable(planning), shows_paths(planning.model))
        if is_rough(planning.model) and planning.planner.needs == "path":
            raise UsageError(
                f"{type(planning.planner).__name__} with precision {planning.model.precision}; expected fp32, or another "
                "planner, since paths are only followed in fp32"
            )
        self.planning, self.rescoring = planning, Rescoring(planning.planner)
        self.privileged = planning.model.privileged or planning.at == "state"

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes: the goal is carried to the place of the cost, once.

        Raises:
            UsageError: several episodes under a deadline, which none of them could keep by itself, or with surprise, at which
                each of them would plan at other steps.
        """
        setting, pace = self.planning, self.planning.pace
        if pace.deadline_ms is not None and len(seeds) > 1:
            raise UsageError(f"a deadline for {len(seeds)} episodes side by side; expected one at a time: use --batch 1")
        if pace.surprise and len(seeds) > 1:
            raise UsageError(
                f"surprise = {pace.surprise} for {len(seeds)} episodes side by side; expected one at a time: use --batch 1"
            )
        exact = setting.model.exact if is_rough(setting.model) else setting.model
        self.goal_cost = GoalCost.aim(exact, goal, setting.at, setting.chain, setting.distance, setting.over)
        self.seeds = list(seeds)
        self.frames: list[Tensor] = []  # one per model step
        self.actions: list[Tensor] = []  # one per env step
        self.plan: Plan | None = None
        self.regret: Tensor | None = None  # of the plan, if its search was rough
        self.planned_at = 0  # the env step at which the plan was made, and of which the belief is
        self.belief: State | None = None
        self.path: Tensor | None = None  # that the plan is thought to lead to, once somebody asked

    def act(self, now: Observation) -> Decision:
        """The next action of the current plan; a new plan first, if it is time and the world is not as imagined."""
        block = self.planning.model.action_block
        step = len(self.actions)
        if step % block == 0:
            self.frames.append(now.frame)
        milliseconds = self._attend(now) if step % self.planning.pace.replan_every == 0 else {}
        assert self.plan is not None
        since = step - self.planned_at
        action = self.plan.actions.reshape(len(self.seeds), self.planning.planner.horizon * block, -1)[:, since]
        self.actions.append(action)
        if since == 0:
            return Decision(action, milliseconds, self.plan, self.plan.cost, self.regret, self.imagine)
        return Decision(action, milliseconds)

    @torch.no_grad()
    def imagine(self) -> Tensor:
        """The future (B, H, ...) that the current plan was thought to lead to when it was made, at the world model's place.

        Raises:
            UsageError: there is no plan yet.
        """
        if self.plan is None or self.belief is None:
            raise UsageError("nothing is planned yet, so nothing is imagined; call act first")
        if self.path is None:
            self.path = self.goal_cost.bind(self.belief).imagine(self.plan.actions[:, None])[:, 0]
        return self.path

    def _attend(self, now: Observation) -> dict[str, float]:
        """Keep the plan, or make a new one; milliseconds by phase."""
        if not self._goes_on():
            return self._replan(now, {})
        began = time.perf_counter()
        kept = self._is_as_imagined(now)
        check = {"check": 1000 * (time.perf_counter() - began)}
        return check if kept else self._replan(now, check)

    def _goes_on(self) -> bool:
        """Whether the plan may be kept, and reaches to the next time that it is looked at."""
        setting = self.planning
        end = self.planned_at + setting.planner.horizon * setting.model.action_block
        return self.plan is not None and setting.pace.surprise > 0 and len(self.actions) + setting.pace.replan_every <= end

    @torch.no_grad()
    def _is_as_imagined(self, now: Observation) -> bool:
        """Whether the world is as near to what the plan led to expect of now as `surprise` demands; never if that is NaN."""
        setting = self.planning
        imagined = setting.chain.carry(self.imagine()[:, self._executed() - 1], setting.model.place, setting.at)
        observed = now.state if setting.at == "state" else setting.chain.carry(now.frame, "frame", setting.at)
        assert observed is not None
        astray = setting.distance(imagined.to(observed), observed)
        left = setting.distance(observed, self.goal_cost.goal.to(observed))
        return bool(astray <= setting.pace.surprise * left)

    def _executed(self) -> int:
        """How many model steps of the plan were executed."""
        return (len(self.actions) - self.planned_at) // self.planning.model.action_block

    def _replan(self, now: Observation, check: dict[str, float]) -> dict[str, float]:
        """Make a new plan; milliseconds by phase, that of a check before included."""
        setting = self.planning
        checked = check.get("check", 0.0)
        began = time.perf_counter() - checked / 1000
        executed = self._executed()
        past = self._past(now.state, None if self.plan is None else executed)
        number = len(self.actions) // setting.pace.replan_every
        seeds = [_mixed(seed, number) for seed in self.seeds]
        self.belief = setting.model.observe(past, seeds, self.belief)
        encoded = time.perf_counter()
        size, device = setting.model.action_size, setting.model.device
        idle = no_op(len(self.seeds), setting.planner.horizon, size, device=device)
        candidates = propose(self.plan if setting.pace.warm_start else None, executed, idle)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        deadline = setting.pace.deadline_ms
        left = None if deadline is None else max(0.0, deadline - 1000 * (time.perf_counter() - began))
        plan, regret = self._search(self.belief, candidates, generators, left)
        self.plan, self.regret = plan.cpu(), regret if regret is None else regret.cpu()
        self.planned_at, self.path = len(self.actions), None
        whole, before = (1000 * (moment - began) for moment in (time.perf_counter(), encoded))
        rollout = self.plan.cost_ms
        times = {"plan": whole, "encode": before - checked, "rollout": rollout, "refit": whole - before - rollout} | check
        return times if deadline is None else times | {"deadline": deadline}

    def _search(
        self, belief: State, candidates: Tensor, generators: Sequence[torch.Generator], deadline_ms: float | None
    ) -> tuple[Plan, Tensor | None]:
        """A plan, and the regret of its search if that was rough."""
        model, exact = self.planning.model, self.goal_cost.bind(belief)
        if not is_rough(model):
            return self.planning.planner.plan(exact, candidates, generators, deadline_ms), None
        rough = replace(self.goal_cost, model=model).bind(belief)
        return self.rescoring.plan(rough, exact, candidates, generators, deadline_ms)

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


def _mixed(seed: int, number: int) -> int:
    """The seed of an episode's plan."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
