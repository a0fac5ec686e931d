"""A gain that depends on the place is said, with its ratio; no other camera is doubted."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
from static_burst import CONTRAST, GAIN, SHAPE, Frame, X, Y, exposed, plain, relative

from noiseflow.fit.residue.gain_by_place import gain_by_place

RADIUS = ((X - 128) / 128) ** 2 + ((Y - 96) / 96) ** 2


def corrected(factor: np.ndarray) -> Frame:
    """Light that is less by a factor, and codes that were multiplied by it."""
    return lambda number, rng: factor * exposed(CONTRAST / factor, rng)


@pytest.mark.parametrize("count", [2, 4, 12])
def test_a_shading_that_was_corrected_is_said(count: int) -> None:
    """K was 0.96 for 0.8, unsaid."""
    (words,) = gain_by_place(relative(corrected(1 + 0.3 * RADIUS), count))
    said = re.match(r"K is ([\d.]+) times as large in the corners as in the centre: a lens-shading or flat", words)
    assert said is not None
    # 1.6 in the last pixel of a corner.
    assert float(said[1]) == pytest.approx(1.55, rel=0.1)


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (np.where(Y < 96, 1.0, 1.1), "at the bottom as at the top, with a border near 50 % of the rows"),
        (np.where(Y < 48, 1.15, 1.0), "at the top as at the bottom, with a border near 25 % of the rows"),
        (1 + 0.2 * Y / 192, "at the bottom as at the top: a flat-field"),
        (1.4 - 0.2 * RADIUS, "in the centre as in the corners"),
    ],
)
def test_gains_of_parts_are_said_with_their_border(factor: np.ndarray, said: str) -> None:
    """K was 0.83 for 0.8."""
    (words,) = gain_by_place(relative(lambda number, rng: factor * plain(number, rng), 6))
    assert said in words
    ratio = float(words.split()[2])
    assert ratio == pytest.approx(factor.max() / factor.min(), rel=0.1)


def test_where_light_follows_the_place_both_causes_are_named() -> None:
    """Left is dark, and right is bright."""
    ramp = 20 + 500 * X / SHAPE[1]
    noise = relative(lambda number, rng: np.where(X < 128, 1, 1.15) * exposed(ramp, rng), 12)
    assert not list(gain_by_place(noise))
    (words,) = gain_by_place(noise, straight=True)
    assert "at the right as at the left, with a border near 50 % of the columns" in words
    assert "Or the variance jumps at the light there" in words


@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_read_noise_that_depends_on_the_place_is_no_gain(signal: float) -> None:
    """Two readout chains of a real sCMOS, whose bias frames tell nothing of K."""
    read = np.where(X < 128, 3.0, 3.3)
    assert not list(gain_by_place(relative(lambda number, rng: exposed(np.full(SHAPE, signal), rng, GAIN, read), 12)))


def scenes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "contrast": CONTRAST,
        "vignetting": 500 / (1 + 0.5 * RADIUS),
        "dark corners": CONTRAST * np.clip(1.2 - RADIUS, 0, 1),
        "texture": np.clip(300 * (1 + 0.3 * rng.normal(size=SHAPE)), 0, 800),
        "steps": 100.0 * (1 + X // 32),
        "halves": np.where(X < 128, 50.0, 500.0),
        "dim": CONTRAST / 60,
        "dark": np.zeros(SHAPE),
    }


def cameras(signal: np.ndarray) -> dict[str, Frame]:
    def dual(number: int, rng: np.random.Generator) -> np.ndarray:
        return np.where(signal > 250, exposed(signal, rng, 1.05 * GAIN), exposed(signal, rng))

    return {
        "plain": lambda number, rng: exposed(signal, rng),
        "bends": lambda number, rng: 900 * np.tanh(exposed(signal, rng) / 900),
        "rows": lambda number, rng: exposed(signal, rng) + 2 * rng.normal(size=(SHAPE[0], 1)),
        "two gains": dual,
    }


@pytest.mark.parametrize("camera", ["plain", "bends", "rows", "two gains"])
@pytest.mark.parametrize("count", [2, 6])
def test_a_gain_that_is_even_is_not_doubted(camera: str, count: int) -> None:
    """A false alarm in a million by the law of normal noise."""
    for seed, signal in enumerate(scenes().values()):
        noise = relative(cameras(signal)[camera], count, seed)
        assert list(gain_by_place(noise, straight=camera != "bends")) == []


def test_few_places_are_not_compared() -> None:
    """One patch of 32 pixels is 16 places; 4 where the rest is masked."""
    noise = relative(corrected(1 + RADIUS), 2, size=32)
    noise.seen[:, :, 8:] = False
    for values in (noise.value, noise.shot, noise.light):
        values[~noise.seen] = 0
    parts = {each.name: getattr(noise, each.name)[:1] for each in fields(noise) if each.name != "camera"}
    assert list(gain_by_place(replace(noise, **parts))) == []
