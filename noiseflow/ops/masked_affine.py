"""The values of `MaskedAffineCoupling` as kernels in C++; see ``csrc/affine.cpp``."""

from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.ops.native import Kernels, contiguous, kernels_for

__all__ = ["affine_kernels", "coupled_by", "uncoupled_by"]


def affine_kernels(last: nn.Conv2d, x: Tensor) -> Kernels | None:
    """The kernels for a coupling whose parameters a last 1×1 convolution gives, or None where there are none."""
    if last.kernel_size != (1, 1) or last.in_channels not in (4, 8, 12, 16, 24, 32) or x.shape[1] > 4:
        return None
    return kernels_for("affine", x, C=x.shape[1], F=last.in_channels)


def coupled_by(
    kernels: Kernels, x: Tensor, hidden: Tensor, last: nn.Conv2d, free: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Z, and log-det of each element; `free` (C, H, W) is 1 where a value is transformed."""
    z, log_det = _Affine.apply(kernels, bound, free, x, hidden, last.weight, last.bias)  # type: ignore[no-untyped-call]
    return z, log_det


def uncoupled_by(kernels: Kernels, z: Tensor, hidden: Tensor, last: nn.Conv2d, free: Tensor, bound: float) -> Tensor:
    """The x of a z; without gradients."""
    assert last.bias is not None
    z, hidden, weight, bias, free = contiguous(z, hidden, last.weight, last.bias, free)
    x = torch.empty_like(z)
    kernels("apply", z, hidden, weight, bias, free, bound, x, None, *_sizes(z))
    return x


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x[0, 0].numel(), torch.get_num_threads()


class _Affine(torch.autograd.Function):
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
        z, sizes = torch.empty_like(x), _sizes(x)
        log_dets = x.new_empty(len(x), -(-sizes[1] // 4096), dtype=torch.float64)
        kernels("apply", x, hidden, weight, bias, free, bound, z, log_dets, *sizes)
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
        given = of_z, of_log_det, x, hidden, weight, bias, free, ctx.bound
        ctx.kernels("backward", *given, of_x, of_hidden, of_weight, of_bias, *_sizes(x))
        return None, None, None, of_x, of_hidden, of_weight.sum(0).T.reshape(weight.shape), of_bias.sum(0)
