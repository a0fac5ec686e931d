"""Base classes of flow models: any flow, and a flow behind a shot-and-read head."""

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
    """A noise model whose density and samples come from its ``flow``."""

    flow: Flow

    period: int = 1
    """Tiles of a frame must start at a multiple of this many pixels of a plane."""

    @property
    def elementwise(self) -> bool:
        """Whether the flow transforms each value independently of the others."""
        return self.flow.elementwise

    def _working_dtype(self, given: torch.dtype) -> torch.dtype:
        """The dtype of the weights, because nets accept no other."""
        for each in self.parameters():
            return each.dtype
        return super()._working_dtype(given)

    def latent(self, noise: Tensor, cond: Resolved) -> Tensor:
        """Latent z of the flow, (B, C, H, W)."""
        z: Tensor = self.flow(noise, cond)[0]
        return z

    def scale_variance(self, cond: Resolved) -> Tensor:
        """Product of the variances of all scale layers, (B, C, H, W), normalised."""
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
    """A flow behind a shot-and-read head; before training it equals the noise level function.

    A subclass implements `residual`: the transforms after the head.  Before training they must map standard
    normal noise to standard normal noise.

    Options of the spec: ``width`` of the nets (default 16), ``unknown_camera``, the probability in training that
    the camera is hidden from a net (0), and ``seed`` of the initial weights (0).
    """

    _one_iso_rule = ONE_ISO_LAW

    shares_features: bool = False
    """Whether the head computes the noise parameters for the later transforms."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        generator = torch.Generator().manual_seed(int(spec.options.get("seed", 0)))
        head = self.head_of(spec)
        self.flow = Flow([head, *self.residual(head, spec, generator)])

    def head_of(self, spec: ModelSpec) -> ShotReadScale:
        """A new head for the flow, with initial parameters."""
        return ShotReadScale(spec.planes, len(spec.cameras), spec.isos, shares_features=self.shares_features)

    @abstractmethod
    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Transforms after the head, in the order data → latent."""

    @property
    def shot_read(self) -> ShotReadScale:
        """Head of the flow; a property, because a second attribute would save its weights twice."""
        head = self.flow.transforms[0]
        assert isinstance(head, ShotReadScale)
        return head

    def _read_variances(self) -> Sequence[tuple[Tensor, Sequence[float]]]:
        """For each camera, ln β₂ at the fitted ISOs, and these ISOs."""
        return [(table, self.spec.isos) for table in self.shot_read.log_beta2]

    def approximate_sigma(self, cond: Resolved) -> Tensor:
        """Noise σ of the head, (B, C, H, W); the residual flow changes it little."""
        return self.shot_read.variance(cond).sqrt()

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Initialise the head as the maximum-likelihood noise level function."""
        start_head(self.shot_read, self.spec, statistics)

    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Set the head to the noise level function with the highest likelihood of the integer codes."""
        start_head_from_codes(self.shot_read, self.spec, codes, cond, levels)

    def start_from_patches(self, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
        """Initialise every `ActNorm` on a batch of training patches."""
        cond = checked_conditions(self, cond)
        if cond.observed is not None:
            noise, cond = imputed(noise, cond.observed)[0], replace(cond, observed=None)
        start_norms(self.flow, noise, cond)


@torch.no_grad()
def start_head(head: ShotReadScale, spec: ModelSpec, statistics: NoiseStatistics) -> None:
    """Initialise a head as the maximum-likelihood noise level function."""
    nlf = NoiseLevelFunction(spec)
    nlf.start_from(statistics)
    head.log_beta1.copy_(nlf.log_beta1)
    head.log_beta2.copy_(nlf.log_beta2)


@torch.no_grad()
def start_head_from_codes(head: ShotReadScale, spec: ModelSpec, codes: Tensor, cond: Resolved, levels: Levels) -> None:
    """Set a head to the noise level function with the highest likelihood of the integer codes."""
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
        The value is not a whole number, or is less than `least`.
    """
    value = spec.options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"{spec.model}: option {name}: expected a whole number, {least} or more; got {value!r}")
    return value


def flag_option(spec: ModelSpec, name: str) -> bool:
    """Read a boolean option of a spec; False if it is missing.

    Raises
    ------
    ModelError
        The value is neither true nor false.
    """
    value = spec.options.get(name, False)
    if not isinstance(value, bool):
        raise ModelError(f"{spec.model}: option {name}: expected true or false; got {value!r}")
    return value
