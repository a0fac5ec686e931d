"""Two frames of which one has no noise are found; two of the same noise are not doubted."""

import numpy as np
import pytest

from noiseflow.raw.inspection import quiet_words, shares_of_noise


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
