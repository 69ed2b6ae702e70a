"""Plans under the clock: time by phase, counts, budgets, and what the machine can do."""

from imagoal.eval.latency._bench import bench
from imagoal.eval.latency._budget import Budgets
from imagoal.eval.latency._counts import Recorder, count
from imagoal.eval.latency._figure import budget_figure
from imagoal.eval.latency._loop import Timing, bench_subject
from imagoal.eval.latency._machine import count_cpus
from imagoal.eval.latency._text import bench_text
from imagoal.eval.latency._turns import in_turn, ratio, take_turns

__all__ = [
    "Budgets", "Recorder", "Timing", "bench", "bench_subject", "bench_text", "budget_figure", "count", "count_cpus",
    "in_turn", "ratio", "take_turns",
]  # fmt: skip
