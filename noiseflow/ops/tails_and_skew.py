"""Maps that make normal: the skewness of few photo-electrons (sinh-arcsinh), heavy tails of read noise (cubic).

`clean`, `beta1` and `beta2` are as in `noiseflow.ops.shot_read_noise`; `read_excess`, (B,), is the excess kurtosis of
each element's read noise; `polynomials`, `spreads` and `series` are the tables computed in this module.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.ops.native import PART, Kernels, Operation, Source, contiguous
from noiseflow.ops.shot_read_noise import FLOOR, SIGNAL, moments, per_pixel, read_share

__all__ = [
    "LEAST_REST",
    "Shape",
    "cubic_by_excess",
    "shape_by_moments",
    "shape_from",
    "sinh_arcsinh",
    "sinh_arcsinh_inverse",
    "skew",
    "skew_inverse",
    "spreads_by_shape",
    "tails",
    "tails_inverse",
]

MOST_SKEW = 1.0
LEAST_REST, MOST_REST = -0.3, 1.5
"""Bounds on the rest κ − γ²: excess kurtosis minus squared skewness."""

DEGREE = 4
"""Degree of the polynomials in γ² and κ − γ²; they reproduce the moments to about 0.02."""

SPREADS = 7
"""Number of coefficients of each series in `spreads_by_shape`."""

NODES = 64
"""Nodes of the Gauss–Hermite rule for moments."""

LEAST = 1e-6
"""Smallest coefficient a of the cubic; below it the formula loses precision."""

_SKEW = (
    f"{SIGNAL}, const float *factor[B], const float *kurtosis[B], "
    "const float *polynomials[2, DEGREE + 1, DEGREE + 1], const float *spreads[2, SPREADS]"
)
_TAILS = f"{SIGNAL}, const float *kurtosis[B], const float *series[DEGREE + 1]"
_X, _Z = "float *x[B, C, H, W]", "float *z[B, C, H, W]"
_SIZES = "long batch=B, long planes=C, long pixels=H * W, long threads"
_LOG_DETS = "double *log_dets[B, (H * W + PART - 1) // PART]"
_SAVED = f"const float *of_z[B, C, H, W], const float *of_log_det[B], const {_X}, const {_Z}"
_OF = "float *of_x[B, C, H, W], float *of_beta1[B, C, 1, 1], float *of_beta2[B, C, 1, 1]"

SOURCE = Source(
    ("tails_and_skew",),
    {
        "skew_forward": f"const {_X}, {_SKEW}, {_Z}, {_LOG_DETS}, {_SIZES}",
        "skew_inverse": f"const {_Z}, {_SKEW}, {_X}, {_SIZES}",
        "skew_backward": f"{_SAVED}, {_SKEW}, {_OF}, float *of_factor[B], float *of_kurtosis[B], {_SIZES}",
        "tails_forward": f"const {_X}, {_TAILS}, {_Z}, {_LOG_DETS}, {_SIZES}",
        "tails_inverse": f"const {_Z}, {_TAILS}, {_X}, {_SIZES}",
        "tails_backward": f"{_SAVED}, {_TAILS}, {_OF}, float *of_kurtosis[B], {_SIZES}",
    },
    {
        "FLOOR": FLOOR,
        "DEGREE": DEGREE,
        "SPREADS": SPREADS,
        "MOST_SKEW": MOST_SKEW,
        "LEAST_REST": LEAST_REST,
        "MOST_REST": MOST_REST,
        "LEAST": LEAST,
    },
)

Shape = tuple[Tensor, Tensor, Tensor, Tensor]
"""ε, log δ, μ and τ of a sinh-arcsinh transform, each (B, C, H, W)."""


def shape_from(skew: Tensor, excess: Tensor, polynomials: Tensor, spreads: Tensor) -> Shape:
    """Parameters of the sinh-arcsinh transform that maps values of skewness γ and excess kurtosis κ to normal ones.

    |γ| is limited to 1 and κ − γ² to −0.3 … 1.5.
    """
    skew = skew.clamp(-MOST_SKEW, MOST_SKEW)
    square = skew.square()
    rest = (excess - square).clamp(LEAST_REST, MOST_REST)
    per_skew, log_delta = (_polynomial(table, square, rest) for table in polynomials.to(skew.dtype))
    shift = skew * per_skew
    inverse = (-log_delta).exp()
    first, second = (_horner(row, inverse.square() - 1) for row in spreads.to(skew.dtype))
    # With A = asinh(Z)/δ: E X = sinh(ε/δ)·E cosh A, E X² = ½(cosh(2ε/δ)·E cosh 2A − 1).
    turned = shift * inverse
    mean = turned.sinh() * first
    variance = 0.5 * ((2 * turned).cosh() * second - 1) - mean.square()
    return shift, log_delta, mean, variance.sqrt()


def sinh_arcsinh(x: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Apply z = sinh(δ·asinh(μ + τx) − ε); return z and log dz/dx, each (B, C, H, W)."""
    shift, log_delta, mean, deviation = shape
    scaled = mean + deviation * x
    z = (log_delta.exp() * scaled.asinh() - shift).sinh()
    # cosh(asinh z) = √(1 + z²) on both sides.
    return z, log_delta + deviation.log() + 0.5 * (z.square().log1p() - scaled.square().log1p())


