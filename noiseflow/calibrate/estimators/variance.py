"""Square roots of sums and differences of mean squares, with intervals valid for few degrees of freedom."""

import math
from collections.abc import Sequence

from scipy.stats import chi2

from noiseflow.calibrate.measurement import LEVEL, Measurement

__all__ = ["Part", "negative", "root_of", "total_of"]

Part = tuple[float, float]
"""A mean square times its factor (which may be negative), and its degrees of freedom."""


def negative(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with opposite sign, for subtraction from other parts."""
    return [(-value, free) for value, free in parts]


def total_of(parts: Sequence[Part]) -> tuple[float, float]:
    """Return the sum of the parts and its standard error √Σ 2 a²/f, for parts a with f degrees of freedom."""
    return sum(value for value, _ in parts), math.sqrt(sum(2 * value**2 / free for value, free in parts))


def root_of(parts: Sequence[Part], unit: str) -> Measurement:
    """Return √Σ aᵢ, where the parts aᵢ are independent multiples of χ² variates; a negative sum gives 0.

    The interval is that of the modified large-sample method, which is exact for a single part.  A symmetric
    interval would not do: the variance of, say, 47 rows is skewed, and the truth would lie above a symmetric
    interval twice as often as it should.

    Parameters
    ----------
    parts : sequence of (float, float)
        Mean squares times their factors, in the square of `unit`, and their degrees of freedom.
    unit : str
        Unit of the root.

    Returns
    -------
    Measurement
        The root with its 95 % interval.

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
        # Largest plausible excess and shortfall of the mean square, relative to itself.
        over, under = 1 - free / chi2.ppf(0.5 + LEVEL / 2, free), free / chi2.ppf(0.5 - LEVEL / 2, free) - 1
        down += (value * (over if value > 0 else under)) ** 2
        up += (value * (under if value > 0 else over)) ** 2
    value = math.sqrt(max(square, 0.0))
    # A variance estimate below zero gets the same upper limit as an estimate of zero.
    low, high = math.sqrt(max(square - math.sqrt(down), 0.0)), math.sqrt(max(square, 0.0) + math.sqrt(up))
    return Measurement(value, error / (2 * value) if value > high / 3 else high / 2, (low, high), unit)
