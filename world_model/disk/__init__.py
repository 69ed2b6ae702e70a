"""Folders of tensors and settings, run folders with checkpoints, and entries as JSON."""

from imagoal.world_model.disk._config import check_trust, describe, restore
from imagoal.world_model.disk._folder import Folder, put_tensors, read_folder, understood, write_folder
from imagoal.world_model.disk._run import Run, open_run

__all__ = [
    "Folder", "Run", "check_trust", "describe", "open_run", "put_tensors", "read_folder", "restore", "understood",
    "write_folder",
]  # fmt: skip
