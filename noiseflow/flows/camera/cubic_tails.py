"""Heavy tails of read noise, as a cubic of a normal value."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.flows.camera.sinh_arcsinh import LEAST_REST
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import at_iso
from noiseflow.flows.signal_model import NoiseParameters, required
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.native import Kernels
from noiseflow.ops.tails_and_skew import latent_of, value_of

__all__ = ["CubicTails"]

MOST_EXCESS = 12.0
"""Bound on the excess kurtosis; Laplace's is 3, the logistic's 1.2."""

LEAST = 1e-6
"""Of the cubic's coefficient, where the formula still has its precision."""


class CubicTails(Transform):
    """Make symmetric heavy tails normal, at equal variance.

    x = (z + a z³)/c,  c² = 1 + 6a + 15a², so that z and x both have variance 1;
    z = 2/√(3a) · sinh(⅓ asinh(3√(3a)/2 · c x)),  log dz/dx = log c − log(1 + 3a z²).
    The excess kurtosis κ = (24a + 432a² + 3240a³ + 9720a⁴)/c⁴ is a table per camera, linear in
    log ISO; with `by_read_share`, times the square of the read noise's share in the variance, by
    which cumulants add.  Of Tukey's lambda noise with −0.09 ≤ λ ≤ 0.14 and the kurtosis of
    it this is within 3·10⁻⁴ nats.  A table may be negative, down to −0.3: this transform takes that
    for 0, and `SinhArcsinh` bends by it.

    Parameters
    ----------
    cameras : int
    isos : sequence of float
    by_read_share : bool
        Whether the table is the read noise's alone, which is a part of all noise; else it is that of all noise.

    References
    ----------
    Fleishman: A method for simulating non-normal distributions, Psychometrika 1978, eq. 1.
    """

    elementwise = True
    log_isos: Tensor
    series: Tensor

    def __init__(self, cameras: int, isos: Sequence[float], *, by_read_share: bool = False) -> None:
        super().__init__()
        self.by_read_share = by_read_share
        self.kurtosis = nn.Parameter(torch.zeros(cameras, len(isos)))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)
        self.register_buffer("series", torch.from_numpy(_cubic_by_excess()), persistent=False)

    def read_excess(self, cond: Conditions) -> Tensor:
        """κ of the read noise by itself, (B,)."""
        knots = self.log_isos.to(self.kurtosis.dtype)
        return at_iso(self.kurtosis[cond.camera_indices], knots, cond.isos).clamp(LEAST_REST, MOST_EXCESS)

    def shared_features(self, cond: Conditions, noise: NoiseParameters | None) -> NoiseParameters | None:
        """The noise parameters with its read noise's kurtosis, if there are any."""
        return replace(noise, read_excess=self.read_excess(cond)) if noise and self.by_read_share else noise

    def excess(self, cond: Conditions, noise: NoiseParameters | None) -> Tensor:
        """κ of the read noise as a part of all noise, broadcastable to (B, C, H, W)."""
        excess = self.read_excess(cond)[:, None, None, None]
        return excess * required(noise, self).read_share().clamp(max=1).square() if self.by_read_share else excess

    def cubic(self, cond: Conditions, noise: NoiseParameters | None) -> Tensor:
        """Coefficient a, broadcastable to (B, C, H, W)."""
        excess = self.excess(cond, noise).clamp(min=0)
        log_excess, ratio = excess.log1p(), torch.zeros_like(excess)
        for coefficient in self.series.to(excess.dtype).flip(0):
            ratio = ratio * log_excess + coefficient
        return (excess * ratio).clamp(min=LEAST)

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        found = self._kernels(x, cond, noise)
        if found is not None:
            return latent_of(found[0], "tails", x, *found[1:])
        a = self.cubic(cond, noise)
        root, spread = (3 * a).sqrt(), (1 + a * (6 + 15 * a)).sqrt()
        z = 2 / root * ((1.5 * root * spread * x).asinh() / 3).sinh()
        return z, sum_per_sample(spread.log() - (3 * a * z.square()).log1p())

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        found = None if torch.is_grad_enabled() else self._kernels(z, cond, noise)
        if found is not None:
            return value_of(found[0], "tails", z, *found[1:])
        a = self.cubic(cond, noise)
        return z * (1 + a * z.square()) / (1 + a * (6 + 15 * a)).sqrt()

    def _kernels(
        self, x: Tensor, cond: Conditions, noise: NoiseParameters | None
    ) -> tuple[Kernels, NoiseParameters, Sequence[Tensor], Sequence[Tensor]] | None:
        """Kernels and what they take, or None where there are none."""
        if not self.by_read_share:
            return None
        light = required(noise, self)
        kernels = light.kernels("shape", x)
        return None if kernels is None else (kernels, light, (self.read_excess(cond),), (self.series,))


@cache
def _cubic_by_excess(degree: int = 4) -> NDArray[np.float64]:
    """Coefficients of a/κ in log(1 + κ), to 0.1 %."""
    a = np.linspace(1e-4, 0.3, 3000)
    excess = a * (24 + a * (432 + a * (3240 + a * 9720))) / (1 + a * (6 + 15 * a)) ** 2
    powers = np.log1p(excess)[:, None] ** np.arange(degree + 1)
    return np.asarray(np.linalg.lstsq(powers, a / excess, rcond=None)[0])
