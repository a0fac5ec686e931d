"""Packing of a colour filter array to planes, and back.

Each place of the cell that repeats is a plane.  Their order is fixed, whatever the phase of
the sensor: R, G1 (the green on red's row), G2 (the green on blue's row), B of a Bayer
sensor, and the cell of `noiseflow.raw.patterns.CELLS` in raster order of a larger one.  So the
pixels of a plane have one colour and one place in the readout, and planes of one row of the
cell lie in one row of the sensor.  A mosaic and its planes hold the same numbers; nothing is
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
"""Plane layouts of a store or model: 4 Bayer planes; 1 plane as stored; 4 planes of a
monochrome mosaic by the same 2×2 packing, in raster order; 16 planes of Quad Bayer; 36 of X-Trans."""


def rows_of_cell(planes: int) -> int:
    """Sensor rows that `planes` of a cell lie in, in their order; planes ÷ rows of them share each.

    >>> rows_of_cell(1), rows_of_cell(4), rows_of_cell(36)
    (1, 2, 6)
    """
    side = math.isqrt(planes)
    return side if side * side == planes else 1


@cache
def plane_names(layout: str) -> tuple[str, ...]:
    """Names of the planes of a layout, in order.

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
    """Take a mosaic apart into its planes.

    Parameters
    ----------
    mosaic : ndarray, shape (..., H, W)
        H and W multiples of the cell's side s: 2, or 4 of Quad Bayer, 6 of X-Trans.
    cfa : str
        Phase of the mosaic's first pixel, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., s², H/s, W/s)
        R, G1, G2, B, or the planes of a larger cell; a copy of the same dtype.

    Raises
    ------
    RawError
        A size without whole cells, or a pattern that is not supported.

    Examples
    --------
    >>> pack(np.array([[1, 2], [3, 4]]), "BGGR").ravel()
    array([4, 3, 2, 1])
    """
    height, width = mosaic.shape[-2:]
    side, where = cell_side(cfa), offsets(cfa)
    if height % side or width % side or not (height and width):
        size = "even size" if side == 2 else f"multiples of {side}"
        raise RawError(f"a mosaic of {height}×{width} pixels has no whole {side}×{side} cells; crop it to {size}")
    return np.stack([mosaic[..., row::side, column::side] for row, column in where], axis=-3)


def one_plane(mosaic: NDArray[Any], offset: tuple[int, int], side: int = 2) -> NDArray[Any]:
    """The pixels at one place of a mosaic's cells; last rows and columns beyond whole cells are left out.

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
        Of the same dtype; it may be a view.

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
    # Lower halves of 32-bit words take the processor a third of the time of every second number.
    plane = np.empty((height, width), np.uint16)
    paired = width - column
    np.copyto(plane[:, :paired], pixels[:, column : column + 2 * paired].view(np.uint32), casting="unsafe")
    plane[:, paired:] = pixels[:, column + 2 * paired : 2 * width]
    return plane


def unpack(planes: NDArray[Any], cfa: str) -> NDArray[Any]:
    """Put planes together to the mosaic that `pack` took apart.

    Parameters
    ----------
    planes : ndarray, shape (..., s², H/s, W/s)
        R, G1, G2, B, or the planes of a larger cell of side s.
    cfa : str
        Phase of the mosaic to make, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., H, W)
    """
    side, where = cell_side(cfa), offsets(cfa)
    if planes.ndim < 3 or planes.shape[-3] != side**2:
        raise RawError(f"expected planes of shape (..., {side**2}, H/{side}, W/{side}); got {planes.shape}")
    *batch, _, height, width = planes.shape
    mosaic = np.empty((*batch, side * height, side * width), planes.dtype)
    for plane, (row, column) in enumerate(where):
        mosaic[..., row::side, column::side] = planes[..., plane, :, :]
    return mosaic
