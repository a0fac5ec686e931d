"""Proper scores for models without a density: CRPS by pixel and the energy score of patches, from samples alone."""

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
"""Coverage of the intervals of the excess: two scores count as one check."""

PARTNERS = 16
"""Patches that a patch is compared with: more know the excess better, in proportion to the root of their number."""


@dataclass(frozen=True)
class ProperScores(Score):
    """Scores of samples against the real noise; the lower the better, and least on average for the truth.

    Parameters
    ----------
    patches : int
        Patches that were scored.
    crps : mapping of str to Interval
        Continuous ranked probability score by pixel, in units of the real noise's σ; 0.564 for Gaussian noise.
    energy : mapping of str to Interval
        Energy score of a whole patch over the root of its number of values, in the same unit.
    crps_excess, energy_excess : mapping of str to Interval
        The same less what the real noise itself scores: half of the energy distance between samples and data, 0 for
        the truth on average.
    """

    patches: int
    crps: Mapping[str, Interval]
    energy: Mapping[str, Interval]
    crps_excess: Mapping[str, Interval]
    energy_excess: Mapping[str, Interval]


class ProperScoresMetric(Metric):
    """Residuals of the close patches, kept until all are there."""

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
        """Each score of each model, over groups."""
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
    """For each patch others of the same camera and ISO and about the same signal, whose noise is independent.

    Patches of a cell are put in a ring in the order of their signal; the next `PARTNERS` of other groups are taken, or
    the next at all where there is one group.

    Returns
    -------
    ndarray, shape (PARTNERS, n)
        Positions; −1 where there is none.
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
    """Scores of each patch: CRPS, energy score, and the excess of both, shape (4, n).

    With y the real noise and x the sampled of a patch, and y′, x′ those of a partner,

    CRPS = mean |x − y| − ½ mean |x − x′|,  excess = ½ mean(|x − y′| + |x′ − y| − |x − x′| − |y − y′|),

    and likewise with the Euclidean norm of the patch, over √values, for the energy score; all are means over the
    partners.  A partner stands in for a second sample of the same patch, so that one sample of each is enough; both
    are unbiased where residuals of about the same signal are alike.

    Parameters
    ----------
    real, sampled : Tensor, shape (n, values)
        Residuals in units of the real noise's σ.
    partners : ndarray of int, shape (k, n)
        See `neighbours`; a patch without any scores NaN.

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
    """Mean absolute difference, and root of the mean square, of each two patches, shape (2, n)."""
    apart = one - other
    return np.stack([apart.abs().mean(1).double().numpy(), apart.square().mean(1).sqrt().double().numpy()])
