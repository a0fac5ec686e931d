"""Divergences of histograms: Kullback–Leibler, Jensen–Shannon, Wasserstein-1."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import DataError

__all__ = ["halves", "js_divergence", "kl_divergence", "wasserstein_1"]


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
    smooth_p, smooth_q = _smoothed(p, q, pseudo_count)
    divergence: NDArray[np.float64] = (smooth_p * (np.log(smooth_p) - np.log(smooth_q))).sum(-1)
    return divergence


def js_divergence(*, p: NDArray[np.float64], q: NDArray[np.float64], pseudo_count: float) -> NDArray[np.float64]:
    """Jensen–Shannon divergence of two histograms over the same bins, nats: 0 to log 2.

    ½ KL(p̂ ‖ m) + ½ KL(q̂ ‖ m) with m = (p̂ + q̂)/2, smoothed as in `kl_divergence`, with the same
    parameters and errors.

    References
    ----------
    Lin: Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 1991.
    """
    smooth_p, smooth_q = _smoothed(p, q, pseudo_count)
    log_middle = np.log((smooth_p + smooth_q) / 2)
    sides = ((side * (np.log(side) - log_middle)).sum(-1) for side in (smooth_p, smooth_q))
    divergence: NDArray[np.float64] = sum(sides, np.zeros(smooth_p.shape[:-1])) / 2
    return divergence


def wasserstein_1(*, p: NDArray[np.float64], q: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wasserstein-1 distance of two histograms over the same bins: Σ width · |P − Q|, P and Q cumulated.

    Parameters
    ----------
    p, q : ndarray, shape (..., B)
        Counts.
    width : ndarray, shape (B,) or ()
        Of each bin; the distance is in its unit.

    Returns
    -------
    ndarray, shape (...)
    """
    _check(p, q)
    below_p, below_q = (np.cumsum(counts, -1) / counts.sum(-1, keepdims=True) for counts in (p, q))
    distance: NDArray[np.float64] = (width * np.abs(below_p - below_q)).sum(-1)
    return distance


def _check(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    if p.shape[-1] != q.shape[-1]:
        raise DataError(f"histograms: expected the same bins; got {p.shape[-1]} and {q.shape[-1]}")
    if not (p.sum(-1) > 0).all() or not (q.sum(-1) > 0).all():
        raise DataError("histograms: expected at least one count in each; got an empty one")


def _smoothed(
    p: NDArray[np.float64], q: NDArray[np.float64], pseudo_count: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not pseudo_count > 0:
        raise DataError(f"pseudo_count: expected a positive number; got {pseudo_count}")
    _check(p, q)
    bins = p.shape[-1]
    smooth_p, smooth_q = (
        (counts + pseudo_count) / (counts.sum(-1, keepdims=True) + pseudo_count * bins) for counts in (p, q)
    )
    return smooth_p, smooth_q


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
