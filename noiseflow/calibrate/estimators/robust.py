"""Spread of values some of which belong to something else."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["robust_sigma"]


def robust_sigma(values: NDArray[np.floating[Any]]) -> float:
    """σ of normal values: 1.4826 times the median absolute deviation from their median.

    >>> round(robust_sigma(np.array([-1.0, 0.0, 1.0, 2.0, 1000.0])), 4)
    1.4826
    """
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
