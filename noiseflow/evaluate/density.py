"""What a model's density says of the real noise: its NLL, and the latent that it makes of it."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from noiseflow.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.flows.flow import Flow, StandardNormal
from noiseflow.models.gaussian import Gaussian
from noiseflow.models.line_oracle import LineOracle
from noiseflow.models.model import NoiseModel
from noiseflow.models.nlf import NoiseLevelFunction
from noiseflow.models.oracle import PoissonGaussianOracle
from noiseflow.models.physics import PoissonGaussian, PoissonGaussianExact

__all__ = ["KINDS", "Kind", "has_latent", "kind_of", "latent", "log_density", "refusal"]

Kind = Literal["continuous", "codes"]

KINDS: Mapping[Kind, str] = {
    "continuous": "a continuous density, the integers taken as points of it",
    "codes": "the exact probability of each code, spread over the code",
}
"""What a likelihood is of.  A discretised likelihood (exact, or a bound) is a line here, one
in `kind_of` and one in `log_density`; everything after takes it as it comes."""


def kind_of(model: NoiseModel) -> Kind:
    """What kind of likelihood `log_density` gives for a model."""
    return "codes" if isinstance(model, (PoissonGaussianOracle, LineOracle, PoissonGaussianExact)) else "continuous"


def log_density(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor:
    """Log-likelihood of the real noise, nats summed over dimensions, shape (B,); see `kind_of`."""
    return model.log_prob(noise, cond)


def refusal(model: NoiseModel, noise: Tensor, cond: Conditions) -> str | None:
    """Why a model has no density, in its own words; None if it has one.

    Raises
    ------
    ModelError
        If it can be asked neither for a density nor for a sample.
    """
    try:
        log_density(model, noise, cond)
    except ModelError as error:
        model.sample(cond, torch.Generator(noise.device).manual_seed(0))
        return str(error)
    return None


def has_latent(model: NoiseModel) -> bool:
    """Whether `latent` knows how to take a model's noise to a standard normal."""
    flow = getattr(model, "flow", None)
    if isinstance(flow, Flow):
        return isinstance(flow.base, StandardNormal)
    return isinstance(model, (Gaussian, NoiseLevelFunction, PoissonGaussian))


def latent(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor:
    """The real noise as the model's own standard normal, (B, C, H, W); see `has_latent`.

    A flow's z; of a Gaussian, noise ÷ σ.  It is standard normal where the density is right.
    """
    flow = getattr(model, "flow", None)
    if isinstance(flow, Flow):
        z: Tensor = flow(noise, model.checked(cond))[0]
        return z
    if isinstance(model, Gaussian):
        return noise * (-0.5 * model.log_variance).exp()
    assert isinstance(model, (NoiseLevelFunction, PoissonGaussian))
    return noise / model.variance(model.checked(cond)).sqrt()
