"""World models by name, of whatever kind that can be saved."""

from pathlib import Path

from imagoal import files
from imagoal.errors import ImagoalError
from imagoal.world_model.models._latent_folder import LatentFolder, load_latent, locate
from imagoal.world_model.models._map_folder import MAP_KINDS, MapFolder, load_maps

WorldModelFolder = LatentFolder | MapFolder


def load(name: str | Path, trust: bool = False) -> WorldModelFolder:
    """Read a world-model folder, a run folder, or a shipped world model such as `Ball-latent`.

    Args:
        name: path, or name of a shipped one.
        trust: import what the folder names outside this package.

    Raises:
        DataError: a part is missing, damaged or foreign.
    """
    return load_maps(name, trust) if _kind(locate(name)) in MAP_KINDS else load_latent(name, trust)


def _kind(path: Path) -> object:
    """Of a folder, not verified; None if it does not say."""
    try:
        config = files.read_json(path / "config.json")
    except (ImagoalError, OSError):
        return None
    return config.get("kind") if isinstance(config, dict) else None
