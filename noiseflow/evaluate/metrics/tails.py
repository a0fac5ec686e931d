"""The tails of the noise: how many pixels are far out, kurtosis, extreme quantiles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from noiseflow.evaluate.metric import DATA, Finding, Metric, Record, Score, ScoredBatch, Setup, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import percent, plus_minus
from noiseflow.evaluate.statistics.histogram_bins import FINE_BINS, fine_edges, fine_index
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Estimate, ratio_of_sums

__all__ = ["Beyond", "Tails", "TailsMetric"]

THRESHOLDS = (3.0, 4.0, 5.0, 6.0, 8.0)
"""σ of the real noise at that signal."""

FEWEST = 100
"""Pixels beyond a threshold, in the data and the samples together, for it to be judged."""

MARGIN = 0.25
UNSURE = 2.0
FARTHEST = 1e-5
"""Level of the first quantile, and 1 minus that of the last."""


@dataclass(frozen=True)
class Beyond:
    """Part of the pixels farther out than a threshold, either way.

    Parameters
    ----------
    threshold : float
        In σ of the real noise at that signal.
    pixels : mapping of str to int
        How many there are, per source.
    part : mapping of str to Estimate
        Of all pixels, per source.
    missing : mapping of str to Estimate
        Of the data minus of the samples, per model; interval wider for the number of
        thresholds.
    """

    threshold: float
    pixels: Mapping[str, int]
    part: Mapping[str, Estimate]
    missing: Mapping[str, Estimate]


@dataclass(frozen=True)
class Tails(Score):
    """Tails of the residuals.

    Parameters
    ----------
    values : int
        Of each source.
    kurtosis : mapping of str to Estimate
        Fourth standardised moment of the residuals; 3 for a Gaussian.
    beyond : tuple of Beyond
        Per threshold.
    levels : tuple of float
        Of the quantiles.
    quantiles : mapping of str to tuple of float
        Of the residuals, in σ, per source.
    """

    title: ClassVar[str] = "Tails"
    method: ClassVar[str] = (
        "Residuals are the noise over the real noise’s σ at that signal. Counted are the pixels beyond "
        f"{', '.join(f'{threshold:g}' for threshold in THRESHOLDS)} σ, either way. The tails are judged at thresholds "
        f"with {FEWEST} pixels or more beyond: missing or too heavy if data and samples differ by more than "
        f"{percent(MARGIN)} of the data’s part and the {percent(VERDICT, 1)} interval of the difference (over scenes, "
        "wider for the number of thresholds) excludes 0. Where it does not, but they differ by more than a factor of "
        f"{UNSURE:g}, it is not settled."
    )

    values: int
    kurtosis: Mapping[str, Estimate]
    beyond: tuple[Beyond, ...]
    levels: tuple[float, ...]
    quantiles: Mapping[str, tuple[float, ...]]

    def judged(self, model: str) -> list[Beyond]:
        """Thresholds beyond which there are enough pixels."""
        return [each for each in self.beyond if each.pixels[DATA] + each.pixels[model] >= FEWEST]

    def findings(self, tested: str) -> Sequence[Finding]:
        """Whether tails are missing or too heavy, at the threshold where it shows most."""
        judged = self.judged(tested)
        if not judged:
            text = f"The tails are not judged: fewer than {FEWEST} pixels are beyond {THRESHOLDS[0]:g} σ."
            return [Finding("open", "tails", text)]
        if all(each.missing[tested].low is None for each in judged):
            return [
                Finding(
                    "open", "tails", f"The tails are not judged, for want of scenes: {_numbers(judged[-1], tested)}."
                )
            ]
        off = [each for each in judged if _off(each, tested)]
        unsure = [each for each in judged if abs(_log_ratio(each, tested)) > math.log(UNSURE)]
        if not off and unsure:
            worst = max(unsure, key=lambda each: abs(_log_ratio(each, tested)))
            text = f"Whether the tails are the data’s is not settled, for want of scenes: {_numbers(worst, tested)}."
            return [Finding("open", "tails", text)]
        if not off:
            text = f"The tails of the samples are the data’s as far as {judged[-1].threshold:g} σ: "
            return [Finding("good", "tails", text + f"{_numbers(judged[-1], tested)}.")]
        worst = max(off, key=lambda each: abs(_log_ratio(each, tested)))
        ratio = _log_ratio(worst, tested)
        word = "missing" if ratio < -math.log(3) else "too light" if ratio < 0 else "too heavy"
        text = (
            f"Tails are {word}: {_numbers(worst, tested)}; kurtosis {plus_minus(self.kurtosis[DATA], 2)} in the data, "
            f"{plus_minus(self.kurtosis[tested], 2)} in the samples."
        )
        return [Finding("bad", "tails", text)]

    def table(self) -> Sequence[TableRow]:
        """Kurtosis, and the part beyond 4 σ."""
        beyond = next(each for each in self.beyond if each.threshold == 4.0)
        parts = {name: f"{1e6 * part.value:,.0f}" for name, part in beyond.part.items()}
        kurtosis = {name: plus_minus(value, 2) for name, value in self.kurtosis.items()}
        return [
            TableRow("Kurtosis", "of residuals; Gaussian: 3", "as in the data", kurtosis),
            TableRow("Beyond 4 σ", "pixels in a million; Gaussian: 63", "as in the data", parts),
        ]

    def records(self) -> Sequence[Record]:
        """Kurtosis, parts beyond each threshold, quantiles."""
        where = (None, None)
        records = [Record.of(value, "kurtosis", "1", name, *where, "") for name, value in self.kurtosis.items()]
        for each in self.beyond:
            part = f"beyond {each.threshold:g} σ"
            records += [Record.of(value, "tail_part", "1", name, *where, part) for name, value in each.part.items()]
            records += [
                Record.of(value, "tail_missing", "1", name, *where, part) for name, value in each.missing.items()
            ]
        for name, values in self.quantiles.items():
            records += [
                Record("residual_quantile", "σ", name, *where, f"{level:g}", value)
                for level, value in zip(self.levels, values, strict=True)
            ]
        return records

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Quantiles against quantiles."""
        real = np.array(self.quantiles[DATA])
        # Farther out than ten pixels there is nothing to see but chance.
        sure = np.minimum(np.array(self.levels), 1 - np.array(self.levels)) * self.values >= 10
        if sure.sum() < 2:
            return []
        with canvas(height=3.8) as figure:
            ax = axes(figure, "quantile of the data, σ", "quantile of the samples, σ")
            ends = [float(real[sure].min()), float(real[sure].max())]
            ax.plot(ends, ends, color=pens[DATA].colour, linewidth=0.8)
            for name, pen in pens.items():
                if name != DATA:
                    ax.plot(
                        real[sure],
                        np.array(self.quantiles[name])[sure],
                        color=pen.colour,
                        marker=pen.marker,
                        markersize=3,
                        linestyle=pen.dash,
                        linewidth=1,
                        label=name,
                    )
            margin = 0.15 * (ends[1] - ends[0])
            ax.set_xlim(ends[0] - margin, ends[1] + margin)
            ax.set_ylim(ends[0] - 2 * margin, ends[1] + 2 * margin)
            legend(figure)
            return [
                plate(
                    figure,
                    title="Quantiles of samples against data (QQ)",
                    alt="Quantiles of the samples' residuals against those of the data",
                    caption="Quantiles of the residuals (noise over the data’s σ at that signal), from 1 in 100,000 to "
                    "99,999 in 100,000 or as far as ten pixels reach. Good: on the line; flatter at the ends: tails "
                    "are missing.",
                )
            ]


