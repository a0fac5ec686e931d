"""Test whether the scene of a burst is static, and find where it moves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.frames.blocks import median
from noiseflow.patches.pairings.frames.packed_frames import PackedFrames

__all__ = [
    "FALSE_ALARM",
    "Motion",
    "Shift",
    "find_motion",
    "fine_gain",
    "frame_shift",
    "frame_shifts",
    "light_by_pixels",
]

FALSE_ALARM = 1e-3
"""Chance that at least one block of a static scene with white noise is found moving."""
MOST = 0.25
"""The scene moves as a whole if more than this fraction of the blocks moves in one frame, or twice as much in all
frames together."""
EXPLAINED = 0.01
"""Fraction of a frame's squared difference from the mean that a shift must explain to count."""
LINES, FAR_COLUMN = 8, 16.0
"""Smallest number of blocks in a row or column of blocks whose median is subtracted; the most that is subtracted from a
column, in deviations of a block mean: columns with four times a pixel's noise.  Lamps change rows by more."""
MARGIN = 1.25
"""Factor on the threshold that white noise of the measured variance needs."""
UNCLEAR = 2.0
"""Residuals that spread up to this many times as much as white noise still count as noise."""
ENOUGH = 1 << 18
"""Number of residuals that gives their spread to 0.3 %."""


ROWS = 64
"""Number of rows of a plane that are sampled, evenly spread."""
SAMPLED = 8
"""One pixel in this many is used to estimate the spread."""
WILD = 6.0
"""Pixels that depart by more than this many robust σ are left out of the fit of a shift."""

LEAST_GAIN, UNBIASED = 0.05, 0.02
"""Smallest gain against the other frames that is used, and what shares of the light may miss of 1 together."""

BELOW_CLIP = 0.9
"""Part of the code at which a frame clips up to which its noise does not reach it."""

AREAS, MOST_AREAS, TOLD, AGREED, AGREEING = 4, 8, 0.1, (4.0, 0.02), 0.75
"""Areas of a frame across and down, in which its gain is measured; the fewest that must know it to that standard error;
standard errors and part by which one may differ from their median, and the share of them that must not."""


@dataclass(frozen=True)
class Shift:
    """Shift of a frame's plane relative to the mean of the other frames.

    Parameters
    ----------
    chi2 : float
        Test statistic of the two components; χ² with two degrees of freedom if nothing moves.
    part : float
        Fraction of the squared difference that the shift explains.
    size : float
        Length in pixels of the plane.
    gain, gain_error : float
        Gain and its standard error, from `fine_gain`.
    """

    chi2: float
    part: float
    size: float
    gain: float = 1.0
    gain_error: float = math.inf


def frame_shifts(stack: PackedFrames, mean: NDArray[np.float32], numbers: Sequence[int]) -> list[list[Shift]]:
    """Measure the shifts of frames, each relative to the mean of the other frames.

    Parameters
    ----------
    stack : PackedFrames
        Frames of one scene.
    mean : ndarray, shape (C, h, w)
        Mean of all frames, DN.
    numbers : sequence of int
        Numbers of the frames to measure.

    Returns
    -------
    list of list of Shift
        For each frame, the shift of each plane; empty for planes smaller than 8 pixels.
    """
    height, width = stack.shape
    shifts: list[list[Shift]] = [[] for _ in numbers]
    if min(height, width) < 8:
        return shifts
    at = sample_rows(height)
    around = (at[:, None] + np.arange(-1, 2)).ravel()
    own = np.float32(1 / (len(stack.frames) - 1))
    clips_at = [frame.image.clip or (frame.image.white,) for frame in stack.frames]
    here = mean[:, at]
    for plane in range(len(mean)):
        # Noise of other planes is not this one's, and their pixels are nearer than its own.
        beside = here.sum(0) - here[plane]
        middle = mean[plane][around].reshape(len(at), 3, width)
        for found, number in zip(shifts, numbers, strict=True):
            # From the mean of all frames and this one, compute the mean of the others and the frame minus that.
            step = middle - stack.frames[number].planes[plane][around].reshape(middle.shape)
            others = middle + own * step
            step = (step * -(1 + own))[:, 1]
            clip = min(each[plane % len(each)] for each in clips_at)
            gain, error = fine_gain(step, others, BELOW_CLIP * clip, beside)
            found.append(replace(frame_shift(step, others), gain=gain, gain_error=error))
    return shifts


