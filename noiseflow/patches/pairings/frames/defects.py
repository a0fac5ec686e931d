"""Hot, dead, stuck and unsteady pixels, told from their neighbours of the same plane."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.patches.pairings.frames.blocks import Blocks
from noiseflow.raw.patterns import MONO, offsets

__all__ = ["DEFECT_KINDS", "NO_DEFECTS", "Defects", "find_defects", "joined"]

DEFECT_KINDS = ("hot", "dead", "stuck", "unsteady")
"""Far above its neighbours; far below; never changing; of far more temporal variance."""

NOISE_KINDS = ("unsteady",)
"""Kinds that are counted but not masked: random telegraph noise and heavy tails are noise of the camera."""

OWN_SIGMAS = 3.0
"""Own temporal σ by which an unsteady pixel departs from its neighbours, from which on it is hot or dead."""

SIGMAS = 8.0
"""Of the spread of the same block's pixels about their neighbours' mean: normal noise passes it
less than once in 10¹⁰ pixels, the 10 % by which the block's own spread is uncertain counted in."""
SCENE_SIGMAS = 35.0
"""The same in a scene with structure, so that `SHARED` of it stands out of the other planes' noise."""
SHARED = 0.1
"""Part of its height that light on a pixel gives its neighbours of other planes, or more: 0.12 for
a star of a Gaussian σ of half a pixel of the mosaic, sharper than lenses are."""
BESIDE = 1
"""Pixels of other planes beside a bad one that may depart the same way: of a hundredth of bad pixels, one in six has a
bad one there, and two in a hundred have two; light falls on more."""
AMPLITUDE = 5.0
"""Least departure in σ of one frame's temporal noise: a smaller one is fixed pattern."""
UNLIKELY = 1e-10
"""Chance of a normal pixel being called stuck, or unsteady before `ALLOWANCE`."""
ALLOWANCE = 1.5
"""The variance of heavy-tailed read noise scatters more than χ² says."""
TOUCHING = 2
"""Pixels of the mosaic over which a lens spreads the light of a point."""
LISTED = 1000
"""Most positions that are listed."""
SATURATED = 0.9
FLOOR_DN = 0.05
"""Least spread of a temporal mean: codes are whole numbers."""

NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@dataclass(frozen=True, eq=False)
class Defects:
    """Defective pixels of a frame.

    Parameters
    ----------
    mask : ndarray of bool, shape (C, h, w)
        True where a pixel is defective; those that are unsteady only are noise, and are not masked.
    counts : mapping of str to int
        By kind; a pixel counts once.
    listed : tuple of (plane, y, x, kind)
        Up to 1000.
    """

    mask: NDArray[np.bool_]
    counts: Mapping[str, int]
    listed: tuple[tuple[int, int, int, str], ...]

    @property
    def facts(self) -> dict[str, Any]:
        """Counts and positions, JSON-able."""
        return {"counts": dict(self.counts), "pixels": [list(each) for each in self.listed]}


NO_DEFECTS = Defects(np.zeros((0, 0, 0), bool), dict.fromkeys(DEFECT_KINDS, 0), ())
"""Nothing looked at, nothing found."""


