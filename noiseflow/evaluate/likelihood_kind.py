"""Kinds of likelihood: continuous, exact for the integers, or a bound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from noiseflow.models.capabilities import exact_codes
from noiseflow.models.integers.integer_model import CodesModel
from noiseflow.models.model import NoiseModel
from noiseflow.models.oracle.row_noise import LineOracle

__all__ = ["LIKELIHOOD_KINDS", "CodesNll", "Kind", "codes_kind_of", "kind_of"]

Kind = Literal["continuous", "codes", "exact", "bound"]

LIKELIHOOD_KINDS: Mapping[Kind, str] = {
    "continuous": "a continuous density, the integers taken as points of it",
    "codes": "the exact probability of each code, spread over the code",
    "exact": "the exact probability of each code",
    "bound": "at most this: minus a lower bound of the log-probability (ELBO, one draw)",
}
"""In words; the first two are of `NoiseModel.log_prob`, nats/dim (`kind_of`), the last two of the integers, nats/pixel
(`codes_kind_of`)."""


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
    """Kind of a model's `log_prob`."""
    return "codes" if isinstance(model, (CodesModel, LineOracle)) else "continuous"


def codes_kind_of(model: NoiseModel) -> Kind:
    """Kind of a model's likelihood of the integers."""
    return "exact" if exact_codes(model) else "bound"
