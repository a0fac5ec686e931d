"""Read mosaics from HDF5 files, one or a stack, and the normalised planes that noiseflow writes to such files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.marks import MARK
from noiseflow.core.reading.hdf5 import check_texts
from noiseflow.core.text import counted
from noiseflow.raw.fields import FIELDS, said_by
from noiseflow.raw.formats.planes import mosaic_image
from noiseflow.raw.guards import MAX_PIXELS, check_size, decoding, refuse_planes_last
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.stacks import SAMPLED, stack_words

if TYPE_CHECKING:
    import h5py

__all__ = ["SUFFIXES", "count", "plain_dataset", "read", "recognises"]

SUFFIXES = frozenset((".h5", ".hdf5"))

STORE_MARKS = ("schema", "finished")
"""Attributes that mark a patch store, which is not a raw file."""


def recognises(path: Path) -> bool:
    """Whether a file is HDF5 and not a patch store."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return not any(mark in file.attrs for mark in STORE_MARKS)
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


def count(path: Path) -> int:
    """Number of frames in a file: the length of the first of three axes, otherwise 1."""
    import h5py

    with decoding(path, "an HDF5 file"):
        check_texts(path)
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        if _is_ours(file):
            return 1
        data = _mosaic(path, file)
        return int(data.shape[0]) if data.ndim == 3 else 1


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read one frame of an HDF5 file.

    The pixels are the dataset ``mosaic``, or the only dataset of shape (H, W) or (frames, H, W).
    In files that noiseflow wrote they are the planes (C, h, w) in the dataset ``signal``.  Levels and
    metadata come from the attributes ``cfa``, ``black``, ``white``, ``iso``, ``gain_db``, ``exposure_s``,
    ``make`` and ``model`` of the dataset, or else of the file.

    Parameters
    ----------
    path : Path
        The HDF5 file.
    settings : RawSettings
        The user's settings; they override the attributes.
    frame : int
        Index of the frame, from 0.

    Raises
    ------
    RawError
        If the file is damaged, or lacks such a dataset or the frame.
    """
    import h5py

    with decoding(path, "an HDF5 file"):
        check_texts(path)
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        data = plain_dataset(path, _mosaic(path, file))
        if _is_ours(file):
            return mosaic_image(path, _planes(path, data), _facts(path, data), settings)
        frames = int(data.shape[0]) if data.ndim == 3 else 1
        if not 0 <= frame < frames:
            raise RawError(f"{path}: contains {counted(frames, 'frame')}, numbered from 0; there is no frame {frame}")
        values = {key: place[key] for place in (file.attrs, data.attrs) for key in FIELDS if key in place}
        pixels = np.asarray(data[()] if data.ndim == 2 else data[frame])
        block = data[:SAMPLED, :SAMPLED, :SAMPLED] if data.ndim == 3 and not frame else pixels
        words = () if frame else tuple(stack_words(path, data.shape, block))
    said = {"cautions": words, **said_by(values, str(path))}
    return settings.image(pixels, str(path) if frames == 1 else f"{path}[{frame}]", **said)


def _mosaic(path: Path, file: "h5py.File") -> "h5py.Dataset":
    import h5py

    flat: list[str] = []

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (2, 3):
            flat.append(name)

    # Visits groups too, and each dataset once even if several links lead to it.
    file.visititems(note)
    named = [name for name in flat if name.rpartition("/")[2] == "mosaic"]
    alone = [each[0] for each in (named, flat) if len(each) == 1]
    name = "mosaic" if "mosaic" in flat else next(iter(alone), None)
    if name is None:
        raise RawError(f"{path}: expected one 2-D dataset, or one named 'mosaic'; got {', '.join(flat) or 'none'}")
    if not _is_ours(file):
        refuse_planes_last(path, file[name].shape)
    return file[name]


def _is_ours(file: "h5py.File") -> bool:
    """Whether a file contains planes that noiseflow wrote."""
    return file.attrs.get("made_by") == MARK and "signal" in file


def _planes(path: Path, data: "h5py.Dataset") -> NDArray[Any]:
    if data.ndim != 3 or data.dtype.kind != "f":
        raise RawError(
            f"{path}: {data.name} is {data.dtype} of shape {data.shape}; expected planes of floats, (C, h, w)"
        )
    return np.asarray(data[()])


def _facts(path: Path, data: "h5py.Dataset") -> dict[str, Any]:
    """Fields from the attributes, without those that are NaN."""
    known = said_by({key: data.attrs[key] for key in FIELDS if key in data.attrs}, str(path))
    if "camera" in data.attrs:
        known["camera"] = str(data.attrs["camera"])
    return {name: value for name, value in known.items() if value == value}


def plain_dataset(path: Path, data: "h5py.Dataset") -> "h5py.Dataset":
    """Return a dataset after checking that reading it is safe.

    Parameters
    ----------
    path : Path
        The file, for messages.
    data : h5py.Dataset
        The dataset; its values are not read.

    Raises
    ------
    RawError
        If the dataset is too large, is not numeric, refers to other files, or has chunks far larger than itself.
    """
    check_size(path, *data.shape[-2:])
    if data.size > MAX_PIXELS:
        raise RawError(f"{path}: {data.name} claims {data.size:,} values; expected at most {MAX_PIXELS:,}")
    if data.dtype.kind not in "uif":
        raise RawError(f"{path}: {data.name} contains values of type {data.dtype}; expected integers or floats")
    if data.is_virtual or data.external:
        raise RawError(f"{path}: {data.name} stores its values in other files; expected them in this one")
    if data.chunks and np.prod(data.chunks, dtype=np.float64) > 2 * max(data.size, 1 << 20):
        raise RawError(
            f"{path}: {data.name} has chunks of {data.chunks}, far larger than the dataset; rewrite it with "
            "smaller chunks (h5repack)"
        )
    return data
