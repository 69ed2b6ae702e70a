"""Collocation: a path and the actions that lead along it, searched together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError
from imagoal.planning._checks import check_field, check_needs
from imagoal.planning._noise import correlated
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search, rows
from imagoal.planning._types import CostFunction, Needs, PathCost, Plan
from imagoal.planning.gradient import Adam


@dataclass(frozen=True)
class Collocation:
    """Collocation: a path through the model's own space and the actions that lead along it, searched together.

    Meanwhile a path need not be what its actions lead to. It is judged by

        E_total = E_world + goal_weight x E_goal,

    E_world the mean square of how far each step is from what the model predicts there, in usual changes; E_goal the cost of the
    path, as a share of that of the best start. In the latents of a learned model, collocation is known from LatCo (Rybkin et
    al. 2021, arXiv 2106.13229) and, with soft constraints and gradient descent, from GRASP (Psenka et al. 2026, arXiv
    2602.00475).

    Plain gradient descent on E_total sees above all how a path may cheat in directions that no action reaches. So, as in LatCo,
    each iteration is a Gauss-Newton step: the model is linearised along the whole path at once, and to first order the path
    without inconsistency follows from the actions. What is left is E_goal of the actions, which steps of Adam (arXiv 1412.6980)
    follow down without evaluating the network; the path comes along. The actions are then rolled out, to be judged. Of the path
    that was claimed and the rollout, whose E_world is 0, the one of lower E_total goes on.
    """

    needs: ClassVar[Needs] = "path"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 32
    """Sequences evaluated first, proposals included."""
    num_refined: int = 1
    """How many of the best of them are refined side by side."""
    iterations: int = 6
    """How often the model is linearised, and path and actions are moved."""
    steps: int = 12
    """Steps of Adam in an iteration."""
    lr: float = 0.1
    """About how far an action moves in a step; actions span [-1, 1]."""
    radius: float = 0.5
    """How far an action moves in an iteration at most: as far as the linearised model is trusted."""
    goal_weight: float = 1.0
    """Of E_goal in E_total: the larger, the more may a path differ from its rollout. At 0 only rollouts go on."""
    init_std: float = 0.5
    """Standard deviation of the samples."""
    correlation: float = 0.95
    """Of the samples' noise from one action to the next, in [0, 1); from smooth starts, better ends are found."""
    block: int = 1
    """Actions in one model step, through which correlated noise runs; the world model's action block."""

    def __post_init__(self) -> None:
        for field in ("horizon", "num_samples", "num_refined", "iterations", "steps", "block"):
            check_field(self, field, 1)
        if self.num_refined > self.num_samples:
            limits = f"from 1 to num_samples, {self.num_samples}"
            raise UsageError(f"Collocation.num_refined is {self.num_refined}; expected {limits}")
        check_field(self, "lr", 1e-9)
        check_field(self, "radius", 1e-9)
        check_field(self, "goal_weight", 0.0)
        check_field(self, "init_std", 0.0)
        check_field(self, "correlation", 0.0, 0.999)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """Search, starting from proposals (B, E, H, A'); see `Planner.plan`. The plan says what it claimed to cost.

        Raises:
            UsageError: candidates or generators do not fit, or the cost shows no path, or has no gradient.
            NumericalError: a problem has no sequence of finite cost.
        """
        check_needs(self, cost.differentiable, isinstance(cost, PathCost))
        assert isinstance(cost, PathCost)
        proposals = check_proposals(candidates, self.horizon, self.num_samples, generators)
        noise = correlated(generators, self.num_samples - proposals.shape[1], proposals, self.correlation, self.block)
        starts = torch.cat([proposals, (proposals[:, :1] + self.init_std * noise).clamp(-1, 1)], 1)
        rollouts = Rollouts(cost)
        search = Search(rollouts, deadline_ms)
        costs = search.evaluate(starts)
        pair = Pair(self, cost, starts, rollouts.paths, costs)
        for _ in search.rounds(self.iterations):
            pair.move()
            pair.judge(search, rollouts)
        plan = search.result()
        return replace(plan, cost_ms=plan.cost_ms + pair.cost_ms, claimed=pair.claimed)


class Rollouts:
    """The cost of where actions lead.

    Attributes:
        paths: (B, K, H, ...), where the last ones led.
    """

    differentiable = True
    paths: Tensor

    def __init__(self, cost: PathCost) -> None:
        self._cost = cost

    @torch.no_grad()
    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A')."""
        self.paths = self._cost.imagine(actions)
        return self._cost.measure(self.paths)


