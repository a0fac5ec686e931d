"""Checks of the latent (is it standard normal?), of successive frames (correlation), and of codes (quantisation)."""

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
"""Bins of the histogram of the probability integral transform."""

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Levels of the quantiles that are compared, all at edges of the `BINS` bins."""

NEAR = 0.02
"""Largest distance from a code that counts as on it, in steps; the error of float32 at 14 bits is 0.001."""

ON = 0.99
"""Fraction of real values that must be on whole codes."""


@dataclass(frozen=True)
class Coverage:
    """Probability integral transform of the real noise by one model.

    Parameters
    ----------
    values : int
        Number of values.
    histogram : tuple of float
        Density of the probability integral transform Φ(z) of the latent z, in bins of 1/40; 1 everywhere if
        the model's density is right.
    below : tuple of Interval
        Fraction of the real noise below each quantile of the model's density; the intervals are corrected for
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
        Result of each model with a latent.
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
        """Return the histogram and the quantiles of each model."""
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
    """Correlation of successive frames in excess of that from a shared clean estimate.

    Parameters
    ----------
    pairs : int
        Number of pairs of patches at one place in two successive frames.
    excess : Interval or None
        Correlation of the real noise minus that expected for independent frames; None without pairs.
    expected : float
        Mean correlation expected for independent frames: −v, where v is the variance of the clean estimate as a
        fraction of the noise variance.  Frames used in each other's clean estimates are correlated by it.
    """

    pairs: int
    excess: Interval | None
    expected: float


class TemporalMetric(Metric):
    """Sums of products over pairs of patches; the first patch of a pair is kept until the second is read."""

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
        """Return the correlation over all pairs."""
        if not self.expected:
            return Temporal(0, None, math.nan)
        excess = ratio_of_sums(numerator=self.products, denominator=self.squares, level=VERDICT)
        return Temporal(len(self.expected), excess, float(np.mean(self.expected)))


@dataclass(frozen=True)
class QuantisationCell:
    """Quantisation of one camera at one ISO.

    Parameters
    ----------
    camera : str or None
        Name of the camera.
    iso : float or None
        ISO.
    step : int
        Step between codes, DN: greatest common divisor of the differences of all real noisy values; 0 if
        these are not whole codes.
    sigma_dn : float
        Smallest σ of the real noise at any signal, DN.
    on_codes : mapping of str to float
        Fraction of values within 0.02 steps of a code, per source; 0.04 by chance.
    """

    camera: str | None
    iso: float | None
    step: int
    sigma_dn: float
    on_codes: Mapping[str, float]


@dataclass(frozen=True)
class Quantisation(Score):
    """Quantisation of data and samples.

    Parameters
    ----------
    cells : tuple of QuantisationCell
        One per camera and ISO.
    """

    cells: tuple[QuantisationCell, ...]


class QuantisationMetric(Metric):
    """Step between codes, and number of values on codes, per camera and ISO."""

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
        """Return noisy values in DN: clean + noise + black."""
        scale, black, code = (
            values[chosen][:, :, None, None] for values in (batch.scale_dn, batch.black_dn, batch.code)
        )
        noisy: NDArray[np.float64] = (
            batch.clean[chosen].double().numpy() * scale + black + batch.noise[name][chosen].double().numpy() / code
        )
        return noisy

    def score(self) -> Quantisation:
        """Return the quantisation of each camera and ISO."""
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
