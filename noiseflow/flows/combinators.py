"""Any transform the other way round."""

from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.transform import Transform

__all__ = ["Inverse"]


class Inverse(Transform):
    """A transform with its directions swapped: its inverse takes data to latent.

    z = f⁻¹(x),  log|det dz/dx| = −log|det df/dz| at z.  Around a `MaskedAutoregressive` it is
    inverse autoregressive flow (IAF): a sample and its density in one pass, the density of
    other data by the sequential inverse.

    Parameters
    ----------
    transform : Transform

    References
    ----------
    Kingma et al.: Improving variational inference with inverse autoregressive flow, NeurIPS
    2016, section 3.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.reach = transform.reach
        self.elementwise = transform.elementwise

    @property
    def forward_reach(self) -> int:
        """Receptive radius of `forward`, in pixels of a plane."""
        return self.transform.sampling_reach

    @property
    def sampling_reach(self) -> int:
        """Receptive radius of `inverse`, in pixels of a plane."""
        return self.transform.forward_reach

    def forward(self, x: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Data to latent."""
        z = self.transform.inverse(x, cond)
        return z, -self.transform(z, cond)[1]

    def inverse(self, z: Tensor, cond: Conditions) -> Tensor:
        """Latent to data."""
        return self.inverse_and_log_det(z, cond)[0]

    def inverse_and_log_det(self, z: Tensor, cond: Conditions) -> tuple[Tensor, Tensor]:
        """Latent to data with log|det dx/dz|, in one pass of the transform."""
        x, log_det = self.transform(z, cond)
        return x, log_det
