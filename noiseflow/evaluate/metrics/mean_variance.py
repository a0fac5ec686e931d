"""Mean and variance per intensity: the photon-transfer curve, real and sampled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import Cell
from noiseflow.evaluate.metric import Metric, Score, ScoredBatch, Setup

__all__ = ["Bin", "MeanVariance", "MeanVarianceMetric", "TransferCurve"]

BINS = 24


@dataclass(frozen=True)
class Moments:
    """Central moments of one source's noise in one bin.

    Parameters
    ----------
    mean : float
        DN.
    variance, variance_error : float
        DN², and its standard error, √((kurtosis − 1)/n) of it, as if pixels were
        independent.
    kurtosis : float
        Fourth standardised moment: 3 for a Gaussian.
    """

    mean: float
    variance: float
    variance_error: float
    kurtosis: float


@dataclass(frozen=True)
class Bin:
    """One intensity bin.

    Parameters
    ----------
    low, high : float
        Edges, clean signal in DN above black.
    count : int
    clean : float
        Mean clean signal, DN above black.
    moments : mapping of str to Moments
        Per source.
    """

    low: float
    high: float
    count: int
    clean: float
    moments: Mapping[str, Moments]


@dataclass(frozen=True)
class TransferCurve:
    """The bins of one camera at one ISO; those without a value are left out."""

    camera: str | None
    iso: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class MeanVariance(Score):
    """Photon-transfer curves."""

    curves: tuple[TransferCurve, ...]


class MeanVarianceMetric(Metric):
    """Power sums in DN per cell, bin and source."""

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
        """The curve of each camera and ISO."""
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
    """Central moments from the raw ones, E x … E x⁴."""
    m1, m2, m3, m4 = (float(moment) for moment in raw)
    variance = max(m2 - m1**2, 0.0)
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    kurtosis = fourth / variance**2 if variance > 0 else math.nan
    error = variance * math.sqrt(max(kurtosis - 1, 0) / n) if variance > 0 else 0.0
    return Moments(m1, variance, error, kurtosis)
