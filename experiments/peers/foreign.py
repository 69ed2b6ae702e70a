"""The planners of other libraries, each through the interface that it documents, on our problems.

What they lack, they are given, where it only helps them: a cost that clamps actions as an env would; no gradients recorded; all
problems in one batch where they offer it; first means of zero, as ours; silence. Defects that stop a planner are worked around,
and noted.
"""

import importlib.util
import sys
import types
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from experiments.peers.contenders import (
    BUDGETS,
    COLD_DESCENTS,
    COLD_FITS,
    COLD_SHOTS,
    FEW,
    LATER,
    SOME,
    WARM_DESCENTS,
    WARM_FITS,
    WARM_SHOTS,
    Contender,
    Kind,
    Setting,
    fitted,
    weighing,
)
from experiments.peers.problems import Problem, Steps


def hollow(*names: str) -> None:
    """Let modules of a package be imported without running the package's `__init__`, which asks for more than they do."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = types.ModuleType(name)
        module.__path__ = [str(Path(spec.origin).parent)]
        sys.modules[name] = module


hollow("stable_worldmodel")
import pytorch_icem
import pytorch_mppi
import stable_worldmodel.solver as swm
from mbrl.planning import trajectory_opt as mbrl
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torchrl.data import Bounded, Composite, Unbounded
from torchrl.envs.model_based import ModelBasedEnvBase
from torchrl.modules.planners import cem as torchrl_cem
from torchrl.modules.planners import mppi as torchrl_mppi

warnings.filterwarnings("ignore")
ACTION_SIZE = 2
"""Of Ball, for those that want to know beforehand."""


class Costed:
    """The cost function as stable-worldmodel's solvers ask for it; `info` says which of the problems."""

    problem: Problem

    def get_cost(self, info: dict[str, Tensor], actions: Tensor) -> Tensor:
        if len(actions) == len(self.problem):
            return self._cost(actions.clamp(-1, 1))
        row = int(info["problem"][0, 0])
        return self.problem.row(row).cost()(actions.clamp(-1, 1))

    def on(self, problem: Problem) -> dict[str, Tensor]:
        self.problem, self._cost = problem, problem.cost()
        return {"problem": torch.arange(len(problem))}