def sinh_arcsinh_inverse(z: Tensor, shape: Shape) -> Tensor:
    """Inverse of `sinh_arcsinh`: the x that gives z."""
    shift, log_delta, mean, deviation = shape
    return (((z.asinh() + shift) * (-log_delta).exp()).sinh() - mean) / deviation


def _shape_at(
    clean: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    factor: Tensor,
    read_excess: Tensor,
    polynomials: Tensor,
    spreads: Tensor,
) -> Shape:
    skew, excess = moments(clean, beta1, beta2, read_excess)
    return shape_from(factor.to(skew.dtype)[:, None, None, None] * skew, excess, polynomials, spreads)


def _skew(
    x: Tensor,
    clean: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    factor: Tensor,
    read_excess: Tensor,
    polynomials: Tensor,
    spreads: Tensor,
) -> tuple[Tensor, Tensor]:
    """Map skewed values x to normal z; return z and log-det, (B,).

    γ and κ are the `moments` of the noise, with γ multiplied by `factor`, (B,).
    """
    shape = _shape_at(clean, beta1, beta2, factor, read_excess, polynomials, spreads)
    z, log_slope = sinh_arcsinh(x, shape)
    return z, _sum(log_slope)


def _skew_inverse(
    z: Tensor,
    clean: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    factor: Tensor,
    read_excess: Tensor,
    polynomials: Tensor,
    spreads: Tensor,
) -> Tensor:
    """Inverse of `_skew`: the x that gives z."""
    return sinh_arcsinh_inverse(z, _shape_at(clean, beta1, beta2, factor, read_excess, polynomials, spreads))


def _cubic(
    clean: Tensor | None, beta1: Tensor | None, beta2: Tensor | None, kurtosis: Tensor, series: Tensor
) -> Tensor:
    """Coefficient a of the cubic, broadcastable to (B, C, H, W)."""
    excess = kurtosis[:, None, None, None]
    if clean is not None and beta1 is not None and beta2 is not None:
        excess = excess * read_share(clean, beta1, beta2).clamp(max=1).square()
    excess = excess.clamp(min=0)
    log_excess, ratio = excess.log1p(), torch.zeros_like(excess)
    for coefficient in series.to(excess.dtype).flip(0):
        ratio = ratio * log_excess + coefficient
    return (excess * ratio).clamp(min=LEAST)


def _tails(
    x: Tensor,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    kurtosis: Tensor,
    series: Tensor,
) -> tuple[Tensor, Tensor]:
    """Map heavy-tailed values x = (z + a z³)/c to normal z; return z and log-det, (B,).

    The excess kurtosis of x is `kurtosis`, (B,); if a clean signal is given, times the squared read-noise share.
    """
    a = _cubic(clean, beta1, beta2, kurtosis, series)
    root, spread = (3 * a).sqrt(), (1 + a * (6 + 15 * a)).sqrt()
    z = 2 / root * ((1.5 * root * spread * x).asinh() / 3).sinh()
    return z, _sum(spread.log() - (3 * a * z.square()).log1p())


