"""What most flows share: shot and read noise first, then a flow on what is left."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import ONE_ISO_LAW
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.transform import Transform
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.models.spec import ModelSpec

__all__ = ["ResidualFlow", "count_option", "flag_option"]


class ResidualFlow(FlowModel):
    """A flow behind a shot-and-read head, which starts as the noise level function.

    A subclass writes `residual`: the transforms that follow, whose starting density on
    standard normal noise is the standard normal one.

    Options of the spec for all of them: ``width`` of the nets (16), ``unknown_camera``, the
    chance in training that a net is not told the camera (0), ``seed`` of the starting
    weights (0).
    """

    options: tuple[str, ...] = ("width", "unknown_camera", "seed")

    one_iso = ONE_ISO_LAW
    period: int = 1
    """Tiles of a frame must start at a multiple of it, in pixels of a plane."""

    shares_features: bool = False
    """Whether the transforms after the head get the noise parameters that it finds."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        generator = torch.Generator().manual_seed(int(spec.options.get("seed", 0)))
        head = ShotReadScale(spec.planes, len(spec.cameras), spec.isos, shares_features=self.shares_features)
        self.flow = Flow([head, *self.residual(head, spec, generator)])

    @abstractmethod
    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """The transforms after the head, in the order data → latent."""

    @property
    def shot_read(self) -> ShotReadScale:
        """The head; a property, so that its weights are saved once."""
        head = self.flow.transforms[0]
        assert isinstance(head, ShotReadScale)
        return head

    @property
    def reach(self) -> int:
        """Receptive radius of sampling in pixels of a plane, rounded up to the model's period."""
        return -(-self.flow.sampling_reach // self.period) * self.period

    def scale(self, cond: Conditions, generator: torch.Generator | None = None) -> Tensor:
        """The head's σ, which the residual starts from."""
        return self.shot_read.variance(self.checked(cond)).sqrt()

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Start at the maximum-likelihood noise level function."""
        start_head(self.shot_read, self.spec, statistics)

    def start_from_codes(self, codes: Tensor, cond: Conditions, levels: Levels) -> None:
        """Bring the start to the noise level function of the highest likelihood of the integers."""
        start_head_from_codes(self.shot_read, self.spec, codes, cond, levels)

    def start_from_patches(self, noise: Tensor, cond: Conditions, bands: Tensor | None = None) -> None:
        """After `start_from`: every `ActNorm` whitens what a batch of training patches brings to it."""
        start_norms(self.flow, noise, self.checked(cond))


@torch.no_grad()
def start_head(head: ShotReadScale, spec: ModelSpec, statistics: NoiseStatistics) -> None:
    """Start a head at the maximum-likelihood noise level function."""
    nlf = NoiseLevelFunction(spec)
    nlf.start_from(statistics)
    head.log_beta1.copy_(nlf.log_beta1)
    head.log_beta2.copy_(nlf.log_beta2)


@torch.no_grad()
def start_head_from_codes(
    head: ShotReadScale, spec: ModelSpec, codes: Tensor, cond: Conditions, levels: Levels
) -> None:
    """Bring a head to the noise level function of the highest likelihood of the integers."""
    nlf = NoiseLevelFunction(spec)
    nlf.log_beta1.copy_(head.log_beta1)
    nlf.log_beta2.copy_(head.log_beta2)
    nlf.start_from_codes(codes, cond, levels)
    head.log_beta1.copy_(nlf.log_beta1)
    head.log_beta2.copy_(nlf.log_beta2)


@torch.no_grad()
def start_norms(flow: Flow, noise: Tensor, cond: Conditions) -> None:
    """Start every `ActNorm` of a flow by whitening what a batch of training patches brings to it."""
    norms = [module for module in flow.modules() if isinstance(module, ActNorm)]
    hooks = [norm.register_forward_pre_hook(lambda norm, inputs: norm.start_from(inputs[0])) for norm in norms]
    try:
        if norms:
            flow(noise, cond)
    finally:
        for hook in hooks:
            hook.remove()


def count_option(spec: ModelSpec, name: str, default: int, least: int = 1) -> int:
    """A whole number among the options of a spec.

    Raises
    ------
    ModelError
        If it is no whole number, or less than `least`.
    """
    value = spec.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"{spec.model}: option {name}: expected a whole number, {least} or more; got {value!r}")
    return value


def flag_option(spec: ModelSpec, name: str) -> bool:
    """A yes or no among the options of a spec; no where it is left out.

    Raises
    ------
    ModelError
        If it is neither true nor false.
    """
    value = spec.options.get(name, False)
    if not isinstance(value, bool):
        raise ModelError(f"{spec.model}: option {name}: expected true or false; got {value!r}")
    return value
