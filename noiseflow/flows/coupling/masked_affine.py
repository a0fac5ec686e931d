"""Affine coupling under any mask, by a net that sees the conditions."""

from torch import Tensor

from noiseflow.flows.conditions import Resolved
from noiseflow.flows.coupling.masks import Mask
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.ops.masked_affine import couple_masked, uncouple_masked

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
        Which values condition the others.
    bound : float
        Largest |log scale|.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, eq. 9.
    """

    period = 2  # or the mask would move

    def __init__(self, net: ConditionalNet, mask: Mask, bound: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.mask = mask
        self.bound = bound
        self.reach = net.reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        mask = self.mask(x)
        hidden, last = self.net.hidden(x * mask, cond, noise), self.net.conv3
        z, log_det = couple_masked(x, hidden, last.weight, last.bias, ~mask, self.bound)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        mask = self.mask(z)
        hidden, last = self.net.hidden(z * mask, cond, noise), self.net.conv3
        x: Tensor = uncouple_masked(z, hidden, last.weight, last.bias, ~mask, self.bound)
        return x
