"""What a metric is: sums over batches, then a score that can speak for itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.evaluate.data_summary import Survey
from noiseflow.evaluate.likelihood_kind import CodesNll, Kind
from noiseflow.evaluate.presentation.figures import Pen, Plate
from noiseflow.evaluate.statistics.intervals import Estimate

__all__ = [
    "DATA",
    "LIKELIHOODS",
    "ORACLE",
    "Finding",
    "Metric",
    "Record",
    "Score",
    "ScoredBatch",
    "Setup",
    "Standing",
    "TableRow",
    "as_json",
    "seed_for",
]

DATA = "data"
"""Name of the real data where it stands beside the models."""

LIKELIHOODS = ("nll", "nll_codes", "oracle")
"""Measures of findings that are a comparison with other models, not a check."""

ORACLE = "oracle"
"""Name of the model that is the simulated data's own density."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What a metric knows before the first batch.

    Parameters
    ----------
    survey : Survey
    models : tuple of str
        The first is under test.
    seed : int
    densities : mapping of str to str
        What kind of density each model's likelihood is: see `noiseflow.evaluate.likelihood_kind`.
    codes : mapping of str to str
        What kind of likelihood of the integers each of these models gives.
    without_density : mapping of str to str
        Models that only sample, and what they say when asked for a density.
    """

    survey: Survey
    models: tuple[str, ...]
    seed: int
    densities: Mapping[str, Kind]
    codes: Mapping[str, Kind]
    without_density: Mapping[str, str]

    @property
    def sources(self) -> tuple[str, ...]:
        """The data, then the models."""
        return (DATA, *self.models)


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
        What each model that has one makes of the real `blurred` noise of the first K close
        patches; standard normal if its density is right.
    latent_group : ndarray of int, shape (K,)
    row : ndarray of int, shape (B,)
        Topmost pixel of each patch in its plane.
    scale_dn, black_dn : ndarray, shape (B, C)
        White − black, and black, DN.
    clean_variance : ndarray, shape (B,)
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


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict, and whether it is good news.

    ``"open"`` means that the data does not decide.
    """

    level: Literal["good", "bad", "open"]
    measure: str
    text: str


@dataclass(frozen=True)
class Standing:
    """Models that the one under test is better than, not told apart from, and worse than, by a likelihood."""

    better: tuple[str, ...]
    equal: tuple[str, ...]
    worse: tuple[str, ...]

    def add(self, name: str, *, better: bool, worse: bool) -> "Standing":
        """With one more model."""
        if better:
            return Standing((*self.better, name), self.equal, self.worse)
        if worse:
            return Standing(self.better, self.equal, (*self.worse, name))
        return Standing(self.better, (*self.equal, name), self.worse)


@dataclass(frozen=True)
class TableRow:
    """One measure in the table of results: a text per source, and what good looks like."""

    measure: str
    unit: str
    good: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """One number of ``metrics.csv``."""

    measure: str
    unit: str
    model: str
    camera: str | None
    iso: float | None
    part: str
    value: float
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(
        cls, estimate: Estimate, measure: str, unit: str, model: str, camera: str | None, iso: float | None, part: str
    ) -> "Record":
        """An estimate with its interval."""
        ends = (estimate.standard_error, estimate.low, estimate.high)
        return cls(measure, unit, model, camera, iso, part, estimate.value, *ends)


class Score(ABC):
    """Result of a metric; a frozen dataclass of plain values, so that it can be written as JSON."""

    title: ClassVar[str]
    """Heading of its section."""

    method: ClassVar[str]
    """How it is measured, in a few sentences, with every constant that it depends on."""

    @abstractmethod
    def findings(self, tested: str) -> Sequence[Finding]:
        """What it says of the model under test, each sentence by a threshold that `method` states."""

    @abstractmethod
    def table(self) -> Sequence[TableRow]:
        """Rows of the table of results."""

    @abstractmethod
    def records(self) -> Sequence[Record]:
        """All its numbers, flat."""

    @abstractmethod
    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Its figures."""


class Metric(ABC):
    """Sums over batches in memory that does not grow with the number of patches.

    Parameters
    ----------
    setup : Setup
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @abstractmethod
    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""

    @abstractmethod
    def score(self) -> Score:
        """The result over all batches."""


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
