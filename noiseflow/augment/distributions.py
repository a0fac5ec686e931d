"""Where ISO and exposure of an augmented sample come from: functions of uniform numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["AutoExposure", "Choice", "Distribution", "LogUniform", "Uniform", "distribution"]


class Distribution(Protocol):
    """Draws by its quantile function."""

    def __call__(self, u: Tensor) -> Tensor:
        """Values at quantiles u in (0, 1), of their shape."""


@dataclass(frozen=True)
class Uniform:
    """Even between `low` and `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        _check(self.low, self.high, 0.0)

    def __call__(self, u: Tensor) -> Tensor:
        """Values at quantiles u."""
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class LogUniform:
    """Even in the logarithm between `low` and `high`: each stop as likely as any other.

    >>> LogUniform(100, 1600)(torch.tensor([0.0, 0.5]))
    tensor([100., 400.])
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse an empty range and what has no logarithm."""
        _check(self.low, self.high, math.ulp(0.0))

    def __call__(self, u: Tensor) -> Tensor:
        """Values at quantiles u."""
        return self.low * (u * math.log(self.high / self.low)).exp()


@dataclass(frozen=True)
class Choice:
    """One of a list, each as likely as the others; name one twice to make it likelier."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        if not self.values:
            raise DataError("choice: expected at least one value; got none")

    def __call__(self, u: Tensor) -> Tensor:
        """Values at quantiles u."""
        index = (u * len(self.values)).long().clamp(max=len(self.values) - 1)
        return torch.tensor(self.values, dtype=u.dtype, device=u.device)[index]


@dataclass(frozen=True)
class AutoExposure:
    """ISO and exposure as a camera couples them: less light, a higher ISO, and beyond its range a darker frame.

    Light L is even in its logarithm from `darkest` to 1, which is what `base_iso` exposes fully.
    ISO = min(base_iso / L, highest_iso), exposure = L · ISO / base_iso, at most 1.

    Parameters
    ----------
    darkest : float
        Least light, as a part of what `base_iso` needs: 1/64 is six stops down.
    base_iso, highest_iso : float
    """

    darkest: float
    base_iso: float
    highest_iso: float

    def __post_init__(self) -> None:
        """Refuse what no camera does."""
        if not 0 < self.darkest <= 1:
            raise DataError(f"auto exposure: expected darkest in (0, 1]; got {self.darkest}")
        _check(self.base_iso, self.highest_iso, math.ulp(0.0))

    def settings(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """ISO and exposure at quantiles of the light, each of the shape of u."""
        light = LogUniform(self.darkest, 1.0)(u)
        iso = (self.base_iso / light).clamp(max=self.highest_iso)
        return iso, light * iso / self.base_iso


def distribution(given: float | Sequence[float] | Distribution, name: str) -> Distribution:
    """What a number (always it), a list (one of them) or a distribution means.

    Raises
    ------
    DataError
        For anything else, and numbers that are not positive.
    """
    if callable(given):
        return given
    values = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    try:
        chosen = Choice(tuple(values))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected a number, a list of numbers or a distribution; got {given!r}") from error
    if not all(0 < value < math.inf for value in chosen.values):
        raise DataError(f"{name}: expected positive numbers; got {given!r}")
    return chosen


def _check(low: float, high: float, least: float) -> None:
    if not least <= low <= high < math.inf:
        raise DataError(f"range: expected {'0 ≤' if least == 0 else '0 <'} low ≤ high; got {low}, {high}")
