"""Denoising cost: the loss of a denoiser trained on a model's samples instead of real noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["PARTS", "SIGNAL", "WINDOWS", "DenoisingCost", "DenoisingMetric", "window_of"]

PARTS = 3
"""Parts into which the scenes are divided: one for training, one for testing, and one for the floor, in turn."""

WINDOWS = 2**16
"""Approximate largest number of windows per source."""

SIGNAL = 1.0
"""Standard deviation of the synthetic scenes, in σ of the noise: as in smooth shadows, where lines are visible."""

SCENES = 64
"""Number of synthetic scenes."""

RIDGE = 1e-6
"""Constant added to the diagonal of the normal equations, in variances of the noise."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DenoisingCost(Score):
    """Loss of the best linear denoiser from training on samples.

    Parameters
    ----------
    windows : int
        Number of windows per source.
    side : int
        Height and width of a window in each plane, pixels.
    groups : int
        Number of scenes or frames with windows.
    cost : mapping of str to Interval
        Increase of the mean squared error on real noise after training on each model's samples instead of real
        noise, dB; empty if one of the three parts has no window.
    floor : Interval or None
        The same for training on the real noise of other scenes, dB: 0 up to chance.
    """

    windows: int
    side: int
    groups: int
    cost: Mapping[str, Interval]
    floor: Interval | None


class DenoisingMetric(Metric):
    """Second moments of the residuals in windows of the close patches, and of the means of rows and columns.

    A linear denoiser estimates the clean signal x at a pixel as wᵀf from features f = f_scene + f_noise.  Its mean
    squared error is

        E(x − wᵀf_scene)² + E(wᵀf_noise)²,   smallest for w = (S + N)⁻¹ E(f_scene x),

    where S and N are the second moments of f_scene and f_noise.  All denoisers use the same synthetic scenes, smooth
    shading with a power spectrum of 1/f⁴.  They differ in N only: that of the samples or of real noise in training.
    All are tested on the real noise of other scenes.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        survey = setup.survey
        self.shape = survey.patch_shape
        self.side = window_of(self.shape)
        patches = max(int(survey.close.sum()), 1)
        self.most = max(1, WINDOWS // patches)
        self.real: list[Tensor] = []
        self.group: list[NDArray[np.int64]] = []
        self.moments: dict[str, Tensor] = {}

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        chosen = np.flatnonzero(batch.close)
        if not len(chosen) or self.side < 1:
            return
        group = batch.group[chosen]
        for name, residual in batch.residual.items():
            found = _features(residual[chosen], self.side, self.most)
            if name == DATA:
                self.real.append(found)
                self.group.append(np.repeat(group, found.shape[1]))
                continue
            sums = self.moments.setdefault(name, torch.zeros(PARTS, found.shape[2], found.shape[2]))
            for part in range(PARTS):
                rows = found[torch.from_numpy(group % PARTS == part)].flatten(0, 1)
                sums[part] += rows.T @ rows

    def score(self) -> DenoisingCost:
        """Return the cost of training on each model's samples, and the floor."""
        groups = self.setup.survey.groups
        nothing = DenoisingCost(0, self.side, 0, {}, None)
        if not self.real:
            return nothing
        group = np.concatenate(self.group)
        real = torch.cat([each.flatten(0, 1) for each in self.real])
        part = torch.from_numpy(group % PARTS)
        counts = torch.bincount(part, minlength=PARTS)
        seen = len(np.unique(group))
        if int(counts.min()) == 0:
            return DenoisingCost(len(group), self.side, seen, {}, None)
        scenes, target, rest = _scenes(self.shape, self.side)
        moments = {DATA: torch.stack([real[part == each].T @ real[part == each] for each in range(PARTS)])}
        moments |= self.moments
        errors: dict[str, Array] = {name: np.zeros(groups) for name in (*moments, "floor")}
        for tested in range(PARTS):
            rows = (part == tested).nonzero()[:, 0]
            train, other = (tested + 1) % PARTS, (tested + 2) % PARTS
            noise = {name: sums[train] / counts[train] for name, sums in moments.items()}
            noise["floor"] = moments[DATA][other] / counts[other]
            for name, moment in noise.items():
                weights = _best(scenes, moment, target)
                missed = rest - 2 * (weights * target).sum(0) + (weights * (scenes @ weights)).sum(0)
                error = ((real[rows] @ weights).square() + missed).sum(1)
                errors[name] += np.bincount(group[rows.numpy()], error.double().numpy(), groups)
        own = errors[DATA]
        cost = {name: _decibel(errors[name], own) for name in self.setup.models if name in errors}
        return DenoisingCost(len(group), self.side, seen, cost, _decibel(errors["floor"], own))


