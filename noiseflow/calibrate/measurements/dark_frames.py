"""Dark shading, hot pixels and drift of the black level, from dark frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from noiseflow.calibrate.estimators.robust import robust_sigma
from noiseflow.calibrate.measurement import Measurement, from_error
from noiseflow.calibrate.stack import FrameStack

__all__ = ["Drift", "HotPixels", "black_drift", "dark_shading", "hot_pixels"]


@dataclass(frozen=True)
class Drift:
    """Variation of the black level from frame to frame.

    Parameters
    ----------
    deviation_dn : float
        Standard deviation of the frames' means, DN.
    range_dn : float
        Highest minus lowest frame mean, DN.
    per_frame : Measurement or None
        Slope, DN per frame; None with fewer than three frames.
    """

    deviation_dn: float
    range_dn: float
    per_frame: Measurement | None


@dataclass(frozen=True, eq=False)
class HotPixels:
    """Pixels far above their neighbours in the mean dark frame.

    Parameters
    ----------
    count : int
        Number of hot pixels.
    per_million : float
        Hot pixels per million pixels.
    threshold_dn : float
        Threshold above the median of the 5×5 neighbourhood, DN.
    positions : ndarray, shape (k, 2)
        Row and column of up to 1000 hot pixels, the hottest first.
    """

    count: int
    per_million: float
    threshold_dn: float
    positions: NDArray[np.intp]


def black_drift(frame_means: NDArray[np.float64]) -> Drift:
    """Measure the drift of the black level over the frames of one exposure.

    Parameters
    ----------
    frame_means : ndarray, shape (n,)
        Mean of each frame, DN, in the order taken.

    Returns
    -------
    Drift
        Spread of the frames' means, and their slope by least squares.
    """
    n = len(frame_means)
    if n < 3:
        return Drift(float(frame_means.std()), float(np.ptp(frame_means)), None)
    time = np.arange(n) - (n - 1) / 2
    slope = float(time @ frame_means) / float(time @ time)
    rest = frame_means - frame_means.mean() - slope * time
    error = float(np.sqrt(rest @ rest / (n - 2) / (time @ time)))
    slope_estimate = from_error(slope, error, "DN/frame", n - 2)
    return Drift(float(frame_means.std(ddof=1)), float(np.ptp(frame_means)), slope_estimate)


def dark_shading(stack: FrameStack, blocks: int = 32) -> NDArray[np.float64]:
    """Return the slowly varying part of the dark's fixed pattern, on a grid of square blocks.

    Each block's value is the mean of the middle half of its pixels, minus the median over the blocks.

    Parameters
    ----------
    stack : FrameStack
        Dark frames of one exposure.
    blocks : int
        Blocks across the width.

    Returns
    -------
    ndarray, shape (about `blocks`·H/W, about `blocks`)
        Shading, DN.
    """
    height, width = stack.mean.shape
    side = max(1, width // blocks)
    rows, columns = max(1, height // side), width // side
    side_rows = min(side, height)
    cut = stack.mean[: rows * side_rows, : columns * side]
    tiles = cut.reshape(rows, side_rows, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    # The mean of the middle half: a median of integer codes has steps, and a plain mean includes hot pixels.
    low, high = np.quantile(tiles, [0.25, 0.75], axis=2, keepdims=True)
    inside = (tiles >= low) & (tiles <= high)
    means = (tiles * inside).sum(2, dtype=np.float64) / inside.sum(2)
    shading: NDArray[np.float64] = means - float(np.median(means))
    return shading


def hot_pixels(stack: FrameStack, sigmas: float = 8.0) -> HotPixels:
    """Find pixels of the mean dark frame far above the median of their 5×5 neighbourhood.

    σ of that difference is its robust spread (1.4826 × median absolute deviation) in the first 512 rows, and at
    least 0.05 DN.

    Parameters
    ----------
    stack : FrameStack
        Dark frames of one exposure.
    sigmas : float
        Threshold in σ.

    Returns
    -------
    HotPixels
        Their number, and the positions of the hottest.
    """
    # In bands of rows, to avoid float copies of a whole 24-megapixel plane.
    height, _ = stack.mean.shape
    found: list[NDArray[np.intp]] = []
    heights: list[NDArray[np.float32]] = []
    threshold = None
    for start in range(0, height, 512):
        top, bottom = max(0, start - 2), min(height, start + 514)
        band = stack.mean[top:bottom]
        above = (band - median_filter(band, 5, mode="reflect"))[start - top : start - top + 512]
        if threshold is None:
            threshold = sigmas * max(robust_sigma(above), 0.05)
        rows, columns = np.nonzero(above > threshold)
        found.append(np.stack([rows + start, columns], 1))
        heights.append(above[rows, columns])
    positions, excess = np.concatenate(found), np.concatenate(heights)
    order = np.argsort(-excess, kind="stable")[:1000]
    per_million = 1e6 * len(positions) / stack.mean.size
    return HotPixels(len(positions), per_million, float(threshold or 0.0), positions[order])
