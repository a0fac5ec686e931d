"""Skewed noise of a few photo-electrons, mapped to a normal distribution by its first four moments."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.nets.saved_state import log_of
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import Transform
from noiseflow.ops.tails_and_skew import shape_by_moments, skew, skew_inverse, spreads_by_shape

__all__ = ["SinhArcsinh"]


class SinhArcsinh(Transform):
    """Map values of known skewness and kurtosis to normal ones.

    z = sinh(δ·asinh(μ + τx) − ε),  log dz/dx = log(δτ) + ½ log(1 + z²) − ½ log(1 + (μ + τx)²).
    ε and δ are the parameters of the sinh-arcsinh distribution with skewness γ and excess kurtosis κ; μ and τ are
    its mean and standard deviation, so that x has mean 0 and variance 1 if z is standard normal.  With γ = κ = 0
    the transform is the identity.  |γ| is limited to 1 and κ − γ² to −0.3 … 1.5.

    γ is the skewness of the shot noise (`NoiseParameters.shot_moments`) times a factor from a table per camera,
    linear in log ISO and initially 1: noise measured against an estimated clean signal is less skewed than
    photon noise.

    Parameters
    ----------
    cameras : int
        Number of cameras.
    isos : sequence of float
        ISOs of the knots, in rising order.

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
        self._constant("log_isos", log_of(isos))
        self._constant("polynomials", torch.from_numpy(shape_by_moments()))
        self._constant("spreads", torch.from_numpy(spreads_by_shape()))

    def factor(self, cond: Resolved) -> Tensor:
        """Factor on the shot-noise skewness for each element, (B,)."""
        return at_iso(self.skewness[cond.camera], self.log_isos.to(self.skewness.dtype), cond.iso)

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z, log_det = skew(x, *self._given(cond, noise))
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        x: Tensor = skew_inverse(z, *self._given(cond, noise))
        return x

    def _given(self, cond: Resolved, noise: NoiseParameters | None) -> tuple[Tensor, ...]:
        """Arguments of the operation after the values."""
        noise = required(noise, self)
        factor = self.factor(cond)
        excess = torch.zeros_like(factor) if noise.read_excess is None else noise.read_excess
        return *noise.signal, factor, excess, self.polynomials, self.spreads
