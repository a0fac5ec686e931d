"""Monotone rational-quadratic splines with linear tails."""

import math

import torch
from torch import Tensor

from noiseflow.ops.masked_affine import soft_clamp

__all__ = [
    "LOGIT_BOUND",
    "SLOPE_BOUND",
    "knots_from",
    "odd_knots_from",
    "rational_quadratic",
    "rational_quadratic_inverse",
]

LOGIT_BOUND = 1.5
"""Bound on the logits of bin sizes; with 8 bins, each is between 0.7 % and 74 % of the box."""

SLOPE_BOUND = math.log(8.0)
"""Bound on |log slope| at a knot: slopes are between 1/8 and 8."""

Knots = tuple[Tensor, Tensor, Tensor]
"""Positions x and y of the knots, and the slopes there, each (…, K + 1)."""


def knots_from(raw: Tensor, bins: int, box: float) -> Knots:
    """Turn unconstrained numbers into the knots of a monotone map of [−box, box] to itself.

    Parameters
    ----------
    raw : Tensor, shape (..., 3·bins − 1)
        Logits of widths, logits of heights and log slopes at the inner knots; all are soft-clamped.
        Zeros give the identity.
    bins : int
        Number of bins.
    box : float
        Outside ±box the map is the identity, with slope 1 at the joint.
    """
    widths, heights, log_slopes = torch.split(raw, [bins, bins, bins - 1], -1)
    edges = []
    for logits in (widths, heights):
        inner = box * (2 * _parts(logits) - 1)
        end = torch.full_like(inner[..., :1], box)
        edges.append(torch.cat([-end, inner, end], -1))
    slopes = soft_clamp(log_slopes, SLOPE_BOUND).exp()
    one = torch.ones_like(slopes[..., :1])
    return edges[0], edges[1], torch.cat([one, slopes, one], -1)


def odd_knots_from(raw: Tensor, bins: int, box: float) -> Knots:
    """Turn unconstrained numbers into the knots of a monotone odd map, f(−x) = −f(x), of [−box, box] to itself.

    Parameters
    ----------
    raw : Tensor, shape (..., 3·bins)
        Logits of widths and of heights from 0 outwards, and log slopes at 0 and at the inner knots; all are
        soft-clamped.  Zeros give the identity.
    bins : int
        Number of bins on either side of 0.
    box : float
        Outside ±box the map is the identity, with slope 1 at the joint.
    """
    widths, heights, log_slopes = torch.split(raw, bins, -1)
    edges = []
    for logits in (widths, heights):
        inner = box * _parts(logits)
        end = torch.full_like(logits[..., :1], box)
        outwards = torch.cat([inner, end], -1)
        edges.append(torch.cat([-outwards.flip(-1), torch.zeros_like(end), outwards], -1))
    slopes = soft_clamp(log_slopes, SLOPE_BOUND).exp()
    outwards = torch.cat([slopes[..., 1:], torch.ones_like(slopes[..., :1])], -1)
    return edges[0], edges[1], torch.cat([outwards.flip(-1), slopes[..., :1], outwards], -1)


def _parts(logits: Tensor) -> Tensor:
    """Positions of the inner knots as fractions of the box."""
    return soft_clamp(logits, LOGIT_BOUND).softmax(-1).cumsum(-1)[..., :-1]


def rational_quadratic(x: Tensor, knots: Knots) -> tuple[Tensor, Tensor]:
    """Evaluate the spline, which is the identity outside the outermost knots.

    With ξ = (x − xₖ)/(xₖ₊₁ − xₖ), s the mean slope of the bin and δ the slopes at its ends,
    y = yₖ + Δy·(s ξ² + δₖ ξ(1−ξ)) / (s + (δₖ₊₁ + δₖ − 2s) ξ(1−ξ)).

    Parameters
    ----------
    x : Tensor, any shape
        Values to transform.
    knots : three Tensors, shape (*x.shape, K + 1)
        Positions, heights and slopes of the knots.

    Returns
    -------
    y, log_slope : Tensor, shape of x
        Transformed value, and log dy/dx in nats.

    References
    ----------
    Durkan, Bekasov, Murray, Papamakarios: Neural spline flows, NeurIPS 2019, eq. 4–5.
    """
    inside, x_low, width, y_low, height, low, high = _bin(x, knots, 0)
    at = torch.where(inside, (x - x_low) / width, 0.5)
    slope = height / width
    between = at * (1 - at)
    under = slope + (high + low - 2 * slope) * between
    y = y_low + height * (slope * at.square() + low * between) / under
    top = high * at.square() + 2 * slope * between + low * (1 - at).square()
    log_slope = 2 * slope.log() + top.log() - 2 * under.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def rational_quadratic_inverse(y: Tensor, knots: Knots) -> Tensor:
    """Inverse of `rational_quadratic`: solve its quadratic equation for x (eq. 6–8 of the paper)."""
    inside, x_low, width, y_low, height, low, high = _bin(y, knots, 1)
    slope = height / width
    above = torch.where(inside, y - y_low, 0.5 * height)
    curve = above * (high + low - 2 * slope)
    a = height * (slope - low) + curve
    b = height * low - curve
    c = -slope * above
    at = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
    return torch.where(inside, x_low + at * width, y)


def _bin(values: Tensor, knots: Knots, axis: int) -> tuple[Tensor, ...]:
    """For each value: whether it is inside; left x, width, lower y, height and both slopes of its bin."""
    bins = knots[0].shape[-1] - 1
    edges = knots[axis].detach()
    inside = (values > edges[..., 0]) & (values < edges[..., -1])
    index = (values.detach()[..., None] >= edges[..., 1:-1]).sum(-1, keepdim=True).clamp(max=bins - 1)
    x, y, slopes = ((each.gather(-1, index)[..., 0], each.gather(-1, index + 1)[..., 0]) for each in knots)
    return inside, x[0], x[1] - x[0], y[0], y[1] - y[0], slopes[0], slopes[1]
