"""Frames of one setting of which some were taken with another gain."""

import numpy as np
import pytest

from noiseflow.calibrate.measurements.unlike_frames import said_of_unlike
from noiseflow.calibrate.sources import Group
from noiseflow.calibrate.stack import stack_frames

BLACK, LEVEL = 64.0, 600.0
SCENE = np.linspace(0.2, 1.8, 128)[None].repeat(96, 0)


def group(gains: list[float], light: list[float], *, black: float = BLACK, flat: bool = False) -> Group:
    rng = np.random.default_rng(0)
    frames = []
    for gain, r in zip(gains, light, strict=True):
        signal = r * LEVEL * (np.ones_like(SCENE) if flat else SCENE)
        codes = black + gain * rng.poisson(signal / gain) + rng.normal(0, 3, SCENE.shape)
        frames.append(np.rint(codes).clip(0, 4095).astype(np.uint16))
    sources = [f"folder/{number}.dng" for number in range(len(frames))]
    return Group(100.0, 0.1, 0.1, False, [stack_frames(frames, 4095)], sources, (black,))


@pytest.mark.parametrize("flat", [False, True])
def test_half_of_the_frames_at_twice_the_gain(flat: bool) -> None:
    words = said_of_unlike(group([1, 1, 1, 2, 2, 2], [1.0] * 6, flat=flat))
    assert words.startswith("3.dng, 4.dng, 5.dng have about 1.")
    assert "another gain or ISO" in words


@pytest.mark.parametrize("light", [[1.0] * 6, [1, 1.05, 0.95, 1.02, 1.08, 0.97]])
@pytest.mark.parametrize("flat", [False, True])
def test_one_gain_gets_no_word(light: list[float], flat: bool) -> None:
    assert said_of_unlike(group([1.0] * 6, light, flat=flat)) == ""


def test_two_flats() -> None:
    assert said_of_unlike(group([1, 2], [1, 1], flat=True)).startswith("1.dng has about ")
    assert said_of_unlike(group([1, 1], [1, 1.04], flat=True)) == ""
    assert said_of_unlike(group([1, 1], [1, 1.04])) == ""


def test_frames_cut_off_at_0_are_not_compared() -> None:
    assert said_of_unlike(group([1, 1, 1, 2, 2, 2], [1.0] * 6, black=0.0)) != ""
    assert said_of_unlike(group([1, 1, 1, 2, 2, 2], [0.01] * 6, black=0.0)) == ""
