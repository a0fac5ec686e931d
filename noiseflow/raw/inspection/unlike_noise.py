"""Compare the noise variance of the frames of a scene beyond chance, to find frames taken with another gain."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.raw.inspection.across_frames import FEWEST_VALUES, LEAST_NOISE, STILL

__all__ = ["structure_of", "unlike_words"]

BLOCKS = 12
"""Number of blocks of rows, and of columns, whose scatter gives the error of a frame's variance."""

CHANCE = 1e-4
"""Chance of a report for frames of equal normal noise; smaller still, because the ratio must also be large enough."""

LEAST_RATIO, LEAST_OF_TWO = 1.1, 1.4
"""Ratio of variances between two sets of frames from which they are reported; the second value is for two frames."""

MOST_STRUCTURE = 1.5
"""Largest variance of the mean of two frames, in units of their noise variance: structure that is not brought to
exactly the same light looks like noise of one of them."""

HALF_A_CODE = 0.5
"""The largest departures of two frames are left out from so far above their quantile, which is a whole number of codes
for most: otherwise only those of one sign are."""

PLACES, IN_ALL = 32768, 1 << 22
"""Largest number of positions that are compared, and of values."""

LISTED = 5
"""Number of frames that a caution names."""

Array = NDArray[np.float64]


def unlike_words(names: Sequence[str], values: NDArray[Any], where: NDArray[Any], expected: Array) -> str:
    """Caution about frames whose noise variance differs from that of the others; empty if there are none.

    Frames and blocks of pixels make a two-way analysis of variance of v(frame, block), relative to the block's mean:
    F = MS(frames)/MS(rest), once with blocks of rows and once of columns, so that noise which rows or columns share
    counts once.  The larger rest decides.  The frames are then divided into the two sets whose means differ most in
    relation to their numbers; what light that changes makes of their variances is taken out, by as much as it may be.

    Parameters
    ----------
    names : sequence of n str
        Names of the frames.
    values : ndarray, shape (n, k)
        Values in DN at the same k positions in n frames, brought to the same light, drift removed.
    where : ndarray of int, shape (2, k)
        Row and column of each position.
    expected : ndarray, shape (2, n)
        Least and most variance of each frame's values that light explains, relative to the typical frame: 1/r if all
        noise is photon noise, and 1/r² if none is, for r times the light, brought to the typical one.

    References
    ----------
    Scheffé: The analysis of variance, 1959, section 4.2 (two-way layout with one observation per cell).
    """
    count, places = values.shape
    if count < 2 or places < FEWEST_VALUES:
        return ""
    step = -(-places // max(min(PLACES, IN_ALL // count), FEWEST_VALUES))
    some, where = values[:, ::step].astype(np.float32), where[:, ::step]
    middle = np.sqrt(expected.prod(0))
    shares, chance = _shares(some, where, middle)
    if chance > CHANCE:
        return ""
    own = shares / middle
    order = np.argsort(own)
    low, high = (np.array([own[part].mean() for part in parts]) for parts in zip(*_cuts(order), strict=True))
    k = np.arange(1, count)
    at = 1 + int((k * (count - k) * (high - low) ** 2).argmax())
    quiet, loud = np.sort(order[:at]), np.sort(order[at:])
    ratio = float((shares / expected.max(0))[loud].mean() / (shares / expected.min(0))[quiet].mean())
    if not ratio > (LEAST_OF_TWO if count == 2 else LEAST_RATIO):
        return ""
    few, times = (loud, ratio) if len(loud) <= len(quiet) else (quiet, 1 / ratio)
    listed = ", ".join(names[frame] for frame in few[:LISTED]) + (", …" if len(few) > LISTED else "")
    verb = "has" if len(few) == 1 else "have"
    return (
        f"{listed} {verb} about {times:.2g} times the noise variance of the other frames, more than light and chance "
        "explain: another gain or ISO at the same level, another readout, or motion? The fitted gain and noise lie "
        "between; give frames of each setting a folder of their own"
    )


def structure_of(values: NDArray[Any]) -> float:
    """Variance of the frames' mean over the mean variance of a frame's noise; 0 if there is none of either.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Values in DN at the same k positions in n frames.
    """
    if not values.size:
        return 0.0
    mean = values.mean(0)
    noise = float(np.mean([np.square(each - mean).mean(dtype=np.float64) for each in values]))
    return float(mean.var(dtype=np.float64)) / noise if noise > 0 else 0.0


def _cuts(order: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the first k frames and the rest, for each k."""
    return ((order[:k], order[k:]) for k in range(1, len(order)))


def _shares(values: NDArray[np.float32], where: NDArray[Any], usual: Array) -> tuple[Array, float]:
    """Noise variance of each frame over the mean of all, shape (n,), and the chance of such differences."""
    count = len(values)
    squares = _of_two(*values) if count == 2 else _squares(values, usual)
    seen = np.isfinite(squares[0])
    chance, shares = 0.0, np.ones(count)
    for places in where[:, seen]:
        order = np.argsort(places, kind="stable")
        bounds = np.linspace(0, len(order), BLOCKS + 1).astype(int)[:-1]
        if len(order) < FEWEST_VALUES or np.ptp(places) < BLOCKS:
            return shares, 1.0
        sizes = np.diff([*bounds, len(order)])
        # Frame by frame, which takes no memory for copies of all.
        found = np.array([np.add.reduceat(each[seen][order], bounds, dtype=np.float64) / sizes for each in squares])
        variances = found
        if count > 2:
            variances = (found - found.sum(0) / (count * (count - 1))) / (1 - 2 / count)
        typical = variances.mean(0)
        if not typical.min() > LEAST_NOISE * STILL:
            return shares, 1.0
        relative = variances / typical
        shares = relative.mean(1)
        rest = float(np.square(relative - shares[:, None]).sum()) / ((count - 1) * (BLOCKS - 1))
        between = BLOCKS * float(np.square(shares - 1).sum()) / (count - 1)
        f = between / max(rest, 1e-12)
        chance = max(chance, float(scipy.special.fdtrc(count - 1, (count - 1) * (BLOCKS - 1), f)))
    return shares, chance


def _squares(values: NDArray[np.float32], usual: Array) -> NDArray[np.float32]:
    """Square departures of n ≥ 3 frames from their mean; NaN where their sum, over the `usual` ones, is largest."""
    values -= values.mean(0)
    values *= values
    together = (1 / usual).astype(np.float32) @ values
    values[:, together > np.quantile(together, STILL)] = np.nan
    return values


def _of_two(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values whose means are the noise variances of two frames: ((x₁ − x₂)² ± (x₁² − x₂²))/2; NaN as in `_squares`."""
    step, middle = first - second, (first + second) / 2
    size = np.abs(step)
    both, unlike = step**2 / 2, step * middle
    found = np.stack([both + unlike, both - unlike]).astype(np.float32, copy=False)
    found[:, size > np.quantile(size, STILL) + np.float32(HALF_A_CODE)] = np.nan
    if middle.var() > MOST_STRUCTURE * both.mean():
        found[:] = np.nan
    return found
