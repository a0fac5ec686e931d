"""A flow built from a list of layer names, so that a new stack needs no model class."""

from math import lcm

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.flows.registry import Size, build_layers
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.flow_model import FlowModel, start_head, start_head_from_codes, start_norms
from noiseflow.models.model import ModelSpec, checked_conditions, register
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["LayeredFlow"]

LAYERS = ({"name": "shot_read_scale"}, {"name": "pixel_spline", "odd": True, "width": 8})
"""Default layers: shot and read noise, and a spline for any symmetric distribution."""


@register("flow", ("layers", "seed"))
class LayeredFlow(FlowModel):
    """A flow of the layers listed in its spec, in the order data → latent.

    A fit initialises the first layer, if it is a `ShotReadScale`, as the noise level function, and every `ActNorm`
    so that it whitens a batch of patches.  All other layers keep their initial parameters.

    Options of the spec: ``layers``, a list of mappings with a ``"name"`` in `noiseflow.flows.TRANSFORMS` and the
    layer's options (default `LAYERS`); and ``seed`` of the initial weights (default 0).

    Examples
    --------
    >>> from noiseflow.models import ModelSpec, build
    >>> layers = [{"name": "shot_read_scale"}, {"name": "conv1x1"}, {"name": "masked_affine_coupling", "width": 8}]
    >>> build(ModelSpec("flow", options={"layers": layers})).flow.reach
    2
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        layers = spec.options.get("layers", LAYERS)
        if not layers:
            raise ModelError('flow: option layers: expected a list such as [{"name": "shot_read_scale"}]; got none')
        generator = torch.Generator().manual_seed(int(spec.options.get("seed", 0)))
        size = Size(spec.planes, len(spec.cameras), spec.isos, generator)
        self.flow = Flow(build_layers(layers, size))

    @property
    def period(self) -> int:  # type: ignore[override]
        """Tiles of a frame must start at a multiple of this many pixels of a plane."""
        flow: Flow = self.flow
        return lcm(flow.period, flow.cell)

    @property
    def head(self) -> ShotReadScale | None:
        """The first layer if it is a `ShotReadScale`, else None."""
        first = self.flow.transforms[0]
        return first if isinstance(first, ShotReadScale) else None

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Initialise the head, if there is one, as the maximum-likelihood noise level function."""
        if self.head is not None:
            start_head(self.head, self.spec, statistics)

    def start_from_patches(self, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
        """Initialise every `ActNorm` so that it whitens a batch of training patches; call `start_from` first."""
        start_norms(self.flow, noise, checked_conditions(self, cond))

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Set the head to the noise level function with the highest likelihood of the integer codes."""
        if self.head is not None:
            start_head_from_codes(self.head, self.spec, codes, cond, levels)
