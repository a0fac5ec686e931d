"""MAF: masked autoregressive convolutions behind a shot-and-read head."""

import math
from collections.abc import Sequence

import torch

from noiseflow.flows.autoregressive.transform import MaskedAutoregressive
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Reversed
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.flow_model import RESIDUAL_OPTIONS, ResidualFlow, count_option
from noiseflow.models.model import ModelSpec, register

__all__ = ["AUTOREGRESSIVE_OPTIONS", "MaskedAutoregressiveFlow", "autoregressive_blocks"]

AUTOREGRESSIVE_OPTIONS = ("blocks", "above", "beside", *RESIDUAL_OPTIONS)


@register("maf", AUTOREGRESSIVE_OPTIONS)
class MaskedAutoregressiveFlow(ResidualFlow):
    """Shot and read noise, then autoregressive convolutions in raster order: a density in one pass.

    Data → latent: `ShotReadScale`, then `MaskedAutoregressive` blocks, every second one on the reversed frame.
    The density needs one pass; sampling proceeds wavefront by wavefront and block by block, tens to a hundred
    times slower, so distil the model (``noiseflow distill``) for sampling.  A sample depends on the whole frame
    above it, so a frame cannot be sampled in tiles.  |log scale| ≤ 1 per block.

    Options of the spec: ``blocks`` (default 2); ``above`` (2) and ``beside`` (2), the window in pixels of a plane;
    ``width``, a multiple of the number of planes (the smallest one of 16 or more); ``unknown_camera``; ``seed``.

    References
    ----------
    Papamakarios, Pavlakou, Murray: Masked autoregressive flow for density estimation, NeurIPS 2017.
    """

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Autoregressive blocks, every second one reversed."""
        return [
            Reversed(block) if index % 2 else block
            for index, block in enumerate(autoregressive_blocks(spec, generator, 2))
        ]


def autoregressive_blocks(spec: ModelSpec, generator: torch.Generator, blocks: int) -> list[Transform]:
    """`MaskedAutoregressive` blocks from the options of a spec; `blocks` is the default number."""
    above, beside = count_option(spec, "above", 2, 0), count_option(spec, "beside", 2, 0)
    # The smallest multiple of the number of planes that is 16 or more.
    least = spec.planes * math.ceil(16 / spec.planes)
    width, dropout = count_option(spec, "width", least), float(spec.options.get("unknown_camera", 0.0))
    return [
        MaskedAutoregressive(
            MaskedNet(spec.planes, len(spec.cameras), width, above, beside, dropout, generator),
        )
        for _ in range(count_option(spec, "blocks", blocks))
    ]
