"""What all models that are one flow share."""

from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random.sampling import Source

__all__ = ["FlowModel"]


class FlowModel(NoiseModel):
    """A noise model whose density is that of its ``flow``."""

    flow: Flow

    @property
    def elementwise(self) -> bool:
        """As the flow."""
        return self.flow.elementwise

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        return self.flow.log_prob(noise, cond)

    def _sample(self, cond: Conditions, generator: Source, temperature: float) -> Tensor:
        return self.flow.sample(cond, generator, temperature)

    def _latent(self, noise: Tensor, cond: Conditions) -> Tensor | None:
        z: Tensor = self.flow(noise, cond)[0]
        return z
