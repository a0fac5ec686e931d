"""Weighted least squares with the covariance of the parameters."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

__all__ = ["weighted_fit"]

Array = NDArray[np.float64]


def weighted_fit(design: Array, y: Array, deviation: Array) -> tuple[Array, Array]:
    """Minimise Σ ((y − design·p)/deviation)² over the parameters p.

    Uses the QR decomposition with columns scaled to unit length, because their units differ widely:
    exposures of microseconds appear beside squared signals of 10⁹ DN².

    Parameters
    ----------
    design : ndarray, shape (N, P)
        Regressors, one column per parameter.
    y, deviation : ndarray, shape (N,)
        Measured values and their standard deviations, in one unit.

    Returns
    -------
    parameters : ndarray, shape (P,)
        The minimising p.
    covariance : ndarray, shape (P, P)
        Covariance of the parameters if `deviation` is right.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> parameters, covariance = weighted_fit(np.stack([np.ones(3), x], 1), 3 + 2 * x, np.ones(3))
    >>> parameters.round(6).tolist(), covariance.shape
    ([3.0, 2.0], (2, 2))
    """
    rows = design / deviation[:, None]
    size = np.sqrt((rows**2).sum(0))
    size[size == 0] = 1.0
    q, r = np.linalg.qr(rows / size)
    half = solve_triangular(r, np.eye(r.shape[1])) / size[:, None]
    return half @ (q.T @ (y / deviation)), half @ half.T
