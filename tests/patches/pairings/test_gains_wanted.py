"""Gains of frames are taken where χ² says so for all planes together, and each is known well enough."""

import numpy as np
import pytest
from scipy.stats import chi2

from noiseflow.patches.pairings.burst import SHARPEST, SURE, _wanted


@pytest.mark.parametrize("planes", [1, 4, 36])
@pytest.mark.parametrize(("part", "wanted"), [(0.999, False), (1.001, True)])
def test_by_chance_of_one_in_a_thousand_over_all_planes(planes: int, part: float, wanted: bool) -> None:
    limit = chi2.isf(SURE / planes, 5)
    errors = np.array([0.001, 0.002, 0.003, 0.004, 0.005])
    slopes = errors * np.sqrt(part * limit / 5) * [1, -1, 1, -1, 1]
    assert _wanted(slopes, errors, planes) == wanted


@pytest.mark.parametrize(("error", "wanted"), [(0.99 * SHARPEST, True), (1.01 * SHARPEST, False)])
def test_a_gain_of_two_percent_error_is_none(error: float, wanted: bool) -> None:
    assert _wanted([1.0, -1.0, 0.5], [0.001, error, 0.001], 4) == wanted
