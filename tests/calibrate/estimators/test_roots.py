"""Where the error of a root of variances changes its formula, and which switches of the gain the prior knows."""

import math

import pytest
from scipy.stats import chi2

from noiseflow.calibrate.estimators.variance import root_of
from noiseflow.calibrate.prior.curve import DUAL_ISOS


@pytest.mark.parametrize(("factor", "by_slope"), [(1.01, True), (0.99, False)])
def test_the_error_of_a_root_is_its_slope_s_from_a_third_of_its_upper_end_on(factor: float, by_slope: bool) -> None:
    """v = u + a − b: the upper end is √(v² + up), here 3 v at v² = up/8."""
    first, free = 10.0, 20.0
    under = free / chi2.ppf(0.025, free) - 1
    over = 1 - free / chi2.ppf(0.975, free)
    # up² = (a·under)² + (b·over)² with a − b = up/8.
    less = first
    for _ in range(200):
        less = first - factor * math.hypot(first * under, less * over) / 8
    found = root_of([(first, free), (-less, free)], "DN")
    error = math.sqrt(2 * first**2 / free + 2 * less**2 / free)
    slope, half = error / (2 * found.value), found.interval[1] / 2
    assert found.standard_error == pytest.approx(slope if by_slope else half)
    assert slope != pytest.approx(half, rel=0.01)


def test_places_of_a_gain_switch_are_those_that_the_shipped_prior_was_learnt_with() -> None:
    assert DUAL_ISOS == (None, 250.0, 400.0, 500.0, 640.0, 800.0, 1250.0, 1600.0, 2000.0, 3200.0)
