"""Base classes of models that are flows: any flow, and a flow behind a shot-and-read head."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.camera.shot_read_scale import NoiseScale, ShotReadScale
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import ONE_ISO_LAW
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.observed import imputed
from noiseflow.flows.transform import Transform
from noiseflow.models.adc_levels import Levels
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.model import ModelSpec, NoiseModel, checked_conditions
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.ops.random.sampling import Source

__all__ = [
    "RESIDUAL_OPTIONS",
    "FlowModel",
    "ResidualFlow",
    "count_option",
    "flag_option",
    "start_head",
    "start_head_from_codes",
    "start_norms",
]

RESIDUAL_OPTIONS = ("width", "unknown_camera", "seed")
"""Options of every `ResidualFlow`."""


class FlowModel(NoiseModel):
    """A noise model with the density of its ``flow``."""

    flow: Flow

    period: int = 1
    """Tiles of a frame must start at a multiple of it, in pixels of a plane."""

    @property
    def elementwise(self) -> bool:
        """Whether the flow transforms each value by itself."""
        return self.flow.elementwise

    def _working_dtype(self, given: torch.dtype) -> torch.dtype:
        """That of its weights: nets take no other."""
        for each in self.parameters():
            return each.dtype
        return super()._working_dtype(given)

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Latent z of the flow."""
        z: Tensor = self.flow(noise, cond)[0]
        return z

    def scale_variance(self, cond: Resolved) -> Tensor:
        """Product of the variances that its layers divide by, (B, C, H, W)."""
        scales = [layer for layer in self.flow.transforms if isinstance(layer, NoiseScale)]
        found = torch.ones_like(cond.clean)
        for layer in scales:
            found = found * layer.variance(cond)
        return found

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self.flow.log_prob(noise, cond)

    def _log_prob_of_observed(self, noise: Tensor, cond: Resolved) -> Tensor:
        if not self.flow.factorises:
            return super()._log_prob_of_observed(noise, cond)
        return self.flow.log_prob_of_observed(noise, cond)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        return self.flow.sample(cond, generator, temperature)


class ResidualFlow(FlowModel):
    """A flow behind a shot-and-read head, which starts as the noise level function.

    A subclass implements `residual`: the transforms after the head, which at the start must map standard
    normal noise to standard normal noise.

    Options of every such spec: ``width`` of the nets (16), ``unknown_camera``, the probability in training that
    a net does not get the camera (0), and ``seed`` of the starting weights (0).
    """

    _one_iso_rule = ONE_ISO_LAW

    shares_features: bool = False
    """Whether the head shares its noise parameters with the later transforms."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        generator = torch.Generator().manual_seed(int(spec.options.get("seed", 0)))
        head = self.head_of(spec)
        self.flow = Flow([head, *self.residual(head, spec, generator)])

    def head_of(self, spec: ModelSpec) -> ShotReadScale:
        """The head of the flow, not fitted."""
        return ShotReadScale(spec.planes, len(spec.cameras), spec.isos, shares_features=self.shares_features)

    @abstractmethod
    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Transforms after the head, in the order data → latent."""

    @property
    def shot_read(self) -> ShotReadScale:
        """Head of the flow; a property, so that its weights are saved once."""
        head = self.flow.transforms[0]
        assert isinstance(head, ShotReadScale)
        return head

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """Ln β₂ at the fitted ISOs, of each camera."""
        return [(table, self.spec.isos) for table in self.shot_read.log_beta2]

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """σ of the head, which the residual flow starts from."""
        return self.shot_read.variance(cond).sqrt()

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Start as the maximum-likelihood noise level function."""
        start_head(self.shot_read, self.spec, statistics)

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Move the start to the noise level function with the highest likelihood of the integers."""
        start_head_from_codes(self.shot_read, self.spec, codes, cond, levels)

    def start_from_patches(self, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
        """Initialise every `ActNorm` on a batch of training patches."""
        cond = checked_conditions(self, cond)
        if cond.observed is not None:
            noise, cond = imputed(noise, cond.observed)[0], replace(cond, observed=None)
        start_norms(self.flow, noise, cond)


@torch.no_grad()
def start_head(head: ShotReadScale, spec: ModelSpec, statistics: NoiseStatistics) -> None:
    """Start a head as the maximum-likelihood noise level function."""
    nlf = NoiseLevelFunction(spec)
    nlf.start_from(statistics)
    head.log_beta1.copy_(nlf.log_beta1)
    head.log_beta2.copy_(nlf.log_beta2)


@torch.no_grad()
def start_head_from_codes(head: ShotReadScale, spec: ModelSpec, codes: Tensor, cond: Resolved, levels: Levels) -> None:
    """Move a head to the noise level function with the highest likelihood of the integers."""
    nlf = NoiseLevelFunction(spec)
    nlf.log_beta1.copy_(head.log_beta1)
    nlf.log_beta2.copy_(head.log_beta2)
    nlf.start_from_codes(codes, cond, levels)
    head.log_beta1.copy_(nlf.log_beta1)
    head.log_beta2.copy_(nlf.log_beta2)


@torch.no_grad()
def start_norms(flow: Flow, noise: Tensor, cond: Resolved) -> None:
    """Initialise every `ActNorm` of a flow on a batch of training patches."""
    norms = [module for module in flow.modules() if isinstance(module, ActNorm)]
    hooks = [norm.register_forward_pre_hook(lambda norm, inputs: norm.start_from(inputs[0])) for norm in norms]
    try:
        if norms:
            flow(noise, cond)
    finally:
        for hook in hooks:
            hook.remove()


def count_option(spec: ModelSpec, name: str, default: int, least: int = 1) -> int:
    """Read an integer option of a spec.

    Raises
    ------
    ModelError
        The value is no whole number, or less than `least`.
    """
    value = spec.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"{spec.model}: option {name}: expected a whole number, {least} or more; got {value!r}")
    return value


def flag_option(spec: ModelSpec, name: str) -> bool:
    """Read a boolean option of a spec; false if it is left out.

    Raises
    ------
    ModelError
        The value is neither true nor false.
    """
    value = spec.options.get(name, False)
    if not isinstance(value, bool):
        raise ModelError(f"{spec.model}: option {name}: expected true or false; got {value!r}")
    return value
