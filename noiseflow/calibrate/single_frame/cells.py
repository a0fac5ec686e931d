"""Flat blocks of a picture, gathered into cells of like signal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.single_frame.blocks import HIGH, MIDDLE, Blocks
from noiseflow.calibrate.single_frame.variance_line import VarianceLine, fit_variance_line

__all__ = ["Cells", "Chosen", "choose", "evenly", "first_line", "gather", "line_of"]

Array = NDArray[np.float64]

CELLS, FEWEST_CELLS = 16, 5
"""Of one plane, even in the root of the signal; fewer in a small picture."""

BLOCKS_A_CELL = 60
"""Of a picture, below which cells are fewer."""

FLAT = 1.3
"""A block is flat if its other planes hold at most this times the noise: 4 σ of 3 × 60 coefficients, rounded down."""

LEAST_PART = 0.1
"""Of the blocks of a cell that is taken however textured they are; the middle frequencies say what that cost."""

LEAST_BLOCKS = 12

LEAK = 0.09
"""Energy of texture in the high coefficients over that in the middle ones: 0.05 to 0.15 in pictures."""

BLOWN = 3.0
"""A block with this many times the noise's energy holds a defect, or texture in this plane alone."""

UNCLIPPED = 4.0
"""Standard deviations that a block's mean must keep from 0 and from saturation."""

