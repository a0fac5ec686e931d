"""The frame model as a map between noise and a standard normal latent, to which memory is applied."""

import copy
from typing import Protocol

from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Resolved
from noiseflow.models.capabilities import HasScale, HasSigma
from noiseflow.models.closed_form.gaussian import GaussianModel
from noiseflow.models.flow.flow_model import FlowModel
from noiseflow.models.model import NoiseModel
from noiseflow.ops.random.sampling import Source

__all__ = ["Base", "FrameModel", "as_frame_model", "sigma_of", "variance_of", "with_base"]

FrameModel = FlowModel | GaussianModel
"""Models whose noise is a function of a standard normal latent, one value for each pixel."""


class Base(Protocol):
    """A source of a frame's latent that replaces independent standard normal numbers."""

    def sample(self, like: Tensor, generator: Source = None) -> Tensor:
        """Latent of the pixels with the clean signal `like`, (B, C, H, W)."""

    def noise(self, cond: Resolved, variance: Tensor, generator: Source = None) -> Tensor:
        """√variance times the latent, (B, C, H, W)."""


class _GaussianWithBase(NoiseModel):
    """A Gaussian model that samples the noise of a base."""

    def __init__(self, frame: GaussianModel, base: Base) -> None:
        super().__init__(frame.spec)
        self.frame, self.base = frame, base

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        return self.frame._log_prob(noise, cond)

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        noise = self.base.noise(cond, self.frame.variance(cond), generator)
        return noise if temperature == 1 else temperature * noise


def as_frame_model(model: NoiseModel) -> FrameModel:
    """Return the model if memory can be applied to it.

    Raises
    ------
    ModelError
        The model has no latent.
    """
    if isinstance(model, (FlowModel, GaussianModel)):
        return model
    raise ModelError(
        f"{model.spec.model}: memory acts on a model's latent, which this model lacks; use a fitted flow, nlf, "
        "gaussian, or poisson_gaussian for a camera's profile"
    )


def sigma_of(model: FrameModel, cond: Resolved) -> Tensor:
    """Normalised noise σ at each pixel of the frame, (B, C, H, W), under resolved conditions; of a flow, its head's."""
    if isinstance(model, HasSigma):
        return model.approximate_sigma(cond)
    return variance_of(model, cond).sqrt()


def variance_of(model: FrameModel, cond: Resolved) -> Tensor:
    """Square of `sigma_of`, (B, C, H, W)."""
    if isinstance(model, GaussianModel):
        return model.variance(cond)
    if isinstance(model, HasScale):
        return model.scale_variance(cond)
    return sigma_of(model, cond).square()


def with_base(model: FrameModel, base: Base) -> NoiseModel:
    """A copy of the model that samples from the latents of a base and shares the weights."""
    if isinstance(model, GaussianModel):
        return _GaussianWithBase(model, base).train(model.training)
    changed = copy.copy(model)
    changed._modules = dict(model._modules)
    flow = copy.copy(model.flow)
    flow._modules = {name: module for name, module in model.flow._modules.items() if name != "base"}
    flow.__dict__["base"] = base
    changed._modules["flow"] = flow
    # Not registered as a submodule, so that weights are not saved twice.
    changed.__dict__["frame"] = model
    return changed
