"""Peaks or dips of the noise that a filter cut are said; coarse, skewed and clipped codes are not doubted."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from noiseflow.fit.residue.hot_pixel_filter import hot_pixel_filter

AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)[None, None]


def codes_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    shape = (50, 4, 16, 16)
    noise = 300 + rng.normal(0, 8, shape)
    kinds = {
        "peaks": np.minimum(noise, maximum_filter(noise, footprint=AROUND)),
        "dips": np.maximum(noise, minimum_filter(noise, footprint=AROUND)),
        "plain": noise,
        "skewed": 5.0 * rng.poisson(9, shape) + rng.normal(0, 1, shape),
        "coarse": 10 + rng.normal(0.3, 0.3, shape),
        "few codes": 10 + rng.poisson(0.5, shape),
        "clipped": np.minimum(noise, 305),
        "dark": np.maximum(noise - 300, 0),
        "one code": np.full(shape, 7.0),
    }
    return np.rint(kinds[kind]).astype(np.float32)


@pytest.mark.parametrize("end", ["peaks", "dips"])
def test_a_filter_that_cuts_the_ends_of_noise_is_said(end: str) -> None:
    """K was 0.67 for 0.8, in silence."""
    (words,) = hot_pixel_filter(codes_of(end, np.random.default_rng(0)), 1023)
    assert f"cut the {end} of the noise" in words


@pytest.mark.parametrize("kind", ["plain", "skewed", "coarse", "few codes", "clipped", "dark", "one code"])
def test_other_codes_are_not_doubted(kind: str) -> None:
    for seed in range(5):
        assert (
            list(hot_pixel_filter(codes_of(kind, np.random.default_rng(seed)), 305 if kind == "clipped" else 1023))
            == []
        )
