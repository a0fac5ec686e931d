"""Divergences of histograms, with the floor that one half of the data has from the other."""

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
"""Where the outermost bins begin to be open, σ."""

FINE_BINS = round(2 * FAR / FINE)

PSEUDO_COUNT = 0.5
PARTS = 8
"""Parts that the rows are cut into; each half is four of them."""

BLOCKS = 16
"""Blocks of scenes that the intervals of divergences leave out one by one."""

FLOOR_SPREADS = 2.0
"""Standard deviations of the floor, over the ways to halve the data, that belong to it."""


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
        Width of each bin; the distance is in its unit.

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


def fine_index(residual: Tensor) -> Tensor:
    """Fine bin of each residual, int32."""
    return residual.mul(1 / FINE).add_(FAR / FINE).clamp_(0, FINE_BINS - 1).to(torch.int32)


def fine_edges() -> NDArray[np.float64]:
    """Edges of the fine bins, (FINE_BINS + 1,)."""
    return np.linspace(-FAR, FAR, FINE_BINS + 1)


def widening_edges(width: float) -> NDArray[np.float64]:
    """Edges of bins of `width` at 0 and width · √(1 + r²) at r, each an edge of fine bins."""
    side = np.sinh(np.arange(0.0, np.arcsinh(FAR), width))
    rounded = np.unique(np.round(np.append(side, FAR) / FINE) * FINE)
    return np.concatenate([-rounded[:0:-1], rounded])


def widening_index(edges: NDArray[np.float64]) -> Tensor:
    """Widening bin of each fine bin, (FINE_BINS,) int32."""
    middles = (np.arange(FINE_BINS) + 0.5) * FINE - FAR
    return torch.from_numpy((np.searchsorted(edges, middles) - 1).astype(np.int32))


@dataclass(frozen=True)
class Divergence:
    """A divergence of the samples from the data, beside that of the data from itself.

    Parameters
    ----------
    floor, floor_high : float or None
        Of one half of the data from the other: mean over the ways to halve it, and that plus
        `FLOOR_SPREADS` standard deviations.  None if the data cannot be halved.
    models : mapping of str to Interval
        Of one half of the data from the samples for the other half, per model; the interval
        is a jackknife over blocks of scenes.  Empty if the data cannot be halved.
    """

    floor: float | None
    floor_high: float | None
    models: Mapping[str, Interval]


def parts_and_blocks(batch: ScoredBatch) -> Tensor:
    """Block · PARTS + part of each pixel, int32, (B, 1, h, 1)."""
    # A whole row of a frame goes to one part: row noise then does not pass from half to half.
    rows = batch.row[:, None] + np.arange(batch.clean.shape[2]) + batch.group[:, None]
    place = (batch.group % BLOCKS)[:, None] * PARTS + rows % PARTS
    return torch.from_numpy(place.astype(np.int32))[:, None, :, None]


def divergences(
    counts: Mapping[str, NDArray[np.int64]], models: Sequence[str], width: NDArray[np.float64]
) -> tuple[Divergence, Divergence, Divergence]:
    """KL, Jensen–Shannon and Wasserstein-1 of the samples from the data, with floors and intervals.

    Parameters
    ----------
    counts : mapping of str to ndarray, shape (BLOCKS, PARTS, bins)
        Per source.
    models : sequence of str
        Names of the models.
    width : ndarray, shape (bins,) or ()
        Width of the bins, for Wasserstein-1.
    """
    whole = {name: part.sum(0).astype(np.float64) for name, part in counts.items()}
    filled = np.flatnonzero(counts[DATA].sum((1, 2)))
    # Of the block that is left out the counts are taken from the whole: sums are done once.
    without = {name: whole[name] - part[filled].astype(np.float64) for name, part in counts.items()}
    half = halves(PARTS)

    def between(of: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
        """The three divergences, each way to halve, shape (3, ways); none where a half is empty."""
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
