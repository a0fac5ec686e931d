"""Find hot, dead, stuck and unsteady pixels by comparing them with their neighbours in the same plane."""

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
"""Mean far above that of the neighbours; far below it; value never changes; far more temporal variance."""

NOISE_KINDS = ("unsteady",)
"""Kinds that are counted but not masked: random telegraph noise and heavy tails are noise of the camera."""

OWN_SIGMAS = 3.0
"""An unsteady pixel is also hot or dead if it departs from its neighbours by more than this many of its own σ."""

SIGMAS = 8.0
"""Limit of a departure, in σ of the departures in its block: normal noise exceeds it less than once in 10¹⁰ pixels,
even with the 10 % uncertainty of the block's σ."""
SCENE_SIGMAS = 35.0
"""The limit in a scene with structure, so high that `SHARED` of it stands out from the noise of other planes."""
SHARED = 0.1
"""Smallest fraction of its height that light on a pixel also gives to neighbours in other planes: 0.12 for a star
with a Gaussian σ of half a pixel of the mosaic, which is sharper than lenses are."""
BESIDE = 1
"""Number of neighbours in other planes that may depart the same way as a bad pixel.  If 1 % of all pixels are bad, one
in six has one bad neighbour and two in a hundred have two; light falls on more of them."""
AMPLITUDE = 5.0
"""Smallest departure of a bad pixel, in σ of one frame's temporal noise; a smaller one is fixed pattern."""
STILL = 1e-6
"""Chance that a pixel with normal noise never changes, below which one that departs from its neighbours is bad even
beside other bad ones: light on it would add noise."""
UNLIKELY = 1e-10
"""Chance of calling a normal pixel stuck, or unsteady before `ALLOWANCE` is applied."""
ALLOWANCE = 1.5
"""Factor on the limit of a variance, since variances of heavy-tailed read noise scatter more than χ²."""
TOUCHING = 2
"""Distance in pixels of the mosaic over which a lens spreads the light of a point."""
LISTED = 1000
"""Largest number of positions that are listed."""
SATURATED = 0.9
"""Blocks whose mean is above this fraction of the white level are not tested."""
FLOOR_DN = 0.05
"""Smallest spread of a temporal mean in DN that is assumed, since codes are integers."""

NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@dataclass(frozen=True, eq=False)
class Defects:
    """Defective pixels of a scene.

    Parameters
    ----------
    mask : ndarray of bool, shape (C, h, w)
        True where a pixel is hot, dead or stuck; merely unsteady pixels are noise and are not masked.
    counts : mapping of str to int
        Number of pixels of each kind; each pixel counts once.
    listed : tuple of (plane, y, x, kind)
        Positions, up to `LISTED`.
    """

    mask: NDArray[np.bool_]
    counts: Mapping[str, int]
    listed: tuple[tuple[int, int, int, str], ...]

    @property
    def facts(self) -> dict[str, Any]:
        """Counts and positions, JSON-able."""
        return {"counts": dict(self.counts), "pixels": [list(each) for each in self.listed]}


