"""Two-sample test: whether a small classifier can distinguish real from sampled patches."""

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
"""Height and width of the pieces that are classified, pixels; larger patches are cut into pieces."""

FILTERS = 16
"""Number of random filters."""

BANDS = 5
"""Bands of the power spectrum along each axis."""

FEWEST = 200
"""Fewest pieces for the test."""

Array = NDArray[np.float64]

FOLDS = 4
"""Folds of the cross-validation."""

INNER = 2
"""Folds within the training groups, which decide whether to use hinge functions."""

UNITS = 512
"""Number of hinge functions."""

RIDGES = {False: 1e-3, True: 0.1}
"""Constant added to the diagonal of the pooled correlation matrix, without and with hinge functions."""


@dataclass(frozen=True)
class TwoSample(Score):
    """Held-out accuracy of a classifier.

    Parameters
    ----------
    pieces : int
        Number of real pieces, and of sampled ones per model.
    shape : tuple of int
        (C, h, w) of a piece.
    features : int
        Number of features of a piece.
    accuracy : mapping of str to Interval
        Fraction of pieces classified correctly, per model; ½ is chance.  Empty if there are fewer than `FEWEST`.
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
        """Return the held-out accuracy against each model."""
        group = np.concatenate(self.group)
        rows = {name: np.concatenate(parts) for name, parts in self.rows.items()}
        # A piece without noise has no features; drop it in all sources to keep pairs.
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
    """Cut patches into pieces without overlap, (B·k, C, h, w), and drop the remaining borders."""
    _, height, width = shape
    cut = patches.unfold(2, height, height).unfold(3, width, width)
    return cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, *shape)


def features(residual: Tensor, brightness: Tensor, filters: Tensor) -> Tensor:
    """Compute the features of the classifier: moments, correlations, filter responses and spectra.

    Parameters
    ----------
    residual : Tensor, shape (B, C, h, w)
        Noise divided by its σ.
    brightness : Tensor, shape (B,)
        Mean clean signal, normalised.
    filters : Tensor, shape (F, C, 3, 3)
        Random filters.

    Returns
    -------
    Tensor, shape (B, features)
        Features, each also times the root of the signal; not finite for a piece without noise.
    """
    planes = residual.shape[1]
    square = residual.square()
    # Clip at ±8 σ, so that a single hot pixel does not dominate a moment.
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
    # The products with the signal reveal faults that depend on it.
    return torch.cat([found, found * light], 1)


def _spectrum(residual: Tensor) -> Tensor:
    """Return the log of the power in bands of frequency, averaged over planes and relative to the total, (B, bands)."""
    height, width = residual.shape[2:]
    power = torch.fft.fft2(residual, norm="ortho").abs().square().mean(1)
    # Positive and negative frequencies share a band.
    bands = [torch.fft.fftfreq(size).abs().mul(2 * BANDS).long().clamp(max=BANDS - 1) for size in (height, width)]
    index = (bands[0][:, None] * BANDS + bands[1]).flatten()
    counts = torch.bincount(index, minlength=BANDS**2)
    sums = power.new_zeros(len(power), BANDS**2).index_add_(1, index, power.flatten(1))
    means = (sums / counts.clamp(min=1))[:, counts > 0]
    relative: Tensor = means / power.mean((1, 2))[:, None]
    return relative.clamp(min=1e-6).log()


def held_out_hits(real: Array, sampled: Array, group: NDArray[np.int64], *, hinges: bool | None = None) -> Array:
    """Classify pairs by a Fisher discriminant that is trained on other groups.

    Parameters
    ----------
    real, sampled : ndarray, shape (n, features)
        Features of n pairs of pieces at the same places.
    group : ndarray of int, shape (n,)
        Scene or frame of each pair.  Groups are held out as a whole, if there are at least 2 · `FOLDS`; otherwise
        blocks of pairs in stored order are held out.
    hinges : bool, optional
        Whether to add hinge functions of the features.  By default, cross-validation within the training groups
        decides, without using the test groups.

    Returns
    -------
    ndarray, shape (n,)
        Number of correct classifications of each pair, 0 to 2; a value on the boundary counts ½.
    """
    hits = np.zeros(len(group))
    for train, test in _folds(group, FOLDS):
        with_hinges = hinges
        if with_hinges is None:
            linear, bent = (_inner(real[train], sampled[train], group[train], each) for each in (False, True))
            with_hinges = bent > linear
        hits[test] = _hits(real, sampled, train, test, with_hinges)
    return hits


def _inner(real: Array, sampled: Array, group: NDArray[np.int64], hinges: bool) -> float:
    """Return the number of correct classifications in a cross-validation with `INNER` folds."""
    return sum(float(_hits(real, sampled, *fold, hinges).sum()) for fold in _folds(group, INNER))


def _folds(group: NDArray[np.int64], folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield masks of the training rows and the test rows of each fold."""
    distinct = np.unique(group)
    if len(distinct) >= 2 * folds:
        fold = np.searchsorted(distinct, group) % folds
    else:
        # With few groups, use blocks in stored order, because neighbouring rows share their scene.
        fold = np.arange(len(group)) * folds // len(group)
    for number in range(folds):
        test = fold == number
        if test.any() and not test.all():
            yield ~test, test


def _hits(real: Array, sampled: Array, train: NDArray[np.bool_], test: NDArray[np.bool_], hinges: bool) -> Array:
    """Train on some pairs, and return the number of correct classifications of each test pair."""
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
    """Return hinge functions max(0, a·xᵢ + b·xⱼ − t), shape (n, UNITS): half of one feature, half of random pairs."""
    rng = np.random.default_rng(0)
    width = rows.shape[1]
    first, second = rng.integers(width, size=(2, UNITS))
    angle = rng.uniform(0, 2 * np.pi, UNITS)
    one = np.arange(UNITS) < UNITS // 2
    # Single features in turn, each with both signs.
    first[one], angle[one] = np.arange(UNITS // 2) // 2 % width, np.arange(UNITS // 2) % 2 * np.pi
    threshold = rng.uniform(-1, 2, UNITS)
    bent: Array = np.maximum(rows[:, first] * np.cos(angle) + rows[:, second] * np.sin(angle) - threshold, 0)
    return bent


def _discriminant(real: Array, sampled: Array, ridge: float) -> tuple[Array, float]:
    """Return Fisher's direction, positive towards real, and the boundary halfway between the means."""
    means = real.mean(0), sampled.mean(0)
    within = (np.cov(real.T) + np.cov(sampled.T)) / 2
    deviation = np.sqrt(np.maximum(np.diag(within), 1e-300))
    correlation = within / np.outer(deviation, deviation) + ridge * np.eye(len(deviation))
    direction: Array = np.linalg.solve(correlation, (means[0] - means[1]) / deviation) / deviation
    return direction, float((means[0] + means[1]) @ direction / 2)
