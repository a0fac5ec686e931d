"""Structure in space: autocorrelation, spectra, columns, and how the planes go together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.metrics.row_noise import row_ratio
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, Interval, ratio_of_sums

__all__ = ["LARGEST_LAG", "MATCH", "Compared", "Structure", "StructureMetric", "frequencies_of"]

LARGEST_LAG = 6
LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Rows and columns apart at which the correlation is compared."""

MOST_ORDERED = 4
"""Planes whose every order is tried; those of larger cells would be too many."""

MATCH = 0.25
"""The planes are in another order if that order leaves less than this of the misfit."""


@dataclass(frozen=True)
class Compared:
    """One number of the structure, real and sampled.

    Parameters
    ----------
    part : str
        Lag, pair of planes, or plane.
    of : mapping of str to Interval
        Per source.
    missing : mapping of str to Interval
        Of the data minus of the samples, paired by group, per model; the interval is wider
        for the number of parts.
    """

    part: str
    of: Mapping[str, Interval]
    missing: Mapping[str, Interval]


@dataclass(frozen=True)
class Structure(Score):
    """Correlations and spectra of the residuals.

    Parameters
    ----------
    values : int
        Number of values of each source that were used.
    of_values : int
        Number of values that there are.
    lags : tuple of Compared
        Autocorrelation at the compared lags (rows, columns), rows' and columns' means removed.
    columns : Compared
        Variance of column means × height ÷ pixel variance, row means removed: 1 for independent
        pixels.
    pairs : tuple of Compared
        Correlation between each two planes at the same place.
    planes : tuple of Compared
        Variance of each plane's residuals ÷ mean over planes.
    order : mapping of str to (str or None)
        Order of the samples' planes in which they fit the data's, if that is another one.
    autocorrelation : mapping of str to tuple of tuple of float
        Map of lags −6 … 6 by −6 … 6, row noise left in, per source.
    rows_spectrum, columns_spectrum, radial_spectrum : mapping of str to tuple of float
        Power against frequency, cycles/pixel of a plane, 1 for independent pixels: of row
        means, of column means, and of all frequencies at one distance from 0.
    """

    values: int
    of_values: int
    lags: tuple[Compared, ...]
    columns: Compared
    pairs: tuple[Compared, ...]
    planes: tuple[Compared, ...]
    order: Mapping[str, str | None]
    autocorrelation: Mapping[str, tuple[tuple[float, ...], ...]]
    rows_spectrum: Mapping[str, tuple[float, ...]]
    columns_spectrum: Mapping[str, tuple[float, ...]]
    radial_spectrum: Mapping[str, tuple[float, ...]]


