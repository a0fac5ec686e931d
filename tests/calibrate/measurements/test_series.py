"""Series of exposures and of line means against formulas: darks, spectra, linear range, capacity, likelihood."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm, t as student

from noiseflow.calibrate.measurement import Measurement, from_error, root
from noiseflow.calibrate.measurements.banding import banding_spectrum
from noiseflow.calibrate.measurements.curve import Curve, linear_range
from noiseflow.calibrate.measurements.dark_current import dark_series
from noiseflow.calibrate.measurements.linearity import linearity
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer, in_electrons
from noiseflow.core.errors import DataError

TIMES = np.array([0.5, 1.0, 2.0, 4.0])


def line(x: np.ndarray, y: np.ndarray, weight: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope, and their covariance by the error of each point, by normal equations."""
    design = np.stack([np.ones_like(x), x], 1)
    inverse = np.linalg.inv(design.T @ (design / weight[:, None] ** 2))
    to_parameters = inverse @ (design / weight[:, None] ** 2).T
    return to_parameters @ y, to_parameters @ np.diag(error**2) @ to_parameters.T


def test_a_dark_current_is_the_line_through_the_levels_weighted_by_their_errors() -> None:
    errors = np.array([0.1, 0.2, 0.1, 0.3])
    level = 64 + 3 * TIMES + 0.3 * errors * [1, -1, 1, -1]
    variance = np.array([9.0, 9.4, 10.1, 12.2])
    own = 0.02 * variance * np.array([1.0, 1.5, 1.0, 2.0])
    found = dark_series(TIMES, level, errors, variance, own)
    (black, current), covariance = line(TIMES, level, errors, errors)
    assert (found.black.value, found.black.standard_error) == pytest.approx((black, covariance[0, 0] ** 0.5))
    assert found.current is not None
    assert (found.current.value, found.current.standard_error) == pytest.approx((current, covariance[1, 1] ** 0.5))
    assert found.current.interval[1] - current == pytest.approx(norm.ppf(0.975) * covariance[1, 1] ** 0.5)
    # Series alike in frames have one weight; their errors are relative to the line.
    design = np.stack([np.ones(4), TIMES], 1)
    square, _ = np.linalg.lstsq(design, variance, rcond=None)[0]
    fitted = design @ np.linalg.lstsq(design, variance, rcond=None)[0]
    _, of_noise = line(TIMES, variance, np.ones(4), own / variance * fitted)
    expected = root(square, of_noise[0, 0] ** 0.5, "DN")
    assert found.noise.value == pytest.approx(expected.value)
    assert found.noise.interval == pytest.approx(expected.interval)
    # Three times as many frames in some: the weights are their own.
    apart = variance * np.array([0.01, 0.01, 0.04, 0.04])
    weighted = apart / variance * variance.mean()
    (square, slope), _ = line(TIMES, variance, weighted, weighted)
    _, of_noise = line(TIMES, variance, weighted, apart / variance * (square + slope * TIMES))
    expected = root(square, of_noise[0, 0] ** 0.5, "DN")
    assert dark_series(TIMES, level, errors, variance, apart).noise.interval == pytest.approx(expected.interval)


def test_levels_that_scatter_more_than_their_errors_widen_them_with_student_s_t() -> None:
    errors = np.full(4, 0.01)
    level = 64 + 3 * TIMES + np.array([0.3, -0.3, 0.2, -0.2])
    found = dark_series(TIMES, level, errors, np.full(4, 9.0), np.full(4, 0.2))
    (black, current), covariance = line(TIMES, level, errors, errors)
    misfit = float(((level - black - current * TIMES) ** 2).sum()) / 1e-4 / 2
    assert found.current is not None
    error = (covariance[1, 1] * misfit) ** 0.5
    assert found.current.standard_error == pytest.approx(error)
    assert found.current.interval[0] == pytest.approx(current - student.ppf(0.975, 2) * error)
    unknown = dark_series(TIMES, level, np.full(4, np.nan), np.full(4, 9.0), np.full(4, 0.2))
    assert unknown.black.standard_error == pytest.approx(found.black.standard_error)
    # An error of 0 is one that is not known.
    assert dark_series(TIMES, level, np.zeros(4), np.full(4, 9.0), np.full(4, 0.2)).black == unknown.black


@pytest.mark.parametrize(("part", "alike"), [(0.99, True), (1.01, False)])
def test_series_of_which_some_are_known_three_times_better_have_their_own_weights(part: float, alike: bool) -> None:
    """Relative errors: three times the 10 % quantile of the four, 1.3 %, at the 90 % quantile, 3 % + 0.7 (r − 3 %)."""
    last = 0.03 + (part * 3 * 0.013 - 0.03) / 0.7
    relative = np.array([0.01, 0.02, 0.03, last])
    variance = np.array([9.0, 9.4, 10.1, 12.2])
    weight = np.full(4, relative.mean()) if alike else relative
    (square, _), _ = line(TIMES, variance, weight, weight)
    found = dark_series(TIMES, 64 + 3 * TIMES, np.full(4, 0.1), variance, relative * variance)
    assert found.noise.value == pytest.approx(root(square, 0.1, "DN").value)


