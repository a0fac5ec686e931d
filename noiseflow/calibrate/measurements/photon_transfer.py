"""Conversion gain from the photon-transfer curve, by the least squares of EMVA 1288."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.core.errors import DataError

__all__ = ["QUANTISATION", "UNLIKELY", "PhotonTransfer", "emva_gain", "in_electrons"]

Array = NDArray[np.float64]

QUANTISATION = 1 / 12
"""Variance of rounding to whole codes, DN²."""

UNLIKELY = 0.01
"""Probability of χ² below which the residuals exceed what counting statistics explain."""


@dataclass(frozen=True, eq=False)
class PhotonTransfer:
    """Fit of a photon-transfer curve.

    Parameters
    ----------
    gain : Measurement
        K, DN/e⁻.
    read_variance : float
        Dark variance, DN², quantisation included.
    covariance : ndarray, shape (2, 2)
        Covariance of K (DN/e⁻) and the read variance (DN²).
    residuals : ndarray, shape (P,)
        Measured minus fitted variance, DN².
    misfit : float
        χ² per degree of freedom against counting statistics; NaN where these are
        unknown.  Where it is significantly above 1, the error bars come from the residuals.
    gain_at_zero : Measurement, optional
        Slope at zero signal of a curve that may bend, DN/e⁻; None with few levels.
    scatter : float
        Relative standard deviation of the variances beyond counting statistics.
    bend : tuple of float
        Coefficients of signal, signal² … in the fitted curve, in DN² per DN, DN² …; empty where a line fits.
    """

    gain: Measurement
    read_variance: float
    covariance: Array
    residuals: Array
    misfit: float
    gain_at_zero: Measurement | None = None
    scatter: float = 0.0
    bend: tuple[float, ...] = ()

    @property
    def read_noise(self) -> Measurement:
        """Square root of the read variance, DN."""
        return root(self.read_variance, math.sqrt(self.covariance[1, 1]), "DN")


def emva_gain(curve: Curve) -> PhotonTransfer:
    """Measure K by the EMVA 1288 method: least squares of y = σ² − σ_dark² over the signal x, through 0.

    K = Σ x y / Σ x².  The error bar is that of counting statistics.  If χ² shows that the residuals are
    larger (curvature, flicker, unequal code widths), it comes from the residuals (HC3 sandwich with Student's t).

    Parameters
    ----------
    curve : Curve
        Levels within the linear range, with their darks.

    Returns
    -------
    PhotonTransfer
        K, and the dark variance as the read variance.

    Raises
    ------
    DataError
        No level above the dark, or only one level and no counting statistics.

    References
    ----------
    EMVA Standard 1288, release 3.1, 6.6; MacKinnon, White, J. Econometrics 29, 1985 (HC3).
    """
    x, y = curve.signal, curve.variance - curve.dark_variance
    square = _spread(x)
    gain = float(x @ y) / square
    residuals = y - gain * x
    own = curve.variance_error**2 + (0.0 if curve.shared_dark else curve.dark_error**2)
    common = float(np.nanmean(curve.dark_error)) ** 2 if curve.shared_dark else 0.0
    known = bool(np.isfinite(own).all())
    free = len(x) - 1
    error = math.sqrt(float(x**2 @ own) + common * float(x.sum()) ** 2) / square if known else math.nan
    misfit = math.nan
    used_free = math.inf
    if free > 0:
        misfit = float(np.sum(residuals**2 / (own + common))) / free if known else math.nan
        if not known or chi2.sf(misfit * free, free) < UNLIKELY:
            leverage = x**2 / square
            sandwich = float(np.sqrt(np.sum((x * residuals / (1 - np.minimum(leverage, 0.99))) ** 2))) / square
            # Counting statistics remain a lower limit: a few points can lie on a line by chance.
            if not known or sandwich > error:
                error, used_free = sandwich, free
    if not math.isfinite(error):
        raise DataError(
            "one level of light without counting statistics: K would have no error bar; add flats of other exposure "
            "times"
        )
    weights = 1 / np.where(np.isfinite(curve.dark_error) & (curve.dark_error > 0), curve.dark_error, 1.0) ** 2
    read = float(curve.dark_variance @ weights / weights.sum())
    read_error = float(1 / math.sqrt(weights.sum())) if not curve.shared_dark else math.sqrt(common)
    covariance = np.diag([error**2, read_error**2])
    return PhotonTransfer(from_error(gain, error, "DN/e-", used_free), read, covariance, residuals, misfit)


def _spread(x: Array) -> float:
    """Return Σ x², which must be positive."""
    square = float(x @ x)
    if not len(x) or square <= 0:
        raise DataError("no unsaturated level of light above the dark: K cannot be measured; add darker flats")
    return square


def in_electrons(noise: Measurement, gain: Measurement) -> Measurement:
    """Convert a read noise to electrons and subtract quantisation: √(σ² − 1/12)/K.

    Parameters
    ----------
    noise : Measurement
        Read noise σ, DN, quantisation included.
    gain : Measurement
        K, DN/e⁻.

    Returns
    -------
    Measurement
        Read noise, e⁻.
    """
    square = max(noise.value**2 - QUANTISATION, 0.0) / gain.value**2
    error = 2 * noise.value * noise.standard_error / gain.value**2
    return root(square, math.hypot(error, 2 * square * gain.standard_error / gain.value), "e-")
