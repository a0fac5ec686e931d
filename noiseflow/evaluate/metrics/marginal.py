"""The marginal distribution of the noise: divergence with its floor, and moments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.data_summary import Cell
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, ratio_of_sums
from noiseflow.evaluate.statistics.split_half_divergence import (
    BLOCKS,
    PARTS,
    PSEUDO_COUNT,
    Divergence,
    divergences,
    parts_and_blocks,
)

__all__ = ["BINS_PER_SIGMA", "MOST_BINS", "Histogram", "Marginal", "MarginalCell", "MarginalMetric"]

BINS_PER_SIGMA = 10
MOST_BINS = 2000


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width; the outermost two are open.

    Parameters
    ----------
    low_dn, width_dn : float
        Lower edge of the first bin and width of each, noise in DN.
    counts : mapping of str to tuple of int
        Per source.
    """

    low_dn: float
    width_dn: float
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class MarginalCell:
    """Marginal distribution over one camera at one ISO, or over all.

    Parameters
    ----------
    camera, iso
        None for all of the data.
    values : int
        Values in each half of the data: the sample size of every divergence here.
    floor, floor_high : float or None
        KL of one half of the data to the other, nats: mean over the ways to halve it, and
        that plus `FLOOR_SPREADS` standard deviations.  None if the data cannot be halved.
    kl : mapping of str to (float or None)
        KL of one half of the data to the samples for the other half, per model.
    kl_interval : mapping of str to Interval
        The same with its interval.
    js, wasserstein : Divergence
        Jensen–Shannon, nats, and Wasserstein-1, in the real noise's σ.
    mean_dn, variance_dn2, skewness : mapping of str to Interval
        Per source.
    variance_ratio : mapping of str to Interval
        Sampled over real variance, per model.
    histogram : Histogram
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
    """Marginal divergence and moments.

    Parameters
    ----------
    cells : tuple of MarginalCell
        All of the data, then each camera at each ISO if there are several.
    pseudo_count : float
        Added to every bin.
    """

    cells: tuple[MarginalCell, ...]
    pseudo_count: float


class MarginalMetric(Metric):
    """Counts per bin, part of the rows, block of scenes, scope and source; power sums per group."""

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
        """Divergences, floors and moments of each scope."""
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
    """Lower edge, width and number of bins."""
    spread = cell.noise_high - cell.noise_low
    if not spread > 0:
        return cell.noise_low - 0.5, 1.0, 1
    width = max(cell.noise_deviation / BINS_PER_SIGMA, spread / MOST_BINS)
    return cell.noise_low, width, math.ceil(spread / width)