def _tails_inverse(
    z: Tensor,
    clean: Tensor | None,
    beta1: Tensor | None,
    beta2: Tensor | None,
    kurtosis: Tensor,
    series: Tensor,
) -> Tensor:
    """Inverse of `_tails`: the x that gives z."""
    a = _cubic(clean, beta1, beta2, kurtosis, series)
    return z * (1 + a * z.square()) / (1 + a * (6 + 15 * a)).sqrt()


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1, dtype=torch.promote_types(values.dtype, torch.float32))


SKEW, TAILS = ("factor", "kurtosis", "polynomials", "spreads"), ("kurtosis", "series")
"""Arguments of the kernels after the signal; tables last."""


def _skew_by_kernel(kernels: Kernels, *given: Tensor) -> tuple[Tensor, Tensor]:
    return _forward(kernels, "skew", SKEW, *given)


def _skew_inverse_by_kernel(kernels: Kernels, *given: Tensor) -> Tensor:
    return _inverse(kernels, "skew", SKEW, *given)


def _tails_by_kernel(kernels: Kernels, *given: Tensor) -> tuple[Tensor, Tensor]:
    return _forward(kernels, "tails", TAILS, *given)


def _tails_inverse_by_kernel(kernels: Kernels, *given: Tensor) -> Tensor:
    return _inverse(kernels, "tails", TAILS, *given)


def _forward(kernels: Kernels, kind: str, names: Sequence[str], *given: Tensor) -> tuple[Tensor, Tensor]:
    z, log_det = _Bent.apply(kernels, kind, names, *given)  # type: ignore[no-untyped-call]
    return z, log_det