class Pair:
    """Actions (B, K, H, A') and paths (B, K, H, ...) that are moved together.

    Attributes:
        claimed: (B,), what the path was claimed to cost that came with the best actions so far.
        cost_ms: milliseconds spent in linearising paths.
    """

    def __init__(self, setting: Collocation, cost: PathCost, actions: Tensor, paths: Tensor, costs: Tensor) -> None:
        """Begin with the best of some actions, of their rollouts, by their costs (B, K)."""
        lowest, index = costs.topk(setting.num_refined, dim=1, largest=False)
        self._setting, self._cost, self._actions, self._paths = setting, cost, rows(actions, index), rows(paths, index)
        self._scale = lowest[:, :1].abs().clamp_min(torch.finfo(lowest.dtype).tiny)
        self._adam = Adam(self._actions, setting.lr)
        self.claimed, self.cost_ms = lowest[:, 0], 0.0

    def move(self) -> None:
        """To first order, close all gaps of the paths, and move both down the cost of the paths."""
        began = time.perf_counter()
        ahead, *derivatives = (each.flatten(0, 1) for each in self._cost.linearise(self._paths, self._actions))
        self.cost_ms += (time.perf_counter() - began) * 1000
        points = self._paths.flatten(0, 1).flatten(2)
        answers, closing = respond(ahead.flatten(2) - points, *derivatives)
        centre = points.flatten(1) + closing
        low = (-1 - self._actions).clamp_min(-self._setting.radius)
        high = (1 - self._actions).clamp_max(self._setting.radius)
        changes = torch.zeros_like(self._actions)
        for _ in range(self._setting.steps):
            slopes = (self._slopes(moved(centre, answers, changes))[:, None] @ answers).reshape(changes.shape)
            sound = torch.isfinite(slopes).all(3, keepdim=True).all(2, keepdim=True)
            changes = (changes + self._adam.step(torch.where(sound, slopes, 0))).clamp(low, high)
        self._actions = (self._actions + changes).clamp(-1, 1)
        self._paths = moved(centre, answers, changes).reshape(self._paths.shape)

    def judge(self, search: Search, rollouts: Rollouts) -> None:
        """Roll the actions out; of each path and its rollout, go on with the one of lower E_total."""
        before = search.best_cost
        costs = search.evaluate(self._actions)
        with torch.no_grad():
            claims, world = self._cost.measure(self._paths), self._cost.defects(self._paths, self._actions).mean(2)
            claims = torch.where(torch.isfinite(claims), claims, torch.inf)
        consistent = world < self._setting.goal_weight * (costs - claims) / self._scale
        shape = (*consistent.shape, *[1] * (self._paths.ndim - 2))
        self._paths = torch.where(consistent.reshape(shape), self._paths, rollouts.paths)
        lowest, winner = costs.min(1, keepdim=True)
        self.claimed = torch.where(lowest[:, 0] < before, claims.gather(1, winner)[:, 0], self.claimed)

    def _slopes(self, points: Tensor) -> Tensor:
        """Derivatives (M, H x n) of the cost of paths that consist of these points (M, H x n)."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            costs = self._cost.measure(points.reshape(self._paths.shape))
        if not costs.requires_grad:
            raise UsageError("the cost does not follow from the path by torch operations alone; compute it without no_grad")
        slopes: Tensor = torch.autograd.grad(costs, points, torch.ones_like(costs))[0]
        return slopes


def moved(centre: Tensor, answers: Tensor, changes: Tensor) -> Tensor:
    """Points (M, H x n) after changes (B, K, H, A') of the actions, given their answers (M, H x n, H x A')."""
    return centre + (answers @ changes.flatten(0, 1).flatten(1)[..., None].to(answers))[..., 0]


def respond(gaps: Tensor, by_points: Tensor, by_actions: Tensor) -> tuple[Tensor, Tensor]:
    """How all points of a path answer, to first order, to small changes of the actions, and to the closing of its gaps.

    Args:
        gaps: (M, H, n), from each point to what the model predicts there.
        by_points: (M, H, n, P x n), derivatives by the P points before, oldest first; what was before the path does not change.
        by_actions: (M, H, n, P x A'), derivatives by the actions taken there.

    Returns:
        (M, H x n, H x A') for each number of the actions, and (M, H x n) for all gaps.
    """
    batch, steps, size = gaps.shape
    past = by_points.shape[3] // size
    direct = gaps.new_zeros(batch, steps, size, steps, by_actions.shape[3] // past)
    for lag, lagged in enumerate(reversed(by_actions.chunk(past, 3)[-steps:])):
        direct.diagonal(-lag, 1, 3).copy_(lagged[:, lag:].permute(0, 2, 3, 1))
    direct = torch.cat([direct.flatten(3), gaps[..., None]], 3)
    answers = gaps.new_zeros(batch, past + steps, *direct.shape[2:])
    for now in range(steps):
        answers[:, past + now] = direct[:, now] + by_points[:, now] @ answers[:, now : now + past].flatten(1, 2)
    answers = answers[:, past:].flatten(1, 2)
    return answers[..., :-1].contiguous(), answers[..., -1]
