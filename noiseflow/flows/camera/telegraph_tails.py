"""Heavy-tailed read noise as a mixture: normal noise plus rare jumps of a pixel (random telegraph noise)."""

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
"""Number of kinds of jumps, each with a probability, a size and a spread of the size."""

STEPS = 40
"""Most Newton steps of the inverse; nearly all values take 4 to 8."""

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)

LEAST_TAIL = -80.0
"""Log of the smallest tail probability passed to `torch.special.ndtri`; float32 ends near e⁻⁸⁷."""

Part = tuple[Tensor, Tensor, Tensor]
"""Log weight, mean and standard deviation of a component of the mixture, each (B, C, H, W)."""


class TelegraphTails(Transform):
    """Map read noise with rare jumps to normal noise of the same variance, by its distribution function.

    In units of the standard deviation of read noise without jumps, read noise is e + j with e standard normal.
    With probability p_k the jump j is of kind k: normal about +d_k or −d_k (equally likely) with standard deviation
    t_k.  Otherwise j = 0.  Let V = 1 + Σ p_k (d_k² + t_k²), and w the share of the read noise, jumps included, in
    the variance of the pixel.  Then x, of variance 1, has the distribution function

        F(x) = Σ π Φ((x − m)/s),  s² = 1 − w + w(1 + t²)/V,  m = ±d √(w/V) or 0,

    over the components of the mixture with weights π, and z = Φ⁻¹(F(x)), log dz/dx = log F′(x) + ½z² + ½ log 2π.
    F − ½ is odd, so z is an odd function of x.  The inverse uses Newton's method, bracketed by the quantiles of the
    components, to the precision of the dtype.

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
        """The noise parameters with the read noise's excess kurtosis added; None if there are none."""
        return replace(noise, read_excess=self.read_excess(cond)) if noise else noise

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
        parts = self._parts(x, cond, noise)
        with full_precision(x):
            sign = torch.where(x < 0, -1.0, 1.0).to(x.dtype)
            z = _normal_of(_log_upper(parts, sign * x))
            log_slope = _log_density(parts, sign * x) + 0.5 * z.square() + HALF_LOG_TAU
        return (sign * z).to(given), sum_per_sample(log_slope)

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        given, z = z.dtype, z.to(torch.promote_types(z.dtype, torch.float32))
        parts = self._parts(z, cond, noise)
        with full_precision(z):
            sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
            with torch.no_grad():
                x = _quantile(parts, sign * z)
            if torch.is_grad_enabled():
                # Two Newton steps from the solution carry its first and second derivatives.
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
    """Log of the upper tail, log(1 − F(x))."""
    return _log_sum(weight + _log_ndtr((mean - x) / own) for weight, mean, own in parts)


def _log_density(parts: Sequence[Part], x: Tensor) -> Tensor:
    """Log-density log F′(x)."""
    return _log_sum(
        weight - 0.5 * ((x - mean) / own).square() - own.log() - HALF_LOG_TAU for weight, mean, own in parts
    )


def _quantile(parts: Sequence[Part], z: Tensor) -> Tensor:
    """The x with the same upper tail as z ≥ 0; each value's result is independent of the others in the batch."""
    parts = [(weight.flatten(), mean.flatten(), own.flatten()) for weight, mean, own in parts]
    z, shape = z.flatten(), z.shape
    # Symmetric jumps only make the tail heavier, so the quantile of the jump-free component is a lower bound.
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
            # Under torch.func no value can be dropped from the batch: converged values keep their result.
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
    """Log Σ exp of the terms.

    `torch.logaddexp` is not used: its last bits depend on where in the array a value is.
    """
    every = list(terms)
    with torch.no_grad():
        largest = reduce(torch.maximum, every).clamp(min=torch.finfo(every[0].dtype).min)
    return largest + sum((term - largest).exp() for term in every).log()  # type: ignore[union-attr]


def _log_ndtr(x: Tensor) -> Tensor:
    """Log Φ(x), by functions that `torch.func.vmap` supports."""
    low = x < -1
    tail = (0.5 * torch.special.erfcx(torch.where(low, -x, 1.0) * math.sqrt(0.5))).log() - 0.5 * x.square()
    return torch.where(low, tail, torch.log1p(-0.5 * torch.erfc(torch.where(low, 0.0, x) * math.sqrt(0.5))))


def _normal_of(log_tail: Tensor) -> Tensor:
    """The z ≥ 0 whose upper tail 1 − Φ(z) has this logarithm."""
    far = log_tail < LEAST_TAIL
    tail = log_tail.clamp(min=LEAST_TAIL).exp()
    # Rounding may lift the tail above ½; it is clamped so that the gradient at x = 0 is kept.
    near: Tensor = -torch.special.ndtri(tail - (tail - 0.5).clamp(min=0).detach())
    if not under_func() and not bool(far.any()):
        return near
    # Replace near values, so that the branch not taken, and its gradient, stay finite.
    log_tail = torch.where(far, log_tail, 2 * LEAST_TAIL)
    with torch.no_grad():
        # −log tail = z²/2 + log z + ½ log 2π + 1/z² …; solving for z² is a contraction where z is large.
        rest = -2 * (log_tail + HALF_LOG_TAU)
        z = rest.sqrt()
        for _ in range(6):
            square = z.square().clamp(min=100)
            series = 1 - 1 / square * (1 - 3 / square * (1 - 5 / square))
            z = (rest - square.log() + 2 * series.log()).sqrt()
        tail = _log_ndtr(-z)
        hazard = (-0.5 * z.square() - HALF_LOG_TAU - tail).exp()
    # As in the inverse: the extra term is 0 but carries the gradient.
    return torch.where(far, z + (tail - log_tail) / hazard, near)
