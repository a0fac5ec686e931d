"""`Blocks`: divide planes into blocks of about 16×16 pixels and compute statistics of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIDDLE",
    "SIDE",
    "Blocks",
    "median",
    "part_of_rows",
    "robust_line",
    "typical_variance",
    "variance_of_means",
    "within_variance",
]

SIDE = 16
"""Smallest side of a block in pixels of a plane; a smaller plane is one block."""

STRIP = 8
"""Rows of blocks processed at a time; this many fit into the processor's cache."""


@dataclass(frozen=True)
class Blocks:
    """A grid of nearly equal blocks, each divided into up to 2×2 quarters.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of the whole plane.
    first, last : int
        First row of blocks, and the one after the last; None means the last of the plane.  The
        methods take only the pixels of these rows.
    """

    shape: tuple[int, int]
    first: int = 0
    last: int | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Number of blocks down and across."""
        down, across = self._whole
        return (down if self.last is None else self.last) - self.first, across

    @property
    def _whole(self) -> tuple[int, int]:
        return max(1, self.shape[0] // SIDE), max(1, self.shape[1] // SIDE)

    @property
    def halves(self) -> tuple[int, int]:
        """Number of quarters of a block down and across: 2 and 2, or 1 if the plane is one pixel high or wide."""
        return min(2, self.shape[0]), min(2, self.shape[1])

    @property
    def rows(self) -> slice:
        """Rows of pixels of the plane that the blocks cover."""
        count = self._whole[0]
        return slice(*(edge * self.shape[0] // count for edge in (self.first, self.first + self.grid[0])))

    def strips(self, most: int | None = None) -> Iterator["Blocks"]:
        """Yield the blocks in strips of up to `most` rows of blocks, by default `STRIP`."""
        most = most or STRIP
        stop = self.first + self.grid[0]
        for first in range(self.first, stop, most):
            yield replace(self, first=first, last=min(first + most, stop))

    def edges(self, axis: int, parts: int = 1) -> NDArray[np.intp]:
        """First pixel of each block (or of each of its `parts`) along an axis, and the end; a read-only array."""
        return _edges(self, axis, parts)

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Number of pixels of each block, shape `grid`."""
        rows, columns = (np.diff(self.edges(axis)).astype(np.float64) for axis in (0, 1))
        return rows[:, None] * columns

    def quarters(self, planes: NDArray[Any]) -> NDArray[np.float64]:
        """Means of each block's quarters, shape (…, *grid, 4); fewer in planes one pixel high or wide.

        Parameters
        ----------
        planes : ndarray, shape (…, h, w)
            Values of one or more planes.
        """
        (down, across), (high, wide) = self.grid, self.halves
        spans, columns, pixels = _quartered(self)
        kind = planes.dtype if planes.dtype.kind == "f" else np.float64
        # Sum over rows first: they are contiguous, which is many times faster than columns first.
        sums = np.empty((*planes.shape[:-2], len(spans), planes.shape[-1]), kind)
        for place, (top, end) in enumerate(spans):
            np.add.reduce(planes[..., top:end, :], -2, dtype=kind, out=sums[..., place, :])
        means = _between(sums, columns) / pixels
        quarters: NDArray[np.float64] = means.reshape(*means.shape[:-2], down, high, across, wide).swapaxes(-3, -2)
        return quarters.reshape(*means.shape[:-2], down, across, high * wide)

    def of_quarters(self, quarters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each block from the means of its quarters, shape (…, *grid, 4) to (…, *grid)."""
        (down, across), (high, wide) = self.grid, self.halves
        parts = _quartered(self)[2].reshape(down, high, across, wide).swapaxes(1, 2).reshape(down, across, high * wide)
        return np.asarray((quarters * parts).sum(-1) / parts.sum(-1))

    def middles(self, planes: NDArray[Any]) -> NDArray[np.float64]:
        """Median of the means of each block's quarters, shape (…, *grid).

        An outlier pixel affects only one quarter.  For white noise of variance σ² the result has
        variance `MIDDLE` σ²/N, with N pixels in the block.

        Parameters
        ----------
        planes : ndarray, shape (…, h, w)
            Values of one or more planes.
        """
        return np.asarray(median(self.quarters(planes)), np.float64)

    def means(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of each block of a plane (h, w), shape `grid`."""
        rows = self.edges(0)
        sums = np.stack([plane[top:end].sum(0) for top, end in pairwise(rows)])
        means: NDArray[np.float64] = np.add.reduceat(sums, self.edges(1)[:-1], axis=1, dtype=np.float64) / self.pixels
        return means

    def maxima(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Largest value in each block of a plane (h, w), shape `grid`."""
        rows = self.edges(0)
        down = np.stack([plane[top:end].max(0) for top, end in pairwise(rows)])
        maxima: NDArray[Any] = np.maximum.reduceat(down, self.edges(1)[:-1], axis=1)
        return maxima

    def medians(self, plane: NDArray[Any]) -> NDArray[np.float64]:
        """Median over every second row of each block of a plane (h, w), shape `grid`."""
        rows, columns = self.edges(0), self.edges(1)
        medians = np.empty(self.grid)
        # Take the same number of pixels from every block, so that one call handles a row of blocks.
        height, width = (int(np.diff(edges).min()) for edges in (rows, columns))
        down = np.arange(0, height, 2)[:, None] * plane.shape[1]
        within = (columns[:-1, None, None] + down + np.arange(width)).reshape(len(columns) - 1, -1)
        pixels = plane.reshape(-1)
        for block, top in enumerate((rows[:-1] * plane.shape[1]).tolist()):
            medians[block] = median(pixels[top:].take(within))
        return medians

    def beyond(self, plane: NDArray[Any], limits: NDArray[Any]) -> NDArray[np.intp]:
        """Positions (y, x) of pixels above the limit of their block, shape (k, 2).

        Parameters
        ----------
        plane : ndarray, shape (h, w)
            Values of one plane.
        limits : ndarray, shape `grid`
            Limit of each block.
        """
        widths = np.diff(self.edges(1))
        found = []
        for (top, end), own in zip(pairwise(self.edges(0).tolist()), limits, strict=True):
            limit = np.repeat(own, widths)
            # Such pixels are few: the maximum of each column excludes most rows of blocks.
            columns = np.flatnonzero(plane[top:end].max(0) > limit)
            if columns.size:
                y, place = np.nonzero(plane[top:end, columns] > limit[columns])
                at = np.stack([y + top, columns[place]], 1)
                found.append(at[np.lexsort((at[:, 1], at[:, 0]))])
        return np.concatenate(found) if found else np.empty((0, 2), np.intp)

    def of_pixels(self, values: NDArray[Any], at: NDArray[np.intp]) -> NDArray[Any]:
        """Value of the block of each pixel.

        Parameters
        ----------
        values : ndarray, shape `grid`
            One value per block.
        at : ndarray of int, shape (k, 2)
            y, x of the pixels.
        """
        down, across = (np.searchsorted(self.edges(axis), at[:, axis], side="right") - 1 for axis in (0, 1))
        return np.asarray(values[down, across])

    def spread(self, values: NDArray[Any], rows: slice = slice(None)) -> NDArray[Any]:
        """Spread one value per block over its pixels, for all rows or some of them."""
        down = np.repeat(np.arange(self.grid[0]), np.diff(self.edges(0)))[rows]
        across = np.repeat(np.arange(self.grid[1]), np.diff(self.edges(1)))
        spread: NDArray[Any] = values[down][:, across]
        return spread


@lru_cache(maxsize=1024)
def _edges(blocks: Blocks, axis: int, parts: int) -> NDArray[np.intp]:
    count = blocks._whole[axis] * parts
    edges: NDArray[np.intp] = np.arange(count + 1) * blocks.shape[axis] // count
    if axis == 0:
        edges = edges[blocks.first * parts : (blocks.first + blocks.grid[0]) * parts + 1]
    edges -= edges[0]
    edges.setflags(write=False)
    return edges


@lru_cache(maxsize=1024)
def _quartered(blocks: Blocks) -> tuple[list[tuple[int, int]], NDArray[np.intp], NDArray[np.intp]]:
    """Row spans of the blocks' quarters, edges of their columns, and number of pixels of each."""
    high, wide = blocks.halves
    rows, columns = blocks.edges(0, high), blocks.edges(1, wide)
    pixels = np.diff(rows)[:, None] * np.diff(columns)
    return list(pairwise(rows.tolist())), columns, pixels


def _between(values: NDArray[Any], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums along the last axis from each edge to the next."""
    widths = np.diff(edges)
    if (widths != widths[0]).any() or widths[0] > SIDE:
        return np.asarray(np.add.reduceat(values, edges[:-1], axis=-1, dtype=np.float64))
    # Adding strided rows, once per pixel of a part's width, takes half the time of summing each part.
    sums = values[..., edges[0] : edges[-1] : widths[0]].astype(np.float64)
    for step in range(1, int(widths[0])):
        sums += values[..., edges[0] + step : edges[-1] : widths[0]]
    return sums


OUTLYING = 4.0
"""Blocks that depart from a line by more than this many robust σ are left out of its fit."""

MIDDLE = 1.19
"""Four times the variance of the median of four standard normal values."""


def median(values: NDArray[Any]) -> Any:
    """Median along a short last axis, by sorting, in a tenth of the time of `numpy.median`.

    >>> float(median(np.array([5.0, 1.0, 2.0, 9.0])))
    3.5
    """
    count = values.shape[-1]
    if count == 4:
        a, b, c, d = np.moveaxis(values, -1, 0)
        return (np.maximum(np.minimum(a, b), np.minimum(c, d)) + np.minimum(np.maximum(a, b), np.maximum(c, d))) / 2
    ordered = np.sort(values, axis=-1)
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2


def robust_line(
    y: NDArray[np.float64], x: NDArray[np.float64] | None, weights: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Fit a line to values of blocks; return offset, slope and the slope's standard error.

    Parameters
    ----------
    y, x : ndarray, shape (k,)
        Values of the blocks; the slope is 0 if x is None or constant.
    weights : ndarray, shape (k,)
        Inverse variances of y.
    """
    kept = np.ones(len(y), bool)
    offset, slope, error, scale = 0.0, 0.0, np.inf, 1.0
    if not weights.any():
        return offset, slope, error
    root = np.sqrt(weights)
    # Sums instead of dot products, whose results in BLAS depend on the number of threads, and which cost more here.
    for _ in range(10):
        w = weights * kept
        total = float(w.sum())
        mean_y = float((w * y).sum()) / total
        offset = mean_y
        if x is not None:
            mean_x = float((w * x).sum()) / total
            across = x - mean_x
            power = float((w * across**2).sum())
            # If all x are equal, only rounding of their mean is left.
            if power > 1e-12 * float((w * x**2).sum()):
                slope = float((w * across * (y - mean_y)).sum()) / power
                error = power**-0.5
                offset = mean_y - slope * mean_x
        rest = np.abs(y - offset - (slope * x if x is not None else 0.0)) * root
        scale = max(1.4826 * float(np.partition(rest, len(rest) // 2)[len(rest) // 2]), 1.0)
        now = rest <= OUTLYING * scale
        # Stop if only blocks without weight, such as saturated ones, are left.
        if not (weights * now).any() or (now == kept).all():
            break
        kept = now
    # Noise common to many blocks (row noise, banding) makes the slope less certain than white noise does.
    return offset, slope, error * scale


def typical_variance(signal: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Typical variance in DN² of blocks with the same signal, for each block; motion does not affect it.

    Interpolated between medians over up to 16 groups of blocks sorted by signal.  Above the brightest group it grows
    in proportion to the signal, as photon noise does.
    """
    typical = np.empty_like(variance)
    for plane, (s, v) in enumerate(zip(signal, variance, strict=True)):
        groups = np.array_split(np.argsort(s, axis=None), max(1, min(16, s.size // 16)))
        at = np.array([np.median(s.ravel()[group]) for group in groups])
        middle = np.array([np.median(v.ravel()[group]) for group in groups])
        typical[plane] = np.interp(s, at, middle) * np.maximum(s / max(at[-1], 1.0), 1.0)
    return typical


def variance_of_means(
    variance: NDArray[np.float64],
    signal: NDArray[np.float64],
    pixels: NDArray[np.float64],
    saturated: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Variance of a block mean of one frame in DN², infinite for blocks that reach the clip level.

    Parameters
    ----------
    variance : ndarray, shape (C, *grid)
        Temporal variance of the pixels of each block, DN²; of blocks with the same signal, where that is smaller.
    signal : ndarray, shape (C, *grid)
        Signal of each block above black, DN.
    pixels : ndarray, shape (*grid)
        Number of pixels of each block.
    saturated : ndarray of bool, shape (C, *grid)
        Blocks that reach the clip level.
    """
    found = np.asarray(MIDDLE * np.minimum(variance, typical_variance(signal, variance)) / pixels, np.float64)
    # A saturated block does not follow flicker; its patches are left out as clipped.
    found[saturated] = np.inf
    return found


def within_variance(variance: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Temporal variance in DN² of a block's pixels, less that of the block as a whole, which moves.

    Parameters
    ----------
    variance : ndarray, shape (C, *grid)
        Mean temporal variance of the pixels of each block, DN².
    residuals : ndarray, shape (n, C, *grid)
        Block means of n ≥ 2 frames less what drift and flicker explain, DN.
    """
    own = residuals - residuals.mean(0)
    # At least the variance of rounding.
    return np.asarray(np.maximum(variance - np.square(own).sum(0) / (len(own) - 1), 1 / 12))


def part_of_rows(residuals: NDArray[np.float64], signal: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Part of the residuals that is, in each row of blocks of a frame, a factor of the light; near 0 if things move."""
    weight = 1 / variance
    along, power = ((weight * signal * each).sum((-3, -1)) for each in (residuals, signal))
    whole = float((weight * residuals**2).sum())
    # Of things that move in a few columns of blocks the factor explains their share of the row, and noise less.
    return float((along**2 / np.maximum(power, 1e-300)).sum()) / whole if whole > 0 else 0.0
