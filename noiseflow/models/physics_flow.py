"""The default model: a camera's physics, and a small flow on what the physics leaves over."""

import torch
from torch import Tensor

from noiseflow.flows import masks
from noiseflow.flows.conditioning import ConditionalNet
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.householder import HouseholderConv1x1
from noiseflow.flows.line_noise import LineNoise
from noiseflow.flows.masked_coupling import MaskedAffineCoupling
from noiseflow.flows.shot_read import ShotReadScale
from noiseflow.flows.spline_coupling import PixelSpline, spline_outputs
from noiseflow.flows.tails import SinhArcsinh
from noiseflow.flows.transform import Transform
from noiseflow.models.model import NoiseModel, register
from noiseflow.models.nlf import NoiseLevelFunction
from noiseflow.models.spec import ModelSpec
from noiseflow.models.statistics import NoiseStatistics

__all__ = ["PhysicsFlow"]


@register("physics_flow")
class PhysicsFlow(NoiseModel):
    """Shot and read noise, row noise and tails, then a residual flow that starts at nothing.

    Data → latent: `ShotReadScale`, `LineNoise` whose variance is counted in read-noise
    variances, `SinhArcsinh` on the read noise's share, a `PixelSpline` told of signal, ISO
    and camera, and masked affine couplings.  Below 20,000 parameters by default.

    Options of the spec: ``couplings`` (4), ``width`` of the nets (16), ``bins`` of the spline (8),
    ``column_noise`` (false; a model with it cannot be sampled in strips), ``unknown_camera``,
    the chance in training that a net is not told the camera (0), ``seed`` (0).
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        options = spec.options
        generator = torch.Generator().manual_seed(int(options.get("seed", 0)))
        planes, cameras, width = spec.planes, len(spec.cameras), int(options.get("width", 16))
        bins, dropout = int(options.get("bins", 8)), float(options.get("unknown_camera", 0.0))
        shot_read = ShotReadScale(planes, cameras, spec.isos)

        def dark_offset(cond: Conditions) -> Tensor:
            return shot_read.read_share(cond).sqrt()

        transforms: list[Transform] = [shot_read]
        for axis in ("row", "column") if options.get("column_noise", False) else ("row",):
            transforms.append(LineNoise(planes, cameras, spec.isos, axis, dark_offset))
        transforms.append(SinhArcsinh(cameras, spec.isos, shot_read.read_share))
        net = ConditionalNet(0, spline_outputs(planes, bins), planes, cameras, width, 1, dropout, generator)
        transforms.append(PixelSpline(net, bins))
        kinds = (masks.channel, masks.checkerboard) if planes > 1 else (masks.checkerboard, masks.rows)
        for index in range(int(options.get("couplings", 4))):
            if planes > 1 and index == 2:
                transforms.append(HouseholderConv1x1(planes, generator=generator))
            net = ConditionalNet(planes, 2 * planes, planes, cameras, width, 3, dropout, generator)
            transforms.append(MaskedAffineCoupling(net, kinds[index // 2 % 2](index % 2 == 1)))
        self.flow = Flow(transforms)

    @property
    def shot_read(self) -> ShotReadScale:
        """The physics head; a property, so that its weights are saved once."""
        head = self.flow.transforms[0]
        assert isinstance(head, ShotReadScale)
        return head

    @property
    def reach(self) -> int:
        """Receptive radius in pixels of a plane, even, so that strips of even height keep the masks."""
        return self.flow.reach + self.flow.reach % 2

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        return self.flow.log_prob(noise, cond)

    def _sample(self, cond: Conditions, generator: torch.Generator | None, temperature: float) -> Tensor:
        return self.flow.inverse(temperature * self.flow.base.sample(cond.clean, generator), cond)

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Start at the maximum-likelihood noise level function; row noise starts near none, tails at none."""
        nlf = NoiseLevelFunction(self.spec)
        nlf.start_from(statistics)
        with torch.no_grad():
            self.shot_read.log_beta1.copy_(nlf.log_beta1)
            self.shot_read.log_beta2.copy_(nlf.log_beta2)

    @torch.no_grad()
    def start_from_patches(self, noise: Tensor, cond: Conditions) -> None:
        """After `start_from`: start row (and column) noise by the moments of a batch of training patches."""
        cond = self.checked(cond)
        scaled, _ = self.shot_read(noise, cond)
        for transform in self.flow.transforms:
            if isinstance(transform, LineNoise):
                transform.start_from(scaled, cond)
