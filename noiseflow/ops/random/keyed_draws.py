"""Random numbers that are a function of seed, stream, frame, plane, row and column.

All operations take a tensor of the shape (B, C, H, W); `frames`, the frame number of each element, (B,) in float64;
the key as two 32-bit words; the stream; and the row and column of the first pixel.  One Philox counter,
(column // n, row, attempt·2¹⁶ + stream·2⁸ + plane, frame), gives the numbers of n adjacent columns.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, Operation, Source
from noiseflow.ops.random.philox import philox

__all__ = ["keyed_counts", "keyed_normals", "keyed_uniforms"]

WORD = 2.0**-32

SMALL_RATE = 10.0
"""Poisson rate from which PTRS is used; below it the distribution function is inverted."""

DRAW = (
    "long key_low, long key_high, long stream, long top, long left, "
    "long planes=C, long height=H, long width=W, long parts=B * C, long threads"
)

SOURCE = Source(
    ("keyed_draws",),
    {
        "normals": f"const double *frames[B], float *z[B, C, H, W], {DRAW}",
        "uniforms": f"const double *frames[B], double *z[B, C, H, W], {DRAW}",
        "counts": f"const double *rate[B, C, H, W], const double *frames[B], double *z[B, C, H, W], {DRAW}",
    },
    {"SMALL_RATE": SMALL_RATE},
)

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def _keyed_normals(
    like: Tensor, frames: Tensor, key_low: int, key_high: int, stream: int, top: int, left: int
) -> Tensor:
    """Draw standard normal numbers with the shape, dtype and device of `like`, by Box and Muller: |z| < 6.8."""
    real = torch.promote_types(like.dtype, torch.float32)
    words = [word.to(real) for word in philox(_counter(like, frames, stream, top, left, 4), key_high << 32 | key_low)]
    pairs = []
    for one, two in (words[:2], words[2:]):
        radius = ((one + 0.5) * WORD).log_().mul_(-2).clamp_(min=0).sqrt_()
        angle = two * (2 * math.pi * WORD)
        pairs += [radius * angle.cos(), radius * angle.sin()]
    return _in_columns(pairs, like, left).to(like.dtype)


def _keyed_uniforms(
    like: Tensor, frames: Tensor, key_low: int, key_high: int, stream: int, top: int, left: int
) -> Tensor:
    """Draw uniform numbers of the open interval (0, 1) with 52 bits, in the shape of `like`, float64."""
    counter = _counter(like, frames, stream, top, left, 2)
    return _in_columns(_two_uniforms(counter, key_high << 32 | key_low), like, left)


def _keyed_counts(
    rate: Tensor, frames: Tensor, key_low: int, key_high: int, stream: int, top: int, left: int
) -> Tensor:
    """Draw Poisson counts of given rates, float64; a rate that is NaN or infinite is returned as its own count.

    Below `SMALL_RATE` the distribution function is inverted; above it transformed rejection (PTRS) is used, with
    a new counter for each attempt.  Both are exact.

    References
    ----------
    Hörmann: The transformed rejection method for generating Poisson random variables,
    Insurance: Mathematics and Economics 12, 1993, algorithm PTRS.
    """
    counter, key = _counter(rate, frames, stream, top, left, 1), key_high << 32 | key_low
    u, v = _two_uniforms(counter, key)
    exact = rate.double()
    small = exact < SMALL_RATE
    counts = exact.clone()
    counts[small] = _inverted(exact[small], u[small])
    open_ = (~small & exact.isfinite()).nonzero(as_tuple=True)
    # Expand every word to all four axes, so that the words of single pixels can be indexed.
    words = [word.expand(rate.shape) for word in counter]
    attempt = 0
    u, v = u[open_], v[open_]
    while len(u):
        tried, accepted = _ptrs(exact[open_], u, v)
        done = tuple(axis[accepted] for axis in open_)
        counts[done] = tried[accepted]
        open_ = tuple(axis[~accepted] for axis in open_)
        attempt += 1
        c0, c1, c2, c3 = (word[open_] for word in words)
        u, v = _two_uniforms((c0, c1, c2 + (attempt << 16), c3), key)
    return counts


def _counter(like: Tensor, frames: Tensor, stream: int, top: int, left: int, columns: int) -> Words:
    """Counter words, which broadcast: group of `columns` columns, row, stream·2⁸ + plane, frame."""
    _, planes, height, width = like.shape
    groups = torch.arange(left // columns, (left + width - 1) // columns + 1, device=like.device)
    rows = torch.arange(top, top + height, device=like.device)[:, None]
    plane = torch.arange(planes, device=like.device)[:, None, None] + (stream << 8)
    return groups, rows, plane, frames.long()[:, None, None, None]


def _in_columns(numbers: Sequence[Tensor], like: Tensor, left: int) -> Tensor:
    """Interleave the numbers of each column group and crop them to the columns of `like`."""
    start = left % len(numbers)
    return torch.stack(list(numbers), -1).flatten(3)[..., start : start + like.shape[3]]


def _two_uniforms(counter: Words, key: int) -> tuple[Tensor, Tensor]:
    """Two uniform numbers of the open interval (0, 1) with 52 bits for each counter, float64."""
    w0, w1, w2, w3 = philox(counter, key)
    u, v = (((high << 20 | low >> 12).double() + 0.5) * 2.0**-52 for high, low in ((w0, w1), (w2, w3)))
    return u, v


def _inverted(rate: Tensor, u: Tensor) -> Tensor:
    """Poisson counts by inversion: the least k with P(count ≤ k) ≥ u."""
    count = torch.zeros_like(rate)
    term = (-rate).exp()
    below = term.clone()
    at = (u > below).nonzero(as_tuple=True)[0]
    rate, term, below, u = rate[at], term[at], below[at], u[at]
    k = 0
    # At a rate of 10, terms beyond k ≈ 50 are below the last bit of 1.
    while len(at) and k < 200:
        k += 1
        term = term * rate / k
        below = below + term
        count[at] = float(k)
        more = u > below
        at, rate, term, below, u = at[more], rate[more], term[more], below[more], u[more]
    return count


def _ptrs(rate: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """One attempt of PTRS: counts, and whether they are accepted.  Constants and names are those of the paper."""
    b = 0.931 + 2.53 * rate.sqrt()
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2)
    u = u - 0.5
    us = 0.5 - u.abs()
    k = ((2 * a / us + b) * u + rate + 0.43).floor()
    bound = k * rate.log() - rate - torch.lgamma(k + 1)
    fits = (v * inverse_alpha / (a / us.square() + b)).log() <= bound
    quick = (us >= 0.07) & (v <= squeeze)
    return k, (k >= 0) & (quick | ((us >= 0.013) | (v <= us)) & fits)


def _normals_by_kernel(kernels: Kernels, like: Tensor, frames: Tensor, *draw: int) -> Tensor:
    z = like.new_empty(like.shape)
    kernels("normals", frames=frames, z=z, **_named(draw))
    return z


def _uniforms_by_kernel(kernels: Kernels, like: Tensor, frames: Tensor, *draw: int) -> Tensor:
    z = like.new_empty(like.shape, dtype=torch.float64)
    kernels("uniforms", frames=frames, z=z, **_named(draw))
    return z


def _counts_by_kernel(kernels: Kernels, rate: Tensor, frames: Tensor, *draw: int) -> Tensor:
    rate = rate.detach().double().contiguous()
    z = torch.empty_like(rate)
    kernels("counts", rate=rate, frames=frames, z=z, **_named(draw))
    return z


def _named(draw: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(("key_low", "key_high", "stream", "top", "left"), draw, strict=True))


keyed_normals = Operation(
    _keyed_normals,
    _normals_by_kernel,
    SOURCE,
    lambda like, *_: {} if like.dtype is torch.float32 else None,
    differentiable=False,
    constant=("like", "frames"),
)
keyed_uniforms = Operation(
    _keyed_uniforms, _uniforms_by_kernel, SOURCE, lambda *_: {}, differentiable=False, constant=("like", "frames")
)
keyed_counts = Operation(
    _keyed_counts,
    _counts_by_kernel,
    SOURCE,
    lambda *_: {},
    differentiable=False,
    constant=("rate", "frames"),
    # The reference loops until all counts are accepted, so it reads values.
    results=lambda rate, *_: rate.double(),
)
