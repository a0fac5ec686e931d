"""Mixing of planes by one matrix at every pixel: a 1×1 convolution with few planes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, Operation, Source, contiguous

__all__ = ["mix_planes"]

MOST_PLANES = 8
"""Largest number of planes for the kernel; with more planes a matrix product is as fast."""

_SIZES = "long batch=B, long pixels=H * W, long threads"

SOURCE = Source(
    ("channel_mixing",),
    {
        "mix": f"const float *x[B, C, H, W], const float *weight[C, C], float *z[B, C, H, W], {_SIZES}",
        "mix_of_weight": f"const float *x[B, C, H, W], const float *of_z[B, C, H, W], double *sums[B, C, C], {_SIZES}",
    },
)


def _mix_planes(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply the planes of x, (B, C, H, W), by `weight`, (C_out, C), at every pixel."""
    # With few planes, a convolution takes several times as long as this product on a CPU.
    return torch.einsum("oi,bihw->bohw", weight, x)


def _planes(x: Tensor, weight: Tensor) -> Mapping[str, int] | None:
    planes = x.shape[1]
    return {"C": planes} if planes <= MOST_PLANES and weight.shape[0] == planes else None


def _mix_by_kernel(kernels: Kernels, x: Tensor, weight: Tensor) -> Tensor:
    out: Tensor = _Mixed.apply(kernels, x, weight)  # type: ignore[no-untyped-call]
    return out


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, x: Tensor, weight: Tensor) -> Tensor:
        x, inputs_first = contiguous(x, weight.T)
        z = torch.empty_like(x)
        kernels("mix", x=x, weight=inputs_first, z=z)
        ctx.save_for_backward(x, weight)
        ctx.kernels = kernels
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_z, weight = contiguous(of_z, weight)
        of_x = None
        if ctx.needs_input_grad[1]:
            of_x = torch.empty_like(x)
            ctx.kernels("mix", x=of_z, weight=weight, z=of_x)
        sums = x.new_empty(x.shape[0], *weight.shape, dtype=torch.float64)
        ctx.kernels("mix_of_weight", x=x, of_z=of_z, sums=sums)
        return None, of_x, sums.sum(0).T.to(weight.dtype)


mix_planes = Operation(_mix_planes, _mix_by_kernel, SOURCE, _planes)