def window_of(shape: tuple[int, int, int]) -> int:
    """Return the side of a window: 7 pixels, or 3 with more than four planes; less in small patches.

    Parameters
    ----------
    shape : tuple of int
        (C, h, w) of a patch.

    Returns
    -------
    int
        An odd number of pixels, or 0 if no window fits.
    """
    planes, height, width = shape
    most = min(7 if planes <= 4 else 3, height, width)
    return most - 1 + most % 2 if most else 0


def _features(patches: Tensor, side: int, most: int) -> Tensor:
    """Return windows of all planes around some pixels, with the means of their rows and columns, (B, N, features)."""
    batch, _, height, width = patches.shape
    down, across = height - side + 1, width - side + 1
    step = max(1, math.ceil((down * across / most) ** 0.5))
    windows = patches.unfold(2, side, step).unfold(3, side, step)
    rows, columns = windows.shape[2:4]
    cut = windows.permute(0, 2, 3, 1, 4, 5).reshape(batch, rows * columns, -1)
    of_row = patches.mean(3).unfold(2, side, step).permute(0, 2, 1, 3).flatten(2)
    of_column = patches.mean(2).unfold(2, side, step).permute(0, 2, 1, 3).flatten(2)
    return torch.cat([cut, of_row.repeat_interleave(columns, 1), of_column.repeat(1, rows, 1)], 2)


def _scenes(shape: tuple[int, int, int], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return second moments of synthetic scenes: of the features, with the clean signal, and of the clean signal."""
    planes, height, width = shape
    draws = torch.Generator().manual_seed(0)
    # Twice the size of a patch, so that the periodic texture does not repeat within it.
    down, across = (torch.fft.fftfreq(2 * size) for size in (height, width))
    radius = (down[:, None].square() + across.square()).sqrt()
    radius[0, 0] = 1.0
    white = torch.randn(SCENES, 2 * height, 2 * width, generator=draws)
    spectrum = torch.fft.fft2(white) / radius.square()
    # Zero mean.  A division by infinity would do, but is NaN in PyTorch 2.4.
    spectrum[:, 0, 0] = 0
    texture = torch.fft.ifft2(spectrum).real[:, None, :height, :width]
    # The texture of each colour differs from the common one by 20 %.
    tint = torch.randn(SCENES, planes, 1, 1, generator=draws)
    patches = texture * (1 + 0.2 * tint)
    patches = patches * (SIGNAL / patches.std())
    features = _features(patches, side, 2**9).flatten(0, 1).double()
    middle = side * side // 2 + side * side * torch.arange(planes)
    clean = features[:, middle]
    count = len(features)
    found = features.T @ features / count, features.T @ clean / count, clean.square().mean(0)
    return found[0].float(), found[1].float(), found[2].float()


def _best(scenes: Tensor, noise: Tensor, target: Tensor) -> Tensor:
    """Return the weights of the best linear estimate, (features, planes)."""
    normal = (scenes + noise).double()
    normal.diagonal().add_(RIDGE)
    weights: Tensor = torch.linalg.solve(normal, target.double()).float()
    return weights


def _decibel(errors: Array, own: Array) -> Interval:
    """Return 10 log₁₀ of the ratio of summed errors, with its interval over groups."""
    ratio = ratio_of_sums(numerator=errors, denominator=own, level=VERDICT)

    def decibel(value: float) -> float:
        return 10 * math.log10(value) if value > 0 else -math.inf

    if ratio.low is None or ratio.high is None or ratio.standard_error is None or not ratio.value > 0:
        return Interval(decibel(ratio.value), None, None, None, ratio.groups)
    error = 10 / math.log(10) * ratio.standard_error / ratio.value
    return Interval(decibel(ratio.value), error, decibel(ratio.low), decibel(ratio.high), ratio.groups)
