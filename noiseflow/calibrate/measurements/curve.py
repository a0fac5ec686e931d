"""Points of a photon-transfer curve, and the selection of its linear range."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "linear_range"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a photon-transfer curve, one per level of light; arrays of shape (P,).

    Parameters
    ----------
    exposure : ndarray
        Photons per pixel, seconds or any other number proportional to the light.
    signal : ndarray
        Mean above dark, DN.
    variance : ndarray
        Temporal variance, DN²; the dark variance is *not* subtracted.
    variance_error : ndarray
        Standard error of `variance`, DN²; NaN where unknown.
    dark_variance, dark_error : ndarray
        Temporal variance in the dark at the same or the nearest exposure time, DN², and its standard error; NaN
        without darks.
    clipped : ndarray
        Fraction of pixels clipped at white or at code 0.
    shared_dark : bool
        Whether one dark serves all levels, so that its error is common to them.
    signal_error : ndarray
        Standard error of `signal`, DN; 0 where unknown.
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
        """Return a curve of the chosen points only.

        Parameters
        ----------
        chosen : ndarray of bool, shape (P,)
            The points to keep.
        """
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
    """Find the linear range of a curve, which the fit of K uses, and the saturation point.

    Saturation is where the temporal variance is largest (EMVA 1288 release 3.1, 6.5).  It counts as reached
    if the brightest point is not the maximum and has clipped pixels, or if the variance of the brightest point is
    below 80 % of the maximum.  If it is not reached, every unclipped point is used.

    Parameters
    ----------
    curve : Curve
        All points, in any order.
    part : float
        Fraction of the saturation signal up to which points are used; 0.7 in the standard.

    Returns
    -------
    chosen : ndarray of bool, shape (P,)
        Points within the range of which fewer than 0.1 % of the pixels clip.
    saturation : int or None
        Index of the saturation point; None if it is not reached.
    """
    order = np.argsort(curve.signal, kind="stable")
    peak = int(order[np.argmax(curve.variance[order])])
    reached = (peak != order[-1] and curve.clipped[order[-1]] > 0) or curve.variance[order[-1]] < 0.8 * curve.variance[
        peak
    ]
    top = part * curve.signal[peak] if reached else math.inf
    chosen = (curve.signal <= top) & (curve.clipped < 1e-3)
    return chosen, peak if reached else None