def fine_gain(
    step: NDArray[np.float32],
    mean: NDArray[np.float32],
    brightest: float = math.inf,
    beside: NDArray[np.float32] | None = None,
) -> tuple[float, float]:
    """Light of a frame over that of the others, by structure finer than blocks, and its standard error.

    frame − mean = o + (g − 1)·mean, an offset for each part of a row, solved with the sum of the four neighbours and of
    the other planes' pixels z as an instrument: g − 1 = Σ (frame − mean)·z / Σ mean·z.  Its noise is not the pixel's
    own, which would make g smaller.

    What moves has a gain of its own, of 0 where it has gone.  So the frame is cut into 4×4 areas, and
    most of them must show structure, and agree.

    Parameters
    ----------
    step : ndarray, shape (k, w)
        Frame less mean on some rows, DN.
    mean : ndarray, shape (k, 3, w)
        Mean of the other frames on these rows, the one above and the one below, DN.
    brightest : float
        DN from which on pixels have no part in it: they may be clipped.
    beside : ndarray, shape (k, w), optional
        Sum of the other planes of the mean on these rows, DN; stars may be in no neighbour of their own plane.

    Returns
    -------
    tuple of float
        1 and infinity where it cannot be told.
    """
    rows, columns = len(step) // AREAS, (step.shape[1] - 2) // AREAS
    if min(rows, columns) < 2:
        return 1.0, math.inf

    middle, own = (each[: AREAS * rows, : AREAS * columns] for each in (mean[:, 1, 1:-1], step[:, 1:-1]))
    shape = (AREAS, rows, AREAS, columns)
    # The frame's own noise must not decide what is lit, only its light: that of a part of a row.
    above = np.maximum(own.reshape(shape).mean(-1, keepdims=True), 0)
    dim = middle.reshape(shape) + above < brightest
    # Nearly every frame has no pixel to leave out, and a product with ones changes nothing.
    lit = None if dim.all() else dim.astype(np.float32)
    count = np.float32(columns) if lit is None else np.maximum(lit.sum(-1, keepdims=True), 1)

    def cut(values: NDArray[np.float32]) -> NDArray[np.float32]:
        kept = values[: AREAS * rows, : AREAS * columns].reshape(shape)
        kept = kept if lit is None else kept * lit
        offset = kept.sum(-1, keepdims=True) / count
        centred: NDArray[np.float32] = kept - (offset if lit is None else lit * offset)
        return centred

    around = mean[:, 1, 2:] + mean[:, 1, :-2] + mean[:, 0, 1:-1] + mean[:, 2, 1:-1]
    around = cut(around if beside is None else around + beside[:, 1:-1])
    level, step = cut(middle), cut(own)
    power = _area_products(level, around)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = _area_products(step, around) / power
        rest = (step - slope.astype(np.float32)[:, None, :, None] * level) * around
        error = np.sqrt(_area_products(rest, rest)) / np.abs(power)
    told = error < TOLD
    if told.sum() < MOST_AREAS:
        return 1.0, math.inf
    slope, error = slope[told], np.maximum(error[told], 1e-4)
    agreed = np.abs(slope - np.median(slope)) < AGREED[0] * error + AGREED[1]
    if agreed.mean() < AGREEING:
        return 1.0, math.inf
    slope, weight = slope[agreed], error[agreed] ** -2
    found = float((slope * weight).sum() / weight.sum())
    scatter = float((weight * (slope - found) ** 2).sum()) / max(len(slope) - 1, 1)
    return 1 + found, float(np.sqrt(max(scatter, 1.0) / weight.sum()))


