"""Doubts about which axis of a three-dimensional array counts the frames."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.guards import HOW_PLANES

__all__ = ["SAMPLED", "refuse_hidden_frames", "stack_words"]

SAMPLED = 64
"""Length along each axis of the block that is compared, from the start of the array."""

PLANES = 4
"""Number of planes of a packed 2×2 cell."""

NARROW = 2
"""Frames that are this many times higher than wide are doubted, if there are more of them than they are wide."""

SMOOTHER = 0.9
"""Frames are last if the mean square step along the last axis is below this fraction of that along the first."""


def stack_words(path: Path, shape: Sequence[int], block: NDArray[Any]) -> Iterator[str]:
    """Yield doubts about an array that is read as (frames, H, W).

    Noise alone changes a pixel from frame to frame, and noise and structure from row to row or column to column.

    Parameters
    ----------
    path : Path
        File of the array, for messages.
    shape : sequence of int
        Shape of the array.
    block : ndarray
        Its first pixels, up to `SAMPLED` along each axis.
    """
    if len(shape) != 3:
        return
    frames, height, width = shape
    if frames == PLANES:
        yield (
            f"{path}: an array of shape {tuple(shape)} was taken for {frames} frames of {height}×{width} pixels; "
            + HOW_PLANES
        )
    elif width > 1 and frames > width and height >= NARROW * width and _steps(block, 2) < SMOOTHER * _steps(block, 0):
        yield (
            f"{path}: an array of shape {tuple(shape)} was taken for {frames} frames of {height}×{width} pixels, but "
            f"its pixels differ less along the last axis: if these are {width} frames of {frames}×{height}, move that "
            "axis to the front, as by numpy.moveaxis(frames, -1, 0)"
        )


def _steps(block: NDArray[Any], axis: int) -> float:
    """Mean square difference along an axis at a distance of two, without that of whole images across the axis."""
    values = np.moveaxis(block, axis, 0).astype(np.float64)
    values = values - values.mean((1, 2), keepdims=True)
    return float(np.square(values[2:] - values[:-2]).mean()) if len(values) > 2 else np.inf


def refuse_hidden_frames(path: Path, pages: int, shape: Sequence[int], height: int, width: int) -> None:
    """Refuse a TIFF whose description says that it has more frames than it has pages.

    ImageJ and tifffile may write one directory for a whole stack, whose pixels follow one another.

    Parameters
    ----------
    path : Path
        The file.
    pages : int
        Number of its pages that are frames.
    shape : sequence of int
        Shape of the whole stack by its description.
    height, width : int
        Size of a page in pixels.

    Raises
    ------
    RawError
        If there are more.
    """
    frames = int(np.prod(shape, dtype=np.int64)) // max(height * width, 1)
    if frames > pages:
        raise RawError(
            f"{path}: its description says {frames} frames, but it has {counted(pages, 'page')}; a "
            "stack behind a single directory is not read: save it as a TIFF with a page for each frame, or as NPY, for "
            "example by numpy.save('frames.npy', tifffile.imread(file))"
        )
