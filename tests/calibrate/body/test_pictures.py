"""What single pictures say of a body's maps, by loops over a few pixels."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from noiseflow.calibrate.body.from_pictures import _departures, _Known, _Sums, _thumbnail
from noiseflow.calibrate.body.measure_maps import _defects, _hot, _response, _Stack, _stacked
from noiseflow.calibrate.estimators.robust import robust_sigma

RNG = np.random.default_rng(0)


def test_sums_give_the_weighted_line_and_mean_of_each_pixel() -> None:
    sums, seen = _Sums(), []
    for _ in range(7):
        weight, signal = RNG.uniform(0.5, 2, (1, 2, 3)), RNG.uniform(10, 500, (1, 2, 3))
        departure = 3 + 0.02 * signal + RNG.normal(size=(1, 2, 3))
        sums.add(weight, signal, departure)
        seen.append((weight, signal, departure))
    offset, gain = sums.line()
    for y, x in np.ndindex(2, 3):
        w, s, r = (np.array([each[k][0, y, x] for each in seen]) for k in range(3))
        slope, start = np.polyfit(s, r, 1, w=np.sqrt(w))
        assert (offset[0, y, x], gain[0, y, x]) == pytest.approx((start, slope))
        assert sums.offset()[0, y, x] == pytest.approx(np.average(r, weights=w))
    assert sums.count == 7


def test_departures_are_of_the_mean_of_a_window_and_clipped_at_four_deviations() -> None:
    signal = RNG.normal(200, 5, (1, 12, 14))
    signal[0, 6, 7] += 400
    signal[0, :4, :4] = 200.0
    clipped = np.zeros(signal.shape, bool)
    clipped[0, 10, 2] = True
    weight, around, departure = _departures(signal, clipped)
    for y in range(2, 10):
        for x in range(2, 12):
            window = signal[0, y - 2 : y + 3, x - 2 : x + 3]
            variance = max(window.var(), 1 / 12)
            off = signal[0, y, x] - window.mean()
            near = abs(y - 10) <= 2 and abs(x - 2) <= 2
            assert around[0, y, x] == pytest.approx(window.mean())
            assert departure[0, y, x] == pytest.approx(np.clip(off, -4 * variance**0.5, 4 * variance**0.5), abs=1e-6)
            assert weight[0, y, x] == pytest.approx(1e-12 if near else 1 / variance, rel=1e-6)
    assert weight[0, 1, 1] == pytest.approx(12.0)


def test_a_thumbnail_is_block_means_of_norm_one() -> None:
    signal = RNG.normal(size=(2, 19, 26))
    means = np.array([signal[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean() for i in range(2) for j in range(3)])
    means -= means.mean()
    assert _thumbnail(signal) == pytest.approx(means / np.linalg.norm(means), rel=1e-5)
    assert _thumbnail(np.ones((2, 16, 16))).tolist() == [0.0] * 4


@pytest.mark.parametrize("noise", [0.5, 4.0])
def test_a_map_s_error_and_pattern_are_of_its_two_halves(noise: float) -> None:
    pattern = RNG.normal(0, 1.5, (1, 40, 50))
    halves = [pattern + RNG.normal(0, noise, pattern.shape) + 7 * k for k in range(2)]
    halves[0][0, 0, 0] += 500
    found = _Known.of(halves, 24)
    centred = [each - np.median(each) for each in halves]
    assert found.map == pytest.approx((centred[0] + centred[1]) / 2)
    assert found.error == pytest.approx(robust_sigma(centred[0] - centred[1]) / 2)
    cut = [np.clip(each, -4 * robust_sigma(each), 4 * robust_sigma(each)) for each in centred]
    assert found.pattern == pytest.approx(math.sqrt((cut[0] * cut[1]).mean()))
    assert found.worth == (noise == 0.5)
    pictures = math.ceil(24 * (found.error / found.pattern) ** 2)
    assert f"about {pictures:,} pictures" in found.why_useless("DN")
    opposite = _Known.of([pattern, -pattern], 24)
    assert opposite.pattern == 0.0
    assert "pictures would be enough" not in opposite.why_useless("")


def images(count: int) -> list[Any]:
    made = [RNG.integers(100, 140, (7, 9)).astype(np.uint16) for _ in range(count)]
    return [SimpleNamespace(mosaic=each, side=2, cfa="RGGB") for each in made]


def test_a_stack_is_mean_and_variance_about_the_means_of_each_frame_s_planes() -> None:
    taken = images(5)
    group: Any = SimpleNamespace(reads=[lambda each=each: each for each in taken], exposure_s=0.5, timed=True)
    found = _stacked(group)
    frames = np.stack([each.mosaic[:6, :8] for each in taken]).astype(float)
    levels = []
    for row in (0, 1):
        for column in (0, 1):
            plane = frames[:, row::2, column::2]
            levels.append(plane.mean())
            frames[:, row::2, column::2] = plane - plane.mean((1, 2), keepdims=True)
    assert found.mean == pytest.approx(frames.mean(0))
    assert found.variance == pytest.approx(frames.var(0, ddof=1))
    assert found.level == pytest.approx(levels)
    assert (found.frames, found.exposure_s, found.side) == (5, 0.5, 2)
    group.timed = False
    assert _stacked(group).exposure_s is None


def flat(signal: float, noise: float = 4.0, frames: int = 6) -> _Stack:
    mean = RNG.normal(0, 2, (40, 44))
    return _Stack(mean, np.full((40, 44), noise**2), np.full(4, 64 + signal), frames, 0.1, "RGGB", 2)


def test_the_response_is_a_pixel_over_the_light_around_it() -> None:
    made = flat(500.0)
    dark = RNG.normal(0, 1, (40, 44)).astype(np.float32)
    response, weight = _response(made, dark, SimpleNamespace(black=(64.0,)))  # type: ignore[arg-type]
    light = made.mean - dark + 500.0
    plane = np.pad(light[1::2, ::2], 16, mode="symmetric")
    for y, x in ((0, 0), (9, 13), (19, 21)):
        around = plane[y : y + 33, x : x + 33].mean()
        assert response[1 + 2 * y, 2 * x] == pytest.approx(light[1 + 2 * y, 2 * x] / around, rel=1e-6)
    assert weight == pytest.approx(6 * (500 / 4) ** 2)


@pytest.mark.parametrize(("signal", "noise", "says"), [(39.9, 4.0, False), (40.1, 4.0, True), (9.9, 0.5, False)])
def test_a_flat_of_less_than_ten_deviations_says_nothing(signal: float, noise: float, says: bool) -> None:
    group: Any = SimpleNamespace(black=(64.0,))
    response, weight = _response(flat(signal, noise), np.zeros((40, 44), np.float32), group)
    assert (weight > 0) == says
    assert says or (response == 1).all()


def test_hot_pixels_stand_five_deviations_above_their_neighbours() -> None:
    made = flat(0.0)
    plane = made.mean[::2, ::2]
    plane[:] = np.where((np.arange(20)[:, None] + np.arange(22)) % 2, 1.0, -1.0)
    plane[5, 6], plane[9, 9] = 40.0, 12.0
    seen = _hot(made, (slice(0, None, 2), slice(0, None, 2)))
    padded = np.pad(plane.astype(np.float32), 2, mode="symmetric")
    above = np.array([[plane[y, x] - np.median(padded[y : y + 5, x : x + 5]) for x in range(22)] for y in range(20)])
    assert seen.tolist() == (above > 5 * robust_sigma(above)).tolist()
    assert seen[5, 6]
    plane[:] = 0
    plane[3, 3], plane[3, 13] = 0.26, 0.24
    assert np.argwhere(_hot(made, (slice(0, None, 2), slice(0, None, 2)))).tolist() == [[3, 3]]


@pytest.mark.parametrize(("frames", "listed"), [(7, False), (8, True)])
def test_telegraph_pixels_are_looked_for_in_eight_frames_or_more(frames: int, listed: bool) -> None:
    made = flat(0.0, frames=frames)
    made.mean[:] = 0
    made.variance[7, 12] = 1e4
    made.mean[2, 5] = 99.0
    longer = _Stack(np.zeros((40, 44)), np.full((40, 44), 16.0), np.zeros(4), frames - 1, 0.2, "RGGB", 2)
    longer.mean[4, 5] = 99.0
    assert _defects([made, longer]) == {(4, 5, 0)} | ({(7, 12, 1)} if listed else set())
