"""Distributions of ISO and exposure for augmentation, represented by their quantile functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from noiseflow.core.errors import DataError

__all__ = ["AutoExposure", "Choice", "Distribution", "LogUniform", "Uniform", "distribution"]


class Distribution(Protocol):
    """A distribution, represented by its quantile function."""

    def __call__(self, u: Tensor) -> Tensor:
        """Values at the probabilities u in (0, 1), in the shape of u."""


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution between `low` and `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check that the range is valid."""
        _check(self.low, self.high, 0.0)

    def __call__(self, u: Tensor) -> Tensor:
        """Values at the probabilities u, in the shape of u."""
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class LogUniform:
    """Log-uniform distribution between `low` and `high`: all stops are equally likely.

    >>> LogUniform(100, 1600)(torch.tensor([0.0, 0.5]))
    tensor([100., 400.])
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check that the range is valid and positive."""
        _check(self.low, self.high, math.ulp(0.0))

    def __call__(self, u: Tensor) -> Tensor:
        """Values at the probabilities u, in the shape of u."""
        return self.low * (u * math.log(self.high / self.low)).exp()


@dataclass(frozen=True)
class Choice:
    """Random choice from a list; all entries are equally likely, and repeated values are more likely."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the list is not empty."""
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        if not self.values:
            raise DataError("choice: expected at least one value; got none")

    def __call__(self, u: Tensor) -> Tensor:
        """Values at the probabilities u, in the shape of u."""
        index = (u * len(self.values)).long().clamp(max=len(self.values) - 1)
        return torch.tensor(self.values, dtype=u.dtype, device=u.device)[index]


@dataclass(frozen=True)
class AutoExposure:
    """Coupled ISO and exposure, as set by a camera: less light raises the ISO, and then darkens the frame.

    The light L is log-uniform from `darkest` to 1, where 1 is full exposure at `base_iso`.
    ISO = min(base_iso / L, highest_iso), and exposure = L · ISO / base_iso, at most 1.

    Parameters
    ----------
    darkest : float
        Least light, as a fraction of full exposure at `base_iso`; 1/64 is six stops less.
    base_iso, highest_iso : float
        Lowest and highest ISO of the camera.
    """

    darkest: float
    base_iso: float
    highest_iso: float

    def __post_init__(self) -> None:
        """Check that the values are plausible for a camera."""
        if not 0 < self.darkest <= 1:
            raise DataError(f"auto exposure: expected darkest in (0, 1]; got {self.darkest}")
        _check(self.base_iso, self.highest_iso, math.ulp(0.0))

    def settings(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """ISO and exposure at the probabilities u of the light, each in the shape of u."""
        light = LogUniform(self.darkest, 1.0)(u)
        iso = (self.base_iso / light).clamp(max=self.highest_iso)
        return iso, light * iso / self.base_iso


def distribution(given: float | Sequence[float] | Distribution, name: str) -> Distribution:
    """Convert an argument to a distribution.

    A number is fixed, a list is a `Choice`, a tuple of two numbers is a `LogUniform` range, and a distribution is
    returned unchanged.

    Parameters
    ----------
    given : float, list of float, (float, float) or Distribution
        The argument.
    name : str
        Name of the argument, for error messages.

    Raises
    ------
    DataError
        Anything else, or numbers that are not positive.
    """
    if callable(given):
        return given
    if isinstance(given, tuple) and len(given) == 2:
        try:
            return LogUniform(float(given[0]), float(given[1]))
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: expected the two ends of a range; got {given!r}") from error
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
