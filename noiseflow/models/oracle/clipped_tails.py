"""Probabilities of the two clipped codes, whose intervals are whole tails."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["log_clipped"]

Array = NDArray[np.float64]

CHUNK = 1 << 20


def log_clipped(rate: Array, *, gain: float, sigma: float, edge_dn: float, upper: bool) -> Array:
    """Log-probability that K·Poisson(rate) + N(0, σ²) lies beyond an edge.

    The probability is Σₖ Poisson(k; λ)·Φ(±(K k − edge)/σ).  Φ is 0 or 1 except where |K k − edge| < 9σ, so the sum
    is computed term by term within that window, plus a Poisson tail.

    Parameters
    ----------
    rate : ndarray, shape (N,)
        Mean number of electrons λ, 0 or more.
    gain, sigma : float
        Conversion gain K in DN/e⁻, and σ of the read noise in DN.
    edge_dn : float
        Edge above black, DN.
    upper : bool
        Whether the tail is above the edge; if False, it is below.

    Returns
    -------
    ndarray, shape (N,)
        Log-probability, nats.
    """
    low = max(int(np.floor((edge_dn - 9 * sigma) / gain)), 0)
    high = max(int(np.ceil((edge_dn + 9 * sigma) / gain)), low)
    counts = np.arange(low, high + 1, dtype=np.float64)
    log_part = special.log_ndtr((1 if upper else -1) * (gain * counts - edge_dn) / sigma)
    result = np.empty(len(rate))
    rows = max(1, CHUNK // len(counts))
    for start in range(0, len(rate), rows):
        some = rate[start : start + rows]
        terms = special.xlogy(counts, some[:, None]) - some[:, None] - special.gammaln(counts + 1) + log_part
        with np.errstate(divide="ignore"):
            if upper:
                tail = np.log(special.pdtrc(high, some))
            else:
                tail = np.log(special.pdtr(low - 1, some)) if low > 0 else np.full(len(some), -np.inf)
            result[start : start + rows] = special.logsumexp(np.column_stack([terms, tail]), axis=1)
    return result