def light_by_pixels(shifts: Sequence[Shift]) -> list[tuple[list[float], list[float]]]:
    """Light of each frame less the middle one's, in parts of their mean, and its error; empty if it is not known.

    By the gain g of each frame against the others' mean.
    Of n frames of light a, g = (n − 1)·a/(Σa − a), so that g/(n − 1 + g) = a/Σa, which add up to 1.  Noise that
    neighbours share makes all g too small alike where the scene has little structure: then none is known.

    Parameters
    ----------
    shifts : sequence of Shift
        Shift of one plane in each frame.
    """
    g = np.array([shift.gain for shift in shifts])
    if not len(g) or not (np.isfinite([shift.gain_error for shift in shifts]).all() and (g > LEAST_GAIN).all()):
        return []
    light = g / (len(g) - 1 + g)
    if abs(float(light.sum()) - 1) > UNBIASED:
        return []
    light *= len(g)
    return [((light - np.median(light)).tolist(), [shift.gain_error for shift in shifts])]


def _area_products(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner products of areas, (AREAS, rows, AREAS, columns) to (AREAS, AREAS), parts of rows in float32."""
    products: NDArray[np.float64] = np.einsum("irjk,irjk->irj", a, b).sum(1, dtype=np.float64)
    return products


def sample_rows(height: int) -> NDArray[np.intp]:
    """Rows of a plane of this height that are sampled."""
    return np.unique(np.linspace(1, height - 2, min(ROWS, height - 2)).astype(np.intp))


def frame_shift(step: NDArray[np.float32], mean: NDArray[np.float32]) -> Shift:
    """Fit the shift δ in frame − mean = o + g·mean − δ·∇mean by least squares.

    ∇ is the central difference, which does not contain the pixel itself.  So noise of the mean is
    independent of the difference at the pixel, and the expected δ is 0 if nothing moves.  The
    gain g absorbs flicker, which would look like a shift on a ramp.  χ² uses the sandwich
    estimate of the covariance, since noise grows with the signal.  Pixels that depart by more
    than 6 robust σ (hot, or on something that moves by itself) are left out.

    Parameters
    ----------
    step : ndarray, shape (k, w)
        Frame minus mean of the others on sampled rows, DN.
    mean : ndarray, shape (k, 3, w)
        Mean of the others on the row above, the sampled row and the row below, DN.
    """
    r = step[:, 1:-1]
    # A sample of the pixels is enough for the spread.
    some = r.ravel()[::SAMPLED]
    middle = np.median(some)
    spread = float(np.median(np.abs(some - middle)))
    kept = np.abs(r - middle) <= WILD * max(1.4826 * spread, 0.5)
    design = np.empty((4, *r.shape), np.float32)
    constant, level, across, down = design
    constant[:] = 1
    np.subtract(mean[:, 1, 1:-1], mean[:, 1, 1:-1].mean(dtype=np.float64).astype(np.float32), out=level)
    np.subtract(mean[:, 1, 2:], mean[:, 1, :-2], out=across)
    np.subtract(mean[:, 2, 1:-1], mean[:, 0, 1:-1], out=down)
    design[2:] /= 2
    if not kept.all():
        design *= kept
        r = r * kept
    inverse = np.linalg.pinv(_products(design, design), hermitian=True)
    found = inverse @ _products(design, r[None])[:, 0]
    rest = r - np.einsum("i,irk->rk", found.astype(np.float32), design)
    square = float(_products(rest[None], rest[None])[0, 0])
    design *= rest
    covariance = (inverse @ _products(design, design) @ inverse)[2:, 2:]
    flow = found[2:]
    chi2 = float(flow @ np.linalg.pinv(covariance, hermitian=True) @ flow)
    explained = float(flow @ np.linalg.pinv(inverse[2:, 2:], hermitian=True) @ flow)
    return Shift(chi2, explained / max(square + explained, 1e-12), float(np.hypot(*flow)))


def _products(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner products of images, shapes (i, k, w) and (j, k, w) to (i, j), with rows summed in float32.

    BLAS is avoided: its threads compete with the processes of an ingest, and its sums depend on their number.
    """
    products: NDArray[np.float64] = np.einsum("irk,jrk->ijr", a, b).sum(-1, dtype=np.float64)
    return products


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion found in a burst.

    Parameters
    ----------
    blocks : ndarray of bool, shape `grid`
        Blocks that move in any frame, and their neighbours; all blocks if the scene moves
        as a whole.
    whole : bool
        Whether the scene or the camera moves as a whole.
    part : float
        Fraction of the blocks that move, without neighbours.
    frames : tuple of int
        Frames with most of the motion.
    shift : float
        Largest significant shift of a whole frame, in pixels of a plane.
    chi2 : float
        Mean square of the block residuals relative to white noise; about 1 for a static scene.
    """

    blocks: NDArray[np.bool_]
    whole: bool
    part: float
    frames: tuple[int, ...]
    shift: float
    chi2: float


def find_motion(
    residuals: NDArray[np.float64], variance: NDArray[np.float64], flows: Sequence[Sequence[Shift]]
) -> Motion:
    """Test block means of a burst for motion, after offset and gain of each frame are removed.

    The residual of a static block is normal.  Its variance follows from the temporal variance of
    the block's own pixels about its mean in each frame, which does not grow if all of it moves, or that of blocks
    with the same signal, whichever is smaller.  Row and column noise, and lamp
    bands of a rolling shutter, are common to a row or column of blocks and are removed with its
    median.  Remaining correlated noise widens all residuals: a robust spread of up to twice that
    of white noise counts as noise, and the threshold is scaled by it.  The threshold is
    Bonferroni's over all blocks, planes and frames.

    A small shift of the whole frame raises the variance of all blocks and would stay hidden.  It
    is found as optical flow over the whole frame, and counts if it is significant (Bonferroni
    again) and explains at least 1 % of the squared difference.

    Parameters
    ----------
    residuals : ndarray, shape (n, C, *grid)
        Residuals in DN, from `fit_drift`.
    variance : ndarray, shape (C, *grid)
        Variance of a block mean of one frame, DN²; infinite for blocks to ignore.
    flows : sequence of sequence of Shift
        Shifts of each frame's planes.
    """
    n = len(residuals)
    # Relative to the median of two frames half of the variance remains; the median of more frames adds its own.
    factor = 0.5 if n == 2 else 1 + np.pi / (2 * n)
    z = residuals / np.sqrt(factor * variance)
    if z.shape[3] >= LINES:
        z = z - median(z)[..., None]
    if z.shape[2] >= LINES:
        z = z - np.clip(median(np.moveaxis(z, 2, -1)), -FAR_COLUMN, FAR_COLUMN)[:, :, None]
    sizes = np.abs(z[:, np.isfinite(variance)]).ravel()
    sizes = sizes[:: max(1, sizes.size // ENOUGH)]
    spread = 1.4826 * float(np.median(sizes)) if sizes.size else 0.0
    threshold = MARGIN * -NormalDist().inv_cdf(FALSE_ALARM / 2 / z.size) * min(max(spread, 1.0), UNCLEAR)
    moved = (np.abs(z) > threshold).any(1)
    seen = np.asarray(moved.any(0))
    per_frame = moved.mean((1, 2))
    tests = max(sum(len(flow) for flow in flows), 1)
    # Upper quantile of χ² with two degrees of freedom.
    sure = -2 * math.log(FALSE_ALARM / tests)
    shifts = [
        max((each.size for each in flow if each.chi2 > sure and each.part > EXPLAINED), default=0.0) for flow in flows
    ]
    worst = (np.array(shifts) > 0) | (per_frame > max(0.5 * float(per_frame.max()), 0.01))
    part = float(seen.mean())
    whole = float(per_frame.max()) > MOST or part > 2 * MOST or max(shifts) > 0
    blocks = with_neighbours(seen) | whole
    frames = tuple(int(f) for f in np.flatnonzero(worst))
    return Motion(blocks, whole, part, frames, max(shifts), float((z**2).mean()))


def with_neighbours(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Extend a mask of blocks to the eight blocks around each.

    >>> with_neighbours(np.array([[True, False, False], [False, False, False]])).astype(int)
    array([[1, 1, 0],
           [1, 1, 0]])
    """
    # scipy.ndimage provides it too, but takes longer to import than the rest of the test to run.
    spread: NDArray[np.bool_] = blocks.copy()
    for axis in (0, 1):
        along = np.moveaxis(spread, axis, 0)
        own = along.copy()
        along[1:] |= own[:-1]
        along[:-1] |= own[1:]
    return spread
