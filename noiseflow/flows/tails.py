"""Tail shaping per pixel (sinh-arcsinh) for heavy read-noise tails."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from noiseflow.flows.conditioning import soft_clamp
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso import at_iso
from noiseflow.flows.transform import Transform, sum_per_sample

__all__ = ["SinhArcsinh"]

BOUND = 0.7
"""Bound on |log δ|: kurtosis at the heavy end is above 100."""


class SinhArcsinh(Transform):
    """Make heavy (δ < 1) or light (δ > 1) tails normal, at equal variance.

    z = sinh(δ·asinh(c x)),  log dz/dx = log(δ c) + log cosh(δ·asinh(c x)) − ½ log(1 + (c x)²);
    c(δ) is the standard deviation of sinh(asinh(Z)/δ), so that z of unit variance means x of
    unit variance.  log δ is a table per camera in log ISO, times `weight`²: excess kurtosis
    falls with the square of the share that the tailed noise has in the variance.

    Parameters
    ----------
    cameras : int
    isos : sequence of float
    weight : callable, optional
        From conditions to that share, shape (B, C, H, W); 1 without it.

    References
    ----------
    Jones, Pewsey: Sinh-arcsinh distributions, Biometrika 2009, eq. 1.
    """

    elementwise = True
    log_isos: Tensor
    polynomial: Tensor

    def __init__(
        self, cameras: int, isos: Sequence[float], weight: Callable[[Conditions], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.weight = weight
        self.raw = nn.Parameter(torch.zeros(cameras, len(isos)))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)
        self.register_buffer("polynomial", torch.tensor(_log_deviation(), dtype=torch.float64), persistent=False)

    def log_delta(self, x: Tensor, cond: Conditions) -> Tensor:
        """Log δ, broadcastable to x; 0 is the identity."""
        knots = self.log_isos.to(self.raw.dtype)
        strength = soft_clamp(at_iso(self.raw[cond.camera_indices], knots, cond.isos), BOUND)[:, None, None, None]
        return strength.expand_as(x) if self.weight is None else strength * self.weight(cond).clamp(max=1).square()

    def log_spread(self, log_delta: Tensor) -> Tensor:
        """Log c, by a polynomial that is 0 at δ = 1."""
        value = torch.zeros_like(log_delta)
        for coefficient in self.polynomial.to(log_delta.dtype).flip(0):
            value = (value + coefficient) * log_delta
        return value

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        log_delta = self.log_delta(x, cond)
        log_spread = self.log_spread(log_delta)
        scaled = x * log_spread.exp()
        z = (log_delta.exp() * scaled.asinh()).sinh()
        # cosh(asinh z) = √(1 + z²) on both sides.
        log_slope = log_delta + log_spread + 0.5 * (z.square().log1p() - scaled.square().log1p())
        return z, sum_per_sample(log_slope)

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        log_delta = self.log_delta(z, cond)
        return ((-log_delta).exp() * z.asinh()).sinh() * (-self.log_spread(log_delta)).exp()


def _log_deviation(degree: int = 8) -> list[float]:
    """Coefficients of log std(sinh(asinh(Z)/δ)) as a polynomial in log δ without constant term."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    log_delta = np.linspace(-BOUND, BOUND, 201)
    second = (weights * np.sinh(np.arcsinh(nodes) / np.exp(log_delta)[:, None]) ** 2).sum(1) / weights.sum()
    powers = log_delta[:, None] ** np.arange(1, degree + 1)
    return [float(value) for value in np.linalg.lstsq(powers, 0.5 * np.log(second), rcond=None)[0]]
