"""Lists of tasks: frozen ones, new ones, and goals out of recorded episodes."""

from imagoal.eval.tasks._from_data import draw_from_data
from imagoal.eval.tasks._lists import (
    SAMPLER,
    TaskList,
    choose_tasks,
    draw_tasks,
    freeze_tasks,
    frozen_tasks,
    is_trivial,
    load_tasks,
)
from imagoal.eval.tasks._protocol import HOLD_STEPS, Protocol, house_protocol

__all__ = [
    "HOLD_STEPS", "SAMPLER", "Protocol", "TaskList", "choose_tasks", "draw_from_data", "draw_tasks", "freeze_tasks",
    "frozen_tasks", "house_protocol", "is_trivial", "load_tasks",
]  # fmt: skip