NO_DEFECTS = Defects(np.zeros((0, 0, 0), bool), dict.fromkeys(DEFECT_KINDS, 0), ())
"""No defects, with an empty mask."""


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
    """Find defective pixels by comparing each pixel with its eight neighbours in the same plane.

    *hot*, *dead*: the temporal mean departs from the neighbours' by more than 8 robust σ of the
    departures in its block, and by more than 5σ of one frame's temporal noise.  In a scene with
    structure the limit is 35σ, and also 8 times the standard deviation of the neighbours without
    the farthest one, which edges and corners do not reach.  There, at most one neighbour in another
    plane may depart the same way by a tenth as much, unless the pixel never changes; a star, a glint or
    the end of a line lights two or more, and its light has noise.  An unsteady pixel that departs by less
    than 3 of its own temporal σ is neither hot nor dead.

    *stuck*: the pixel never changes, although the chance of this with its neighbours' noise is
    below 10⁻¹⁰ and the frames hardly drift.  For noise of a few DN this needs at least 15 frames.

    *unsteady*: the temporal variance exceeds 1.5 times the 10⁻¹⁰ point of χ² with n − 1 degrees of
    freedom, scaled by the block's variance.  In a scene it must also exceed 1.5 times the 10⁻¹⁰ point
    of F over the neighbours' variance, scaled by how much brighter the pixel is.  Two frames hardly
    suffice.

    Parameters
    ----------
    mean : ndarray, shape (C, rows, w)
        Temporal mean in DN of the tested rows and up to two rows on either side.
    variance : ndarray, shape (C, rows, w), or None
        Temporal variance of the same rows, DN²; None if unknown.
    frames : int
        Number of frames; at least 2 if there is a variance.
    levels : tuple
        Black levels, shape (C, 1, 1), and white level in DN, as from `RawImage.levels`.  Blocks
        whose mean is above 90 % of white are not tested.
    drift_variance : ndarray, shape (C,), optional
        Variance of the frames' means in DN², which is the variance of a constant pixel relative to them.
    structured : bool
        Whether the frames show a scene; darks and flats do not.
    cfa : str
        Colour filter array at the mosaic's first pixel, which says which planes are adjacent.
    signal : ndarray, shape (C, *grid)
        Mean of each block, DN.
    blocks : Blocks
        Blocks of the tested rows.
    inner : slice
        The tested rows among the given ones.

    Returns
    -------
    Defects
        Defects of the tested rows; positions count from the first of these.
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
            for kind, at in kinds.items():
                bad = _alone(at, index, departures, offsets(cfa))
                if spread is not None and typical is not None and drift_variance is not None:
                    never = _constant(typical, float(drift_variance[index]), frames, STILL)
                    still = never.of(spread, at, blocks, inner)
                    # Neither does a saturated star change.
                    bad |= still & (plane[tuple(at.T)] < SATURATED * white)
                kinds[kind] = at[bad]
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
    """Join the defects of strips of rows, without their masks.

    Parameters
    ----------
    strips : sequence of Defects
        Strips from top to bottom.
    tops : sequence of int
        First row of each strip.
    """
    counts = {kind: sum(each.counts[kind] for each in strips) for kind in DEFECT_KINDS}
    listed = [
        (plane, y + top, x, kind) for each, top in zip(strips, tops, strict=True) for plane, y, x, kind in each.listed
    ]
    listed.sort(key=lambda pixel: (pixel[0], DEFECT_KINDS.index(pixel[3])))
    return Defects(NO_DEFECTS.mask, counts, tuple(listed[:LISTED]))


def _where(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Same result as `numpy.argwhere`, in a third of its time if few elements are true."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), 1)


def _departure(plane: NDArray[np.float32], departure: NDArray[np.float32]) -> None:
    """Write each pixel minus the mean of its eight neighbours to `departure`; the plane is mirrored at its edges."""
    padded = np.pad(plane, 1, mode="reflect")
    rows = padded[:-2] + padded[1:-1]
    rows += padded[2:]
    np.add(rows[:, :-2], rows[:, 1:-1], out=departure)
    departure += rows[:, 2:]
    # This subtracts the mean of nine pixels, which includes the pixel itself; the factor 9/8 corrects for it.
    departure *= np.float32(-1 / 9)
    departure += plane
    departure *= np.float32(9 / 8)


def _neighbours(plane: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float32]:
    """Values of the eight neighbours of pixels, shape (k, 8); the plane is mirrored at its edges."""
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
    """Positions (y, x) of pixels far above (hot) and far below (dead) their neighbours."""
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
    """Remove the neighbour farthest from the median, which may be a bad pixel too; shape (k, 8) to (k, 7)."""
    far = np.abs(around - np.median(around, axis=1, keepdims=True)).argmax(1)
    kept = np.arange(around.shape[1] - 1) + (np.arange(around.shape[1] - 1) >= far[:, None])
    return np.asarray(np.take_along_axis(around, kept, 1))


def _alone(
    at: NDArray[np.intp], index: int, departures: NDArray[np.float32], where: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """Whether at most one neighbour in another plane departs from its neighbours the same way, for each pixel.

    Light falls on two or more neighbours; a single one is another bad pixel.  All adjacent pixels of the mosaic are
    in the same cell or the eight cells around it; of cells larger than 2×2, pixels within `TOUCHING` count.
    """
    if not len(at):
        return np.ones(0, bool)
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
    return np.asarray(lit <= BESIDE)


def _unsteady(
    variance: NDArray[np.float32],
    typical: NDArray[np.float64],
    signal: NDArray[np.float32] | None,
    frames: int,
    blocks: Blocks,
    inner: slice,
) -> dict[str, NDArray[np.intp]]:
    """Positions (y, x) of pixels with far more temporal variance than their surroundings.

    `signal` is the mean above black in DN if the frames show a scene, otherwise None.
    """
    free = max(frames - 1, 1)
    high = ALLOWANCE * float(scipy.special.chdtri(free, UNLIKELY)) / free
    limit = (high * np.maximum(typical, 1 / 12)).astype(np.float32)
    at = blocks.beyond(variance[inner], limit) + np.array((inner.start, 0))
    if signal is not None and len(at):
        around = _neighbours(variance, at).mean(1)
        # Photon noise of a glint exceeds its neighbours' by at most the ratio of their light.
        beside = np.maximum(_neighbours(signal, at).mean(1), 1.0)
        around *= np.maximum(signal[tuple(at.T)] / beside, 1.0)
        at = at[variance[tuple(at.T)] > ALLOWANCE * _rare_ratio(UNLIKELY, free, 8 * free) * around]
    return {"unsteady": at}


def _steady(
    at: NDArray[np.intp], unsteady: NDArray[np.intp], departure: NDArray[np.float32], variance: NDArray[np.float32]
) -> NDArray[np.intp]:
    """Remove telegraph pixels: those that are unsteady and depart by less than 3 of their own σ.

    A telegraph pixel that is on for a fraction p of the time departs by p·A with σ = A√(p(1 − p)).  A hot pixel's
    noise is that of its dark current, which is small compared with its departure.
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
    """Positions (y, x) of pixels that never change, in blocks whose noise is far above the frames' drift."""
    constant = _constant(typical, drift_variance, frames, UNLIKELY)
    if not constant.could.any():
        return {}
    at = _where(variance <= constant.limit)
    return {"stuck": at[blocks.of_pixels(constant.could, at)] + np.array((inner.start, 0))}


