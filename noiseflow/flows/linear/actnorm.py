"""Activation normalisation (Glow): one scale and shift per plane."""

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["ActNorm"]


class ActNorm(Transform):
    """Scale and shift each plane by learned numbers; it never looks at batch statistics.

    z = (x + b)·exp(s);  log|det dz/dx| = H·W · Σ s.  It starts as the identity; `start_from`
    sets it so that given data leave it with mean 0 and variance 1 per plane.

    Parameters
    ----------
    planes : int
        Number of planes.

    References
    ----------
    Kingma, Dhariwal: Glow, NeurIPS 2018, section 3.1.
    """

    elementwise = True

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(planes))
        self.shift = nn.Parameter(torch.zeros(planes))

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Data-dependent start: whiten the planes of `x`, shape (B, C, H, W), one by one."""
        self.shift.copy_(-x.mean((0, 2, 3)))
        self.log_scale.copy_(-0.5 * x.var((0, 2, 3), correction=0).clamp(min=1e-12).log())

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        z = (x + self.shift[:, None, None]) * self.log_scale.exp()[:, None, None]
        return z, (self.log_scale.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        return z * (-self.log_scale).exp()[:, None, None] - self.shift[:, None, None]
