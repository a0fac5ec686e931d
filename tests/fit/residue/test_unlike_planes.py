"""Planes of unlike gain are said; planes of one gain are not, whatever their light and the response."""

import re

import numpy as np
import pytest
from static_burst import CONTRAST, GAIN, READ, SHAPE, Frame, X, Y, burst, exposed, plain, statistics_of

from noiseflow.fit.contradictions import Levels, contradictions
from noiseflow.fit.residue.unlike_planes import unlike_planes

PLANES = ("R", "G1", "G2", "B")
FIRST, LAST = (Y % 2 == 0) & (X % 2 == 0), (Y % 2 == 1) & (X % 2 == 1)


def of_gains(red: float, blue: float) -> np.ndarray:
    return GAIN * np.where(FIRST, red, np.where(LAST, blue, 1.0))


def with_gains(gain: np.ndarray, signal: np.ndarray = CONTRAST) -> Frame:
    return lambda number, rng: gain * rng.poisson(signal / gain) + rng.normal(0, READ, SHAPE)


def plain_of(part: np.ndarray) -> Frame:
    return with_gains(of_gains(1.0, 1.0), (300 + CONTRAST) * part)


def said(frame: Frame, count: int, seed: int = 0) -> list[str]:
    return unlike_planes(burst(frame, count, seed), ("One",), PLANES).get("One", [])


@pytest.mark.parametrize("count", [2, 8])
def test_planes_of_unlike_gain_are_said(count: int) -> None:
    """Where photon noise is the most, the ratio of variances is nearly that of gains; in the dark it is 1."""
    (words,) = said(with_gains(of_gains(2.0, 1.5)), count)
    numbers = {name: float(each) for name, each in re.findall(r"(R|G1|G2|B) ([\d.]+)[,)]", words)}
    assert 1.7 < numbers["R"] < 2.02
    assert 1.35 < numbers["B"] < 1.52
    assert min(numbers["G1"], numbers["G2"]) == 1
    assert max(numbers["G1"], numbers["G2"]) < 1.05
    assert words.startswith("camera 'One', ISO 400: planes differ")


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("kind", ["plain", "colours", "bend", "flicker", "pattern", "rows", "stars", "alike"])
def test_planes_of_one_gain_are_not_doubted(kind: str, count: int) -> None:
    """Six standard errors and 15 %."""
    colours = CONTRAST * np.where(FIRST, 0.4, np.where(LAST, 0.7, 1.0))
    pattern = 1 + 0.02 * np.random.default_rng(9).normal(size=SHAPE)
    stars = 30 + 900 * (np.random.default_rng(8).uniform(size=SHAPE) < 0.01) * np.where(FIRST, 1.0, 0.2)
    frames: dict[str, Frame] = {
        "plain": plain,
        "colours": lambda number, rng: exposed(colours, rng),
        "bend": lambda number, rng: 700 * np.tanh(exposed(colours, rng) / 700),
        "flicker": lambda number, rng: exposed(colours * rng.uniform(0.98, 1.02), rng),
        "pattern": lambda number, rng: exposed(colours * pattern, rng),
        "rows": lambda number, rng: exposed(colours, rng) + rng.normal(0, 3, (SHAPE[0], 1)),
        "stars": lambda number, rng: exposed(stars * rng.uniform(0.7, 1.3, SHAPE), rng),
        "alike": with_gains(of_gains(1.05, 1.0)),
    }
    for seed in range(3):
        assert said(frames[kind], count, seed) == []


def test_one_plane_and_few_values_are_not_compared() -> None:
    batch = burst(with_gains(of_gains(2.0, 1.5)), 4)
    assert unlike_planes(batch, ("One",), ("Y",)) == {}
    dark = with_gains(of_gains(2.0, 1.0), CONTRAST * np.where(FIRST, 0.001, 1.0) + np.where(FIRST, 0, 300))
    # Red shares its light with no other plane.
    assert said(dark, 4) == []


def test_pairs_of_planes_that_share_no_light_are_not_compared() -> None:
    """Red and blue are dark, both greens bright, of one gain: a bin of light has two planes, and none has four."""
    assert said(plain_of(np.where(FIRST | LAST, 0.1, 1.0)), 4) == []


def test_unlike_planes_tell_nothing_of_levels() -> None:
    """Red is darker and quieter: the line of all planes together vanishes above black."""
    signal = CONTRAST * np.where(FIRST, 0.5, np.where(LAST, 1.2, 0.9))
    statistics = statistics_of(burst(with_gains(of_gains(0.3, 2.0), signal), 8))
    levels = [Levels(64.0, 1023.0)]
    found, bends = contradictions(statistics, levels)
    assert found or bends
    assert contradictions(statistics, levels, {"One"}) == ([], {})
