"""Weighted least squares with its covariance."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

__all__ = ["weighted_fit"]

Array = NDArray[np.float64]


def weighted_fit(design: Array, y: Array, deviation: Array) -> tuple[Array, Array]:
    """Parameters of least Σ ((y − design·p)/deviation)², and their covariance.

    By the QR decomposition, on columns scaled to unit length: exposures may be microseconds
    and squares of signals 10⁹ DN².

    Parameters
    ----------
    design : ndarray, shape (N, P)
        Regressors, one column for each parameter.
    y, deviation : ndarray, shape (N,)
        Measured values, and the standard deviation of each.

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
