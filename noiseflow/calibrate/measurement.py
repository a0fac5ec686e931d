"""A measured number with its unit and its error bar."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from noiseflow.core.errors import DataError

__all__ = ["Measurement", "from_error", "quotient", "root", "scaled"]

LEVEL = 0.95
"""Confidence level of all intervals."""


@dataclass(frozen=True)
class Measurement:
    """A value, its standard error and its 95 % interval.

    Parameters
    ----------
    value, standard_error : float
        Value and standard error, in `unit`.
    interval : tuple of (float, float)
        Two-sided 95 % interval, in `unit`; it need not be symmetric.  (−inf, value) or (value, inf) where
        `value` is a bound.
    unit : str
        Unit, such as ``"DN"``, ``"e-"``, ``"DN/e-"`` or ``"%"``; empty for a pure number.

    Raises
    ------
    DataError
        A value that is not finite, an interval with a NaN or with its ends swapped, or a negative standard error.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    unit: str

    def __post_init__(self) -> None:
        """Check that the numbers are finite and in order."""
        low, high = self.interval
        if not math.isfinite(self.value) or math.isnan(low) or math.isnan(high) or low > high:
            raise DataError(
                f"measurement in unit {self.unit!r}: expected a finite value and an interval (low, high); got "
                f"{self.value} and {self.interval}"
            )
        if not self.standard_error >= 0:
            raise DataError(
                f"measurement in unit {self.unit!r}: expected a standard error of 0 or above; got {self.standard_error}"
            )

    def covers(self, truth: float) -> bool:
        """Whether the 95 % interval contains a value, given in `unit`."""
        return self.interval[0] <= truth <= self.interval[1]

    def __str__(self) -> str:
        return f"{self.value:.{self.decimals}f} ± {self.standard_error:.{self.decimals}f} {self.unit}"

    @property
    def interval_text(self) -> str:
        """Both ends of the interval as text, with as many decimals as the value.

        >>> from_error(512.0013, 0.0204, "DN").interval_text
        '511.961 … 512.041'
        """
        low, high = self.interval
        return f"{low:.{self.decimals}f} … {high:.{self.decimals}f}"

    @property
    def decimals(self) -> int:
        """Number of decimals that shows two digits of the standard error; 4 where that is 0."""
        return 4 if not self.standard_error else min(9, max(0, 1 - math.floor(math.log10(self.standard_error))))


def quantile(degrees_of_freedom: float) -> float:
    """Return the ratio of half the 95 % interval to the standard error, by Student's t."""
    if math.isinf(degrees_of_freedom):
        return NormalDist().inv_cdf(0.5 + LEVEL / 2)
    # Imported here because a profile that is only read needs none; scipy.stats would take a second more.
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 0.5 + LEVEL / 2))


def from_error(value: float, standard_error: float, unit: str, degrees_of_freedom: float = math.inf) -> Measurement:
    """Return a measurement with a symmetric interval, by Student's t.

    Parameters
    ----------
    value, standard_error : float
        Value and standard error, in `unit`.
    unit : str
        Unit, such as ``"DN/e-"``; empty for a pure number.
    degrees_of_freedom : float
        Degrees of freedom of the standard error, if it was itself estimated from few residuals.

    Returns
    -------
    Measurement
        The value with its 95 % interval.
    """
    half = quantile(degrees_of_freedom) * standard_error
    return Measurement(float(value), float(standard_error), (float(value - half), float(value + half)), unit)


def root(square: float, standard_error: float, unit: str, degrees_of_freedom: float = math.inf) -> Measurement:
    """Return the square root of an estimated variance; a negative estimate gives 0.

    The interval is the root of the variance's interval.  Near zero, where a symmetric interval would be
    wrong, it starts at 0 and is an upper bound.

    Parameters
    ----------
    square, standard_error : float
        The variance and its standard error, in the square of `unit`.
    unit : str
        Unit of the root.
    degrees_of_freedom : float
        Degrees of freedom of the standard error, if it was itself estimated from few residuals.

    Returns
    -------
    Measurement
        The root with its 95 % interval.
    """
    half = quantile(degrees_of_freedom) * standard_error
    value = math.sqrt(max(square, 0.0))
    # A variance estimate below zero gets the same upper limit as an estimate of zero.
    low, high = math.sqrt(max(square - half, 0.0)), math.sqrt(max(square, 0.0) + half)
    error = standard_error / (2 * value) if value > high / 3 else high / 2
    return Measurement(value, error, (low, max(high, value)), unit)


def scaled(estimate: Measurement, factor: float, unit: str) -> Measurement:
    """Convert a measurement to another unit by an exactly known, positive factor."""
    low, high = estimate.interval
    return Measurement(estimate.value * factor, estimate.standard_error * factor, (low * factor, high * factor), unit)


def quotient(numerator: Measurement, denominator: Measurement, unit: str) -> Measurement:
    """Divide two independent measurements; errors to first order.

    Parameters
    ----------
    numerator, denominator : Measurement
        The measurements.  The denominator must be positive and many standard errors above 0.
    unit : str
        Unit of the quotient.

    Returns
    -------
    Measurement
        The quotient with its 95 % interval.
    """
    factor = 1 / denominator.value
    value = numerator.value * factor
    if not denominator.standard_error:
        return scaled(numerator, factor, unit)
    extra = value * denominator.standard_error * factor
    # The denominator's error widens each side in quadrature.  The numerator's interval may have zero width,
    # as for a saturation that is the same exposure in every draw.
    half = quantile(math.inf) * extra
    low, high = (
        value + sign * math.hypot((end - numerator.value) * factor, half)
        for sign, end in zip((-1, 1), numerator.interval, strict=True)
    )
    return Measurement(value, math.hypot(numerator.standard_error * factor, extra), (low, high), unit)
