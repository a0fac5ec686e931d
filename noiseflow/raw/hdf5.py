"""Mosaics in HDF5 files."""

from pathlib import Path

import h5py
import numpy as np

from noiseflow.errors import RawError
from noiseflow.raw.decoding import decoding
from noiseflow.raw.fields import FIELDS, said_by
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import MAX_PIXELS, check_size
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "plain_dataset", "read", "recognises"]

SUFFIXES = frozenset((".h5", ".hdf5"))

STORE_MARKS = ("schema", "finished")
"""Attributes of a patch store, which is no raw file."""


def recognises(path: Path) -> bool:
    """Whether a file is HDF5, and no patch store."""
    try:
        with h5py.File(path, "r") as file:
            return not any(mark in file.attrs for mark in STORE_MARKS)
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read the dataset ``mosaic``, or the only one with two dimensions.

    Attributes ``cfa``, ``black``, ``white``, ``iso``, ``exposure_s``, ``make`` and ``model``,
    of the dataset or else of the file, say the rest.

    Raises
    ------
    RawError
        The file is damaged, or holds no such dataset.
    """
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        flat = [name for name in file if isinstance(file.get(name), h5py.Dataset) and file[name].ndim == 2]
        name = "mosaic" if "mosaic" in flat else flat[0] if len(flat) == 1 else None
        if name is None:
            raise RawError(f"{path}: expected one 2-D dataset, or one named 'mosaic'; got {', '.join(flat) or 'none'}")
        data = plain_dataset(path, file[name])
        values = {key: place[key] for place in (file.attrs, data.attrs) for key in FIELDS if key in place}
        pixels = np.asarray(data[()])
    return settings.image(pixels, str(path), **said_by(values, str(path)))


def plain_dataset(path: Path, data: h5py.Dataset) -> h5py.Dataset:
    """The dataset, once nothing about it takes more memory than its pixels or reads other files."""
    check_size(path, *data.shape[-2:])
    if data.size > MAX_PIXELS:
        raise RawError(f"{path}: {data.name} claims {data.size:,} values; expected at most {MAX_PIXELS:,}")
    if data.dtype.kind not in "uif":
        raise RawError(f"{path}: {data.name} holds values of type {data.dtype}; expected integers or floats")
    if data.is_virtual or data.external:
        raise RawError(f"{path}: {data.name} keeps its values in other files; expected them in this one")
    if data.chunks and np.prod(data.chunks, dtype=np.float64) > 2 * max(data.size, 1 << 20):
        raise RawError(f"{path}: {data.name} claims chunks of {data.chunks}, larger than itself")
    return data
