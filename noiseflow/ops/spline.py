"""The spline of `PixelSpline` as kernels in C++, which never write its knots to memory; see ``csrc/spline.cpp``."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.ops.native import Kernels, contiguous, kernels_for

__all__ = ["bent", "spline_kernels", "unbent"]

LOGIT_BOUND = 1.5
"""Bound on the logits of bin sizes: of 8 bins none is below 0.7 % or above 74 % of the box."""

SLOPE_BOUND = math.log(8.0)
"""Bound on |log slope| at a knot."""

REACH, ODD, EVEN = 8.5, 7, 6
"""As ``csrc/spline.cpp`` has them."""


def spline_kernels(last: nn.Conv2d, x: Tensor, bins: int, *, odd: bool) -> Kernels | None:
    """The kernels for splines whose knots a last 1×1 convolution gives, or None where there are none."""
    if odd:
        bins //= 2
    if (
        last.kernel_size != (1, 1)
        or last.in_channels not in (4, 8, 12, 16, 24, 32)
        or last.weight.dtype != x.dtype
        or bins < 2
    ):
        return None
    return kernels_for("spline", x, P=x.shape[1], K=bins, F=last.in_channels, MIRROR=int(odd))


def bent(kernels: Kernels, x: Tensor, hidden: Tensor, last: nn.Conv2d, box: float) -> tuple[Tensor, Tensor]:
    """Z, and log-det of each element, by the hidden planes from which `last` makes raw knots."""
    z, log_det = _Bent.apply(kernels, box, x, hidden, last.weight, last.bias)  # type: ignore[no-untyped-call]
    return z, log_det


def unbent(kernels: Kernels, z: Tensor, hidden: Tensor, last: nn.Conv2d, box: float) -> Tensor:
    """The x of a z; without gradients."""
    assert last.bias is not None
    z, hidden, weight, bias = contiguous(z, hidden, last.weight, last.bias)
    x = torch.empty_like(z)
    kernels("inverse", z, hidden, weight, bias, box, *_bounds(), x, *_sizes(z))
    return x


@cache
def _grown() -> Tensor:
    """Coefficients of exp(b·tanh x), b = `LOGIT_BOUND`, as the kernels have it: to 2·10⁻⁷ of it, and 10⁻⁶ in float32.

    xP(x²)/Q(x²) is tanh(b/2·tanh x), fitted for |x| ≤ `REACH` by least squares of xP − Q·tanh(…), the
    weights 1/Q from the fit before.
    """
    x = 0.5 * REACH * (1 - np.cos(np.linspace(0, np.pi, 600)))[1:]
    wanted, square = np.tanh(0.5 * LOGIT_BOUND * np.tanh(x)), np.square(x / REACH)[:, None]
    odd, even = square ** np.arange(ODD), square ** np.arange(1, EVEN)
    weight = np.ones_like(x)
    for _ in range(40):
        columns = np.concatenate([x[:, None] / wanted[:, None] * odd, -even], 1)
        found = np.linalg.lstsq(weight[:, None] * columns, weight, rcond=None)[0]
        weight = 1 / (1 + even @ found[ODD:])
    scales = REACH ** (2.0 * np.concatenate([np.arange(ODD), np.arange(EVEN)]))
    return torch.from_numpy(np.insert(found, ODD, 1.0) / scales).float()


def _bounds() -> tuple[float, float, Tensor]:
    return LOGIT_BOUND, SLOPE_BOUND, _grown()


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x[0, 0].numel(), torch.get_num_threads()


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, box: float, x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, hidden, weight, bias = contiguous(x, hidden, weight, bias)
        z, log_det = torch.empty_like(x), x.new_empty(x.shape[0])
        kernels("forward", x, hidden, weight, bias, box, *_bounds(), z, log_det, *_sizes(x))
        ctx.save_for_backward(x, hidden, weight, bias)
        ctx.kernels, ctx.box = kernels, box
        return z, log_det

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, weight, bias = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, of_hidden = torch.empty_like(x), torch.empty_like(hidden)
        of_weight = x.new_empty(len(x), x.shape[1], weight.shape[1], weight.shape[0] // x.shape[1])
        of_bias = x.new_empty(len(x), *bias.shape)
        given = of_z, of_log_det, x, hidden, weight, bias, ctx.box, *_bounds()
        ctx.kernels("backward", *given, of_x, of_hidden, of_weight, of_bias, *_sizes(x))
        of_weight = of_weight.sum(0).transpose(1, 2).reshape(weight.shape)
        return None, None, of_x, of_hidden, of_weight, of_bias.sum(0)
