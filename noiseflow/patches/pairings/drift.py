"""Offsets and gains that bring frames of one scene to each other."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from noiseflow.patches.pairings.blocks import median

__all__ = ["Drift", "fit_drift"]

Array = NDArray[np.float64]

SURE = 1e-3
"""Chance of gains being fitted to frames that have none."""
SHARPEST = 0.02
"""Largest standard error of a gain that is used."""
OUTLYING = 4.0


@dataclass(frozen=True, eq=False)
class Drift:
    """How each frame's signal differs from that of the scene's middle frame.

    frame = black + gain·(scene − black) + offset, plane by plane.

    Parameters
    ----------
    offsets : ndarray, shape (n, C)
        DN: drift of the black level, or of the light where the scene has one level only.
    gains : ndarray, shape (n, C)
        Flicker of the light; 1 where it cannot be told from an offset.
    flicker : bool
        Whether gains were fitted.
    residuals : ndarray, shape (n, C, *grid)
        Block means less what offset and gain explain, DN.
    """

    offsets: Array
    gains: Array
    flicker: bool
    residuals: Array


def fit_drift(middles: NDArray[np.floating], signal: Array, variance: Array) -> Drift:
    """Fit each frame's offset, and gain if there is one, to block means.

    Block by block, frame − middle frame = o + (g − 1)·s, s being the scene's signal above
    black: weighted least squares, blocks off by more than 4σ (where the scene moves) left
    out.  Over K blocks two parameters take 2/K of a block mean's variance from the noise,
    2/(pixels of the plane) of a pixel's, whatever the scene: nothing.  But a gain that is
    not determined would multiply the fixed pattern.  So gains are fitted plane by plane only
    where the scene has contrast enough (their standard errors are below 2 %) and the frames
    need them (χ² of the n gains, one false alarm in a thousand); else offsets alone.
    Offsets alone are right where the black level drifts, and where the scene has one level;
    a gain alone would be right for flicker, but the offset costs nothing.

    Parameters
    ----------
    middles : ndarray, shape (n, C, *grid)
        Block means of n ≥ 2 frames, DN, from any origin.
    signal : ndarray, shape (C, *grid)
        Of the scene above black, DN.
    variance : ndarray, shape (C, *grid)
        Of a block mean, DN²; infinite for blocks that do not count.
    """
    n, planes = middles.shape[:2]
    steps = (middles - median(np.moveaxis(middles, 0, -1))).reshape(n, planes, -1).astype(np.float64)
    weights = 1 / variance.reshape(planes, -1)
    offsets, gains = np.zeros((n, planes)), np.ones((n, planes))
    flicker = False
    for plane in range(planes):
        s, w = signal[plane].ravel(), weights[plane]
        offsets[:, plane] = [_line(steps[frame, plane], None, w)[0] for frame in range(n)]
        slopes = [_line(steps[frame, plane], s, w) for frame in range(n)]
        error = np.array([error for *_, error in slopes])
        wanted = sum((slope / error) ** 2 for _, slope, error in slopes) > scipy.special.chdtri(n, SURE / planes)
        if error.max() < SHARPEST and wanted:
            flicker = True
            offsets[:, plane] = [offset for offset, *_ in slopes]
            gains[:, plane] = [1 + slope for _, slope, _ in slopes]
    explained = offsets[:, :, None] + (gains[:, :, None] - 1) * signal.reshape(planes, -1)
    return Drift(offsets, gains, flicker, (steps - explained).reshape(middles.shape))


def _line(y: Array, x: Array | None, weights: Array) -> tuple[float, float, float]:
    """Offset, slope and the slope's standard error; the offset alone if x is None or constant."""
    kept = np.ones(len(y), bool)
    offset, slope, error, scale = 0.0, 0.0, np.inf, 1.0
    if not weights.any():
        return offset, slope, error
    root = np.sqrt(weights)
    # Sums, not products of vectors: BLAS's hang on the number of its threads, which cost more than they do here.
    for _ in range(10):
        w = weights * kept
        total = float(w.sum())
        mean_y = float((w * y).sum()) / total
        offset = mean_y
        if x is not None:
            mean_x = float((w * x).sum()) / total
            across = x - mean_x
            power = float((w * across**2).sum())
            if power > 0:
                slope = float((w * across * (y - mean_y)).sum()) / power
                error = power**-0.5
                offset = mean_y - slope * mean_x
        rest = np.abs(y - offset - (slope * x if x is not None else 0.0)) * root
        scale = max(1.4826 * float(np.partition(rest, len(rest) // 2)[len(rest) // 2]), 1.0)
        now = rest <= OUTLYING * scale
        if not now.any() or (now == kept).all():
            break
        kept = now
    # Noise common to many blocks (rows, banding) makes the slope less sure than white noise does.
    return offset, slope, error * scale
