"""Masked affine coupling; shift and raw log scale are the last convolution of a net's hidden planes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from noiseflow.ops.native import PART, Kernels, Operation, Source, contiguous

__all__ = ["WIDTHS", "couple_masked", "soft_clamp", "uncouple_masked"]

WIDTHS = (4, 8, 12, 16, 24, 32)
"""Numbers of hidden planes that the kernels support."""

MOST_PLANES = 4

_GIVEN = (
    "const float *x[B, C, H, W], const float *hidden[B, F, H, W], const float *weight[2 * C, F, 1, 1], "
    "const float *bias[2 * C], const float *free[C, H, W], float bound"
)
_SIZES = "long batch=B, long pixels=H * W, long threads"

SOURCE = Source(
    ("masked_affine",),
    {
        "apply": f"{_GIVEN}, float *z[B, C, H, W], double *log_dets[B, (H * W + PART - 1) // PART]?, {_SIZES}",
        "backward": f"const float *of_z[B, C, H, W], const float *of_log_det[B], {_GIVEN}, float *of_x[B, C, H, W], "
        f"float *of_hidden[B, F, H, W], float *of_weight[B, F, 2 * C], float *of_bias[B, 2 * C], {_SIZES}",
    },
)


def soft_clamp(raw: Tensor, bound: float) -> Tensor:
    """Limit values smoothly to ±bound: bound·tanh(raw/bound), the identity near 0."""
    return bound * (raw / bound).tanh()


def _scale_and_shift(
    x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, free: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Log scale s and shift t, both 0 where a value is not `free`."""
    shift, raw = conv2d(hidden, weight, bias, padding="same").to(x.dtype).chunk(2, 1)
    return soft_clamp(raw, bound) * free, shift * free


def _couple_masked(
    x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, free: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Transform values where `free`, (C, H, W) of bool, by z = x·exp(s) + t; return z and log-det Σ s, (B,).

    (t, r) = weight·hidden + bias,  s = bound·tanh(r/bound).
    """
    log_scale, shift = _scale_and_shift(x, hidden, weight, bias, free, bound)
    return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1, dtype=torch.promote_types(x.dtype, torch.float32))


def _uncouple_masked(z: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, free: Tensor, bound: float) -> Tensor:
    """Inverse of `_couple_masked`: the x that gives z."""
    log_scale, shift = _scale_and_shift(z, hidden, weight, bias, free, bound)
    return (z - shift) * (-log_scale).exp()


def _sizes(x: Tensor, hidden: Tensor, weight: Tensor, *_: Any) -> Mapping[str, int] | None:
    planes, width = x.shape[1], weight.shape[1]
    serves = weight.shape[2:] == (1, 1) and width in WIDTHS and planes <= MOST_PLANES
    return {"C": planes, "F": width} if serves else None


def _couple_by_kernel(
    kernels: Kernels, x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, free: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    z, log_det = _Coupled.apply(kernels, bound, free, x, hidden, weight, bias)  # type: ignore[no-untyped-call]
    return z, log_det


def _uncouple_by_kernel(
    kernels: Kernels, z: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, free: Tensor, bound: float
) -> Tensor:
    z, hidden, weight, bias, free = contiguous(z, hidden, weight, bias, free)
    x = torch.empty_like(z)
    given: dict[str, Any] = {"x": z, "hidden": hidden, "weight": weight, "bias": bias, "free": free, "bound": bound}
    kernels("apply", **given, z=x, log_dets=None)
    return x


class _Coupled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        bound: float,
        free: Tensor,
        x: Tensor,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor]:
        free, x, hidden, weight, bias = contiguous(free, x, hidden, weight, bias)
        z, pixels = torch.empty_like(x), x[0, 0].numel()
        log_dets = x.new_empty(len(x), -(-pixels // PART), dtype=torch.float64)
        given: dict[str, Any] = {"x": x, "hidden": hidden, "weight": weight, "bias": bias, "free": free, "bound": bound}
        kernels("apply", **given, z=z, log_dets=log_dets)
        ctx.save_for_backward(free, x, hidden, weight, bias)
        ctx.kernels, ctx.bound = kernels, bound
        return z, log_dets.sum(1).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        free, x, hidden, weight, bias = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, of_hidden = torch.empty_like(x), torch.empty_like(hidden)
        of_weight, of_bias = x.new_empty(len(x), weight.shape[1], weight.shape[0]), x.new_empty(len(x), *bias.shape)
        given: dict[str, Any] = {
            "x": x,
            "hidden": hidden,
            "weight": weight,
            "bias": bias,
            "free": free,
            "bound": ctx.bound,
        }
        found = {"of_x": of_x, "of_hidden": of_hidden, "of_weight": of_weight, "of_bias": of_bias}
        ctx.kernels("backward", of_z=of_z, of_log_det=of_log_det, **given, **found)
        return None, None, None, of_x, of_hidden, of_weight.sum(0).T.reshape(weight.shape), of_bias.sum(0)


couple_masked = Operation(_couple_masked, _couple_by_kernel, SOURCE, _sizes, constant=("free",))
uncouple_masked = Operation(
    _uncouple_masked, _uncouple_by_kernel, SOURCE, _sizes, differentiable=False, constant=("free",)
)
