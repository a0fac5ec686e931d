"""Mosaics in NPY and NPZ files."""

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.decoding import decoding
from noiseflow.raw.fields import FIELDS, said_by
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset((".npy", ".npz"))

MAX_FIELD_BYTES = 10_000


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a 2-D array; of an NPZ file the one named ``mosaic``, or the only one with two dimensions.

    An NPZ file may say ``cfa``, ``black``, ``white``, ``iso``, ``exposure_s``, ``make`` and
    ``model`` in arrays of those names.  Pickled objects are refused.

    Raises
    ------
    RawError
        The file is damaged, or holds no such array.
    """
    with decoding(path, "a NumPy file"):
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return settings.image(_array(path, file), str(path))
        with zipfile.ZipFile(path) as archive:
            members = {Path(info.filename).stem: info for info in archive.infolist()}
            values: dict[str, Any] = {}
            for name in FIELDS & members.keys():
                if members[name].file_size <= MAX_FIELD_BYTES:
                    with archive.open(members[name]) as member:
                        values[name] = np.lib.format.read_array(member, allow_pickle=False)
            name = _mosaic(path, archive, {k: v for k, v in members.items() if k not in FIELDS})
            with archive.open(members[name]) as member:
                pixels = _array(path, member)
    return settings.image(pixels, str(path), **said_by(values, str(path)))


def _mosaic(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str:
    if "mosaic" in members:
        return "mosaic"
    flat = []
    for name, info in members.items():
        with archive.open(info) as member:
            if len(_header(path, member)[0]) == 2:
                flat.append(name)
    if len(flat) != 1:
        raise RawError(f"{path}: expected one 2-D array, or one named 'mosaic'; got {', '.join(flat) or 'none'}")
    return flat[0]


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise RawError(f"{path}: holds pickled objects, which are never loaded; expected numbers")
    return shape, dtype


def _array(path: Path, file: IO[bytes]) -> NDArray[Any]:
    shape, dtype = _header(path, file)
    if len(shape) != 2:
        raise RawError(f"{path}: holds an array of shape {shape}; expected one mosaic of shape (H, W)")
    if dtype.itemsize > 8 or dtype.kind not in "uif":
        raise RawError(f"{path}: holds values of type {dtype}; expected integers or floats")
    check_size(path, *shape)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
