"""Planes divided into blocks of about 16×16 pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "Blocks"]

SIDE = 16
"""Least side of a block, in pixels of a plane; smaller planes are one block."""


@dataclass(frozen=True)
class Blocks:
    """A grid of nearly equal blocks, each of up to 2×2 quarters.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of a plane.
    """

    shape: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """Number of blocks down and across."""
        return max(1, self.shape[0] // SIDE), max(1, self.shape[1] // SIDE)

    @property
    def halves(self) -> tuple[int, int]:
        """Quarters of a block down and across: 2 and 2, but for planes one pixel high or wide."""
        return min(2, self.shape[0]), min(2, self.shape[1])

    def edges(self, axis: int, parts: int = 1) -> NDArray[np.intp]:
        """First pixel of each block (or of each of its `parts`) along an axis, and the plane's end."""
        count = self.grid[axis] * parts
        return np.arange(count + 1) * self.shape[axis] // count

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Number of pixels of each block, shape `grid`."""
        rows, columns = (np.diff(self.edges(axis)).astype(np.float64) for axis in (0, 1))
        return rows[:, None] * columns

    def quarters(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Means of each block's quarters, shape (*grid, 4); fewer in planes one pixel high or wide."""
        (down, across), (high, wide) = self.grid, self.halves
        rows, columns = self.edges(0, high), self.edges(1, wide)
        sums = np.add.reduceat(plane, columns[:-1], axis=1, dtype=np.float64)
        sums = np.add.reduceat(sums, rows[:-1], axis=0)
        means = sums / (np.diff(rows)[:, None] * np.diff(columns))
        quarters: NDArray[np.float64] = means.reshape(down, high, across, wide).transpose(0, 2, 1, 3)
        return quarters.reshape(down, across, high * wide)

    def middles(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Median over the means of each block's quarters, shape `grid`.

        A wild pixel spoils one quarter only.  Of white noise of variance σ² it has variance
        `MIDDLE` σ²/N, N pixels in the block.
        """
        middles: NDArray[np.float64] = np.median(self.quarters(plane), axis=2)
        return middles

    def means(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of each block's pixels, shape `grid`."""
        sums = np.add.reduceat(plane, self.edges(1)[:-1], axis=1, dtype=np.float64)
        means: NDArray[np.float64] = np.add.reduceat(sums, self.edges(0)[:-1], axis=0) / self.pixels
        return means

    def maxima(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Largest value in each block, shape `grid`."""
        across = np.maximum.reduceat(plane, self.edges(1)[:-1], axis=1)
        maxima: NDArray[Any] = np.maximum.reduceat(across, self.edges(0)[:-1], axis=0)
        return maxima

    def medians(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Median of every second row of each block's pixels, shape `grid`."""
        rows, columns = self.edges(0), self.edges(1)
        medians = np.empty(self.grid)
        height = int(np.diff(rows).min())
        width = int(np.diff(columns).min())
        across = columns[:-1, None] + np.arange(width)
        for block, top in enumerate(rows[:-1]):
            # The same number of pixels of every block, so that one call takes the row of blocks.
            strip = plane[top : top + height : 2][:, across]
            medians[block] = np.median(strip.transpose(1, 0, 2).reshape(len(across), -1), axis=1)
        return medians

    def spread(self, values: NDArray[Any], rows: slice = slice(None)) -> NDArray[Any]:
        """Values of shape `grid` on the plane's pixels, or on some of its rows."""
        down = np.repeat(np.arange(self.grid[0]), np.diff(self.edges(0)))[rows]
        across = np.repeat(np.arange(self.grid[1]), np.diff(self.edges(1)))
        spread: NDArray[Any] = values[down][:, across]
        return spread


MIDDLE = 1.19
"""Variance of the mean of the two middle ones of four normal values, times four."""
