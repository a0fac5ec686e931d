"""SNR, threshold and dynamic range against closed forms: a straight camera, and one whose response bends."""

import math
from dataclasses import replace

import numpy as np
import pytest

from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.signal_to_noise import (
    General,
    decibels,
    dynamic_range,
    general_model,
    linear_snr,
    threshold,
)

K, READ, TOP = 0.5, 4.0, 3000.0


def levels(bend: float, count: int = 18) -> Curve:
    """Exact levels of a response y·(1 − bend·(y/top)³) with shot and read noise; the last one is saturated."""
    light = np.linspace(TOP / count, TOP, count)
    signal, slope = light * (1 - bend * (light / TOP) ** 3), 1 - 4 * bend * (light / TOP) ** 3
    variance = K * light * slope**2 + READ**2
    rest, clipped = np.full(count, READ**2), np.zeros(count)
    variance[-1], clipped[-1] = 1.0, 1.0
    return Curve(light, signal, variance, 0.01 * variance, rest, 0.01 * rest, clipped, True, np.zeros(count))


def test_the_threshold_is_where_the_snr_is_one() -> None:
    least = threshold(from_error(READ, 0.01, "DN"), from_error(K, 1e-4, "DN/e-"))
    assert linear_snr(np.array([least.value]), READ / K)[0] == pytest.approx(1, rel=1e-12)
    # By the definition: 1 % of the noise is 1 % of nearly all of it.
    noisier = threshold(from_error(1.01 * READ, 0.01, "DN"), from_error(K, 1e-4, "DN/e-"))
    assert (noisier.value - least.value) / (0.01 * READ) * 0.01 == pytest.approx(least.standard_error, rel=0.02)
    assert least.interval[0] < least.value < least.interval[1]


def test_decibels_and_dynamic_range() -> None:
    assert decibels(from_error(1000.0, 10.0, "")).value == pytest.approx(60)


def test_the_dynamic_range_knows_that_k_cancels() -> None:
    noise, gain = from_error(READ, 0.01 * READ, "DN"), from_error(K, 0.1 * K, "DN/e-")
    found = dynamic_range(from_error(5000.0, 50.0, "DN"), noise, gain)
    least = threshold(noise, gain).value
    assert found.value == pytest.approx(20 * math.log10(5000 / K / least))
    # 1 % of saturation, 1 % of nearly all the threshold, and of K's 10 % half an electron in 8.5.
    parts = 0.01, 0.01 * READ**2 / (READ**2 + (K / 2) ** 2) ** 0.5 / (least * K), 0.1 * K * 0.53 / (least * K)
    assert found.standard_error == pytest.approx(20 / math.log(10) * math.hypot(*parts), rel=0.01)
    # With K's own error in both it was 1.2 dB.
    assert found.standard_error < 0.15
    assert found.covers(found.value + 1.9 * found.standard_error)
    # A saturation that draws always put at one exposure has no error; the interval still has two sides.
    sure = dynamic_range(from_error(5000.0, 0.0, "DN"), noise, gain)
    assert sure.interval[0] < sure.value - sure.standard_error
    assert sure.interval[1] > sure.value + sure.standard_error


def test_the_total_snr_ends_at_the_response_that_differs() -> None:
    assert linear_snr(np.array([1e9]), 5.0, 1.0, 0.01)[0] == pytest.approx(100, rel=1e-3)
    assert linear_snr(np.array([1e4]), 0.0)[0] == pytest.approx(100)


@pytest.mark.parametrize("bend", [0.0, 0.02, 0.1])
def test_the_general_model_refers_noise_to_the_light(bend: float) -> None:
    curve = levels(bend)
    found = general_model(curve, len(curve.signal) - 2, K, READ, light_known=True)
    assert isinstance(found, General)
    seen = np.isfinite(found.snr)
    assert seen[:-3].all()
    assert not seen[-1]
    # What bends signal and noise alike leaves the SNR of the light as it is.
    slope = 1 - 4 * bend * (curve.exposure / TOP) ** 3
    truth = curve.exposure / np.sqrt(K * curve.exposure + (READ / slope) ** 2)
    np.testing.assert_allclose(found.snr[seen], truth[seen], rtol=1e-6)
    np.testing.assert_allclose(found.electrons, curve.exposure / K, rtol=1e-6)
    assert found.threshold_e == pytest.approx(math.hypot(READ / K, 0.5) + 0.5)
    assert found.range_db == pytest.approx(20 * math.log10(curve.exposure[-2] / K / found.threshold_e))
    # The output's SNR is another where the response bends: the comparison could fail.
    output = curve.signal / np.sqrt(curve.variance)
    assert (np.abs(output / truth - 1)[seen].max() > 1e-3) == (bend > 0)


def test_without_known_light_or_levels_there_is_none() -> None:
    curve = levels(0.02)
    assert "the light is not known" in str(general_model(curve, 16, K, READ, light_known=False))
    assert "needs 6" in str(general_model(levels(0.02, 6), 4, K, READ, light_known=True))
    without = general_model(curve, None, K, READ, light_known=True)
    assert isinstance(without, General)
    assert without.range_db is None


@pytest.mark.parametrize("factor", [1.0, 1e6])
def test_the_best_ratio_is_in_decibels_below_one_too(factor: float) -> None:
    curve = levels(0.02)
    found = general_model(replace(curve, variance=factor * curve.variance), None, K, READ, light_known=True)
    assert isinstance(found, General)
    best = float(np.nanmax(found.snr))
    assert (best < 1) == (factor > 1)
    assert found.best_db == pytest.approx(20 * math.log10(best))
