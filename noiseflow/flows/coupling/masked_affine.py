"""Affine coupling under any mask, told of the conditions."""

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.coupling.masks import Mask
from noiseflow.flows.nets.conditional_net import ConditionalNet, soft_clamp
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.masked_affine import affine_kernels, coupled_by, uncoupled_by

__all__ = ["MaskedAffineCoupling"]


class MaskedAffineCoupling(Transform):
    """Scale and shift the values outside a mask by a function of those inside and the conditions.

    z = x where m,  z = x·exp(s) + t elsewhere,  (t, r) = net(m·x, cond),  s = bound·tanh(r/bound);
    log|det dz/dx| = Σ s outside m.  Exact both ways, one pass each.  With ``masks.channel`` it
    is the coupling of Glow, with ``masks.checkerboard`` that of RealNVP.

    Parameters
    ----------
    net : ConditionalNet
        (B, C, H, W) to (B, 2C, H, W).
    mask : Mask
    bound : float
        Largest |log scale|.
    period : int
        Strips of a frame must start at a multiple of it, or the mask would move.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, eq. 9.
    """

    def __init__(self, net: ConditionalNet, mask: Mask, bound: float = 1.0, period: int = 2) -> None:
        super().__init__()
        self.net = net
        self.mask = mask
        self.bound = bound
        self.period = period
        self.reach = net.reach

    def scale_and_shift(
        self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log scale and shift, both 0 where the mask is true."""
        mask = self.mask(x)
        shift, raw = self.net(x * mask, cond, noise).to(x.dtype).chunk(2, 1)
        return soft_clamp(raw, self.bound) * ~mask, shift * ~mask

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        kernels = affine_kernels(self.net.conv3, x)
        if kernels is not None:
            mask = self.mask(x)
            return coupled_by(kernels, x, self.net.hidden(x * mask, cond, noise), self.net.conv3, ~mask, self.bound)
        log_scale, shift = self.scale_and_shift(x, cond, noise)
        return x * log_scale.exp() + shift, sum_per_sample(log_scale)

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        kernels = None if torch.is_grad_enabled() else affine_kernels(self.net.conv3, z)
        if kernels is not None:
            mask = self.mask(z)
            return uncoupled_by(kernels, z, self.net.hidden(z * mask, cond, noise), self.net.conv3, ~mask, self.bound)
        log_scale, shift = self.scale_and_shift(z, cond, noise)
        return (z - shift) * (-log_scale).exp()
