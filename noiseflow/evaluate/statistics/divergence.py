"""Divergences of histograms, with their floor: the divergence between two halves of the data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.evaluate.metric import DATA, ScoredBatch
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, jackknife

__all__ = [
    "BLOCKS",
    "FINE",
    "FINE_BINS",
    "FLOOR_SPREADS",
    "PARTS",
    "PSEUDO_COUNT",
    "Divergence",
    "divergences",
    "fine_edges",
    "fine_index",
    "halves",
    "js_divergence",
    "kl_divergence",
    "parts_and_blocks",
    "wasserstein_1",
    "widening_edges",
    "widening_index",
]

FINE = 0.01
"""Width of a fine bin, σ."""

FAR = 200.0
"""Range of the fine bins, ±σ; the outermost bins also count everything beyond."""

FINE_BINS = round(2 * FAR / FINE)
"""Number of fine bins."""

PSEUDO_COUNT = 0.5
"""Count added to every bin before a KL or Jensen–Shannon divergence."""

PARTS = 8
"""Parts into which the rows are divided; a half of the data is four of them."""

BLOCKS = 16
"""Blocks of scenes; the jackknife leaves them out one at a time."""

FLOOR_SPREADS = 2.0
"""Upper end of the floor, in standard deviations over the ways to halve the data."""


def kl_divergence(*, p: NDArray[np.float64], q: NDArray[np.float64], pseudo_count: float) -> NDArray[np.float64]:
    """Compute KL(p ‖ q) of two histograms over the same bins.

    Σ p̂ log(p̂ / q̂) with p̂ᵢ = (pᵢ + a) / (Σ p + a B), over all bins including empty ones.

    Parameters
    ----------
    p, q : ndarray, shape (..., B)
        Counts.
    pseudo_count : float
        a, added to every bin of both histograms; above 0.

    Returns
    -------
    ndarray, shape (...)
        Divergence, nats.

    Raises
    ------
    DataError
        Different numbers of bins, a `pseudo_count` that is not positive, or an empty histogram.
    """
    smooth_p, smooth_q = _smoothed(p, q, pseudo_count)
    divergence: NDArray[np.float64] = (smooth_p * (np.log(smooth_p) - np.log(smooth_q))).sum(-1)
    return divergence


def js_divergence(*, p: NDArray[np.float64], q: NDArray[np.float64], pseudo_count: float) -> NDArray[np.float64]:
    """Compute the Jensen–Shannon divergence of two histograms over the same bins.

    ½ KL(p̂ ‖ m) + ½ KL(q̂ ‖ m) with m = (p̂ + q̂)/2, where p̂ and q̂ are smoothed as in `kl_divergence`.

    Parameters
    ----------
    p, q : ndarray, shape (..., B)
        Counts.
    pseudo_count : float
        Count added to every bin of both histograms; above 0.

    Returns
    -------
    ndarray, shape (...)
        Divergence, nats: 0 to log 2.

    Raises
    ------
    DataError
        Different numbers of bins, a `pseudo_count` that is not positive, or an empty histogram.

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
    """Compute the Wasserstein-1 distance of two histograms over the same bins.

    Σ width · |P − Q|, where P and Q are the cumulative distributions.

    Parameters
    ----------
    p, q : ndarray, shape (..., B)
        Counts.
    width : ndarray, shape (B,) or ()
        Width of each bin.

    Returns
    -------
    ndarray, shape (...)
        Distance in the unit of `width`.

    Raises
    ------
    DataError
        Different numbers of bins, or an empty histogram.
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
    """Return all ways to choose half of an even number of parts.

    Parameters
    ----------
    parts : int
        Number of parts, even.

    Returns
    -------
    ndarray of bool, shape (parts choose parts/2, parts)
        One choice per row; the complement of each row is also a row.
    """
    chosen = list(combinations(range(parts), parts // 2))
    mask = np.zeros((len(chosen), parts), np.bool_)
    for row, members in zip(mask, chosen, strict=True):
        row[list(members)] = True
    return mask


def fine_index(residual: Tensor) -> Tensor:
    """Return the fine bin of each residual (in σ), int32, in the shape of `residual`."""
    return residual.mul(1 / FINE).add_(FAR / FINE).clamp_(0, FINE_BINS - 1).to(torch.int32)


def fine_edges() -> NDArray[np.float64]:
    """Return the edges of the fine bins, σ, shape (FINE_BINS + 1,)."""
    return np.linspace(-FAR, FAR, FINE_BINS + 1)


def widening_edges(width: float) -> NDArray[np.float64]:
    """Return edges of bins that widen with the distance r from 0, as width · √(1 + r²); each is an edge of fine bins.

    Parameters
    ----------
    width : float
        Width of the bins at 0, σ.

    Returns
    -------
    ndarray, shape (bins + 1,)
        Edges, σ.
    """
    side = np.sinh(np.arange(0.0, np.arcsinh(FAR), width))
    rounded = np.unique(np.round(np.append(side, FAR) / FINE) * FINE)
    return np.concatenate([-rounded[:0:-1], rounded])


def widening_index(edges: NDArray[np.float64]) -> Tensor:
    """Return the widening bin that contains each fine bin, int32, shape (FINE_BINS,)."""
    middles = (np.arange(FINE_BINS) + 0.5) * FINE - FAR
    return torch.from_numpy((np.searchsorted(edges, middles) - 1).astype(np.int32))


@dataclass(frozen=True)
class Divergence:
    """A divergence between data and samples, with its floor: the same divergence between two halves of the data.

    Parameters
    ----------
    floor, floor_high : float or None
        Divergence between two halves of the data: mean over the ways to halve it, and that plus
        `FLOOR_SPREADS` standard deviations.  None if the data cannot be halved.
    models : mapping of str to Interval
        Divergence between one half of the data and the samples for the other half, per model, with a
        jackknife interval over blocks of scenes.  Empty if the data cannot be halved.
    """

    floor: float | None
    floor_high: float | None
    models: Mapping[str, Interval]


def parts_and_blocks(batch: ScoredBatch) -> Tensor:
    """Return the index block · PARTS + part of each pixel, int32, shape (B, 1, h, 1)."""
    # A whole row of a frame belongs to one part, so that both halves do not share its row noise.
    rows = batch.row[:, None] + np.arange(batch.clean.shape[2]) + batch.group[:, None]
    place = (batch.group % BLOCKS)[:, None] * PARTS + rows % PARTS
    return torch.from_numpy(place.astype(np.int32))[:, None, :, None]


def divergences(
    counts: Mapping[str, NDArray[np.int64]], models: Sequence[str], width: NDArray[np.float64]
) -> tuple[Divergence, Divergence, Divergence]:
    """Compute KL, Jensen–Shannon and Wasserstein-1 between data and samples, with floors and intervals.

    Parameters
    ----------
    counts : mapping of str to ndarray, shape (BLOCKS, PARTS, bins)
        Histograms of the data and of each model's samples, per block and part.
    models : sequence of str
        Names of the models.
    width : ndarray, shape (bins,) or ()
        Width of the bins, for Wasserstein-1.

    Returns
    -------
    tuple of Divergence
        KL (nats), Jensen–Shannon (nats), and Wasserstein-1 (unit of `width`).
    """
    whole = {name: part.sum(0).astype(np.float64) for name, part in counts.items()}
    filled = np.flatnonzero(counts[DATA].sum((1, 2)))
    # Sum once, and subtract the block that is left out.
    without = {name: whole[name] - part[filled].astype(np.float64) for name, part in counts.items()}
    half = halves(PARTS)

    def between(of: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
        """Return the three divergences for each way to halve, (3, ways), except those with an empty half."""
        one, other = half @ of[DATA], ~half @ of[name]
        usable = (one.sum(-1) > 0) & (other.sum(-1) > 0)
        p, q = one[usable], other[usable]
        if not usable.any():
            return np.full((3, 1), math.nan)
        return np.stack(
            [
                kl_divergence(p=p, q=q, pseudo_count=PSEUDO_COUNT),
                js_divergence(p=p, q=q, pseudo_count=PSEUDO_COUNT),
                wasserstein_1(p=p, q=q, width=width),
            ]
        )

    floor = between(whole, DATA)
    if not np.isfinite(floor).all():
        return (Divergence(None, None, {}),) * 3
    of_models: list[dict[str, Interval]] = [{}, {}, {}]
    for name in models:
        values = between(whole, name).mean(1)
        left_out = np.array(
            [
                between({DATA: without[DATA][block], name: without[name][block]}, name).mean(1)
                for block in range(len(filled))
            ]
        )
        for kind, value in enumerate(values):
            of_models[kind][name] = jackknife(value=float(value), left_out=left_out[:, kind], level=LEVEL)
    kl, js, wasserstein = (
        Divergence(float(each.mean()), float(each.mean() + FLOOR_SPREADS * each.std()), of)
        for each, of in zip(floor, of_models, strict=True)
    )
    return kl, js, wasserstein
