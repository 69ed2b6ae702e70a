"""Arrays out of an `.npz` that may be damaged or hostile: nothing is executed, nothing is allocated before its header fits."""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imagoal.errors import DataError

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name of each array -> numpy's dtype string and shape, e.g. `{"frames": ("|u1", (41, 64, 64, 3))}`."""


def size_of(layout: Layout) -> int:
    """Bytes of all the arrays, uncompressed."""
    return sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in layout.values())


def decode(data: bytes, layout: Layout, label: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an `.npz` in memory, which must hold exactly those of the layout.

    Raises:
        DataError: no zip, a failed checksum, other members, other dtypes or shapes; the message begins with `label`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wanted = [f"{name}.npy" for name in layout]
            if sorted(archive.namelist()) != sorted(wanted):
                raise ValueError(f"holds {archive.namelist()[:4]}, expected {wanted}")
            return {name: _member(archive, name, kind, shape) for name, (kind, shape) in layout.items()}
    except Exception as error:  # whatever a hostile file makes the parsers raise
        raise DataError(f"{label}: {error or type(error).__name__}; restore the file from a copy, or collect anew") from error


def _member(archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # later ones allow headers of gigabytes
            raise ValueError(f"{name} is in npy format {version}, expected (1, 0)")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if (dtype.str, found, fortran) != (kind, shape, False):
            raise ValueError(f"{name} is {_described(dtype.str, found)}, expected {_described(kind, shape)}")
        size = size_of({name: (kind, shape)})
        data = bytearray(file.read(size + 1))  # reading on to the end also compares the checksum
    if len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes or more, expected {size}")
    return np.frombuffer(data, dtype).reshape(shape)


def _described(kind: str, shape: tuple[int, ...]) -> str:
    dtype = np.dtype(kind)
    gigabytes = dtype.itemsize * math.prod(shape) // 10**9
    return f"{dtype.name} {shape}" + (f" ({gigabytes:,} GB)" if gigabytes else "")
