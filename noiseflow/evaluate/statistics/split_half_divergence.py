"""Divergences of samples from data beside the data's own: one half from the other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, ScoredBatch
from noiseflow.evaluate.statistics.divergence import halves, js_divergence, kl_divergence, wasserstein_1
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, jackknife

__all__ = [
    "BLOCKS",
    "FLOOR_SPREADS",
    "PARTS",
    "PSEUDO_COUNT",
    "Divergence",
    "divergences",
    "parts_and_blocks",
]

PSEUDO_COUNT = 0.5
PARTS = 8
"""Parts of the rows, of which each half is four."""

BLOCKS = 16
"""Blocks of scenes that the intervals of divergences leave out one by one."""

FLOOR_SPREADS = 2.0
"""Standard deviations of the floor, over the ways to halve the data, that belong to it."""


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
    width : ndarray, shape (bins,) or ()
        Of the bins, for Wasserstein-1.
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
