"""The oracle's sum against scipy's functions summed over every count, in log space."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies as st
from scipy.special import gammaln, log_ndtr, logsumexp, xlogy

from noiseflow.core.errors import DataError
from noiseflow.models.oracle.poisson_gaussian import _log_bin, _log_bin_far, oracle_log_prob


def log_prob_over_all_counts(code: int, rate: float, gain: float, sigma: float, black: float, white: int) -> float:
    most = max(rate, (white - black) / gain)
    counts = np.arange(int(most + 40 * math.sqrt(most) + 40 * sigma / gain) + 200.0)
    if code == 0:
        log_weight = log_ndtr((0.5 - black - gain * counts) / sigma)
    elif code == white:
        log_weight = log_ndtr((black + gain * counts - white + 0.5) / sigma)
    else:
        distance = np.abs(code - black - gain * counts)
        near, far = log_ndtr((0.5 - distance) / sigma), log_ndtr((-0.5 - distance) / sigma)
        log_weight = near + np.log1p(-np.exp(far - near))
    return float(logsumexp(xlogy(counts, rate) - rate - gammaln(counts + 1) + log_weight))


@settings(max_examples=300, deadline=None)
@given(
    gain=st.floats(0.05, 50),
    sigma=st.floats(0.3, 50),
    black=st.sampled_from((0.0, 64.0, 256.5)),
    light=st.floats(0, 1.05),
    deviations=st.floats(-6, 6),
)
@example(gain=0.1, sigma=2.0, black=256.5, light=0.998, deviations=3.0)
@example(gain=20.0, sigma=1.4, black=0.0, light=0.94, deviations=1.0)
@example(gain=39.0, sigma=0.375, black=0.0, light=0.5, deviations=0.0)
@example(gain=0.1, sigma=20.0, black=256.5, light=0.0002, deviations=0.0)
def test_any_camera_any_light_any_code(
    gain: float, sigma: float, black: float, light: float, deviations: float
) -> None:
    white = 4095
    rate = light * (white - black) / gain
    spread = math.sqrt(gain**2 * rate + sigma**2)
    code = int(np.clip(round(black + gain * rate + deviations * spread), 0, white))
    # The signal as it is stored is what the reference has to see too.
    signal = rate * gain
    got = oracle_log_prob(np.array([code]), np.array([signal]), gain=gain, read_sigma=sigma, black=black, white=white)
    expected = log_prob_over_all_counts(code, signal / gain, gain, sigma, black, white)
    # Log-space rounding of terms near λ log λ ~ 1e6 is 1e-10; far codes are right relatively.
    assert got[0] == pytest.approx(expected, rel=1e-9, abs=2e-9)


@pytest.mark.parametrize(
    ("gain", "sigma", "black", "white", "rate"),
    [
        (0.1, 2.016, 256, 4095, 38_300.0),
        (0.1, 2.016, 256, 4095, 7.0),
        (0.1, 2.016, 256, 16_383, 1e5),
        (6.4, 16.0, 256, 4095, 590.0),
        (20.39, 1.447, 0, 1023, 49.0),
        (20.39, 1.447, 0, 1023, 0.3),
    ],
)
def test_all_codes_add_up_to_one_at_both_ends_and_between(
    gain: float, sigma: float, black: float, white: int, rate: float
) -> None:
    codes = np.arange(white + 1.0)
    signal = np.full(codes.shape, rate * gain)
    log_prob = oracle_log_prob(codes, signal, gain=gain, read_sigma=sigma, black=black, white=white)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-9)


def test_a_code_a_thousand_deviations_off_still_has_its_probability() -> None:
    got = oracle_log_prob(np.array([3000.0]), np.zeros(1), gain=0.5, read_sigma=2.0, black=256, white=4095)
    assert got[0] == pytest.approx(log_prob_over_all_counts(3000, 0.0, 0.5, 2.0, 256, 4095), rel=1e-9)


def test_what_has_no_answer_is_refused() -> None:
    levels = {"black": 256.0, "white": 4095.0}
    outside = oracle_log_prob(np.array([-1.0, 4096.0]), np.zeros(2), gain=1.0, read_sigma=2.0, **levels)
    assert np.isneginf(outside).all()
    with pytest.raises(DataError, match="whole raw codes"):
        oracle_log_prob(np.array([10.5]), np.zeros(1), gain=1.0, read_sigma=2.0, **levels)
    with pytest.raises(DataError, match="finite signal"):
        oracle_log_prob(np.array([10.0]), np.array([np.nan]), gain=1.0, read_sigma=2.0, **levels)
    with pytest.raises(DataError, match="positive gain"):
        oracle_log_prob(np.array([10.0]), np.zeros(1), gain=0.0, read_sigma=2.0, **levels)


@pytest.mark.parametrize("half", [0.004, 0.3, 2.0])
@pytest.mark.parametrize("z", [0.0, -0.7, 3.0, 12.0, -30.0, 60.0, -400.0])
def test_the_mass_of_a_code_is_that_of_many_digits(z: float, half: float) -> None:
    """log[Φ(z + h) − Φ(z − h)]; the quick form serves up to 37 σ."""
    with mpmath.workdps(60):
        ends = [mpmath.erfc((abs(z) + shift) / mpmath.sqrt(2)) / 2 for shift in (-mpmath.mpf(half), mpmath.mpf(half))]
        expected = float(mpmath.log(ends[0] - ends[1]))
    at = torch.tensor([z], dtype=torch.float64)
    assert float(_log_bin_far(at.clone(), half)) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    if abs(z) < 36:
        assert float(_log_bin(at.clone(), half)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
