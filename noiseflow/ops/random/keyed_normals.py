"""Standard normal numbers that are a function of seed, stream, frame, plane, row and column."""

import math

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, Operation, Source
from noiseflow.ops.random.philox import philox

__all__ = ["WORD", "keyed_normals"]

WORD = 2.0**-32
"""The part of 1 that a step of a 32-bit word is."""

SOURCE = Source(
    ("keyed_normals",),
    {
        "keyed_normals": "const double *frames[B], float *z[B, C, H, W], long key_low, long key_high, long stream, "
        "long top, long left, long planes=C, long height=H, long width=W, long parts=B * C, long threads"
    },
)


def _keyed_normals(
    like: Tensor, frames: Tensor, key_low: int, key_high: int, stream: int, top: int, left: int
) -> Tensor:
    """Numbers of the shape (B, C, H, W), dtype and device of `like`, by Box and Muller from 32-bit words: |z| < 6.8.

    The counter of four columns is (column // 4, row, stream·2⁸ + plane, frame), its key that of the draw.
    """
    _, planes, height, width = like.shape
    groups = torch.arange(left // 4, (left + width - 1) // 4 + 1, device=like.device)
    rows = torch.arange(top, top + height, device=like.device)[:, None]
    plane = torch.arange(planes, device=like.device)[:, None, None] + (stream << 8)
    counter = groups, rows, plane, frames.long()[:, None, None, None]
    real = torch.promote_types(like.dtype, torch.float32)
    words = [word.to(real) for word in philox(counter, key_high << 32 | key_low)]
    pairs = []
    for one, two in (words[:2], words[2:]):
        radius = ((one + 0.5) * WORD).log_().mul_(-2).clamp_(min=0).sqrt_()
        angle = two * (2 * math.pi * WORD)
        pairs += [radius * angle.cos(), radius * angle.sin()]
    return torch.stack(pairs, -1).flatten(3)[..., left % 4 : left % 4 + width].to(like.dtype)


def _keyed_normals_by_kernel(
    kernels: Kernels, like: Tensor, frames: Tensor, key_low: int, key_high: int, stream: int, top: int, left: int
) -> Tensor:
    z = like.new_empty(like.shape)
    key = {"key_low": key_low, "key_high": key_high, "stream": stream}
    kernels("keyed_normals", frames=frames, z=z, **key, top=top, left=left)
    return z


keyed_normals = Operation(
    _keyed_normals,
    _keyed_normals_by_kernel,
    SOURCE,
    lambda like, *_: {} if like.dtype is torch.float32 else None,
    differentiable=False,
    constant=("like", "frames"),
)
