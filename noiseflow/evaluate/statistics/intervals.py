"""Means and ratios with an interval that knows that patches of one frame are not independent."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["LEVEL", "RESAMPLES", "VERDICT", "Interval", "bootstrap_ratio", "jackknife", "ratio_of_sums"]

VERDICT = 0.995
"""Coverage of the intervals that flag a fault in the checks of structure, tails, calibration
and the two-sample test: with ten of them a report on the right model is wrong once in 20."""

RESAMPLES = 1999
FEWEST_RESAMPLED, MOST_RESAMPLED = 5, 400
"""Groups between which the bootstrap is used: fewer cannot be resampled, and of more the
mean is as good as Gaussian."""

LEVEL = 0.95
"""Coverage of the intervals in a report, unless stated otherwise."""


@dataclass(frozen=True)
class Interval:
    """A number and how sure it is.

    Parameters
    ----------
    value : float
        NaN where it is not defined.
    standard_error : float or None
        None with fewer than two groups: nothing is known then of its spread.
    low, high : float or None
        Ends of the interval.
    groups : int
        Groups (frames) that it rests on.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    groups: int

    @property
    def half_width(self) -> float | None:
        """Half the interval: the ± of a report."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def numbers(self) -> tuple[float, float | None, float | None, float | None]:
        """Value, standard error, and the two ends."""
        return self.value, self.standard_error, self.low, self.high

    @property
    def without_interval(self) -> "Interval":
        """The value alone."""
        return Interval(self.value, None, None, None, self.groups)

    def within(self, least: float, most: float = math.inf) -> "Interval":
        """The interval cut to the range of the measure; none where both of its ends leave the range.

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
        """Whether the whole interval is above a bound; False where there is none."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval is below a bound; False where there is none."""
        return self.high is not None and self.high < bound

    def scaled(self, factor: float) -> "Interval":
        """The same in a unit `factor` (above 0) times as small."""
        error, low, high = (None if x is None else x * factor for x in (self.standard_error, self.low, self.high))
        return Interval(self.value * factor, error, low, high, self.groups)


def ratio_of_sums(*, numerator: NDArray[np.float64], denominator: NDArray[np.float64], level: float) -> Interval:
    """Σ numerator / Σ denominator over groups, with the standard error of a sample of groups.

    r = Σ aᵍ / Σ bᵍ,  SE² = G/(G − 1) · Σ (aᵍ − r bᵍ)² / (Σ bᵍ)²,  interval r ± t(G − 1) · SE.

    With b the number of values and a their sum it is a mean; pixels and patches within a
    group may depend on each other in any way.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (G,)
        Sums per group.  Groups with a denominator of 0 are left out.
    level : float
        Coverage of the interval.

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
    """Σ numerator / Σ denominator over groups, with a bootstrap-t interval over groups.

    Whole groups are drawn with replacement, `RESAMPLES` times from a fixed seed; of each draw
    t* = (r* − r)/SE*, SE as in `ratio_of_sums`; the interval is [r − t*₍₉₇.₅₎ SE, r − t*₍₂.₅₎ SE].
    Unlike percentiles of r* it keeps its coverage with few groups and skewed ones.  With fewer
    than 5 or more than 400 groups it is `ratio_of_sums`.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (G,)
        Sums per group.  Groups with a denominator of 0 are left out.
    level : float
        Coverage of the interval.

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
    # A draw of one group only, again and again, says nothing of the spread.
    known = error > 1e-9 * plain.standard_error
    t = (ratio[known] - plain.value) / error[known]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    ends = (plain.value - float(high) * plain.standard_error, plain.value - float(low) * plain.standard_error)
    return Interval(plain.value, plain.standard_error, *ends, plain.groups)


@lru_cache(maxsize=16)
def _draws(groups: int) -> NDArray[np.float64]:
    """How often each group is in each draw, shape (RESAMPLES, groups)."""
    draws = np.random.default_rng(groups).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    return draws.astype(np.float64)


def jackknife(*, value: float, left_out: NDArray[np.float64], level: float) -> Interval:
    """A statistic with the interval that leaving out one block after the other gives.

    SE² = (n − 1)/n Σ (θ₋ᵢ − mean θ₋)², interval value ± t(n − 1) · SE.

    Parameters
    ----------
    value : float
        Of all blocks.
    left_out : ndarray, shape (n,)
        The statistic without each of the blocks; NaN for a block without data.
    level : float
        Coverage of the interval.

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
