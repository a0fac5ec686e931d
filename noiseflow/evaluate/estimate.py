"""Means and ratios with an interval that knows that patches of one frame are not independent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["LEVEL", "Estimate", "ratio_of_sums"]

LEVEL = 0.95
"""Coverage of the intervals in a report, where nothing else is said."""


@dataclass(frozen=True)
class Estimate:
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

    def __neg__(self) -> "Estimate":
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Estimate(-self.value, self.standard_error, low, high, self.groups)

    def above(self, bound: float) -> bool:
        """Whether the whole interval is above a bound; False where there is none."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval is below a bound; False where there is none."""
        return self.high is not None and self.high < bound

    def scaled(self, factor: float) -> "Estimate":
        """The same in a unit `factor` (above 0) times as small."""
        error, low, high = (None if x is None else x * factor for x in (self.standard_error, self.low, self.high))
        return Estimate(self.value * factor, error, low, high, self.groups)


def ratio_of_sums(*, numerator: NDArray[np.float64], denominator: NDArray[np.float64], level: float) -> Estimate:
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
        return Estimate(math.nan, None, None, None, groups)
    ratio = float(a.sum()) / total
    if groups < 2:
        return Estimate(ratio, None, None, None, groups)
    error = math.sqrt(groups / (groups - 1) * float(np.square(a - ratio * b).sum())) / abs(total)
    half = float(stdtrit(groups - 1, (1 + level) / 2)) * error
    return Estimate(ratio, error, ratio - half, ratio + half, groups)
