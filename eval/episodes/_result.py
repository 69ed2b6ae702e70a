"""The result file, `imagoal.result/1`: what was run, how it went, and where it comes from."""

import dataclasses
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from imagoal import files, find
from imagoal.envs import GoalEnv, env_id
from imagoal.errors import DataError
from imagoal.eval.episodes._run import EpisodeResult
from imagoal.eval.tasks import Protocol
from imagoal.version import __version__

SCHEMA = "imagoal.result/1"
SHARD_SCHEMA = "imagoal.shard/1"
"""Of a share of a row, which is no result."""
KINDS = {SCHEMA: "result", SHARD_SCHEMA: "shard"}
ROLES = ("headline", "ceiling", "floor", "baseline", "gap", "ablation")
"""Of a row, in the order of tables."""
PACKAGES = ("torch", "numpy", "scipy", "gymnasium", "mujoco")


def row_subject(protocol: Protocol, env: GoalEnv, role: str, agent: Mapping[str, Any]) -> dict[str, Any]:
    """What a result is about: the same for a row and for each of its shards."""
    described = dataclasses.asdict(protocol) | {"hash": protocol.hash}
    return {"protocol": described, "env": env_id(env), "env_options": dict(env.options), "role": role, "agent": dict(agent)}


def assemble_result(
    about: Mapping[str, Any],
    summary: Mapping[str, Any],
    episodes: Sequence[EpisodeResult],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """A result with its two hashes, from its `subject` and `provenance`."""
    lines = [line_of(episode) for episode in episodes]
    replay = files.hash_of([about["protocol"], about["agent"], lines])
    parts = {"summary": dict(summary), "episodes": lines, "provenance": dict(origin), "replay_hash": replay}
    return sealed({"schema": SCHEMA, **about, **parts})


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the `sha256` of all of it, which `load` checks."""
    return {**content, "sha256": files.hash_of(content)}


def line_of(episode: EpisodeResult) -> dict[str, Any]:
    """An episode as the result file holds it: all but the times, which differ from run to run."""
    line = dataclasses.asdict(episode)
    del line["plans"]
    return line


def load_result(path: Path, schema: str = SCHEMA) -> dict[str, Any]:
    """A result file, checked against its own hash.

    Raises:
        DataError: missing, damaged, edited, or of another schema.
    """
    result = files.read_json(path)
    found = result.get("schema") if isinstance(result, dict) else None
    if found != schema:
        cure = "; a shard becomes part of one by imagoal merge" if found == SHARD_SCHEMA else ""
        raise DataError(f"{path} is no {KINDS[schema]} file; expected schema {schema!r}, found {found!r:.60}{cure}")
    without = {key: value for key, value in result.items() if key != "sha256"}
    if files.hash_of(without) != result.get("sha256"):
        raise DataError(f"{path} does not match its own sha256: it was edited or damaged; run the command in it again")
    return dict(result)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]], config: Mapping[str, Any]) -> None:
    """Write a table that is no row of tasks (curves, errors, gates), `imagoal.table/1`."""
    origin = provenance(config, {}, 0.0)
    table = {
        "schema": "imagoal.table/1",
        "command": origin.pop("command"),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }
    files.write_json(path, table | {"provenance": origin})


def provenance(
    config: Mapping[str, Any], seeds: Mapping[str, int | None], wall_s: float, *, device: str = "cpu", **hashes: str | None
) -> dict[str, Any]:
    """Where a result comes from: command, versions, hardware, commit, hashes of data and weights."""
    commit, dirty = _commit()
    return {
        "command": command(),
        "config": dict(config),
        "seeds": dict(seeds),
        "versions": {"imagoal": __version__, "python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "device": device if device == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "dirty": dirty,
        "data_hash": None,
        "weights_hash": None,
        **hashes,
        "wall_s": round(wall_s, 1),
    }


def hardware() -> str:
    """The processor and the matrix units that decide its speed."""
    name, flags = platform.processor() or platform.machine(), ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        name, flags = fields.get("model name", name), fields.get("flags", "")
    units = [unit for unit in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if unit in flags.split()]
    return f"{name} ({', '.join(units) or 'no wide vector unit known'})"


def command() -> str:
    """The command line that is running, as a user would type it."""
    script, root = Path(sys.argv[0]), find.folder("eval").resolve().parent
    program = ["imagoal"] if script.name in {"imagoal", "__main__.py"} else ["python", str(script)]
    if script.is_absolute() and script.is_relative_to(root / "experiments"):
        program[1:] = ["-m", ".".join(script.relative_to(root).with_suffix("").parts)]
    return shlex.join([*program, *sys.argv[1:]])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _commit() -> tuple[str | None, bool]:
    """The commit that the code is at, and whether files differ from it; an installed copy has none.

    As it is when this process first asks, so that a result which it writes does not make the next one dirty.
    """
    root = find.folder("eval").parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None, True
    return head.stdout.strip(), bool(changed.stdout.strip())
