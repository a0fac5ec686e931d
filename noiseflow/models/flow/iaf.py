"""IAF: inverse autoregressive convolutions, which sample in one pass."""

from collections.abc import Sequence

import torch

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Inverse, Reversed
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.models.flow.maf import AUTOREGRESSIVE_OPTIONS, autoregressive_blocks
from noiseflow.models.model import ModelSpec, register

__all__ = ["InverseAutoregressiveFlow"]


@register("iaf", AUTOREGRESSIVE_OPTIONS)
class InverseAutoregressiveFlow(ResidualFlow):
    """Shot and read noise, then inverse autoregressive convolutions: samples, and their density, in one pass.

    Data → latent: `ShotReadScale`, then `Inverse` of `MaskedAutoregressive` blocks, every second one on the
    reversed frame.  `sample` needs one pass.  `log_prob` of given noise is exact, but proceeds wavefront by
    wavefront and is about forty times slower; a fit by likelihood therefore takes long, and the model is meant
    as the student of a `maf` (``noiseflow distill``).  |log scale| ≤ 1 per block.

    Options of the spec: those of ``maf``, with 1 as the default of ``blocks``.

    References
    ----------
    Kingma et al.: Improving variational inference with inverse autoregressive flow, NeurIPS 2016.
    van den Oord et al.: Parallel WaveNet, ICML 2018.
    """

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Inverse autoregressive blocks; sampling starts with the last one."""
        return [
            Inverse(Reversed(block) if index % 2 else block)
            for index, block in enumerate(autoregressive_blocks(spec, generator, 1))
        ]
