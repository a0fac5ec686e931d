"""Level and noise of dark frames whose codes are clipped at 0: maximum likelihood of rounded, censored observations."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

from noiseflow.core.errors import DataError
from noiseflow.core.text import counted

__all__ = ["CensoredDark", "censored_dark"]

Array = NDArray[np.float64]

STEP = 1e-3
"""Step of the finite differences for the information matrix: of the level in units of σ, and of log σ."""


@dataclass(frozen=True)
class CensoredDark:
    """Normal distribution of the analogue value before it is rounded and clipped at 0.

    Parameters
    ----------
    level, level_error : float
        Mean and its standard error, DN.  The mean may be negative.
    variance, variance_error : float
        Variance before rounding and its standard error, DN².
    """

    level: float
    level_error: float
    variance: float
    variance_error: float


def censored_dark(codes: NDArray[np.floating]) -> CensoredDark:
    """Fit N(μ, σ²) to codes c = max(round(x), 0) by maximum likelihood.

    Maximises Σ n_c log P(c), where n_c counts the pixels of code c,
    P(0) = Φ((½ − μ)/σ) and P(c) = Φ((c + ½ − μ)/σ) − Φ((c − ½ − μ)/σ).
    The standard errors come from the observed information.

    Parameters
    ----------
    codes : ndarray of whole numbers, any shape
        Codes of dark pixels, DN, 0 or above.

    Returns
    -------
    CensoredDark
        μ and σ² with their standard errors.

    Raises
    ------
    DataError
        The frames contain fewer than three different codes, which do not determine μ and σ separately.

    References
    ----------
    Tobin: Estimation of relationships for limited dependent variables, Econometrica 26, 1958.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(0.0, 3.0, 200_000)
    >>> found = censored_dark(np.maximum(np.rint(x), 0))
    >>> bool(abs(found.level) < 0.05), round(found.variance**0.5, 1)
    (True, 3.0)
    """
    counts = np.bincount(np.asarray(codes).ravel().astype(np.int64)).astype(np.float64)
    seen = np.flatnonzero(counts)
    if len(seen) < 3:
        raise DataError(
            f"the dark frames contain only {counted(len(seen), 'code')}, all at the black clip: black level and read "
            "noise cannot be separated; take darks at a higher ISO, or with a black offset"
        )
    total, number = counts[seen], counts.sum()

    def loss(parameters: Array) -> float:
        level, sigma = parameters[0], math.exp(parameters[1])
        high, low = (seen + 0.5 - level) / sigma, (seen - 0.5 - level) / sigma
        # Above the mean, use the mirrored tail: a difference of two numbers near 1 would lose its digits.
        right = low > 0
        part = np.where(right, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        logs = np.log(np.maximum(part, 1e-300))
        logs = np.where(seen == 0, log_ndtr(high), logs)
        return -float(total @ logs) / float(number)

    mean = float(total @ seen / number)
    start = np.array([mean, 0.5 * math.log(max(float(total @ (seen - mean) ** 2 / number), 0.1))])
    options = {"xatol": 1e-7, "fatol": 1e-13, "maxiter": 2000}
    best = minimize(loss, start, method="Nelder-Mead", options=options).x
    sigma = math.exp(best[1])
    information = _second_derivatives(loss, best, np.array([STEP * sigma, STEP])) * number
    covariance = cho_solve(cho_factor(information), np.eye(2))
    level_error, log_sigma_error = math.sqrt(covariance[0, 0]), math.sqrt(covariance[1, 1])
    return CensoredDark(float(best[0]), level_error, sigma**2, 2 * sigma**2 * log_sigma_error)


def _second_derivatives(loss: Callable[[Array], float], point: Array, step: Array) -> Array:
    """Return the 2×2 matrix of second derivatives of a function at a point, by central differences."""
    result = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            result[i, j] = (loss(point + a + b) - loss(point + a - b) - loss(point - a + b) + loss(point - a - b)) / (
                4 * step[i] * step[j]
            )
    return result
