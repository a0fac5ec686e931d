"""The signal that conditions a fit where the stored clean signal is a mean of few noisy frames."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from noiseflow.patches.store.patches import PatchBatch

__all__ = ["FEW", "signal_of", "signal_of_few_frames"]

FEW = 1 / 64
"""The clean signal is used as it is if its error has at most this fraction of the noise variance."""

NEAR, WIDE = 2, 4
"""Radii of the windows, in pixels of a plane; the wide one is used where the light is even in it."""

CORNERS = ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Centres of the windows that contain a pixel, in radii from it."""

FEWEST = 6
"""Smallest number of pixels in a window."""

TEXTURE = 2.0
"""Spread of the frames' mean in a window, relative to its noise variance, up to which the light counts as even: with
25 pixels, an even window exceeds it once in 20."""

EVEN = 1.3
"""The same for a wider window."""

AT_A_TIME = 16
"""Number of patches that are worked on at once."""

CAUTION = 4.0
"""A window of n pixels counts as less even than it looks, by 1 + CAUTION/√n."""


def signal_of(batch: PatchBatch) -> Tensor:
    """Signal that models of a batch of patches are conditioned on, (B, C, H, W): see `signal_of_few_frames`."""
    clean_variance = torch.from_numpy(batch.table["clean_variance"].astype(np.float32))
    return signal_of_few_frames(batch.noise, batch.clean, clean_variance, batch.observed)


def signal_of_few_frames(
    noise: Tensor, clean: Tensor, clean_variance: Tensor, observed: Tensor | None = None
) -> Tensor:
    """Estimate the signal of each pixel from all frames and from the pixels around it.

    A clean signal that is the mean of few frames has an error, which is also in the noise that is measured from it.  A
    model conditioned on it takes pixels whose error is negative for dark: the gain comes out too small and the read
    noise too large.  The mean of *all* frames, m = clean + noise·v/√(1 + v), has an error that is not correlated with
    the noise.  It is averaged over the most even window that contains the pixel, so that edges stay; where no window
    is even, the share w = 1 − `TEXTURE`·τ²/s² of m's deviation is added, with s² the variance of m in the window and
    τ² that of its error, mean(noise²)·v/(1 + v).

    Parameters
    ----------
    noise : Tensor, shape (B, C, H, W)
        Normalised noise, (frame − clean)/√(1 + v).
    clean : Tensor, shape (B, C, H, W)
        Normalised clean signal.
    clean_variance : Tensor, shape (B,)
        v, the variance of the clean signal's error as a fraction of the noise variance.
    observed : Tensor of bool, shape (B, C, H, W), optional
        Pixels that count; where it is False, the clean signal is returned as it is.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        The signal; elements with v ≤ `FEW` are those of `clean`.

    References
    ----------
    Kuwahara et al.: Processing of RI-angiocardiographic images, 1976 (the most even window); Lee: Digital image
    enhancement and noise filtering by use of local statistics, IEEE TPAMI 1980 (the share).
    """
    few = torch.nonzero(clean_variance > FEW).flatten()
    if not len(few):
        return clean
    result = clean.clone()
    # A few patches at a time stay in the processor's cache.
    for some in torch.split(few, AT_A_TIME):
        seen = torch.ones_like(clean[some], dtype=torch.bool) if observed is None else observed[some]
        v = clean_variance[some, None, None, None].to(clean.dtype)
        result[some] = _signal(noise[some].to(clean.dtype), clean[some], v, seen)
    return result


def _signal(noise: Tensor, clean: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Signal of patches that all have few frames; v has the shape (B, 1, 1, 1)."""
    error = (noise * seen).square() * (v / (1 + v))
    mean = clean + noise * v / (1 + v).sqrt()
    found = mean
    if min(mean.shape[2:]) > NEAR:
        ratio, around = _most_even(mean, error, seen, NEAR, CORNERS)
        share = (1 - TEXTURE / ratio).clamp(min=0)
        found = torch.where(ratio < math.inf, around + share * (mean - around), mean)
    if min(mean.shape[2:]) > WIDE:
        ratio, around = _most_even(mean, error, seen, WIDE, CORNERS[:1])
        found = torch.where(ratio < EVEN, around, found)
    return torch.where(seen, found, clean)


def _most_even(
    mean: Tensor, error: Tensor, seen: Tensor, radius: int, centres: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Of some windows that contain a pixel, the most even one: its variance over that of the error, and its mean.

    The ratio is infinite where no window has `FEWEST` pixels.
    """
    weight, masked = seen.to(mean.dtype), not bool(seen.all())
    # Differences from the mean of the patch keep the precision of the variance.
    middle = (mean * weight).mean((2, 3), keepdim=True) / weight.mean((2, 3), keepdim=True).clamp(min=1e-3)
    away = (mean - middle) * weight
    outside = radius if len(centres) > 1 else 0
    first, second, errors = (_sums(each, radius, outside) for each in (away, away.square(), error))
    count = _sums(weight if masked else weight[:1, :1], radius, outside).round()
    centre = first / count.clamp(min=1)
    spread = (second - first * centre) / (count - 1).clamp(min=1)
    ratio = spread * count / errors.clamp(min=torch.finfo(mean.dtype).tiny)
    score = (ratio * (1 + CAUTION / count.clamp(min=1).sqrt())).masked_fill(count < FEWEST, math.inf)
    height, width = mean.shape[2:]
    best = torch.full_like(mean, math.inf)
    found, around = best.clone(), torch.zeros_like(mean)
    for down, right in centres:
        top, left = outside + radius * down, outside + radius * right
        part = (..., slice(top, top + height), slice(left, left + width))
        better = score[part] < best
        best = torch.where(better, score[part], best)
        found = torch.where(better, ratio[part], found)
        around = torch.where(better, centre[part], around)
    return found, around + middle


def _sums(values: Tensor, radius: int, outside: int) -> Tensor:
    """Sums over windows centred at each pixel and up to `outside` beyond the border, (B, C, H + 2·outside, …)."""
    sums = functional.pad(values, (radius + outside,) * 4)
    for axis in (2, 3):
        length = sums.shape[axis] - 2 * radius
        shifted = sums
        sums = shifted.narrow(axis, 0, length).clone()
        for offset in range(1, 2 * radius + 1):
            sums += shifted.narrow(axis, offset, length)
    return sums
