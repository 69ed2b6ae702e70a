"""Planners, one per file, and the cost that they minimise."""

from imagoal.planning._goal_cost import GoalCost, Over
from imagoal.planning._types import Plan
from imagoal.planning.cem import CEM
from imagoal.planning.mppi import MPPI
from imagoal.planning.random_shooting import RandomShooting

__all__ = ["CEM", "MPPI", "GoalCost", "Over", "Plan", "RandomShooting"]
