"""A line of variance over signal through cells that texture and pixel response may have raised."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["VarianceLine", "fit_variance_line"]

Array = NDArray[np.float64]

SPREADS = np.linspace(0, 0.03, 61)
"""Relative spread t of the pixels' response or of texture that is tried."""

USUAL_SPREAD = 0.006
"""Its usual size: the photo response of sensors varies by 0.3 to 1 % from pixel to pixel."""

HUBER = 1.5


@dataclass(frozen=True)
class VarianceLine:
    """var(x) = floor + gain·x + (spread·x)².

    Parameters
    ----------
    floor : float
        DN².
    gain : float
        DN/e⁻.
    spread : float
        Spread of pixel response or texture, as a fraction of the signal.
    covariance : ndarray, shape (2, 2)
        Covariance of floor and gain, the spread being unknown.
    chi2 : float
        χ² of the cells about the curve, over their number less three.
    """

    floor: float
    gain: float
    spread: float
    covariance: Array
    chi2: float

    def at(self, signal: Array) -> Array:
        """Variance at a signal in DN, at least a hundredth of a DN²."""
        x = np.maximum(signal, 0)
        return np.maximum(self.floor + self.gain * x + (self.spread * x) ** 2, 1e-2)


def fit_variance_line(x: Array, y: Array, error: Array) -> VarianceLine:
    """Posterior mean of the line over all spreads.

    For each spread t the line through y − (t·x)² is by weighted least squares; the spreads are weighed by
    exp(−χ²/2)·√det(covariance) times an exponential prior in t of mean `USUAL_SPREAD`.  Cells above the line
    weigh less (Huber), those below do not: what raises a cell is no noise.

    Parameters
    ----------
    x, y, error : ndarray, shape (N,)
        Signal in DN, variance and its standard error in DN²; N at least 3.
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
