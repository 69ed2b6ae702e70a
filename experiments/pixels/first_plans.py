"""First plans: how long they take, and how good they are when the true simulator carries them out to their end.

A plan's *true cost* is the mean distance from the goal over the next env steps, the same number for all; after a plan's end
nothing is done.
"""

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from imagoal import flags
from imagoal.agents import Agent
from imagoal.agents.mpc import MPC
from imagoal.commands.eval import Eval
from imagoal.envs import GoalEnv, env_id, short_name
from imagoal.eval.episodes import AgentChoice, BuiltAgent, build
from imagoal.eval.tasks import TaskList
from imagoal.world_model import Observation, WorldModel, to_tensor

AHEAD = {"Ball": 8, "Push": 14}
"""Env steps over which a plan is judged."""
COSTS = {"Ball": "", "Push": " --cost latent --readouts Push-latent"}
"""Where what pixel models imagine is compared, if not between frames."""
MODELS: dict[tuple[str, int | None, str], WorldModel] = {}
"""Those that were built, by name, denoising steps and precision: each is compiled once."""


@dataclass(frozen=True)
class Trial:
    """A setting, what its plans took and how good they were.

    Attributes:
        milliseconds: of each plan.
        costs: true, of each plan, in centimetres.
    """

    milliseconds: list[float]
    costs: list[float]

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def cost(self) -> float:
        """Centimetres."""
        return statistics.mean(self.costs)


def tried(env: GoalEnv, tasks: TaskList, words: str) -> Trial:
    """Every task's first plan, carried out to its end."""
    agent = agent_from(env, tasks, words)
    milliseconds, costs = [], []
    for index in range(len(tasks)):
        seen = begin(env, agent, tasks, index)
        began = time.thread_time()
        actions = plan(env, agent, seen)
        milliseconds.append(1000 * (time.thread_time() - began))
        costs.append(100 * true_cost(env, tasks, index, actions))
    return Trial(milliseconds, costs)


def agent_from(env: GoalEnv, tasks: TaskList, words: str) -> MPC:
    """What flags build, around the world model that was compiled before, if it was; else it is compiled now, by a plan."""
    request = asked(env, words)
    built = build(request, env)
    assert built.planning
    key = request.model.world_model, request.model.denoising_steps, request.model.precision
    new = key not in MODELS
    agent = MPC(env, replace(built.planning, model=MODELS.setdefault(key, built.planning.model)))
    if new:
        first_plan(env, agent, tasks, 0)
    return agent


def asked(env: GoalEnv, words: str) -> AgentChoice:
    """What flags of `imagoal eval` ask for."""
    return flags.parse(Eval, ["--env", env_id(env), *words.split()], "imagoal eval").choice()


def built_from(env: GoalEnv, words: str) -> BuiltAgent:
    """What they build."""
    return build(asked(env, words), env)


def first_plan(env: GoalEnv, agent: Agent, tasks: TaskList, index: int) -> torch.Tensor:
    """Env actions (L, A) of the first plan."""
    return plan(env, agent, begin(env, agent, tasks, index))


def begin(env: GoalEnv, agent: Agent, tasks: TaskList, index: int) -> Observation:
    """Tell an agent the goal; what it sees at the start."""
    task = tasks.task(index)
    agent.reset(Observation(to_tensor(task.goal_image[None])), [int(tasks.seeds[index])])
    return Observation(to_tensor(env.render_states(task.start[None])))


def plan(env: GoalEnv, agent: Agent, seen: Observation) -> torch.Tensor:
    """Env actions (L, A) that an agent plans for what it sees."""
    made = agent.act(seen).plan
    assert made is not None
    return made.actions[0].reshape(-1, (env.action_space.shape or (1,))[0])


def true_cost(env: GoalEnv, tasks: TaskList, index: int, actions: torch.Tensor) -> float:
    """Mean distance in metres from the goal over the next steps; after a plan's end nothing is done."""
    steps = AHEAD[short(env)]
    ahead = np.zeros((steps, actions.shape[1]))
    ahead[: len(actions)] = actions[:steps].double().numpy()
    states = env.simulate(tasks.starts[index][None], ahead[None])[0]
    return float(env.task_distance(states, np.broadcast_to(tasks.goals[index], states.shape)).mean())


def idle_costs(env: GoalEnv, tasks: TaskList) -> list[float]:
    """Centimetres, of each task, where nothing is done."""
    nothing = torch.zeros(0, (env.action_space.shape or (1,))[0])
    return [100 * true_cost(env, tasks, index, nothing) for index in range(len(tasks))]


def interval(costs: list[float]) -> list[float]:
    """Mean, and its 95 % interval over tasks by the bootstrap."""
    draws = np.random.default_rng(0).choice(costs, (2000, len(costs))).mean(1)
    return [float(np.mean(costs)), *np.percentile(draws, [2.5, 97.5]).tolist()]


def short(env: GoalEnv) -> str:
    """Name of an env."""
    return short_name(env_id(env))
