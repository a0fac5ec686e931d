"""Dark frames of several exposures: black level, dark current, and noise at zero exposure."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noiseflow.calibrate.estimate import Estimate, from_error, root
from noiseflow.calibrate.estimators.least_squares import weighted_fit
from noiseflow.calibrate.measurements.photon_transfer import UNLIKELY
from noiseflow.core.errors import DataError

__all__ = ["DarkSeries", "dark_series"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DarkSeries:
    """What the dark frames say at exposure zero and per second.

    Parameters
    ----------
    black : Estimate
        DN, at zero exposure.
    current : Estimate or None
        Dark current, DN/s; None with fewer than three exposures.
    noise : Estimate
        Temporal dark noise at zero exposure, DN, quantisation included.
    noise_variance_error : float
        Standard error of its square, DN².
    """

    black: Estimate
    current: Estimate | None
    noise: Estimate
    noise_variance_error: float


def dark_series(exposure_s: Array, level: Array, level_error: Array, variance: Array, error: Array) -> DarkSeries:
    """Lines of dark level and dark variance over the exposure time.

    With fewer than three exposures the shortest one stands for zero exposure.

    Parameters
    ----------
    exposure_s : ndarray, shape (D,)
        Seconds.
    level, level_error : ndarray
        Mean of the dark frames and its standard error, DN.
    variance, error : ndarray
        Temporal variance and its standard error, DN²; NaN where not known.

    References
    ----------
    EMVA Standard 1288, release 3.1, 7.1 (dark current) and 6.6 (temporal dark noise).
    """
    if not len(exposure_s):
        raise DataError("no dark frames; the black level and read noise cannot be measured")
    if len(np.unique(exposure_s)) < 3:
        first = exposure_s == exposure_s.min()
        value, square = float(level[first].mean()), float(variance[first].mean())
        count = int(first.sum())
        black_error = float(np.sqrt((level_error[first] ** 2).sum())) / count
        known = np.nan_to_num(error[first], nan=0.05 * square)
        noise_error = float(np.sqrt((known**2).sum())) / count
        noise = root(square, noise_error, "DN")
        return DarkSeries(from_error(value, black_error, "DN"), None, noise, noise_error)
    (black, current), level_covariance, level_free = _line(exposure_s, level, level_error)
    (square, _), covariance, free = _line(exposure_s, variance, error)
    noise_error = math.sqrt(covariance[0, 0])
    return DarkSeries(
        from_error(black, math.sqrt(level_covariance[0, 0]), "DN", level_free),
        from_error(current, math.sqrt(level_covariance[1, 1]), "DN/s", level_free),
        root(square, noise_error, "DN", free),
        noise_error,
    )


def _line(x: Array, y: Array, error: Array) -> tuple[Array, Array, float]:
    """Intercept and slope, their covariance, and the degrees of freedom of the error bar."""
    known = bool(np.isfinite(error).all() and (error > 0).all())
    deviation = error if known else np.ones_like(y)
    design = np.stack([np.ones_like(x), x], 1)
    parameters, covariance = weighted_fit(design, y, deviation)
    free = len(x) - 2
    chi = float(np.sum(((y - design @ parameters) / deviation) ** 2))
    if free and (not known or (chi > free and chi2.sf(chi, free) < UNLIKELY)):
        return parameters, covariance * chi / free, free
    return parameters, covariance, math.inf
