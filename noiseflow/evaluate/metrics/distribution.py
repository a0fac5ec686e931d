"""Distribution of the noise, over all pixels and by intensity: divergences with their floor, moments and quantiles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.data_summary import Cell
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.divergence import (
    BLOCKS,
    PARTS,
    PSEUDO_COUNT,
    Divergence,
    divergences,
    fine_index,
    parts_and_blocks,
    widening_edges,
    widening_index,
)
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, ratio_of_sums

__all__ = [
    "BINS_PER_SIGMA",
    "MOST_BINS",
    "Conditional",
    "ConditionalMetric",
    "Histogram",
    "Marginal",
    "MarginalCell",
    "MarginalMetric",
    "SignalBin",
]

BINS_PER_SIGMA = 10
"""Bins of the marginal histogram per σ of the noise."""

MOST_BINS = 2000
"""Largest number of bins of the marginal histogram."""

SIGNAL_BINS = 8
"""Bins of intensity, equally spaced in √signal between the ends of each camera and ISO."""

WIDTH = 0.1
"""Width of a bin of residuals at 0, σ; at a distance r from 0 it is `WIDTH` · √(1 + r²)."""

LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""Levels of the quantiles that are compared."""


@dataclass(frozen=True)
class Histogram:
    """Histogram of the noise with bins of equal width; the first and last bin also count everything beyond.

    Parameters
    ----------
    low_dn, width_dn : float
        Lower edge of the first bin, and width of each, DN.
    counts : mapping of str to tuple of int
        Counts of each source.
    """

    low_dn: float
    width_dn: float
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MarginalCell:
    """Marginal distribution of the noise of one camera at one ISO, or of all data.

    Parameters
    ----------
    camera : str or None
        Name of the camera; None for all data.
    iso : float or None
        ISO; None for all data.
    values : int
        Number of values in each half of the data, the sample size of every divergence.
    floor, floor_high : float or None
        KL between two halves of the data, nats: mean over the ways to halve it, and
        that plus `FLOOR_SPREADS` standard deviations.  None if the data cannot be halved.
    kl : mapping of str to (float or None)
        KL from one half of the data to the samples for the other half, nats, per model.
    kl_interval : mapping of str to Interval
        The same with intervals.
    js, wasserstein : Divergence
        Jensen–Shannon divergence, nats, and Wasserstein-1 distance, in σ of the real noise.
    mean_dn, variance_dn2, skewness : mapping of str to Interval
        Mean (DN), variance (DN²) and skewness of the noise, per source.
    variance_ratio : mapping of str to Interval
        Sampled divided by real variance, per model.
    histogram : Histogram
        Histogram of the noise, of the data and of each model's samples.
    """

    camera: str | None
    iso: float | None
    values: int
    floor: float | None
    floor_high: float | None
    kl: Mapping[str, float | None]
    kl_interval: Mapping[str, Interval]
    js: Divergence
    wasserstein: Divergence
    mean_dn: Mapping[str, Interval]
    variance_dn2: Mapping[str, Interval]
    skewness: Mapping[str, Interval]
    variance_ratio: Mapping[str, Interval]
    histogram: Histogram


@dataclass(frozen=True)
class Marginal(Score):
    """Marginal divergences and moments.

    Parameters
    ----------
    cells : tuple of MarginalCell
        All data, then each camera at each ISO if there are several.
    pseudo_count : float
        Count added to every bin.
    """

    cells: tuple[MarginalCell, ...]
    pseudo_count: float


