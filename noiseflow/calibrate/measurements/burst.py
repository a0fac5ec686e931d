"""Shot and read noise from a static burst of any scene, by the leave-one-out mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.core.errors import DataError

__all__ = ["BurstNoise", "burst_noise"]

Array = NDArray[np.float64]

TILE, GROUPS = 8, 32
"""Side of a jackknife tile in pixels, and number of groups that the tiles are dealt to."""

NEGATIVE = 5.0
"""Standard errors below 0 from which a negative read variance is significant."""


@dataclass(frozen=True, eq=False)
class BurstNoise:
    """Line of temporal variance over signal, of one plane.

    Parameters
    ----------
    gain : Measurement
        K, DN/e⁻.
    read_noise : Measurement
        Noise at the black level, DN.
    signal, variance : ndarray, shape (B,)
        Mean signal above black, DN, and temporal variance, DN², of each bin of signal.
    covariance : ndarray, shape (2, 2)
        Covariance of K (DN/e⁻) and the read variance (DN²).
    edge_ratio : float
        Variance at edges of the scene divided by that in flat parts of the same signal; 1 for a static scene.
    cautions : tuple of str
        Limits of these numbers, as sentences for the user.
    """

    gain: Measurement
    read_noise: Measurement
    signal: Array
    variance: Array
    covariance: Array
    edge_ratio: float
    cautions: tuple[str, ...]


def burst_noise(frames: Sequence[NDArray[Any]], black: float, white: float, cells: int = 40) -> BurstNoise:
    """Measure K and read noise from three or more frames of a static scene.

    For each frame t, the mean m of the other n − 1 frames estimates the scene.  The residual x_t − g_t·m has
    variance σ²(m)·n/(n − 1), and m is independent of x_t, so binning by m is unbiased.  The factor g_t removes
    flicker of the whole frame.  The error bars come from a jackknife over 32 groups of small tiles, each
    group spread over the whole scene.

    Parameters
    ----------
    frames : sequence of ndarray of integers, shape (H, W)
        One plane of each frame, DN.
    black, white : float
        Black and white level, DN.
    cells : int
        Bins of signal, of about equal numbers of pixels.

    Returns
    -------
    BurstNoise
        K and read noise with error bars, and the points of the line.

    Raises
    ------
    DataError
        Fewer than three frames, fewer than 1000 unsaturated pixels, one signal level only, or a scene that moved.
    """
    n = len(frames)
    if n < 3:
        raise DataError(f"a burst needs at least three frames; got {n}")
    stack = np.stack([np.asarray(frame, np.float32) - np.float32(black) for frame in frames])
    mean = stack.sum(0, dtype=np.float64) / n
    good = (mean < 0.95 * (white - black)) & (stack.max(0) < white - black)
    if good.sum() < 1000:
        raise DataError(
            f"burst: expected at least 1000 unsaturated pixels; got {int(good.sum())}. Take a darker exposure"
        )
    edges = np.unique(np.quantile(mean[good], np.linspace(0, 1, cells + 1)))
    if len(edges) < 4:
        raise DataError(
            "burst: the scene has too few signal levels for a line; photograph something with light and shade"
        )
    sums, by_slope = _sums_of(stack, good, edges)
    parameters, covariance, x, y = _line_with_errors(sums, (n - 1) / n)
    edge_ratio = _edge_ratio(by_slope)
    if edge_ratio > 1.5:
        raise DataError(
            f"burst: the variance at edges is {edge_ratio:.2f} times that of flat parts at the same signal; "
            "the camera or the scene moved. Use a tripod and a remote release, or drop the frames that moved"
        )
    gain_error, read_error = float(np.sqrt(covariance[0, 0])), float(np.sqrt(covariance[1, 1]))
    free = int((sums[0].sum(1) > 0).sum()) - 1
    gain = from_error(parameters[0], gain_error, "DN/e-", free)
    read = root(float(parameters[1]), read_error, "DN", free)
    cautions = _cautions(stack, edge_ratio, parameters, read_error, black)
    return BurstNoise(gain, read, x, y, covariance, edge_ratio, cautions)


def _sums_of(stack: NDArray[np.float32], good: NDArray[np.bool_], edges: Array) -> tuple[Array, Array]:
    """Sum the residuals of all frames about the mean of the others.

    Returns
    -------
    sums : ndarray, shape (3, GROUPS, bins)
        Number of pixels, sum of signal (DN) and sum of squared residuals (DN²), by group of tiles and bin of signal.
    by_slope : ndarray, shape (2, 2, bins)
        Sum of squared residuals (DN²) and number of pixels, in flat and in steep parts of the scene.
    """
    n, (height, width) = len(stack), stack.shape[1:]
    total = stack.sum(0, dtype=np.float64)
    # 11 and 32 share no factor, so neighbouring tiles belong to different groups in both directions.
    block = (np.arange(height)[:, None] // TILE * 11 + np.arange(width)[None] // TILE) % GROUPS
    gradient = np.hypot(*np.gradient(_smooth(total / n)))
    steep = gradient > np.quantile(gradient[good], 0.9)
    flat = gradient < np.quantile(gradient[good], 0.5)
    shape = (GROUPS, len(edges) - 1)
    count, signal, square = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    by_slope = np.zeros((2, 2, shape[1]))
    for frame in stack:
        others = (total - frame) / (n - 1)
        factor = float((frame[good] @ others[good]) / (others[good] @ others[good]))
        residual = frame - factor * others
        cell = np.clip(np.searchsorted(edges, others) - 1, 0, shape[1] - 1)
        key = (block * shape[1] + cell)[good]
        count += np.bincount(key, minlength=count.size).reshape(shape)
        signal += np.bincount(key, others[good], minlength=count.size).reshape(shape)
        square += np.bincount(key, residual[good] ** 2, minlength=count.size).reshape(shape)
        for index, mask in enumerate((flat & good, steep & good)):
            by_slope[index, 0] += np.bincount(cell[mask], residual[mask] ** 2, minlength=shape[1])
            by_slope[index, 1] += np.bincount(cell[mask], minlength=shape[1])
    return np.stack([count, signal, square]), by_slope


def _line_with_errors(sums: Array, shrink: float) -> tuple[Array, Array, Array, Array]:
    """Fit the line of variance over signal; return parameters, their jackknife covariance, signal and variance."""
    present = sums[0].sum(1) > 0
    parameters, x, y = _line(sums[:, present], shrink)
    kept = [present & (np.arange(GROUPS) != group) for group in np.flatnonzero(present)]
    left_out = np.stack([_line(sums[:, groups], shrink)[0] for groups in kept])
    m = len(left_out)
    covariance = (m - 1) / m * (left_out - left_out.mean(0)).T @ (left_out - left_out.mean(0))
    return parameters, covariance, x, y


def _line(sums: Array, shrink: float) -> tuple[Array, Array, Array]:
    """Fit a line with weights count/v², updated from the fit; return K and read variance, signal and variance."""
    count, signal, square = (values.sum(0) for values in sums)
    used = count > 50
    x, y = signal[used] / count[used], square[used] / count[used] * shrink
    design = np.stack([x, np.ones_like(x)], 1)
    parameters, fitted = np.zeros(2), y
    for _ in range(20):
        root_weight = np.sqrt(count[used]) / np.maximum(fitted, 0.1 * y)
        parameters = np.linalg.lstsq(design * root_weight[:, None], y * root_weight, rcond=None)[0]
        fitted = design @ parameters
    return parameters, x, y


def _edge_ratio(by_slope: Array) -> float:
    """Return the variance in steep parts over that in flat parts: the median over bins with enough pixels of both."""
    both = (by_slope[:, 1] > 200).all(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (by_slope[1, 0] / by_slope[1, 1]) / (by_slope[0, 0] / by_slope[0, 1])
    return float(np.median(ratios[both])) if both.any() else 1.0


def _cautions(
    stack: NDArray[np.float32], edge_ratio: float, parameters: Array, read_error: float, black: float
) -> tuple[str, ...]:
    """Return cautions about movement, flicker, and a black level that is too low."""
    means = stack.mean((1, 2), dtype=np.float64)
    drift = float(means.std(ddof=1) / max(abs(means.mean()), 1e-9))
    cautions = []
    if edge_ratio > 1.1:
        cautions.append(
            f"the variance at edges is {edge_ratio:.2f} times that of flat parts: slight movement of camera or scene"
        )
    if drift > 0.01:
        cautions.append(
            f"the brightness varies by {100 * drift:.1f} % between frames: flickering light, removed frame by frame"
        )
    gain, offset = float(parameters[0]), float(parameters[1])
    if offset < -NEGATIVE * read_error and gain > 0:
        cautions.append(
            f"the fitted variance reaches 0 at {-offset / gain:.4g} DN above the black level of {black:g} DN: "
            "the black level is too low, and the read noise is unknown. Give the right one with --black"
        )
    return tuple(cautions)


def _smooth(mean: Array) -> Array:
    from scipy.ndimage import uniform_filter

    smooth: Array = uniform_filter(mean, 3, mode="reflect")
    return smooth
