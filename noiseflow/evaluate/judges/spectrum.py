"""A judge of spectra: power of whole patches in fine bands and along the axes, and cross-spectra of planes."""

from itertools import combinations

import torch
from torch import Tensor

from noiseflow.evaluate.judges.judge import Judge
from noiseflow.evaluate.metrics.two_sample import held_out_hits

__all__ = ["SPECTRUM"]

BANDS = 6
"""Bands per axis of the two-dimensional spectrum."""

AXIS_BANDS = 12
"""Bands of the spectrum along each axis."""

RADII = 3
"""Rings of the cross-spectra of two planes."""

SMALL = 1e-6
"""Smallest power whose logarithm is taken."""


def seen(residual: Tensor, brightness: Tensor) -> Tensor:
    """Return log power in bands and along both axes, and cross-spectra, each also times the root of the signal."""
    height, width = residual.shape[2:]
    variance = residual.var((1, 2, 3), correction=0)
    transform = torch.fft.rfft2(residual - residual.mean((2, 3), keepdim=True), norm="ortho")
    power = transform.abs().square().mean(1) / variance[:, None, None]
    down, across = torch.fft.fftfreq(height).abs(), torch.fft.rfftfreq(width)
    place = (2 * BANDS * down).long().clamp(max=BANDS - 1)[:, None] * BANDS + (2 * BANDS * across).long().clamp(
        max=BANDS - 1
    )
    columns = [_in_bands(power, place, BANDS**2)]
    for axis in (power[:, 1 : height // 2 + 1, 0], power[:, 0, 1:]):
        columns.append(torch.stack([band.mean(1) for band in axis.tensor_split(min(AXIS_BANDS, axis.shape[1]), 1)], 1))
    found = [values.clamp(min=SMALL).log() for values in columns]
    radius = (2 * RADII * (down[:, None] ** 2 + across**2).sqrt()).long().clamp(max=RADII - 1)
    for one, other in combinations(range(residual.shape[1]), 2):
        cross = (transform[:, one] * transform[:, other].conj()).real / variance[:, None, None]
        found.append(_in_bands(cross, radius, RADII))
    light = brightness.clamp(min=0).sqrt()[:, None]
    every = torch.cat([*found, variance.log()[:, None]], 1)
    return torch.cat([every, every * light], 1)


def _in_bands(values: Tensor, place: Tensor, count: int) -> Tensor:
    """Return the mean of the values in each band, (B, bands), without empty bands."""
    flat = place.flatten()
    counts = torch.bincount(flat, minlength=count)
    sums = values.new_zeros(len(values), count).index_add_(1, flat, values.flatten(1))
    means: Tensor = (sums / counts.clamp(min=1))[:, counts > 0]
    return means


SPECTRUM = Judge(
    "spectra",
    f"Power of a whole patch in {BANDS} × {BANDS} bands and in {AXIS_BANDS} bands along each axis, and the "
    f"cross-spectra of every two planes in {RADII} rings; the discriminant of the two-sample test.",
    seen,
    held_out_hits,
)