@pytest.mark.parametrize(("part", "widened"), [(0.99, False), (1.01, True)])
def test_errors_widen_where_chance_makes_such_scatter_once_in_a_hundred(part: float, widened: bool) -> None:
    pattern = np.array([1.0, -2.0, 1.5, -0.5])
    (black, current), covariance = line(TIMES, pattern, np.ones(4), np.ones(4))
    rest = pattern - black - current * TIMES
    scale = math.sqrt(part * chi2.isf(0.01, 2) / float(rest @ rest))
    found = dark_series(TIMES, 100 + 9 * TIMES + scale * pattern, np.ones(4), np.full(4, 9.0), np.full(4, 0.1))
    assert (found.black.standard_error > 1.5 * covariance[0, 0] ** 0.5) == widened


def test_two_exposures_have_the_level_of_the_shorter_and_no_current() -> None:
    times = np.array([1.0, 0.5, 0.5])
    level, errors = np.array([70.0, 64.0, 66.0]), np.array([0.1, 0.3, 0.4])
    found = dark_series(times, level, errors, np.array([12.0, 9.0, 10.0]), np.array([0.1, 0.6, 0.8]))
    assert (found.black.value, found.black.standard_error) == pytest.approx((65.0, 0.25))
    assert found.noise == root(9.5, 0.5, "DN")
    assert found.current is None
    assert "2 exposure times" in found.no_current
    # Where no error is known it is taken to be 5 %.
    bare = dark_series(times, level, errors, np.array([12.0, 9.0, 10.0]), np.full(3, np.nan))
    assert bare.noise.interval == pytest.approx(root(9.5, math.sqrt(2) * 0.05 * 9.5 / 2, "DN").interval)
    with pytest.raises(DataError, match="no dark frames"):
        dark_series(*[np.zeros(0)] * 5)


@pytest.mark.parametrize(
    ("times", "slope", "words"),
    [
        (TIMES, -3.0, "falls"),
        (TIMES - 1, 3.0, "an exposure time of -0.5 s"),
        (TIMES - 0.5, 3.0, ""),
        (TIMES, -0.05, ""),
    ],
)
def test_a_level_that_surely_falls_or_a_negative_time_is_no_current(
    times: np.ndarray, slope: float, words: str
) -> None:
    found = dark_series(times, 100 + slope * times, np.full(4, 0.2), np.full(4, 9.0), np.full(4, 0.1))
    assert words in found.no_current
    assert (found.current is None) == bool(words)


def test_a_spectrum_s_mean_is_the_variance_of_the_offsets_and_its_lines_are_sure() -> None:
    rng = np.random.default_rng(0)
    profiles = rng.normal(0, 2, (5, 96)) + 50 * np.arange(5)[:, None] + rng.normal(0, 9, 96)
    profiles += 6 * np.sin(2 * np.pi * (12 * np.arange(96) / 96 + rng.uniform(size=(5, 1))))
    found = banding_spectrum(profiles, 30.0, 10)
    centred = profiles - profiles.mean(0)
    centred -= centred.mean(1, keepdims=True)
    expected = [
        sum(abs(sum(row[y] * np.exp(-2j * np.pi * k * y / 96) for y in range(96))) ** 2 for row in centred) / 96 / 4
        for k in range(1, 49)
    ]
    assert found.power == pytest.approx(expected)
    assert found.frequency == pytest.approx(np.arange(1, 49) / 96)
    assert found.floor == pytest.approx(3.0)
    assert found.lines == (0.125,)
    assert found.peaks == 1
    # Both signs of each frequency; the highest stands for itself.
    assert 2 * found.power.sum() - found.power[-1] == pytest.approx((centred**2).sum() / 4)


def peaks(heights: dict[int, float], bins: int = 64) -> np.ndarray:
    """Two profiles whose spectrum is 1 but for some bins."""
    power = np.ones(bins)
    for at, height in heights.items():
        power[at - 1] = height
    half = np.fft.irfft(np.concatenate([[0.0], np.sqrt(power)]), 2 * bins) * math.sqrt(2 * bins)
    # Two frames that are each other's opposite: about their mean, they are themselves.
    return np.stack([half, -half]) / math.sqrt(2)


