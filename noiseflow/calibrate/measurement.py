"""A measured number with its unit and its error bar."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from scipy.stats import t as student

from noiseflow.core.errors import DataError

__all__ = ["Measurement", "from_error", "quotient", "root", "scaled"]

LEVEL = 0.95


@dataclass(frozen=True)
class Measurement:
    """A value, its standard error and its 95 % interval.

    Parameters
    ----------
    value, standard_error : float
        In `unit`.
    interval : tuple of float
        Two-sided 95 % interval, which need not be symmetric; (−inf, value) or
        (value, inf) where `value` is a bound.
    unit : str
        ``"DN"``, ``"e-"``, ``"DN/e-"``, ``"%"`` …
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    unit: str

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        low, high = self.interval
        if not math.isfinite(self.value) or math.isnan(low) or math.isnan(high) or low > high:
            raise DataError(
                f"estimate of unit {self.unit!r}: expected finite numbers; got {self.value}, {self.interval}"
            )
        if not self.standard_error >= 0:
            raise DataError(f"estimate of unit {self.unit!r}: standard error {self.standard_error} is not 0 or above")

    def covers(self, truth: float) -> bool:
        """Whether the 95 % interval holds a value."""
        return self.interval[0] <= truth <= self.interval[1]

    def __str__(self) -> str:
        return f"{self.value:.{self._digits}f} ± {self.standard_error:.{self._digits}f} {self.unit}"

    @property
    def interval_text(self) -> str:
        """Both ends of the interval, with the decimals of the value.

        >>> from_error(512.0013, 0.0204, "DN").interval_text
        '511.961 … 512.041'
        """
        low, high = self.interval
        return f"{low:.{self._digits}f} … {high:.{self._digits}f}"

    @property
    def _digits(self) -> int:
        """Decimals that show two digits of the standard error."""
        return 4 if not self.standard_error else min(9, max(0, 1 - math.floor(math.log10(self.standard_error))))


def quantile(degrees_of_freedom: float) -> float:
    """Factor from standard error to half of the 95 % interval: Student's t."""
    if math.isinf(degrees_of_freedom):
        return NormalDist().inv_cdf(0.5 + LEVEL / 2)
    return float(student.ppf(0.5 + LEVEL / 2, degrees_of_freedom))


def from_error(value: float, standard_error: float, unit: str, degrees_of_freedom: float = math.inf) -> Measurement:
    """An estimate with a symmetric interval.

    Parameters
    ----------
    value, standard_error : float
        In `unit`.
    unit : str
        Unit of the estimate, such as ``"DN/e-"``; empty for a pure number.
    degrees_of_freedom : float
        Degrees of freedom of the standard error, where it was itself estimated from few residuals.
    """
    half = quantile(degrees_of_freedom) * standard_error
    return Measurement(float(value), float(standard_error), (float(value - half), float(value + half)), unit)


def root(square: float, standard_error: float, unit: str, degrees_of_freedom: float = math.inf) -> Measurement:
    """Square root of an estimated variance; a variance that came out negative is 0.

    The interval is the root of the variance's, so it stays honest near zero, where a
    symmetric one is not: it then starts at 0 and is an upper bound.

    Parameters
    ----------
    square, standard_error : float
        The variance and its standard error, in the square of `unit`.
    unit : str
        Unit of the root.
    """
    half = quantile(degrees_of_freedom) * standard_error
    value = math.sqrt(max(square, 0.0))
    # A variance that chance made negative leaves as much room above zero as one that is zero.
    low, high = math.sqrt(max(square - half, 0.0)), math.sqrt(max(square, 0.0) + half)
    error = standard_error / (2 * value) if value > high / 3 else high / 2
    return Measurement(value, error, (low, max(high, value)), unit)


def scaled(estimate: Measurement, factor: float, unit: str) -> Measurement:
    """An estimate in another unit, the positive factor being exactly known."""
    low, high = estimate.interval
    return Measurement(estimate.value * factor, estimate.standard_error * factor, (low * factor, high * factor), unit)


def quotient(numerator: Measurement, denominator: Measurement, unit: str) -> Measurement:
    """Quotient of two independent estimates, the denominator well away from 0; errors to first order."""
    factor = 1 / denominator.value
    value = numerator.value * factor
    if not denominator.standard_error:
        return scaled(numerator, factor, unit)
    extra = value * denominator.standard_error * factor
    # Each end moves out by the denominator's part, in quadrature.
    half = quantile(math.inf) * extra
    # A saturation that is the same exposure in every draw has an interval without width.
    low, high = (
        value + sign * math.hypot((end - numerator.value) * factor, half)
        for sign, end in zip((-1, 1), numerator.interval, strict=True)
    )
    return Measurement(value, math.hypot(numerator.standard_error * factor, extra), (low, high), unit)
