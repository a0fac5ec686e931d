"""Structure in space: autocorrelation, spectra, columns, and how the planes go together."""

import math
from collections.abc import Mapping
from itertools import combinations, permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, ScoredBatch, Setup
from noiseflow.evaluate.metrics.row_noise import row_ratio
from noiseflow.evaluate.metrics.structure import LARGEST_LAG, MATCH, Compared, Structure
from noiseflow.evaluate.statistics.intervals import LEVEL, VERDICT, ratio_of_sums
from noiseflow.evaluate.statistics.spectra import normalised, power_of, radial

__all__ = ["StructureMetric"]

JUDGED_LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))


class StructureMetric(Metric):
    """Sums of products and of spectra of the close patches, per group."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        survey = setup.survey
        groups, (planes, self.height, self.width) = survey.groups, survey.patch_shape
        self.reach = min(LARGEST_LAG, self.height - 1, self.width - 1)
        self.judged = [(dy, dx) for dy, dx in JUDGED_LAGS if dy < self.height - 1 and abs(dx) < self.width - 1]
        sources = setup.sources
        # By lag: sums of products per pair of pixels, first the variance itself.
        self.products = {name: np.zeros((1 + len(self.judged), groups)) for name in sources}
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
        """Mean products at lag 0 and the judged lags, per patch."""
        inner = centred - centred.mean(3, keepdim=True) - centred.mean(2, keepdim=True)
        products = [inner.square().mean((1, 2, 3)).double().numpy()]
        for dy, dx in self.judged:
            left, right = max(-dx, 0), max(dx, 0)
            one = inner[:, :, : self.height - dy, left : self.width - right]
            other = inner[:, :, dy:, right : self.width - left]
            product = (one * other).mean((1, 2, 3)).double().numpy()
            products.append(product - self._of_white(dy, dx) * products[0])
        return products

    def _of_white(self, dy: int, dx: int) -> float:
        """What removing the means of rows and columns makes of no correlation."""
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
        lags = [self._lag(index + 1, dy, dx) for index, (dy, dx) in enumerate(self.judged)]
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
        return self._compare(part, numerators, self.patches, len(self.judged))

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
        if len(names) < 2 or not (real > 0).all() or not (sampled > 0).all():
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
