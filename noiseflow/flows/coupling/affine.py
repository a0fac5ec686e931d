"""Affine coupling (RealNVP)."""

import torch
from torch import Tensor, nn

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform, sum_per_sample
from noiseflow.ops.coupling_training import coupled, uncoupled

__all__ = ["AffineCoupling"]


class AffineCoupling(Transform):
    """Scale and shift the last planes by a function of the first.

    z_a = x_a,  z_b = x_b · exp(s) + t,  with (t, r) = net(x_a) and s = bound · tanh(r);
    log|det dz/dx| = Σ s.  Exact both ways, one pass each.

    Parameters
    ----------
    planes : int
        Planes of the input; the first planes // 2 condition the rest.
    net : nn.Module
        (B, planes // 2, H, W) to (B, 2·(planes − planes // 2), H, W): t, then r.
    reach : int
        Receptive radius of `net` in pixels.
    bound : float
        Where the learned bound on |log scale| starts.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, eq. 7–8.
    """

    def __init__(self, planes: int, net: nn.Module, reach: int, bound: float = 1e-4) -> None:
        super().__init__()
        self.first = planes // 2
        self.net = net
        self.reach = reach
        self.bound = nn.Parameter(torch.tensor(float(bound)))

    def scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """S (log scale) and t, from the conditioning half."""
        shift, raw = self.net(a).chunk(2, dim=1)
        # tanh, by what is the faster function on a CPU.
        return self.bound * (2 * (2 * raw).sigmoid() - 1), shift

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        done = coupled(self.net, self.bound, x)
        if done is not None:
            return done
        a, b = x[:, : self.first], x[:, self.first :]
        log_scale, shift = self.scale_and_shift(a)
        return torch.cat([a, b * log_scale.exp() + shift], 1), sum_per_sample(log_scale)

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        """Latent to data."""
        done = uncoupled(self.net, self.bound, z)
        if done is not None:
            return done
        a, b = z[:, : self.first], z[:, self.first :]
        log_scale, shift = self.scale_and_shift(a)
        return torch.cat([a, (b - shift) * (-log_scale).exp()], 1)
