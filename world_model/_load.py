"""World models by name, of whatever kind that can be saved."""

from pathlib import Path

from imagoal import files
from imagoal.errors import ImagoalError
from imagoal.world_model import _map_folder, _model
from imagoal.world_model._map_folder import MapFolder
from imagoal.world_model._model import LatentFolder

WorldModelFolder = LatentFolder | MapFolder


def load(name: str | Path, trust: bool = False) -> WorldModelFolder:
    """Read a world-model folder, a run folder, or a shipped world model such as `Ball-latent`.

    Args:
        name: path, or name of a shipped one.
        trust: import what the folder names outside this package.

    Raises:
        DataError: a part is missing, damaged or foreign.
    """
    return _map_folder.load(name, trust) if _kind(_model.locate(name)) in _map_folder.KINDS else _model.load(name, trust)


def _kind(path: Path) -> object:
    """Of a folder, not verified; None if it does not say."""
    try:
        config = files.read_json(path / "config.json")
    except (ImagoalError, OSError):
        return None
    return config.get("kind") if isinstance(config, dict) else None