class StructureMetric(Metric):
    """Sums of products and of spectra of the close patches, per group."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        survey = setup.survey
        groups, (planes, self.height, self.width) = survey.groups, survey.patch_shape
        self.reach = min(LARGEST_LAG, self.height - 1, self.width - 1)
        self.lags = [(dy, dx) for dy, dx in LAGS if dy < self.height - 1 and abs(dx) < self.width - 1]
        sources = setup.sources
        # By lag: sums of products per pair of pixels, first the variance itself.
        self.products = {name: np.zeros((1 + len(self.lags), groups)) for name in sources}
        self.planes = {name: np.zeros((groups, planes, planes)) for name in sources}
        self.columns = {name: np.zeros(groups) for name in sources}
        self.map = {name: np.zeros((2 * self.reach + 1, 2 * self.reach + 1)) for name in sources}
        self.power = {name: np.zeros((self.height, self.width // 2 + 1)) for name in sources}
        self.patches, self.of_columns = np.zeros(groups), np.zeros(groups)

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        if not batch.close.any():
            return
        chosen = torch.from_numpy(np.flatnonzero(batch.close))
        group = batch.group[batch.close]
        np.add.at(self.patches, group, 1)
        columns = {}
        for name, residual in batch.residual.items():
            centred = residual[chosen]
            centred = centred - centred.mean((2, 3), keepdim=True)
            # Row noise would be a part of the pixels' variance, and make the columns look still.
            columns[name] = row_ratio((centred - centred.mean(3, keepdim=True)).transpose(2, 3)).numpy().mean(1)
            np.add.at(self.planes[name], group, torch.einsum("bchw,bdhw->bcd", centred, centred).double().numpy())
            products = self._products(centred)
            for sums, product in zip(self.products[name], products, strict=True):
                np.add.at(sums, group, product)
            self.power[name] += power_of(centred)
            self.map[name] += self._autocovariance(centred)
        valid = np.logical_and.reduce([np.isfinite(ratio) for ratio in columns.values()])
        np.add.at(self.of_columns, group, valid.astype(np.float64))
        for name, ratio in columns.items():
            np.add.at(self.columns[name], group, np.where(valid, ratio, 0.0))

    def _products(self, centred: Tensor) -> list[NDArray[np.float64]]:
        """Mean products at lag 0 and the compared lags, per patch."""
        inner = centred - centred.mean(3, keepdim=True) - centred.mean(2, keepdim=True)
        products = [inner.square().mean((1, 2, 3)).double().numpy()]
        for dy, dx in self.lags:
            left, right = max(-dx, 0), max(dx, 0)
            one = inner[:, :, : self.height - dy, left : self.width - right]
            other = inner[:, :, dy:, right : self.width - left]
            product = (one * other).mean((1, 2, 3)).double().numpy()
            products.append(product - self._of_white(dy, dx) * products[0])
        return products

    def _of_white(self, dy: int, dx: int) -> float:
        """Correlation that white noise shows once the means of rows and columns are removed."""
        in_row, in_column = -1 / (self.width - 1), -1 / (self.height - 1)
        return (in_row if dx else 1.0) * (in_column if dy else 1.0)

    def _autocovariance(self, centred: Tensor) -> NDArray[np.float64]:
        """Sum over patches of the mean product at each lag of the map."""
        reach = self.reach
        size = (self.height + reach, self.width + reach)
        power = torch.fft.rfft2(centred, s=size).abs().square_().sum((0, 1))
        covariance = torch.fft.irfft2(power.double(), s=size)
        lags = torch.arange(-reach, reach + 1)
        pairs = (self.height - lags.abs())[:, None] * (self.width - lags.abs())[None, :]
        covariance = covariance[lags % size[0]][:, lags % size[1]] / pairs
        result: NDArray[np.float64] = covariance.numpy()
        return result

    def score(self) -> Structure:
        """Correlations and spectra, real and sampled."""
        names, planes = self.setup.survey.plane_names, self.setup.survey.patch_shape[0]
        lags = [self._lag(index + 1, dy, dx) for index, (dy, dx) in enumerate(self.lags)]
        shares = {name: np.einsum("gcc->gc", sums) for name, sums in self.planes.items()}
        # Of each plane, and of each two.
        comparisons = planes * (planes + 1) // 2
        values = int(self.patches.sum()) * math.prod(self.setup.survey.patch_shape)
        power = {name: normalised(total, self.width) for name, total in self.power.items()}
        return Structure(
            values=values,
            of_values=len(self.setup.survey.rows) * math.prod(self.setup.survey.patch_shape),
            lags=tuple(lags),
            columns=self._compare("columns", self.columns, self.of_columns, 1),
            pairs=tuple(
                self._compare(
                    f"{names[a]}–{names[b]}",
                    {
                        name: sums[:, a, b] * _over_deviations(sums, a, b, self.patches)
                        for name, sums in self.planes.items()
                    },
                    self.patches,
                    comparisons,
                )
                for a, b in combinations(range(planes), 2)
            ),
            planes=tuple(
                self._compare(
                    names[plane],
                    {name: share[:, plane] * _over_mean(share, self.patches) for name, share in shares.items()},
                    self.patches,
                    comparisons,
                )
                for plane in range(planes)
                if planes > 1
            ),
            order={name: self._order(shares, name) for name in self.setup.models},
            autocorrelation={name: _as_rows(_over_centre(total)) for name, total in self.map.items()},
            rows_spectrum={name: _floats(total[1 : self.height // 2 + 1, 0]) for name, total in power.items()},
            columns_spectrum={name: _floats(total[0, 1:]) for name, total in power.items()},
            radial_spectrum={name: _floats(radial(total, self.width)) for name, total in power.items()},
        )

    def _lag(self, index: int, dy: int, dx: int) -> Compared:
        words = [f"{count} {what}{'s' * (count > 1)}" for count, what in ((dy, "row"), (abs(dx), "column")) if count]
        part = " and ".join(words) + (" (back)" if dx < 0 else "")
        numerators = {}
        for name, sums in self.products.items():
            variance = sums[0].sum() / max(self.patches.sum(), 1)
            numerators[name] = sums[index] / variance if variance > 0 else np.full_like(sums[index], math.nan)
        return self._compare(part, numerators, self.patches, len(self.lags))

    def _compare(
        self, part: str, numerators: Mapping[str, NDArray[np.float64]], denominator: NDArray[np.float64], parts: int
    ) -> Compared:
        strict = 1 - (1 - VERDICT) / max(parts, 1)
        return Compared(
            part=part,
            of={
                name: ratio_of_sums(numerator=sums, denominator=denominator, level=LEVEL)
                for name, sums in numerators.items()
            },
            missing={
                name: ratio_of_sums(
                    numerator=numerators[DATA] - numerators[name], denominator=denominator, level=strict
                )
                for name in self.setup.models
            },
        )

    def _order(self, shares: Mapping[str, NDArray[np.float64]], model: str) -> str | None:
        """The order of the samples' planes that fits the data's far better than their own."""
        names, present = self.setup.survey.plane_names, self.patches > 0
        real, sampled = shares[DATA][present], shares[model][present]
        if not 2 <= len(names) <= MOST_ORDERED or not (real > 0).all() or not (sampled > 0).all():
            return None
        log_real, log_sampled = np.log(real), np.log(sampled)
        orders = list(permutations(range(len(names))))
        misfit = np.array([np.square(log_real - log_sampled[:, order]).sum(1) for order in orders])
        best = int(misfit.sum(1).argmin())
        gain = misfit[0] - misfit[best]
        strict = 1 - (1 - VERDICT) / max(len(orders) - 1, 1)
        better = ratio_of_sums(numerator=gain, denominator=np.ones(len(gain)), level=strict)
        if best == 0 or not better.above(0) or misfit[best].sum() > MATCH * misfit[0].sum():
            return None
        return ", ".join(names[plane] for plane in orders[best])


def _over_deviations(sums: NDArray[np.float64], a: int, b: int, patches: NDArray[np.float64]) -> float:
    """1 over the product of two planes' deviations, of sums per patch."""
    total = sums.sum(0)
    product = float(total[a, a] * total[b, b])
    return float(patches.sum()) / math.sqrt(product) if product > 0 else math.nan


