"""Calibration of the density: whether the latent that it makes of real noise is standard normal."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["Coverage", "PitCalibration", "PitCalibrationMetric"]

BINS = 40
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Quantiles that are compared: bin' edges of a histogram of `BINS`."""


@dataclass(frozen=True)
class Coverage:
    """The real noise in a model's own latent.

    Parameters
    ----------
    values : int
    histogram : tuple of float
        Of the probability integral transform Φ(z), density in bins of 1/40: 1 everywhere if
        the density is right.
    below : tuple of Interval
        Part of the real noise below each of the density's own quantiles; intervals wider for
        their number.
    """

    values: int
    histogram: tuple[float, ...]
    below: tuple[Interval, ...]


@dataclass(frozen=True)
class PitCalibration(Score):
    """Probability integral transform of the latents.

    Parameters
    ----------
    levels : tuple of float
        Of the quantiles.
    models : mapping of str to Coverage
        Models that have a latent.
    """

    levels: tuple[float, ...]
    models: Mapping[str, Coverage]


class PitCalibrationMetric(Metric):
    """Counts of Φ(z) per bin and group."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.counts: dict[str, NDArray[np.float64]] = {}

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        groups = self.setup.survey.groups
        for name, z in batch.latent.items():
            counts = self.counts.setdefault(name, np.zeros((groups, BINS)))
            place = (torch.special.ndtr(z) * BINS).nan_to_num(0.0).clamp_(0, BINS - 1).long().flatten(1)
            place += torch.from_numpy(batch.latent_group * BINS)[:, None]
            counts += torch.bincount(place.flatten(), minlength=groups * BINS).reshape(groups, BINS).numpy()

    def score(self) -> PitCalibration:
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
        return PitCalibration(LEVELS, models)
