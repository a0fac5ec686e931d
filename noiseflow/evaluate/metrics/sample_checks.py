"""Whether a latent is standard normal, frames correlate in time, and samples stand on the camera's codes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = [
    "Coverage",
    "PitCalibration",
    "PitCalibrationMetric",
    "Quantisation",
    "QuantisationCell",
    "QuantisationMetric",
    "Temporal",
    "TemporalMetric",
]

BINS = 40
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Quantiles that are compared: bin edges of a histogram of `BINS`."""

NEAR = 0.02
"""Part of a step that counts as on a code: float32 at 14 bit errs by 0.001."""

ON = 0.99


@dataclass(frozen=True)
class Coverage:
    """The real noise in a model's own latent.

    Parameters
    ----------
    values : int
        Number of values.
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
        Levels of the quantiles.
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
        The latter, on average: −v, v the variance of the clean estimate as a fraction of the
        noise's, since frames that serve in each other's clean estimates are not independent.
    """

    pairs: int
    excess: Interval | None
    expected: float


class TemporalMetric(Metric):
    """Keeps the first patch of a pair until the second arrives."""

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


@dataclass(frozen=True)
class QuantisationCell:
    """One camera at one ISO.

    Parameters
    ----------
    camera, iso
        Name of the camera, and ISO.
    step : int
        Largest step, in codes, on whose multiples all of the real noisy values stand; 0 if
        they are no whole codes.
    sigma_dn : float
        Smallest σ of the real noise in it, over the signals, DN.
    on_codes : mapping of str to float
        Fraction of the values within 0.02 of a step of such a multiple, per source; 0.04 is chance.
    """

    camera: str | None
    iso: float | None
    step: int
    sigma_dn: float
    on_codes: Mapping[str, float]


@dataclass(frozen=True)
class Quantisation(Score):
    """Codes of data and samples."""

    cells: tuple[QuantisationCell, ...]


class QuantisationMetric(Metric):
    """Per camera and ISO: greatest common divisor of the codes, and values on them."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        cells = len(setup.survey.cells)
        self.start = np.zeros(cells, np.int64)
        self.step = np.full(cells, -1)
        self.fractional = np.zeros(cells)
        self.on = {name: np.zeros(cells) for name in setup.sources}
        self.values = np.zeros(cells)
        self.sigma = np.full(cells, math.inf)

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        for cell in np.unique(batch.cell[batch.close]):
            chosen = np.flatnonzero(batch.close & (batch.cell == cell))
            values = {name: self._noisy_dn(batch, name, chosen) for name in batch.noise}
            codes = np.rint(values[DATA])
            self.fractional[cell] += float((np.abs(values[DATA] - codes) > NEAR).sum())
            self.values[cell] += codes.size
            if self.step[cell] < 0:
                self.start[cell], self.step[cell] = int(codes.flat[0]), 0
            distinct = np.unique(codes.astype(np.int64)) - self.start[cell]
            self.step[cell] = np.gcd(self.step[cell], np.gcd.reduce(distinct))
            signal = batch.signal_dn[chosen] / torch.from_numpy(batch.scale_dn[chosen])[:, :, None, None]
            sigma = self.setup.survey.curve.at(signal.float(), batch.cell[chosen]).numpy()
            smallest = sigma * batch.scale_dn[chosen][:, :, None, None]
            self.sigma[cell] = min(self.sigma[cell], float(smallest.min()))
            step = max(int(self.step[cell]), 1)
            for name, value in values.items():
                offset = (value - self.start[cell]) / step
                self.on[name][cell] += float((np.abs(offset - np.rint(offset)) <= NEAR).sum())

    def _noisy_dn(self, batch: ScoredBatch, name: str, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noisy values in DN: clean + noise + black."""
        scale, black, code = (
            values[chosen][:, :, None, None] for values in (batch.scale_dn, batch.black_dn, batch.code)
        )
        noisy: NDArray[np.float64] = (
            batch.clean[chosen].double().numpy() * scale + black + batch.noise[name][chosen].double().numpy() / code
        )
        return noisy

    def score(self) -> Quantisation:
        """Codes of each camera at each ISO."""
        cells = []
        for index, cell in enumerate(self.setup.survey.cells):
            n = self.values[index]
            if not n:
                continue
            whole = self.fractional[index] <= (1 - ON) * n
            cells.append(
                QuantisationCell(
                    camera=cell.camera,
                    iso=cell.iso,
                    step=max(int(self.step[index]), 1) if whole else 0,
                    sigma_dn=float(self.sigma[index]),
                    on_codes={name: float(on[index] / n) for name, on in self.on.items()},
                )
            )
        return Quantisation(tuple(cells))
