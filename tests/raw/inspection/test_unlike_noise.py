"""Frames of one scene whose noise differs, against frames that differ by chance, light or shared noise only."""

import numpy as np
import pytest

from noiseflow.raw.inspection import unlike_words
from noiseflow.raw.inspection.unlike_noise import BLOCKS

ROWS, COLUMNS = 32, 128
WHERE = np.indices((ROWS, COLUMNS)).reshape(2, -1)


def names(count: int) -> list[str]:
    return [f"{number}.dng" for number in range(count)]


def same_light(count: int) -> np.ndarray:
    return np.ones((2, count))


def noise(sigmas: list[float], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(np.array(sigmas)[:, None, None] * rng.normal(size=(len(sigmas), ROWS, COLUMNS)))


@pytest.mark.parametrize("count", [2, 4, 6, 20])
@pytest.mark.parametrize("sigma", [1.3, 20.0])
def test_half_of_the_frames_at_twice_the_gain(count: int, sigma: float) -> None:
    """A share is known to √(2/(0.9·4096))·√(n/(n − 2)): 0.03, so 2 ± 0.1; choosing still pixels takes
    away up to a fifth."""
    values = noise([sigma, 2**0.5 * sigma] * (count // 2), 0).reshape(count, -1)
    words = unlike_words(names(count), values, WHERE, same_light(count))
    assert words.startswith(", ".join(names(count)[1 : min(count, 10) : 2]) + (", … " if count > 10 else " "))
    assert ("have" if count > 2 else "has") in words.split()
    times = float(words.split(" times the noise variance")[0].split()[-1])
    assert 1.5 < times < 2.2


@pytest.mark.parametrize(("factor", "said"), [(1.35, "3.dng has about 1."), (0.7, "3.dng has about 0."), (1.05, "")])
def test_one_frame_of_several(factor: float, said: str) -> None:
    values = noise([9, 9, 9, 9 * factor**0.5, 9, 9], 1).reshape(6, -1)
    words = unlike_words(names(6), values, WHERE, same_light(6))
    assert words.startswith(said)
    assert bool(words) == bool(said)


@pytest.mark.parametrize("shared", ["", "rows", "columns"])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_frames_that_differ_by_chance_get_no_word(shared: str, count: int) -> None:
    """60 frames each, whose rows or columns share noise of 1.5 times a pixel's, at a chance of 1e-4 each."""
    rng = np.random.default_rng(2)
    size = {"": (1, 1), "rows": (ROWS, 1), "columns": (1, COLUMNS)}[shared]
    for seed in range(60):
        values = noise([6.0] * count, seed) + 9 * bool(shared) * rng.normal(size=(count, *size))
        assert unlike_words(names(count), values.reshape(count, -1), WHERE, same_light(count)) == ""


@pytest.mark.parametrize("photons", [True, False])
@pytest.mark.parametrize("light", [[1.0, 1.3, 1.0, 0.8], [1.0, 1.0, 1.5, 1.0]])
def test_light_explains_what_it_makes_of_noise(light: list[float], photons: bool) -> None:
    """Brought to one light, noise without light has 1/r² of the variance, and photon noise 1/r."""
    r = np.array(light)
    expected = np.stack([1 / r, 1 / r**2])
    values = noise(list(20 * (r**-0.5 if photons else 1 / r)), 3).reshape(4, -1)
    assert unlike_words(names(4), values, WHERE, expected) == ""
    assert unlike_words(names(4), values, WHERE, same_light(4)) != ""
    assert unlike_words(names(4), values * np.array([[1.5], [1], [1], [1]]), WHERE, expected).startswith("0.dng has ")


def test_what_cannot_be_compared_is_not() -> None:
    loud = noise([9, 9, 9, 18], 4).reshape(4, -1)
    assert unlike_words(names(4), loud, WHERE, same_light(4))
    assert unlike_words(names(1), loud[:1], WHERE, same_light(1)) == ""
    assert unlike_words(names(4), loud[:, :900], WHERE[:, :900], same_light(4)) == ""
    # Noise below a code.
    assert unlike_words(names(4), np.rint(loud / 15), WHERE, same_light(4)) == ""
    # Rows too few to say how much of it they share.
    few = WHERE // np.array([[ROWS // (BLOCKS - 2)], [1]])
    assert unlike_words(names(4), loud, few, same_light(4)) == ""


def test_two_frames_under_other_light_are_compared_only_without_structure() -> None:
    """x₁² − x₂² has the structure s² of a scene too, unless it cancels exactly."""
    scene = np.random.default_rng(5).normal(0, 60, (1, ROWS, COLUMNS))
    values = (noise([9, 9], 5) + scene * np.array([1, 1.03])[:, None, None]).reshape(2, -1)
    assert unlike_words(names(2), values, WHERE, same_light(2)) == ""


def test_the_largest_departures_of_two_frames_are_left_out_evenly() -> None:
    """Scaled by 1.003, codes of one sign lie beyond the quantile, and those of the other do not."""
    rng = np.random.default_rng(6)
    level = rng.normal(0, 1.4, (ROWS, COLUMNS))
    values = np.rint(level + 40 + rng.normal(0, 1.3, (2, ROWS, COLUMNS))) - 40
    values *= np.array([1, 1.003])[:, None, None]
    assert unlike_words(names(2), values.reshape(2, -1), WHERE, same_light(2)) == ""
