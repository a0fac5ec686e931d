"""Two-sample test: whether a small classifier can tell real patches from sampled ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.metrics.row_noise import row_ratio
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["FOLDS", "UNITS", "TwoSample", "TwoSampleMetric", "features", "held_out_hits"]

SIZE = 16
"""Pixels a side of what is classified: larger patches are cut."""

FILTERS = 16
BANDS = 5
"""Bands of the power spectrum along each axis."""

FEWEST = 200

Array = NDArray[np.float64]

FOLDS = 4
INNER = 2
"""Folds of the training groups, by which it is decided whether hinge functions pay."""

UNITS = 512
"""Hinge functions."""

RIDGES = {False: 1e-3, True: 0.1}
"""Added to the diagonal of the pooled correlation matrix, without and with hinge functions."""


@dataclass(frozen=True)
class TwoSample(Score):
    """Held-out accuracy of a classifier.

    Parameters
    ----------
    pieces : int
        Real pieces, and as many sampled ones per model.
    shape : tuple of int
        (C, h, w) of a piece.
    features : int
        Number of features of a piece.
    accuracy : mapping of str to Interval
        Part classified correctly, per model; ½ is chance.  Empty if there are too few.
    """

    pieces: int
    shape: tuple[int, int, int]
    features: int
    accuracy: Mapping[str, Interval]


class TwoSampleMetric(Metric):
    """Features of pieces of the close patches."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        planes, height, width = setup.survey.patch_shape
        self.shape = (planes, min(SIZE, height), min(SIZE, width))
        self.filters = torch.randn((FILTERS, planes, 3, 3), generator=torch.Generator().manual_seed(0))
        self.filters /= self.filters.square().sum((1, 2, 3), keepdim=True).sqrt()
        self.rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in setup.sources}
        self.group: list[NDArray[np.int64]] = []

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        chosen = np.flatnonzero(batch.close)
        if not len(chosen):
            return
        brightness = _pieces(batch.clean[chosen], self.shape).mean((1, 2, 3))
        for name, residual in batch.residual.items():
            found = features(_pieces(residual[chosen], self.shape), brightness, self.filters)
            self.rows[name].append(found.double().numpy())
        self.group.append(np.repeat(batch.group[chosen], len(brightness) // len(chosen)))

    def score(self) -> TwoSample:
        """Held-out accuracy against each model."""
        group = np.concatenate(self.group)
        rows = {name: np.concatenate(parts) for name, parts in self.rows.items()}
        # A piece without any noise has no features; pairs stay pairs.
        valid = np.logical_and.reduce([np.isfinite(part).all(1) for part in rows.values()])
        group, rows = group[valid], {name: part[valid] for name, part in rows.items()}
        accuracy, width = {}, next(iter(rows.values())).shape[1]
        if len(group) >= FEWEST:
            for name in self.setup.models:
                hits = held_out_hits(rows[DATA], rows[name], group)
                groups = self.setup.survey.groups
                accuracy[name] = ratio_of_sums(
                    numerator=np.bincount(group, hits, groups).astype(np.float64),
                    denominator=2 * np.bincount(group, minlength=groups).astype(np.float64),
                    level=VERDICT,
                )
        return TwoSample(len(group), self.shape, width, accuracy)


def _pieces(patches: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Patches cut into pieces without overlap, (B·k, C, h, w); what is left over is dropped."""
    _, height, width = shape
    cut = patches.unfold(2, height, height).unfold(3, width, width)
    return cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, *shape)


def features(residual: Tensor, brightness: Tensor, filters: Tensor) -> Tensor:
    """What the classifier looks at.

    Parameters
    ----------
    residual : Tensor, shape (B, C, h, w)
        Noise over its σ.
    brightness : Tensor, shape (B,)
        Mean clean signal, normalised.
    filters : Tensor, shape (F, C, 3, 3)
        Random filters.

    Returns
    -------
    Tensor, shape (B, features)
        NaN for a piece without noise.
    """
    planes = residual.shape[1]
    square = residual.square()
    # Far values are drawn in: one hot pixel must not be all that a moment says.
    near = residual.clamp(-8, 8)
    variance = square.mean((2, 3))
    whole = variance.mean(1)
    columns = [
        variance.log(),
        residual.mean((2, 3)),
        near.pow(3).mean((2, 3)),
        near.abs().mean((2, 3)).log(),
        near.pow(4).mean((2, 3)).log(),
        *((near.abs() > bound).float().mean((1, 2, 3))[:, None] for bound in (2.5, 4.0)),
    ]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        one = residual[:, :, : residual.shape[2] - dy, : residual.shape[3] - dx]
        other = residual[:, :, dy:, dx:]
        columns.append(((one * other).mean((1, 2, 3)) / whole)[:, None])
    columns += [row_ratio(each).float().mean(1, keepdim=True).log() for each in (residual, residual.transpose(2, 3))]
    for a in range(planes):
        for b in range(a + 1, planes):
            columns.append(((residual[:, a] * residual[:, b]).mean((1, 2)) / whole)[:, None])
    columns.append(torch.nn.functional.conv2d(near, filters).abs().mean((2, 3)))
    columns.append(_spectrum(residual))
    found = torch.cat(columns, 1)
    light = brightness.clamp(min=0).sqrt()[:, None]
    # With the signal alone among them, a fault that is the same in sign at no signal is seen too.
    return torch.cat([found, found * light], 1)


def _spectrum(residual: Tensor) -> Tensor:
    """Log of the power in bands of frequency, mean over planes, relative to all of it, shape (B, bands)."""
    height, width = residual.shape[2:]
    power = torch.fft.fft2(residual, norm="ortho").abs().square().mean(1)
    # Frequencies of both signs alike; the mean itself has a feature of its own.
    bands = [torch.fft.fftfreq(size).abs().mul(2 * BANDS).long().clamp(max=BANDS - 1) for size in (height, width)]
    index = (bands[0][:, None] * BANDS + bands[1]).flatten()
    counts = torch.bincount(index, minlength=BANDS**2)
    sums = power.new_zeros(len(power), BANDS**2).index_add_(1, index, power.flatten(1))
    means = (sums / counts.clamp(min=1))[:, counts > 0]
    relative: Tensor = means / power.mean((1, 2))[:, None]
    return relative.clamp(min=1e-6).log()


def held_out_hits(real: Array, sampled: Array, group: NDArray[np.int64], *, hinges: bool | None = None) -> Array:
    """Of each pair, how many of the two a discriminant trained on other groups classifies correctly.

    Parameters
    ----------
    real, sampled : ndarray, shape (n, features)
        Pairs, of the same place.
    group : ndarray of int, shape (n,)
        Scene or frame of each row; a group is held out as a whole.
    hinges : bool, optional
        Whether it sees hinge functions of the features too.  None: as within the training
        groups it does better, so that what it is tried on has no say in it.

    Returns
    -------
    ndarray, shape (n,)
        0, 1 or 2; a value on the boundary counts ½.
    """
    hits = np.zeros(len(group))
    for train, test in _folds(group, FOLDS):
        pay = hinges
        if pay is None:
            linear, bent = (_inner(real[train], sampled[train], group[train], each) for each in (False, True))
            pay = bent > linear
        hits[test] = _hits(real, sampled, train, test, pay)
    return hits


def _inner(real: Array, sampled: Array, group: NDArray[np.int64], hinges: bool) -> float:
    return sum(float(_hits(real, sampled, *fold, hinges).sum()) for fold in _folds(group, INNER))


def _folds(group: NDArray[np.int64], folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which rows to train on, and which to try, one fold after the other."""
    distinct = np.unique(group)
    if len(distinct) >= 2 * folds:
        fold = np.searchsorted(distinct, group) % folds
    else:
        # Blocks in stored order, since neighbours share their scene.
        fold = np.arange(len(group)) * folds // len(group)
    for number in range(folds):
        test = fold == number
        if test.any() and not test.all():
            yield ~test, test


def _hits(real: Array, sampled: Array, train: NDArray[np.bool_], test: NDArray[np.bool_], hinges: bool) -> Array:
    sides = real[train], sampled[train]
    middle = (sides[0].mean(0) + sides[1].mean(0)) / 2
    scale = np.maximum(np.sqrt((sides[0].var(0) + sides[1].var(0)) / 2), 1e-150)

    def seen(rows: Array) -> Array:
        rows = (rows - middle) / scale
        return np.concatenate([rows, _bent(rows)], 1) if hinges else rows

    direction, boundary = _discriminant(seen(sides[0]), seen(sides[1]), RIDGES[hinges])
    found = np.heaviside(seen(real[test]) @ direction - boundary, 0.5)
    return found + np.heaviside(boundary - seen(sampled[test]) @ direction, 0.5)


def _bent(rows: Array) -> Array:
    """max(0, a·xᵢ + b·xⱼ − t) for random pairs of features, of all half are of one feature; shape (n, UNITS)."""
    rng = np.random.default_rng(0)
    width = rows.shape[1]
    first, second = rng.integers(width, size=(2, UNITS))
    angle = rng.uniform(0, 2 * np.pi, UNITS)
    one = np.arange(UNITS) < UNITS // 2
    # One feature each, in turn, from both sides.
    first[one], angle[one] = np.arange(UNITS // 2) // 2 % width, np.arange(UNITS // 2) % 2 * np.pi
    threshold = rng.uniform(-1, 2, UNITS)
    bent: Array = np.maximum(rows[:, first] * np.cos(angle) + rows[:, second] * np.sin(angle) - threshold, 0)
    return bent


def _discriminant(real: Array, sampled: Array, ridge: float) -> tuple[Array, float]:
    """Fisher's direction, positive towards real, and the point half-way between the means."""
    means = real.mean(0), sampled.mean(0)
    within = (np.cov(real.T) + np.cov(sampled.T)) / 2
    deviation = np.sqrt(np.maximum(np.diag(within), 1e-300))
    correlation = within / np.outer(deviation, deviation) + ridge * np.eye(len(deviation))
    direction: Array = np.linalg.solve(correlation, (means[0] - means[1]) / deviation) / deviation
    return direction, float((means[0] + means[1]) @ direction / 2)
