"""Proper scores from samples alone, for models without a density: CRPS per pixel and energy score per patch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval, ratio_of_sums

__all__ = ["EXCESS_LEVEL", "ProperScores", "ProperScoresMetric", "neighbours", "per_patch"]

EXCESS_LEVEL = 1 - (1 - VERDICT) / 2
"""Confidence level of the intervals of the excess: the two scores together count as one check."""

PARTNERS = 16
"""Number of patches that each patch is compared with; the error of the excess falls as the root of their number."""


@dataclass(frozen=True)
class ProperScores(Score):
    """Proper scores of samples against the real noise; lower is better, and the true model has the lowest mean.

    Parameters
    ----------
    patches : int
        Number of patches scored.
    crps : mapping of str to Interval
        Continuous ranked probability score per pixel, in σ of the real noise, per model; 0.564 for Gaussian noise.
    energy : mapping of str to Interval
        Energy score of a whole patch divided by the root of its number of values, in σ, per model.
    crps_excess, energy_excess : mapping of str to Interval
        The same minus the score of the real noise itself, per model: half the energy distance between samples and
        data, with mean 0 for the true model.
    """

    patches: int
    crps: Mapping[str, Interval]
    energy: Mapping[str, Interval]
    crps_excess: Mapping[str, Interval]
    energy_excess: Mapping[str, Interval]


class ProperScoresMetric(Metric):
    """Residuals of the close patches, kept until all batches are read."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.residual: dict[str, list[Tensor]] = {name: [] for name in setup.sources}
        self.brightness: list[NDArray[np.float64]] = []
        self.group: list[NDArray[np.int64]] = []
        self.cell: list[NDArray[np.int64]] = []

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        chosen = np.flatnonzero(batch.close)
        if not len(chosen):
            return
        for name, residual in batch.residual.items():
            self.residual[name].append(residual[chosen].flatten(1).float())
        self.brightness.append(batch.clean[chosen].double().mean((1, 2, 3)).numpy())
        self.group.append(batch.group[chosen])
        self.cell.append(batch.cell[chosen])

    def score(self) -> ProperScores:
        """Return the scores of each model, with intervals over groups."""
        group = np.concatenate(self.group)
        partners = neighbours(np.concatenate(self.brightness), np.concatenate(self.cell), group)
        known = (partners >= 0).any(0)
        count = np.bincount(group[known]).astype(np.float64)
        real = torch.cat(self.residual[DATA])
        found: list[dict[str, Interval]] = [{}, {}, {}, {}]
        for name in self.setup.models:
            scores = per_patch(real, torch.cat(self.residual[name]), partners)[:, known]
            for place, values in enumerate(scores):
                found[place][name] = ratio_of_sums(
                    numerator=np.bincount(group[known], values).astype(np.float64),
                    denominator=count,
                    level=LEVEL if place < 2 else EXCESS_LEVEL,
                )
        return ProperScores(int(known.sum()), *found)


def neighbours(brightness: NDArray[np.float64], cell: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose for each patch others of the same camera and ISO and similar signal, with independent noise.

    The patches of each camera and ISO form a ring, ordered by signal.  The partners of a patch are those of the next
    `PARTNERS` in the ring that belong to another group; if there is only one group, all of them.

    Parameters
    ----------
    brightness : ndarray, shape (n,)
        Mean clean signal of each patch.
    cell, group : ndarray of int, shape (n,)
        Camera and ISO, and scene or frame, of each patch.

    Returns
    -------
    ndarray of int, shape (PARTNERS, n)
        Positions of the partners; −1 where there is none.
    """
    partners = np.full((PARTNERS, len(group)), -1)
    for each in np.unique(cell):
        ring = np.flatnonzero(cell == each)
        ring = ring[np.argsort(brightness[ring], kind="stable")]
        alone = len(np.unique(group[ring])) == 1
        for step in range(1, min(PARTNERS, len(ring) - 1) + 1):
            later = np.roll(ring, -step)
            usable = alone | (group[later] != group[ring])
            partners[step - 1, ring[usable]] = later[usable]
    return partners


def per_patch(real: Tensor, sampled: Tensor, partners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute CRPS, energy score, and the excess of both for each patch.

    For a patch with real noise y and sampled noise x, and a partner with y′ and x′,

    CRPS = mean |x − y| − ½ mean |x − x′|,  excess = ½ mean(|x − y′| + |x′ − y| − |x − x′| − |y − y′|).

    The energy score uses the Euclidean norm of the patch divided by √values instead.  All are averaged over the
    partners.  A partner replaces a second sample of the same patch, so one sample per patch is enough.  The scores are
    unbiased if residuals at similar signals have the same distribution.

    Parameters
    ----------
    real, sampled : Tensor, shape (n, values)
        Residuals, in σ of the real noise.
    partners : ndarray of int, shape (k, n)
        Partners of each patch; see `neighbours`.

    Returns
    -------
    ndarray, shape (4, n)
        CRPS, energy score, excess of the CRPS, and excess of the energy score; NaN for a patch without partners.

    References
    ----------
    Gneiting, Raftery: Strictly proper scoring rules, prediction, and estimation, JASA 2007, eq. 21 and 22.
    """
    count, found = np.zeros(len(real)), np.zeros((4, len(real)))
    at_place = _distances(sampled, real)
    for partner in partners:
        rows = np.flatnonzero(partner >= 0)
        x, y, other = sampled[rows], real[rows], partner[rows]
        among_samples, among_real = _distances(x, sampled[other]), _distances(y, real[other])
        across = _distances(x, real[other]) + _distances(sampled[other], y)
        found[:2, rows] += at_place[:, rows] - among_samples / 2
        found[2:, rows] += (across - among_samples - among_real) / 2
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        scores: NDArray[np.float64] = found / count
    return scores


def _distances(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """Return mean absolute and RMS difference of each pair of patches, shape (2, n)."""
    apart = one - other
    return np.stack([apart.abs().mean(1).double().numpy(), apart.square().mean(1).sqrt().double().numpy()])
