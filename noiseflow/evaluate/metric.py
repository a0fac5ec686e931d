"""Contract of a metric: it accumulates sums over batches, and then returns a score."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.data_summary import Survey
from noiseflow.models.capabilities import HasMarginals, exact_codes
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

Kind = Literal["continuous", "codes", "exact", "alone", "bound"]

LIKELIHOOD_KINDS: Mapping[Kind, str] = {
    "continuous": "a continuous density, evaluated at the integer codes",
    "codes": "the exact probability of each code, spread over the width of the code",
    "exact": "the exact probability of each code",
    "alone": "the exact probability of each code by itself; what pixels share, such as faint row noise, is left out",
    "bound": "an upper bound: minus a lower bound of the log-probability (ELBO, one draw)",
}
"""Description of each kind.  The first two are kinds of `NoiseModel.log_prob`, in nats/dim (`kind_of`); the others
are kinds of the likelihood of the integer codes, in nats/pixel (`codes_kind_of`)."""

DATA = "data"
"""Name of the real data in mappings over the data and the models."""

ORACLE = "oracle"
"""Name of the model that is the true density of simulated data."""


@dataclass(frozen=True, eq=False)
class CodesNll:
    """−log probability of the integer codes of some patches.

    Parameters
    ----------
    total : ndarray, shape (K,)
        −log probability of all codes of each patch, nats.
    per_plane : ndarray, shape (K, C), or None
        The same per plane, nats; None for a joint density, which cannot be split by plane.
    """

    total: NDArray[np.float64]
    per_plane: NDArray[np.float64] | None


def kind_of(model: NoiseModel) -> Kind:
    """Return the kind of a model's `log_prob`: ``"codes"`` or ``"continuous"``; see `LIKELIHOOD_KINDS`."""
    return "codes" if isinstance(model, (CodesModel, LineOracle)) else "continuous"


def codes_kind_of(model: NoiseModel) -> Kind:
    """Return the kind of a model's likelihood of the integer codes: ``"exact"``, ``"alone"`` or ``"bound"``."""
    if exact_codes(model):
        return "exact"
    return "alone" if isinstance(model, HasMarginals) and model.knows_marginals else "bound"


@dataclass(frozen=True, eq=False)
class Setup:
    """Facts that a metric gets before the first batch.

    Parameters
    ----------
    survey : Survey
        Summary of the data.
    models : tuple of str
        Names of the models; the first is under test.
    sources : tuple of str
        `DATA`, then the names of the models.
    seed : int
        Seed of all randomness in the metrics.
    densities : mapping of str to str
        Kind of `log_prob` of each model with a density; see `LIKELIHOOD_KINDS`.
    codes : mapping of str to str
        Kind of likelihood of the integer codes of each model with a density.
    without_density : mapping of str to str
        Models that can only sample, with the message of their error.
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
    """A batch of real noise, with likelihoods, samples and latents of the models.

    Parameters
    ----------
    noise : mapping of str to Tensor, shape (B, C, h, w)
        Normalised noise: real under `DATA`, sampled under each model's name.
    nll : mapping of str to ndarray, shape (B,)
        −log density of the real noise, nats summed over dimensions, for each model with a density.
    codes : mapping of str to CodesNll
        −log probability of the integer codes of the close patches, for each model with a density.
    looked_at : ndarray of int, shape (K,)
        Positions of the close patches in the batch.
    blurred : mapping of str to Tensor, shape (B, C, h, w)
        `noise`, real and sampled alike, plus a uniform dither of ±½ code, which hides the steps of the
        integers from comparisons with a continuous density.
    residual : mapping of str to Tensor, shape (B, C, h, w)
        `blurred` divided by σ of the real noise at that signal (`NoiseCurve`).
    clean : Tensor, shape (B, C, h, w)
        Normalised clean signal.
    signal_dn : Tensor of float64, shape (B, C, h, w)
        Signal by which pixels are binned, DN above black; see `noiseflow.evaluate.data_summary.signal_dn`.
    number : ndarray of int, shape (B,)
        Position of each patch in `Survey.rows`.
    group, cell : ndarray of int, shape (B,)
        Index of each patch's scene or frame, and of its camera and ISO; see `Survey`.
    close : ndarray of bool, shape (B,)
        The close patches, which expensive metrics are limited to.
    latent : mapping of str to Tensor, shape (L, C, h, w)
        Latent of the real `blurred` noise of the first L close patches, for each model that has a
        latent; standard normal if the model's density is right.
    latent_group : ndarray of int, shape (L,)
        Scene or frame of each patch in `latent`.
    row : ndarray of int, shape (B,)
        Row of each patch's top pixel in its plane.
    scale_dn, black_dn : ndarray, shape (B, C)
        White − black, and black level, DN.
    clean_variance : ndarray, shape (B,)
        Variance of the clean estimate as a fraction of the noise variance.
    code : ndarray, shape (B, C)
        Width of one code in the unit of `noise`.
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
    """Numbers from a metric, as a frozen dataclass of plain values; ``metrics.json`` contains the same fields.

    `noiseflow.evaluate.presentation` turns them into figures, sentences and tables.
    """


class Metric(ABC):
    """Accumulates sums over batches, in memory that does not grow with the number of patches.

    A metric is constructed from a `Setup` before the first batch.
    """

    @abstractmethod
    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""

    @abstractmethod
    def score(self) -> Score:
        """Return the numbers over all batches."""


def seed_for(seed: int, purpose: str, name: str, number: int = 0) -> int:
    """Derive a separate seed for each use of randomness, independent of which other models are scored.

    Parameters
    ----------
    seed : int
        Seed of the evaluation.
    purpose : str
        Use of the randomness, such as ``"sample"``.
    name : str
        Name of the model or of the data.
    number : int
        Position of the batch.

    Returns
    -------
    int
        Seed below 2⁶³.
    """
    words = np.random.SeedSequence([seed, number, *f"{purpose} {name}".encode()]).generate_state(1, np.uint64)
    # `int` before `>>`: NumPy 1.26 does not shift a uint64 by a Python integer.
    return int(words[0]) >> 1


def as_json(value: Any) -> Any:
    """Convert dataclasses, mappings, sequences and numbers to JSON values; NaN and infinity become null."""
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
