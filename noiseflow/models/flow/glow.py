"""Glow: steps of actnorm, 1×1 convolution and coupling at several scales."""

from collections.abc import Sequence

import torch

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.combinators import Split, Squeezed
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.flow_model import RESIDUAL_OPTIONS, ResidualFlow, count_option
from noiseflow.models.model import ModelSpec, register

__all__ = ["Glow"]


@register("glow", ("scales", "steps", *RESIDUAL_OPTIONS))
class Glow(ResidualFlow):
    """Shot and read noise, then Glow steps on all planes, and at coarser scales on half of them.

    Data → latent: `ShotReadScale`; at each scale, steps of `ActNorm`, `InvertibleConv1x1` and a
    `MaskedAffineCoupling` by planes; then half of the planes are final (`Split`) and the rest is squeezed
    (`Squeezed`) to the next scale.  Packing a mosaic to planes counts as the first squeeze; a single plane is
    squeezed first.  Both directions take one pass.  |log scale| ≤ 1 per coupling.  If the height or width of a
    frame is not a multiple of `period`, its last rows or columns stay at the finest scale.

    Options of the spec: ``scales`` (default 2), ``steps`` per scale (3), ``width``, ``unknown_camera``, ``seed``.

    References
    ----------
    Kingma, Dhariwal: Glow: generative flow with invertible 1×1 convolutions, NeurIPS 2018.
    """

    @property
    def period(self) -> int:  # type: ignore[override]
        """Side of a cell at the coarsest scale, in pixels of a plane; tiles must start at a multiple of it."""
        scales = count_option(self.spec, "scales", 2)
        return int(2 ** (scales if self.planes == 1 else scales - 1))

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """The scales, each nested in the previous one."""
        cameras, steps = len(spec.cameras), count_option(spec, "steps", 3)
        width, dropout = count_option(spec, "width", 16), float(spec.options.get("unknown_camera", 0.0))

        def scale(planes: int, signal_planes: int, left: int) -> list[Transform]:
            transforms: list[Transform] = []
            for _ in range(steps):
                net = ConditionalNet(planes, 2 * planes, signal_planes, cameras, width, 3, dropout, generator)
                transforms += [
                    ActNorm(planes),
                    InvertibleConv1x1(planes, generator),
                    MaskedAffineCoupling(net, masks.channel()),
                ]
            if left > 1:
                rest = planes - planes // 2
                transforms.append(Split([Squeezed(scale(4 * rest, 4 * signal_planes, left - 1))]))
            return transforms

        scales = count_option(spec, "scales", 2)
        return [Squeezed(scale(4, 4, scales))] if spec.planes == 1 else scale(spec.planes, spec.planes, scales)
