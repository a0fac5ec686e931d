"""One learned scale for all values: the published `gain4` layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.fusion import PlaneMixing
from noiseflow.flows.signal_model import NoiseParameters

__all__ = ["Gain"]


class Gain(PlaneMixing):
    """Divide by one learned positive number.

    z = x / g;  log|det dz/dx| = −C·H·W · log g.

    Parameters
    ----------
    log_gain : float
        Initial log g.

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow, ICCV 2019, section 4 (gain layer), with
    the gain as one scalar, as in the authors' layer ``gain4``.
    """

    elementwise = True

    def __init__(self, log_gain: float = 0.0) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.tensor(float(log_gain)))

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        return x * (-self.log_gain).exp(), self.log_det(x).expand(x.shape[0])

    def log_det(self, x: Tensor) -> Tensor:
        """log|det dz/dx| in nats, one number for all elements."""
        return -self.log_gain * x[0].numel()

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        return z * self.log_gain.exp()

    def matrix(self, planes: int, *, inverse: bool = False) -> Tensor:
        """The matrix I/g that multiplies a pixel's planes, or its inverse I·g; (C, C), float64."""
        log_gain = self.log_gain.double()
        unit = torch.eye(planes, dtype=torch.float64, device=log_gain.device)
        return unit * (log_gain if inverse else -log_gain).exp()

    @classmethod
    def matrices(cls, layers: Sequence[Any], planes: int, *, inverse: bool) -> Tensor:
        """The `matrix` of each layer, stacked to (layers, C, C), float64."""
        return torch.stack([layer.matrix(planes, inverse=inverse) for layer in layers])
