"""A transform on the frame turned by 180°, its planes in reverse order."""

from dataclasses import replace

from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.transform import Transform

__all__ = ["Reversed"]


class Reversed(Transform):
    """Run a transform on values and clean signal with planes, rows and columns in reverse order.

    z = r(f(r(x)));  log|det dz/dx| is that of f.  Between two autoregressive transforms it lets
    the second see what comes after a value where the first sees what comes before.

    Parameters
    ----------
    transform : Transform

    References
    ----------
    Papamakarios, Pavlakou, Murray: Masked autoregressive flow, NeurIPS 2017, section 3.1
    (the order is reversed from layer to layer).
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.reach = transform.reach
        self.elementwise = transform.elementwise

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.transform.forward_reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.transform.sampling_reach

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        z, log_det = self.transform(_reverse(x), _turned(cond))
        return _reverse(z), log_det

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        return _reverse(self.transform.inverse(_reverse(z), _turned(cond)))

    def inverse_and_log_det(self, z: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Latent to data, with log|det dx/dz|."""
        x, log_det = self.transform.inverse_and_log_det(_reverse(z), _turned(cond))
        return _reverse(x), log_det


def _reverse(x: Tensor) -> Tensor:
    return x.flip((1, 2, 3))


def _turned(cond: Conditions) -> Conditions:
    return replace(cond, clean=_reverse(cond.clean))