@pytest.mark.parametrize(("part", "found"), [(0.999, 0), (1.001, 1)])
def test_a_line_stands_above_what_chance_gives_once_in_a_thousand_spectra(part: float, found: int) -> None:
    """Two degrees a frame but one; the limit is of the whole spectrum, times 1.3 for the median that is looked at."""
    limit = 1.3 * chi2.isf(1e-3 / 64, 2) / chi2.median(2)
    seen = banding_spectrum(peaks({20: part * limit}), 1.0, 1)
    assert seen.power[:19] == pytest.approx(np.ones(19))
    assert seen.peaks == len(seen.lines) == found


def test_lines_are_the_strongest_five_and_bins_side_by_side_are_one() -> None:
    heights = {8: 100.0, 15: 70.0, 17: 50.0, 24: 120.0, 27: 60.0, 34: 90.0, 42: 80.0, 50: 110.0, 58: 65.0}
    seen = banding_spectrum(peaks(heights), 1.0, 1)
    # 17 lies two bins beside 15, which is higher; 27 three beside 24.
    assert [round(128 * each) for each in seen.lines] == [24, 50, 8, 34, 42]
    assert seen.peaks == 8
    short = banding_spectrum(peaks({20: 1e4}, 31), 1.0, 1)
    assert (len(short.power), short.peaks) == (31, 0)
    assert banding_spectrum(peaks({20: 1e4}, 32), 1.0, 1).peaks == 1
    # One frame has no spectrum, and no power.
    assert not banding_spectrum(np.ones((1, 80)), 1.0, 1).power.any()


def points(variance: list[float], clipped: list[float] | None = None, signal: list[float] | None = None) -> Curve:
    count = len(variance)
    x = np.array(signal or np.arange(1.0, count + 1) * 100)
    none = np.zeros(count)
    return Curve(x / 10, x, np.array(variance), none, none, none, np.array(clipped or none))


@pytest.mark.parametrize(
    ("curve", "chosen", "peak"),
    [
        (points([1, 2, 3, 4]), [1, 1, 1, 1], None),
        # Falling, but not by a fifth and nothing clipped.
        (points([1, 2, 10, 8.001]), [1, 1, 1, 1], None),
        (points([1, 2, 10, 7.999]), [1, 1, 0, 0], 2),
        (points([1, 2, 10, 9], [0, 0, 0, 1e-9]), [1, 1, 0, 0], 2),
        (points([1, 2, 10, 0], signal=[100, 210, 300, 400]), [1, 1, 0, 0], 2),
        (points([1, 2, 10, 0], signal=[100, 211, 300, 400]), [1, 0, 0, 0], 2),
        # Clipped at the peak itself: not yet saturated, but no longer used.
        (points([1, 2, 3, 4], [0, 0, 0.0009, 0.001]), [1, 1, 1, 0], None),
        # In any order of exposures.
        (points([10, 1, 0, 2], signal=[300, 100, 400, 200]), [0, 1, 0, 1], 0),
    ],
)
def test_the_linear_range_ends_at_seven_tenths_of_the_largest_variance(
    curve: Curve, chosen: list[int], peak: int | None
) -> None:
    found = linear_range(curve)
    assert found[0].tolist() == [bool(each) for each in chosen]
    assert found[1] == peak


def test_noise_in_electrons_is_without_rounding() -> None:
    noise, gain = from_error(2.0, 0.1, "DN"), from_error(0.5, 0.02, "DN/e-")
    square = (4 - 1 / 12) / 0.25
    error = math.hypot(2 * 2 * 0.1 / 0.25, 2 * square * 0.02 / 0.5)
    assert in_electrons(noise, gain) == root(square, error, "e-")
    assert in_electrons(from_error(0.2, 0.1, "DN"), gain).value == 0


K, READ = 0.5, 16.0


def fit(error: float = 0.0, misfit: float = 0.0) -> PhotonTransfer:
    gain = Measurement(K, error, (K - 1.96 * error, K + 1.96 * error), "DN/e-")
    return PhotonTransfer(gain, READ, np.zeros((2, 2)), np.zeros(0), misfit)


