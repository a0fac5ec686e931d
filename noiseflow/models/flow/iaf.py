"""IAF: autoregressive convolutions the other way round, which sample in one pass."""

from collections.abc import Sequence

import torch

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Inverse, Reversed
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.maf import autoregressive_blocks
from noiseflow.models.flow.residual_flow import ResidualFlow
from noiseflow.models.model import register
from noiseflow.models.spec import ModelSpec

__all__ = ["InverseAutoregressiveFlow"]


@register("iaf")
class InverseAutoregressiveFlow(ResidualFlow):
    """Shot and read noise, then inverse autoregressive convolutions: samples, and their density, in one pass.

    Data → latent: `ShotReadScale`, then `Inverse` of `MaskedAutoregressive` blocks, every second one
    on the reversed frame.  `sample` is one pass.  `log_prob` of given noise is exact too, but
    sequential, front by front, and some forty times slower; so a fit by likelihood
    takes long, and the model is meant as the student of a `maf` (``noiseflow distill``).
    |log scale| ≤ 1 a block.

    Options of the spec: as those of ``maf``; ``blocks`` (1).

    References
    ----------
    Kingma et al.: Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
    van den Oord et al.: Parallel WaveNet, ICML 2018.
    """

    options: tuple[str, ...] = ("blocks", "above", "beside", *ResidualFlow.options)

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Blocks, the first one in sampling last in the list."""
        return [
            Inverse(Reversed(block) if index % 2 else block)
            for index, block in enumerate(autoregressive_blocks(spec, generator, 1))
        ]