def _inverse(kernels: Kernels, kind: str, names: Sequence[str], *given: Tensor) -> Tensor:
    z, *held = contiguous(*given)
    x = torch.empty_like(z)
    kernels(f"{kind}_inverse", z=z, **dict(zip(("clean", "beta1", "beta2", *names), held, strict=True)), x=x)
    return x


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, kind: str, names: Sequence[str], *given: Tensor) -> tuple[Tensor, ...]:
        x, *held = contiguous(*given)
        z, pixels = torch.empty_like(x), x[0, 0].numel()
        log_dets = x.new_empty(len(x), -(-pixels // PART), dtype=torch.float64)
        passed = dict(zip(("clean", "beta1", "beta2", *names), held, strict=True))
        kernels(f"{kind}_forward", x=x, **passed, z=z, log_dets=log_dets)
        ctx.save_for_backward(x, z, *held)
        ctx.kernels, ctx.kind, ctx.names = kernels, kind, names
        return z, log_dets.sum(1).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, z, *held = ctx.saved_tensors
        of_z, of_log_det = contiguous(of_z, of_log_det)
        passed = dict(zip(("clean", "beta1", "beta2", *ctx.names), held, strict=True))
        # Tables, and the clean signal, have no gradient.
        learned = {name: value for name, value in passed.items() if value.ndim == 1 and name != "series"}
        found = {f"of_{name}": torch.empty_like(value) for name, value in learned.items()}
        found |= {f"of_{name}": torch.empty_like(passed[name]) for name in ("beta1", "beta2")}
        of_x = torch.empty_like(x)
        ctx.kernels(f"{ctx.kind}_backward", of_z=of_z, of_log_det=of_log_det, x=x, z=z, **passed, of_x=of_x, **found)
        return None, None, None, of_x, *(found.get(f"of_{name}") for name in passed)


def _with_share(x: Tensor, clean: Tensor | None, *_: Any) -> Mapping[str, int] | None:
    return None if clean is None else per_pixel(x, clean)


def _horner(coefficients: Tensor, x: Tensor) -> Tensor:
    """Σ cₙxⁿ."""
    value = coefficients[-1].expand_as(x)
    for coefficient in coefficients[:-1].flip(0):
        value = value * x + coefficient
    return value


def _polynomial(table: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Σ cᵢⱼuⁱvʲ over i + j ≤ `DEGREE`."""
    value = torch.zeros_like(u)
    for power in range(DEGREE, -1, -1):
        value = value * u + _horner(table[power, : DEGREE + 1 - power], v)
    return value


def _moments(shift: NDArray[np.float64], log_delta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Skewness and excess kurtosis of sinh((asinh Z + ε)/δ), Z standard normal, stacked as (…, 2)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights /= weights.sum()
    values = np.sinh((np.arcsinh(nodes) + shift[..., None]) / np.exp(log_delta)[..., None])
    values -= (values @ weights)[..., None]
    second, third, fourth = (values**power @ weights for power in (2, 3, 4))
    return np.stack([third / second**1.5, fourth / second**2 - 3], -1)


@cache
def shape_by_moments() -> NDArray[np.float64]:
    """Fit ε/γ and log δ by polynomials in γ² and κ − γ²; returns (2, DEGREE + 1, DEGREE + 1)."""
    skew, rest = np.meshgrid(np.linspace(0.02, MOST_SKEW, 9), np.linspace(LEAST_REST, MOST_REST, 15), indexing="ij")
    wanted = np.stack([skew, skew**2 + rest], -1)
    at, step = np.stack([0.5 * skew, -0.12 * rest], -1), 1e-5
    for _ in range(20):
        error = _moments(at[..., 0], at[..., 1]) - wanted
        slopes = [
            (_moments(at[..., 0] + ds, at[..., 1] + dd) - _moments(at[..., 0] - ds, at[..., 1] - dd)) / (2 * step)
            for ds, dd in ((step, 0.0), (0.0, step))
        ]
        at -= np.clip(np.linalg.solve(np.stack(slopes, -1), error[..., None])[..., 0], -0.2, 0.2)
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    terms = np.stack([skew ** (2 * i) * rest**j for i, j in powers], -1).reshape(-1, len(powers))
    tables = np.zeros((2, DEGREE + 1, DEGREE + 1))
    # log δ has no constant term, because it is 0 at γ = κ = 0.
    for table, values, first in ((tables[0], at[..., 0] / skew, 0), (tables[1], at[..., 1], 1)):
        found = np.linalg.lstsq(terms[:, first:], values.ravel(), rcond=None)[0]
        for (i, j), coefficient in zip(powers[first:], found, strict=True):
            table[i, j] = coefficient
    return tables


@cache
def spreads_by_shape() -> NDArray[np.float64]:
    """Fit E cosh(n·asinh(Z)/δ), n = 1, 2, by polynomials in δ⁻² − 1; returns (2, SPREADS).

    The relative error is 5·10⁻⁷, and 0 at δ = 1.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    inverse = np.linspace(math.exp(-0.4), math.exp(0.5), 400)[:, None]
    rows = []
    for order, at_one in ((1, float(weights @ np.sqrt(1 + nodes**2) / weights.sum())), (2, 3.0)):
        values = np.cosh(order * np.arcsinh(nodes) * inverse) @ weights / weights.sum()
        powers = (inverse**2 - 1) ** np.arange(1, SPREADS)
        found = np.linalg.lstsq(powers / values[:, None], 1 - at_one / values, rcond=None)[0]
        rows.append([at_one, *found])
    return np.array(rows)


@cache
def cubic_by_excess() -> NDArray[np.float64]:
    """Fit a/κ of the cubic by a polynomial in log(1 + κ), to 0.1 %; returns (DEGREE + 1,)."""
    a = np.linspace(1e-4, 0.3, 3000)
    excess = a * (24 + a * (432 + a * (3240 + a * 9720))) / (1 + a * (6 + 15 * a)) ** 2
    powers = np.log1p(excess)[:, None] ** np.arange(DEGREE + 1)
    return np.asarray(np.linalg.lstsq(powers, a / excess, rcond=None)[0])


skew = Operation(_skew, _skew_by_kernel, SOURCE, per_pixel, constant=("clean", "polynomials", "spreads"))
skew_inverse = Operation(
    _skew_inverse, _skew_inverse_by_kernel, SOURCE, per_pixel, differentiable=False, constant=("polynomials", "spreads")
)
tails = Operation(_tails, _tails_by_kernel, SOURCE, _with_share, constant=("clean", "series"))
tails_inverse = Operation(
    _tails_inverse, _tails_inverse_by_kernel, SOURCE, _with_share, differentiable=False, constant=("series",)
)
