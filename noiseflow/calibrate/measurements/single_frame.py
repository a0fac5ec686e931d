"""A bound on the noise from one raw frame, by its flattest parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noiseflow.calibrate.estimators.least_squares import weighted_fit
from noiseflow.calibrate.measurement import Measurement
from noiseflow.core.errors import DataError

__all__ = ["CAVEAT", "SingleFrameBound", "single_frame_bound"]

Array = NDArray[np.float64]

CAVEAT = (
    "bounds from the flattest parts of one frame, no measurement: texture and fixed pattern that are left add to the "
    "variance (upper bound), choosing the flattest parts takes from it (lower bound). Take a burst or pairs of flats"
)


@dataclass(frozen=True, eq=False)
class SingleFrameBound:
    """Line of variance over signal through the flattest blocks of one plane.

    Parameters
    ----------
    gain : Measurement
        Slope, DN/e⁻: the value is the upper bound, its interval goes down to the lower bound.
    variance_at_black : Measurement
        Intercept, DN²; likewise.
    signal, variance : ndarray, shape (B,)
        Cells that the line went through.
    """

    gain: Measurement
    variance_at_black: Measurement
    signal: Array
    variance: Array


def single_frame_bound(
    plane: NDArray[Any], black: float, white: float, *, block: int = 8, part: float = 0.1, cells: int = 24
) -> SingleFrameBound:
    """Robust line through the low quantile of local variances.

    In each block the variance is that of the second difference (1, −2, 1; −2, 4, −2; 1, −2, 1)/6,
    which no gradient enters.  Blocks are sorted by mean into cells; in each the `part`
    quantile of the variances is divided by that of χ²/f, what it would be among flat
    blocks only.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        DN.
    black, white : float
        DN.
    block : int
        Side of a block in pixels of the plane.
    part : float
        Quantile of the variances.

    References
    ----------
    Immerkær: Fast noise variance estimation, CVIU 64, 1996; Foi et al., IEEE TIP 2008.
    """
    x = np.asarray(plane, np.float64) - black
    height, width = (size // block * block for size in x.shape)
    if height < 8 * block or width < 8 * block:
        raise DataError(
            f"single frame: {x.shape[1]}×{x.shape[0]} pixels are too few; expected {8 * block}×{8 * block} or more"
        )
    x = x[:height, :width]
    second = x[:, :-2] - 2 * x[:, 1:-1] + x[:, 2:]
    second = (second[:-2] - 2 * second[1:-1] + second[2:]) / 6
    tiles = x.reshape(height // block, block, width // block, block).swapaxes(1, 2).reshape(-1, block, block)
    padded = np.full_like(x, np.nan)
    padded[1:-1, 1:-1] = second
    inner = padded.reshape(height // block, block, width // block, block).swapaxes(1, 2).reshape(-1, block, block)
    inner = inner[:, 1:-1, 1:-1]
    means = tiles.mean((1, 2))
    squares = (inner**2).mean((1, 2))
    good = (tiles.max((1, 2)) < 0.95 * (white - black)) & np.isfinite(squares)
    means, squares = means[good], squares[good]
    if len(means) < 40:
        raise DataError("single frame: fewer than 40 unsaturated blocks; the frame says nothing of the noise")
    # The filter's outputs are correlated: Σρ² over its autocorrelation, (70/36)² in two dimensions.
    degrees = (block - 2) ** 2 / (70 / 36) ** 2
    correction = chi2.ppf(part, degrees) / degrees
    cells = min(cells, len(means) // 20)
    edges = np.quantile(means, np.linspace(0, 1, cells + 1))
    cell = np.clip(np.searchsorted(edges, means) - 1, 0, cells - 1)
    signal, variance = [], []
    for index in range(cells):
        of_cell = squares[cell == index]
        if len(of_cell) >= 10:
            low = np.quantile(of_cell, part)
            signal.append(float(np.median(means[cell == index][of_cell <= 2 * low])))
            variance.append(float(low / correction))
    xs, ys = np.array(signal), np.array(variance)
    if len(xs) < 3 or np.ptp(xs) < 1e-6 or (ys <= 0).all():
        raise DataError("single frame: one level of signal only; the frame says nothing of the gain")
    parameters, covariance = _robust_line(xs, ys)
    gain, floor = (
        _bounds(float(parameters[i]), float(np.sqrt(covariance[i, i])), correction, unit)
        for i, unit in ((0, "DN/e-"), (1, "DN2"))
    )
    return SingleFrameBound(gain, floor, xs, ys)


def _bounds(upper: float, error: float, correction: float, unit: str) -> Measurement:
    """Upper bound and, without the correction for choosing the flattest blocks, the lower bound."""
    ends = (correction * (upper - 2 * error), upper + 2 * error)
    return Measurement(upper, error, (min(ends), max(ends)), unit)


def _robust_line(x: Array, y: Array) -> tuple[Array, Array]:
    """Line with weights 1/fit² that a cell of texture cannot pull up (Huber's weights, c = 1.5)."""
    parameters = np.array([max(float(np.median(y / np.maximum(x, 1e-6))), 1e-6), max(float(y.min()), 1e-6)])
    design = np.stack([x, np.ones_like(x)], 1)
    weights = np.ones_like(x)
    for _ in range(50):
        fitted = np.maximum(design @ parameters, 0.1 * np.abs(y) + 1e-9)
        relative = (y - fitted) / fitted
        spread = max(1.4826 * float(np.median(np.abs(relative))), 1e-6)
        weights = np.minimum(1, 1.5 * spread / np.maximum(np.abs(relative), 1e-12)) / fitted**2
        parameters, covariance = weighted_fit(design, y, 1 / np.sqrt(weights))
    scatter = float(np.sum(weights * (y - design @ parameters) ** 2)) / max(len(x) - 2, 1)
    return parameters, scatter * covariance