def test_linearity_is_the_largest_departure_from_the_line_of_least_relative_squares() -> None:
    exposure = np.arange(1.0, 13)
    signal = 100 * exposure * (1 + 0.004 * np.sin(exposure))
    variance = np.append(K * signal[:-1] + READ, 10.0)
    none = np.zeros(12)
    curve = Curve(exposure, signal, variance, none, none, none, np.append(np.zeros(11), 1.0), False, none)
    chosen = signal <= 700
    found = linearity(curve, chosen, 10, fit())
    rate = float(signal[chosen] @ exposure[chosen]) / float(exposure[chosen] @ exposure[chosen])
    assert found.responsivity == pytest.approx(rate)
    inside = (signal >= 0.05 * signal[10]) & (signal <= 0.95 * signal[10])
    assert inside.tolist() == [True] * 10 + [False] * 2
    slope, offset = np.polyfit(exposure[inside], signal[inside], 1, w=1 / signal[inside])
    off = 100 * (signal[inside] / (slope * exposure[inside] + offset) - 1)
    assert found.deviations[inside] == pytest.approx(off)
    assert np.isnan(found.deviations[~inside]).all()
    assert found.range_percent == pytest.approx((off.min(), off.max()))
    assert found.error_percent == pytest.approx(abs(off).max())
    assert found.saturation is not None
    assert found.saturation_dn is not None
    assert found.full_dn is not None
    assert found.saturation.value == pytest.approx(rate * 11 / K)
    assert found.full_dn.value == pytest.approx(rate * 11)
    assert found.saturation_dn.value == pytest.approx(signal[10])
    assert found.step_e == pytest.approx(rate / K)
    # Variances without errors always have their largest at one level, and a gain without one stays.
    assert found.saturation.standard_error == found.saturation_dn.standard_error == found.full_dn.standard_error == 0
    by_signal = linearity(curve, chosen, 10, fit(), light_known=False)
    assert by_signal.saturation is not None
    assert by_signal.saturation.value == pytest.approx(signal[10] / K)
    assert by_signal.step_e is None
    assert "the light is not known" in by_signal.reason
    without = linearity(curve, chosen, None, fit())
    assert (without.saturation, without.step_e, without.error_percent) == (None, None, None)
    assert "does not reach saturation" in without.reason
    last = linearity(curve, chosen, 11, fit())
    assert last.step_e is None


def test_the_capacity_s_error_is_that_of_k_of_the_signal_and_of_which_level_it_is() -> None:
    exposure = np.arange(1.0, 8)
    signal = 100 * exposure
    none = np.zeros(7)
    variance = np.array([10.0, 20, 30, 40, 50, 50, 1])
    errors = np.array([0.0, 0, 0, 0, 1, 1, 0])
    curve = Curve(exposure, signal, variance, none, none, none, none, False, np.full(7, 3.0))
    chosen = signal < 500
    sure = linearity(curve, chosen, 4, fit(0.01 * K))
    assert sure.saturation is not None
    assert sure.saturation_dn is not None
    # 8,000 draws know a deviation to 0.8 %.
    assert sure.saturation.standard_error / sure.saturation.value == pytest.approx(0.01, rel=0.03)
    assert sure.saturation.interval[1] == pytest.approx(1000 * (1 + 0.0196), rel=1e-3)
    assert sure.saturation_dn.standard_error == pytest.approx(3.0, rel=0.03)
    assert sure.saturation_dn.interval[0] == pytest.approx(500 - 5.88, abs=0.3)
    # Two levels of one variance: either, half of the time.
    either = Curve(exposure, signal, variance, errors, none, none, none, False, none)
    unsure = linearity(either, chosen, 4, fit())
    assert unsure.saturation_dn is not None
    assert unsure.saturation_dn.standard_error == pytest.approx(50.0, rel=0.01)
    assert unsure.saturation_dn.interval == (500.0, 600.0)
    assert unsure.full_dn is not None
    assert unsure.full_dn.interval == pytest.approx((500.0, 600.0))
    # 51 against 50: variances that scatter by twice their errors reach it more often.
    wider = Curve(exposure, signal, variance + np.eye(7)[4], errors, none, none, none, False, none)
    often = [linearity(wider, chosen, 4, fit(misfit=each)).full_dn for each in (0.25, 1.0, 4.0, math.nan)]
    parts = [(each.standard_error / 100) ** 2 for each in often if each is not None]
    expected = [
        norm.sf(1 / math.sqrt(2)),
        norm.sf(1 / math.sqrt(2)),
        norm.sf(1 / math.sqrt(8)),
        norm.sf(1 / math.sqrt(2)),
    ]
    assert parts == pytest.approx([each * (1 - each) for each in expected], abs=0.015)


@pytest.mark.parametrize(
    ("count", "drop", "reason"),
    [(4, 0.0, "4 exposures between 5 and 95 %"), (5, 0.0, ""), (6, 0.049, ""), (6, 0.051, "the signal falls by")],
)
def test_few_exposures_or_a_falling_signal_have_no_linearity_error(count: int, drop: float, reason: str) -> None:
    """The drop is a part of the highest signal within 5 to 95 % of saturation."""
    exposure = np.arange(1.0, count + 2)
    signal = 100.0 * exposure
    if drop:
        signal[2], signal[3] = 320.0, 320.0 - drop * signal[count - 1]
    none = np.zeros(count + 1)
    curve = Curve(exposure, signal, 0.5 * signal, none, none, none, none, False, none)
    signal[-1] = 1.06 * signal[-2]
    found = linearity(curve, signal < 250, count, fit())
    assert reason in found.reason
    assert (found.error_percent is None) == bool(reason)
