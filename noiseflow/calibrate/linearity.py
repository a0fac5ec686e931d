"""Responsivity, saturation capacity and linearity error, by EMVA 1288."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.curve import Curve
from noiseflow.calibrate.estimate import Estimate, from_error

__all__ = ["Linearity", "linearity"]


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
    error_percent : float or None
        Largest departure from the line of least relative squares between 5 and 95 % of
        saturation; None if fewer than three levels are there.
    deviations : ndarray, shape (P,)
        (signal − line)/line per level, percent; NaN outside 5–95 %.
    """

    responsivity: float
    saturation: Estimate | None
    saturation_dn: Estimate | None
    error_percent: float | None
    deviations: NDArray[np.float64]


def linearity(curve: Curve, chosen: NDArray[np.bool_], saturation: int | None, gain: Estimate) -> Linearity:
    """Responsivity R = Σ x e / Σ e² over the linear range; saturation capacity R·e_sat / K.

    The exposure of saturation is known to the step of the series: a uniform error of one
    step is added.

    Parameters
    ----------
    curve : Curve
        All levels.
    chosen : ndarray of bool
        The linear range.
    saturation : int or None
        Index of the saturation point.
    gain : Estimate
        K, DN/e⁻.

    References
    ----------
    EMVA Standard 1288, release 3.1, 6.5 and 6.7.
    """
    exposure, signal = curve.exposure, curve.signal
    responsivity = float(signal[chosen] @ exposure[chosen]) / float(exposure[chosen] @ exposure[chosen])
    capacity = level = None
    if saturation is not None:
        later = exposure[exposure > exposure[saturation]]
        step = float(later.min() - exposure[saturation]) / math.sqrt(12) if len(later) else 0.0
        relative = math.hypot(step / exposure[saturation], gain.standard_error / gain.value)
        electrons = responsivity * float(exposure[saturation]) / gain.value
        capacity = from_error(electrons, electrons * relative, "e-")
        level = from_error(float(signal[saturation]), step * responsivity, "DN")
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
    return Linearity(responsivity, capacity, level, worst, deviations)
