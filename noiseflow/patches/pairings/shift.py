"""Whether a whole frame is shifted against the scene, by optical flow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shift", "frame_shift"]

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


def frame_shift(step: NDArray[np.float32], mean: NDArray[np.float32]) -> Shift:
    """Fit frame − mean = o + g·mean − δ·∇mean by least squares.

    ∇ is the central difference, which does not see the pixel itself: noise in the mean is
    independent of the difference at the pixel, and δ is zero but for chance when nothing
    moves.  The gain takes up flicker, which a ramp would show as a shift.  χ² is by the
    sandwich estimate, since noise grows with the signal.  Pixels off by more than 6 robust σ
    (hot, or of something that moves by itself) are left out.

    Parameters
    ----------
    step : ndarray, shape (h, w)
        Frame less mean, DN.
    mean : ndarray, shape (h, w)
        DN.
    """
    height, width = mean.shape
    if min(height, width) < 8:
        return Shift(0.0, 0.0, 0.0)
    rows = np.unique(np.linspace(1, height - 2, min(ROWS, height - 2)).astype(np.intp))
    r = step[rows, 1:-1].astype(np.float64).ravel()
    across = ((mean[rows, 2:] - mean[rows, :-2]) / 2).astype(np.float64).ravel()
    down = ((mean[rows + 1, 1:-1] - mean[rows - 1, 1:-1]) / 2).astype(np.float64).ravel()
    level = mean[rows, 1:-1].astype(np.float64).ravel()
    kept = np.abs(r - np.median(r)) <= WILD * max(1.4826 * float(np.median(np.abs(r - np.median(r)))), 0.5)
    design = np.stack([np.ones_like(r), level - level.mean(), across, down], 1)[kept]
    r = r[kept]
    normal = design.T @ design
    inverse = np.linalg.pinv(normal, hermitian=True)
    found = inverse @ (design.T @ r)
    rest = r - design @ found
    covariance = (inverse @ ((design * rest[:, None] ** 2).T @ design) @ inverse)[2:, 2:]
    flow = found[2:]
    chi2 = float(flow @ np.linalg.pinv(covariance, hermitian=True) @ flow)
    explained = float(flow @ np.linalg.pinv(inverse[2:, 2:], hermitian=True) @ flow)
    return Shift(chi2, explained / max(float(rest @ rest) + explained, 1e-12), float(np.hypot(*flow)))
