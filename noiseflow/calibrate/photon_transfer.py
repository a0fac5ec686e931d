"""Conversion gain from the photon-transfer curve: EMVA 1288's least squares, and maximum likelihood."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from noiseflow.calibrate.estimate import Estimate, from_error, root
from noiseflow.errors import DataError

__all__ = ["QUANTISATION", "Curve", "PhotonTransfer", "emva_gain", "likelihood_gain", "line_gain", "linear_range"]

Array = NDArray[np.float64]

QUANTISATION = 1 / 12
"""Variance in DN² of rounding to whole codes."""

UNLIKELY = 0.01
"""Probability below which residuals count as more than the counting statistics explain."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a photon-transfer curve, one a level of light; arrays of shape (P,).

    Parameters
    ----------
    exposure : ndarray
        Photons per pixel or seconds; only its proportion matters.
    signal : ndarray
        Mean above dark, DN.
    variance : ndarray
        Temporal variance, DN², dark variance *not* subtracted.
    variance_error : ndarray
        Standard error of `variance`, DN²; NaN where it is not known.
    dark_variance, dark_error : ndarray
        Temporal variance in the dark at the same exposure, DN², and its standard error.
    shared_dark : bool
        Whether one dark serves all levels, so that its error is common to them.
    clipped : ndarray
        Part of the pixels at the highest code.
    """

    exposure: Array
    signal: Array
    variance: Array
    variance_error: Array
    dark_variance: Array
    dark_error: Array
    clipped: Array
    shared_dark: bool = False

    def select(self, chosen: NDArray[np.bool_]) -> "Curve":
        """Only some of the points."""
        return Curve(
            self.exposure[chosen],
            self.signal[chosen],
            self.variance[chosen],
            self.variance_error[chosen],
            self.dark_variance[chosen],
            self.dark_error[chosen],
            self.clipped[chosen],
            self.shared_dark,
        )


@dataclass(frozen=True, eq=False)
class PhotonTransfer:
    """Fit of a photon-transfer curve.

    Parameters
    ----------
    gain : Estimate
        K, DN/e⁻.
    read_variance : float
        Variance of the dark, DN², quantisation included.
    covariance : ndarray, shape (2, 2)
        Of K (DN/e⁻) and the read variance (DN²).
    residuals : ndarray, shape (P,)
        Variance less the fit, DN².
    misfit : float
        χ² per degree of freedom against the counting statistics; NaN where these are not
        known.  Where it is significantly above 1 the error bars are from the residuals.
    """

    gain: Estimate
    read_variance: float
    covariance: Array
    residuals: Array
    misfit: float

    @property
    def read_noise(self) -> Estimate:
        """Root of the read variance, DN."""
        return root(self.read_variance, math.sqrt(self.covariance[1, 1]), "DN")


def linear_range(curve: Curve, part: float = 0.7) -> tuple[NDArray[np.bool_], int | None]:
    """Points of a curve that the fit of K may use, and the point of saturation.

    Saturation is where the temporal variance is largest (EMVA 1288 release 3.1, 6.5).  If
    it is largest at the last point, saturation was not reached and every unclipped point
    is used.

    Parameters
    ----------
    part : float
        Part of the saturation signal up to which points are used; 0.7 in the standard.

    Returns
    -------
    chosen : ndarray of bool, shape (P,)
    saturation : int or None
        Index of the saturation point.
    """
    order = np.argsort(curve.signal, kind="stable")
    peak = int(order[np.argmax(curve.variance[order])])
    reached = (peak != order[-1] and curve.clipped[order[-1]] > 0) or curve.variance[order[-1]] < 0.8 * curve.variance[
        peak
    ]
    top = part * curve.signal[peak] if reached else math.inf
    chosen = (curve.signal <= top) & (curve.clipped < 1e-3)
    return chosen, peak if reached else None


def emva_gain(curve: Curve) -> PhotonTransfer:
    """K by the EMVA 1288 method: least squares of σ² − σ_dark² over the signal, through 0.

    K = Σ x y / Σ x².  The error bar is that of the counting statistics; where χ² says that
    the residuals are larger (curvature, flicker, unequal code widths), it is that of the
    residuals (HC3 sandwich with Student's t).

    Parameters
    ----------
    curve : Curve
        Within the linear range.

    Raises
    ------
    DataError
        No point above the dark.

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
            # Counting statistics stay a floor: few points can lie on a line by chance.
            if not known or sandwich > error:
                error, used_free = sandwich, free
    if not math.isfinite(error):
        raise DataError("one level of light and no counting statistics: K would have no error bar; add exposures")
    weights = 1 / np.where(np.isfinite(curve.dark_error) & (curve.dark_error > 0), curve.dark_error, 1.0) ** 2
    read = float(curve.dark_variance @ weights / weights.sum())
    read_error = float(1 / math.sqrt(weights.sum())) if not curve.shared_dark else math.sqrt(common)
    covariance = np.diag([error**2, read_error**2])
    return PhotonTransfer(from_error(gain, error, "DN/e-", used_free), read, covariance, residuals, misfit)


def line_gain(curve: Curve) -> PhotonTransfer:
    """K and read variance of levels without darks: a line with weights 1/σ⁴ through the variances.

    The relative error of a variance is the same at every level, so the weights are those
    of maximum likelihood; `signal` may have any common offset of which K does not depend.

    Raises
    ------
    DataError
        Fewer than two levels.
    """
    return _line(curve.signal, curve.variance, curve.variance_error)


def likelihood_gain(curve: Curve) -> PhotonTransfer:
    """K and read variance by maximum likelihood on the pixels, flats and darks together.

    With temporal mean and fixed pattern removed, the pixels of a level with f degrees of
    freedom say −(f/2)(ln v + s²/v), v = K·x + σ_read², with s² the variance that was seen: the
    score equations are those of a line with weights 1/v², iterated.  s² carries the
    measured kurtosis and row noise through its standard error.
    """
    x = np.concatenate([curve.signal, np.zeros(1 if curve.shared_dark else len(curve.signal))])
    dark = curve.dark_variance[:1] if curve.shared_dark else curve.dark_variance
    dark_error = curve.dark_error[:1] if curve.shared_dark else curve.dark_error
    return _line(x, np.concatenate([curve.variance, dark]), np.concatenate([curve.variance_error, dark_error]))


def _spread(x: Array) -> float:
    square = float(x @ x)
    if not len(x) or square <= 0:
        raise DataError("no unsaturated level of light above the dark: K cannot be measured; add darker flats")
    return square


def _line(x: Array, y: Array, errors: Array) -> PhotonTransfer:
    """Line through variances, weights 1/v² renewed from the fit until they stand."""
    if len(x) < 2 or np.ptp(x) <= 0:
        raise DataError("one level only: a line needs two or more; add flats of other exposure times, or darks")
    known = bool(np.isfinite(errors).all())
    relative = errors / y if known else np.ones_like(y)
    design = np.stack([x, np.ones_like(x)], 1)
    fitted = y
    for _ in range(30):
        deviation = np.maximum(fitted, 1e-3 * y) * relative
        parameters = np.linalg.lstsq(design / deviation[:, None], y / deviation, rcond=None)[0]
        fitted = design @ parameters
    deviation = np.maximum(fitted, 1e-3 * y) * relative
    covariance = np.linalg.inv((design / deviation[:, None]).T @ (design / deviation[:, None]))
    residuals = y - fitted
    free = len(x) - 2
    misfit = float(np.sum((residuals / deviation) ** 2)) / free if free else math.nan
    used_free = math.inf
    if not known and not free:
        raise DataError("two levels and no counting statistics: K would have no error bar; add exposures")
    if free and (not known or (misfit > 1 and chi2.sf(misfit * free, free) < UNLIKELY)):
        covariance, used_free = covariance * misfit, free
    gain = from_error(float(parameters[0]), math.sqrt(covariance[0, 0]), "DN/e-", used_free)
    return PhotonTransfer(gain, float(parameters[1]), covariance, residuals, misfit if known else math.nan)
