"""RealNVP: masked affine couplings behind a shot-and-read head."""

from collections.abc import Sequence

import torch

from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.transform import Transform
from noiseflow.models.flow.flow_model import RESIDUAL_OPTIONS, ResidualFlow, count_option
from noiseflow.models.model import ModelSpec, register

__all__ = ["RealNVP"]


@register("realnvp", ("couplings", *RESIDUAL_OPTIONS))
class RealNVP(ResidualFlow):
    """Shot and read noise, then affine couplings, alternately by checkerboard and by plane.

    Data → latent: `ShotReadScale`, then pairs of `MaskedAffineCoupling` with a mask and its complement, each
    pair behind an `ActNorm`, which replaces batch normalisation.  With a single plane, masks alternate between
    checkerboard and rows.  Both directions take one pass.  |log scale| ≤ 1 per coupling.

    Options of the spec: ``couplings`` (default 6), ``width``, ``unknown_camera``, ``seed``.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017.
    """

    period = 2

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Couplings in pairs, each behind an `ActNorm`."""
        planes, cameras = spec.planes, len(spec.cameras)
        width, dropout = count_option(spec, "width", 16), float(spec.options.get("unknown_camera", 0.0))
        kinds = (masks.checkerboard, masks.channel if planes > 1 else masks.rows)
        transforms: list[Transform] = []
        for index in range(count_option(spec, "couplings", 6)):
            if index % 2 == 0:
                transforms.append(ActNorm(planes))
            net = ConditionalNet(planes, 2 * planes, planes, cameras, width, 3, dropout, generator)
            transforms.append(MaskedAffineCoupling(net, kinds[index // 2 % 2](index % 2 == 1)))
        return transforms
