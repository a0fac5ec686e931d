"""Differences between neighbouring sensor rows, each measured over the whole width of a frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.augment.denoise.lines.posterior import Differences

__all__ = ["PixelNoise", "row_differences"]

Array = NDArray[np.float32]
Strips = Iterable[tuple[int, Array]]
"""Strips of a frame: first cell row, and planes (4, h, w), normalised, in raster order of a cell.

Each strip begins with the last cell row of the strip before.
"""

BLOCK = 8
"""Number of pixels of a plane in a row that are averaged to a block."""

FREEDOM = 3.0
"""Degrees of freedom of Student's t for block differences in units of their noise; edges are outliers."""

ROUNDS = 6
"""Rounds of reweighting."""

LEAST = 4
"""Fewest blocks in a row for a measurement."""


@dataclass(frozen=True, eq=False)
class PixelNoise:
    """Noise and clip level of single pixels.

    Parameters
    ----------
    slope, offset : ndarray, shape (4, 1, 1)
        Coefficients of the variance β₁·x + β₂ of the normalised signal x, without line noise.
    clip : ndarray, shape (4, 1, 1)
        Normalised signal at and above which pixels are clipped.
    greens : (int, int)
        Plane of the green in the upper row of a cell, and in the lower row.
    """

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    clip: NDArray[np.float64]
    greens: tuple[int, int] = (1, 2)


def row_differences(strips: Strips, noise: PixelNoise) -> list[Differences]:
    """Measure differences between sensor rows: rows two apart in the same colours, adjacent rows in their greens.

    Each difference is a robust mean over blocks of `BLOCK` pixels: the maximum-likelihood location under Student's t
    in units of the blocks' noise.  Flat blocks agree on the difference of their rows' offsets; edges, texture and hot
    pixels are outliers.

    Parameters
    ----------
    strips : iterable of (int, ndarray)
        The frame in `Strips`.
    noise : PixelNoise
        Noise for weighting the blocks; bright ones have more noise.

    Returns
    -------
    list of Differences
        One entry per kind of pair; empty if the rows are too short.
    """
    found: dict[str, list[Differences]] = {}
    for top, planes in strips:
        if planes.shape[2] < LEAST * BLOCK:
            return []
        for name, each in _of_strip(top, planes, noise):
            found.setdefault(name, []).append(each)
    joined = {name: _joined(parts) for name, parts in found.items()}
    # A difference of the two greens in gain or black level would alternate from row to row; subtract it.
    return [_centred(each) if each.lag == 1 else each for each in joined.values()]


def _of_strip(top: int, planes: Array, noise: PixelNoise) -> Iterator[tuple[str, Differences]]:
    cells, count = planes.shape[1], planes.shape[2] // BLOCK
    blocks = planes[:, :, : count * BLOCK].reshape(4, cells, count, BLOCK)
    mean = blocks.mean(3)
    variance = ((noise.slope * mean.clip(0) + noise.offset) / BLOCK).astype(np.float32)
    # Clipped pixels do not show their row's offset.
    variance[(blocks >= noise.clip[..., None]).any(3)] = np.inf

    def compared(
        upper: slice, lower: slice, *pairs: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        change = np.concatenate([mean[b, lower] - mean[a, upper] for a, b in pairs], 1)
        spread = np.concatenate([variance[b, lower] + variance[a, upper] for a, b in pairs], 1)
        return _location(change, spread)

    green, other = noise.greens
    above, below = slice(0, -1), slice(1, None)
    # The first cell row was already part of the strip before.
    new = slice(0 if top == 0 else 1, None)
    step = 2 * (top + np.arange(cells))
    yield "upper", Differences(2, step[above], *compared(above, below, (0, 0), (1, 1)))
    yield "lower", Differences(2, step[above] + 1, *compared(above, below, (2, 2), (3, 3)))
    yield "within", Differences(1, step[new], *compared(new, new, (green, other)))
    yield "between", Differences(1, step[above] + 1, *compared(above, below, (other, green)))


def _location(change: Array, spread: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust mean of each row of `change`, (rows, blocks), with variances `spread`; and its squared standard error."""
    weight = 1 / spread
    information = weight.sum(1, dtype=np.float64)
    place = np.median(change, 1)[:, None]
    square = np.empty_like(change)
    for _ in range(ROUNDS):
        np.subtract(change, place, out=square)
        square *= square
        square *= weight
        square += np.float32(FREEDOM)
        robust = np.float32(FREEDOM + 1) * weight / square
        total = robust.sum(1, keepdims=True).clip(np.finfo(np.float32).tiny)
        place = (robust * change).sum(1, keepdims=True) / total
    error = np.square(robust * (change - place)).sum(1, dtype=np.float64) / total[:, 0].astype(np.float64) ** 2
    with np.errstate(divide="ignore"):
        return place[:, 0].astype(np.float64), np.maximum(error, 1 / information)


def _joined(parts: list[Differences]) -> Differences:
    first, value, variance = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "value", "variance")
    )
    return Differences(parts[0].lag, first, value, variance)


def _centred(differences: Differences) -> Differences:
    measured = np.isfinite(differences.variance)
    middle = np.median(differences.value[measured]) if measured.any() else 0.0
    return Differences(differences.lag, differences.first, differences.value - middle, differences.variance)