class TailsMetric(Metric):
    """Per group, power sums and numbers of far residuals; a histogram of all."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        groups = setup.survey.groups
        self.moments = {name: np.zeros((2, groups)) for name in setup.sources}
        self.beyond = {name: np.zeros((len(THRESHOLDS), groups)) for name in setup.sources}
        self.counts = {name: np.zeros(FINE_BINS, np.int64) for name in setup.sources}
        self.values = np.zeros(groups)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        np.add.at(self.values, batch.group, math.prod(batch.clean.shape[1:]))
        for name, residual in batch.residual.items():
            square = residual.square()
            for sums, power in zip(self.moments[name], (square, square.square()), strict=True):
                np.add.at(sums, batch.group, power.flatten(1).sum(1, dtype=torch.float64).numpy())
            patch, far = _far(square, THRESHOLDS[0] ** 2)
            for sums, threshold in zip(self.beyond[name], THRESHOLDS, strict=True):
                np.add.at(sums, batch.group[patch[far > threshold**2]], 1)
            self.counts[name] += torch.bincount(fine_index(residual).flatten(), minlength=FINE_BINS).numpy()

    def score(self) -> Tails:
        """Kurtosis, parts beyond each threshold, quantiles."""
        edges, levels = fine_edges(), _levels()
        strict = 1 - (1 - VERDICT) / len(THRESHOLDS)
        beyond = [
            Beyond(
                threshold=threshold,
                pixels={name: int(sums[index].sum()) for name, sums in self.beyond.items()},
                part={name: self._mean(sums[index], LEVEL) for name, sums in self.beyond.items()},
                missing={
                    name: self._mean(self.beyond[DATA][index] - self.beyond[name][index], strict)
                    for name in self.setup.models
                },
            )
            for index, threshold in enumerate(THRESHOLDS)
        ]
        return Tails(
            values=int(self.values.sum()),
            kurtosis={name: self._kurtosis(*sums) for name, sums in self.moments.items()},
            beyond=tuple(beyond),
            levels=tuple(float(level) for level in levels),
            quantiles={name: _quantiles(counts, edges, levels) for name, counts in self.counts.items()},
        )

    def _kurtosis(self, second: NDArray[np.float64], fourth: NDArray[np.float64]) -> Estimate:
        """m₄/m₂², with the interval of the linearised ratio: m₄ − 2 (m₄/m₂)(s₂ − m₂) per group."""
        n = self.values
        m2, m4 = second.sum() / n.sum(), fourth.sum() / n.sum()
        if not m2 > 0:
            return Estimate(math.nan, None, None, None, len(n))
        linear = fourth - 2 * (m4 / m2) * (second - m2 * n)
        return self._mean(linear / m2**2, LEVEL)

    def _mean(self, sums: NDArray[np.float64], level: float) -> Estimate:
        return ratio_of_sums(numerator=sums, denominator=self.values, level=level)


def _far(square: torch.Tensor, bound: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Patch and square of the residuals beyond a bound."""
    where = torch.nonzero(square > bound)
    return where[:, 0].numpy(), square[tuple(where.T)].numpy()


def _levels() -> NDArray[np.float64]:
    """From 1e-5 to 1 − 1e-5, even in the normal quantile."""
    end = float(ndtri(FARTHEST))
    levels: NDArray[np.float64] = ndtr(np.linspace(end, -end, 35))
    return levels


def _quantiles(counts: NDArray[np.int64], edges: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[float, ...]:
    parts = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    return tuple(float(value) for value in np.interp(levels, parts, edges))


def _log_ratio(each: Beyond, model: str) -> float:
    return math.log(max(each.pixels[model], 0.5) / max(each.pixels[DATA], 0.5))


def _off(each: Beyond, model: str) -> bool:
    missing = each.missing[model]
    large = abs(missing.value) > MARGIN * each.part[DATA].value
    return large and (missing.above(0) or missing.below(0))


def _numbers(each: Beyond, model: str) -> str:
    def one_in(name: str) -> str:
        part = each.part[name].value
        return f"1 pixel in {1 / part:,.0f}" if part > 0 else "no pixel"

    return f"{one_in(DATA)} is beyond {each.threshold:g} σ in the data, {one_in(model)} in the samples"
