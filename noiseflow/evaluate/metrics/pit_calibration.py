"""Calibration of the density: whether the latent that it makes of real noise is standard normal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import number, percent, plus_minus
from noiseflow.evaluate.statistics.intervals import VERDICT, Estimate, ratio_of_sums

__all__ = ["Calibration", "CalibrationMetric", "Coverage"]

BINS = 40
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Quantiles that are judged: bins' edges of a histogram of `BINS`."""

MARGIN = 0.01


@dataclass(frozen=True)
class Coverage:
    """The real noise in a model's own latent.

    Parameters
    ----------
    values : int
    histogram : tuple of float
        Of the probability integral transform Φ(z), density in bins of 1/40: 1 everywhere if
        the density is right.
    below : tuple of Estimate
        Part of the real noise below each of the density's own quantiles; intervals wider for
        their number.
    """

    values: int
    histogram: tuple[float, ...]
    below: tuple[Estimate, ...]

    @property
    def worst(self) -> int:
        """Index of the level that is farthest off."""
        return max(range(len(LEVELS)), key=lambda index: abs(self.below[index].value - LEVELS[index]))

    @property
    def off(self) -> list[int]:
        """Indices of the levels that are off by more than the margin, and surely."""
        return [
            index
            for index, (level, below) in enumerate(zip(LEVELS, self.below, strict=True))
            if abs(below.value - level) > MARGIN and (below.above(level) or below.below(level))
        ]


@dataclass(frozen=True)
class Calibration(Score):
    """Probability integral transform of the latents.

    Parameters
    ----------
    levels : tuple of float
        Of the quantiles.
    models : mapping of str to Coverage
        Models that have a latent.
    """

    title: ClassVar[str] = "Calibration of the density"
    method: ClassVar[str] = (
        "The latent z that a model makes of the real noise (a flow’s z; of a Gaussian, noise ÷ σ) is standard normal "
        "if its density is right, and Φ(z) then uniform (probability integral transform). On a million values at "
        "the most, ±½ code added, so that integers do not make a comb of it. "
        f"The density is off where the part of the data below one of {len(LEVELS)} of its own quantiles differs from "
        f"the quantile’s level by more than {percent(MARGIN)} and the {percent(VERDICT, 1)} interval over scenes, "
        "wider for their number, excludes it. Models that only sample, or whose latent is not to be had (the oracle), "
        "are left out; conditional quantiles of their samples are under the distribution by intensity."
    )

    levels: tuple[float, ...]
    models: Mapping[str, Coverage]

    def findings(self, tested: str) -> Sequence[Finding]:
        """Whether the density's own quantiles hold."""
        if tested not in self.models:
            return []
        coverage = self.models[tested]
        shown = max(coverage.off or [coverage.worst], key=lambda i: abs(coverage.below[i].value - LEVELS[i]))
        level, below = LEVELS[shown], coverage.below[shown]
        numbers = (
            f"{plus_minus(below.scaled(100.0), 1)} % of the data is below the density’s {100 * level:g} % quantile"
        )
        if below.low is None:
            return [Finding("open", "calibration", f"Calibration is not judged, for want of scenes: {numbers}.")]
        if coverage.off:
            return [Finding("bad", "calibration", f"The density is not calibrated: {numbers}.")]
        return [Finding("good", "calibration", f"The density’s own quantiles hold: at the worst {numbers}.")]

    def table(self) -> Sequence[TableRow]:
        """Largest deviation from the levels."""
        if not self.models:
            return []
        worst = {
            name: f"{number(100 * abs(coverage.below[coverage.worst].value - LEVELS[coverage.worst]), 2)} %"
            for name, coverage in self.models.items()
        }
        return [TableRow("Calibration", "largest error of the latent’s quantiles", "0", {DATA: "", **worst})]

    def records(self) -> Sequence[Record]:
        """Parts below each quantile, and the histograms."""
        records = []
        for name, coverage in self.models.items():
            records += [
                Record.of(below, "latent_below", "1", name, None, None, f"{level:g}")
                for level, below in zip(LEVELS, coverage.below, strict=True)
            ]
            records += [
                Record("latent_pit", "1", name, None, None, f"{index / BINS:g}–{(index + 1) / BINS:g}", height)
                for index, height in enumerate(coverage.histogram)
            ]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Histograms of Φ(z)."""
        if not self.models:
            return []
        edges = np.linspace(0, 1, BINS + 1)
        with canvas() as figure:
            ax = axes(figure, "Φ(z), z the latent of the real noise", "density")
            ax.axhline(1, color=pens[DATA].colour, linewidth=0.8)
            for name, coverage in self.models.items():
                pen = pens[name]
                ax.stairs(coverage.histogram, edges, color=pen.colour, linestyle=pen.dash, linewidth=1.3, label=name)
            tested = next(iter(self.models.values()))
            reach = max(0.1, 1.3 * max(abs(height - 1) for height in tested.histogram))
            ax.set_ylim(max(1 - reach, 0), 1 + reach)
            legend(figure)
            return [
                plate(
                    figure,
                    title="Probability integral transform (PIT)",
                    alt="Histogram of the probability integral transform of the real noise under each model",
                    caption="Real noise through each model’s own distribution function. Good: flat at 1. A hollow: the "
                    "model is too wide; horns: too narrow; horns with a bump between them: tails are missing. The axis "
                    "fits the first model.",
                )
            ]


class CalibrationMetric(Metric):
    """Counts of Φ(z) per bin and group."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.counts: dict[str, NDArray[np.float64]] = {}

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        groups = self.setup.survey.groups
        for name, z in batch.latent.items():
            counts = self.counts.setdefault(name, np.zeros((groups, BINS)))
            place = (torch.special.ndtr(z) * BINS).nan_to_num(0.0).clamp_(0, BINS - 1).long().flatten(1)
            place += torch.from_numpy(batch.latent_group * BINS)[:, None]
            counts += torch.bincount(place.flatten(), minlength=groups * BINS).reshape(groups, BINS).numpy()

    def score(self) -> Calibration:
        """The histogram of each model, and its quantiles."""
        strict = 1 - (1 - VERDICT) / len(LEVELS)
        models = {}
        for name in self.setup.models:
            counts = self.counts.get(name)
            if counts is None or not counts.sum():
                continue
            total, all_below = counts.sum(1), np.cumsum(counts, 1)
            models[name] = Coverage(
                values=int(total.sum()),
                histogram=tuple((counts.sum(0) / total.sum() * BINS).tolist()),
                below=tuple(
                    ratio_of_sums(numerator=all_below[:, round(level * BINS) - 1], denominator=total, level=strict)
                    for level in LEVELS
                ),
            )
        return Calibration(LEVELS, models)
