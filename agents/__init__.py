"""What acts in an environment, one per file."""

from imagoal.agents._types import Agent, Decision, Pace, Planning

__all__ = ["Agent", "Decision", "Pace", "Planning"]