@dataclass(frozen=True, eq=False)
class _Constant:
    """Largest temporal variance of a pixel that never changes, and the blocks in which normal pixels do change."""

    limit: float
    could: NDArray[np.bool_]

    def of(
        self, variance: NDArray[np.float32], at: NDArray[np.intp], blocks: Blocks, inner: slice
    ) -> NDArray[np.bool_]:
        """Whether pixels of the tested rows never change."""
        still = variance[tuple(at.T)] <= self.limit
        return np.asarray(still & blocks.of_pixels(self.could, at - np.array((inner.start, 0))))


def _constant(typical: NDArray[np.float64], drift_variance: float, frames: int, chance: float) -> _Constant:
    """What is constant: less likely than `chance` for normal noise, in frames that hardly drift."""
    # The most likely code of rounded normal noise has a probability of at most 1/√(2πσ²).
    likeliest = np.minimum(1 / np.sqrt(2 * np.pi * np.maximum(typical, 1 / 12)), 1)
    could = ((frames - 1) * np.log(likeliest) < np.log(chance)) & (drift_variance < 0.01 * typical)
    return _Constant(1.02 * drift_variance + 1e-4, could)


def _rare_ratio(chance: float, above: float, below: float) -> float:
    """Ratio of two variances that is exceeded with probability `chance`: the upper quantile of F."""
    # scipy.stats provides it too, but costs half a second and 40 MB in every worker process.
    part = float(scipy.special.betainccinv(above / 2, below / 2, chance))
    return below * part / (above * (1 - part))
