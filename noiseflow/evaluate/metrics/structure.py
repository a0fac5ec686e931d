"""Spatial structure of the noise: autocorrelation, spectra, column noise, and correlation of the planes."""

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
"""Largest lag of the autocorrelation map, pixels of a plane."""

LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Lags (rows, columns) at which the correlation is compared."""

MOST_ORDERED = 4
"""Largest number of planes for which all orders are tried."""

MATCH = 0.25
"""Largest fraction of the misfit that another order of the planes may leave to count as the right one."""


@dataclass(frozen=True)
class Compared:
    """One quantity, in the data and in the samples.

    Parameters
    ----------
    part : str
        Lag, pair of planes, or plane.
    of : mapping of str to Interval
        Its value for each source.
    missing : mapping of str to Interval
        Value of the data minus that of the samples, paired by group, per model; the interval is corrected
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
        Number of values used per source.
    of_values : int
        Number of all values per source.
    lags : tuple of Compared
        Autocorrelation at `LAGS`, after removing the means of rows and columns.
    columns : Compared
        Variance of column means × height ÷ pixel variance, after removing row means; 1 for independent
        pixels.
    pairs : tuple of Compared
        Correlation of every two planes at the same place.
    planes : tuple of Compared
        Variance of each plane's residuals ÷ mean over planes.
    order : mapping of str to (str or None)
        Order in which the samples' planes match the data, if it is not the declared one, per model.
    autocorrelation : mapping of str to tuple of tuple of float
        Autocorrelation at lags of −6 to 6 rows and −6 to 6 columns, row noise included, per source.
    rows_spectrum, columns_spectrum, radial_spectrum : mapping of str to tuple of float
        Power of row means, of column means, and averaged over rings of equal frequency without the axes, up to
        ½ cycle/pixel of a plane, per source; 1 for independent pixels.
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
        self.lags = lags_within(self.height, self.width)
        sources = setup.sources
        # Mean products of pixels per lag; the first is lag 0, the variance.
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
            # Remove row noise, which would raise the pixels' variance and hide column noise.
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
        """Return the mean products at lag 0 and at each compared lag, per patch, corrected for removed means."""
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
        """Return the correlation that white noise has after removing the means of rows and columns."""
        in_row, in_column = -1 / (self.width - 1), -1 / (self.height - 1)
        return (in_row if dx else 1.0) * (in_column if dy else 1.0)

    def _autocovariance(self, centred: Tensor) -> NDArray[np.float64]:
        """Return the mean product at each lag of the map, summed over patches and planes."""
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
        """Return correlations and spectra of the data and of each model's samples."""
        names, planes = self.setup.survey.plane_names, self.setup.survey.patch_shape[0]
        lags = [self._lag(index + 1, dy, dx) for index, (dy, dx) in enumerate(self.lags)]
        shares = {name: np.einsum("gcc->gc", sums) for name, sums in self.planes.items()}
        # One per plane, and one per pair of planes.
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
        """Compare the autocorrelation at one lag."""
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
        """Compare a ratio of sums between data and samples, as one of several parts."""
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
        """Return the order of the samples' planes that matches the data far better than theirs, or None."""
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


def lags_within(height: int, width: int) -> list[tuple[int, int]]:
    """Return the `LAGS` with two rows and two columns of pairs or more in a patch of this height and width."""
    return [(dy, dx) for dy, dx in LAGS if dy < height - 1 and abs(dx) < width - 1]


def _over_deviations(sums: NDArray[np.float64], a: int, b: int, patches: NDArray[np.float64]) -> float:
    """Return 1 over the product of two planes' standard deviations."""
    total = sums.sum(0)
    product = float(total[a, a] * total[b, b])
    return float(patches.sum()) / math.sqrt(product) if product > 0 else math.nan


def _over_mean(share: NDArray[np.float64], patches: NDArray[np.float64]) -> float:
    """Return 1 over the mean variance of the planes."""
    mean = float(share.sum() / (share.shape[1] * max(patches.sum(), 1)))
    return 1 / mean if mean > 0 else math.nan


def _over_centre(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a map divided by its value at lag 0."""
    centre = float(total[total.shape[0] // 2, total.shape[1] // 2])
    return total / centre if centre > 0 else np.zeros_like(total)


def _as_rows(image: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(_floats(row) for row in image)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def power_of(centred: Tensor) -> NDArray[np.float64]:
    """Return |FFT|² summed over patches and planes, (H, W // 2 + 1), of noise (B, C, H, W)."""
    total: NDArray[np.float64] = torch.fft.rfft2(centred).abs().square_().sum((0, 1)).double().numpy()
    return total


def normalised(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Scale a half-plane power spectrum to a mean of 1 over all frequencies but 0; `width` is that of the patch."""
    whole = np.full(power.shape[1], 2.0)
    whole[0] = 1
    if width % 2 == 0:
        whole[-1] = 1
    weights = np.broadcast_to(whole, power.shape).copy()
    weights[0, 0] = 0
    mean = float((power * weights).sum() / weights.sum())
    return power / mean if mean > 0 else np.zeros_like(power)


def radial(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean power in rings about frequency 0, without the axes, which belong to rows and columns."""
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
    """Return the frequencies of `count` bins up to ½, in cycles/pixel of a plane."""
    return np.linspace(0.5 / count, 0.5, count)
