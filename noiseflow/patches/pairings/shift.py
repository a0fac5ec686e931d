"""Whether a whole frame is shifted against the scene, by optical flow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.stack import PLANES, Stack

__all__ = ["Shift", "frame_shift", "frame_shifts"]

ROWS = 64
"""Rows of a plane that are looked at, evenly spread."""
WILD = 6.0


@dataclass(frozen=True)
class Shift:
    """Shift of a frame's plane against the mean of the frames before it.

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


def frame_shifts(stack: Stack, numbers: Sequence[int]) -> list[list[Shift]]:
    """Shift of some frames' planes against the mean of the frames before them; none for the first.

    Parameters
    ----------
    stack : Stack
    numbers : sequence of int
        Of the frames, rising by one.
    """
    height, width = stack.shape
    shifts: list[list[Shift]] = [[] for _ in numbers]
    if min(height, width) < 8:
        return shifts
    at = sample_rows(height)
    for plane in range(PLANES):
        total = np.zeros((len(at), 3, width), np.float32)
        for number in range(numbers[-1] + 1):
            rows = np.stack([stack.frames[number].rows(plane, slice(row - 1, row + 2)) for row in at.tolist()])
            if number in numbers and number:
                mean = total / np.float32(number)
                shifts[number - numbers[0]].append(frame_shift(rows[:, 1] - mean[:, 1], mean))
            total += rows
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
    r = step[:, 1:-1].ravel()
    across = ((mean[:, 1, 2:] - mean[:, 1, :-2]) / 2).ravel()
    down = ((mean[:, 2, 1:-1] - mean[:, 0, 1:-1]) / 2).ravel()
    level = mean[:, 1, 1:-1].ravel()
    off = np.abs(r - np.median(r))
    kept = off <= WILD * max(1.4826 * float(np.median(off)), 0.5)
    level -= level.mean(dtype=np.float64).astype(np.float32)
    design = np.stack([np.ones_like(r), level, across, down]).astype(np.float64)
    if not kept.all():
        design, r = design[:, kept], r[kept]
    r = r.astype(np.float64)
    inverse = np.linalg.pinv(design @ design.T, hermitian=True)
    found = inverse @ (design @ r)
    rest = r - found @ design
    square = float(rest @ rest)
    weighted = design * rest
    covariance = (inverse @ (weighted @ weighted.T) @ inverse)[2:, 2:]
    flow = found[2:]
    chi2 = float(flow @ np.linalg.pinv(covariance, hermitian=True) @ flow)
    explained = float(flow @ np.linalg.pinv(inverse[2:, 2:], hermitian=True) @ flow)
    return Shift(chi2, explained / max(square + explained, 1e-12), float(np.hypot(*flow)))
