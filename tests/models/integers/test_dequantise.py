"""Quantiles and densities of dequantisers against scipy's truncated normal, near and far."""

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from noiseflow.models.adc_levels import Cells
from noiseflow.models.integers.dequantise import FAR, truncated_normal, uniform

SIGMA = 0.7


def cells(low: float, high: float, clipped: str = "") -> Cells:
    """One cell in units of σ; ``"black"`` or ``"white"`` if its code is clipped."""
    ends = (torch.full((1, 1, 1, 1), SIGMA * end, dtype=torch.float64) for end in (low, high))
    return Cells(*ends, *(torch.full((1, 1, 1, 1), clipped == each) for each in ("black", "white")))


def drawn(u: float, cell: Cells) -> tuple[float, float]:
    quantile = torch.full((1, 1, 1, 1), u, dtype=torch.float64)
    x, log_q = truncated_normal(quantile, cell, torch.full_like(quantile, SIGMA))
    return float(x), float(log_q)


PLACES = [
    (-0.4, 0.1),
    (3.0, 3.5),
    (-9.0, -8.8),
    (24.0, 24.9),
    (-24.9, -24.2),
    (26.0, 26.5),
    (-40.0, -39.0),
    (30.0, 30.01),
]


@pytest.mark.parametrize(("low", "high"), PLACES)
@pytest.mark.parametrize("clipped", ["", "black", "white"])
@pytest.mark.parametrize("u", [0.03, 0.5, 0.9])
def test_values_and_densities_are_scipy_s(low: float, high: float, clipped: str, u: float) -> None:
    ends = (-np.inf if clipped == "black" else low, np.inf if clipped == "white" else high)
    known = truncnorm(*ends, scale=SIGMA)
    x, log_q = drawn(u, cells(low, high, clipped))
    # Beyond `FAR` an exponential stands for the normal, which is off by about z²/(2·FAR²).
    far = (high < -FAR) if clipped != "white" else (low > FAR)
    far |= clipped == "" and low > FAR
    assert SIGMA * ends[0] <= x <= SIGMA * ends[1]
    assert known.cdf(x) == pytest.approx(u, abs=2e-3 if far else 1e-7)
    assert log_q == pytest.approx(float(known.logpdf(x)), abs=5e-3 if far else 1e-7)


@pytest.mark.parametrize(("low", "high"), PLACES)
@pytest.mark.parametrize("clipped", ["", "black", "white"])
def test_the_density_is_the_slope_of_the_quantiles(low: float, high: float, clipped: str) -> None:
    cell, step = cells(low, high, clipped), 1e-5
    slope = (drawn(0.4 + step, cell)[0] - drawn(0.4 - step, cell)[0]) / (2 * step)
    assert drawn(0.4, cell)[1] == pytest.approx(-np.log(slope), abs=1e-5)


@pytest.mark.parametrize("clipped", ["", "black"])
def test_both_formulas_meet_where_one_takes_over(clipped: str) -> None:
    near, far = (drawn(0.5, cells(-FAR - 0.5 + shift, -FAR + shift, clipped)) for shift in (1e-9, -1e-9))
    assert near[0] == pytest.approx(far[0], abs=2e-4)
    assert near[1] == pytest.approx(far[1], abs=5e-3)


def test_uniform_is_uniform_but_in_the_tails() -> None:
    u = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64)
    x, log_q = uniform(u, cells(1.0, 3.0), torch.full_like(u, SIGMA))
    assert float(x) == pytest.approx(SIGMA * 1.5)
    assert float(log_q) == pytest.approx(-np.log(2 * SIGMA))
    tail = cells(1.0, 3.0, "white")
    assert tuple(map(float, uniform(u, tail, torch.full_like(u, SIGMA)))) == drawn(0.25, tail)
