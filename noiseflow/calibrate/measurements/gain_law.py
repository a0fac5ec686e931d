"""Gain over ISO: where the converter follows the dial, where it does not, and what lies between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement, from_error
from noiseflow.calibrate.profiles.profile import Setting
from noiseflow.core.errors import DataError

__all__ = ["GainLaw", "fit_gain_law", "law_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GainLaw:
    """log K = log c + min(log ISO, log ISO_top) + a piecewise linear departure.

    Up to ISO_top the gain before the converter is raised with the dial; above it the codes
    stay as they are and the raw file only names a higher ISO (the camera brightens the
    picture afterwards), so K is flat.

    Parameters
    ----------
    isos, gains, errors : ndarray, shape (N,)
        Measured K in DN/e⁻ and their standard errors.
    top_iso : float
        ISO_top; infinite if no flat part was found.
    scatter : float
        Relative standard deviation with which the law predicts a measured ISO that is left out.
    """

    isos: Array
    gains: Array
    errors: Array
    top_iso: float
    scatter: float

    def predict(self, iso: float) -> Measurement:
        """K at any ISO, DN/e⁻, with its error bar; beyond the measured range the law goes on."""
        if not (iso > 0 and math.isfinite(iso)):
            raise DataError(f"iso: expected a positive number; got {iso}")
        value, relative = _predict(self.isos, self.gains, self.errors, self.top_iso, iso)
        hit = bool(np.any(np.isclose(self.isos, iso, rtol=1e-3)))
        outside = max(0.0, abs(math.log(iso / float(np.clip(iso, self.isos[0], self.isos[-1])))))
        error = relative if hit else math.hypot(relative, self.scatter * (1 + outside))
        return from_error(value, value * error, "DN/e-")


def fit_gain_law(isos: Array, gains: Array, errors: Array) -> GainLaw:
    """Fit the law to measured gains.

    The start of the flat part is the measured ISO with the least Σ (departure/σ)²; it is
    kept only if it makes the departures smaller by half, and if K rises there by less
    than a tenth in all.

    Parameters
    ----------
    isos, gains, errors : ndarray, shape (N,)
        ISO; gain, DN/e⁻; standard error of the gain, DN/e⁻.

    Raises
    ------
    DataError
        No ISO, one that is there twice, or a gain that is not positive.
    """
    order = np.argsort(isos)
    isos, gains, errors = (np.asarray(values, np.float64)[order] for values in (isos, gains, errors))
    if not len(isos) or len(np.unique(isos)) < len(isos) or not (gains > 0).all() or not (isos > 0).all():
        raise DataError("gain law: expected one positive gain for each of some ISOs")
    relative = np.hypot(errors / gains, 0.005)
    best, top = _misfit(isos, gains, relative, math.inf), math.inf
    for candidate in isos[:-1]:
        flat = gains[isos >= candidate]
        if np.ptp(flat) / flat.mean() > 0.1:
            continue
        found = _misfit(isos, gains, relative, float(candidate))
        if found < min(best, 0.5 * _misfit(isos, gains, relative, math.inf)):
            best, top = found, float(candidate)
    left_out = []
    for index in range(1, len(isos) - 1):
        rest = np.arange(len(isos)) != index
        value, _ = _predict(isos[rest], gains[rest], errors[rest], top, float(isos[index]))
        left_out.append(math.log(gains[index] / value))
    scatter = float(np.sqrt(np.mean(np.square(left_out)))) if left_out else 0.1
    return GainLaw(isos, gains, errors, top, scatter)


def law_of(settings: Sequence[Setting]) -> GainLaw | None:
    """The law of one plane's settings, or None with fewer than two gains."""
    known = [setting for setting in settings if "gain_dn_per_e" in setting.estimates]
    if len(known) < 2:
        return None
    gains = [setting.estimates["gain_dn_per_e"] for setting in known]
    columns = ([s.iso for s in known], [g.value for g in gains], [g.standard_error for g in gains])
    return fit_gain_law(*(np.array(column) for column in columns))


def _base(isos: Array, top: float) -> Array:
    return np.log(np.minimum(isos, top))


def _misfit(isos: Array, gains: Array, relative: Array, top: float) -> float:
    departure = np.log(gains) - _base(isos, top)
    weights = 1 / relative**2
    return float(weights @ (departure - weights @ departure / weights.sum()) ** 2)


def _predict(isos: Array, gains: Array, errors: Array, top: float, iso: float) -> tuple[float, float]:
    """K and its relative error from interpolated departures."""
    x, knots = math.log(iso), np.log(isos)
    departure = np.log(gains) - _base(isos, top)
    value = float(np.interp(x, knots, departure)) + float(_base(np.array([iso]), top)[0])
    weights = np.array([np.interp(x, knots, unit) for unit in np.eye(len(knots))])
    return math.exp(value), float(np.sqrt(weights**2 @ (errors / gains) ** 2))
