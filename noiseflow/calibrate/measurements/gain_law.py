"""Gain over ISO: proportional to ISO up to a top ISO, constant above it, with small departures."""

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
    """Conversion gain K as a function of ISO.

    log K = log c + min(log ISO, log ISO_top) + a departure that is linear in log ISO between the measured ISOs.

    Up to ISO_top, the gain before the converter rises with the ISO.  Above it, K is constant: the raw file only
    names a higher ISO, and the camera brightens the picture afterwards.

    Parameters
    ----------
    isos : ndarray, shape (N,)
        Measured ISOs, rising.
    gains, errors : ndarray, shape (N,)
        K at each ISO and its standard error, DN/e⁻.
    top_iso : float
        ISO_top; infinite if K is nowhere constant.
    scatter : float
        Relative error (RMS) with which the law predicts a measured ISO that is left out.
    """

    isos: Array
    gains: Array
    errors: Array
    top_iso: float
    scatter: float

    def predict(self, iso: float) -> Measurement:
        """Predict K at any ISO; outside the measured range the law is extrapolated.

        Parameters
        ----------
        iso : float
            ISO.

        Returns
        -------
        Measurement
            K, DN/e⁻.  Its error includes `scatter`, except at a measured ISO, and grows with the distance
            from the measured range.

        Raises
        ------
        DataError
            An ISO that is not a positive number.
        """
        if not (iso > 0 and math.isfinite(iso)):
            raise DataError(f"iso: expected a positive number; got {iso}")
        value, relative = _predict(self.isos, self.gains, self.errors, self.top_iso, iso)
        hit = bool(np.any(np.isclose(self.isos, iso, rtol=1e-3)))
        outside = max(0.0, abs(math.log(iso / float(np.clip(iso, self.isos[0], self.isos[-1])))))
        error = relative if hit else math.hypot(relative, self.scatter * (1 + outside))
        return from_error(value, value * error, "DN/e-")


def fit_gain_law(isos: Array, gains: Array, errors: Array) -> GainLaw:
    """Fit the law of gain over ISO to measured gains.

    ISO_top is the measured ISO that minimises Σ (departure/σ)².  It is accepted only if that sum is less than
    half of the sum without a constant part, and if K varies by less than 10 % above it.

    Parameters
    ----------
    isos : ndarray, shape (N,)
        ISOs, in any order.
    gains, errors : ndarray, shape (N,)
        K at each ISO and its standard error, DN/e⁻.

    Returns
    -------
    GainLaw
        The fitted law.

    Raises
    ------
    DataError
        No ISO, an ISO given twice, or an ISO or gain that is not positive.
    """
    order = np.argsort(isos)
    isos, gains, errors = (np.asarray(values, np.float64)[order] for values in (isos, gains, errors))
    if not len(isos) or len(np.unique(isos)) < len(isos) or not (gains > 0).all() or not (isos > 0).all():
        raise DataError(
            f"gain law: expected one positive gain for each of one or more different ISOs; got ISOs {isos.tolist()} "
            f"with gains {gains.tolist()}"
        )
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
    """Fit the gain law to the settings of one plane.

    Parameters
    ----------
    settings : sequence of Setting
        Settings of one plane.

    Returns
    -------
    GainLaw or None
        The law; None with fewer than two gains.

    Raises
    ------
    DataError
        An ISO that occurs twice.
    """
    known = [setting for setting in settings if "gain_dn_per_e" in setting.estimates]
    if len(known) < 2:
        return None
    gains = [setting.estimates["gain_dn_per_e"] for setting in known]
    columns = ([s.iso for s in known], [g.value for g in gains], [g.standard_error for g in gains])
    return fit_gain_law(*(np.array(column) for column in columns))


def _base(isos: Array, top: float) -> Array:
    """Return the law without constant and departure: log min(ISO, ISO_top)."""
    return np.log(np.minimum(isos, top))


def _misfit(isos: Array, gains: Array, relative: Array, top: float) -> float:
    """Return Σ (departure/σ)² about the best constant, with the relative errors of the gains."""
    departure = np.log(gains) - _base(isos, top)
    weights = 1 / relative**2
    return float(weights @ (departure - weights @ departure / weights.sum()) ** 2)


def _predict(isos: Array, gains: Array, errors: Array, top: float, iso: float) -> tuple[float, float]:
    """Return K and its relative error, from interpolated departures."""
    x, knots = math.log(iso), np.log(isos)
    departure = np.log(gains) - _base(isos, top)
    value = float(np.interp(x, knots, departure)) + float(_base(np.array([iso]), top)[0])
    weights = np.array([np.interp(x, knots, unit) for unit in np.eye(len(knots))])
    return math.exp(value), float(np.sqrt(weights**2 @ (errors / gains) ** 2))
