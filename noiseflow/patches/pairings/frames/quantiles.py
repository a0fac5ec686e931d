"""Quantiles of the normal, χ² and F distributions for tests of bursts.

`scipy.special` provides them too, but its import takes a fifth of a small ingest.  Tests compare the two.
"""

import math
from collections.abc import Callable
from functools import lru_cache

__all__ = ["chi2_upper", "f_upper", "normal_upper"]

PRECISION, TINY = 1e-13, 1e-300
"""Relative error of a quantile and of a sum; number that stands for 0 in a denominator."""

MOST_TERMS = 100_000
"""Largest number of terms of a sum; √(degrees of freedom) times ten are enough."""


@lru_cache(maxsize=64)
def normal_upper(chance: float) -> float:
    """Standard normal value that is exceeded with a probability of at most 0.5.

    Parameters
    ----------
    chance : float
        The probability.

    Examples
    --------
    >>> round(normal_upper(0.025), 6)
    1.959964
    """
    return _root(lambda x: 0.5 * math.erfc(x / math.sqrt(2)), chance, 1.0)


@lru_cache(maxsize=64)
def chi2_upper(free: int, chance: float) -> float:
    """Value of χ² that is exceeded with a probability.

    Parameters
    ----------
    free : int
        Degrees of freedom.
    chance : float
        The probability.

    Examples
    --------
    >>> round(chi2_upper(3, 0.05), 6)
    7.814728
    """
    return 2 * _root(lambda x: _gamma_above(free / 2, x), chance, free / 2)


@lru_cache(maxsize=64)
def f_upper(above: float, below: float, chance: float) -> float:
    """Ratio of two variances that is exceeded with a probability.

    Parameters
    ----------
    above, below : float
        Degrees of freedom of the numerator and of the denominator.
    chance : float
        The probability.

    Examples
    --------
    >>> round(f_upper(5, 10, 0.05), 6)
    3.325835
    """
    return _root(lambda x: _beta_below(below / 2, above / 2, below / (below + above * x)), chance, 1.0)


def _root(survival: Callable[[float], float], chance: float, about: float) -> float:
    """Where a falling function reaches `chance`, by bisection from a bracket around `about`."""
    low, high = 0.0, about
    while survival(high) > chance:
        low, high = high, 2 * high
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle) > chance else (low, middle)
    return high


def _gamma_above(a: float, x: float) -> float:
    """Regularised upper incomplete gamma function, by its series or its continued fraction (DLMF 8.11.4, 8.9.2)."""
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, MOST_TERMS):
            term *= x / (a + n)
            total += term
            if term < PRECISION * total:
                break
        return 1 - total * scale
    return scale * _continued(lambda n: -n * (n - a), lambda n: x + 2 * n + 1 - a)


def _beta_below(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_below(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)

    def part(n: int) -> float:
        m = n // 2
        if n % 2:
            return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))

    return math.exp(logarithm) / a * _continued(part, lambda n: 1.0)


def _continued(part: Callable[[int], float], whole: Callable[[int], float]) -> float:
    """1/(b₀ + a₁/(b₁ + a₂/(b₂ + …))), by the method of Lentz and Thompson; a = `part`, b = `whole`."""
    above, below = whole(0) or TINY, 0.0
    value = above
    for n in range(1, MOST_TERMS):
        below = 1 / ((whole(n) + part(n) * below) or TINY)
        above = (whole(n) + part(n) / above) or TINY
        step = above * below
        value *= step
        if abs(step - 1) < PRECISION:
            break
    return 1 / value
