"""Moments by intensity (the photon-transfer curve), and tails (kurtosis, extreme quantiles)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from noiseflow.evaluate.data_summary import Cell
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.divergence import FINE_BINS, fine_edges, fine_index
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval, ratio_of_sums

__all__ = ["Beyond", "Bin", "MeanVariance", "MeanVarianceMetric", "Tails", "TailsMetric", "TransferCurve"]

BINS = 24
"""Bins of intensity per camera and ISO, equally spaced in √signal."""

THRESHOLDS = (3.0, 4.0, 5.0, 6.0, 8.0)
"""Thresholds of the tails, in σ of the real noise at that signal."""

FARTHEST = 1e-5
"""Level of the lowest quantile, and 1 minus that of the highest."""


@dataclass(frozen=True)
class Moments:
    """Central moments of one source's noise in one bin.

    Parameters
    ----------
    mean : float
        Mean, DN.
    variance, variance_error : float
        Variance and its standard error, variance · √((kurtosis − 1)/n), as if pixels were
        independent, DN².
    kurtosis : float
        Fourth standardised moment; 3 for a Gaussian.
    """

    mean: float
    variance: float
    variance_error: float
    kurtosis: float


@dataclass(frozen=True)
class Bin:
    """One bin of intensity.

    Parameters
    ----------
    low, high : float
        Edges of the clean signal, DN above black.
    count : int
        Number of values in the bin.
    clean : float
        Mean clean signal, DN above black.
    moments : mapping of str to Moments
        Moments of the noise, per source.
    """

    low: float
    high: float
    count: int
    clean: float
    moments: Mapping[str, Moments]


@dataclass(frozen=True)
class TransferCurve:
    """Photon-transfer curve of one camera at one ISO.

    Parameters
    ----------
    camera : str or None
        Name of the camera.
    iso : float or None
        ISO.
    bins : tuple of Bin
        Bins from dark to bright; empty ones are left out.
    """

    camera: str | None
    iso: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class MeanVariance(Score):
    """Photon-transfer curves of data and samples.

    Parameters
    ----------
    curves : tuple of TransferCurve
        One per camera and ISO.
    """

    curves: tuple[TransferCurve, ...]


class MeanVarianceMetric(Metric):
    """Power sums of the noise in DN, per source, camera and ISO, and bin of intensity."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        cells = setup.survey.cells
        self.roots = np.array([[math.sqrt(max(x, 0)) for x in (cell.signal_low, cell.signal_high)] for cell in cells])
        self.sums = {name: np.zeros((4, len(cells) * BINS)) for name in setup.sources}
        self.clean, self.counts = np.zeros(len(cells) * BINS), np.zeros(len(cells) * BINS)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        scale = torch.from_numpy(batch.scale_dn)[:, :, None, None]
        signal = batch.signal_dn
        low, high = torch.from_numpy(self.roots[batch.cell]).T[:, :, None, None, None]
        step = ((high - low) / BINS).clamp(min=1e-12)
        index = ((signal.clamp(min=0).sqrt() - low) / step).floor().clamp(0, BINS - 1).long()
        place = (index + torch.from_numpy(batch.cell * BINS)[:, None, None, None]).flatten()
        self.counts += _sums(place, None, len(self.counts))
        self.clean += _sums(place, signal, len(self.counts))
        for name, noise in batch.noise.items():
            values = noise.double() * scale
            power = values
            for sums in self.sums[name]:
                sums += _sums(place, power, len(self.counts))
                power = power * values

    def score(self) -> MeanVariance:
        """Return the curve of each camera and ISO."""
        return MeanVariance(tuple(self._curve(index, cell) for index, cell in enumerate(self.setup.survey.cells)))

    def _curve(self, index: int, cell: Cell) -> TransferCurve:
        edges = np.linspace(self.roots[index, 0], self.roots[index, 1], BINS + 1) ** 2
        bins = []
        for bin_ in range(BINS):
            place = index * BINS + bin_
            n = self.counts[place]
            if n:
                moments = {name: _moments(sums[:, place] / n, n) for name, sums in self.sums.items()}
                low, high = float(edges[bin_]), float(edges[bin_ + 1])
                bins.append(Bin(low, high, int(n), float(self.clean[place] / n), moments))
        return TransferCurve(cell.camera, cell.iso, tuple(bins))


def _sums(place: torch.Tensor, values: torch.Tensor | None, size: int) -> NDArray[np.float64]:
    weights = None if values is None else values.flatten()
    sums: NDArray[np.float64] = torch.bincount(place, weights, minlength=size).double().numpy()
    return sums


def _moments(raw: NDArray[np.float64], n: float) -> Moments:
    """Convert the raw moments E x … E x⁴ of n values to central ones."""
    m1, m2, m3, m4 = (float(moment) for moment in raw)
    variance = max(m2 - m1**2, 0.0)
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    kurtosis = fourth / variance**2 if variance > 0 else math.nan
    error = variance * math.sqrt(max(kurtosis - 1, 0) / n) if variance > 0 else 0.0
    return Moments(m1, variance, error, kurtosis)


@dataclass(frozen=True)
class Beyond:
    """Pixels whose residual exceeds a threshold in absolute value.

    Parameters
    ----------
    threshold : float
        Threshold, in σ of the real noise at that signal.
    pixels : mapping of str to int
        Number of such pixels, per source.
    part : mapping of str to Interval
        Fraction of all pixels, per source.
    missing : mapping of str to Interval
        Fraction in the data minus that in the samples, per model; the interval is corrected for the number of
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
        Number of values of each source.
    kurtosis : mapping of str to Interval
        Fourth standardised moment of the residuals, per source; 3 for a Gaussian.
    beyond : tuple of Beyond
        Pixels beyond each threshold.
    levels : tuple of float
        Levels of the quantiles.
    quantiles : mapping of str to tuple of float
        Quantiles of the residuals, in σ, per source.
    """

    values: int
    kurtosis: Mapping[str, Interval]
    beyond: tuple[Beyond, ...]
    levels: tuple[float, ...]
    quantiles: Mapping[str, tuple[float, ...]]


class TailsMetric(Metric):
    """Power sums and counts of large residuals per group, and a histogram of all residuals."""

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
        """Return kurtosis, fractions beyond each threshold, and quantiles."""
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
        """Return m₄/m₂², with the interval of its linearisation s₄ − 2 (m₄/m₂)(s₂ − m₂ n) over groups."""
        n = self.values
        m2, m4 = second.sum() / n.sum(), fourth.sum() / n.sum()
        if not m2 > 0:
            return Interval(math.nan, None, None, None, len(n))
        linear = fourth - 2 * (m4 / m2) * (second - m2 * n)
        return self._mean(linear / m2**2, LEVEL)

    def _mean(self, sums: NDArray[np.float64], level: float) -> Interval:
        return ratio_of_sums(numerator=sums, denominator=self.values, level=level)


def _far(square: torch.Tensor, bound: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return patch index and square of the residuals whose square exceeds a bound."""
    where = torch.nonzero(square > bound)
    return where[:, 0].numpy(), square[tuple(where.T)].numpy()


def _levels() -> NDArray[np.float64]:
    """Return levels from 1e-5 to 1 − 1e-5 that are equally spaced in the normal quantile."""
    end = float(ndtri(FARTHEST))
    levels: NDArray[np.float64] = ndtr(np.linspace(end, -end, 35))
    return levels


def _quantiles(counts: NDArray[np.int64], edges: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[float, ...]:
    """Return quantiles of a histogram, with linear interpolation within a bin."""
    parts = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    return tuple(float(value) for value in np.interp(levels, parts, edges))
