"""Shot and read noise of a calibrated camera, continuous in ISO and per plane."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso import at_iso
from noiseflow.flows.transform import Transform, sum_per_sample

__all__ = ["FLOOR", "ShotReadScale"]

FLOOR = 0.1
"""Least variance as a part of β₂, for clean estimates below black."""


class ShotReadScale(Transform):
    """Divide by the standard deviation of shot and read noise.

    z = x / s,  s² = max(β₁·y + β₂, β₂/10);  log|det dz/dx| = −Σ log s.  log β are tables per
    camera over the fitted ISOs, linear in log ISO between and beyond them, plus an offset
    per camera and plane that starts at 0.

    Parameters
    ----------
    planes, cameras : int
    isos : sequence of float
        Fitted ISOs, rising.

    References
    ----------
    Foi, Trimeche, Katkovnik, Egiazarian: Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data, IEEE TIP 2008, eq. 4.
    """

    elementwise = True
    log_isos: Tensor

    def __init__(self, planes: int, cameras: int, isos: Sequence[float]) -> None:
        super().__init__()
        self.log_beta1 = nn.Parameter(torch.full((cameras, len(isos)), -7.0))
        self.log_beta2 = nn.Parameter(torch.full((cameras, len(isos)), -14.0))
        self.plane_beta1 = nn.Parameter(torch.zeros(cameras, planes))
        self.plane_beta2 = nn.Parameter(torch.zeros(cameras, planes))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    def betas(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """β₁ and β₂ per element and plane, each (B, C, 1, 1)."""
        camera, knots = cond.camera_indices, self.log_isos.to(self.log_beta1.dtype)
        tables = ((self.log_beta1, self.plane_beta1), (self.log_beta2, self.plane_beta2))
        beta1, beta2 = (
            (at_iso(table[camera], knots, cond.isos)[:, None] + plane[camera]).exp()[:, :, None, None]
            for table, plane in tables
        )
        return beta1, beta2

    def variance(self, cond: Conditions) -> Tensor:
        """s², shape (B, C, H, W)."""
        beta1, beta2 = self.betas(cond)
        return torch.maximum(beta1 * cond.clean + beta2, FLOOR * beta2)

    def read_share(self, cond: Conditions) -> Tensor:
        """β₂ / s², shape (B, C, H, W): the part of the variance that is read noise; 1 in the dark."""
        return self.betas(cond)[1] / self.variance(cond)

    def shot_moments(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of all noise, by the shot noise in it, each (B, C, H, W).

        A Poisson variable's cumulants are all equal: of K·Poisson(y/K) the third is K²y, the
        fourth K³y, and normal read noise adds none; γ = β₁²y/s³, κ = β₁³y/s⁴.
        """
        beta1, beta2 = self.betas(cond)
        variance = torch.maximum(beta1 * cond.clean + beta2, FLOOR * beta2)
        # The shot noise's share, and the variance of one electron in units of s².
        share, electron = (beta1 * cond.clean / variance).clamp(min=0), beta1.square() / variance
        return share * electron.sqrt(), share * electron

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        variance = self.variance(cond)
        return x * variance.rsqrt(), -0.5 * sum_per_sample(variance.log())

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        return z * self.variance(cond).sqrt()