REGIONS = 6
"""A side of the grid of regions that the jackknife leaves out one by one."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Flat blocks of one plane.

    Parameters
    ----------
    index : ndarray of int, shape (B,)
        Number of the block.
    cell : ndarray of int, shape (B,)
        Cell of signal that it is in.
    """

    index: NDArray[np.intp]
    cell: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over flat blocks, by cell of signal and region of the picture; shapes (cells, regions).

    Parameters
    ----------
    plane : ndarray of int, shape (cells,)
        Plane of a cell.
    count : ndarray
        Blocks, overlap counted off.
    signal, high, middle : ndarray
        Sums of the mean (DN), and of the energy in high and middle coefficients (DN²).
    """

    plane: NDArray[np.intp]
    count: Array
    signal: Array
    high: Array
    middle: Array

    def of_plane(self, plane: int) -> "Cells":
        """The cells of one plane."""
        kept = self.plane == plane
        return Cells(self.plane[kept], self.count[kept], self.signal[kept], self.high[kept], self.middle[kept])

    @property
    def excess(self) -> Array:
        """Relative excess of the middle over the high coefficients: 0 for white noise."""
        return np.asarray(self.middle.sum(1) / np.maximum(self.high.sum(1), 1e-12) - 1)


def first_line(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> VarianceLine:
    """A start: a line through the low tenth of the high energies of all planes together."""
    x = np.concatenate([np.maximum(each.mean, 0) for each in blocks])
    y = np.concatenate([each.high for each in blocks])
    kept = np.concatenate([each.mean < 0.9 * top for each, top in zip(blocks, ceiling, strict=True)])
    x, y = x[kept], y[kept]
    if not len(x):
        return VarianceLine(1.0, 0.0, 0.0, np.zeros((2, 2)), 0.0)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, CELLS + 1)))
    cell = np.clip(np.searchsorted(edges, x, "right") - 1, 0, max(len(edges) - 2, 0))
    signal = np.array([x[cell == k].mean() for k in np.unique(cell)])
    # The tenth part of χ²/34 is 0.70.
    low = np.array([np.quantile(y[cell == k], 0.1) / 0.7 for k in np.unique(cell)])
    if len(signal) < 3:
        return VarianceLine(max(float(low.min()), 1e-2), 0.0, 0.0, np.zeros((2, 2)), 0.0)
    line = fit_variance_line(signal, low, 0.1 * low + 1e-3)
    return line if line.gain > 0 else VarianceLine(max(float(low.min()), 1e-2), 0.0, 0.0, np.zeros((2, 2)), 0.0)


def choose(
    plane: int,
    blocks: Sequence[Blocks],
    lines: Sequence[VarianceLine],
    black: Sequence[float],
    ceiling: Sequence[float],
) -> Chosen:
    """Blocks of a plane that the *other* planes show to be flat.

    A scene's texture is in all colours, noise is not: a block chosen by the noise of other pixels is chosen
    without bias, whatever the distribution of the noise, and nothing has to be divided out.

    Parameters
    ----------
    plane : int
        Number of the plane.
    blocks : sequence of Blocks
        Blocks of all planes.
    lines : sequence of VarianceLine
        Noise of each plane as known so far.
    black, ceiling : sequence of float
        Black level, and saturation above it, DN, one a plane.
    """
    happening, seen = np.zeros(len(blocks[0].mean)), np.zeros(len(blocks[0].mean))
    for other, (each, line, top) in enumerate(zip(blocks, lines, ceiling, strict=True)):
        if other != plane:
            # A clipped plane looks flat and says nothing.
            told = each.mean < 0.9 * top
            happening += np.where(told, each.active / line.at(each.mean), 0)
            seen += told
    own, line = blocks[plane], lines[plane]
    variance = line.at(own.mean)
    sigma = np.sqrt(variance)
    whole = (own.mean + UNCLIPPED * sigma < ceiling[plane]) & (own.mean + black[plane] > UNCLIPPED * sigma)
    whole &= (seen > 0) & (own.high < BLOWN * variance) & (own.mean > -3 * sigma)
    flatness = np.where(whole, happening / np.maximum(seen, 1), np.inf)
    cell = np.full(len(whole), -1)
    cell[whole] = evenly(own.mean[whole])
    kept = np.zeros(len(whole), bool)
    for k in range(CELLS):
        members = cell == k
        if members.sum() >= LEAST_BLOCKS:
            kept |= members & (flatness <= max(FLAT, float(np.quantile(flatness[members], LEAST_PART))))
    index = np.flatnonzero(kept)
    return Chosen(index, cell[index])


def evenly(mean: Array) -> NDArray[np.intp]:
    """Cell of each block, even in the root of the signal."""
    if not len(mean):
        return np.empty(0, np.intp)
    root = np.sqrt(np.maximum(mean, 0))
    cells = int(np.clip(len(root) // BLOCKS_A_CELL, FEWEST_CELLS, CELLS))
    edges = np.linspace(float(root.min()), float(root.max()) + 1e-9, cells + 1)
    return np.clip(np.searchsorted(edges, root, "right") - 1, 0, cells - 1)


def gather(blocks: Sequence[Blocks], chosen: Sequence[Chosen]) -> Cells:
    """Sums by cell and region; cells of too few blocks are left out."""
    rows, columns = blocks[0].grid
    region = (np.arange(rows) * REGIONS // rows)[:, None] * REGIONS + (np.arange(columns) * REGIONS // columns)
    region = region.ravel()
    plane, sums = [], []
    for number, (each, taken) in enumerate(zip(blocks, chosen, strict=True)):
        at = taken.cell * REGIONS**2 + region[taken.index]
        size = CELLS * REGIONS**2
        # Blocks that overlap by half hold about half as much as they count.
        part = 0.5 if each.stride < 8 else 1.0
        values = (np.ones(len(at)), each.mean[taken.index], each.high[taken.index], each.middle[taken.index])
        sums.append(np.stack([part * np.bincount(at, value, size).reshape(CELLS, -1) for value in values], axis=0))
        plane += [number] * CELLS
    count, signal, high, middle = np.concatenate(sums, axis=1)
    kept = count.sum(1) >= LEAST_BLOCKS / 2
    return Cells(np.array(plane, np.intp)[kept], count[kept], signal[kept], high[kept], middle[kept])


def line_of(cells: Cells, left_out: int | None = None, leak: float = LEAK) -> VarianceLine | None:
    """The line through cells, with or without one region; None if there are fewer than four.

    Parameters
    ----------
    left_out : int, optional
        Region that is not counted.
    leak : float
        Texture in the high coefficients over that in the middle ones.
    """
    sums = (cells.count, cells.signal, cells.high, cells.middle)
    if left_out is None:
        count, signal, high, middle = (each.sum(1) for each in sums)
    else:
        count, signal, high, middle = (each.sum(1) - each[:, left_out] for each in sums)
    kept = (count >= LEAST_BLOCKS / 4) & (high > 0)
    if kept.sum() < 4:
        return None
    count, signal, high, middle = count[kept], signal[kept], high[kept], middle[kept]
    x, variance, excess = signal / count, high / count, middle / np.maximum(high, 1e-12) - 1
    counting = np.sqrt(2 / count * (1 / HIGH.sum() + leak**2 / MIDDLE.sum()))
    texture = leak * np.maximum(excess, 0)
    error = variance * np.sqrt(counting**2 + texture**2 + 0.003**2)
    return fit_variance_line(x, variance * (1 - leak * np.maximum(excess, -0.5)), error)
