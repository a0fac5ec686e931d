"""The order in which patches are drawn: a function of seed and epoch alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError

__all__ = ["BALANCES", "balanced", "epoch_order"]

BALANCES = ("iso", "camera")


def epoch_order(
    rows: NDArray[np.integer[Any]], seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """The rows of one epoch, shuffled.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Rows of the store to draw from.
    seed, epoch : int
        Seed of the order, and number of the epoch from 0.
    weights : ndarray, shape (n,), optional
        Draw n rows with these chances, each as often as it comes; without them each row
        comes once.
    """
    rng = np.random.default_rng((seed, epoch))
    if weights is None:
        return rng.permutation(rows)
    return rng.choice(rows, len(rows), p=weights / weights.sum())


def balanced(table: NDArray[Any], by: str) -> NDArray[np.float64]:
    """Weights with which each ISO, or each camera, comes equally often.

    Parameters
    ----------
    table : structured ndarray, shape (n,)
        Rows of a store's table.
    by : str
        ``"iso"`` or ``"camera"``.

    Returns
    -------
    ndarray, shape (n,)
        One over the number of rows alike.
    """
    if by not in BALANCES:
        raise DataError(f"balance {by!r}: expected one of {', '.join(BALANCES)}")
    _, which, counts = np.unique(table[by], return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[which], np.float64)
