"""SNR, sensitivity threshold and dynamic range, for linear and for nonlinear cameras."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement, from_error, quotient
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.core.text import counted

__all__ = ["General", "decibels", "dynamic_range", "general_model", "linear_snr", "threshold"]

Array = NDArray[np.float64]

MOST_DEGREE, LEVELS_A_DEGREE = 4, 3
"""Highest degree of the characteristic curve, and levels of light needed per degree."""

LEVELS = 6
"""Fewest unsaturated levels needed for a characteristic curve."""


@dataclass(frozen=True, eq=False)
class General:
    """A camera by EMVA 1288's general model, whose response need not be linear.

    Parameters
    ----------
    electrons : ndarray, shape (P,)
        Light at each level, e⁻: the exposure scaled by the slope and K at zero light.
    snr : ndarray, shape (P,)
        SNR of temporal noise referred to the input, at each level; NaN at saturated levels.
    threshold_e : float
        Light at which the SNR is 1, e⁻.
    range_db : float or None
        Dynamic range from the threshold to saturation, dB; None without saturation.
    best_db : float
        Largest SNR, dB.
    """

    electrons: Array
    snr: Array
    threshold_e: float
    range_db: float | None
    best_db: float


def threshold(noise: Measurement, gain: Measurement) -> Measurement:
    """Return the absolute sensitivity threshold: the light at which SNR = 1.

    μ_e.min = √(σ_y.dark²/K² + ¼) + ½.

    Parameters
    ----------
    noise : Measurement
        Temporal dark noise σ_y.dark, DN.
    gain : Measurement
        K, DN/e⁻.

    Returns
    -------
    Measurement
        μ_e.min, e⁻.

    References
    ----------
    EMVA Standard 1288, release 4.0 linear: absolute sensitivity threshold.
    """
    return _through(quotient(noise, gain, "e-"), lambda noise_e: math.hypot(noise_e, 0.5) + 0.5, "e-")


def dynamic_range(full: Measurement, noise: Measurement, gain: Measurement) -> Measurement:
    """Return the dynamic range: saturation capacity over sensitivity threshold, in dB.

    Both are taken in DN, as K·μ_e.sat and √(σ_y.dark² + K²/4) + K/2.  In electrons, both would be divided by K and
    share its error; in DN, K enters the threshold only, and matters only where that is a few electrons.

    Parameters
    ----------
    full : Measurement
        Saturation capacity times K, DN.
    noise : Measurement
        Temporal dark noise σ_y.dark, DN.
    gain : Measurement
        K, DN/e⁻.

    Returns
    -------
    Measurement
        Dynamic range, dB.
    """
    middle = math.hypot(noise.value, gain.value / 2)
    by_noise, by_gain = noise.value / middle, gain.value / (4 * middle) + 0.5
    error = math.hypot(by_noise * noise.standard_error, by_gain * gain.standard_error)
    return decibels(quotient(full, from_error(middle + gain.value / 2, error, "DN"), ""))


def decibels(ratio: Measurement, factor: float = 20.0) -> Measurement:
    """Convert a ratio to decibels: `factor`·log₁₀(ratio).

    Parameters
    ----------
    ratio : Measurement
        A positive ratio.
    factor : float
        20 for a ratio of amplitudes; 10 for a number of electrons whose square root is the SNR.

    Returns
    -------
    Measurement
        The ratio, dB.
    """
    return _through(ratio, lambda value: factor * math.log10(max(value, 1e-12)), "dB")


def _through(estimate: Measurement, rising: Callable[[float], float], unit: str) -> Measurement:
    """Apply a rising function to a measurement; the standard error scales with the slope."""
    value, step = rising(estimate.value), 1e-4 * abs(estimate.value)
    slope = (rising(estimate.value + step) - rising(estimate.value - step)) / (2 * step) if step else 0.0
    low, high = (rising(max(end, 0.0)) for end in estimate.interval)
    return Measurement(value, abs(slope) * estimate.standard_error, (min(low, value), max(high, value)), unit)


def linear_snr(electrons: Array, noise_e: float, dsnu_e: float = 0.0, prnu: float = 0.0) -> Array:
    """Return the SNR of a linear camera, μ / √(μ + σ_y.dark²/K² + DSNU² + PRNU²·μ²).

    With DSNU and PRNU it is the total SNR; without them, that of temporal noise.

    Parameters
    ----------
    electrons : ndarray, any shape
        Light μ, e⁻.
    noise_e : float
        σ_y.dark/K, quantisation included, e⁻.
    dsnu_e : float
        DSNU, e⁻.
    prnu : float
        PRNU as a fraction of the signal.

    Returns
    -------
    ndarray, shape of `electrons`
        SNR, as a ratio.

    References
    ----------
    EMVA Standard 1288, release 4.0 linear: SNR and total SNR.
    """
    variance = electrons + noise_e**2 + dsnu_e**2 + (prnu * electrons) ** 2
    return np.asarray(electrons / np.sqrt(variance))


def general_model(
    curve: Curve, saturation: int | None, gain_at_zero: float, noise_dn: float, *, light_known: bool
) -> General | str:
    """Measure the SNR referred to the input with a smooth characteristic curve: SNR(E) = E·(dμ_y/dE)/σ_y.

    The curve μ_y(E) = Σ cₖ Eᵏ passes through 0 and is fitted with weights 1/μ_y² up to 95 % of saturation.  σ_y
    is the temporal noise measured at each level.  The threshold uses slope and K at zero light.  As in the linear
    model, the dynamic range ends at the exposure of largest variance.

    Parameters
    ----------
    curve : Curve
        All levels.
    saturation : int or None
        Index of the saturation point.
    gain_at_zero : float
        K at zero signal, DN/e⁻.
    noise_dn : float
        Temporal dark noise σ_y.dark, DN.
    light_known : bool
        Whether the exposures are proportional to the light.

    Returns
    -------
    General or str
        The model, or the reason why there is none.

    References
    ----------
    EMVA Standard 1288, release 4.0 general: noise is referred to the input by the slope of the characteristic curve.
    """
    if not light_known:
        return "the light is not known from the exposure times: one time has several levels, or no time is known"
    top = 0.95 * curve.signal[saturation] if saturation is not None else math.inf
    inside = (curve.signal > 0) & (curve.signal <= top) & (curve.clipped < 1e-3) & (curve.exposure > 0)
    levels = len(np.unique(curve.exposure[inside]))
    if levels < LEVELS:
        return f"only {counted(levels, 'unsaturated exposure')}; a characteristic curve needs {LEVELS}"
    exposure, signal = curve.exposure[inside], curve.signal[inside]
    unit = float(exposure.max())
    powers = np.arange(1, max(1, min(MOST_DEGREE, levels // LEVELS_A_DEGREE)) + 1)
    design = (exposure[:, None] / unit) ** powers / signal[:, None]
    parameters = np.linalg.lstsq(design, np.ones(len(signal)), rcond=None)[0]
    slope = (powers * (exposure[:, None] / unit) ** (powers - 1)) @ parameters / unit
    start = float(parameters[0]) / unit
    if start <= 0 or gain_at_zero <= 0:
        return "the signal does not rise with the exposure"
    snr = np.full(len(curve.signal), np.nan)
    snr[inside] = exposure * slope / np.sqrt(np.maximum(curve.variance[inside], 1e-12))
    electrons = start * curve.exposure / gain_at_zero
    least = math.hypot(noise_dn / gain_at_zero, 0.5) + 0.5
    reach = None if saturation is None else 20 * math.log10(float(electrons[saturation]) / least)
    best = 20 * math.log10(float(np.nanmax(snr))) if np.nanmax(snr) > 0 else math.nan
    return General(electrons, snr, least, reach, best)
