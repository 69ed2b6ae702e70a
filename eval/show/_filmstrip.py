"""A moving picture for a page: itself, and a strip of its frames for those who look at paper."""

import base64
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imagoal.errors import DataError

FRAMES = 8


@dataclass(frozen=True)
class Filmstrip:
    """A moving picture and some of its frames, as `data:` addresses.

    Attributes:
        name: of its file.
        moving: the whole picture.
        frames: number and picture of each.
    """

    name: str
    moving: str
    frames: list[tuple[int, str]]


def read_filmstrip(path: Path, count: int = FRAMES) -> Filmstrip:
    """Read a `.webp` or `.gif`.

    Raises:
        DataError: the file is missing, damaged or foreign.
    """
    try:
        content = path.read_bytes()
        with Image.open(path, formats=("WEBP", "GIF")) as film:
            frames = [_frame(film, number) for number in range(getattr(film, "n_frames", 1))]
            kind = str(film.format).lower()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no moving picture ({error}); expected a .webp or .gif, as from `imagoal plan`") from error
    chosen = evenly(frames, count)
    return Filmstrip(path.name, _address(f"image/{kind}", content), [(number, _png(frames[number])) for number in chosen])


def evenly(frames: list[Image.Image], count: int) -> list[int]:
    """Up to `count` frames, evenly spaced in what changes: most of an episode may be rest."""
    arrays = [np.asarray(frame.convert("RGB").reduce(2), float) for frame in frames]
    changes = [float(np.abs(after - before).mean()) for before, after in itertools.pairwise(arrays)]
    way = np.concatenate([[0.0], np.cumsum(changes)])
    return sorted({int(np.abs(way - place).argmin()) for place in np.linspace(0, way[-1], count)})


def _frame(film: Image.Image, number: int) -> Image.Image:
    film.seek(number)
    return film.convert("RGB")


def _png(frame: Image.Image) -> str:
    content = io.BytesIO()
    frame.save(content, "PNG", optimize=True)
    return _address("image/png", content.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
