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

TEXTURE = 1.5
"""Spread of the frames' mean in a window, relative to its noise variance, up to which the light counts as even."""

EVEN = 1.3
"""The same for a wider window."""

OWN_LIGHT = 12.0
"""Squared deviation of a pixel from its window, in units of its error, at which both priors are as likely: a pixel of
its own light is then believed in as if one in 50 were of any light within 20 errors, e⁻⁶ = √(2π)/(50·20)."""

JUMPS = 1.5
"""The error in a window counts as at most this multiple of that of the typical pixel of the patch."""

AT_A_TIME = 16
"""Number of patches that are worked on at once."""

CAUTION = 4.0
"""A window of n pixels of N counts as less even than it looks, by CAUTION·(1/√n − 1/√N) of its error."""


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

    A pixel may have a light of its own, which its neighbours do not know: a star, a warm pixel.  With d the deviation
    of m from its window, it has it with the probability P = 1/(1 + exp((`OWN_LIGHT` − d²/τ²)/2)): the posterior of a
    normal error against any light at all.  The signal is then P·m + (1 − P)·(that of the window).  So that the jump of
    one frame does not pass for light, d is the smaller one of the deviations of m and of the other frames' mean.

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
    enhancement and noise filtering by use of local statistics, IEEE TPAMI 1980 (the share); Johnstone, Silverman:
    Needles and straw in haystacks, Annals of Statistics 2004 (the posterior of sparse deviations).
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
    masked, tiny = not bool(seen.all()), torch.finfo(clean.dtype).tiny
    error = (noise * seen if masked else noise).square() * (v / (1 + v))
    mean = clean + noise * v / (1 + v).sqrt()
    if min(mean.shape[2:]) <= NEAR:
        return torch.where(seen, mean, clean)
    spread, around, errors = _most_even(mean, error, seen, NEAR, CORNERS)
    share = (1 - TEXTURE * errors / spread.clamp(min=tiny)).clamp(min=0)
    # No light is below black; there, the variance of a model would vanish.
    floor = around.clamp(max=0)
    found = torch.maximum(torch.addcmul(around, share, mean - around), floor)
    if min(mean.shape[2:]) > WIDE:
        wide = _most_even(mean, error, seen, WIDE, CORNERS[:1])
        even = wide[0] < EVEN * wide[2]
        found, around, errors = (
            torch.where(even, *each) for each in ((wide[1], found), (wide[1], around), (wide[2], errors))
        )
    errors = torch.minimum(errors, JUMPS * _typical(error, around, seen if masked else None))
    far, far_of_others = mean - around, clean - around
    squared = torch.minimum(far.square(), far_of_others.square() / (1 + v)) * (far * far_of_others > 0)
    own_light = torch.sigmoid((squared / errors.clamp(min=tiny) - OWN_LIGHT) / 2)
    found = torch.lerp(found, torch.maximum(mean, floor), own_light)
    if not masked:
        return found
    return torch.where(seen, torch.where(spread < math.inf, found, mean), clean)


def _typical(error: Tensor, signal: Tensor, seen: Tensor | None) -> Tensor:
    """Variance of the mean's error at a signal by the median pixel of each plane, (B, C, H, W).

    A star that moves is noise of hundreds of σ² in all windows around; the median does not see it.  Noise grows at
    most as the signal does, so that the value is an upper limit for brighter pixels, and for darker ones as well.
    """
    # A quarter of the pixels is enough: the median of 256 squares is known to 15 %.
    error, some = error[..., ::2, ::2].flatten(2), signal[..., ::2, ::2].flatten(2)
    if seen is None:
        level, typical = some.median(2).values, error.median(2).values
    else:
        hidden = ~seen[..., ::2, ::2].flatten(2)
        level, typical = (each.masked_fill(hidden, math.nan).nanmedian(2).values for each in (some, error))
    known = (level > 0) & (typical > 0)
    # The median of χ² of one degree of freedom is 0.455.
    typical = (typical / 0.455).masked_fill(~known, math.inf)[..., None, None]
    return typical * (signal / level.masked_fill(~known, 1)[..., None, None]).clamp(min=1)


def _most_even(
    mean: Tensor, error: Tensor, seen: Tensor, radius: int, centres: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of some windows that contain a pixel, the most even one: the variance in it, its mean, and the mean error.

    The most even one has the smallest variance in excess of its error; that of the smallest variance relative to it
    would be on the brighter side of a slope.  The variance is infinite where no window has `FEWEST` pixels.
    """
    weight, masked = seen.to(mean.dtype), not bool(seen.all())
    # Differences from the mean of the patch keep the precision of the variance.
    middle = (mean * weight).mean((2, 3), keepdim=True) / weight.mean((2, 3), keepdim=True).clamp(min=1e-3)
    away = (mean - middle) * weight
    outside = radius if len(centres) > 1 else 0
    first, second, errors = (_sums(each, radius, outside) for each in (away, away.square(), error))
    count = _sums(weight if masked else weight[:1, :1], radius, outside).round().clamp(min=1)
    centre, errors = first / count, errors / count
    spread = (second - first * centre) / (count - 1).clamp(min=1)
    spread = spread.masked_fill(count < FEWEST, math.inf)
    if len(centres) == 1:
        return spread, centre + middle, errors
    score = torch.addcmul(spread, errors, CAUTION * (count.rsqrt() - 1 / (2 * radius + 1)) - 1)
    height, width = mean.shape[2:]
    chosen: tuple[Tensor, ...] = ()
    for down, right in centres:
        top, left = outside + radius * down, outside + radius * right
        part = (..., slice(top, top + height), slice(left, left + width))
        there: tuple[Tensor, ...] = (score[part], spread[part], centre[part], errors[part])
        if chosen:
            better = there[0] < chosen[0]
            there = tuple(torch.where(better, new, old) for new, old in zip(there, chosen, strict=True))
        chosen = there
    return chosen[1], chosen[2] + middle, chosen[3]


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
