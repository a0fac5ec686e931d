"""A judge of whole rows and columns: their means and variances, and correlations from line to line."""

import torch
from torch import Tensor

from noiseflow.evaluate.judges.judge import Judge
from noiseflow.evaluate.metrics.two_sample import held_out_hits

__all__ = ["ROWS"]

LAGS = (1, 2, 4)
"""Distances of correlated lines, pixels."""

BANDS = 8
"""Frequency bands of the spectrum of line means."""

SMALL = 1e-6
"""Smallest value whose logarithm is taken."""


def seen(residual: Tensor, brightness: Tensor) -> Tensor:
    """Return features of rows and columns, per plane and over all planes, each also times the root of the signal."""
    variance = residual.var((2, 3), correction=0).mean(1)[:, None, None, None]
    scaled = residual / variance.sqrt()
    found = torch.cat([_of_lines(scaled), _of_lines(scaled.transpose(2, 3)), variance[:, 0, 0].log()], 1)
    light = brightness.clamp(min=0).sqrt()[:, None]
    return torch.cat([found, found * light], 1)


def _of_lines(residual: Tensor) -> Tensor:
    """Return features of the rows, (B, features), from noise of variance 1, (B, C, h, w)."""
    length = residual.shape[3]
    means = residual.mean(3) * length**0.5
    means = means - means.mean(2, keepdim=True)
    together = means.mean(1, keepdim=True)
    columns = [_logarithm(means.square().mean(2)), _logarithm(together.square().mean(2))]
    for lag in LAGS:
        if lag < means.shape[2]:
            columns.append((means[:, :, lag:] * means[:, :, :-lag]).mean(2))
    columns.append(_logarithm(means.pow(4).mean((1, 2))[:, None]))
    spectrum = torch.fft.rfft(together, dim=2, norm="ortho").abs().square()[:, 0, 1:]
    columns.append(_logarithm(torch.stack([band.mean(1) for band in spectrum.tensor_split(BANDS, 1)], 1)))
    # A line with another gain or a glitch has another variance.
    spread = residual.var(3, correction=0)
    columns += [_logarithm(spread.var(2, correction=0)), _logarithm(spread.mean(1).var(1, correction=0)[:, None])]
    ends = torch.stack([residual[..., :2].mean((1, 2, 3)), residual[..., -2:].mean((1, 2, 3))], 1)
    return torch.cat([*columns, ends], 1)


def _logarithm(values: Tensor) -> Tensor:
    return values.clamp(min=SMALL).log()


ROWS = Judge(
    "whole rows and columns",
    "Means and variances of whole rows and of whole columns of a patch, the correlation of the means at 1, 2 and 4 "
    f"lines, and their spectrum in {BANDS} bands, per plane and over all planes; the discriminant of the two-sample "
    "test.",
    seen,
    held_out_hits,
)
