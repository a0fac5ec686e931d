"""Offsets shared by all pixels of a sensor row or column, and their whitening.

Planes are viewed as (B, *cells, H, W): `cells` is (1, 1) for one plane, (2, 2) for four, (6, 6) for X-Trans.  The
pixels of a line lie along the two axes `along`.  If a clean signal, β₁ and β₂ are given (see
`noiseflow.ops.shot_read_noise`), values are noise divided by its standard deviation s, and a unit offset is one
read-noise σ, d = √(β₂/s²); without them d = 1.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, Operation, Source, contiguous
from noiseflow.ops.shot_read_noise import FLOOR, SIGNAL, read_share

__all__ = ["COLUMNS", "ROWS", "add_lines", "line_sums", "unit_offset", "whiten_lines"]

ROWS, COLUMNS = (2, 4), (1, 3)
"""Axes of (B, *cells, H, W) along which a line's pixels lie."""

Cells = tuple[int, int]

_SIZES = "long batch=B, long planes=C, long height=H, long width=W, long side, long threads"

SOURCE = Source(
    ("line_noise",),
    {
        "line_sums": f"const float *x[B, C, H, W], {SIGNAL}, float *sums[2, B, C // side, H], {_SIZES}",
        "line_add": f"const float *x[B, C, H, W], {SIGNAL}, const float *factors[B, C // side, H], "
        f"float *z[B, C, H, W], {_SIZES}",
        "line_backward": f"const float *of_z[B, C, H, W], const float *x[B, C, H, W], {SIGNAL}, "
        "const float *factors[B, C // side, H], const float *by_projection[B, C // side, H], "
        "const float *by_square[B, C // side, H], const float *of_square[B, C // side, H], "
        "float *of_x[B, C, H, W], float *of_beta1[B, C, 1, 1], float *of_beta2[B, C, 1, 1], "
        f"float *of_factors[B, C // side, H], {_SIZES}",
    },
    {"FLOOR": FLOOR},
)


def unit_offset(x: Tensor, clean: Tensor | None, beta1: Tensor | None, beta2: Tensor | None, cells: Cells) -> Tensor:
    """Size d of a unit offset at each pixel, (B, *cells, H, W)."""
    if clean is None or beta1 is None or beta2 is None:
        d = x.new_ones(x.shape)
    else:
        d = read_share(clean, beta1, beta2).sqrt()
    return d.reshape(x.shape[0], *cells, *x.shape[2:])


def _rows_only(x: Tensor, clean: Tensor | None, *more: Any) -> Mapping[str, int] | None:
    along = more[-1]
    serves = clean is not None and x.shape == clean.shape and along == ROWS
    return {} if serves else None


def _line_sums(
    x: Tensor,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    cells: Cells,
    along: tuple[int, int],
) -> Tensor:
    """Sums Σ d·x and Σ d² along each line, (2, B, *cells, H, W) with size 1 along the line; tiles add up."""
    d = unit_offset(x, clean, beta1, beta2, cells)
    return torch.stack([term.sum(along, keepdim=True) for term in (d * x.reshape(d.shape), d.square())])


def _sums_by_kernel(kernels: Kernels, x: Tensor, *more: Any) -> Tensor:
    *signal, (groups, side), _ = more
    x, clean, beta1, beta2 = contiguous(x, *signal)
    sums = x.new_empty(2, x.shape[0], groups, x.shape[2])
    kernels("line_sums", x=x, clean=clean, beta1=beta1, beta2=beta2, sums=sums, side=side)
    return sums[:, :, :, None, :, None]


