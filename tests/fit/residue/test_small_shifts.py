"""Frames beside their clean signal by a part of a pixel are said; still ones are not, whatever the scene."""

import numpy as np
import pytest
from scipy.ndimage import shift
from static_burst import CONTRAST, SHAPE, Frame, X, exposed, relative

from noiseflow.fit.residue.small_shifts import small_shifts

TEXTURE = np.clip(CONTRAST * (1 + 0.3 * np.random.default_rng(1).normal(size=SHAPE)), 0, 800)
"""As fine as pixels: neighbours say nothing about it."""


def shaken(by: float, scene: np.ndarray = TEXTURE) -> Frame:
    return lambda number, rng: exposed(shift(scene, by * rng.normal(size=2), order=1, mode="nearest"), rng)


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("by", [0.05, 0.1, 0.3])
def test_texture_that_moves_is_said(by: float, size: int) -> None:
    """K was 0.93 and 1.12 for 0.8 at 0.05 and 0.1 pixels, and the words were that the response bends."""
    (words,) = small_shifts(relative(shaken(by), 6, size=size))
    assert "moves by parts of a pixel" in words


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("scene", ["texture", "contrast", "edges", "dark"])
def test_still_frames_are_not_doubted(scene: str, count: int) -> None:
    """A false alarm in a million."""
    scenes = {"texture": TEXTURE, "contrast": CONTRAST, "edges": 50 + 500.0 * (X // 6 % 2), "dark": 0 * CONTRAST}
    for seed in range(3):
        assert list(small_shifts(relative(shaken(0, scenes[scene]), count, seed))) == []


def test_masked_pixels_and_those_beside_them_do_not_count() -> None:
    noise = relative(shaken(0), 4)
    noise.seen[:, 1, 5] = False
    # What a masked pixel holds is no signal.
    noise.light[:, 1, 5] = 1e3 * noise.value[:, 0, 5]
    assert list(small_shifts(noise)) == []
