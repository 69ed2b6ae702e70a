"""Building an agent, running it on tasks, and the result with its intervals, shards and replays."""

from imagoal.eval.episodes._build import build, make_agent
from imagoal.eval.episodes._built import BuiltAgent
from imagoal.eval.episodes._choices import AgentChoice, CostChoice, DistanceName, ModelChoice
from imagoal.eval.episodes._distances import default_distance, distance, weighted
from imagoal.eval.episodes._evaluate import RowSetting, evaluate, peak_mb
from imagoal.eval.episodes._on_policy import on_policy
from imagoal.eval.episodes._paired import Interval, paired_difference
from imagoal.eval.episodes._presets import Preset, preset
from imagoal.eval.episodes._replay import replay
from imagoal.eval.episodes._result import ROLES, SCHEMA, hardware, load_result, provenance, row_subject, write_table
from imagoal.eval.episodes._run import EpisodeResult, Moment, run_tasks
from imagoal.eval.episodes._shard import Shard, described_shard, merge
from imagoal.eval.episodes._summary import Times, latency, percentiles, rate, shares, wilson
from imagoal.eval.episodes._table import budget, env_name, percent, share, table

__all__ = [
    "ROLES", "SCHEMA", "AgentChoice", "BuiltAgent", "CostChoice", "DistanceName", "EpisodeResult", "Interval",
    "ModelChoice", "Moment", "Preset", "RowSetting", "Shard", "Times", "budget", "build", "default_distance",
    "described_shard", "distance", "env_name", "evaluate", "hardware", "latency", "load_result", "make_agent", "merge",
    "on_policy", "paired_difference", "peak_mb", "percent", "percentiles", "preset", "provenance", "rate", "replay",
    "row_subject", "run_tasks", "share", "shares", "table", "weighted", "wilson", "write_table",
]  # fmt: skip
