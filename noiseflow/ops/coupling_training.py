"""The published coupling as kernels in C++: values, log-dets and gradients; see ``csrc/coupling.cpp``."""

from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.ops.coupling_chain import evaluate, evaluation_kernels, fits, sizes_of
from noiseflow.ops.native import Kernels, contiguous, kernels_for
from noiseflow.ops.typing import BorderAware

__all__ = ["coupled", "uncoupled"]


def coupled(net: nn.Module, bound: Tensor, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Z and log-det of `AffineCoupling.forward`, or None where there are no kernels for it."""
    if not net.training:
        kernels = evaluation_kernels([net], x)
        return None if kernels is None else evaluate(kernels, [net], [bound], x, inverse=False)
    # A norm of another kind, such as one that several processes share, has statistics of its own.
    if not fits(net, x) or not all(type(norm) is nn.BatchNorm2d for norm in (net.norm1, net.norm2)):
        return None
    both = tuple(kernels_for(source, x, **sizes_of(net)) for source in ("coupling", "coupling_back"))
    if None in both:
        return None
    z, log_det, statistics = _Coupling.apply(both, net.norm1.eps, x, *_parameters(net), bound)  # type: ignore[no-untyped-call]
    for norm, (mean, variance) in zip((net.norm1, net.norm2), statistics.unflatten(0, (2, 2)), strict=True):
        _follow(norm, mean, variance, x.numel() // x.shape[1])
    return z, log_det


def uncoupled(net: nn.Module, bound: Tensor, z: Tensor) -> Tensor | None:
    """X of `AffineCoupling.inverse`, or None where there are no kernels for it."""
    kernels = evaluation_kernels([net], z)
    return None if kernels is None else evaluate(kernels, [net], [bound], z, inverse=True)[0]


def _parameters(net: BorderAware) -> list[Tensor | None]:
    of_convolutions = [part for conv in (net.conv1, net.conv2, net.conv3) for part in (conv.weight, conv.bias)]
    return [*of_convolutions, net.logs]


def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics, as `BatchNorm2d` does in training."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[2], x.shape[3], torch.get_num_threads()


class _Coupling(torch.autograd.Function):
    """In training, where the norms take the batch's own statistics: z, log-det, and mean and variance of both norms."""

    @staticmethod
    def forward(
        ctx: Any, kernels: tuple[Kernels, Kernels], eps: float, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, *weights, bound = contiguous(x, *parameters)
        batch, width, transformed = x.shape[0], weights[0].shape[0], weights[4].shape[0] // 2
        conditioning = x.shape[1] - transformed
        z, log_det = torch.empty_like(x), x.new_empty(batch)
        c1, squashed = x.new_empty(batch, width, *x.shape[2:]), x.new_empty(batch, transformed, *x.shape[2:])
        # As `Folded` in the kernels.
        folded = x.new_empty(width * (9 * conditioning + 2 * width + 4 + 18 * transformed) + 20 * transformed)
        statistics = x.new_empty(4, width)
        found = z, log_det, c1, squashed, folded, statistics
        kernels[0]("forward", x, *weights, bound.item(), eps, *found, *_sizes(x))
        ctx.save_for_backward(x, c1, squashed, folded, *weights, bound)
        ctx.kernels = kernels[1]
        ctx.mark_non_differentiable(statistics)
        return z, log_det, statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, c1, squashed, folded, *weights, bound = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, of_bound = torch.empty_like(x), torch.empty_like(bound)
        # A norm takes away the bias before it.
        of_w1, of_b1, of_w2, of_b2, of_w3, of_b3, of_logs = (torch.zeros_like(each) for each in weights)
        given = of_z, of_log_det, x, c1, squashed, folded, weights[-1], bound.item()
        ctx.kernels("backward", *given, of_x, of_w1, of_w2, of_w3, of_b3, of_logs, of_bound, *_sizes(x))
        return None, None, of_x, of_w1, of_b1, of_w2, of_b2, of_w3, of_b3, of_logs, of_bound