def find_defects(
    mean: NDArray[np.float32],
    variance: NDArray[np.float32] | None,
    frames: int,
    *,
    levels: tuple[NDArray[np.float64], float],
    drift_variance: NDArray[np.float64] | None = None,
    structured: bool,
    cfa: str = MONO,
    signal: NDArray[np.float64],
    blocks: Blocks,
    inner: slice,
) -> Defects:
    """Compare each pixel with its eight neighbours of the same plane.

    *hot*, *dead*: the temporal mean departs from the neighbours' by more than 8 robust σ of
    that departure in the pixel's block, and by more than 5σ of the neighbours' temporal
    noise.  In a scene with structure it takes 35 of these σ, and 8 times the neighbours' own
    standard deviation, the farthest of them left out, which no edge or corner reaches; and at most one
    pixel of another plane may depart the same way by a tenth as much at that place, where a star, a glint
    or the end of a line has two or more: light falls on more than one pixel.
    *stuck*: no change over all frames, where the frames' drift is small and noise of the
    neighbours' variance would have left none with a chance below 10⁻¹⁰: for noise of a few DN
    that takes 15 frames or more.
    A pixel that is unsteady, and departs by less than 3 of its own temporal σ, is neither hot nor dead.
    *unsteady*: temporal variance above 1.5 times the 10⁻¹⁰ point of χ² with n − 1 degrees of
    freedom, scaled by the block's; in a scene also above that of F over the neighbours'
    variance, times how much brighter the pixel is than they.  Two frames hardly tell.

    Parameters
    ----------
    mean : ndarray, shape (4, rows, w)
        Temporal mean, DN: some rows, and up to two beside them that are looked at with them.
    variance : ndarray, shape (4, rows, w), or None
        Temporal variance likewise, DN²; None if it is not known.
    frames : int
        How many; 2 or more for a variance.
    levels : tuple
        Black levels, shape (4, 1, 1), and white level, DN, as of `RawImage.levels`.  Blocks
        whose mean is above 90 % of white are skipped.
    drift_variance : ndarray, shape (4,), optional
        Variance of the frames' means, DN², which a pixel that never changes has about them.
    structured : bool
        Whether the frames show a scene; darks and flats do not.
    cfa : str
        Colour filter array at the mosaic's first pixel: which planes touch.
    signal : ndarray, shape (4, *grid)
        Mean of each block, DN.
    blocks : Blocks
        Blocks of the rows that are tested.
    inner : slice
        Which of the rows given they are.
    """
    black, white = levels[0].astype(np.float32), levels[1]
    found: list[tuple[int, int, int, str]] = []
    counts = dict.fromkeys(DEFECT_KINDS, 0)
    mask = np.zeros((len(mean), inner.stop - inner.start, mean.shape[2]), bool)
    if min(mean.shape[1:]) < 3:
        return Defects(mask, counts, ())
    departures = np.empty_like(mean)
    for plane, departure in zip(mean, departures, strict=True):
        _departure(plane, departure)
    free = max(frames - 1, 1)
    middle = float(scipy.special.chdtri(free, 0.5))
    for index, plane in enumerate(mean):
        spread = None if variance is None else variance[index]
        typical = None if spread is None else blocks.medians(spread[inner]) * free / middle
        kinds = _extreme(plane, departures[index], typical, structured, blocks, inner)
        if structured:
            kinds = {kind: _alone(at, index, departures, offsets(cfa)) for kind, at in kinds.items()}
        if spread is not None and typical is not None:
            kinds |= _unsteady(spread, typical, plane - black[index] if structured else None, frames, blocks, inner)
            for kind in ("hot", "dead"):
                kinds[kind] = _steady(kinds[kind], kinds["unsteady"], departures[index], spread)
            if drift_variance is not None:
                kinds |= _stuck(spread[inner], typical, float(drift_variance[index]), frames, blocks, inner)
        judged = signal[index] < SATURATED * white
        own, seen = mask[index], np.zeros(mask.shape[1:], bool)
        for kind in DEFECT_KINDS:
            at = kinds.get(kind, np.empty((0, 2), np.intp)) - np.array((inner.start, 0))
            at = at[blocks.of_pixels(judged, at) & ~seen[tuple(at.T)]]
            seen[tuple(at.T)] = True
            if kind not in NOISE_KINDS:
                own[tuple(at.T)] = True
            counts[kind] += len(at)
            found += [(index, int(y), int(x), kind) for y, x in at[: LISTED - len(found)]]
    return Defects(mask, counts, tuple(found))