class MarginalMetric(Metric):
    """Histograms per scope, source, block of scenes and part of the rows; power sums per group."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.scopes = setup.survey.scopes()
        self.bins = [_bins(cell) for cell, _ in self.scopes]
        self.counts = [
            {name: np.zeros((BLOCKS, PARTS, bins), np.int64) for name in setup.sources} for _, _, bins in self.bins
        ]
        self.sums = {name: np.zeros((3, setup.survey.groups)) for name in setup.sources}
        self.values = np.zeros(setup.survey.groups)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        _, planes, height, width = batch.clean.shape
        np.add.at(self.values, batch.group, planes * height * width)
        place = parts_and_blocks(batch)
        for name, noise in batch.noise.items():
            power = noise.double()
            values = power
            for sums in self.sums[name]:
                np.add.at(sums, batch.group, values.sum((1, 2, 3)).numpy())
                values = values * power
        for name, blurred in batch.blurred.items():
            self._count(name, blurred, place, batch.cell)

    def _count(self, name: str, noise: Tensor, place: Tensor, cell: NDArray[np.int64]) -> None:
        for scope, (low, width, bins) in enumerate(self.bins):
            if scope == 0:
                chosen, where = noise, place
            else:
                inside = torch.from_numpy(cell == scope - 1)
                if not inside.any():
                    continue
                chosen, where = noise[inside], place[inside]
            index = ((chosen - low) / width).clamp_(0, bins - 1).to(torch.int32) + where * bins
            counted = torch.bincount(index.flatten(), minlength=BLOCKS * PARTS * bins)
            self.counts[scope][name] += counted.reshape(BLOCKS, PARTS, bins).numpy()

    def score(self) -> Marginal:
        """Return divergences, floors and moments of each scope."""
        cells = []
        for (cell, groups), bins, counts in zip(self.scopes, self.bins, self.counts, strict=True):
            width = np.array(bins[1] / max(cell.noise_deviation, 1e-300))
            kl, js, wasserstein = divergences(counts, self.setup.models, width)
            mean, variance, skewness, ratio = self._moments(cell, groups)
            cells.append(
                MarginalCell(
                    camera=cell.camera,
                    iso=cell.iso,
                    values=int(counts[DATA].sum()) // 2,
                    floor=kl.floor,
                    floor_high=kl.floor_high,
                    kl={name: kl.models[name].value if name in kl.models else None for name in self.setup.models},
                    kl_interval=kl.models,
                    js=js,
                    wasserstein=wasserstein,
                    mean_dn=mean,
                    variance_dn2=variance,
                    skewness=skewness,
                    variance_ratio=ratio,
                    histogram=Histogram(
                        low_dn=bins[0] * cell.scale_dn,
                        width_dn=bins[1] * cell.scale_dn,
                        counts={name: tuple(count.sum((0, 1)).tolist()) for name, count in counts.items()},
                    ),
                )
            )
        return Marginal(tuple(cells), PSEUDO_COUNT)

    def _moments(self, cell: Cell, groups: NDArray[np.bool_]) -> tuple[dict[str, Interval], ...]:
        mean, variance, skewness, ratio = {}, {}, {}, {}
        n, second = self.values[groups], {}
        for name, sums in self.sums.items():
            s1, s2, s3 = sums[:, groups]
            m = s1.sum() / n.sum()
            second[name] = s2 - 2 * m * s1 + m**2 * n
            third = s3 - 3 * m * s2 + 3 * m**2 * s1 - m**3 * n
            of = {
                name: ratio_of_sums(numerator=x, denominator=n, level=LEVEL)
                for name, x in (("1", s1), ("2", second[name]), ("3", third))
            }
            mean[name] = of["1"].scaled(cell.scale_dn)
            variance[name] = of["2"].scaled(cell.scale_dn**2)
            deviation = math.sqrt(of["2"].value) if of["2"].value > 0 else math.nan
            skewness[name] = of["3"].scaled(deviation**-3)
        for name in self.setup.models:
            ratio[name] = ratio_of_sums(numerator=second[name], denominator=second[DATA], level=LEVEL)
        return mean, variance, skewness, ratio


def _bins(cell: Cell) -> tuple[float, float, int]:
    """Return lower edge, width and number of bins."""
    spread = cell.noise_high - cell.noise_low
    if not spread > 0:
        return cell.noise_low - 0.5, 1.0, 1
    width = max(cell.noise_deviation / BINS_PER_SIGMA, spread / MOST_BINS)
    return cell.noise_low, width, math.ceil(spread / width)


@dataclass(frozen=True)
class SignalBin:
    """One bin of intensity, over all cameras and ISOs.

    Parameters
    ----------
    low, high : float
        Edges, as fractions of the range of √signal of each camera and ISO.
    signal_dn : float
        Mean clean signal, DN above black.
    values : int
        Number of values in the bin.
    kl, js, wasserstein : Divergence
        Divergences of the residuals, in nats, nats and σ.
    below : mapping of str to tuple of float
        Per model, fraction of the real residuals below each quantile (`Conditional.levels`) of
        the sampled ones; equal to the levels if the conditional quantiles are right.
    """

    low: float
    high: float
    signal_dn: float
    values: int
    kl: Divergence
    js: Divergence
    wasserstein: Divergence
    below: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Conditional(Score):
    """Divergences in bins of intensity, and their averages.

    Parameters
    ----------
    levels : tuple of float
        Levels of the quantiles.
    bins : tuple of SignalBin
        Bins from dark to bright; empty ones are left out.
    kl, js, wasserstein : mapping of str to float
        Averages over the bins, weighted by their number of values, per model; that of the floor under
        ``"data"``.
    """

    levels: tuple[float, ...]
    bins: tuple[SignalBin, ...]
    kl: Mapping[str, float]
    js: Mapping[str, float]
    wasserstein: Mapping[str, float]


class ConditionalMetric(Metric):
    """Histograms of residuals per source, bin of intensity, block of scenes and part of the rows."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        cells = setup.survey.cells
        self.roots = np.array([[math.sqrt(max(x, 0)) for x in (cell.signal_low, cell.signal_high)] for cell in cells])
        self.edges = widening_edges(WIDTH)
        self.bin_of = widening_index(self.edges)
        self.bins = len(self.edges) - 1
        shape = (SIGNAL_BINS, BLOCKS, PARTS, self.bins)
        self.counts = {name: np.zeros(shape, np.int64) for name in setup.sources}
        self.signal, self.values = np.zeros(SIGNAL_BINS), np.zeros(SIGNAL_BINS)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        low, high = torch.from_numpy(self.roots[batch.cell].astype(np.float32)).T[:, :, None, None, None]
        step = ((high - low) / SIGNAL_BINS).clamp(min=1e-9)
        signal = batch.signal_dn.float()
        bin_ = ((signal.clamp(min=0).sqrt() - low) / step).clamp_(0, SIGNAL_BINS - 1).to(torch.int32)
        self.values += torch.bincount(bin_.flatten(), minlength=SIGNAL_BINS).double().numpy()
        self.signal += torch.bincount(bin_.flatten(), signal.flatten(), minlength=SIGNAL_BINS).double().numpy()
        place = (bin_ * (BLOCKS * PARTS) + parts_and_blocks(batch)).mul_(self.bins)
        for name, residual in batch.residual.items():
            index = self.bin_of[fine_index(residual)]
            counts = self.counts[name]
            counts += torch.bincount(index.add_(place).flatten(), minlength=counts.size).reshape(counts.shape).numpy()

    def score(self) -> Conditional:
        """Return divergences and quantiles of each bin, and their averages."""
        widths, bins, models = np.diff(self.edges), [], self.setup.models
        for number in np.flatnonzero(self.values):
            counts = {name: count[number] for name, count in self.counts.items()}
            kl, js, wasserstein = divergences(counts, models, widths)
            total = {name: count.sum((0, 1)) for name, count in counts.items()}
            bins.append(
                SignalBin(
                    low=float(number / SIGNAL_BINS),
                    high=float((number + 1) / SIGNAL_BINS),
                    signal_dn=float(self.signal[number] / self.values[number]),
                    values=int(self.values[number]),
                    kl=kl,
                    js=js,
                    wasserstein=wasserstein,
                    below={name: _below(total[DATA], total[name], self.edges) for name in models},
                )
            )
        known = [bin_ for bin_ in bins if bin_.kl.floor is not None]
        weights = np.array([bin_.values for bin_ in known], np.float64)

        def averages(kind: str) -> dict[str, float]:
            if not known:
                return {}
            each: list[Divergence] = [getattr(bin_, kind) for bin_ in known]
            floor = float(np.average([of.floor or 0.0 for of in each], weights=weights))
            return {
                DATA: floor,
                **{name: float(np.average([of.models[name].value for of in each], weights=weights)) for name in models},
            }

        return Conditional(LEVELS, tuple(bins), averages("kl"), averages("js"), averages("wasserstein"))


def _below(real: NDArray[np.int64], sampled: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the fraction of real values below each sampled quantile, with linear interpolation within a bin."""
    parts = [np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]) for counts in (real, sampled)]
    quantiles = np.interp(LEVELS, parts[1], edges)
    return tuple(float(part) for part in np.interp(quantiles, edges, parts[0]))
