"""What a model's likelihood of the real noise is of, and how it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.integers.integer_model import CodesModel
from noiseflow.models.model import NoiseModel
from noiseflow.models.oracle.row_noise import LineOracle

__all__ = ["LIKELIHOOD_KINDS", "CodesNll", "Kind", "codes_kind_of", "codes_nll", "kind_of", "log_density", "refusal"]

Kind = Literal["continuous", "codes", "exact", "bound"]

LIKELIHOOD_KINDS: Mapping[Kind, str] = {
    "continuous": "a continuous density, the integers taken as points of it",
    "codes": "the exact probability of each code, spread over the code",
    "exact": "the exact probability of each code",
    "bound": "at most this: minus a lower bound of the log-probability (ELBO, one draw)",
}
"""What a likelihood is of: the first two in nats/dim (`kind_of`), the last two of the integers (`codes_kind_of`)."""


@dataclass(frozen=True, eq=False)
class CodesNll:
    """−log probability of the integers of some patches, nats.

    Parameters
    ----------
    total : ndarray, shape (K,)
    per_plane : ndarray, shape (K, C), or None
        Where each pixel has its own probability; None of a joint density.
    """

    total: NDArray[np.float64]
    per_plane: NDArray[np.float64] | None


def kind_of(model: NoiseModel) -> Kind:
    """What kind of likelihood `log_density` gives for a model."""
    return "codes" if isinstance(model, (CodesModel, LineOracle)) else "continuous"


def codes_kind_of(model: NoiseModel) -> Kind:
    """What kind of likelihood `codes_nll` gives for a model."""
    return "exact" if model.exact_codes else "bound"


def log_density(model: NoiseModel, noise: Tensor, cond: Conditions) -> Tensor:
    """Log-likelihood of the real noise, nats summed over dimensions, shape (B,); see `kind_of`."""
    return model.log_prob(noise, cond)


def codes_nll(
    model: NoiseModel, noise: Tensor, cond: Conditions, levels: Levels, generator: torch.Generator
) -> CodesNll:
    """−log probability of the integers that noise and clean signal came from; see `codes_kind_of`."""
    found = discrete_log_prob(model, levels.codes(noise, cond.clean), cond, levels, generator=generator)
    per_plane = None if found.per_plane is None else -found.per_plane.cpu().numpy()
    return CodesNll(-found.values.cpu().numpy(), per_plane)


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
