"""The published coupling as kernels in C++: values, log-dets and gradients; see ``kernels/coupling.cpp``."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from noiseflow.flows.border_evaluation import evaluate, evaluation_kernels, fits, sizes_of
from noiseflow.flows.border_net import BorderAwareNet
from noiseflow.flows.native import Kernels, contiguous, kernels_for

__all__ = ["coupled", "uncoupled"]


def coupled(net: nn.Module, bound: Tensor, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Z and log-det of `AffineCoupling.forward`, or None where there are no kernels for it."""
    if not net.training:
        kernels = evaluation_kernels([net], x)
        return None if kernels is None else evaluate(kernels, [net], [bound], x, inverse=False)
    # A norm of another kind, such as one that several processes share, has statistics of its own.
    if not fits(net, x) or not all(type(norm) is nn.BatchNorm2d for norm in (net.norm1, net.norm2)):
        return None
    kernels = kernels_for("coupling", x, **sizes_of(net))
    if kernels is None:
        return None
    weights = net.conv1.weight, net.conv1.bias, net.conv2.weight, net.conv2.bias
    z, log_det, *moments = _Coupling.apply(kernels, net.norm1.eps, x, *weights, *_last(net, x), bound)  # type: ignore[no-untyped-call]
    for norm, mean, variance in ((net.norm1, *moments[:2]), (net.norm2, *moments[2:])):
        _follow(norm, mean, variance, x.numel() // x.shape[1])
    return z, log_det


def uncoupled(net: nn.Module, bound: Tensor, z: Tensor) -> Tensor | None:
    """X of `AffineCoupling.inverse`, or None where there are no kernels for it."""
    kernels = evaluation_kernels([net], z)
    return None if kernels is None else evaluate(kernels, [net], [bound], z, inverse=True)[0]


def _last(net: BorderAwareNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of the last convolution, scaled, and what the border adds: its first, a middle and its last row."""
    rows, width = min(x.shape[2], 3), x.shape[3]
    border = pad(x.new_zeros(1, 1, rows, width), (1, 1, 1, 1), value=1.0)
    scale = (3 * net.logs).exp()
    at_border = conv2d(border, net.conv3.weight[:, -1:], net.conv3.bias)[0] * scale[:, None, None]
    return net.conv3.weight[:, :-1] * scale[:, None, None, None], at_border.transpose(0, 1)


def _inputs_first(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) to (in, 3, 3, out); of (out, in, 1, 1) the same, and a bias as it is."""
    return weight.permute(1, 2, 3, 0) if weight.ndim == 4 else weight


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[2], x.shape[3], torch.get_num_threads()


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


def _pooled(moments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of the batch from those of its elements (B, 2, F) with `count` pixels each; Chan's rule."""
    mean = moments[:, 0].mean(0)
    square = moments[:, 1].sum(0) + count * (moments[:, 0] - mean).square().sum(0)
    return mean, square / (count * moments.shape[0])


class _Coupling(torch.autograd.Function):
    """Forward in training, where the norms take the batch's own statistics."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        eps: float,
        x: Tensor,
        w1: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
        w3: Tensor,
        border: Tensor,
        bound: Tensor,
    ) -> tuple[Tensor, ...]:
        x, b1, b2, border = contiguous(x, b1, b2, border)
        batch, count, sizes, width = x.shape[0], x[0, 0].numel(), _sizes(x), w1.shape[0]
        c1 = x.new_empty(batch, width, *x.shape[2:])
        moments = x.new_empty(batch, 2, width, dtype=torch.float64)
        first, second, last = contiguous(*map(_inputs_first, (w1, w2, w3)))
        kernels("train_first", x, first, b1, c1, moments, *sizes)
        mean1, variance1 = _pooled(moments, count)
        root1 = (variance1 + eps).rsqrt()
        scale1, shift1 = contiguous(root1, -mean1 * root1)
        kernels("train_second", c1, scale1, shift1, second, b2, moments, *sizes)
        mean2, variance2 = _pooled(moments, count)
        root2 = (variance2 + eps).rsqrt()
        folded, folded_bias, scale2 = contiguous(second * root2, (b2 - mean2) * root2, root2)
        z, squashed = torch.empty_like(x), x.new_empty(batch, w3.shape[0] // 2, *x.shape[2:])
        log_det = x.new_empty(batch)
        after = scale1, shift1, folded, folded_bias
        kernels("train_last", x, c1, *after, last, border, bound.item(), z, squashed, log_det, *sizes)
        ctx.save_for_backward(x, w1, second, w3, bound, c1, squashed, *after, scale2)
        ctx.kernels, ctx.rows = kernels, border.shape[0]
        found = [each.to(x.dtype) for each in (mean1, variance1, mean2, variance2)]
        ctx.mark_non_differentiable(*found)
        return z, log_det, *found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, second, w3, bound, c1, squashed, *after, scale2 = ctx.saved_tensors
        kernels, sizes = ctx.kernels, _sizes(x)
        of_z, of_log_det = contiguous(of_z, of_log_det)
        batch, width, total = x.shape[0], w1.shape[0], x.numel() // x.shape[1]
        # Of a transposed convolution: taps mirrored, outputs as inputs.
        mirrored1, mirrored3 = contiguous(*(weight.flip(2, 3).permute(0, 2, 3, 1) for weight in (w1, w3)))
        of_x, of_n = torch.empty_like(x), torch.empty_like(c1)
        of_w3 = x.new_empty(batch, *w3.permute(1, 2, 3, 0).shape)
        of_border = x.new_empty(batch, ctx.rows, w3.shape[0], x.shape[3])
        of_bound, sums = x.new_empty(batch, dtype=torch.float64), x.new_empty(batch, 2, width, dtype=torch.float64)
        given = of_z, of_log_det, x, squashed, c1
        found = of_x, of_n, of_w3, of_border, of_bound, sums
        kernels("back_last", *given, *after, mirrored3, bound.item(), *found, *sizes)
        mean, slope = contiguous(*(sums.sum(0) / total))
        of_w2 = x.new_empty(batch, width, width)
        kernels("back_second", c1, *after, second, scale2, mean, slope, of_n, of_w2, sums, *sizes)
        mean, slope = contiguous(*(sums.sum(0) / total))
        of_w1 = x.new_empty(batch, *w1.permute(1, 2, 3, 0).shape)
        kernels("back_first", of_z, x, c1, *after[:2], mean, slope, mirrored1, of_n, of_x, of_w1, *sizes)
        # A norm takes away the bias before it.
        none = x.new_zeros(width)
        of_weights = [_summed(each).permute(3, 0, 1, 2) for each in (of_w1, of_w3)]
        of_middle = _summed(of_w2).T[:, :, None, None]
        of_bound = of_bound.sum().to(x.dtype)
        return None, None, of_x, of_weights[0], none, of_middle, none, of_weights[1], _summed(of_border), of_bound


def _summed(of_elements: Tensor) -> Tensor:
    return of_elements.sum(0, dtype=torch.float64).to(of_elements.dtype)