class StableWorldModel(Contender):
    """A solver of stable-worldmodel 0.1.1, `batch_size` problems at a time; its warm start is what its policy does."""

    def __init__(self, solver: Any, horizon: int) -> None:
        self._solver, self._config = solver, SimpleNamespace(horizon=horizon, action_block=1)

    def seed(self, number: int, problem: Problem) -> None:
        self._solver.torch_gen.manual_seed(number)
        space = gymnasium.spaces.Box(-1, 1, (len(problem), problem.action_size), np.float32)
        self._solver.configure(action_space=space, n_envs=len(problem), config=self._config)

    def plan(self, problem: Problem, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left = None if memory is None else memory[:, 1:]
        actions = self._solver.solve(self._solver.model.on(problem), init_action=left)["actions"].clone()
        return actions, actions


def swm_cem(setting: Setting, horizon: int, batch: int = 8) -> StableWorldModel:
    n, std, steps, elites = setting.samples, setting.std, setting.iterations, setting.elites
    return StableWorldModel(swm.CEMSolver(Costed(), batch, n, std, steps, elites), horizon)


def swm_cem_one_by_one(setting: Setting, horizon: int) -> StableWorldModel:
    return swm_cem(setting, horizon, 1)


def swm_icem(setting: Setting, horizon: int) -> StableWorldModel:
    n, std, steps, elites = setting.samples, setting.std, setting.iterations, setting.elites
    return StableWorldModel(swm.ICEMSolver(Costed(), 8, n, std, steps, elites), horizon)


def swm_mppi(setting: Setting, horizon: int) -> StableWorldModel:
    n, std, steps, elites, heat = setting.samples, setting.std, setting.iterations, setting.elites, setting.temperature
    return StableWorldModel(swm.MPPISolver(Costed(), 8, n, std, steps, elites, heat or 0.5), horizon)


def swm_predictive(setting: Setting, horizon: int) -> StableWorldModel:
    return StableWorldModel(swm.PredictiveSamplingSolver(Costed(), 8, setting.samples, setting.std), horizon)


def swm_gradient(setting: Setting, horizon: int) -> StableWorldModel:
    lr = {"lr": setting.lr}
    n, std, adam = setting.samples, setting.std, torch.optim.Adam
    return StableWorldModel(swm.GradientSolver(Costed(), setting.iterations, 8, std, n, 0.0, "cpu", 0, adam, lr), horizon)


class Single(Contender):
    """A planner of one problem at a time."""

    @torch.inference_mode()
    def plan(self, problem: Problem, memory: Any = None) -> tuple[Tensor, Any]:
        memories = memory or [None] * len(problem)
        rows = [problem] if len(problem) == 1 else [problem.row(i) for i in range(len(problem))]
        found = [self.plan_one(row, last) for row, last in zip(rows, memories, strict=True)]
        return torch.stack([plan for plan, _ in found]), [last for _, last in found]

    def plan_one(self, problem: Problem, memory: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError


class PytorchMPPI(Single):
    """pytorch-mppi 0.9.1: one update per command, so as many commands as iterations, of which the first one shifts."""

    def __init__(self, setting: Setting, horizon: int) -> None:
        self._setting, self._horizon, self._planner = setting, horizon, None

    def plan_one(self, problem: Problem, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        setting, self._steps = self._setting, Steps(problem, self._horizon)
        planner = self._planner = self._planner or pytorch_mppi.MPPI(
            lambda states, actions: self._steps.step(states, actions),
            lambda states, _: self._steps.cost(states, self._steps.goal.expand(len(states), -1)),
            self._steps.size,
            (setting.std or 1.0) ** 2 * torch.eye(ACTION_SIZE),
            setting.samples,
            self._horizon,
            lambda_=setting.temperature or 1.0,
            u_min=-torch.ones(ACTION_SIZE),
            u_max=torch.ones(ACTION_SIZE),
        )
        planner.U = torch.zeros(self._horizon, ACTION_SIZE) if memory is None else memory.clone()
        for iteration in range(setting.iterations):
            planner.command(self._steps.start[0], shift_nominal_trajectory=memory is not None and iteration == 0)
        plan = planner.get_action_sequence()
        return plan, plan


class PytorchICEM(Single):
    """pytorch-icem 0.1.0. A standard deviation with a second dimension, since its check refuses all others for two actions."""

    def __init__(self, setting: Setting, horizon: int) -> None:
        self._setting, self._horizon, self._planner = setting, horizon, None

    def plan_one(self, problem: Problem, memory: Any) -> tuple[Tensor, Any]:
        setting, self._steps = self._setting, Steps(problem, self._horizon)
        planner = self._planner = self._planner or pytorch_icem.iCEM(
            lambda states, actions: self._steps.step(states, actions),
            lambda states, _: self._total(states),
            self._steps.size,
            ACTION_SIZE,
            torch.full((1, ACTION_SIZE), setting.std or 1.0),
            setting.samples,
            setting.elites,
            self._horizon,
            warmup_iters=setting.iterations,
            online_iters=setting.iterations,
        )
        planner.reset()
        if memory is not None:
            planner.mean, planner.kept_elites = memory
            planner.shift()
        planner.command(self._steps.start[0], shift_nominal_trajectory=False)
        return planner.kept_elites[0], (planner.mean, planner.kept_elites.clone())

    def _total(self, states: Tensor) -> Tensor:
        costs = self._steps.cost(states.flatten(0, 1), self._steps.goal.expand(states.shape[0] * states.shape[1], -1))
        return costs.reshape(states.shape[:2]).sum(1)


class MBRL(Single):
    """An optimizer of mbrl-lib 0.2.0, which maximises; shifted as its TrajectoryOptimizer does."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def plan_one(self, problem: Problem, memory: Any) -> tuple[Tensor, Any]:
        cost, optimizer = problem.cost(), self._optimizer
        zero = torch.zeros_like(optimizer.lower_bound)
        start = zero if memory is None else torch.cat([memory[0][1:], zero[:1]])
        if hasattr(optimizer, "elite"):
            optimizer.elite = None if memory is None else memory[1]
        if hasattr(optimizer, "mean"):
            optimizer.mean = zero.clone() if memory is None else memory[0].clone()  # shifts by itself
        plan = optimizer.optimize(lambda population: -cost(population[None])[0], start)
        return plan, (plan, getattr(optimizer, "elite", None))


def bounds(horizon: int) -> tuple[list[list[float]], list[list[float]]]:
    return [[-1.0] * ACTION_SIZE] * horizon, [[1.0] * ACTION_SIZE] * horizon


def mbrl_cem(setting: Setting, horizon: int) -> MBRL:
    share, clipped = setting.elites / setting.samples - 1e-9, setting.std == 1.0
    cpu = torch.device("cpu")
    return MBRL(
        mbrl.CEMOptimizer(setting.iterations, share, setting.samples, *bounds(horizon), 0.1, cpu, clipped_normal=clipped)
    )


def mbrl_icem(setting: Setting, horizon: int, decay: float = 1.3) -> MBRL:
    share, exponent = setting.elites / setting.samples - 1e-9, 2.0
    cpu = torch.device("cpu")
    optimizer = mbrl.ICEMOptimizer(setting.iterations, share, setting.samples, decay, exponent, *bounds(horizon), 0.3, 0.1, cpu)
    optimizer.initial_var = torch.full_like(optimizer.initial_var, (setting.std or 0.5) ** 2)
    return MBRL(optimizer)


def mbrl_icem_equal(setting: Setting, horizon: int) -> MBRL:
    return mbrl_icem(setting, horizon, 1.0)


def mbrl_mppi(setting: Setting, horizon: int) -> MBRL:
    gamma = 1 / (setting.temperature or 0.1)
    cpu = torch.device("cpu")
    return MBRL(mbrl.MPPIOptimizer(setting.iterations, setting.samples, gamma, 1.0, setting.std, *bounds(horizon), cpu))


class Dynamics(TensorDictModuleBase):
    """A step of the world model, and its reward, as a module over TensorDicts."""

    in_keys = ("state", "goal", "action")
    out_keys = ("state", "reward")
    steps: Steps

    def forward(self, data: TensorDict) -> TensorDict:
        shape = data.batch_size
        states = self.steps.step(data["state"].flatten(0, -2), data["action"].flatten(0, -2))
        rewards = -self.steps.cost(states, data["goal"].flatten(0, -2))
        return data.set("state", states.reshape(*shape, -1)).set("reward", rewards.reshape(*shape, 1))


class Imagined(ModelBasedEnvBase):
    """The env that torchrl's planners plan in."""

    def __init__(self, dynamics: Dynamics, steps: Steps) -> None:
        super().__init__(dynamics)
        self.observation_spec = Composite(state=Unbounded((steps.size,)), goal=Unbounded(steps.goal.shape[1:]))
        self.state_spec = self.observation_spec.clone()
        self.action_spec = Bounded(-1, 1, (ACTION_SIZE,))
        self.reward_spec = Unbounded((1,))

    def _reset(self, tensordict: TensorDict) -> TensorDict:
        raise NotImplementedError


class Return(torch.nn.Module):
    """The sum of rewards, below the best candidate's, as the advantage that torchrl's MPPI weighs by.

    It does not subtract the best by itself: with returns as they are, all weights are 0 and the plan is NaN.
    """

    def forward(self, data: TensorDict) -> TensorDict:
        rewards = data["next", "reward"]
        returns = rewards.sum(-2, keepdim=True)
        return data.set("advantage", (returns - returns.amax(-3, keepdim=True)).expand(rewards.shape))


class TorchRL(Contender):
    """A planner of torchrl 0.14.1; it knows no warm start, and returns one action, so the plan is read from its container."""

    def __init__(self, module: Any, setting: Setting, horizon: int) -> None:
        self._module, self._setting, self._horizon = module, setting, horizon
        self._dynamics, self._planner = Dynamics(), None

    @torch.inference_mode()
    def plan(self, problem: Problem, memory: None = None) -> tuple[Tensor, None]:
        steps = self._dynamics.steps = Steps(problem, self._horizon)
        self._planner = self._planner or self._made(Imagined(self._dynamics, steps))
        data = TensorDict({"state": steps.start, "goal": steps.goal}, [len(problem)])
        self._module.TensorDict = self._kept
        try:
            self._planner(data)
        finally:
            self._module.TensorDict = TensorDict
        return self._container["stats", "_action_means"][:, 0], memory

    def _kept(self, content: dict[str, Any], batch_size: Any) -> TensorDict:
        self._container = TensorDict(content, batch_size)
        return self._container

    def _made(self, env: Imagined) -> Any:
        setting, budget = self._setting, (self._horizon, self._setting.iterations, self._setting.samples, self._setting.elites)
        if self._module is torchrl_cem:
            return torchrl_cem.CEMPlanner(env, *budget)
        return torchrl_mppi.MPPIPlanner(env, Return(), 1 / (setting.temperature or 1.0), *budget)


def rl_cem(setting: Setting, horizon: int) -> TorchRL:
    return TorchRL(torchrl_cem, setting, horizon)


def rl_mppi(setting: Setting, horizon: int) -> TorchRL:
    return TorchRL(torchrl_mppi, setting, horizon)


RAW_HEATS = (0.1, 0.5)
"""Temperatures for costs as they are; on Ball, the samples' standard deviation is about 1."""
COLD_RAW, WARM_RAW = weighing(SOME, (1.0, 2.0), RAW_HEATS), weighing(FEW, (0.3, 0.6), RAW_HEATS)
BY_SHARE = [Setting(n, i, None, elite_share=share) for n, i in BUDGETS for share in (10, 20)]
BY_SHARE_AND_HEAT = [Setting(n, i, None, heat, elite_share=share) for n, i in SOME for heat in RAW_HEATS for share in (10, 20)]

FOREIGN = (
    Kind("stable-worldmodel CEM", swm_cem, COLD_FITS, WARM_FITS, note="default 300 x 30, std 1, one problem at a time"),
    Kind("stable-worldmodel iCEM", swm_icem, COLD_FITS, WARM_FITS, note="default 300 x 30, std 1"),
    Kind("stable-worldmodel MPPI", swm_mppi, COLD_RAW, WARM_RAW, note="default 300 x 30, std 1, temperature 0.5"),
    Kind("stable-worldmodel gradient", swm_gradient, COLD_DESCENTS, WARM_DESCENTS, note="with Adam; default SGD of rate 1"),
    Kind("stable-worldmodel predictive sampling", swm_predictive, COLD_SHOTS, WARM_SHOTS, note="default 300, std 1"),
    Kind("pytorch-mppi MPPI", PytorchMPPI, COLD_RAW, WARM_RAW, note="default 100 x 1, temperature 1"),
    Kind(
        "pytorch-icem iCEM",
        PytorchICEM,
        COLD_FITS,
        WARM_FITS,
        note="default 100 x 100, std 1; its check of sigma worked around",
    ),
    Kind("torchrl CEM", rl_cem, BY_SHARE, (), note="std 1 always, no warm start"),
    Kind("torchrl MPPI", rl_mppi, BY_SHARE_AND_HEAT, (), note="std 1 always, no warm start"),
    Kind("mbrl-lib CEM", mbrl_cem, fitted(BUDGETS, (0.5, 1.0)), fitted(LATER, (0.5, 1.0)), note="std 0.5 truncated, 1 clipped"),
    Kind("mbrl-lib iCEM", mbrl_icem, COLD_FITS, WARM_FITS, note="initial variance set from outside"),
    Kind("mbrl-lib MPPI", mbrl_mppi, COLD_RAW, WARM_RAW, note="its noise ignores the standard deviation"),
)
