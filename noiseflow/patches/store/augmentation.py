"""Flip and rotate mosaics without changing the phase of their colour filter array.

A flipped mosaic begins with another colour.  Cropping it by some rows or columns restores the
phase, so that every pixel keeps its colour and its neighbours.  In total this removes a row or
a column of cells.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.raw.bayer import pack, unpack
from noiseflow.raw.patterns import MONO, cell_side

__all__ = ["FLIPS", "TURNS", "turned"]

FLIPS = ("none", "rows", "columns", "both")
"""No flip, rows in reverse order, columns in reverse order, or both; rows remain rows."""

TURNS = (*FLIPS, "transposed", "left", "right", "transposed both")
"""All eight symmetries of the square; the last four exchange rows and columns, and so turn row noise into column
noise."""


def turned(planes: NDArray[Any], turn: str, cfa: str, size: tuple[int, int]) -> NDArray[Any]:
    """Flip or rotate patches, and crop them to a size.

    Parameters
    ----------
    planes : ndarray, shape (..., C, h, w)
        R, G1, G2, B, or the planes of a larger cell or of a monochrome sensor.
    turn : str
        One of `TURNS`.
    cfa : str
        Colour filter array at the first pixel, or ``"MONO"``.
    size : (int, int)
        Rows and columns of a plane to keep, from the upper left after the turn.

    Returns
    -------
    ndarray, shape (..., C, rows, columns)

    Raises
    ------
    DataError
        If the turn is unknown, or leaves fewer rows or columns than `size`.

    Examples
    --------
    >>> mosaic = np.arange(16).reshape(4, 4)
    >>> turned(pack(mosaic, "RGGB"), "columns", "RGGB", (2, 1))[0].ravel()
    array([ 2, 10])
    """
    if turn not in TURNS:
        raise DataError(f"turn {turn!r} is not known; expected one of {', '.join(TURNS)}")
    if planes.shape[-3] == 1:
        return _cropped(_applied(planes, turn), size, (0, 0), turn)
    mosaic = _applied(unpack(planes, cfa), turn)
    row, column = (0, 0) if cfa == MONO else _shift(cfa, turn)
    side = 2 if cfa == MONO else cell_side(cfa)
    # A shift removes one cell in total: rows before the first whole cell, and rows after the last.
    height, width = (
        length - (side if shift else 0) for length, shift in zip(mosaic.shape[-2:], (row, column), strict=True)
    )
    mosaic = mosaic[..., row : row + height, column : column + width]
    return _cropped(pack(mosaic, cfa), size, (row, column), turn)


def _applied(image: NDArray[Any], turn: str) -> NDArray[Any]:
    number = TURNS.index(turn)
    if number >= 4:
        image = image.swapaxes(-1, -2)
    if number % 4 in (1, 3):
        image = image[..., ::-1, :]
    if number % 4 in (2, 3):
        image = image[..., ::-1]
    return image


def _shift(cfa: str, turn: str) -> tuple[int, int]:
    """Numbers of rows and columns to crop so that the phase is the same as before the turn."""
    side = cell_side(cfa)
    cell = np.array(list(cfa)).reshape(side, side)
    # Compare colours, not positions: positions of one colour may be exchanged.
    tiled = np.tile(_applied(cell, turn), (2, 2))
    for row in range(side):
        for column in range(side):
            if (tiled[row : row + side, column : column + side] == cell).all():
                return row, column
    raise DataError(f"turn {turn!r} does not keep the colour filter array {cfa}; choose another turn")


def _cropped(planes: NDArray[Any], size: Sequence[int], shift: tuple[int, int], turn: str) -> NDArray[Any]:
    height, width = planes.shape[-2:]
    if size[0] > height or size[1] > width:
        raise DataError(
            f"turn {turn!r} leaves {height}×{width} pixels of a plane, fewer than the requested {size[0]}×{size[1]}: "
            "choose a crop at least one row and column smaller than the patch"
        )
    return planes[..., : size[0], : size[1]]
