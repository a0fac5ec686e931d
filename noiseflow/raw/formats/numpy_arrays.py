"""Read mosaics from NPY and NPZ files, one or a stack, and the normalised planes that noiseflow writes to NPY files."""

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.fields import FIELDS, said_by
from noiseflow.raw.formats.planes import facts_of_npy, mosaic_image
from noiseflow.raw.guards import MAX_PIXELS_PER_BYTE, check_size, decoding, refuse_planes_last
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.stacks import SAMPLED, stack_words

__all__ = ["SUFFIXES", "count", "read"]

SUFFIXES = frozenset((".npy", ".npz"))

MAX_FIELD_BYTES = 10_000
"""Largest array in an NPZ file that is read as a metadata field; larger ones are ignored."""


def count(path: Path) -> int:
    """Number of frames in a file: the length of the first of three axes, otherwise 1."""
    with decoding(path, "a NumPy file"):
        if not zipfile.is_zipfile(path):
            if facts_of_npy(path) is not None:
                return 1
            with path.open("rb") as file:
                return _frames(path, _header(path, file)[0])
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            with archive.open(members[_mosaic(path, archive, members)]) as member:
                return _frames(path, _header(path, member)[0])


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read one frame of an NPY or NPZ file.

    The array has the shape (H, W) or (frames, H, W); in NPY files that noiseflow wrote it is the planes
    (C, h, w).  In an NPZ file it is the array named ``mosaic``, or the only one of such a shape, and
    arrays named ``cfa``, ``black``, ``white``, ``iso``, ``gain_db``, ``exposure_s``, ``make`` and ``model``
    give levels and metadata.  Pickled objects are refused.

    Parameters
    ----------
    path : Path
        The NumPy file.
    settings : RawSettings
        The user's settings; they override the file.
    frame : int
        Index of the frame, from 0.

    Raises
    ------
    RawError
        If the file is damaged, or lacks such an array or the frame.
    """
    with decoding(path, "a NumPy file"):
        if not zipfile.is_zipfile(path):
            known = facts_of_npy(path)
            with path.open("rb") as file:
                if known is not None:
                    return mosaic_image(path, _planes(path, file), known, settings)
                pixels, source, words = _array(path, file, frame)
            return settings.image(pixels, source, cautions=words)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            values: dict[str, Any] = {}
            for name in FIELDS & members.keys():
                if members[name].file_size <= MAX_FIELD_BYTES:
                    with archive.open(members[name]) as member:
                        values[name] = np.lib.format.read_array(member, allow_pickle=False)
            with archive.open(members[_mosaic(path, archive, members)]) as member:
                pixels, source, words = _array(path, member, frame)
    return settings.image(pixels, source, **{"cautions": words, **said_by(values, str(path))})


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {Path(info.filename).stem: info for info in archive.infolist()}


def _mosaic(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str:
    if "mosaic" in members:
        return "mosaic"
    flat = []
    for name, info in members.items():
        if name not in FIELDS:
            with archive.open(info) as member:
                if len(_header(path, member)[0]) in (2, 3):
                    flat.append(name)
    if len(flat) != 1:
        raise RawError(f"{path}: expected one 2-D array, or one named 'mosaic'; got {', '.join(flat) or 'none'}")
    return flat[0]


def _frames(path: Path, shape: tuple[int, ...]) -> int:
    refuse_planes_last(path, shape)
    return shape[0] if len(shape) == 3 else 1


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise RawError(f"{path}: contains pickled objects, which are never loaded; expected numbers")
    return shape, dtype


def _planes(path: Path, file: IO[bytes]) -> NDArray[Any]:
    """Read planes (C, h, w) after checking their size."""
    shape, dtype = _header(path, file)
    if len(shape) != 3 or dtype.kind != "f":
        raise RawError(f"{path}: contains {dtype} of shape {shape}; expected planes of floats, (C, h, w)")
    _check_claim(path, shape, dtype)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _check_claim(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array that is too large, or larger than its file could contain."""
    check_size(path, *shape[-2:])
    if np.prod(shape, dtype=np.float64) * dtype.itemsize > MAX_PIXELS_PER_BYTE * path.stat().st_size:
        raise RawError(f"{path}: claims an array of shape {shape}, which its bytes cannot hold; copy it again")


def _array(path: Path, file: IO[bytes], frame: int) -> tuple[NDArray[Any], str, tuple[str, ...]]:
    """Read one frame; return it, its name for messages, and doubts about the array with the first."""
    start = file.tell()
    shape, dtype = _header(path, file)
    frames = _frames(path, shape)
    if len(shape) not in (2, 3):
        raise RawError(
            f"{path}: contains an array of shape {shape}; expected one mosaic of shape (H, W), or (frames, H, W)"
        )
    if dtype.itemsize > 8 or dtype.kind not in "uif":
        raise RawError(f"{path}: contains values of type {dtype}; expected integers or floats")
    _check_claim(path, shape, dtype)
    if not 0 <= frame < frames:
        raise RawError(f"{path}: contains {counted(frames, 'frame')}, numbered from 0; there is no frame {frame}")
    file.seek(start)
    if len(shape) == 2:
        return np.lib.format.read_array(file, allow_pickle=False), str(path), ()
    name = f"{path}[{frame}]"
    if path.suffix.lower() == ".npy" and not zipfile.is_zipfile(path):
        # Memory-mapped: the other frames are not read.
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        stack = np.lib.format.read_array(file, allow_pickle=False)
    words = () if frame else tuple(stack_words(path, shape, stack[:SAMPLED, :SAMPLED, :SAMPLED]))
    return np.array(stack[frame]), name, words