def _over_mean(share: NDArray[np.float64], patches: NDArray[np.float64]) -> float:
    mean = float(share.sum() / (share.shape[1] * max(patches.sum(), 1)))
    return 1 / mean if mean > 0 else math.nan


def _over_centre(total: NDArray[np.float64]) -> NDArray[np.float64]:
    centre = float(total[total.shape[0] // 2, total.shape[1] // 2])
    return total / centre if centre > 0 else np.zeros_like(total)


def _as_rows(image: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(_floats(row) for row in image)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def power_of(centred: Tensor) -> NDArray[np.float64]:
    """|FFT|² summed over patches and planes: (B, C, H, W) to (H, W // 2 + 1)."""
    total: NDArray[np.float64] = torch.fft.rfft2(centred).abs().square_().sum((0, 1)).double().numpy()
    return total


def normalised(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Power such that the mean over all frequencies but 0 is 1."""
    whole = np.full(power.shape[1], 2.0)
    whole[0] = 1
    if width % 2 == 0:
        whole[-1] = 1
    weights = np.broadcast_to(whole, power.shape).copy()
    weights[0, 0] = 0
    mean = float((power * weights).sum() / weights.sum())
    return power / mean if mean > 0 else np.zeros_like(power)


def radial(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean power by distance from frequency 0, the axes left out: they are the rows and columns."""
    height = power.shape[0]
    vertical, horizontal = np.abs(np.fft.fftfreq(height))[1:, None], np.fft.rfftfreq(width)[None, 1:]
    distance, inner = np.hypot(vertical, horizontal), power[1:, 1:]
    steps = max(min(height, width) // 2, 1)
    index = np.minimum((distance / 0.5 * steps).round().astype(np.int64), steps).ravel()
    counts = np.bincount(index, minlength=steps + 1)[1:]
    sums = np.bincount(index, inner.ravel(), minlength=steps + 1)[1:]
    mean: NDArray[np.float64] = sums / np.maximum(counts, 1)
    return mean


def frequencies_of(count: int) -> NDArray[np.float64]:
    """Frequencies of `count` bins up to ½, cycles/pixel of a plane."""
    return np.linspace(0.5 / count, 0.5, count)
