"""A rational-quadratic spline per value; its knots are the last 1×1 convolution of a net's hidden planes.

The kernel computes knots on the fly and never writes them to memory.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from noiseflow.ops.masked_affine import WIDTHS
from noiseflow.ops.native import Kernels, Operation, Source, contiguous
from noiseflow.ops.rational_quadratic import (
    LOGIT_BOUND,
    SLOPE_BOUND,
    Knots,
    knots_from,
    odd_knots_from,
    rational_quadratic,
    rational_quadratic_inverse,
)

__all__ = ["by_value", "spline", "spline_inverse"]

REACH, ODD, EVEN = 8.5, 7, 6
"""Approximation of exp(b·tanh x): largest |x|, and numbers of coefficients of its numerator and denominator."""

_GIVEN = (
    "const float *hidden[B, F, H, W], const float *weight[R, F, 1, 1], const float *bias[R], "
    "float box, float logit, float slope, const float *by_logit[ODD + EVEN], const float *by_slope[ODD + EVEN]"
)
_SIZES = "long batch=B, long pixels=H * W, long threads"

SOURCE = Source(
    ("spline",),
    {
        "forward": f"const float *x[B, P, H, W], {_GIVEN}, float *z[B, P, H, W], float *log_dets[B], {_SIZES}",
        "inverse": f"const float *z[B, P, H, W], {_GIVEN}, float *x[B, P, H, W], {_SIZES}",
        "backward": "const float *of_z[B, P, H, W], const float *of_log_det[B], const float *x[B, P, H, W], "
        f"{_GIVEN}, float *of_x[B, P, H, W], float *of_hidden[B, F, H, W], float *of_weight[B, P, F, R // P], "
        f"float *of_bias[B, R], {_SIZES}",
    },
    {"REACH": REACH, "ODD": ODD, "EVEN": EVEN},
)


def by_value(raw: Tensor, x: Tensor) -> Tensor:
    """Reshape a net's outputs to (B, C, H, W, numbers per value), in the dtype of x."""
    batch, planes, height, width = x.shape
    return raw.to(x.dtype).reshape(batch, planes, -1, height, width).permute(0, 1, 3, 4, 2)


def _knots(x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, bins: int, box: float, odd: bool) -> Knots:
    raw = by_value(conv2d(hidden, weight, bias, padding="same"), x)
    return odd_knots_from(raw, bins // 2, box) if odd else knots_from(raw, bins, box)


def _spline(
    x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, bins: int, box: float, odd: bool
) -> tuple[Tensor, Tensor]:
    """Transform x by splines with raw knots weight·hidden + bias; return z and log-det, (B,)."""
    z, log_slope = rational_quadratic(x, _knots(x, hidden, weight, bias, bins, box, odd))
    return z, log_slope.flatten(1).sum(1, dtype=torch.promote_types(log_slope.dtype, torch.float32))


def _spline_inverse(
    z: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, bins: int, box: float, odd: bool
) -> Tensor:
    """Inverse of `_spline`: the x that gives z."""
    return rational_quadratic_inverse(z, _knots(z, hidden, weight, bias, bins, box, odd))


def _sizes(
    x: Tensor, _: Tensor, weight: Tensor, bias: Tensor, bins: int, __: float, odd: bool
) -> Mapping[str, int] | None:
    bins, width = bins // 2 if odd else bins, weight.shape[1]
    serves = weight.shape[2:] == (1, 1) and width in WIDTHS and bins >= 2
    return {"P": x.shape[1], "K": bins, "F": width, "MIRROR": int(odd)} if serves else None


def _by_kernel(
    kernels: Kernels, x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, bins: int, box: float, odd: bool
) -> tuple[Tensor, Tensor]:
    z, log_det = _Bent.apply(kernels, box, x, hidden, weight, bias)  # type: ignore[no-untyped-call]
    return z, log_det


def _inverse_by_kernel(
    kernels: Kernels, z: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, bins: int, box: float, odd: bool
) -> Tensor:
    z, hidden, weight, bias = contiguous(z, hidden, weight, bias)
    x = torch.empty_like(z)
    kernels("inverse", z=z, hidden=hidden, weight=weight, bias=bias, **_bounds(box), x=x)
    return x


@cache
def _exp_of_tanh(bound: float) -> Tensor:
    """Coefficients of the kernels' exp(b·tanh x), b = `bound`; relative error 6·10⁻⁷, or 3·10⁻⁶ in float32.

    tanh(b/2·tanh x) ≈ xP(x²)/Q(x²), fitted for |x| ≤ `REACH` by iterated least squares of xP − Q·tanh(…), with
    weights 1/Q from the previous iteration.
    """
    x = 0.5 * REACH * (1 - np.cos(np.linspace(0, np.pi, 600)))[1:]
    wanted, square = np.tanh(0.5 * bound * np.tanh(x)), np.square(x / REACH)[:, None]
    odd, even = square ** np.arange(ODD), square ** np.arange(1, EVEN)
    weight = np.ones_like(x)
    for _ in range(40):
        columns = np.concatenate([x[:, None] / wanted[:, None] * odd, -even], 1)
        found = np.linalg.lstsq(weight[:, None] * columns, weight, rcond=None)[0]
        weight = 1 / (1 + even @ found[ODD:])
    scales = REACH ** (2.0 * np.concatenate([np.arange(ODD), np.arange(EVEN)]))
    return torch.from_numpy(np.insert(found, ODD, 1.0) / scales).float()


def _bounds(box: float) -> dict[str, Any]:
    tables = {"by_logit": _exp_of_tanh(LOGIT_BOUND), "by_slope": _exp_of_tanh(SLOPE_BOUND)}
    return {"box": float(box), "logit": LOGIT_BOUND, "slope": SLOPE_BOUND, **tables}


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, box: float, x: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, hidden, weight, bias = contiguous(x, hidden, weight, bias)
        z, log_dets = torch.empty_like(x), x.new_empty(x.shape[0])
        kernels("forward", x=x, hidden=hidden, weight=weight, bias=bias, **_bounds(box), z=z, log_dets=log_dets)
        ctx.save_for_backward(x, hidden, weight, bias)
        ctx.kernels, ctx.box = kernels, box
        return z, log_dets

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, weight, bias = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        of_x, of_hidden = torch.empty_like(x), torch.empty_like(hidden)
        of_weight = x.new_empty(len(x), x.shape[1], weight.shape[1], weight.shape[0] // x.shape[1])
        of_bias = x.new_empty(len(x), *bias.shape)
        given = {"x": x, "hidden": hidden, "weight": weight, "bias": bias, **_bounds(ctx.box)}
        found = {"of_x": of_x, "of_hidden": of_hidden, "of_weight": of_weight, "of_bias": of_bias}
        ctx.kernels("backward", of_z=of_z, of_log_det=of_log_det, **given, **found)
        of_weight = of_weight.sum(0).transpose(1, 2).reshape(weight.shape)
        return None, None, of_x, of_hidden, of_weight, of_bias.sum(0)


spline = Operation(_spline, _by_kernel, SOURCE, _sizes)
spline_inverse = Operation(_spline_inverse, _inverse_by_kernel, SOURCE, _sizes, differentiable=False)
