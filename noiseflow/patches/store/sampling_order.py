"""The order in which patches are drawn, which depends only on seed and epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError

__all__ = ["BALANCES", "balanced", "epoch_order"]

BALANCES = ("iso", "camera")
"""Columns of the table by which draws can be balanced."""


def epoch_order(
    rows: NDArray[np.integer[Any]], seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Shuffle the rows of one epoch, or draw them by weight.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Rows of the store.
    seed, epoch : int
        Seed of the order, and number of the epoch from 0.
    weights : ndarray, shape (n,), optional
        Draw n rows with replacement, with probabilities proportional to these; by default each row
        appears once.
    """
    rng = np.random.default_rng((seed, epoch))
    if weights is None:
        return rng.permutation(rows)
    return rng.choice(rows, len(rows), p=weights / weights.sum())


def balanced(table: NDArray[Any], by: str) -> NDArray[np.float64]:
    """Weights that draw each ISO, or each camera, equally often.

    Parameters
    ----------
    table : structured ndarray, shape (n,)
        Rows of a store's table.
    by : str
        ``"iso"`` or ``"camera"``.

    Returns
    -------
    ndarray, shape (n,)
        For each row, 1 / (number of rows with the same ISO or camera).

    Raises
    ------
    DataError
        If `by` is something else.
    """
    if by not in BALANCES:
        raise DataError(f"balance {by!r}: expected one of {', '.join(BALANCES)}")
    _, which, counts = np.unique(table[by], return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[which], np.float64)
