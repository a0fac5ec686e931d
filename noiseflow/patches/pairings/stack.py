"""The frames of one scene packed to planes, in files or in memory, some rows at hand at a time."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.assembly.parts import write_whole
from noiseflow.patches.schema import NOISY_TYPE
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.bayer import offsets, one_plane
from noiseflow.raw.image import RawImage

__all__ = ["PLANES", "Packed", "Stack", "in_memory", "read_packed", "same_setting", "write_packed"]

PLANES = 4
ROWS_AT_ONCE = 32
"""Rows of the planes that are packed at a time: their bytes stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Packed:
    """One frame, its mosaic packed to planes.

    Parameters
    ----------
    image : RawImage
        Setting and shape; its mosaic takes no memory and holds nothing.
    levels : ndarray, shape (4,)
        Mean of each plane, DN.
    planes : ndarray of uint16, shape (4, h, w)
        The codes: in memory, or the pages of a file.
    source_blake3 : str
        Of the file that it was read from; empty in memory.
    """

    image: RawImage
    levels: NDArray[np.float64]
    planes: NDArray[np.uint16]
    source_blake3: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of a plane."""
        height, width = self.image.mosaic.shape
        return height // 2, width // 2

    def rows(self, plane: int, rows: slice) -> NDArray[np.uint16]:
        """Rows of one plane, codes in DN."""
        return self.planes[plane, rows]


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames of one scene at one setting of the camera.

    Parameters
    ----------
    frames : sequence of Packed

    Raises
    ------
    RawError
        Frames of two settings, or none.
    """

    frames: Sequence[Packed]

    def __post_init__(self) -> None:
        """Refuse frames of two settings."""
        for frame in self.frames[1:]:
            same_setting(self.frames[0].image, frame.image)

    @property
    def setting(self) -> RawImage:
        """That of all frames."""
        return self.frames[0].image

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of a plane."""
        return self.frames[0].shape

    @property
    def levels(self) -> NDArray[np.float64]:
        """Mean of each frame's planes, DN, shape (n, 4)."""
        return np.array([frame.levels for frame in self.frames])


def in_memory(scene: Scene) -> Stack:
    """All frames of a scene, packed in memory."""
    frames = []
    for frame in scene.frames:
        image = frame.read()
        planes = np.empty((PLANES, *(length // 2 for length in image.mosaic.shape)), NOISY_TYPE)
        levels = _pack(image, partial(_put, planes))
        setting = replace(image, mosaic=np.broadcast_to(NOISY_TYPE.type(0), image.mosaic.shape))
        frames.append(Packed(setting, levels, planes))
    if not frames:
        raise RawError(f"{scene.name}: no frame")
    return Stack(frames)


def write_packed(image: RawImage, planes: Path, note: Path, source_blake3: str) -> None:
    """Pack a frame's mosaic into a file, and then its setting into a note, which says that the file is whole.

    Raises
    ------
    RawError
        Codes that are no integers of 16 bits.
    """
    height, width = (length // 2 for length in image.mosaic.shape)
    file = os.open(planes, os.O_WRONLY | os.O_CREAT, 0o666)

    def write(plane: int, rows: slice, codes: NDArray[np.uint16]) -> None:
        _write_at(file, codes, (plane * height + rows.start) * width * NOISY_TYPE.itemsize)

    try:
        levels = _pack(image, write)
    finally:
        os.close(file)
    setting = asdict(replace(image, mosaic=np.zeros((1, 1))))
    del setting["mosaic"]
    told = {"setting": setting, "shape": image.mosaic.shape, "levels": levels.tolist(), "blake3": source_blake3}
    write_whole(note, json.dumps(told).encode())


def read_packed(planes: Path, note: Path) -> Packed:
    """A frame that was packed into a file.

    Raises
    ------
    RawError
        The file is gone or short, or the note damaged.
    """
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
        setting = told["setting"] | {
            "black": tuple(told["setting"]["black"]),
            "noise_profile": tuple(tuple(pair) for pair in told["setting"]["noise_profile"]),
            "clip": tuple(told["setting"]["clip"]),
            "taken_from": tuple(tuple(pair) for pair in told["setting"]["taken_from"]),
            "cautions": tuple(told["setting"]["cautions"]),
        }
        image = RawImage(np.broadcast_to(NOISY_TYPE.type(0), told["shape"]), **setting)
        # As a plain array: a memmap looks into every view of itself.
        shape = (PLANES, *(length // 2 for length in told["shape"]))
        pages = np.asarray(np.memmap(planes, NOISY_TYPE, "r", shape=shape))
        return Packed(image, np.array(told["levels"]), pages, told["blake3"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RawError(f"{note}: damaged ({error}); delete the folder {note.parent.name} and ingest again") from error


def _put(planes: NDArray[np.uint16], plane: int, rows: slice, codes: NDArray[np.uint16]) -> None:
    planes[plane, rows] = codes


def _pack(image: RawImage, put: Callable[[int, slice, NDArray[np.uint16]], None]) -> NDArray[np.float64]:
    """Give away a mosaic's planes, some rows at a time; the mean of each."""
    if not np.issubdtype(image.mosaic.dtype, np.integer):
        raise RawError(f"{image.source}: codes of type {image.mosaic.dtype}; a burst needs integers")
    if not image.whole:
        raise RawError(f"{image.source}: holds codes beyond 16 bits; expected whole numbers 0…65535")
    height, width = (length // 2 for length in image.mosaic.shape)
    if not height or not width:
        raise RawError(f"{image.source}: a mosaic of {image.mosaic.shape} pixels has no whole 2×2 cells")
    sums = [0] * PLANES
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, min(top + ROWS_AT_ONCE, height))
        strip = image.mosaic[2 * top : 2 * rows.stop]
        for plane, offset in enumerate(offsets(image.cfa)):
            codes = np.ascontiguousarray(one_plane(strip, offset), NOISY_TYPE)
            # A row in 32 bits, if they hold it, which takes half the time of 64.
            row = np.uint32 if codes.shape[1] <= 1 << 16 else np.uint64
            sums[plane] += int(codes.sum(1, dtype=row).sum(dtype=np.uint64))
            put(plane, rows, codes)
    return np.asarray(np.array(sums) / (height * width), np.float64)


def _write_at(file: int, values: NDArray[Any], offset: int) -> None:
    content = values.reshape(-1).view(np.uint8).data
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def same_setting(first: RawImage, other: RawImage, *, exposure: bool = True) -> None:
    """Refuse frames of two settings in one scene.

    Parameters
    ----------
    first, other : RawImage
    exposure : bool
        Whether the exposure time counts.

    Raises
    ------
    RawError
        If camera, ISO, exposure, colour filter array or size differ.
    """

    def setting(image: RawImage) -> tuple[Any, ...]:
        return image.camera, image.iso, image.exposure_s if exposure else None, image.cfa, image.mosaic.shape

    if setting(first) != setting(other):
        raise RawError(
            f"{other.source}: {setting(other)} differs from {setting(first)} of {first.source}; a burst needs "
            "one camera, ISO, exposure and size: put other settings into a folder of their own"
        )
