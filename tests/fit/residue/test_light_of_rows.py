"""A lamp that flickers under a rolling shutter is said, with its strength; noise of rows is not taken for it."""

import re

import numpy as np
import pytest
from static_burst import CONTRAST, SHAPE, Frame, Y, exposed, relative

from noiseflow.fit.residue.light_of_rows import light_of_rows


def lamp(part: float, period: float, offset: float = 0.0) -> Frame:
    """Light that goes up and down by a part over the rows, with another phase in each frame."""

    def frame(number: int, rng: np.random.Generator) -> np.ndarray:
        light = 1 + part * np.sin(2 * np.pi * (Y / period + rng.random()))
        return exposed(CONTRAST * light, rng) + offset * rng.normal(size=(SHAPE[0], 1))

    return frame


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize(("part", "period", "offset"), [(0.05, 60, 0), (0.05, 200, 0), (0.1, 40, 3)])
def test_light_of_rows_is_said(part: float, period: float, offset: float, count: int) -> None:
    """K was 1.3 for 0.8, and the words were that the frames had been denoised."""
    (words,) = light_of_rows(relative(lamp(part, period, offset), count))
    said = re.match(r"the light of rows changes by ([\d.]+) % .*: a lamp that flickers, under a rolling shutter", words)
    assert said is not None
    # A sine of so many phases; the mean light of a frame, which a long period changes too, is no light of rows.
    assert float(said[1]) == pytest.approx(100 * part / np.sqrt(2), rel=0.4)


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("offset", [0, 3, 10])
def test_offsets_of_rows_are_no_light(offset: float, count: int) -> None:
    """Six errors by chance, and four of the scatter of the rows."""
    for seed in range(4):
        assert list(light_of_rows(relative(lamp(0, 60, offset), count, seed))) == []


def test_a_lamp_whose_share_is_small_is_not_said() -> None:
    assert list(light_of_rows(relative(lamp(0.004, 60), 12))) == []
