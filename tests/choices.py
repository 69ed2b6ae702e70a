"""Agents as tests ask for them: any field of a choice by its name."""

from dataclasses import fields
from typing import Any

from imagoal.agents import Pace
from imagoal.eval.episodes import AgentChoice, CostChoice, ModelChoice


def choice(agent: str = "mpc", world_model: str = "simulator", **settings: Any) -> AgentChoice:
    """The choice with these settings, each in the group that has a field of that name."""
    settings["world_model"] = world_model
    groups = {"model": ModelChoice, "cost": CostChoice, "pace": Pace}
    names = {group: {field.name for field in fields(cls)} & set(settings) for group, cls in groups.items()}
    parts = {group: cls(**{name: settings.pop(name) for name in names[group]}) for group, cls in groups.items()}
    return AgentChoice(agent, **parts, **settings)
