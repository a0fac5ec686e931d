"""MAF: masked autoregressive convolutions behind a shot-and-read head."""

from collections.abc import Sequence

import torch

from noiseflow.flows.autoregressive.transform import MaskedAutoregressive
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Reversed
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.residual_flow import ResidualFlow, count_option
from noiseflow.models.model import register
from noiseflow.models.spec import ModelSpec

__all__ = ["MaskedAutoregressiveFlow", "autoregressive_blocks"]


@register("maf")
class MaskedAutoregressiveFlow(ResidualFlow):
    """Shot and read noise, then autoregressive convolutions in raster order: a density in one pass.

    Data → latent: `ShotReadScale`, then `MaskedAutoregressive` blocks, every second one on the
    reversed frame.  Its density is one pass; its samples go front by front and block by block,
    tens to a hundred times slower: distil it (``noiseflow distill``) for samples.  A sample depends on the
    whole frame above it, so that a frame cannot be sampled in tiles.  |log scale| ≤ 1 a block.

    Options of the spec: ``blocks`` (2), ``above`` (2) and ``beside`` (2), the window in pixels of a
    plane, ``width``, a multiple of the planes, ``unknown_camera``, ``seed``.

    References
    ----------
    Papamakarios, Pavlakou, Murray: Masked autoregressive flow for density estimation, NeurIPS 2017.
    """

    options: tuple[str, ...] = ("blocks", "above", "beside", *ResidualFlow.options)

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Blocks."""
        return [
            Reversed(block) if index % 2 else block
            for index, block in enumerate(autoregressive_blocks(spec, generator, 2))
        ]


def autoregressive_blocks(spec: ModelSpec, generator: torch.Generator, blocks: int) -> list[Transform]:
    """`MaskedAutoregressive` blocks as the options of a spec say, `blocks` of them by default."""
    above, beside = count_option(spec, "above", 2, 0), count_option(spec, "beside", 2, 0)
    width, dropout = count_option(spec, "width", 16), float(spec.options.get("unknown_camera", 0.0))
    return [
        MaskedAutoregressive(
            MaskedNet(spec.planes, len(spec.cameras), width, above, beside, dropout, generator),
        )
        for _ in range(count_option(spec, "blocks", blocks))
    ]
