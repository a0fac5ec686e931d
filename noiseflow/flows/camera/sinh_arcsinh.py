"""Skewed noise of few photo-electrons made normal, by its own first four moments."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.native import Kernels
from noiseflow.ops.tails_and_skew import latent_of, value_of

__all__ = ["LEAST_REST", "SinhArcsinh"]

MOST_SKEW = 1.0
LEAST_REST, MOST_REST = -0.3, 1.5
"""Bounds on the excess kurtosis beyond the squared skewness."""

DEGREE = 4
"""Of the polynomials in squared skewness and that rest: they find the moments to about 0.02."""

NODES = 64
"""Of the Gauss–Hermite rule for moments."""


class SinhArcsinh(Transform):
    """Make values of a known skewness and kurtosis normal.

    z = sinh(δ·asinh(μ + τx) − ε),  log dz/dx = log(δτ) + ½ log(1 + z²) − ½ log(1 + (μ + τx)²).
    ε and δ are those of the sinh-arcsinh distribution with the wanted skewness γ and excess
    kurtosis κ; μ and τ are its mean and standard deviation, so that z of mean 0 and variance
    1 means x of mean 0 and variance 1.  Without skewness and excess it is the identity.
    |γ| is held below 1, κ − γ² between −0.3 and 1.5.

    The γ wanted is that of the noise parameters times a table per camera, linear in log ISO, which starts
    at 1: real noise against an estimate of the clean signal is less skewed than the photons.

    Parameters
    ----------
    cameras : int
    isos : sequence of float

    References
    ----------
    Jones, Pewsey: Sinh-arcsinh distributions, Biometrika 2009, eq. 1 and section 2.
    """

    elementwise = True
    log_isos: Tensor
    polynomials: Tensor
    spreads: Tensor

    def __init__(self, cameras: int, isos: Sequence[float]) -> None:
        super().__init__()
        self.skewness = nn.Parameter(torch.ones(cameras, len(isos)))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)
        self.register_buffer("polynomials", torch.from_numpy(_by_moments()), persistent=False)
        self.register_buffer("spreads", torch.from_numpy(_spreads()), persistent=False)

    def factor(self, cond: Conditions) -> Tensor:
        """On the skewness, (B,)."""
        return at_iso(self.skewness[cond.camera_indices], self.log_isos.to(self.skewness.dtype), cond.isos)

    def parameters_at(self, cond: Conditions, noise: NoiseParameters | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ε, log δ, μ and τ, each (B, C, H, W)."""
        skew, excess = required(noise, self).moments()
        factor = self.factor(cond).to(skew.dtype)
        skew = (factor[:, None, None, None] * skew).clamp(-MOST_SKEW, MOST_SKEW)
        square = skew.square()
        rest = (excess - square).clamp(LEAST_REST, MOST_REST)
        per_skew, log_delta = (_polynomial(table, square, rest) for table in self.polynomials.to(skew.dtype))
        shift = skew * per_skew
        inverse = (-log_delta).exp()
        first, second = (_horner(row, inverse.square() - 1) for row in self.spreads.to(skew.dtype))
        # With A = asinh(Z)/δ: E X = sinh(ε/δ)·E cosh A, E X² = ½(cosh(2ε/δ)·E cosh 2A − 1).
        turned = shift * inverse
        mean = turned.sinh() * first
        variance = 0.5 * ((2 * turned).cosh() * second - 1) - mean.square()
        return shift, log_delta, mean, variance.sqrt()

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        found = self._kernels(x, cond, noise)
        if found is not None:
            return latent_of(found[0], "skew", x, *found[1:])
        shift, log_delta, mean, deviation = self.parameters_at(cond, noise)
        scaled = mean + deviation * x
        z = (log_delta.exp() * scaled.asinh() - shift).sinh()
        # cosh(asinh z) = √(1 + z²) on both sides.
        log_slope = log_delta + deviation.log() + 0.5 * (z.square().log1p() - scaled.square().log1p())
        return z, sum_per_sample(log_slope)

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        found = None if torch.is_grad_enabled() else self._kernels(z, cond, noise)
        if found is not None:
            return value_of(found[0], "skew", z, *found[1:])
        shift, log_delta, mean, deviation = self.parameters_at(cond, noise)
        return (((z.asinh() + shift) * (-log_delta).exp()).sinh() - mean) / deviation

    def _kernels(
        self, x: Tensor, cond: Conditions, noise: NoiseParameters | None
    ) -> tuple[Kernels, NoiseParameters, Sequence[Tensor], Sequence[Tensor]] | None:
        """Kernels and what they take, or None where there are none."""
        light = required(noise, self)
        kernels = light.kernels("shape", x)
        if kernels is None:
            return None
        factor = self.factor(cond)
        excess = torch.zeros_like(factor) if light.read_excess is None else light.read_excess
        return kernels, light, (factor, excess), (self.polynomials, self.spreads)


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
    """Skewness and excess kurtosis of sinh((asinh Z + ε)/δ), as (…, 2)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights /= weights.sum()
    values = np.sinh((np.arcsinh(nodes) + shift[..., None]) / np.exp(log_delta)[..., None])
    values -= (values @ weights)[..., None]
    second, third, fourth = (values**power @ weights for power in (2, 3, 4))
    return np.stack([third / second**1.5, fourth / second**2 - 3], -1)


@cache
def _by_moments() -> NDArray[np.float64]:
    """Coefficients of ε/γ and log δ in γ² and κ − γ², shape (2, DEGREE + 1, DEGREE + 1)."""
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
    # Log δ is 0 at no skewness and no excess.
    for table, values, first in ((tables[0], at[..., 0] / skew, 0), (tables[1], at[..., 1], 1)):
        found = np.linalg.lstsq(terms[:, first:], values.ravel(), rcond=None)[0]
        for (i, j), coefficient in zip(powers[first:], found, strict=True):
            table[i, j] = coefficient
    return tables


@cache
def _spreads(degree: int = 6) -> NDArray[np.float64]:
    """Coefficients of E cosh(n·asinh(Z)/δ), n = 1, 2, in δ⁻² − 1, to 5·10⁻⁷ of it; exact at δ = 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    inverse = np.linspace(math.exp(-0.4), math.exp(0.5), 400)[:, None]
    rows = []
    for order, at_one in ((1, float(weights @ np.sqrt(1 + nodes**2) / weights.sum())), (2, 3.0)):
        values = np.cosh(order * np.arcsinh(nodes) * inverse) @ weights / weights.sum()
        powers = (inverse**2 - 1) ** np.arange(1, degree + 1)
        found = np.linalg.lstsq(powers / values[:, None], 1 - at_one / values, rcond=None)[0]
        rows.append([at_one, *found])
    return np.array(rows)
