"""Packing of a 2×2 colour filter array to planes, and back.

The plane order is fixed: R, G1 (the green on red's row), G2 (the green on
blue's row), B, whatever the phase of the sensor.  A mosaic and its planes hold
the same numbers; nothing is interpolated.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError

__all__ = ["BAYER_PHASES", "LAYOUTS", "MONO", "offsets", "one_plane", "pack", "plane_names", "shifted", "unpack"]

MONO = "MONO"
BAYER_PHASES = ("RGGB", "GRBG", "GBRG", "BGGR")
LAYOUTS = ("bayer", "mono", "mono2x2")
"""Plane layouts of a store or model: 4 Bayer planes; 1 plane as stored; 4 planes of a
monochrome mosaic by the same 2×2 packing, in raster order."""


def plane_names(layout: str) -> tuple[str, ...]:
    """Names of the planes of a layout, in order.

    >>> plane_names("bayer")
    ('R', 'G1', 'G2', 'B')
    """
    names = {
        "bayer": ("R", "G1", "G2", "B"),
        "mono": ("Y",),
        "mono2x2": ("Y00", "Y01", "Y10", "Y11"),
    }
    if layout not in names:
        raise RawError(f"plane layout {layout!r} is not known; expected one of {', '.join(LAYOUTS)}")
    return names[layout]


def offsets(cfa: str) -> tuple[tuple[int, int], ...]:
    """(row, column) of R, G1, G2, B within the 2×2 cell of a CFA phase.

    Parameters
    ----------
    cfa : str
        One of `BAYER_PHASES`, the cell read in raster order, or ``"MONO"``, whose
        four pixels are taken in raster order.

    Raises
    ------
    RawError
        For any other pattern, X-Trans among them.

    Examples
    --------
    >>> offsets("GRBG")
    ((0, 1), (0, 0), (1, 1), (1, 0))
    """
    if cfa == MONO:
        return ((0, 0), (0, 1), (1, 0), (1, 1))
    if cfa not in BAYER_PHASES:
        raise RawError(
            f"colour filter array {cfa!r} is not supported; expected a 2×2 Bayer phase "
            f"({', '.join(BAYER_PHASES)}) or {MONO}"
        )
    red, blue = divmod(cfa.index("R"), 2), divmod(cfa.index("B"), 2)
    return (red, (red[0], 1 - red[1]), (blue[0], 1 - blue[1]), blue)


def shifted(cfa: str, rows: int, columns: int) -> str:
    """The phase that is left at the first pixel when `rows` and `columns` are cut off before it.

    >>> shifted("RGGB", 1, 0)
    'GBRG'
    """
    if cfa == MONO:
        return MONO
    return "".join(cfa[2 * ((row + rows) % 2) + (column + columns) % 2] for row in (0, 1) for column in (0, 1))


def pack(mosaic: NDArray[Any], cfa: str) -> NDArray[Any]:
    """Take a mosaic apart into its four planes.

    Parameters
    ----------
    mosaic : ndarray, shape (..., H, W)
        H and W even.
    cfa : str
        Phase of the mosaic's first pixel, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., 4, H/2, W/2)
        R, G1, G2, B; a copy of the same dtype.

    Raises
    ------
    RawError
        Odd size, or a pattern that is not 2×2 Bayer.

    Examples
    --------
    >>> pack(np.array([[1, 2], [3, 4]]), "BGGR").ravel()
    array([4, 3, 2, 1])
    """
    height, width = mosaic.shape[-2:]
    if height % 2 or width % 2 or not (height and width):
        raise RawError(f"a mosaic of {height}×{width} pixels has no whole 2×2 cells; crop it to even size")
    return np.stack([mosaic[..., row::2, column::2] for row, column in offsets(cfa)], axis=-3)


def one_plane(mosaic: NDArray[Any], offset: tuple[int, int]) -> NDArray[Any]:
    """The pixels at one place of a mosaic's 2×2 cells; an odd last row or column is left out.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        Codes of the mosaic, DN.
    offset : tuple of int
        Row and column within the cell: one of `offsets`.

    Returns
    -------
    ndarray, shape (H//2, W//2)
        Of the same dtype; it may be a view.

    Examples
    --------
    >>> one_plane(np.array([[1, 2, 5], [3, 4, 6]], np.uint16), (1, 0))
    array([[3]], dtype=uint16)
    """
    row, column = offset
    height, width = (length // 2 for length in mosaic.shape)
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
    """Put four planes together to the mosaic that `pack` took apart.

    Parameters
    ----------
    planes : ndarray, shape (..., 4, H/2, W/2)
        R, G1, G2, B.
    cfa : str
        Phase of the mosaic to make, or ``"MONO"``.

    Returns
    -------
    ndarray, shape (..., H, W)
    """
    if planes.ndim < 3 or planes.shape[-3] != 4:
        raise RawError(f"expected planes of shape (..., 4, H/2, W/2); got {planes.shape}")
    *batch, _, height, width = planes.shape
    mosaic = np.empty((*batch, 2 * height, 2 * width), planes.dtype)
    for plane, (row, column) in enumerate(offsets(cfa)):
        mosaic[..., row::2, column::2] = planes[..., plane, :, :]
    return mosaic
