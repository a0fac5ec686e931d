"""The distribution of the noise at each intensity: divergences, and the data's place among the samples' quantiles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.histogram_bins import fine_index, widening_edges, widening_index
from noiseflow.evaluate.statistics.split_half_divergence import (
    BLOCKS,
    PARTS,
    Divergence,
    divergences,
    parts_and_blocks,
)

__all__ = ["Conditional", "ConditionalMetric", "SignalBin"]

SIGNAL_BINS = 8
WIDTH = 0.1
"""Width of a bin of the residual at 0, in σ; farther out r it is `WIDTH` · √(1 + r²)."""

LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class SignalBin:
    """One intensity bin, all cameras and ISOs together.

    Parameters
    ----------
    low, high : float
        Edges as parts of each camera's and ISO's range of √signal.
    signal_dn : float
        Mean clean signal, DN above black.
    values : int
    kl, js, wasserstein : Divergence
        Of the residuals: nats, nats, σ.
    below : mapping of str to tuple of float
        Per model, part of the real residuals below each quantile (`Conditional.levels`) of
        the sampled ones: the levels themselves if the conditional quantiles are right.
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
    """Divergence on intensity bins, then averaged over the pixels.

    Parameters
    ----------
    levels : tuple of float
        Of the quantiles.
    bins : tuple of SignalBin
        From dark to bright.
    kl, js, wasserstein : mapping of str to float
        Averages over the bins by their number of values, per model; the floor's under
        ``"data"``.
    """

    levels: tuple[float, ...]
    bins: tuple[SignalBin, ...]
    kl: Mapping[str, float]
    js: Mapping[str, float]
    wasserstein: Mapping[str, float]


class ConditionalMetric(Metric):
    """Counts of residuals per intensity bin, block of scenes, part of the rows and source."""

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
        """Divergences and quantiles of each bin, and their averages."""
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
    """Part of the real values below the sampled quantiles; within a bin linear."""
    parts = [np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]) for counts in (real, sampled)]
    quantiles = np.interp(LEVELS, parts[1], edges)
    return tuple(float(part) for part in np.interp(quantiles, edges, parts[0]))
