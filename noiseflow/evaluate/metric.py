"""What a metric is: sums over batches, then numbers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.data_summary import Survey
from noiseflow.models.capabilities import exact_codes
from noiseflow.models.integers.integer_model import CodesModel
from noiseflow.models.model import NoiseModel
from noiseflow.models.oracle.row_noise import LineOracle

__all__ = [
    "DATA",
    "LIKELIHOOD_KINDS",
    "ORACLE",
    "CodesNll",
    "Kind",
    "Metric",
    "Score",
    "ScoredBatch",
    "Setup",
    "as_json",
    "codes_kind_of",
    "kind_of",
    "seed_for",
]

Kind = Literal["continuous", "codes", "exact", "bound"]

LIKELIHOOD_KINDS: Mapping[Kind, str] = {
    "continuous": "a continuous density, the integers taken as points of it",
    "codes": "the exact probability of each code, spread over the code",
    "exact": "the exact probability of each code",
    "bound": "at most this: minus a lower bound of the log-probability (ELBO, one draw)",
}
"""In words; the first two are of `NoiseModel.log_prob`, nats/dim (`kind_of`), the last two of the integers, nats/pixel
(`codes_kind_of`)."""

DATA = "data"
"""Name of the real data where it stands beside the models."""

ORACLE = "oracle"
"""Name of the model that is the simulated data's own density."""


@dataclass(frozen=True, eq=False)
class CodesNll:
    """−log probability of the integers of some patches, nats.

    Parameters
    ----------
    total : ndarray, shape (K,)
        −log probability of all codes of a patch, nats.
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


@dataclass(frozen=True, eq=False)
class Setup:
    """What a metric knows before the first batch.

    Parameters
    ----------
    survey : Survey
        Facts about the data.
    models : tuple of str
        The first is under test.
    sources : tuple of str
        The data, then the models.
    seed : int
        Seed of all randomness of the metrics.
    densities : mapping of str to str
        What kind of density each model's likelihood is: see `noiseflow.evaluate.metric.LIKELIHOOD_KINDS`.
    codes : mapping of str to str
        What kind of likelihood of the integers each of these models gives.
    without_density : mapping of str to str
        Models that only sample, and the reason that they give.
    """

    survey: Survey
    models: tuple[str, ...]
    sources: tuple[str, ...]
    seed: int
    densities: Mapping[str, Kind]
    codes: Mapping[str, Kind]
    without_density: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class ScoredBatch:
    """A batch of real noise with what the models say of it.

    Parameters
    ----------
    noise : mapping of str to Tensor, shape (B, C, h, w)
        Normalised noise: real under `DATA`, sampled under each model's name.
    nll : mapping of str to ndarray, shape (B,)
        −log density of the real noise, nats summed over dimensions, per model that has one.
    codes : mapping of str to CodesNll
        −log probability of the integers of the close patches, per model that has a density.
    looked_at : ndarray of int, shape (K,)
        Where the close patches are in the batch.
    blurred : mapping of str to Tensor, shape (B, C, h, w)
        `noise`, real and sampled alike, with a uniform ±½ code added, so that the steps of the
        integers are not held against a continuous density.
    residual : mapping of str to Tensor, shape (B, C, h, w)
        `blurred` over the real noise's own σ at that signal (`NoiseCurve`).
    clean : Tensor, shape (B, C, h, w)
        Normalised clean signal.
    signal_dn : Tensor of float64, shape (B, C, h, w)
        What pixels are sorted by: see `survey.signal_dn`.
    number : ndarray of int, shape (B,)
        Position of each patch in `Survey.rows`.
    group, cell : ndarray of int, shape (B,)
        Scene or frame, and camera and ISO: see `Survey`.
    close : ndarray of bool, shape (B,)
        The patches that expensive measures look at.
    latent : mapping of str to Tensor, shape (K, C, h, w)
        Latent of the real `blurred` noise, for each model that has one, of the first K close
        patches; standard normal if its density is right.
    latent_group : ndarray of int, shape (K,)
        Scene or frame of each patch in `latent`.
    row : ndarray of int, shape (B,)
        Topmost pixel of each patch in its plane.
    scale_dn, black_dn : ndarray, shape (B, C)
        White − black, and black, DN.
    clean_variance : ndarray, shape (B,)
        Variance of the clean estimate as a fraction of the noise variance.
    code : ndarray, shape (B, C)
        Height of one code in the unit of `noise`.
    """

    noise: Mapping[str, Tensor]
    nll: Mapping[str, NDArray[np.float64]]
    codes: Mapping[str, CodesNll]
    looked_at: NDArray[np.int64]
    blurred: Mapping[str, Tensor]
    residual: Mapping[str, Tensor]
    clean: Tensor
    signal_dn: Tensor
    number: NDArray[np.int64]
    group: NDArray[np.int64]
    cell: NDArray[np.int64]
    close: NDArray[np.bool_]
    latent: Mapping[str, Tensor]
    latent_group: NDArray[np.int64]
    row: NDArray[np.int64]
    scale_dn: NDArray[np.float64]
    black_dn: NDArray[np.float64]
    clean_variance: NDArray[np.float64]
    code: NDArray[np.float64]


class Score:
    """Numbers that a metric found: a frozen dataclass of plain values, as ``metrics.json`` holds it.

    How they are shown is the matter of `noiseflow.evaluate.presentation`.
    """


class Metric(ABC):
    """Sums over batches, in memory that does not grow with the number of patches.

    A metric is made from a `Setup`, before the first batch.
    """

    @abstractmethod
    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""

    @abstractmethod
    def score(self) -> Score:
        """The numbers over all batches."""


def seed_for(seed: int, purpose: str, name: str, number: int = 0) -> int:
    """A seed of its own for each use of randomness, whatever other models are scored."""
    words = np.random.SeedSequence([seed, number, *f"{purpose} {name}".encode()]).generate_state(1, np.uint64)
    # `int` before `>>`: NumPy 1.26 does not shift a uint64 by a Python integer.
    return int(words[0]) >> 1


def as_json(value: Any) -> Any:
    """Dataclasses, mappings, sequences and numbers as JSON values; NaN and infinity become null."""
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
