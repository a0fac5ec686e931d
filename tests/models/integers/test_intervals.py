import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import integrate, special, stats

from noiseflow.models.adc_levels import log_normal_interval

EXTREME = st.floats(-150, 150, allow_nan=False)


def interval(low: float, high: float) -> float:
    return float(log_normal_interval(*(torch.tensor(end, dtype=torch.float64) for end in (low, high))))


@given(low=st.floats(-4, 4), width=st.floats(0.05, 5))
def test_it_is_scipy_s_difference_of_cdfs(low: float, width: float) -> None:
    expected = np.log(stats.norm.cdf(low + width) - stats.norm.cdf(low))
    assert interval(low, low + width) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(low=EXTREME, log_width=st.floats(np.log(1e-6), np.log(20.0)))
def test_it_keeps_its_precision_in_the_tails_and_for_narrow_codes(low: float, log_width: float) -> None:
    high = low + np.exp(log_width)
    # Relative to the density at the nearer end, the integral of exp((m² − x²)/2) is neither large nor tiny.
    nearest = 0.0 if low <= 0 <= high else min(low, high, key=abs)
    reach = 40 / (1 + abs(nearest))
    ends = (max(low, nearest - reach), min(high, nearest + reach))
    ratio, _ = integrate.quad(lambda x: np.exp(0.5 * (nearest - x) * (nearest + x)), *ends, epsrel=1e-12, limit=200)
    expected = np.log(ratio) - 0.5 * nearest**2 - 0.5 * np.log(2 * np.pi)
    # `high` itself is rounded: of a code of 1e-6 σ at 150 σ that is 3e-8 of its width.
    assert interval(low, high) == pytest.approx(expected, rel=1e-10, abs=1e-7)


def test_gradients_are_finite_at_any_distance() -> None:
    low = torch.tensor([-1e3, -40.0, -1e-9, 0.0, 37.0, 900.0], dtype=torch.float64, requires_grad=True)
    log_normal_interval(low, low + 1e-3).sum().backward()
    assert low.grad is not None
    assert torch.isfinite(low.grad).all()
    # d/dx log[Φ(x + h) − Φ(x)] is minus the middle of a narrow interval.
    assert low.grad.numpy() == pytest.approx(-(low.detach().numpy() + 5e-4), rel=1e-4, abs=1e-6)


def test_a_wide_interval_is_everything() -> None:
    assert interval(-40, 40) == 0
    assert interval(-40, 1) == pytest.approx(special.log_ndtr(1.0), rel=1e-14)
