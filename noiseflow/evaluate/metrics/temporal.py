"""Correlation in time: the noise of one place in two successive frames of a scene."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["Temporal", "TemporalMetric"]


@dataclass(frozen=True)
class Temporal(Score):
    """Correlation of successive frames, beyond what sharing a clean estimate makes.

    Parameters
    ----------
    pairs : int
        Patches of one place in two successive frames.
    excess : Interval or None
        Correlation of the real noise minus what independent frames would show; None without pairs.
    expected : float
        The latter, on average: −v, v the variance of the clean estimate as a part of the
        noise's, since frames that serve in each other's clean estimates are not independent.
    """

    pairs: int
    excess: Interval | None
    expected: float


class TemporalMetric(Metric):
    """Holds the first patch of a pair until the second comes by."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.partners: dict[int, list[int]] = {}
        for one, other in setup.survey.pairs.tolist():
            self.partners.setdefault(one, []).append(other)
            self.partners.setdefault(other, []).append(one)
        self.held: dict[int, Tensor] = {}
        groups = setup.survey.groups
        self.products, self.squares = np.zeros(groups), np.zeros(groups)
        self.expected: list[float] = []

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        if not self.partners:
            return
        wanted = np.flatnonzero(np.isin(batch.number, list(self.partners)))
        for index in wanted:
            number = int(batch.number[index])
            patch = batch.residual[DATA][index]
            patch = patch - patch.mean((1, 2), keepdim=True)
            for partner in self.partners[number]:
                if partner not in self.held:
                    continue
                other, group = self.held[partner], batch.group[index]
                square = float((patch.square().sum() + other.square().sum()) / 2)
                v = float(batch.clean_variance[index])
                self.products[group] += float((patch * other).sum()) + v * square
                self.squares[group] += square
                self.expected.append(-v)
            self.held[number] = patch

    def score(self) -> Temporal:
        """The correlation over all pairs."""
        if not self.expected:
            return Temporal(0, None, math.nan)
        excess = ratio_of_sums(numerator=self.products, denominator=self.squares, level=VERDICT)
        return Temporal(len(self.expected), excess, float(np.mean(self.expected)))
