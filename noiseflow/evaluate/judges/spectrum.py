"""A judge of spectra: the power of whole patches in fine bands, its axes, and how planes go together by frequency."""

from itertools import combinations

import torch
from torch import Tensor

from noiseflow.evaluate.judges.judge import Judge
from noiseflow.evaluate.metrics.two_sample import held_out_hits

__all__ = ["SPECTRUM"]

BANDS = 6
AXIS_BANDS = 12
RADII = 3
SMALL = 1e-6


def seen(residual: Tensor, brightness: Tensor) -> Tensor:
    """Log of the power in bands, on both axes, and cross-spectra of the planes, also times the light."""
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
    """Mean of values in bands, (B, bands); empty bands are left out."""
    flat = place.flatten()
    counts = torch.bincount(flat, minlength=count)
    sums = values.new_zeros(len(values), count).index_add_(1, flat, values.flatten(1))
    means: Tensor = (sums / counts.clamp(min=1))[:, counts > 0]
    return means


SPECTRUM = Judge(
    "spectra",
    f"Power of a whole patch in {BANDS} × {BANDS} bands and in {AXIS_BANDS} bands on each axis, and the cross-spectra "
    f"of each two planes in {RADII} rings; a discriminant as of the two-sample test.",
    seen,
    held_out_hits,
)
