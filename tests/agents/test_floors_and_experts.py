"""The agents that need no world model."""

import numpy as np
import pytest
import torch

from imagoal import find
from imagoal.agents.no_op import NoOp
from imagoal.agents.random_actions import RandomActions
from imagoal.agents.scripted import Scripted
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.eval.episodes import run_tasks
from imagoal.eval.tasks import frozen_tasks
from imagoal.world_model import Observation

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")


def blank(count: int) -> Observation:
    return Observation(torch.zeros(count, 3, 64, 64, dtype=torch.uint8))


def test_doing_nothing_is_zeros() -> None:
    agent = NoOp(ENV)
    agent.reset(blank(3), [0, 1, 2])
    assert torch.equal(agent.act(blank(3)).actions, torch.zeros(3, 2))


def test_random_actions_are_uniform_and_follow_each_episode_s_seed() -> None:
    agent = RandomActions(ENV)
    agent.reset(blank(2), [7, 8])
    both = torch.stack([agent.act(blank(2)).actions for _ in range(1000)])
    agent.reset(blank(1), [8])
    alone = torch.stack([agent.act(blank(1)).actions for _ in range(1000)])
    assert torch.equal(both[:, 1], alone[:, 0])
    assert not torch.equal(both[:, 0], both[:, 1])
    assert both.abs().max() <= 1
    assert both.mean() == pytest.approx(0, abs=0.05)
    assert both.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)


@pytest.mark.parametrize("env", ["ball", "ball_gravity"])
def test_the_expert_holds_the_goal_and_the_floors_do_not(env: str) -> None:
    world = make(env)
    tasks = frozen_tasks(world, "dev")

    def held(name: str) -> int:
        agent = find.find("agent", name)(world, None)
        return sum(episode.hold for episode in run_tasks(lambda: make(env), agent, tasks, range(20), world.max_episode_steps))

    assert held("scripted") == 20
    assert held("no_op") <= 1
    assert held("random_actions") <= 1


def test_only_the_expert_sees_the_state() -> None:
    assert Scripted.privileged
    assert not NoOp.privileged
    assert not RandomActions.privileged


def test_an_expert_that_sees_no_state_says_so() -> None:
    agent = Scripted(ENV)
    with pytest.raises(UsageError, match="needs the goal's state"):
        agent.reset(blank(1), [0])
    agent.reset(Observation(blank(1).frame, torch.from_numpy(TASKS.goals[:1])), [0])
    with pytest.raises(UsageError, match="needs the true state"):
        agent.act(blank(1))


@pytest.mark.parametrize("name", list(find.entries("agent")))
def test_every_agent_says_whether_it_is_privileged_and_what_it_is(name: str) -> None:
    entry = find.entries("agent")[name]
    assert entry.summary
    assert callable(entry.load())


@pytest.mark.parametrize(("name", "shown"), [("straight", slice(0, 2)), ("mimic", slice(2, 4))])
def test_rules_drive_the_finger_to_the_puck_or_to_its_place_in_the_goal(name: str, shown: slice) -> None:
    push = make("push")
    tasks = frozen_tasks(push, "dev")
    agent = find.find("agent", name)(push, None)
    states, goals = tasks.starts[:8], tasks.goals[:8]
    target = push.visible(states if name == "straight" else goals)[:, shown]
    agent.reset(Observation(blank(8).frame, torch.from_numpy(goals)), range(8))
    before = push.visible(states)[:, 2:]
    after = push.visible(push.advance(states, agent.act(Observation(blank(8).frame, torch.from_numpy(states))).actions.numpy()))
    nearer = np.linalg.norm(before - target, axis=1) - np.linalg.norm(after[:, 2:] - target, axis=1)
    assert nearer.min() > 0
    assert nearer.mean() > 0.03
    with pytest.raises(UsageError, match="privileged"):
        agent.act(blank(8))
