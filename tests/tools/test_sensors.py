"""Figures of the studies on real sensors and on bad pixels, from numbers whose answer is known."""

import numpy as np
import pytest

from tools.studies.zoo import bad_pixels, flats, sensors


def test_rows_variance_and_rare_values_of_frames_are_compared_by_light() -> None:
    """Of 40 pairs of 64 rows the ratios are known to a few percent; three standard errors, and far from 1."""
    rng = np.random.default_rng(1)

    def frame(rows: float, sigma: float) -> np.ndarray:
        return sigma * rng.standard_normal((64, 640)) + rows * rng.standard_normal((64, 1))

    found = flats._bin("light pairs 0", [(10.0, frame(0.05, 1), frame(0.1, 1.1)) for _ in range(40)])
    made, real, error = found.ratio[640]
    assert real == pytest.approx((1 + 0.05**2 * 640) / (1 + 0.05**2), rel=0.1)
    assert made == pytest.approx((1.21 + 0.1**2 * 640) / (1.21 + 0.1**2), rel=0.1)
    assert 0 < error < 0.2 * made / real
    over, wrong = found.variance
    assert over == pytest.approx((1.21 + 0.1**2) / (1 + 0.05**2), abs=3 * wrong)
    many, few, _ = found.tail
    assert many > 2 * few > 0
    assert found.name == "10–10"


def test_levels_of_planes_are_taken_out_of_frames() -> None:
    noise = np.arange(20.0).reshape(4, 5) ** 2
    found = flats._level(noise)
    assert found.shape == (4, 4)
    for plane in (found[top::2, left::2] for top in (0, 1) for left in (0, 1)):
        assert plane.mean() == pytest.approx(0)
    assert found[0, 0] - found[2, 2] == pytest.approx(noise[0, 0] - noise[2, 2])


def test_a_difference_is_paired_over_frames_or_else_over_patches() -> None:
    count, own = np.full(16, 100.0), np.arange(16.0)
    gain = np.repeat(np.arange(8.0), 2)
    mean, half, over = sensors.difference(own, own + gain, count, np.arange(16) // 2)
    # Eight frames of 200 values: the spread of 0 to 7 has a standard deviation of √6, and t₇ is 2.365.
    assert (mean, over) == (pytest.approx(3.5 / 100), "frames")
    assert half == pytest.approx(2.365 * 6**0.5 / 8**0.5 / 100, rel=1e-3)
    assert sensors.difference(own, own + gain, count, np.zeros(16, int))[2] == "patches"


def test_the_tail_of_telegraph_pixels_is_that_of_two_states() -> None:
    """Of two frames the difference is up or down where their states differ, with 2·p·(1 − p) = 0.18 of a hundredth."""
    found = bad_pixels.tail(bad_pixels.PAIRINGS["pairs"], 0.01, 10_000)
    assert found.paired == pytest.approx(1800, rel=0.02)
    assert found.camera == pytest.approx(1000, rel=0.02)
    # Of 100 pixels 18 differ, each in both of its frames: √(18 · 0.82) of 18.
    assert found.error == pytest.approx((0.82 / 18) ** 0.5, rel=0.02)
    assert bad_pixels.spread(0.01) == pytest.approx((1 + 0.01 * 0.09 * 60**2 / (16 + 1 / 12)) ** 0.5)
