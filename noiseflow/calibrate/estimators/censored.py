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

__all__ = ["CensoredDark", "censored_dark"]

Array = NDArray[np.float64]

STEP = 1e-3
"""Step of the numerical information, in σ."""


@dataclass(frozen=True)
class CensoredDark:
    """Normal distribution of the analogue value before it is rounded and clipped at 0.

    Parameters
    ----------
    level, level_error : float
        Mean and its standard error, DN; it may lie below 0.
    variance, variance_error : float
        Variance, and its error, of the value before rounding, DN².
    """

    level: float
    level_error: float
    variance: float
    variance_error: float


def censored_dark(codes: NDArray[np.floating]) -> CensoredDark:
    """Fit N(μ, σ²) to codes c = max(round(x), 0): Σ n_c log P(c).

    P(0) = Φ((½ − μ)/σ), P(c) = Φ((c + ½ − μ)/σ) − Φ((c − ½ − μ)/σ).

    Parameters
    ----------
    codes : ndarray of whole numbers
        DN, 0 or more.

    Raises
    ------
    DataError
        Fewer than three codes occur: of all-clipped darks nothing can be had.

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
    if len(seen) < 3 or seen[-1] < 2:
        raise DataError(
            f"dark frames with {len(seen)} code(s) only, all at the black clip: black level and read noise cannot be "
            "told apart; take darks of a higher ISO, or with a black offset"
        )
    total, number = counts[seen], counts.sum()

    def loss(at: Array) -> float:
        level, sigma = at[0], math.exp(at[1])
        high, low = (seen + 0.5 - level) / sigma, (seen - 0.5 - level) / sigma
        # On the right of the mean by the mirrored tail, which keeps its digits.
        right = low > 0
        part = np.where(right, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        logs = np.log(np.maximum(part, 1e-300))
        logs = np.where(seen == 0, log_ndtr(high), logs)
        return -float(total @ logs) / float(number)

    mean = float(total @ seen / number)
    start = np.array([mean, 0.5 * math.log(max(float(total @ (seen - mean) ** 2 / number), 0.1))])
    at = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13, "maxiter": 2000}).x
    sigma = math.exp(at[1])
    information = _information(loss, at, np.array([STEP * sigma, STEP])) * number
    covariance = cho_solve(cho_factor(information), np.eye(2))
    return CensoredDark(float(at[0]), math.sqrt(covariance[0, 0]), sigma**2, 2 * sigma**2 * math.sqrt(covariance[1, 1]))


def _information(loss: Callable[[Array], float], at: Array, step: Array) -> Array:
    """Second derivatives by central differences."""
    found = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            found[i, j] = (loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)) / (
                4 * step[i] * step[j]
            )
    return found
