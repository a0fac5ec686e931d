"""Activation normalisation (Glow): one scale and shift per plane."""

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

__all__ = ["ActNorm"]


class ActNorm(Transform):
    """Scale and shift each plane by learned numbers; batch statistics are never used.

    z = (x + b)·exp(s);  log|det dz/dx| = H·W · Σ s.  The layer starts as the identity; `start_from`
    initialises it from data.

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
        """Set b and s so that each plane of `x`, shape (B, C, H, W), gets mean 0 and variance 1."""
        self.shift.copy_(-x.mean((0, 2, 3)))
        self.log_scale.copy_(-0.5 * x.var((0, 2, 3), correction=0).clamp(min=1e-12).log())

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        z = (x + self.shift[:, None, None]) * self.log_scale.exp()[:, None, None]
        return z, (self.log_scale.sum() * (x.shape[2] * x.shape[3])).expand(x.shape[0])

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return z * (-self.log_scale).exp()[:, None, None] - self.shift[:, None, None]
