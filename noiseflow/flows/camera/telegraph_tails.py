"""Heavy tails of read noise as a mixture: normal noise, to which few pixels add a jump (random telegraph noise)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor, nn

from noiseflow.flows.camera.cubic_tails import MOST_EXCESS
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import IsoPlace
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import Transform, full_precision, sum_per_sample
from noiseflow.ops.readable import under_func

__all__ = ["KINDS", "TelegraphTails"]

KINDS = 2
"""Kinds of jumps, each with a rate, a size and a spread of it."""

STEPS = 40
"""Most steps of the inverse; nearly all values take 4 to 8."""

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)

LEAST_TAIL = -80.0
"""Log of the smallest tail of a normal value that `torch.special.ndtri` takes; in float32 e⁻⁸⁷ is 0."""

Part = tuple[Tensor, Tensor, Tensor]
"""Log weight, mean and standard deviation of a part of the mixture, each (B, C, H, W)."""


class TelegraphTails(Transform):
    """Make read noise with jumps normal, at equal variance, by its distribution function.

    In units of the standard deviation of read noise without jumps, read noise is e + j with e standard normal and
    j = 0, or with probability p_k of the kind k normal about ±d_k with deviation t_k, both signs alike.  With
    V = 1 + Σ p_k (d_k² + t_k²) and w the share of all read noise, jumps included, in the variance of the pixel, x of
    variance 1 is distributed as

        F(x) = Σ π Φ((x − m)/s),  s² = 1 − w + w(1 + t²)/V,  m = ±d √(w/V) or 0,

    z = Φ⁻¹(F(x)), log dz/dx = log F′(x) + ½z² + ½ log 2π.  F is odd about ½, so that z is an odd function of x.
    The inverse is a search by Newton's method within the quantiles of the parts, to the precision of the dtype.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    isos : sequence of float
        ISOs of the knots, in rising order; tables are linear in log ISO between them and constant beyond.

    References
    ----------
    Kirton, Uren: Noise in solid-state microstructures, Advances in Physics 1989, section 2.
    """

    elementwise = True
    sequential_inverse = True
    log_isos: Tensor

    def __init__(self, cameras: int, isos: Sequence[float]) -> None:
        super().__init__()
        sizes = torch.tensor([3.0, 6.0]).log()[None, :, None].expand(cameras, KINDS, len(isos))
        self.log_rate = nn.Parameter(torch.full((cameras, KINDS, len(isos)), -7.0))
        self.log_size = nn.Parameter(sizes.clone())
        self.log_spread = nn.Parameter(torch.zeros(cameras, KINDS, len(isos)))
        self._constant("log_isos", log_of(isos))

    def jumps(self, cond: Resolved) -> tuple[Tensor, Tensor, Tensor]:
        """Probability, size and spread of each kind, in σ of read noise without jumps, each (B, KINDS)."""
        place = IsoPlace.of(self.log_isos.to(self.log_rate.dtype), cond.iso)
        rate, size, spread = (
            place.held(table[cond.camera]).exp() for table in (self.log_rate, self.log_size, self.log_spread)
        )
        return rate / (1 + rate.sum(1, keepdim=True)), size, spread

    def read_excess(self, cond: Resolved) -> Tensor:
        """Excess kurtosis of the read noise, (B,)."""
        rate, size, spread = self.jumps(cond)
        square, own = size.square(), 1 + spread.square()
        variance = 1 + (rate * (square + own - 1)).sum(1)
        fourth = 3 + (rate * (square.square() + 6 * square * own + 3 * own.square() - 3)).sum(1)
        return (fourth / variance.square() - 3).clamp(0, MOST_EXCESS)

    def shared_features(self, cond: Resolved, noise: NoiseParameters | None) -> NoiseParameters | None:
        """The noise parameters with the kurtosis of the read noise, if there are any."""
        return replace(noise, read_excess=self.read_excess(cond)) if noise else noise

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
        parts = self._parts(x, cond, noise)
        with full_precision(x):
            sign = torch.where(x < 0, -1.0, 1.0).to(x.dtype)
            z = _normal_of(_log_upper(parts, sign * x))
            log_slope = _log_density(parts, sign * x) + 0.5 * z.square() + HALF_LOG_TAU
        return (sign * z).to(given), sum_per_sample(log_slope)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        given, z = z.dtype, z.to(torch.promote_types(z.dtype, torch.float32))
        parts = self._parts(z, cond, noise)
        with full_precision(z):
            sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
            with torch.no_grad():
                x = _quantile(parts, sign * z)
            if torch.is_grad_enabled():
                # Steps of Newton's method from the solution: two have its first and second derivatives.
                target = _log_ndtr(-sign * z)
                for _ in range(2):
                    upper = _log_upper(parts, x)
                    x = x + (upper - target) * (upper - _log_density(parts, x)).exp()
        return (sign * x).to(given)

    def _parts(self, like: Tensor, cond: Resolved, noise: NoiseParameters | None) -> list[Part]:
        share = required(noise, self).read_share().clamp(max=1).to(like.dtype)
        rate, size, spread = (each.to(like.dtype) for each in self.jumps(cond))
        unit = _wide((1 + (rate * (size.square() + spread.square())).sum(1)).rsqrt())
        root, core = share.sqrt() * unit, 1 - share * (1 - unit.square())
        parts = [(_wide((1 - rate.sum(1)).log()).expand_as(core), torch.zeros_like(core), core.sqrt())]
        for kind in range(KINDS):
            mean, own = _wide(size[:, kind]) * root, (core + (_wide(spread[:, kind]) * root).square()).sqrt()
            weight = _wide((0.5 * rate[:, kind]).log()).expand_as(core)
            parts += [(weight, mean, own), (weight, -mean, own)]
        return parts


def _log_upper(parts: Sequence[Part], x: Tensor) -> Tensor:
    """Log(1 − F(x))."""
    return _log_sum(weight + _log_ndtr((mean - x) / own) for weight, mean, own in parts)


def _log_density(parts: Sequence[Part], x: Tensor) -> Tensor:
    """Log F′(x)."""
    return _log_sum(
        weight - 0.5 * ((x - mean) / own).square() - own.log() - HALF_LOG_TAU for weight, mean, own in parts
    )


def _quantile(parts: Sequence[Part], z: Tensor) -> Tensor:
    """The x of z ≥ 0 with the same upper tail; each is searched for by itself, whatever lies beside it."""
    parts = [(weight.flatten(), mean.flatten(), own.flatten()) for weight, mean, own in parts]
    z, shape = z.flatten(), z.shape
    # Symmetric jumps make the tail of the core heavier: its quantile is the least.
    low, high = parts[0][2] * z, torch.stack([mean + own * z for _, mean, own in parts]).amax(0)
    target = _log_ndtr(-z)
    x, found, rest = low, low.clone(), torch.arange(len(z), device=z.device)
    tiny = 2 * torch.finfo(z.dtype).eps
    still, arrived = None, torch.zeros_like(z, dtype=torch.bool)
    for _ in range(STEPS):
        upper = _log_upper(parts, x)
        over = upper - target
        high, low = torch.where(over < 0, x, high), torch.where(over < 0, low, x)
        newton = x + over * (upper - _log_density(parts, x)).exp()
        moved = torch.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        moving = (over.abs() > tiny * (1 - target)) & (high - low > tiny * high)
        if under_func():
            # Of many values at once none can be left out: those that have arrived stay.
            still = moving if still is None else still & moving
            x = found = torch.where(arrived, x, moved)
            arrived = ~still
            continue
        x = moved
        found[rest] = x
        if not bool(moving.any()):
            break
        rest, x, low, high, target = (each[moving] for each in (rest, x, low, high, target))
        parts = [(weight[moving], mean[moving], own[moving]) for weight, mean, own in parts]
    return found.reshape(shape)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _log_sum(terms: Iterator[Tensor]) -> Tensor:
    """Log Σ exp; `torch.logaddexp` has other last bits at the end of an array than within it."""
    every = list(terms)
    with torch.no_grad():
        largest = reduce(torch.maximum, every).clamp(min=torch.finfo(every[0].dtype).min)
    return largest + sum((term - largest).exp() for term in every).log()  # type: ignore[union-attr]


def _log_ndtr(x: Tensor) -> Tensor:
    """Log Φ(x), by functions that `torch.func.vmap` knows."""
    low = x < -1
    tail = (0.5 * torch.special.erfcx(torch.where(low, -x, 1.0) * math.sqrt(0.5))).log() - 0.5 * x.square()
    return torch.where(low, tail, torch.log1p(-0.5 * torch.erfc(torch.where(low, 0.0, x) * math.sqrt(0.5))))


def _normal_of(log_tail: Tensor) -> Tensor:
    """The z ≥ 0 with this logarithm of the upper tail."""
    far = log_tail < LEAST_TAIL
    tail = log_tail.clamp(min=LEAST_TAIL).exp()
    # Rounding may lead above ½; the gradient at x = 0 stays.
    near: Tensor = -torch.special.ndtri(tail - (tail - 0.5).clamp(min=0).detach())
    if not under_func() and not bool(far.any()):
        return near
    # Where a value is not far the branch that is not taken stays finite, and so does its gradient.
    log_tail = torch.where(far, log_tail, 2 * LEAST_TAIL)
    with torch.no_grad():
        # −log tail = z²/2 + log z + ½ log 2π + 1/z² …, a contraction where z is large.
        rest = -2 * (log_tail + HALF_LOG_TAU)
        z = rest.sqrt()
        for _ in range(6):
            square = z.square().clamp(min=100)
            series = 1 - 1 / square * (1 - 3 / square * (1 - 5 / square))
            z = (rest - square.log() + 2 * series.log()).sqrt()
        tail = _log_ndtr(-z)
        hazard = (-0.5 * z.square() - HALF_LOG_TAU - tail).exp()
    # As of the inverse: no change of the value, but the gradient.
    return torch.where(far, z + (tail - log_tail) / hazard, near)
