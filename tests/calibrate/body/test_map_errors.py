"""What body maps say of their own errors and limits, against least squares and by the numbers themselves."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from noiseflow.calibrate.body.body_maps import SAME_TIME, BodyMaps, DarkMap, GainMap
from noiseflow.calibrate.body.measure_maps import _dark_map, _Stack, _unsteady
from noiseflow.calibrate.estimators.least_squares import weighted_fit

SIZE = (4, 6)


def stack(seconds: float | None, frames: int, sigma: float, seed: int) -> _Stack:
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(0, 3, SIZE), np.full(SIZE, sigma**2)
    return _Stack(mean, variance, np.zeros(4), frames, seconds, "RGGB", 2)


@pytest.mark.parametrize("times", [(0.5, 4.0), (0.02, 0.3, 7.0)])
def test_offset_and_current_are_the_weighted_line_through_the_stacks(times: tuple[float, ...]) -> None:
    stacks = [stack(time, 5 + 3 * k, 1.0 + 0.5 * k, k) for k, time in enumerate(times)]
    found = _dark_map(400.0, stacks)
    # A pixel's σ from the median of its variances of so many frames, and the error of its mean.
    sigmas = [
        math.sqrt((np.median(each.variance) + 1e-12) * (each.frames - 1) / chi2.median(each.frames - 1))
        for each in stacks
    ]
    errors = np.array([sigma / math.sqrt(each.frames) for sigma, each in zip(sigmas, stacks, strict=True)])
    design = np.stack([np.ones(len(times)), np.array(times)], 1)
    for y, x in np.ndindex(SIZE):
        values = np.array([each.mean[y, x] for each in stacks])
        (offset, current), covariance = weighted_fit(design, values, errors)
        assert found.offset[y, x] == pytest.approx(offset, rel=1e-5, abs=1e-6)
        assert found.current is not None
        assert found.current[y, x] == pytest.approx(current, rel=1e-5, abs=1e-6)
    assert found.offset_error == pytest.approx(math.sqrt(covariance[0, 0]))
    assert found.current_error == pytest.approx(math.sqrt(covariance[1, 1]))
    assert (found.frames, found.exposures_s) == (sum(each.frames for each in stacks), times)
    weights = errors**-2
    assert found.noise == pytest.approx(math.sqrt(weights @ np.square(sigmas) / weights.sum()))


def test_one_exposure_time_is_a_weighted_mean() -> None:
    stacks = [stack(0.5, 4, 1.0, 0), stack(0.5, 9, 2.0, 1)]
    found = _dark_map(100.0, stacks)
    weights = np.array(
        [each.frames / (each.variance[0, 0] * (each.frames - 1) / chi2.median(each.frames - 1)) for each in stacks]
    )
    mean = (weights[0] * stacks[0].mean + weights[1] * stacks[1].mean) / weights.sum()
    assert np.allclose(found.offset, mean, atol=1e-5)
    assert found.offset_error == pytest.approx(weights.sum() ** -0.5)
    assert found.current is None
    assert found.current_error == math.inf


def dark(**known: object) -> DarkMap:
    offset = np.add.outer(np.arange(4.0), 10 * np.arange(6.0)).astype(np.float32)
    fields: dict[str, object] = {"exposures_s": (0.5, 4.0), "current": np.ones(SIZE, np.float32), "current_error": 0.1}
    return DarkMap(
        **({"iso": 100.0, "offset": offset, "offset_error": 0.0, "noise": 2.0, "frames": 10} | fields | known)
    )  # type: ignore[arg-type]


def test_a_time_is_known_within_a_part_and_not_beyond() -> None:
    found, near = dark(), SAME_TIME
    for inside in (0.5 * (1 - near) * 1.0001, 4.0 * (1 + near) * 0.9999, 1.0):
        assert found.gap(inside) == ""
    for outside in (0.5 * (1 - near) * 0.9999, 4.0 * (1 + near) * 1.0001):
        assert "extrapolated" in found.gap(outside)
        assert "0.5 s only" in dark(current=None).gap(outside)
    assert "no exposure time" in found.gap(None)
    assert "no exposure time" in dark(exposures_s=()).gap(1.0)


def test_the_map_at_a_time_is_offset_and_current() -> None:
    found = dark()
    at = found.at(2.5)
    assert at is not None
    assert np.array_equal(at, found.offset + 2.5)
    assert found.at(None) is None
    assert np.array_equal(np.asarray(dark(current=None).at(None)), found.offset)


def test_standard_deviations_have_their_own_error_taken_off() -> None:
    whole = dark()
    rows, columns = np.arange(4.0).std(), 10 * np.arange(6.0).std()
    assert whole.pattern_sigma == pytest.approx(math.hypot(rows, columns))
    assert whole.line_sigmas == pytest.approx((rows, columns))
    known = dark(offset_error=2.0)
    assert known.pattern_sigma == pytest.approx(math.sqrt(rows**2 + columns**2 - 4))
    # A row's mean is of 6 pixels, a column's of 4.
    assert known.line_sigmas == pytest.approx((math.sqrt(rows**2 - 4 / 6), math.sqrt(columns**2 - 4 / 4)))
    assert dark(offset_error=100.0).line_sigmas == (0.0, 0.0)
    assert dark(offset_error=100.0).pattern_sigma == 0.0
    gain = GainMap((1 + 0.1 * whole.offset).astype(np.float32), 0.1, 5)
    assert gain.prnu == pytest.approx(math.sqrt(0.01 * (rows**2 + columns**2) - 0.01), rel=1e-5)


def test_frames_that_an_error_needs_go_with_its_square() -> None:
    assert dark(offset_error=1.0, frames=10).frames_for(0.5) == 40
    assert dark(offset_error=1.0, frames=10).frames_for(0.499) == 41


def test_a_dark_map_is_of_its_iso_within_a_percent() -> None:
    body = BodyMaps("A", "RGGB", (dark(), dark(iso=800.0)), None, np.zeros((0, 3), np.int32))
    assert body.dark_of(101.0 - 1e-9).iso == 100.0
    assert body.dark_of(792.0 + 1e-9).iso == 800.0
    for iso in (101.1, 791.0, 808.1, None):
        with pytest.raises(Exception, match="no dark map of ISO"):
            body.dark_of(iso)


def test_an_unsteady_pixel_is_one_beyond_the_limit() -> None:
    variance = np.full((3, 3), 4.0)
    variance[0, 0], variance[1, 1] = 12.0, 12.001
    assert np.argwhere(_unsteady(variance, 3.0)).tolist() == [[1, 1]]
    # Whole codes: a median of 0 counts as that of rounding.
    still = np.zeros((3, 3))
    still[0, 0], still[1, 1] = 3 / 12 - 1e-6, 3 / 12 + 1e-6
    assert np.argwhere(_unsteady(still, 3.0)).tolist() == [[1, 1]]
