"""What a frame of a burst takes from the others, and the lines of offset and gain, by the numbers themselves."""

import numpy as np
import pytest
from builders import BLACK, frame

from noiseflow.patches.pairings.burst import share
from noiseflow.patches.pairings.frames.blocks import OUTLYING, robust_line
from noiseflow.patches.shared_mean import Share, mean_of_others


def test_a_frame_s_clean_signal_is_the_others_at_its_own_offset_and_gain() -> None:
    """Frames gₙ·s + oₙ without noise: each is what the mean of the others becomes."""
    rng = np.random.default_rng(0)
    signal = rng.uniform(10, 500, (4, 3, 5))
    gains, offsets = rng.uniform(0.8, 1.2, (3, 4)), rng.uniform(-5, 5, (3, 4))
    frames = BLACK + offsets[:, :, None, None] + gains[:, :, None, None] * signal
    image = frame(np.zeros((4, 4), np.uint16))
    facts = {"frames": 3, "frame_offsets_dn": offsets.tolist(), "frame_gains": gains.tolist()}
    mean = frames.mean(0).astype(np.float32)
    for number in range(3):
        found = share(facts, number, image)
        assert found.clean(mean, frames[number]) == pytest.approx(frames[number], abs=2e-3)
        assert found.own == 0.5
        rest = [other for other in range(3) if other != number]
        ratio = gains[number] / gains[rest].mean(0)
        assert found.clean_variance == pytest.approx(ratio.mean() / 2)


def test_the_formula_of_the_shared_mean() -> None:
    noisy, mean = np.array([[[3.0]], [[8.0]]]), np.array([[[5.0]], [[2.0]]], np.float32)
    found = Share(0.25, (2.0, 3.0), (10.0, -1.0), 0.1).clean(mean, noisy)
    assert found.ravel().tolist() == [10 + 2 * (5 + 0.25 * 2), -1 + 3 * (2 + 0.25 * -6)]
    out = np.empty((2, 1, 1), np.float32)
    again = mean_of_others(noisy, mean, np.float32(0.25), np.float32(1), np.float32(0), out=out)
    assert again is out
    assert out.ravel().tolist() == [5.5, 0.5]


def test_a_line_through_blocks_is_least_squares() -> None:
    rng = np.random.default_rng(1)
    x, weights = rng.uniform(0, 100, 60), rng.uniform(0.5, 2, 60)
    y = 3 + 0.2 * x + rng.normal(0, 0.3, 60) / np.sqrt(weights)
    offset, slope, error = robust_line(y, x, weights)
    # Scaled by the weights, of which all blocks are within `OUTLYING`.
    design = np.stack([np.ones(60), x], 1)
    normal = design.T @ (design * weights[:, None])
    expected = np.linalg.solve(normal, design.T @ (weights * y))
    assert (offset, slope) == pytest.approx(tuple(expected), rel=1e-9)
    assert error == pytest.approx(np.sqrt(np.linalg.inv(normal)[1, 1]), rel=1e-9)
    assert robust_line(y, None, weights)[:2] == pytest.approx((np.average(y, weights=weights), 0.0))
    assert robust_line(y, np.full(60, 7.0), weights) == pytest.approx((np.average(y, weights=weights), 0.0, np.inf))
    assert robust_line(y, x, np.zeros(60)) == (0.0, 0.0, np.inf)


def test_blocks_that_lie_far_off_are_left_out() -> None:
    x = np.arange(20.0)
    y = 1 + 2 * x
    y[3] += 50.0
    assert robust_line(y, x, np.ones(20))[:2] == pytest.approx((1.0, 2.0))
    near = 1 + 2 * x
    near[3] += 0.5 * OUTLYING
    assert robust_line(near, x, np.ones(20))[1] != pytest.approx(2.0, abs=1e-6)
