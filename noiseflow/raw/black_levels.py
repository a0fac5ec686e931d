"""Black levels that differ within a colour plane: a repeating cell plus row and column offsets."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.patterns import MONO, cell_side, offsets

__all__ = ["BlackMap", "plane_levels", "said_of_leak"]

SAME_DN = 1e-6
"""Black levels of a plane within this range count as equal: levels stored as rationals are rounded."""

LEAK_DN, LEAK_PART, SURE = 1.0, 5e-4, 6.0
"""Masked pixels are uneven if two sides of their area differ by more than the first two values, in DN and as a fraction
of the range, and by so many standard errors."""


@dataclass(frozen=True)
class BlackMap:
    """Black level of every pixel of a mosaic, in DN.

    black(y, x) = cell[y mod R, x mod C] + rows[y] + columns[x]

    Parameters
    ----------
    cell : tuple of tuple of float
        R×C levels in DN, starting at the mosaic's first pixel.
    rows, columns : tuple of float
        Offset of each row and of each column in DN; empty if there are none.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapter 5, "Black Subtraction".
    """

    cell: tuple[tuple[float, ...], ...]
    rows: tuple[float, ...] = ()
    columns: tuple[float, ...] = ()

    def pixels(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Black level of each pixel of a mosaic, shape (H, W), in DN.

        Parameters
        ----------
        shape : tuple of int
            (H, W) of the mosaic.

        Raises
        ------
        RawError
            If there are fewer row or column offsets than rows or columns.
        """
        height, width = shape
        cell = np.asarray(self.cell, np.float64)
        rows, columns = np.arange(height) % cell.shape[0], np.arange(width) % cell.shape[1]
        levels: NDArray[np.float64] = cell[np.ix_(rows, columns)]
        for what, given, length in (("row", self.rows, height), ("column", self.columns, width)):
            if given and len(given) < length:
                raise RawError(f"black level: {len(given)} {what} offsets for {length} {what}s")
        if self.rows:
            levels = levels + np.asarray(self.rows[:height])[:, None]
        if self.columns:
            levels = levels + np.asarray(self.columns[:width])[None]
        return levels

    def cropped(self, top: int, left: int, height: int, width: int) -> "BlackMap":
        """Map of an area of the mosaic.

        Parameters
        ----------
        top, left : int
            First row and column of the area; negative values are allowed only without row and column offsets.
        height, width : int
            Size of the area in pixels.
        """
        cell = np.roll(np.asarray(self.cell), (-top, -left), (0, 1))
        return BlackMap(
            tuple(map(tuple, cell.tolist())),
            self.rows[top : top + height] if self.rows else (),
            self.columns[left : left + width] if self.columns else (),
        )

    def times(self, factor: float) -> "BlackMap":
        """Map with every level and offset multiplied by `factor`."""
        rows, columns = (tuple(value * factor for value in line) for line in (self.rows, self.columns))
        return BlackMap(tuple(tuple(value * factor for value in line) for line in self.cell), rows, columns)


def plane_levels(black: BlackMap, cfa: str, shape: tuple[int, int]) -> tuple[tuple[float, ...], BlackMap | None]:
    """Mean black level of each plane in DN, and the map if the level varies within a plane.

    Parameters
    ----------
    black : BlackMap
        Black level of every pixel, DN.
    cfa : str
        Colour filter array at the first pixel, or ``"MONO"``.
    shape : tuple of int
        (H, W) of the mosaic.

    Returns
    -------
    levels : tuple of float
        Mean black level of each plane, DN.
    black : BlackMap or None
        The given map, or None if one level per plane describes it.

    Raises
    ------
    RawError
        If the mosaic is smaller than a cell, or the map has too few offsets.

    Examples
    --------
    >>> plane_levels(BlackMap(((60.0, 61.0), (62.0, 63.0))), "BGGR", (4, 4))
    ((63.0, 62.0, 61.0, 60.0), None)
    """
    side = 1 if cfa == MONO else cell_side(cfa)
    # Without offsets the levels repeat: one common multiple of both cells contains every combination.
    spans = [
        length if given else min(length, math.lcm(count, side))
        for given, count, length in zip(
            (black.rows, black.columns), (len(black.cell), len(black.cell[0])), shape, strict=True
        )
    ]
    planes = _planes(black.pixels((spans[0], spans[1])), cfa)
    if any(not plane.size for plane in planes):
        raise RawError(f"a mosaic of {shape[0]}×{shape[1]} pixels is smaller than one cell of its colour filter array")
    if all(np.ptp(plane) < SAME_DN for plane in planes):
        return tuple(float(plane.flat[0]) for plane in planes), None
    return tuple(float(plane.mean()) for plane in _planes(black.pixels(shape), cfa)), black


def said_of_leak(pixels: NDArray[Any], side: int, white: float) -> str:
    """Sentence about an area of masked pixels whose mean rises to one side, as light that leaks in does; or empty.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)
        The area, DN.
    side : int
        Height and width of the cell of the colour filter array, within which black levels may differ.
    white : float
        White level, DN.
    """
    height, width = (length // side for length in pixels.shape)
    if not height or not width:
        return ""
    cells = pixels[: height * side, : width * side].reshape(height, side, width, side).mean((1, 3), dtype=np.float64)
    mean = float(cells.mean())
    if not math.isfinite(mean):
        return ""
    for lines, names in ((cells.T, ("left", "right")), (cells, ("top", "bottom"))):
        part = max(1, len(lines) // 4)
        if len(lines) < 2 or lines.shape[1] < 2:
            continue
        ends = [lines[:part].mean(0), lines[-part:].mean(0)]
        step = ends[1] - ends[0]
        rise, error = float(step.mean()), float(step.std(ddof=1)) / math.sqrt(len(step))
        if abs(rise) > max(LEAK_DN, LEAK_PART * (white - mean), SURE * error):
            low, high = names if rise > 0 else names[::-1]
            levels = sorted(float(each.mean()) for each in ends)
            return (
                f"the masked pixels are uneven: {levels[0]:.5g} DN on the {low} of their area and {levels[1]:.5g} on "
                f"the {high}: light leaks into them, or they are not all masked. Their mean, {mean:.5g} DN, was taken "
                f"for the black level, which may be {abs(rise):.2g} DN lower; give --black"
            )
    return ""


def _planes(levels: NDArray[np.float64], cfa: str) -> list[NDArray[np.float64]]:
    side = 1 if cfa == MONO else cell_side(cfa)
    return [levels[row::side, column::side] for row, column in offsets(cfa)[: side * side]]
