"""The tails of the noise: how many pixels are far out, kurtosis, extreme quantiles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.histogram_bins import FINE_BINS, fine_edges, fine_index
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval, ratio_of_sums

__all__ = ["Beyond", "Tails", "TailsMetric"]

THRESHOLDS = (3.0, 4.0, 5.0, 6.0, 8.0)
"""σ of the real noise at that signal."""

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
    part : mapping of str to Interval
        Of all pixels, per source.
    missing : mapping of str to Interval
        Of the data minus of the samples, per model; interval wider for the number of
        thresholds.
    """

    threshold: float
    pixels: Mapping[str, int]
    part: Mapping[str, Interval]
    missing: Mapping[str, Interval]


@dataclass(frozen=True)
class Tails(Score):
    """Tails of the residuals.

    Parameters
    ----------
    values : int
        Of each source.
    kurtosis : mapping of str to Interval
        Fourth standardised moment of the residuals; 3 for a Gaussian.
    beyond : tuple of Beyond
        Per threshold.
    levels : tuple of float
        Of the quantiles.
    quantiles : mapping of str to tuple of float
        Of the residuals, in σ, per source.
    """

    values: int
    kurtosis: Mapping[str, Interval]
    beyond: tuple[Beyond, ...]
    levels: tuple[float, ...]
    quantiles: Mapping[str, tuple[float, ...]]


class TailsMetric(Metric):
    """Per group, power sums and numbers of far residuals; a histogram of all."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
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

    def _kurtosis(self, second: NDArray[np.float64], fourth: NDArray[np.float64]) -> Interval:
        """m₄/m₂², with the interval of the linearised ratio: m₄ − 2 (m₄/m₂)(s₂ − m₂) per group."""
        n = self.values
        m2, m4 = second.sum() / n.sum(), fourth.sum() / n.sum()
        if not m2 > 0:
            return Interval(math.nan, None, None, None, len(n))
        linear = fourth - 2 * (m4 / m2) * (second - m2 * n)
        return self._mean(linear / m2**2, LEVEL)

    def _mean(self, sums: NDArray[np.float64], level: float) -> Interval:
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
