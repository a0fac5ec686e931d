"""Flat blocks of a picture, grouped into cells of similar signal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.single_frame.blocks import HIGH, MIDDLE, Blocks
from noiseflow.calibrate.single_frame.variance_line import VarianceLine, fit_variance_line

__all__ = ["Cells", "Chosen", "choose", "evenly", "first_line", "gather", "line_of"]

Array = NDArray[np.float64]

CELLS, FEWEST_CELLS = 16, 5
"""Largest and smallest number of cells per plane, equally spaced in the square root of the signal."""

BLOCKS_A_CELL = 60
"""Blocks per cell; a small picture has fewer cells rather than smaller ones."""

FLAT = 1.3
"""Largest energy of a flat block in the other planes, relative to noise: 4 σ of 3 × 60 coefficients, rounded down."""

LEAST_PART = 0.1
"""Fraction of a cell's blocks, the flattest, used even if they are textured; the middle frequencies correct for it."""

LEAST_BLOCKS = 12
"""Fewest blocks in a cell."""

LEAK = 0.09
"""Energy of texture in the high coefficients relative to that in the middle ones: 0.05 to 0.15 in pictures."""

BLOWN = 3.0
"""Energy relative to noise above which a block has a defect, or texture in its own plane only."""

UNCLIPPED = 4.0
"""Smallest distance of a block's mean from code 0 and from saturation, in standard deviations of a pixel."""

