"""Gain and read noise of a burst: their errors by the closed form, and what is said of bursts that are none."""

import numpy as np
import pytest

from noiseflow.calibrate.measurements.burst import burst_noise
from noiseflow.core.errors import DataError

GAIN, READ, WHITE, SHAPE = 2.0, 5.0, 4095.0, (96, 160)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
SCENE = 200 + 12 * X + 3 * Y + 50 * np.sin(Y / 7)


def frames(
    scene: np.ndarray = SCENE, gains: tuple[float, ...] = (1.0,) * 4, more: np.ndarray | float = 1.0, seed: int = 1
) -> list[np.ndarray]:
    """Frames above a black level of 0, of light that changes by `gains`; `more` multiplies the variance."""
    rng = np.random.default_rng(seed)
    lights = [gain * scene for gain in gains]
    return [light + np.sqrt(more * (GAIN * light + READ**2)) * rng.normal(size=SHAPE) for light in lights]


def drifting(part: float) -> tuple[float, ...]:
    """Gains of four frames whose standard deviation is a part of their mean."""
    departures = np.array([-1.0, 1.0, -1.0, 1.0])
    return tuple((1 + part * departures / departures.std(ddof=1)).tolist())


@pytest.mark.parametrize("gains", [drifting(0.0), drifting(0.02)])
def test_the_line_and_its_errors_are_those_of_least_squares(gains: tuple[float, ...]) -> None:
    """A pixel of n frames has n − 1 degrees: its variance v is known to 2v²/(n − 1)."""
    found = burst_noise(frames(gains=gains), 0.0, WHITE)
    variance = (GAIN * SCENE + READ**2).ravel()
    design = np.stack([SCENE.ravel(), np.ones(SCENE.size)], 1)
    expected = np.linalg.inv((design / variance[:, None] ** 2).T @ design * 3 / 2)
    assert abs(found.gain.value - GAIN) < 5 * np.sqrt(expected[0, 0])
    assert abs(found.read_noise.value**2 - READ**2) < 5 * np.sqrt(expected[1, 1])
    # A jackknife of 32 groups knows a variance to 25 %; four of these.
    assert found.covariance == pytest.approx(expected, rel=1.0)
    assert (np.diag(found.covariance) > 0.4 * np.diag(expected)).all()
    assert found.gain.standard_error == pytest.approx(np.sqrt(found.covariance[0, 0]))
    assert found.variance == pytest.approx(GAIN * found.signal + READ**2, rel=0.3)


@pytest.mark.parametrize(("part", "said"), [(0.0, False), (0.0093, False), (0.0107, True)])
def test_light_that_flickers_by_a_hundredth_is_said(part: float, said: bool) -> None:
    """The frames' means are known to 0.02 %."""
    words = burst_noise(frames(gains=drifting(part)), 0.0, WHITE).cautions
    assert [f"the brightness varies by {100 * part:.1f} % between frames" in each for each in words] == [True] * said


STEEP = Y >= 80
SLOPES = np.where(STEEP, 500 + 80 * np.abs(X % 8 - 4), 500 + 2 * X)
"""Steep and flat parts of the same signals."""


@pytest.mark.parametrize(("ratio", "said"), [(1.0, False), (1.25, True)])
def test_noise_at_edges_is_compared_with_that_of_flat_parts_of_the_same_signal(ratio: float, said: bool) -> None:
    found = burst_noise(frames(SLOPES, more=np.where(STEEP, ratio, 1.0)), 0.0, WHITE, cells=8)
    # The median of 8 cells of 150 pixels of three degrees, each known to 7 %; four times its 3 %.
    assert found.edge_ratio == pytest.approx(ratio, abs=0.12)
    assert any("slight movement" in each for each in found.cautions) is said


def test_what_moved_is_refused() -> None:
    moved = frames(SLOPES)
    moved[1] = np.roll(moved[1], 1, 1)
    with pytest.raises(DataError, match="times that of flat parts at the same signal"):
        burst_noise(moved, 0.0, WHITE)


def test_a_black_level_that_is_too_low_is_said_with_the_signal_of_no_variance() -> None:
    found = burst_noise([each + 60 for each in frames(0.1 * SCENE)], 0.0, WHITE)
    (words,) = found.cautions
    assert words.startswith("the fitted variance reaches 0 at ")
    # Where GAIN·(x − 60) + READ² is 0.
    assert float(words.split()[6]) == pytest.approx(60 - READ**2 / GAIN, abs=8)


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        (frames()[:2], "at least three frames; got 2"),
        (frames(np.full(SHAPE, 5000.0)), "at least 1000 unsaturated"),
        ([np.full(SHAPE, 100.0)] * 3, "too few signal levels"),
    ],
)
def test_what_is_no_burst_is_refused(taken: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        burst_noise(taken, 0.0, WHITE)
