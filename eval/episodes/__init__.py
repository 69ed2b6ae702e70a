"""Building an agent, running it on tasks, and the result with its intervals, shards and replays."""

from imagoal.eval.episodes._build import Built, DistanceName, Request, build, default_distance, distance, weighted
from imagoal.eval.episodes._evaluate import evaluate, peak_mb
from imagoal.eval.episodes._on_policy import on_policy
from imagoal.eval.episodes._paired import Interval, paired_difference
from imagoal.eval.episodes._replay import replay
from imagoal.eval.episodes._result import ROLES, SCHEMA, hardware, load_result, provenance, row_subject, write_table
from imagoal.eval.episodes._run import EpisodeResult, Moment, run_tasks
from imagoal.eval.episodes._shard import Shard, described_shard, merge
from imagoal.eval.episodes._summary import Times, latency, percentiles, rate, shares, wilson
from imagoal.eval.episodes._table import budget, env_name, percent, share, table

__all__ = [
    "ROLES", "SCHEMA", "Built", "DistanceName", "EpisodeResult", "Interval", "Moment", "Request", "Shard", "Times",
    "budget", "build", "default_distance", "described_shard", "distance", "env_name", "evaluate", "hardware", "latency",
    "load_result", "merge", "on_policy", "paired_difference", "peak_mb", "percent", "percentiles", "provenance", "rate",
    "replay", "row_subject", "run_tasks", "share", "shares", "table", "weighted", "wilson", "write_table",
]  # fmt: skip