REGIONS = 6
"""Regions per side of the picture; the jackknife leaves them out one at a time."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Flat blocks of one plane.

    Parameters
    ----------
    index : ndarray of int, shape (B,)
        Index of each block.
    cell : ndarray of int, shape (B,)
        Cell of signal that each block belongs to.
    """

    index: NDArray[np.intp]
    cell: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums over flat blocks, by cell of signal and region of the picture.

    Parameters
    ----------
    plane : ndarray of int, shape (cells,)
        Plane of each cell.
    count : ndarray, shape (cells, regions)
        Effective number of blocks: overlapping ones count half.
    signal, high, middle : ndarray, shape (cells, regions)
        Sums of the blocks' means (DN), and of their energies in high and middle coefficients (DN²).
    """

    plane: NDArray[np.intp]
    count: Array
    signal: Array
    high: Array
    middle: Array

    def of_plane(self, plane: int) -> "Cells":
        """Return the cells of one plane, given by its index."""
        kept = self.plane == plane
        return Cells(self.plane[kept], self.count[kept], self.signal[kept], self.high[kept], self.middle[kept])

    @property
    def excess(self) -> Array:
        """Relative excess of the middle over the high coefficients, shape (cells,); 0 for white noise."""
        return np.asarray(self.middle.sum(1) / np.maximum(self.high.sum(1), 1e-12) - 1)


def first_line(blocks: Sequence[Blocks], ceiling: Sequence[float]) -> VarianceLine:
    """Fit a first line through the lowest decile of the high-frequency energies of all planes together.

    Parameters
    ----------
    blocks : sequence of Blocks
        Blocks of each plane.
    ceiling : sequence of float
        Saturation above black of each plane, DN.

    Returns
    -------
    VarianceLine
        The line; a constant variance if there are too few levels or the variance does not rise.
    """
    x = np.concatenate([np.maximum(each.mean, 0) for each in blocks])
    y = np.concatenate([each.high for each in blocks])
    kept = np.concatenate([each.mean < 0.9 * top for each, top in zip(blocks, ceiling, strict=True)])
    x, y = x[kept], y[kept]
    if not len(x):
        return VarianceLine(1.0, 0.0, 0.0, np.zeros((2, 2)), 0.0)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, CELLS + 1)))
    cell = np.clip(np.searchsorted(edges, x, "right") - 1, 0, max(len(edges) - 2, 0))
    signal = np.array([x[cell == k].mean() for k in np.unique(cell)])
    # The lowest decile of χ²/34 is 0.70.
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
    """Choose the blocks of a plane that the *other* planes show to be flat.

    Texture of a scene appears in all planes, while noise is independent between them.  Selection by the other
    planes is therefore unbiased for any distribution of the noise, and needs no correction.

    Parameters
    ----------
    plane : int
        Index of the plane.
    blocks : sequence of Blocks
        Blocks of each plane.
    lines : sequence of VarianceLine
        Current estimate of each plane's noise.
    black, ceiling : sequence of float
        Black level of each plane, and saturation above it, DN.

    Returns
    -------
    Chosen
        Flat blocks that are neither clipped nor at code 0.
    """
    activity, counted = np.zeros(len(blocks[0].mean)), np.zeros(len(blocks[0].mean))
    for other, (each, line, top) in enumerate(zip(blocks, lines, ceiling, strict=True)):
        if other != plane:
            # A clipped plane looks flat whatever the scene.
            unclipped = each.mean < 0.9 * top
            activity += np.where(unclipped, each.active / line.at(each.mean), 0)
            counted += unclipped
    own, line = blocks[plane], lines[plane]
    variance = line.at(own.mean)
    sigma = np.sqrt(variance)
    usable = (own.mean + UNCLIPPED * sigma < ceiling[plane]) & (own.mean + black[plane] > UNCLIPPED * sigma)
    usable &= (counted > 0) & (own.high < BLOWN * variance) & (own.mean > -3 * sigma)
    flatness = np.where(usable, activity / np.maximum(counted, 1), np.inf)
    cell = np.full(len(usable), -1)
    cell[usable] = evenly(own.mean[usable])
    kept = np.zeros(len(usable), bool)
    for k in range(CELLS):
        members = cell == k
        if members.sum() >= LEAST_BLOCKS:
            kept |= members & (flatness <= max(FLAT, float(np.quantile(flatness[members], LEAST_PART))))
    index = np.flatnonzero(kept)
    return Chosen(index, cell[index])


def evenly(mean: Array) -> NDArray[np.intp]:
    """Assign blocks to cells that are equally spaced in the square root of the signal.

    Parameters
    ----------
    mean : ndarray, shape (B,)
        Mean of each block, DN above black.

    Returns
    -------
    ndarray of int, shape (B,)
        Cell of each block.
    """
    if not len(mean):
        return np.empty(0, np.intp)
    root = np.sqrt(np.maximum(mean, 0))
    cells = int(np.clip(len(root) // BLOCKS_A_CELL, FEWEST_CELLS, CELLS))
    edges = np.linspace(float(root.min()), float(root.max()) + 1e-9, cells + 1)
    return np.clip(np.searchsorted(edges, root, "right") - 1, 0, cells - 1)


def gather(blocks: Sequence[Blocks], chosen: Sequence[Chosen]) -> Cells:
    """Sum the chosen blocks by cell and region.

    Parameters
    ----------
    blocks : sequence of Blocks
        Blocks of each plane.
    chosen : sequence of Chosen
        Flat blocks of each plane.

    Returns
    -------
    Cells
        The sums; cells of too few blocks are left out.
    """
    rows, columns = blocks[0].grid
    region = (np.arange(rows) * REGIONS // rows)[:, None] * REGIONS + (np.arange(columns) * REGIONS // columns)
    region = region.ravel()
    plane, sums = [], []
    for number, (each, taken) in enumerate(zip(blocks, chosen, strict=True)):
        place = taken.cell * REGIONS**2 + region[taken.index]
        size = CELLS * REGIONS**2
        # Blocks that overlap by half carry about half as much information as their number suggests.
        part = 0.5 if each.stride < 8 else 1.0
        values = (np.ones(len(place)), each.mean[taken.index], each.high[taken.index], each.middle[taken.index])
        sums.append(np.stack([part * np.bincount(place, value, size).reshape(CELLS, -1) for value in values], axis=0))
        plane += [number] * CELLS
    count, signal, high, middle = np.concatenate(sums, axis=1)
    kept = count.sum(1) >= LEAST_BLOCKS / 2
    return Cells(np.array(plane, np.intp)[kept], count[kept], signal[kept], high[kept], middle[kept])


def line_of(cells: Cells, left_out: int | None = None, leak: float = LEAK) -> VarianceLine | None:
    """Fit the line of variance over signal to the cells, with or without one region.

    Parameters
    ----------
    cells : Cells
        Sums over flat blocks.
    left_out : int, optional
        Index of a region to leave out.
    leak : float
        Energy of texture in the high coefficients relative to that in the middle ones.

    Returns
    -------
    VarianceLine or None
        The line; None with fewer than four cells.
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
