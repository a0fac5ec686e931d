"""Standard deviation of data with outliers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["robust_sigma"]


def robust_sigma(values: NDArray[np.floating[Any]]) -> float:
    """Return σ of normal values with outliers: 1.4826 times the median absolute deviation.

    Parameters
    ----------
    values : ndarray, any shape
        The values, at least one.

    Returns
    -------
    float
        σ in the unit of `values`.

    Examples
    --------
    >>> round(robust_sigma(np.array([-1.0, 0.0, 1.0, 2.0, 1000.0])), 4)
    1.4826
    """
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
