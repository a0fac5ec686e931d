"""Points of a photon-transfer curve, and which of them a fit may use."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "linear_range"]

Array = NDArray[np.float64]


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
        Fraction of the pixels at the highest code.
    signal_error : ndarray
        Standard error of `signal`, DN; 0 where it is not known.
    """

    exposure: Array
    signal: Array
    variance: Array
    variance_error: Array
    dark_variance: Array
    dark_error: Array
    clipped: Array
    shared_dark: bool = False
    signal_error: Array = field(default_factory=lambda: np.zeros(1))

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
            np.broadcast_to(self.signal_error, self.signal.shape)[chosen],
        )


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
