"""Responsivity, saturation capacity and linearity error, by EMVA 1288."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import LEVEL, Measurement, quantile
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer

__all__ = ["Linearity", "linearity"]


Array = NDArray[np.float64]

DRAWS, SEED = 8000, 1288

LEVELS = 5
"""Fewest exposures between 5 and 95 % of saturation for a linearity error."""


@dataclass(frozen=True, eq=False)
class Linearity:
    """How the signal follows the light.

    Parameters
    ----------
    responsivity : float
        DN per unit of exposure, by least squares through 0.
    saturation : Measurement or None
        Saturation capacity, e⁻; None where the series does not reach it.
    saturation_dn : Measurement or None
        Signal above dark of the saturation point, DN.
    full_dn : Measurement or None
        Saturation capacity times K, DN: without K's error.
    step_e : float or None
        The step of the series above saturation, e⁻.
    error_percent : float or None
        Largest departure from the line of least relative squares between 5 and 95 % of
        saturation; None where the series does not support one.
    deviations : ndarray, shape (P,)
        (signal − line)/line per level, percent; NaN outside 5–95 %.
    range_percent : tuple of float
        LE_min and LE_max, the lowest and highest of them.
    reason : str
        Why there is no linearity error.
    """

    responsivity: float
    saturation: Measurement | None
    saturation_dn: Measurement | None
    full_dn: Measurement | None
    step_e: float | None
    error_percent: float | None
    deviations: NDArray[np.float64]
    range_percent: tuple[float, float] = (math.nan, math.nan)
    reason: str = ""


def linearity(
    curve: Curve, chosen: NDArray[np.bool_], saturation: int | None, fit: PhotonTransfer, *, light_known: bool = True
) -> Linearity:
    """Responsivity R = Σ x e / Σ e² over the linear range; saturation capacity R·e_sat / K.

    e_sat is the exposure *of the series* at which the temporal variance is largest: that is what
    EMVA 1288 defines and what published figures are.  The sensor's own capacity lies up to a
    step of the series above it (`step_e`).  Which exposure it is, is known only as well as the
    variances are: the interval is over draws of these from their error bars, and of K.

    Parameters
    ----------
    curve : Curve
        All levels.
    chosen : ndarray of bool
        The linear range.
    saturation : int or None
        Index of the saturation point.
    fit : PhotonTransfer
        With K, and how far the variances scatter beyond counting.
    light_known : bool
        Whether the exposures are in proportion to the light; if not, the capacity is the saturation signal over K.

    References
    ----------
    EMVA Standard 1288, release 4.0, 6.5 and 6.7.
    """
    exposure, signal = curve.exposure, curve.signal
    responsivity = float(signal[chosen] @ exposure[chosen]) / float(exposure[chosen] @ exposure[chosen])
    capacity = level = full = step = None
    if saturation is not None:
        capacity, level, full = _saturation(curve, saturation, responsivity if light_known else None, fit)
        later = exposure[exposure > exposure[saturation]]
        if len(later) and light_known:
            step = responsivity * float(later.min() - exposure[saturation]) / fit.gain.value
    deviations = np.full(len(signal), np.nan)
    inside = np.zeros(len(signal), bool)
    if saturation is not None:
        inside = (signal >= 0.05 * signal[saturation]) & (signal <= 0.95 * signal[saturation])
    worst, extremes = None, (math.nan, math.nan)
    reason = _no_linearity(exposure[inside], signal[inside], saturation, light_known)
    if not reason:
        # Weights 1/signal²: the line of least relative departure.
        design = np.stack([exposure[inside], np.ones(int(inside.sum()))], 1) / signal[inside, None]
        slope, offset = np.linalg.lstsq(design, np.ones(int(inside.sum())), rcond=None)[0]
        line = slope * exposure[inside] + offset
        deviations[inside] = 100 * (signal[inside] - line) / line
        extremes = float(np.nanmin(deviations)), float(np.nanmax(deviations))
        worst = max(abs(end) for end in extremes)
    return Linearity(responsivity, capacity, level, full, step, worst, deviations, extremes, reason)


def _no_linearity(exposure: Array, signal: Array, saturation: int | None, light_known: bool) -> str:
    """Why levels between 5 and 95 % of saturation have no linearity error; empty where they have one."""
    if saturation is None:
        return "the series does not reach saturation, of which linearity takes 5 to 95 %"
    if not light_known:
        return "the exposure times say nothing of the light: several levels at one time, or no time is known"
    if len(np.unique(exposure)) < LEVELS:
        return (
            f"{len(np.unique(exposure))} exposure(s) between 5 and 95 % of saturation; a linearity error needs {LEVELS}"
        )
    order = np.argsort(exposure, kind="stable")
    fall = float(np.max(np.maximum.accumulate(signal[order]) - signal[order]))
    if fall > 0.05 * float(signal.max()):
        return f"the signal falls by {fall:.3g} DN where the exposure rises: wrong exposures, or light that changed"
    return ""


def _saturation(
    curve: Curve, at: int, responsivity: float | None, fit: PhotonTransfer
) -> tuple[Measurement, Measurement, Measurement]:
    """Capacity in e⁻, signal in DN and capacity in DN at the point of largest variance; without R by the signal."""
    generator = np.random.default_rng(SEED)
    deviation = np.nan_to_num(curve.variance_error)
    if math.isfinite(fit.misfit):
        deviation = deviation * math.sqrt(max(fit.misfit, 1.0))
    peaks = np.argmax(curve.variance + deviation * generator.standard_normal((DRAWS, len(deviation))), axis=1)
    half = fit.gain.interval[1] - fit.gain.value
    gains = fit.gain.value + half / quantile(math.inf) * generator.standard_normal(DRAWS)
    ends = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]
    light = curve.signal if responsivity is None else responsivity * curve.exposure
    found = []
    for drawn, value, unit in (
        (light[peaks] / gains, light[at] / fit.gain.value, "e-"),
        (
            curve.signal[peaks] + np.nan_to_num(curve.signal_error)[peaks] * generator.standard_normal(DRAWS),
            curve.signal[at],
            "DN",
        ),
        (light[peaks], light[at], "DN"),
    ):
        low, high = (float(end) for end in np.quantile(drawn, ends))
        found.append(Measurement(float(value), float(drawn.std()), (min(low, value), max(high, value)), unit))
    return found[0], found[1], found[2]
