"""Pack the mosaic of a colour filter array into planes, and unpack planes into a mosaic.

Each position in the repeating cell becomes one plane.  The order of the planes does not depend
on the phase of the sensor: R, G1 (the green on red's row), G2 (the green on blue's row), B for
Bayer; raster order of the cell in `noiseflow.raw.patterns.CELLS` for larger cells.  All pixels of
a plane therefore have the same colour and the same position in the readout, and planes from one
row of the cell come from the same sensor rows.  Packing only moves pixels: nothing is
interpolated.
"""

import math
import sys
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.patterns import BAYER_PHASES, CELLS, MONO, cell_side, offsets, shifted

__all__ = [
    "BAYER_PHASES",
    "LAYOUTS",
    "MONO",
    "offsets",
    "one_plane",
    "pack",
    "plane_names",
    "rows_of_cell",
    "shifted",
    "unpack",
]

LAYOUTS = ("bayer", "mono", "mono2x2", "quad", "xtrans")
"""Plane layouts of a store or model: 4 Bayer planes (``bayer``); a monochrome frame as 1 plane (``mono``) or
packed 2×2 into 4 planes in raster order (``mono2x2``); 16 Quad Bayer planes (``quad``); 36 X-Trans planes
(``xtrans``)."""


def rows_of_cell(planes: int) -> int:
    """Number of sensor rows in a cell that packs to this many planes.

    The planes are in row order, planes / rows of them per sensor row.  A count that is no square
    number is taken as one row.

    Parameters
    ----------
    planes : int
        Planes of one cell.

    Examples
    --------
    >>> rows_of_cell(1), rows_of_cell(4), rows_of_cell(36)
    (1, 2, 6)
    """
    side = math.isqrt(planes)
    return side if side * side == planes else 1


@cache
def plane_names(layout: str) -> tuple[str, ...]:
    """Names of the planes of a layout, in order.

    Parameters
    ----------
    layout : str
        One of `LAYOUTS`.

    Raises
    ------
    RawError
        If the layout is unknown.

    Examples
    --------
    >>> plane_names("bayer"), plane_names("quad")[:3]
    (('R', 'G1', 'G2', 'B'), ('R1', 'R2', 'G1'))
    """
    names = {
        "bayer": ("R", "G1", "G2", "B"),
        "mono": ("Y",),
        "mono2x2": ("Y00", "Y01", "Y10", "Y11"),
    }
    if layout not in LAYOUTS:
        raise RawError(f"plane layout {layout!r} is not known; expected one of {', '.join(LAYOUTS)}")
    if layout in names:
        return names[layout]
    cell = CELLS[layout]
    return tuple(f"{colour}{cell[: place + 1].count(colour)}" for place, colour in enumerate(cell))


def pack(mosaic: NDArray[Any], cfa: str) -> NDArray[Any]:
    """Split a mosaic into its planes.

    Parameters
    ----------
    mosaic : ndarray, shape (..., H, W)
        H and W must be multiples of the cell's side s: 2 for Bayer and monochrome, 4 for Quad
        Bayer, 6 for X-Trans.
    cfa : str
        Colour filter array at the mosaic's first pixel, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., s², H/s, W/s)
        R, G1, G2, B, or the planes of a larger cell; a copy with the mosaic's dtype.

    Raises
    ------
    RawError
        If H or W is not a positive multiple of s, or the array is not supported.

    Examples
    --------
    >>> pack(np.array([[1, 2], [3, 4]]), "BGGR").ravel()
    array([4, 3, 2, 1])
    """
    height, width = mosaic.shape[-2:]
    side, where = cell_side(cfa), offsets(cfa)
    if height % side or width % side or not (height and width):
        size = "even size" if side == 2 else f"multiples of {side}"
        raise RawError(
            f"a mosaic of {height}×{width} pixels does not divide into {side}×{side} cells; crop it to {size}"
        )
    return np.stack([mosaic[..., row::side, column::side] for row, column in where], axis=-3)


def one_plane(mosaic: NDArray[Any], offset: tuple[int, int], side: int = 2) -> NDArray[Any]:
    """Pixels at one position of every whole cell; rows and columns after the last whole cell are dropped.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        Codes of the mosaic, DN.
    offset : tuple of int
        Row and column within the cell: one of `offsets`.
    side : int
        Rows and columns of the cell.

    Returns
    -------
    ndarray, shape (H//side, W//side)
        Same dtype as the mosaic; may be a view of it.

    Examples
    --------
    >>> one_plane(np.array([[1, 2, 5], [3, 4, 6]], np.uint16), (1, 0))
    array([[3]], dtype=uint16)
    """
    row, column = offset
    height, width = (length // side for length in mosaic.shape)
    if side != 2:
        return mosaic[row : side * height : side, column : side * width : side]
    pixels = mosaic[row : 2 * height : 2]
    if mosaic.dtype != np.uint16 or sys.byteorder != "little" or mosaic.strides[1] != 2 or not width:
        return pixels[:, column : 2 * width : 2]
    # Casting 32-bit words to their lower halves takes a third of the time of a strided copy.
    plane = np.empty((height, width), np.uint16)
    paired = width - column
    np.copyto(plane[:, :paired], pixels[:, column : column + 2 * paired].view(np.uint32), casting="unsafe")
    plane[:, paired:] = pixels[:, column + 2 * paired : 2 * width]
    return plane


def unpack(planes: NDArray[Any], cfa: str) -> NDArray[Any]:
    """Join planes into a mosaic: the inverse of `pack`.

    Parameters
    ----------
    planes : ndarray, shape (..., s², H/s, W/s)
        R, G1, G2, B, or the planes of a larger cell of side s.
    cfa : str
        Colour filter array at the mosaic's first pixel, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., H, W)
        A new array with the dtype of the planes.

    Raises
    ------
    RawError
        If the number of planes does not match the array, or the array is not supported.
    """
    side, where = cell_side(cfa), offsets(cfa)
    if planes.ndim < 3 or planes.shape[-3] != side**2:
        raise RawError(f"expected planes of shape (..., {side**2}, H/{side}, W/{side}); got {planes.shape}")
    *batch, _, height, width = planes.shape
    mosaic = np.empty((*batch, side * height, side * width), planes.dtype)
    for plane, (row, column) in enumerate(where):
        mosaic[..., row::side, column::side] = planes[..., plane, :, :]
    return mosaic
