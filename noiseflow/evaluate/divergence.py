"""Kullback–Leibler divergence of histograms."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import DataError

__all__ = ["halves", "kl_divergence"]


def kl_divergence(*, p: NDArray[np.float64], q: NDArray[np.float64], pseudo_count: float) -> NDArray[np.float64]:
    """KL(p ‖ q) of two histograms over the same bins, nats.

    Σ p̂ log(p̂ / q̂) with p̂ᵢ = (pᵢ + a) / (Σ p + a B): every bin counts, empty ones too.

    Parameters
    ----------
    p, q : ndarray, shape (..., B)
        Counts.
    pseudo_count : float
        a, added to every bin of both; above 0.

    Returns
    -------
    ndarray, shape (...)

    Raises
    ------
    DataError
        If bins do not match, `pseudo_count` is not positive, or a histogram is empty.
    """
    if p.shape[-1] != q.shape[-1]:
        raise DataError(f"histograms: expected the same bins; got {p.shape[-1]} and {q.shape[-1]}")
    if not pseudo_count > 0:
        raise DataError(f"pseudo_count: expected a positive number; got {pseudo_count}")
    if not (p.sum(-1) > 0).all() or not (q.sum(-1) > 0).all():
        raise DataError("histograms: expected at least one count in each; got an empty one")
    bins = p.shape[-1]
    smooth_p, smooth_q = (
        (counts + pseudo_count) / (counts.sum(-1, keepdims=True) + pseudo_count * bins) for counts in (p, q)
    )
    divergence: NDArray[np.float64] = (smooth_p * (np.log(smooth_p) - np.log(smooth_q))).sum(-1)
    return divergence


def halves(parts: int) -> NDArray[np.bool_]:
    """All ways to take half of an even number of parts.

    Returns
    -------
    ndarray of bool, shape (parts choose parts/2, parts)
        Each row's complement is a row too.
    """
    chosen = list(combinations(range(parts), parts // 2))
    mask = np.zeros((len(chosen), parts), np.bool_)
    for row, members in zip(mask, chosen, strict=True):
        row[list(members)] = True
    return mask
