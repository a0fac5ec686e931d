"""The default model: a camera's physics, and a small flow on what the physics leaves over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.coupling.spline import PixelSpline, spline_outputs
from noiseflow.flows.linear.householder import HouseholderConv1x1
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.transform import Transform
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.physics_init import start_lines, start_planes, start_tails
from noiseflow.models.flow.residual_flow import ResidualFlow, count_option, flag_option
from noiseflow.models.model import register
from noiseflow.models.spec import ModelSpec

__all__ = ["DEFAULTS", "PhysicsFlow"]

DEFAULTS: Mapping[str, Any] = {"couplings": 0, "width": 8, "bins": 8, "odd_spline": True}
"""Options where a spec leaves them out; ``docs/physics-flow.md`` has what larger sizes came to."""


@register("physics_flow")
class PhysicsFlow(ResidualFlow):
    """Shot and read noise, row noise, skew and tails, then a residual flow that starts at nothing.

    Data → latent: `ShotReadScale`, `LineNoise` whose variance is counted in read-noise
    variances, `SinhArcsinh` with the skewness of so few photo-electrons, `CubicTails` on the
    read noise's share, a `PixelSpline` told of light, ISO and camera, and, if asked for, masked
    affine couplings, for noise that neighbouring pixels or planes share.

    The spline is odd: bent by another one, noise may get a mean.  At a thousandth of its σ nobody sees
    that in a pixel, but whitened rows of w pixels have it √(1 + r·w) times as large, in the same
    direction in all of them.

    Options of the spec: ``couplings`` (0), ``width`` of the nets (8), ``bins`` of the spline (8),
    ``odd_spline`` (true), ``column_noise`` (false; a model with it cannot be sampled in strips),
    ``unknown_camera``, the chance in training that a net is not told the camera (0), ``seed`` (0).
    The first four are in the model's own spec, so that a run keeps them.
    """

    options: tuple[str, ...] = ("couplings", "bins", "odd_spline", "column_noise", *ResidualFlow.options)
    left_out: Mapping[str, Any] = {"couplings": 4, "width": 16, "bins": 8, "odd_spline": False}

    # Strips of even height keep the masks.
    period = 2
    shares_features = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(replace(spec, options={**DEFAULTS, **spec.options}))

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Row noise, skew and tails by the head, a spline, couplings."""
        options = spec.options
        planes, cameras = spec.planes, len(spec.cameras)
        couplings, width = count_option(spec, "couplings", 0, 0), count_option(spec, "width", 0)
        bins, odd = count_option(spec, "bins", 0), flag_option(spec, "odd_spline")
        dropout = float(options.get("unknown_camera", 0.0))

        transforms: list[Transform] = []
        for axis in ("row", "column") if flag_option(spec, "column_noise") else ("row",):
            transforms.append(LineNoise(planes, cameras, spec.isos, axis, in_read_noise=True))
        transforms += [SinhArcsinh(cameras, spec.isos), CubicTails(cameras, spec.isos, by_read_share=True)]
        outputs = spline_outputs(planes, bins, odd=odd)
        net = ConditionalNet(0, outputs, planes, cameras, width, 1, dropout, generator, from_noise=True)
        transforms.append(PixelSpline(net, bins, odd=odd))
        kinds = (masks.channel, masks.checkerboard) if planes > 1 else (masks.checkerboard, masks.rows)
        for index in range(couplings):
            if planes > 1 and index == 2:
                transforms.append(HouseholderConv1x1(planes, generator=generator))
            net = ConditionalNet(
                planes, 2 * planes, planes, cameras, width, 3, dropout, generator, from_noise=True, own_signal=True
            )
            transforms.append(MaskedAffineCoupling(net, kinds[index // 2 % 2](index % 2 == 1)))
        return transforms

    @torch.no_grad()
    def start_from_patches(self, noise: Tensor, cond: Conditions, bands: Tensor | None = None) -> None:
        """After `start_from`: planes, lines and tails by a batch of training patches; see `physics_start`.

        With `bands` the row noise stays what it is found to be here: patches, which end where a row
        does not, tell less of it than whole rows, and a few steps on their likelihood would lose that.
        """
        cond = self.checked(cond)
        head, tails = self.shot_read, self.tails
        if self.planes > 1:
            start_planes(head, noise, cond)
        lines = [transform for transform in self.flow.transforms if isinstance(transform, LineNoise)]
        for each in lines:
            start_lines(head, each, noise, cond, bands)
            each.requires_grad_(bands is None or not each.whole_rows)
        parameters = head.noise_parameters(cond)
        x, _ = head(noise, cond, parameters)
        for each in lines:
            x, _ = each(x, cond, parameters)
        start_tails(head, tails, x, cond)

    @torch.no_grad()
    def start_from_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> None:
        """After `start_from_patches`: shot and read noise anew, less what of it is line noise."""
        super().start_from_codes(codes, cond, levels)
        for transform in self.flow.transforms:
            if isinstance(transform, LineNoise):
                self.shot_read.log_beta2.sub_(transform.log_variance.exp().log1p())

    @property
    def tails(self) -> CubicTails:
        """The read noise's tails; a property, so that their weights are saved once."""
        return next(transform for transform in self.flow.transforms if isinstance(transform, CubicTails))
