"""Robust fit of variance over signal, where texture and unequal pixel response may raise some variances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["VarianceLine", "fit_variance_line"]

Array = NDArray[np.float64]

SPREADS = np.linspace(0, 0.03, 61)
"""Grid of values for the relative spread t of pixel response or texture."""

USUAL_SPREAD = 0.006
"""Mean of the prior of t: the photo response of sensors varies by 0.3 to 1 % from pixel to pixel."""

HUBER = 1.5
"""Standard errors above the line from which a cell's weight is reduced."""


@dataclass(frozen=True)
class VarianceLine:
    """Curve of variance over signal, var(x) = floor + gain·x + (spread·x)².

    Parameters
    ----------
    floor : float
        Variance at black, DN².
    gain : float
        K, DN/e⁻.
    spread : float
        Spread of pixel response or texture, as a fraction of the signal.
    covariance : ndarray, shape (2, 2)
        Covariance of floor (DN²) and gain (DN/e⁻), including the uncertainty of the spread.
    chi2 : float
        χ² per degree of freedom of the cells about the curve.
    """

    floor: float
    gain: float
    spread: float
    covariance: Array
    chi2: float

    def at(self, signal: Array) -> Array:
        """Return the variance in DN², at least 0.01, at signals in DN."""
        x = np.maximum(signal, 0)
        return np.maximum(self.floor + self.gain * x + (self.spread * x) ** 2, 1e-2)


def fit_variance_line(x: Array, y: Array, error: Array) -> VarianceLine:
    """Fit the curve as a posterior mean over all spreads.

    For each spread t, a line is fitted to y − (t·x)² by weighted least squares.  The lines are averaged with
    weights exp(−χ²/2) times an exponential prior in t of mean `USUAL_SPREAD`.  Cells far above the curve get less
    weight (Huber) because texture can only raise a variance; cells below it keep theirs.

    Parameters
    ----------
    x : ndarray, shape (N,)
        Signal, DN; N at least 3.
    y, error : ndarray, shape (N,)
        Variance and its standard error, DN².

    Returns
    -------
    VarianceLine
        Posterior mean and covariance.
    """
    design = np.stack([np.ones_like(x), x], 1)
    loosened = np.ones_like(x)
    for _ in range(8):
        weight = loosened / error**2
        normal = design.T @ (design * weight[:, None])
        covariance = np.linalg.solve(normal, np.eye(2))
        targets = y - (SPREADS[:, None] * x) ** 2
        lines = (targets * weight) @ design @ covariance
        residuals = targets - lines @ design.T
        chi2 = (residuals**2 * weight).sum(1)
        log_weight = -0.5 * chi2 - SPREADS / USUAL_SPREAD
        part = np.exp(log_weight - log_weight.max())
        part /= part.sum()
        line = part @ lines
        spread = float(np.sqrt(part @ SPREADS**2))
        left = (y - design @ line - (spread * x) ** 2) / error
        loosened = np.minimum(1, HUBER / np.maximum(left, 1e-9)) * (left > 0) + (left <= 0)
    between = (lines - line).T @ ((lines - line) * part[:, None])
    freedom = max(len(x) - 3, 1)
    return VarianceLine(
        float(line[0]), float(line[1]), spread, covariance + between, float(np.sum(loosened * left**2)) / freedom
    )
