"""Means and ratios with intervals over groups, because patches of one scene or frame are not independent."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["LEVEL", "RESAMPLES", "VERDICT", "Interval", "bootstrap_ratio", "jackknife", "ratio_of_sums"]

VERDICT = 0.995
"""Confidence level of the intervals that decide whether a check flags a fault.  With ten checks, one report in 20 on
the right model flags one."""

RESAMPLES = 1999
"""Number of bootstrap resamples."""

FEWEST_RESAMPLED, MOST_RESAMPLED = 5, 400
"""Range of the number of groups for the bootstrap: fewer cannot be resampled, and the mean of more is Gaussian."""

LEVEL = 0.95
"""Confidence level of the intervals in a report, unless stated otherwise."""


@dataclass(frozen=True)
class Interval:
    """A number with its standard error and confidence interval.

    Parameters
    ----------
    value : float
        The number; NaN where it is undefined.
    standard_error : float or None
        Standard error; None with fewer than two groups, as the spread is unknown.
    low, high : float or None
        Ends of the interval; None if unknown.
    groups : int
        Number of groups (scenes or frames) that it is computed from.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    groups: int

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, shown after ± in a report; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def numbers(self) -> tuple[float, float | None, float | None, float | None]:
        """Value, standard error, and the two ends of the interval."""
        return self.value, self.standard_error, self.low, self.high

    @property
    def without_interval(self) -> "Interval":
        """The same value without standard error and interval."""
        return Interval(self.value, None, None, None, self.groups)

    def within(self, least: float, most: float = math.inf) -> "Interval":
        """Return the interval limited to the possible range of the value, or no interval if it covers the whole range.

        >>> Interval(0.93, 3.5, -6.0, 7.9, 2).within(0.0, 1.0).low is None
        True
        """
        if self.low is None or self.high is None or (self.low < least and self.high > most):
            return self.without_interval
        return Interval(self.value, self.standard_error, max(self.low, least), min(self.high, most), self.groups)

    def __neg__(self) -> "Interval":
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Interval(-self.value, self.standard_error, low, high, self.groups)

    def above(self, bound: float) -> bool:
        """Whether the whole interval is above a bound; False without an interval."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval is below a bound; False without an interval."""
        return self.high is not None and self.high < bound

    def scaled(self, factor: float) -> "Interval":
        """Return the number times a positive factor, to convert its unit."""
        error, low, high = (None if x is None else x * factor for x in (self.standard_error, self.low, self.high))
        return Interval(self.value * factor, error, low, high, self.groups)


def ratio_of_sums(*, numerator: NDArray[np.float64], denominator: NDArray[np.float64], level: float) -> Interval:
    """Compute a ratio of sums over groups, with the standard error of a cluster sample.

    r = Σ aᵍ / Σ bᵍ,  SE² = G/(G − 1) · Σ (aᵍ − r bᵍ)² / (Σ bᵍ)²,  interval r ± t(G − 1) · SE.

    If b is the number of values and a their sum, r is their mean.  Values within a group may be
    correlated in any way.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (G,)
        Sums a and b of each group.  Groups with b = 0 are left out.
    level : float
        Confidence level of the interval.

    Returns
    -------
    Interval
        The ratio; NaN if all b are 0, and without interval if fewer than two groups are left.

    References
    ----------
    Cochran: Sampling Techniques, 3rd ed., 1977, ch. 6 (ratio estimators) and 9A (clusters).
    """
    present = denominator != 0
    a, b = numerator[present], denominator[present]
    groups, total = len(b), float(b.sum())
    if total == 0:
        return Interval(math.nan, None, None, None, groups)
    ratio = float(a.sum()) / total
    if groups < 2:
        return Interval(ratio, None, None, None, groups)
    error = math.sqrt(groups / (groups - 1) * float(np.square(a - ratio * b).sum())) / abs(total)
    half = float(stdtrit(groups - 1, (1 + level) / 2)) * error
    return Interval(ratio, error, ratio - half, ratio + half, groups)


def bootstrap_ratio(*, numerator: NDArray[np.float64], denominator: NDArray[np.float64], level: float) -> Interval:
    """Compute a ratio of sums over groups, with a bootstrap-t interval.

    Whole groups are drawn with replacement, `RESAMPLES` times with a fixed seed.  Each draw gives
    t* = (r* − r)/SE*, with SE as in `ratio_of_sums`.  At level 0.95, the interval is
    [r − t*₍₉₇.₅₎ SE, r − t*₍₂.₅₎ SE].  Unlike percentiles of r*, it keeps its coverage with few or skewed
    groups.  With fewer than 5 or more than 400 groups, the result is that of `ratio_of_sums`.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (G,)
        Sums of each group.  Groups with a denominator of 0 are left out.
    level : float
        Confidence level of the interval.

    Returns
    -------
    Interval
        The ratio.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 12.5.
    """
    plain = ratio_of_sums(numerator=numerator, denominator=denominator, level=level)
    present = denominator != 0
    a, b = numerator[present], denominator[present]
    if plain.standard_error is None or not FEWEST_RESAMPLED <= len(b) <= MOST_RESAMPLED:
        return plain
    if not plain.standard_error > 0:
        return plain
    times = _draws(len(b))
    total = times @ b
    ratio = (times @ a) / total
    square = times @ (a * a) - 2 * ratio * (times @ (a * b)) + ratio**2 * (times @ (b * b))
    error = np.sqrt(np.maximum(len(b) / (len(b) - 1) * square, 0.0)) / np.abs(total)
    # A resample that repeats a single group has no spread.
    known = error > 1e-9 * plain.standard_error
    t = (ratio[known] - plain.value) / error[known]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    ends = (plain.value - float(high) * plain.standard_error, plain.value - float(low) * plain.standard_error)
    return Interval(plain.value, plain.standard_error, *ends, plain.groups)


@lru_cache(maxsize=16)
def _draws(groups: int) -> NDArray[np.float64]:
    """Return how often each group is in each resample, shape (RESAMPLES, groups)."""
    draws = np.random.default_rng(groups).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    return draws.astype(np.float64)


def jackknife(*, value: float, left_out: NDArray[np.float64], level: float) -> Interval:
    """Add a jackknife interval to a statistic.

    SE² = (n − 1)/n Σ (θ₋ᵢ − mean θ₋)², interval value ± t(n − 1) · SE.

    Parameters
    ----------
    value : float
        The statistic of all blocks.
    left_out : ndarray, shape (n,)
        The statistic without each one of the blocks; NaN for a block without data.
    level : float
        Confidence level of the interval.

    Returns
    -------
    Interval
        The statistic; without interval if fewer than two blocks are known.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap, 1993, ch. 11.
    """
    known = left_out[np.isfinite(left_out)]
    blocks = len(known)
    if blocks < 2 or not math.isfinite(value):
        return Interval(value, None, None, None, blocks)
    error = math.sqrt((blocks - 1) / blocks * float(np.square(known - known.mean()).sum()))
    half = float(stdtrit(blocks - 1, (1 + level) / 2)) * error
    return Interval(value, error, value - half, value + half, blocks)
