"""Multi-scale split (RealNVP, Glow): some planes are done, the rest goes on."""

from collections.abc import Iterable

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.transform import Transform

__all__ = ["Split"]


class Split(Transform):
    """Send the first planes // 2 planes to the latent as they are, the others through more transforms.

    z = (x_a, f(x_b));  log|det dz/dx| is that of f.  With a `Squeezed` inside it is one level
    of a multi-scale flow, whose latent keeps the data's shape.  The transforms see the clean
    signal of all planes.

    Parameters
    ----------
    transforms : iterable of Transform
        For planes − planes // 2 planes, in the order data → latent.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017, section 3.6.
    Kingma, Dhariwal: Glow, NeurIPS 2018, figure 2b.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        super().__init__()
        self.inner = Flow(transforms)
        self.reach = self.inner.reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.inner.sampling_reach

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        first = x.shape[1] // 2
        z, log_det = self.inner(x[:, first:], cond)
        return torch.cat([x[:, :first], z], 1), log_det

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        first = z.shape[1] // 2
        return torch.cat([z[:, :first], self.inner.inverse(z[:, first:], cond)], 1)
