"""Correlation in time: the noise of one place in two successive frames of a scene."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from noiseflow.evaluate.data_summary import MOST_PAIRS
from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate
from noiseflow.evaluate.presentation.formatting import percent, plus_minus
from noiseflow.evaluate.statistics.intervals import VERDICT, Estimate, ratio_of_sums

__all__ = ["Temporal", "TemporalMetric"]

MARGIN = 0.01
WIDE = 0.05
"""How far from 0 the interval may reach where frames are said to be independent."""


@dataclass(frozen=True)
class Temporal(Score):
    """Correlation of successive frames, beyond what sharing a clean estimate makes.

    Parameters
    ----------
    pairs : int
        Patches of one place in two successive frames.
    excess : Estimate or None
        Correlation of the real noise minus what independent frames would show; None without pairs.
    expected : float
        The latter, on average: −v, v the variance of the clean estimate as a part of the
        noise's, since frames that serve in each other's clean estimates are not independent.
    """

    title: ClassVar[str] = "Correlation in time"
    method: ClassVar[str] = (
        f"On at most {MOST_PAIRS} places: correlation of the real noise (its patch’s mean removed) of two successive "
        "frames of a scene. Frames whose clean signal is the mean of the n − 1 others correlate by −1/(n − 1) though "
        "independent; that is taken off. What is the same in all frames of a burst is in its clean signal and not "
        "seen. Models draw each frame by itself; the data contradicts that where the correlation differs from 0 by "
        f"more than {MARGIN:g} and the {percent(VERDICT, 1)} interval over scenes excludes 0."
    )

    pairs: int
    excess: Estimate | None
    expected: float

    def findings(self, tested: str) -> Sequence[Finding]:
        """Whether frames are independent, as the models take them."""
        if self.excess is None:
            return []
        numbers = f"correlation of successive frames {plus_minus(self.excess, 3)} over {self.pairs} pairs of patches"
        if self.excess.low is None:
            return [Finding("open", "temporal", f"Correlation in time is not judged, for want of scenes: {numbers}.")]
        if abs(self.excess.value) > MARGIN and (self.excess.above(0) or self.excess.below(0)):
            text = f"Noise correlates in time, which {tested} does not: {numbers}."
            return [Finding("bad", "temporal", text)]
        if not (self.excess.above(-WIDE) and self.excess.below(WIDE)):
            text = f"The scenes are too few to say whether noise correlates in time: {numbers}."
            return [Finding("open", "temporal", text)]
        return [Finding("good", "temporal", f"Frames are independent, as the samples are: {numbers}.")]

    def table(self) -> Sequence[TableRow]:
        """The correlation."""
        if self.excess is None:
            return []
        return [TableRow("Correlation in time", "successive frames", "0", {DATA: plus_minus(self.excess, 3)})]

    def records(self) -> Sequence[Record]:
        """The correlation."""
        if self.excess is None:
            return []
        return [Record.of(self.excess, "temporal_correlation", "1", DATA, None, None, "lag 1 frame")]

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """No figure."""
        return []


class TemporalMetric(Metric):
    """Holds the first patch of a pair until the second comes by."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
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
