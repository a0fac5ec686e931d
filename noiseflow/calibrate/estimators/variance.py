"""Roots of sums and differences of mean squares, with intervals that hold for few degrees of freedom."""

import math
from collections.abc import Sequence

from scipy.stats import chi2

from noiseflow.calibrate.measurement import LEVEL, Measurement

__all__ = ["Part", "negative", "root_of", "total_of"]

Part = tuple[float, float]
"""A mean square times its factor, which may be negative, and its degrees of freedom."""


def negative(parts: Sequence[Part]) -> list[Part]:
    """The same to be taken off."""
    return [(-value, free) for value, free in parts]


def total_of(parts: Sequence[Part]) -> tuple[float, float]:
    """Sum and its standard error, √Σ 2 a²/f."""
    return sum(value for value, _ in parts), math.sqrt(sum(2 * value**2 / free for value, free in parts))


def root_of(parts: Sequence[Part], unit: str) -> Measurement:
    """Root of Σ aᵢ, the aᵢ independent multiples of χ² variates, aᵢ < 0 being taken off; below 0 it is 0.

    A variance of 47 rows is skewed: a symmetric interval would miss the truth above it twice as
    often as it should.  The interval is that of the modified large-sample method, exact
    for a single part.

    Parameters
    ----------
    parts : sequence of (float, float)
        Mean squares with their factors, in the square of `unit`, and degrees of freedom.
    unit : str
        Unit of the root.

    References
    ----------
    Ting, Burdick, Graybill, Jeyaratnam, Lu: Confidence intervals on linear combinations of
    variance components that are unrestricted in sign, J. Stat. Comput. Simul. 35, 1990.

    Examples
    --------
    >>> estimate = root_of([(4.0, 10.0)], "DN")
    >>> [round(end**2, 3) for end in estimate.interval]    # 10·4/χ² at 97.5 and 2.5 %
    [1.953, 12.319]
    """
    square, error = total_of(parts)
    down = up = 0.0
    for value, free in parts:
        # By how much a mean square may be too high, and too low, relative to itself.
        over, under = 1 - free / chi2.ppf(0.5 + LEVEL / 2, free), free / chi2.ppf(0.5 - LEVEL / 2, free) - 1
        down += (value * (over if value > 0 else under)) ** 2
        up += (value * (under if value > 0 else over)) ** 2
    value = math.sqrt(max(square, 0.0))
    # A variance that chance made negative leaves as much room above zero as one that is zero.
    low, high = math.sqrt(max(square - math.sqrt(down), 0.0)), math.sqrt(max(square, 0.0) + math.sqrt(up))
    return Measurement(value, error / (2 * value) if value > high / 3 else high / 2, (low, high), unit)
