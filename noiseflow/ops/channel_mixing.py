"""Mixing of planes at each pixel by one matrix: a 1×1 convolution of few planes."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, contiguous, kernels_for

__all__ = ["mix_planes", "mixing_kernels"]

MOST_PLANES = 8
"""Above it a product of matrices is as fast as the kernel."""


def mix_planes(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve 1×1 with a weight of shape (C_out, C_in)."""
    kernels = mixing_kernels(x) if weight.shape[0] == x.shape[1] and weight.dtype == x.dtype else None
    if kernels is not None:
        out: Tensor = _Mixing.apply(kernels, x, weight)  # type: ignore[no-untyped-call]
        return out
    # With so few planes a convolution kernel takes several times as long as this product on a CPU.
    return torch.einsum("oi,bihw->bohw", weight, x)


def mixing_kernels(x: Tensor) -> Kernels | None:
    """Kernels for the planes of `x`, or None where PyTorch's operations are to be taken."""
    return kernels_for("mixing", x, C=x.shape[1]) if x.shape[1] <= MOST_PLANES else None


class _Mixing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, x: Tensor, weight: Tensor) -> Tensor:
        x, inputs_first = contiguous(x, weight.T)
        z = torch.empty_like(x)
        kernels("mix", x, inputs_first, z, x.shape[0], x[0, 0].numel(), torch.get_num_threads())
        ctx.save_for_backward(x, weight)
        ctx.kernels = kernels
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_z, weight = contiguous(of_z, weight)
        sizes = x.shape[0], x[0, 0].numel(), torch.get_num_threads()
        of_x = None
        if ctx.needs_input_grad[1]:
            of_x = torch.empty_like(x)
            ctx.kernels("mix", of_z, weight, of_x, *sizes)
        sums = x.new_empty(x.shape[0], *weight.shape, dtype=torch.float64)
        ctx.kernels("mix_of_weight", x, of_z, sums, *sizes)
        return None, of_x, sums.sum(0).T.to(weight.dtype)
