"""A run folder: what was asked, what happened, and checkpoints from which the same bits continue."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagoal import files
from imagoal.errors import DataError, UsageError
from imagoal.version import __version__
from imagoal.world_model.disk._folder import put_tensors, read_folder, remove_folder, understood, write_folder

SCHEMA = "imagoal.checkpoint/1"

KEEP = 2
"""Checkpoints that are kept."""


@dataclass(frozen=True)
class Run:
    """A run folder that this process holds: `run.json`, `metrics.jsonl`, `latest`, `checkpoints/`."""

    path: Path

    @property
    def done(self) -> bool:
        """Whether the run has come to its end."""
        return bool(files.read_json(self.path / "run.json").get("status") == "done")

    def finish(self, **results: object) -> None:
        """Mark the run as done, with what came of it."""
        record = files.read_json(self.path / "run.json")
        files.write_json(self.path / "run.json", record | {"status": "done", "results": results})

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line to `metrics.jsonl`."""
        files.append_line(self.path / "metrics.jsonl", {"step": step, **numbers})

    def metrics(self) -> list[dict[str, float]]:
        """All lines logged so far."""
        return files.read_lines(self.path / "metrics.jsonl")

    def clock(self, step: int, seconds: float) -> None:
        """Append one line to `clock.jsonl`: processor seconds spent on learning; apart, since all else can be repeated."""
        files.append_line(self.path / "clock.jsonl", {"step": step, "cpu_s": round(seconds, 1)})

    def spent(self, step: int) -> float:
        """Processor seconds spent on what was learned before a step, so far as they are known."""
        return max((line["cpu_s"] for line in files.read_lines(self.path / "clock.jsonl") if line["step"] < step), default=0.0)

    def save(self, step: int, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint: network, optimiser and step; all other randomness follows from seed and step."""
        tensors = {"model": module.state_dict(), "optimizer": _flatten(optimizer)}
        folder = self.path / "checkpoints" / f"step-{step:06d}"
        write_folder(folder, {"schema": SCHEMA, "step": step}, tensors)
        files.write_text(self.path / "latest", folder.name)
        for old in list(self._checkpoints().values())[:-KEEP]:
            remove_folder(old)

    def resume(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the checkpoint that `latest` names, if any, and return its step; what came after it is forgotten.

        Raises:
            DataError: that checkpoint is missing, damaged, or of another network.
        """
        step = self._restore(module, optimizer) if (self.path / "latest").exists() else 0
        files.write_lines(self.path / "metrics.jsonl", [line for line in self.metrics() if line["step"] < step])
        for later, folder in self._checkpoints().items():
            if later > step:
                remove_folder(folder)
        return step

    def _restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        latest = self.path / "latest"
        path = self.path / "checkpoints" / Path(latest.read_text().strip()).name
        try:
            folder = read_folder(path, SCHEMA)
            with understood(path):
                put_tensors(module, folder.tensors["model"], path)
                _unflatten(optimizer, folder.tensors["optimizer"])
                return int(folder.config["step"])
        except DataError as error:
            raise DataError(f"{error}; or name an older one in {latest}, or delete that file to begin anew") from error

    def _checkpoints(self) -> dict[int, Path]:
        """Checkpoints by step, in order."""
        found = (self.path / "checkpoints").glob("step-*")
        return dict(sorted((int(path.name[5:]), path) for path in found if path.name[5:].isdigit()))


@contextmanager
def open_run(path: Path, command: str, config: Mapping[str, Any], parents: Mapping[str, str]) -> Iterator[Run]:
    """Hold a run folder, new or to be continued.

    Args:
        path: the folder.
        command: the verb.
        config: settings that decide the result.
        parents: hashes of what the run reads, by name.

    Raises:
        DataError: the folder was made with other settings or from other data.
        ResourceError: another process holds it.
    """
    asked = {"command": command, "config": dict(config), "parents": dict(parents), "version": __version__}
    with files.lock(path):
        record = path / "run.json"
        new = not record.exists()
        if new:
            files.write_json(record, {"schema": "imagoal.run/1", "status": "running", **asked})
        else:
            _compare(path, files.read_json(record), asked)
        try:
            yield Run(path)
        except (UsageError, DataError):
            if new and not _begun(path):  # then the same folder is free for the corrected command
                record.unlink()
                (path / "metrics.jsonl").unlink(missing_ok=True)
            raise


def _begun(path: Path) -> bool:
    """Whether a run folder holds more than the record of what was asked."""
    others = [file for file in path.rglob("*") if file.is_file() and file.name not in {"run.json", "LOCK"}]
    return any(file.stat().st_size for file in others)


def _compare(path: Path, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    old, new = _flat(found), _flat(asked)
    keys = [key for key in sorted(old.keys() | new.keys()) if key.partition(".")[0] in asked and old.get(key) != new.get(key)]
    if keys:
        changes = ", ".join(f"{key} {old.get(key)!r} -> {new.get(key)!r}" for key in keys[:5])
        raise DataError(f"{path} was made with other settings ({changes}); use another --run folder, or the same settings")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}.{name}" if prefix else str(name)).items()}


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{key}.{index}": torch.as_tensor(value) for index, group in state.items() for key, value in group.items()}


def _unflatten(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        key, _, index = name.rpartition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
