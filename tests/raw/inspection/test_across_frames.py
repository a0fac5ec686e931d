"""Two frames of which one has no noise are found; two of the same noise are not doubted."""

import numpy as np
import pytest

from noiseflow.raw.inspection import quiet_words, shares_of_noise
from noiseflow.raw.inspection.across_frames import QUIET


def two(seed: int, first: float, second: float, structure: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene = rng.normal(0, structure, 20_000)
    return np.stack([scene + rng.normal(0, sigma, scene.size) for sigma in (first, second)]).astype(np.float32)


@pytest.mark.parametrize("structure", [0.0, 5.0, 15.0])
@pytest.mark.parametrize("seed", range(10))
def test_a_denoised_frame_of_two_is_named(structure: float, seed: int) -> None:
    assert "b.dng has" in quiet_words(["a.dng", "b.dng"], shares_of_noise(two(seed, 5, 0.5, structure)))
    assert "a.dng has" in quiet_words(["a.dng", "b.dng"], shares_of_noise(two(seed, 0.5, 5, structure)))


@pytest.mark.parametrize("structure", [0.0, 50.0, 1000.0])
@pytest.mark.parametrize("sigma", [1.5, 20.0])
def test_two_noisy_frames_pass(structure: float, sigma: float) -> None:
    for seed in range(50):
        assert not quiet_words(["a", "b"], shares_of_noise(two(seed, sigma, sigma, structure)))
        assert not quiet_words(["a", "b"], shares_of_noise(two(seed, sigma, 0.8 * sigma, structure)))


def test_rounding_tells_nothing() -> None:
    assert np.isnan(shares_of_noise(two(0, 0.3, 0.01, 0.0))).all()


@pytest.mark.parametrize("structure", [0.0, 5.0])
@pytest.mark.parametrize("quiet", [0.0, 0.5, 1.0])
def test_the_share_is_that_of_the_variances(quiet: float, structure: float) -> None:
    for seed in range(10):
        share = shares_of_noise(two(seed, quiet, 5, structure))
        assert share[1] == 1
        # The ratio r = (v₂ − v₁)/(v₂ + v₁) of 18,000 values is known to ± 0.011, the share to half of that.
        assert share[0] == pytest.approx((quiet / 5) ** 2, abs=0.03)
        assert share[0] >= 0
        assert shares_of_noise(two(seed, 5, quiet, structure)).tolist() == pytest.approx(share[::-1].tolist(), abs=0.03)


@pytest.mark.parametrize("count", [3, 4, 9])
def test_of_many_frames_each_is_compared_with_the_middle_one(count: int) -> None:
    rng = np.random.default_rng(count)
    scene = rng.normal(0, 30, 20_000)
    frames = np.stack([scene + rng.normal(0, 5, scene.size) for _ in range(count)])
    # Standard error of a variance of 18,000 values 1.05 %, of the quotient of two 1.5 %, and n/(n − 2) of that.
    error = 0.015 * count / (count - 2)
    assert np.abs(shares_of_noise(frames.copy()) - 1).max() < 4.5 * error
    # Without the tenth of the places that change most a quiet frame has more than its share.
    frames[1] = scene
    assert shares_of_noise(frames)[1] < QUIET
