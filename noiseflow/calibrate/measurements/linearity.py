"""Responsivity, saturation capacity and linearity error according to EMVA 1288."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import LEVEL, Measurement, quantile
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer
from noiseflow.core.text import counted

__all__ = ["Linearity", "linearity"]


Array = NDArray[np.float64]

DRAWS, SEED = 8000, 1288
"""Number of Monte Carlo draws for the intervals of saturation, and their seed."""

LEVELS = 5
"""Fewest exposures between 5 and 95 % of saturation needed for a linearity error."""


@dataclass(frozen=True, eq=False)
class Linearity:
    """Linearity of the signal over the light, and saturation.

    Parameters
    ----------
    responsivity : float
        DN per unit of exposure, by least squares through 0.
    saturation : Measurement or None
        Saturation capacity, e⁻; None if the series does not reach saturation.
    saturation_dn : Measurement or None
        Signal above dark at the saturation point, DN.
    full_dn : Measurement or None
        Saturation capacity times K, DN; its error does not include that of K.
    step_e : float or None
        Distance from the saturation point to the next brighter exposure of the series, e⁻.
    error_percent : float or None
        Largest departure from the line of least relative squares between 5 and 95 % of
        saturation, percent; None where it cannot be measured.
    deviations : ndarray, shape (P,)
        (signal − line)/line of each level, percent; NaN outside 5–95 % of saturation.
    range_percent : tuple of (float, float)
        LE_min and LE_max: the lowest and highest deviation, percent.
    reason : str
        Reason for a missing linearity error; empty if there is one.
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
    """Measure responsivity, saturation capacity and linearity error.

    The responsivity is R = Σ x e / Σ e² of the signals x at the exposures e in the linear range.  The saturation
    capacity is R·e_sat / K, where e_sat is the exposure *of the series* with the largest temporal variance, as
    EMVA 1288 defines it and data sheets state it.  The sensor's own capacity may be higher by up to one step of the
    series (`step_e`).  The intervals come from Monte Carlo draws of the variances, which decide which
    exposure is e_sat, and of K.

    Parameters
    ----------
    curve : Curve
        All levels.
    chosen : ndarray of bool, shape (P,)
        The linear range.
    saturation : int or None
        Index of the saturation point.
    fit : PhotonTransfer
        K, and the scatter of the variances beyond counting statistics.
    light_known : bool
        Whether the exposures are proportional to the light; if not, the capacity is the saturation signal over K.

    Returns
    -------
    Linearity
        All of these; values that cannot be measured are None.

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
        # Weights 1/signal² minimise the relative departures.
        design = np.stack([exposure[inside], np.ones(int(inside.sum()))], 1) / signal[inside, None]
        slope, offset = np.linalg.lstsq(design, np.ones(int(inside.sum())), rcond=None)[0]
        line = slope * exposure[inside] + offset
        deviations[inside] = 100 * (signal[inside] - line) / line
        extremes = float(np.nanmin(deviations)), float(np.nanmax(deviations))
        worst = max(abs(end) for end in extremes)
    return Linearity(responsivity, capacity, level, full, step, worst, deviations, extremes, reason)


def _no_linearity(exposure: Array, signal: Array, saturation: int | None, light_known: bool) -> str:
    """Return why there is no linearity error; empty if there is one."""
    if saturation is None:
        return "the series does not reach saturation; linearity is measured between 5 and 95 % of it"
    if not light_known:
        return "the light is not known from the exposure times: one time has several levels, or no time is known"
    if len(np.unique(exposure)) < LEVELS:
        return (
            f"only {counted(len(np.unique(exposure)), 'exposure')} between 5 and 95 % of saturation; a linearity error "
            f"needs {LEVELS}"
        )
    order = np.argsort(exposure, kind="stable")
    fall = float(np.max(np.maximum.accumulate(signal[order]) - signal[order]))
    if fall > 0.05 * float(signal.max()):
        return f"the signal falls by {fall:.3g} DN while the exposure rises: wrong exposures, or the light changed"
    return ""


def _saturation(
    curve: Curve, point: int, responsivity: float | None, fit: PhotonTransfer
) -> tuple[Measurement, Measurement, Measurement]:
    """Return capacity in e⁻, signal in DN and capacity in DN at the saturation point.

    Without a responsivity, the capacity is the signal over K.
    """
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
        (light[peaks] / gains, light[point] / fit.gain.value, "e-"),
        (
            curve.signal[peaks] + np.nan_to_num(curve.signal_error)[peaks] * generator.standard_normal(DRAWS),
            curve.signal[point],
            "DN",
        ),
        (light[peaks], light[point], "DN"),
    ):
        low, high = (float(end) for end in np.quantile(drawn, ends))
        found.append(Measurement(float(value), float(drawn.std()), (min(low, value), max(high, value)), unit))
    return found[0], found[1], found[2]
