"""Whether a whole frame is shifted against the scene, by optical flow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.stack import PLANES, Stack

__all__ = ["Shift", "frame_shift", "frame_shifts"]

ROWS = 64
"""Rows of a plane that are looked at, evenly spread."""
SAMPLED = 8
"""Of so many pixels one is looked at for their spread."""
WILD = 6.0


@dataclass(frozen=True)
class Shift:
    """Shift of a frame's plane against the mean of the other frames.

    Parameters
    ----------
    chi2 : float
        Of the two components, on two degrees of freedom, if nothing moves.
    part : float
        Of the squared difference, how much the shift explains.
    size : float
        Length, pixels of the plane.
    """

    chi2: float
    part: float
    size: float


def frame_shifts(stack: Stack, mean: NDArray[np.float32], numbers: Sequence[int]) -> list[list[Shift]]:
    """Shift of some frames' planes, each against the mean of the other frames.

    Parameters
    ----------
    stack : Stack
    mean : ndarray, shape (4, h, w)
        Of all frames, DN.
    numbers : sequence of int
        Of the frames.
    """
    height, width = stack.shape
    shifts: list[list[Shift]] = [[] for _ in numbers]
    if min(height, width) < 8:
        return shifts
    at = sample_rows(height)
    around = (at[:, None] + np.arange(-1, 2)).ravel()
    own = np.float32(1 / (len(stack.frames) - 1))
    for plane in range(PLANES):
        middle = mean[plane][around].reshape(len(at), 3, width)
        for found, number in zip(shifts, numbers, strict=True):
            # Mean of the others less the frame itself, and from it that mean.
            step = middle - stack.frames[number].planes[plane][around].reshape(middle.shape)
            others = middle + own * step
            step = (step * -(1 + own))[:, 1]
            found.append(frame_shift(step, others))
    return shifts


def sample_rows(height: int) -> NDArray[np.intp]:
    """The rows of a plane that are looked at."""
    return np.unique(np.linspace(1, height - 2, min(ROWS, height - 2)).astype(np.intp))


def frame_shift(step: NDArray[np.float32], mean: NDArray[np.float32]) -> Shift:
    """Fit frame − mean = o + g·mean − δ·∇mean by least squares.

    ∇ is the central difference, which does not see the pixel itself: noise in the mean is
    independent of the difference at the pixel, and δ is zero but for chance when nothing
    moves.  The gain takes up flicker, which a ramp would show as a shift.  χ² is by the
    sandwich estimate, since noise grows with the signal.  Pixels off by more than 6 robust σ
    (hot, or of something that moves by itself) are left out.

    Parameters
    ----------
    step : ndarray, shape (k, w)
        Frame less mean on some rows, DN.
    mean : ndarray, shape (k, 3, w)
        On these rows, the one above and the one below, DN.
    """
    r = step[:, 1:-1]
    # A part of the pixels tells the spread well enough.
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
    """Inner products of images, shapes (i, k, w) and (j, k, w) to (i, j): rows in float32, their sum in float64.

    Not by BLAS, whose threads wait for each other where each process has a processor to itself, and whose
    sums hang on their number.
    """
    products: NDArray[np.float64] = np.einsum("irk,jrk->ijr", a, b).sum(-1, dtype=np.float64)
    return products
