"""Conversion gain and read noise by maximum likelihood on the pixels, for straight and bent curves."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from noiseflow.calibrate.estimators.least_squares import weighted_fit
from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import UNLIKELY, PhotonTransfer
from noiseflow.core.errors import DataError

__all__ = ["likelihood_gain", "line_gain"]

Array = NDArray[np.float64]

LEVELS_TO_BEND = 6
"""Fewest levels of light needed to separate a bend from scatter."""

MOST_DEGREE, LEVELS_A_DEGREE = 4, 2
"""Highest degree of the polynomial, and levels of light needed per degree.

A response y·(1 − a·y³) adds a term in the fourth power of the signal to the variance.  A parabola fitted to it has
the wrong slope at zero signal, and its error bar does not show that.
"""


def line_gain(curve: Curve) -> PhotonTransfer:
    """Fit K and the read variance to flats without darks: a line through the variances.

    The weights are 1/v² of the fitted variance v.  They are those of maximum likelihood, because the
    relative error of a variance is the same at every level.  A common offset of `signal` does not change K.

    Parameters
    ----------
    curve : Curve
        Levels within the linear range; the dark columns are not used.

    Returns
    -------
    PhotonTransfer
        K, and the variance at signal 0 as the read variance.

    Raises
    ------
    DataError
        Fewer than two levels, or two levels whose variances have no error bars.
    """
    return _fit(curve.signal, curve.variance, curve.variance_error)


def likelihood_gain(curve: Curve) -> PhotonTransfer:
    """Fit K and the read variance to flats and darks together, by maximum likelihood on the pixels.

    With temporal mean and fixed pattern removed, a level of measured variance s² with f degrees of freedom has
    the log-likelihood −(f/2)(ln v + s²/v), where v = K·x + σ_read².  Its score equations are those of a line with
    weights 1/v², which are iterated.  The standard error of s² includes the measured kurtosis and row noise.

    If χ² rejects a straight line, two terms are added.  The first is a bend of up to the fourth degree,
    v = K₀·x + c₂·x² … + σ_read², as from charge that spreads or a nonlinear converter.  The second is a
    scatter τ·v of the variances beyond counting statistics, as from codes of unequal width; τ is chosen so
    that χ² equals its expectation.

    `gain` of the result is then the slope that EMVA 1288's least squares would find on the fitted curve,
    Σ x v / Σ x², so both methods report the same quantity.  K₀, the slope at zero signal, is `gain_at_zero`.
    It is given from `LEVELS_TO_BEND` levels on and always comes from the bent fit, even where a line fits:
    its interval then allows for bends too small to detect.

    Parameters
    ----------
    curve : Curve
        Levels within the linear range, with their darks.

    Returns
    -------
    PhotonTransfer
        The straight fit, or the bent fit where χ² rejects a line.

    Raises
    ------
    DataError
        All signals and darks are at one level.

    References
    ----------
    Paule, Mandel: Consensus values and weighting factors, J. Res. NBS 87, 1982 (for τ).
    """
    x = np.concatenate([curve.signal, np.zeros(1 if curve.shared_dark else len(curve.signal))])
    dark = curve.dark_variance[:1] if curve.shared_dark else curve.dark_variance
    dark_error = curve.dark_error[:1] if curve.shared_dark else curve.dark_error
    y, errors = np.concatenate([curve.variance, dark]), np.concatenate([curve.variance_error, dark_error])
    fit = _fit(x, y, errors)
    free = len(x) - 2
    if len(curve.signal) < LEVELS_TO_BEND:
        return fit
    bent = _bent(x, y, errors, curve.signal)
    if not fit.misfit > 1 or chi2.sf(fit.misfit * free, free) > UNLIKELY:
        # A bend too small for χ² may still tilt the line by more than its error.
        return replace(fit, gain_at_zero=bent.gain_at_zero)
    return bent


def _fit(x: Array, y: Array, errors: Array) -> PhotonTransfer:
    """Fit a line through the variances with weights 1/v², updated from the fit until they converge."""
    if len(x) < 2 or np.ptp(x) <= 0:
        raise DataError(
            "only one level of light: a line needs two or more; add flats of other exposure times, or darks"
        )
    known = bool(np.isfinite(errors).all())
    relative = errors / y if known else np.ones_like(y)
    parameters, deviation, covariance = _weighted(np.stack([x, np.ones_like(x)], 1), y, relative)
    residuals = y - parameters[0] * x - parameters[1]
    free = len(x) - 2
    misfit = float(np.sum((residuals / deviation) ** 2)) / free if free else math.nan
    used_free = math.inf
    if not known and not free:
        raise DataError(
            "two levels of light without counting statistics: K would have no error bar; add flats of other exposure "
            "times"
        )
    if free and (not known or (misfit > 1 and chi2.sf(misfit * free, free) < UNLIKELY)):
        covariance, used_free = covariance * misfit, free
    gain = from_error(float(parameters[0]), math.sqrt(covariance[0, 0]), "DN/e-", used_free)
    return PhotonTransfer(gain, float(parameters[1]), covariance, residuals, misfit if known else math.nan)


def _bent(x: Array, y: Array, errors: Array, signal: Array) -> PhotonTransfer:
    """Fit a polynomial with scatter; x is divided by its maximum to keep the equations well scaled."""
    unit = float(x.max())
    degree = min(MOST_DEGREE, max(2, (len(signal) + 3) // LEVELS_A_DEGREE))
    powers = np.arange(1, degree + 1)
    design = np.column_stack([(x[:, None] / unit) ** powers, np.ones_like(x)])
    free = len(x) - degree - 1

    def solved(scatter: float) -> tuple[Array, Array, Array, float]:
        parameters, deviation, covariance = _weighted(design, y, np.hypot(errors / y, scatter))
        return parameters, covariance, deviation, float(np.sum(((y - design @ parameters) / deviation) ** 2))

    misfit = solved(0.0)[3] / free
    # As for a line: assume counting statistics alone, unless χ² rejects that.
    more = misfit > 1 and chi2.sf(misfit * free, free) < UNLIKELY
    scatter = float(brentq(lambda tau: solved(tau)[3] - free, 0.0, 10.0, xtol=1e-6, rtol=1e-4)) if more else 0.0
    used_free = free if more else math.inf
    parameters, covariance, _, _ = solved(scatter)
    # Σ x v / Σ x² of the curve v = Σ cₖ xᵏ.
    mean = np.append([float((signal ** (k + 1)).sum()) / float((signal**2).sum()) / unit**k for k in powers], 0.0)
    take = np.stack([mean, np.append(np.zeros(degree), 1.0)])
    of_both = take @ covariance @ take.T
    gain, read = (float(value) for value in take @ parameters)
    start = from_error(float(parameters[0]) / unit, math.sqrt(covariance[0, 0]) / unit, "DN/e-", used_free)
    residuals = y - design @ parameters
    measured = from_error(gain, math.sqrt(of_both[0, 0]), "DN/e-", used_free)
    bend = tuple(float(value) for value in parameters[:-1] / unit**powers)
    return PhotonTransfer(measured, read, of_both, residuals, misfit, start, scatter, bend)


def _weighted(design: Array, y: Array, relative: Array) -> tuple[Array, Array, Array]:
    """Return parameters, standard deviations of y and covariance; the deviations are `relative` times the fit."""
    fitted = y
    for _ in range(30):
        deviation = np.maximum(fitted, 1e-3 * y) * relative
        parameters, covariance = weighted_fit(design, y, deviation)
        before, fitted = fitted, design @ parameters
        if np.allclose(before, fitted, rtol=1e-7, atol=0):
            break
    return parameters, deviation, covariance