def joined(strips: Sequence[Defects], tops: Sequence[int]) -> Defects:
    """Defects of strips of rows in one, without their masks.

    Parameters
    ----------
    strips : sequence of Defects
        From the top down.
    tops : sequence of int
        First row of each.
    """
    counts = {kind: sum(each.counts[kind] for each in strips) for kind in DEFECT_KINDS}
    listed = [
        (plane, y + top, x, kind) for each, top in zip(strips, tops, strict=True) for plane, y, x, kind in each.listed
    ]
    listed.sort(key=lambda pixel: (pixel[0], DEFECT_KINDS.index(pixel[3])))
    return Defects(NO_DEFECTS.mask, counts, tuple(listed[:LISTED]))


def _where(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """As `numpy.argwhere`, in a third of its time where little is true."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), 1)


def _departure(plane: NDArray[np.float32], departure: NDArray[np.float32]) -> None:
    """Each pixel less the mean of its eight neighbours, the plane mirrored at its edges, into an array."""
    padded = np.pad(plane, 1, mode="reflect")
    rows = padded[:-2] + padded[1:-1]
    rows += padded[2:]
    np.add(rows[:, :-2], rows[:, 1:-1], out=departure)
    departure += rows[:, 2:]
    # Less the neighbours and the pixel itself, a ninth one.
    departure *= np.float32(-1 / 9)
    departure += plane
    departure *= np.float32(9 / 8)


def _neighbours(plane: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float32]:
    """The eight neighbours of some pixels, shape (k, 8), mirrored at the edges."""
    height, width = plane.shape
    steps = np.array(NEIGHBOURS)
    y, x = np.abs(at[:, 0, None] + steps[:, 0]), np.abs(at[:, 1, None] + steps[:, 1])
    around: NDArray[np.float32] = plane[
        np.where(y >= height, 2 * height - 2 - y, y), np.where(x >= width, 2 * width - 2 - x, x)
    ]
    return around


def _extreme(
    plane: NDArray[np.float32],
    departure: NDArray[np.float32],
    typical: NDArray[np.float64] | None,
    structured: bool,
    blocks: Blocks,
    inner: slice,
) -> dict[str, NDArray[np.intp]]:
    """Pixels whose mean is far above or below their neighbours'."""
    size = np.abs(departure[inner])
    spread = np.maximum(1.4826 * blocks.medians(size), FLOOR_DN)
    limit = (SCENE_SIGMAS if structured else SIGMAS) * spread
    if typical is not None:
        limit = np.maximum(limit, AMPLITUDE * np.sqrt(typical))
    limit = limit.astype(np.float32)
    at = blocks.beyond(size, limit)
    limit = blocks.of_pixels(limit, at)
    at += np.array((inner.start, 0))
    around = _neighbours(plane, at)
    if structured:
        around = _without_farthest(around)
    middle = around.mean(1) if structured else np.median(around, axis=1)
    above = plane[tuple(at.T)] - middle
    far = np.abs(above) > limit
    if structured:
        far &= np.abs(above) > SIGMAS * around.std(1)
    return {"hot": at[far & (above > 0)], "dead": at[far & (above < 0)]}


def _without_farthest(around: NDArray[np.float32]) -> NDArray[np.float32]:
    """Neighbours, (k, 8), without the one farthest from their median, (k, 7): it may be a bad pixel too."""
    far = np.abs(around - np.median(around, axis=1, keepdims=True)).argmax(1)
    kept = np.arange(around.shape[1] - 1) + (np.arange(around.shape[1] - 1) >= far[:, None])
    return np.asarray(np.take_along_axis(around, kept, 1))


def _alone(
    at: NDArray[np.intp], index: int, departures: NDArray[np.float32], where: Sequence[tuple[int, int]]
) -> NDArray[np.intp]:
    """Of some pixels those beside which at most one pixel of another plane departs from its neighbours the same way.

    The same cell and the eight around it hold all pixels of the mosaic that touch the pixel; of
    cells larger than 2×2 those within `TOUCHING` pixels count.  Light falls on two or more of them; one is a bad
    pixel beside a bad pixel.
    """
    if not len(at):
        return at
    own = departures[index][tuple(at.T)]
    lit = np.zeros(len(at), int)
    side = math.isqrt(len(where))
    for other in set(range(len(departures))) - {index}:
        departure = departures[other]
        near = np.concatenate([departure[tuple(at.T)][:, None], _neighbours(departure, at)], 1)
        if side > 2:
            steps = side * np.array(((0, 0), *NEIGHBOURS)) + np.subtract(where[other], where[index])
            near = near[:, (np.abs(steps) <= TOUCHING).all(1)]
            if not near.shape[1]:
                continue
        lit += (near * np.sign(own)[:, None] >= SHARED * np.abs(own)[:, None]).sum(1)
    return at[lit <= BESIDE]


def _unsteady(
    variance: NDArray[np.float32],
    typical: NDArray[np.float64],
    signal: NDArray[np.float32] | None,
    frames: int,
    blocks: Blocks,
    inner: slice,
) -> dict[str, NDArray[np.intp]]:
    """Pixels whose temporal variance is far above that around them; `signal` of a scene, above black."""
    free = max(frames - 1, 1)
    high = ALLOWANCE * float(scipy.special.chdtri(free, UNLIKELY)) / free
    limit = (high * np.maximum(typical, 1 / 12)).astype(np.float32)
    at = blocks.beyond(variance[inner], limit) + np.array((inner.start, 0))
    if signal is not None and len(at):
        around = _neighbours(variance, at).mean(1)
        # A glint has the photon noise of its own light: at most this many times its neighbours'.
        beside = np.maximum(_neighbours(signal, at).mean(1), 1.0)
        around *= np.maximum(signal[tuple(at.T)] / beside, 1.0)
        at = at[variance[tuple(at.T)] > ALLOWANCE * _rare_ratio(UNLIKELY, free, 8 * free) * around]
    return {"unsteady": at}


def _steady(
    at: NDArray[np.intp], unsteady: NDArray[np.intp], departure: NDArray[np.float32], variance: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Pixels of some that are no telegraph pixels: these are unsteady, and depart by less than 3 of their own σ.

    A telegraph pixel's mean lies between its two levels: it departs by p·A with σ = A√(p(1 − p)).  A hot pixel's
    own noise is that of its dark current, which is small beside it.
    """
    if not len(at) or not len(unsteady):
        return at
    width = departure.shape[1]
    blinks = np.isin(at[:, 0] * width + at[:, 1], unsteady[:, 0] * width + unsteady[:, 1])
    near = np.abs(departure[tuple(at.T)]) < OWN_SIGMAS * np.sqrt(variance[tuple(at.T)])
    return np.asarray(at[~(blinks & near)])


def _stuck(
    variance: NDArray[np.float32],
    typical: NDArray[np.float64],
    drift_variance: float,
    frames: int,
    blocks: Blocks,
    inner: slice,
) -> dict[str, NDArray[np.intp]]:
    """Pixels that never change, in blocks of noise that is far above the frames' drift."""
    # The likeliest code of rounded normal noise has at most the chance 1/√(2πσ²).
    likeliest = np.minimum(1 / np.sqrt(2 * np.pi * np.maximum(typical, 1 / 12)), 1)
    could = ((frames - 1) * np.log(likeliest) < np.log(UNLIKELY)) & (drift_variance < 0.01 * typical)
    if not could.any():
        return {}
    at = _where(variance <= 1.02 * drift_variance + 1e-4)
    return {"stuck": at[blocks.of_pixels(could, at)] + np.array((inner.start, 0))}


def _rare_ratio(chance: float, above: float, below: float) -> float:
    """The ratio of two variances that is exceeded with a chance: F's upper quantile."""
    # scipy.stats has it too, and takes half a second and 40 MB in every worker process.
    part = float(scipy.special.betainccinv(above / 2, below / 2, chance))
    return below * part / (above * (1 - part))
