"""Responsivity, saturation capacity and linearity error, by EMVA 1288."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.estimate import LEVEL, Estimate, quantile
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer

__all__ = ["Linearity", "linearity"]


DRAWS, SEED = 8000, 1288


@dataclass(frozen=True, eq=False)
class Linearity:
    """How the signal follows the light.

    Parameters
    ----------
    responsivity : float
        DN per unit of exposure, by least squares through 0.
    saturation : Estimate or None
        Saturation capacity, e⁻; None where the series does not reach it.
    saturation_dn : Estimate or None
        Signal above dark of the saturation point, DN.
    step_e : float or None
        The step of the series above saturation, e⁻.
    error_percent : float or None
        Largest departure from the line of least relative squares between 5 and 95 % of
        saturation; None if fewer than three levels are there.
    deviations : ndarray, shape (P,)
        (signal − line)/line per level, percent; NaN outside 5–95 %.
    """

    responsivity: float
    saturation: Estimate | None
    saturation_dn: Estimate | None
    step_e: float | None
    error_percent: float | None
    deviations: NDArray[np.float64]


def linearity(curve: Curve, chosen: NDArray[np.bool_], saturation: int | None, fit: PhotonTransfer) -> Linearity:
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

    References
    ----------
    EMVA Standard 1288, release 3.1, 6.5 and 6.7.
    """
    exposure, signal = curve.exposure, curve.signal
    responsivity = float(signal[chosen] @ exposure[chosen]) / float(exposure[chosen] @ exposure[chosen])
    capacity = level = step = None
    if saturation is not None:
        capacity, level = _saturation(curve, saturation, responsivity, fit)
        later = exposure[exposure > exposure[saturation]]
        step = responsivity * float(later.min() - exposure[saturation]) / fit.gain.value if len(later) else None
    top = signal[saturation] if saturation is not None else signal.max()
    inside = (signal >= 0.05 * top) & (signal <= 0.95 * top)
    deviations = np.full(len(signal), np.nan)
    worst = None
    if inside.sum() >= 3:
        # Weights 1/signal²: the line of least relative departure.
        design = np.stack([exposure[inside], np.ones(int(inside.sum()))], 1) / signal[inside, None]
        slope, offset = np.linalg.lstsq(design, np.ones(int(inside.sum())), rcond=None)[0]
        line = slope * exposure[inside] + offset
        deviations[inside] = 100 * (signal[inside] - line) / line
        worst = float(np.nanmax(np.abs(deviations)))
    return Linearity(responsivity, capacity, level, step, worst, deviations)


def _saturation(curve: Curve, at: int, responsivity: float, fit: PhotonTransfer) -> tuple[Estimate, Estimate]:
    """Capacity in e⁻ and signal in DN at the point of largest variance."""
    generator = np.random.default_rng(SEED)
    deviation = np.nan_to_num(curve.variance_error)
    if math.isfinite(fit.misfit):
        deviation = deviation * math.sqrt(max(fit.misfit, 1.0))
    peaks = np.argmax(curve.variance + deviation * generator.standard_normal((DRAWS, len(deviation))), axis=1)
    half = fit.gain.interval[1] - fit.gain.value
    gains = fit.gain.value + half / quantile(math.inf) * generator.standard_normal(DRAWS)
    ends = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]
    found = []
    for drawn, value, unit in (
        (responsivity * curve.exposure[peaks] / gains, responsivity * curve.exposure[at] / fit.gain.value, "e-"),
        (
            curve.signal[peaks] + np.nan_to_num(curve.signal_error)[peaks] * generator.standard_normal(DRAWS),
            curve.signal[at],
            "DN",
        ),
    ):
        low, high = (float(end) for end in np.quantile(drawn, ends))
        found.append(Estimate(float(value), float(drawn.std()), (min(low, value), max(high, value)), unit))
    return found[0], found[1]
