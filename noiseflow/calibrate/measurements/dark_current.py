"""Dark frames of several exposures: black level, dark current, and noise at zero exposure."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noiseflow.calibrate.estimators.least_squares import weighted_fit
from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.calibrate.measurements.photon_transfer import UNLIKELY
from noiseflow.core.errors import DataError
from noiseflow.core.text import counted

__all__ = ["DarkSeries", "dark_series"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DarkSeries:
    """Black level and noise extrapolated to zero exposure time, and dark current.

    Parameters
    ----------
    black : Measurement
        Black level at zero exposure time, DN.
    current : Measurement or None
        Dark current, DN/s; None where it cannot be measured.
    noise : Measurement
        Temporal dark noise at zero exposure time, DN, quantisation included.
    no_current : str
        Reason for a missing dark current; empty if there is one.
    """

    black: Measurement
    current: Measurement | None
    noise: Measurement
    no_current: str = ""


def dark_series(exposure_s: Array, level: Array, level_error: Array, variance: Array, error: Array) -> DarkSeries:
    """Fit lines through dark level and dark variance over the exposure time.

    With fewer than three exposure times, the shortest one is taken as zero exposure.

    Parameters
    ----------
    exposure_s : ndarray, shape (D,)
        Exposure times, s.
    level, level_error : ndarray, shape (D,)
        Mean of the dark frames and its standard error, DN.
    variance, error : ndarray, shape (D,)
        Temporal variance and its standard error, DN²; NaN where the error is unknown.

    Returns
    -------
    DarkSeries
        Intercepts of both lines, and the slope of the level.

    Raises
    ------
    DataError
        No dark frames.

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
        reason = (
            f"dark frames of only {counted(len(np.unique(exposure_s)), 'exposure time')}; a dark current needs three"
        )
        return DarkSeries(from_error(value, black_error, "DN"), None, noise, reason)
    (black, current), level_covariance, level_free = _line(exposure_s, level, level_error, level_error)
    (square, _), covariance, free = _line(exposure_s, variance, *_common(exposure_s, variance, error))
    noise_error = math.sqrt(covariance[0, 0])
    found = from_error(current, math.sqrt(level_covariance[1, 1]), "DN/s", level_free)
    reason = _no_current(exposure_s, found)
    return DarkSeries(
        from_error(black, math.sqrt(level_covariance[0, 0]), "DN", level_free),
        None if reason else found,
        root(square, noise_error, "DN", free),
        reason,
    )


def _common(exposure_s: Array, variance: Array, error: Array) -> tuple[Array, Array]:
    """Return the errors that weight a line through variances, and the errors of its points.

    Each variance's own error is proportional to it, so it would give too much weight to variances that came out low.
    The weights therefore use relative errors times the mean variance, and the points' errors relative errors
    times the fitted line.
    """
    if not (variance > 0).all() or not np.isfinite(error).all():
        return error, error
    relative = error / variance
    # Exposures with similar numbers of frames get equal weights: the fit is then that of EMVA 1288.
    alike = np.quantile(relative, 0.9) < 3 * np.quantile(relative, 0.1)
    weighted = (np.full_like(error, relative.mean()) if alike else relative) * float(variance.mean())
    design = np.stack([np.ones_like(exposure_s), exposure_s], 1)
    fitted = design @ weighted_fit(design, variance, weighted)[0]
    return weighted, relative * np.maximum(fitted, 0.1 * float(variance.mean()))


def _no_current(exposure_s: Array, current: Measurement) -> str:
    """Return why the slope of the dark level is not a dark current; empty if it may be one."""
    if exposure_s.min() < 0:
        return f"the files state an exposure time of {exposure_s.min():g} s: the times are wrong"
    if current.interval[1] < 0:
        return (
            f"the dark level falls with the exposure time, by {-current.value:.3g} DN/s: "
            "wrong exposure times or unit, or a black level that drifts"
        )
    return ""


def _line(x: Array, y: Array, weighted: Array, error: Array) -> tuple[Array, Array, float]:
    """Return intercept and slope by weights 1/`weighted`², their covariance by `error`, and its degrees of freedom."""
    known = bool(np.isfinite(error).all() and (error > 0).all())
    weighted, deviation = (weighted, error) if known else (np.ones_like(y), np.ones_like(y))
    design = np.stack([np.ones_like(x), x], 1)
    parameters, inverse = weighted_fit(design, y, weighted)
    # Error of each point times its influence on the parameters, as the weights need not be those of least variance.
    parts = inverse @ design.T * (deviation / weighted**2)
    covariance = parts @ parts.T
    free = len(x) - 2
    # The sum of squares is χ²-distributed only about the line of least variance.
    best = weighted_fit(design, y, deviation)[0]
    chi = float(np.sum(((y - design @ best) / deviation) ** 2))
    if free and (not known or (chi > free and chi2.sf(chi, free) < UNLIKELY)):
        return parameters, covariance * chi / free, free
    return parameters, covariance, math.inf
