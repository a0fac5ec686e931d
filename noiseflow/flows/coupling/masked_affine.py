"""Affine coupling with any mask and a net that sees the conditions."""

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
    log|det dz/dx| = Σ s outside m.  Exact both ways, one pass each.  With ``masks.channel`` this
    is the coupling of Glow, with ``masks.checkerboard`` that of RealNVP.

    Parameters
    ----------
    net : ConditionalNet
        Maps the masked values, (B, C, H, W), to t and r, (B, 2C, H, W).
    mask : Mask
        The mask m: which values condition the others.
    bound : float
        Largest |log scale|.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, eq. 9.
    """

    period = 2  # tiles start at even pixels, so that the mask stays in place

    def __init__(self, net: ConditionalNet, mask: Mask, bound: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.mask = mask
        self.bound = bound
        self.reach = net.reach

    def forward(self, x: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Map data x to latent z; return z and log|det dz/dx| in nats, shape (B,)."""
        mask = self.mask(x)
        hidden, last = self.net.hidden(x * mask, cond, noise), self.net.conv3
        z, log_det = couple_masked(x, hidden, last.weight, last.bias, ~mask, self.bound)
        return z, log_det

    def inverse(self, z: Tensor, cond: Resolved, noise: NoiseParameters | None = None) -> Tensor:
        """Map latent z to data x."""
        mask = self.mask(z)
        hidden, last = self.net.hidden(z * mask, cond, noise), self.net.conv3
        x: Tensor = uncouple_masked(z, hidden, last.weight, last.bias, ~mask, self.bound)
        return x
