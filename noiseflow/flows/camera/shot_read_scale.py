"""Shot and read noise of a calibrated camera, continuous in ISO and per plane."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.iso_table import READ_SLOPE, SHOT_SLOPE, at_iso
from noiseflow.flows.signal_model import FLOOR, Light
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.line_noise import scaled, unscaled

__all__ = ["FLOOR", "ShotReadScale"]


class ShotReadScale(Transform):
    """Divide by the standard deviation of shot and read noise.

    z = x / s,  s² = max(β₁·y + β₂, β₂/10);  log|det dz/dx| = −Σ log s.  log β are tables per
    camera over the fitted ISOs, linear in log ISO between and beyond them, plus an offset
    per camera and plane that starts at 0.  With one fitted ISO, β₁ goes with the ISO and β₂ by `READ_SLOPE`.

    Parameters
    ----------
    planes, cameras : int
    isos : sequence of float
        Fitted ISOs, rising.
    tells : bool
        Whether other transforms of its flow are told of its `light`, computed once for all.

    References
    ----------
    Foi, Trimeche, Katkovnik, Egiazarian: Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data, IEEE TIP 2008, eq. 4.
    """

    elementwise = True
    log_isos: Tensor

    def __init__(self, planes: int, cameras: int, isos: Sequence[float], *, tells: bool = False) -> None:
        super().__init__()
        self.tells = tells
        self.log_beta1 = nn.Parameter(torch.full((cameras, len(isos)), -7.0))
        self.log_beta2 = nn.Parameter(torch.full((cameras, len(isos)), -14.0))
        self.plane_beta1 = nn.Parameter(torch.zeros(cameras, planes))
        self.plane_beta2 = nn.Parameter(torch.zeros(cameras, planes))
        self.register_buffer("log_isos", torch.tensor(isos, dtype=torch.float64).log(), persistent=False)

    def betas(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """β₁ and β₂ per element and plane, each (B, C, 1, 1)."""
        camera, knots = cond.camera_indices, self.log_isos.to(self.log_beta1.dtype)
        tables = (
            (self.log_beta1, self.plane_beta1, SHOT_SLOPE),
            (self.log_beta2, self.plane_beta2, READ_SLOPE),
        )
        beta1, beta2 = (
            (at_iso(table[camera], knots, cond.isos, slope)[:, None] + plane[camera]).exp()[:, :, None, None]
            for table, plane, slope in tables
        )
        return beta1, beta2

    def light(self, cond: Conditions) -> Light:
        """Clean signal and betas: those that the conditions carry, if they are of this clean signal."""
        if self.tells and cond.light is not None and cond.light.clean is cond.clean:
            return cond.light
        return Light(cond.clean, *self.betas(cond))

    def told(self, cond: Conditions) -> Conditions:
        """The conditions with the light, if it `tells`."""
        if not self.tells:
            return cond
        light = Light(cond.clean, *self.betas(cond))
        return replace(cond, light=replace(light, known=light.features()))

    def variance(self, cond: Conditions) -> Tensor:
        """s², shape (B, C, H, W)."""
        return self.light(cond).variance()

    def read_share(self, cond: Conditions) -> Tensor:
        """β₂ / s², shape (B, C, H, W): the part of the variance that is read noise; 1 in the dark."""
        return self.light(cond).read_share()

    def shot_moments(self, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Skewness and excess kurtosis of all noise, by the shot noise in it, each (B, C, H, W)."""
        return self.light(cond).shot_moments()

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        light = self.light(cond)
        kernels = light.kernels("lines", x)
        if kernels is not None:
            return scaled(kernels, x, light)
        variance = light.variance()
        return x * variance.rsqrt(), -0.5 * sum_per_sample(variance.log())

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        light = self.light(cond)
        kernels = None if torch.is_grad_enabled() else light.kernels("lines", z)
        if kernels is not None:
            return unscaled(kernels, z, light)
        return z * light.variance().sqrt()