def _whiten_lines(
    x: Tensor,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    variance: Tensor,
    cells: Cells,
    along: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Whiten lines with offset variance r = `variance`, (B,); return z and log-det −½ Σ log(1 + q), (B,).

    z = x − d (dᵀx) · r / (√(1+q)·(1 + √(1+q))),  q = r·|d|².
    """
    projection, square = _line_sums(x, clean, beta1, beta2, cells, along).unbind()
    r = variance[:, None, None, None, None]
    q = r * square
    root = (1 + q).sqrt()
    d = unit_offset(x, clean, beta1, beta2, cells)
    z = x - (d * projection * r / (root * (1 + root))).reshape(x.shape)
    return z, -0.5 * q.log1p().flatten(1).sum(1)


def _whiten_by_kernel(
    kernels: Kernels, x: Tensor, clean: Tensor, beta1: Tensor, beta2: Tensor, variance: Tensor, cells: Cells, _: Any
) -> tuple[Tensor, Tensor]:
    z, log_det = _Whitened.apply(kernels, cells, x, clean, beta1, beta2, variance)  # type: ignore[no-untyped-call]
    return z, log_det


class _Whitened(torch.autograd.Function):
    """Whitened rows: z = x − d·p·c, c = r/D, with p = Σ d·x, m = Σ d², q = r·m and D = √(1+q)·(1 + √(1+q))."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, cells: Cells, *given: Tensor) -> tuple[Tensor, Tensor]:
        groups, side = cells
        x, clean, beta1, beta2, variance = contiguous(*given)
        signal = {"clean": clean, "beta1": beta1, "beta2": beta2}
        sums = x.new_empty(2, x.shape[0], groups, x.shape[2])
        kernels("line_sums", x=x, **signal, sums=sums, side=side)
        projection, square = sums.unbind()
        r = variance[:, None, None]
        q = r * square
        root = (1 + q).sqrt()
        coefficient = r / (root * (1 + root))
        z = torch.empty_like(x)
        kernels("line_add", x=x, **signal, factors=-projection * coefficient, z=z, side=side)
        ctx.save_for_backward(x, clean, beta1, beta2, variance, sums)
        ctx.kernels, ctx.side = kernels, side
        return z, -0.5 * q.log1p().sum((1, 2))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, clean, beta1, beta2, variance, sums = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        projection, square = sums.unbind()
        r, of_logs = variance[:, None, None], -0.5 * of_log_det[:, None, None]
        q = r * square
        root = (1 + q).sqrt()
        divisor = root * (1 + root)
        coefficient, slope = r / divisor, 1 + 0.5 / root
        rows = {
            "factors": -projection * coefficient,
            "by_projection": -coefficient,
            "by_square": projection * coefficient.square() * slope,
            "of_square": of_logs * r / (1 + q),
        }
        found = {"of_x": torch.empty_like(x), "of_beta1": torch.empty_like(beta1), "of_beta2": torch.empty_like(beta2)}
        of_factor = torch.empty_like(projection)
        signal = {"clean": clean, "beta1": beta1, "beta2": beta2}
        ctx.kernels("line_backward", of_z=of_z, x=x, **signal, **rows, **found, of_factors=of_factor, side=ctx.side)
        by_variance = -projection * (1 - q * slope / divisor) / divisor
        of_variance = (of_factor * by_variance + of_logs * square / (1 + q)).sum((1, 2))
        return None, None, found["of_x"], None, found["of_beta1"], found["of_beta2"], of_variance


def _add_lines(
    z: Tensor,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    offsets: Tensor,
    cells: Cells,
    along: tuple[int, int],
) -> Tensor:
    """Add line offsets, z + d·offsets; `offsets` has the shape of one sum of `line_sums`."""
    return z + (unit_offset(z, clean, beta1, beta2, cells) * offsets).reshape(z.shape)


def _add_by_kernel(kernels: Kernels, *given: Any) -> Tensor:
    *tensors, offsets, (_, side), _ = given
    z, clean, beta1, beta2, factors = contiguous(*tensors, offsets[:, :, 0, :, 0])
    x = torch.empty_like(z)
    kernels("line_add", x=z, clean=clean, beta1=beta1, beta2=beta2, factors=factors, z=x, side=side)
    return x


line_sums = Operation(_line_sums, _sums_by_kernel, SOURCE, _rows_only, differentiable=False)
whiten_lines = Operation(_whiten_lines, _whiten_by_kernel, SOURCE, _rows_only, constant=("clean",))
add_lines = Operation(_add_lines, _add_by_kernel, SOURCE, _rows_only, differentiable=False)
