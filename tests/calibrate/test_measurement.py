"""Measurements, roots of variances, the law of the gain and its steps: by numbers, from both sides of each limit."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm, t as student

from noiseflow.calibrate.estimators.variance import negative, root_of, total_of
from noiseflow.calibrate.kinds.tables import ASSUMED, _dark
from noiseflow.calibrate.measurement import Measurement, from_error, quantile, quotient, root, scaled
from noiseflow.calibrate.measurements.conversion import LEAST, SURE, conversion_steps, digital_gain
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.dark_frames import black_drift
from noiseflow.calibrate.measurements.gain_law import fit_gain_law
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer, emva_gain
from noiseflow.calibrate.profiles.profile import Setting
from noiseflow.core.errors import DataError


def test_intervals_are_those_of_the_normal_and_of_student() -> None:
    assert quantile(math.inf) == pytest.approx(norm.ppf(0.975))
    assert quantile(3) == pytest.approx(student.ppf(0.975, 3))
    found = from_error(5.0, 2.0, "DN", 4)
    assert found.interval == pytest.approx((5 - 2 * student.ppf(0.975, 4), 5 + 2 * student.ppf(0.975, 4)))
    assert (found.value, found.standard_error) == (5.0, 2.0)


def test_what_is_no_number_is_refused_and_ends_belong_to_the_interval() -> None:
    known = Measurement(1.0, 0.0, (0.5, 2.0), "DN")
    assert all(known.covers(each) for each in (0.5, 1.0, 2.0))
    assert not any(known.covers(each) for each in (0.4999, 2.0001))
    assert Measurement(1.0, 0.0, (1.0, 1.0), "DN").covers(1.0)
    for value, error, interval in (
        (math.nan, 0.1, (0.0, 1.0)),
        (math.inf, 0.1, (0.0, 1.0)),
        (1.0, -0.1, (0.0, 1.0)),
        (1.0, math.nan, (0.0, 1.0)),
        (1.0, 0.1, (math.nan, 1.0)),
        (1.0, 0.1, (0.0, math.nan)),
        (1.0, 0.1, (2.0, 1.0)),
    ):
        with pytest.raises(DataError, match="DN"):
            Measurement(value, error, interval, "DN")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (1.23456, 0.0, "1.2346 ± 0.0000 DN"),
        (1.23456, 0.012, "1.235 ± 0.012 DN"),
        (123.456, 1.2, "123.5 ± 1.2 DN"),
        (1234.5, 12.0, "1234 ± 12 DN"),
        (1e-9, 1e-12, "0.000000001 ± 0.000000000 DN"),
    ],
)
def test_words_have_two_digits_of_the_error(value: float, error: float, words: str) -> None:
    assert str(Measurement(value, error, (value, value), "DN")) == words


def test_the_root_of_a_variance() -> None:
    z = norm.ppf(0.975)
    found = root(100.0, 4.0, "DN")
    assert found.value == 10.0
    assert found.standard_error == pytest.approx(4 / 20)
    assert found.interval == pytest.approx((math.sqrt(100 - 4 * z), math.sqrt(100 + 4 * z)))
    # Below zero it is 0, with as much room above as a variance that is 0.
    below, zero = root(-3.0, 4.0, "DN"), root(0.0, 4.0, "DN")
    assert (below.value, below.interval) == (0.0, zero.interval)
    assert zero.interval == pytest.approx((0.0, math.sqrt(4 * z)))
    assert zero.standard_error == pytest.approx(math.sqrt(4 * z) / 2)


@pytest.mark.parametrize(("part", "by_slope"), [(0.1251, True), (0.1249, False)])
def test_the_error_of_a_root_is_its_slope_s_from_a_third_of_its_upper_end_on(part: float, by_slope: bool) -> None:
    """value² = (value² + z·e)/9 at value² = z·e/8."""
    half = norm.ppf(0.975) * 4.0
    found = root(part * half, 4.0, "DN")
    high = math.sqrt(part * half + half)
    assert found.standard_error == pytest.approx(4 / (2 * found.value) if by_slope else high / 2)


def test_units_and_quotients_carry_errors_and_intervals() -> None:
    one = Measurement(6.0, 0.3, (5.2, 7.0), "DN")
    half = scaled(one, 0.5, "e-")
    assert (half.value, half.standard_error, half.interval, half.unit) == (3.0, 0.15, (2.6, 3.5), "e-")
    exact = quotient(one, Measurement(2.0, 0.0, (2.0, 2.0), "DN/e-"), "e-")
    assert (exact.value, exact.standard_error, exact.interval) == (3.0, 0.15, (2.6, 3.5))
    found = quotient(one, Measurement(2.0, 0.1, (1.8, 2.2), "DN/e-"), "e-")
    # Relative errors in quadrature.
    assert found.standard_error == pytest.approx(3 * math.hypot(0.3 / 6, 0.1 / 2))
    extra = norm.ppf(0.975) * 3 * 0.1 / 2
    assert found.interval == pytest.approx((3 - math.hypot(0.4, extra), 3 + math.hypot(0.5, extra)))


def test_sums_of_mean_squares() -> None:
    parts = [(4.0, 10.0), *negative([(1.0, 5.0)])]
    assert total_of(parts) == pytest.approx((3.0, math.sqrt(2 * 16 / 10 + 2 * 1 / 5)))
    found = root_of(parts, "DN")
    # By the modified large-sample method: how far each mean square may be off, in quadrature.
    ends = {free: (1 - free / chi2.ppf(0.975, free), free / chi2.ppf(0.025, free) - 1) for free in (10.0, 5.0)}
    down = math.hypot(4 * ends[10.0][0], 1 * ends[5.0][1])
    up = math.hypot(4 * ends[10.0][1], 1 * ends[5.0][0])
    assert found.interval == pytest.approx((math.sqrt(max(3 - down, 0)), math.sqrt(3 + up)))
    assert found.value == pytest.approx(math.sqrt(3))
    none = root_of([(1.0, 10.0), (-4.0, 10.0)], "DN")
    assert none.value == none.interval[0] == 0.0
    assert none.standard_error == pytest.approx(none.interval[1] / 2)


def setting(iso: float, noise: float, error: float = 0.0) -> Setting:
    return Setting(iso, "Y", {"read_noise_dn": Measurement(noise, error, (noise, noise), "DN")})


def test_a_step_of_the_gain_is_a_fall_by_a_tenth_that_is_sure() -> None:
    def steps(noise: float, error: float = 0.0) -> list[tuple[float, float, float]]:
        found = conversion_steps([setting(800, noise, error), setting(200, 1.0), setting(400, 2.0, error)])
        return [(each.below, each.above, each.factor) for each in found]

    assert steps(2 * LEAST - 1e-6) == [(400, 800, pytest.approx(LEAST))]
    assert steps(2 * LEAST + 1e-6) == []
    # A fall of 1 DN against the errors of both, in quadrature.
    sure = 1 / (SURE * math.sqrt(2))
    assert len(steps(1.0, sure * 0.999)) == 1
    assert steps(1.0, sure * 1.001) == []
    assert conversion_steps([setting(100, 0.0), setting(200, -0.0)]) == ()


def test_a_digital_gain_is_the_codes_that_are_missing() -> None:
    def codes(width: int, each: int, step: int = 1) -> np.ndarray:
        """The 10 and 90 % quantiles are the ends of the middle `width` codes."""
        return np.repeat(step * np.arange(width), each)

    assert digital_gain(codes(200, 60)) == 1.0
    # Of every second code: one in two less the end.
    assert digital_gain(codes(201, 200, 2)) == pytest.approx(2.0, abs=0.02)
    assert digital_gain(codes(5, 1000)) is None
    assert digital_gain(codes(200, 49)) is None
    assert digital_gain(codes(200, 50)) == 1.0


def test_gains_follow_the_dial_and_then_are_flat() -> None:
    isos = np.array([100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0])
    gains = 0.01 * np.minimum(isos, 800.0)
    law = fit_gain_law(isos, gains, 0.01 * gains)
    assert law.top_iso == 800.0
    assert law.scatter == pytest.approx(0.0, abs=1e-12)
    assert law.predict(300.0).value == pytest.approx(3.0)
    assert law.predict(6400.0).value == pytest.approx(8.0)
    assert law.predict(50.0).value == pytest.approx(0.5)
    straight = fit_gain_law(isos, 0.01 * isos, 0.01 * gains)
    assert math.isinf(straight.top_iso)
    assert straight.predict(6400.0).value == pytest.approx(64.0)
    # Its own error at a measured ISO; half-way between two (in log) that of two independent ones.
    assert law.predict(200.0).standard_error == pytest.approx(0.01 * 2.0)
    assert law.predict(math.sqrt(100.0 * 200.0)).standard_error == pytest.approx(0.01 * math.sqrt(2) / math.sqrt(2))


@pytest.mark.parametrize(
    ("part", "own"), [(1.0009, True), (1.0011, False), (0.9991, True), (0.9989, False), (1.0, True)]
)
def test_within_a_thousandth_of_a_measured_iso_the_law_has_no_error_of_its_own(part: float, own: bool) -> None:
    isos = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])
    gains = 0.01 * isos * np.array([1.0, 1.03, 0.98, 1.02, 1.0])
    law = fit_gain_law(isos, gains, 0.001 * gains)
    found = law.predict(400.0 * part)
    assert law.scatter > 0.03
    relative = 0.001 if own else math.hypot(0.001, law.scatter)
    assert found.standard_error / found.value == pytest.approx(relative, rel=0.01)


@pytest.mark.parametrize(("rise", "flat"), [(0.0, True), (0.1, True), (0.105, True), (0.1055, False), (1.0, False)])
def test_the_last_two_gains_are_flat_if_they_differ_by_less_than_a_tenth_of_their_mean(rise: float, flat: bool) -> None:
    isos = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])
    gains = 0.01 * np.append(isos[:4], 800.0 * (1 + rise))
    law = fit_gain_law(isos, gains, 0.01 * gains)
    assert law.top_iso == (800.0 if flat else math.inf)
    assert law.predict(6400.0).value == pytest.approx(gains[-1] * (1 if flat else 4))


def test_the_drift_of_black_is_the_line_of_least_squares_with_student_s_interval() -> None:
    means = np.array([512.0, 512.4, 512.3, 512.9, 512.8])
    found = black_drift(means)
    (slope, _), covariance = np.polyfit(np.arange(5), means, 1, cov=True)
    assert found.per_frame is not None
    assert found.per_frame.value == pytest.approx(slope)
    assert found.per_frame.standard_error == pytest.approx(math.sqrt(covariance[0, 0]))
    half = student.ppf(0.975, 3) * math.sqrt(covariance[0, 0])
    assert found.per_frame.interval == pytest.approx((slope - half, slope + half))
    assert (found.deviation_dn, found.range_dn) == pytest.approx((means.std(ddof=1), 0.9))
    assert black_drift(means[:2]).per_frame is None
    assert black_drift(means[:3]).per_frame is not None


def test_darks_of_a_table_have_the_error_of_their_mean() -> None:
    rows = np.array([[100.0, 0.01, 64.0, 3.0], [100.0, 0.01, 64.3, 3.1], [100.0, 0.01, 63.8, 2.8]])
    found = _dark(rows)
    level, noise = rows[:, 2], rows[:, 3] ** 2
    half = student.ppf(0.975, 2) * level.std(ddof=1) / math.sqrt(3)
    assert found["black_dn"].value == pytest.approx(level.mean())
    assert found["black_dn"].interval == pytest.approx((level.mean() - half, level.mean() + half))
    expected = root(float(noise.mean()), float(noise.std(ddof=1)) / math.sqrt(3), "DN", 2)
    assert found["read_noise_dn"] == expected
    alone = _dark(rows[:1])
    assert alone["black_dn"].value == 64.0
    assert alone["read_noise_dn"] == root(9.0, ASSUMED * 9.0, "DN")


def test_the_law_s_scatter_is_the_departure_of_what_is_left_out() -> None:
    isos = np.array([100.0, 200.0, 400.0])
    gains = np.array([1.0, 2.2, 4.0])
    law = fit_gain_law(isos, gains, np.zeros(3))
    assert law.scatter == pytest.approx(math.log(1.1))
    # Beyond the last ISO it grows with the distance in ln ISO.
    assert law.predict(800.0).standard_error == pytest.approx(8.0 * math.log(1.1) * (1 + math.log(2)))
    assert fit_gain_law(isos[:2], gains[:2], np.zeros(2)).scatter == 0.1
    for bad in (np.array([1.0, 0.0, 2.0]), np.array([1.0, -1.0, 2.0])):
        with pytest.raises(DataError, match="positive gain"):
            fit_gain_law(isos, bad, np.zeros(3))
    with pytest.raises(DataError, match="positive gain"):
        fit_gain_law(np.array([100.0, 100.0]), np.ones(2), np.zeros(2))


def test_without_counting_statistics_the_error_of_the_gain_is_of_residuals_with_their_leverage() -> None:
    """HC3: each residual over 1 − h, h = x²/Σx², and Student's t."""
    x = np.array([100.0, 200.0, 400.0, 3000.0])
    excess = np.array([52.0, 95.0, 210.0, 1480.0])
    unknown = np.full(4, np.nan)
    curve = Curve(x / 1e4, x, excess + 9.0, unknown, np.full(4, 9.0), unknown, np.zeros(4), False)
    found = emva_gain(curve)
    gain = float(x @ excess) / float(x @ x)
    leverage = np.minimum(x**2 / float(x @ x), 0.99)
    error = math.sqrt(float(np.sum((x * (excess - gain * x) / (1 - leverage)) ** 2))) / float(x @ x)
    assert found.gain.value == pytest.approx(gain)
    assert found.gain.standard_error == pytest.approx(error)
    assert found.gain.interval[1] == pytest.approx(gain + student.ppf(0.975, 3) * error)
    assert found.residuals == pytest.approx(excess - gain * x)
    assert math.isnan(found.misfit)


def test_counting_statistics_are_the_floor_of_the_gain_s_error_and_chi_square_says_when_they_are_too_small() -> None:
    x, error = np.array([100.0, 200.0, 400.0]), np.array([1.0, 2.0, 4.0])
    dark = np.array([0.5, 0.5, 0.5])

    def gain_of(residuals: np.ndarray) -> PhotonTransfer:
        return emva_gain(Curve(x / 1e4, x, 0.5 * x + residuals + 9.0, error, np.full(3, 9.0), dark, np.zeros(3), False))

    exact = gain_of(np.zeros(3))
    own = error**2 + dark**2
    # The dark's own error is that of three weighted equally; gain and dark are taken to be independent.
    assert exact.covariance == pytest.approx(np.diag([exact.gain.standard_error**2, 0.5**2 / 3]))
    assert exact.read_variance == pytest.approx(9.0)
    assert exact.gain.standard_error == pytest.approx(math.sqrt(float(x**2 @ own)) / float(x @ x))
    assert exact.gain.interval[1] == pytest.approx(0.5 + norm.ppf(0.975) * exact.gain.standard_error)
    assert exact.misfit == pytest.approx(0.0, abs=1e-12)
    off = gain_of(np.array([30.0, -30.0, 7.5]))
    slope = float(x @ (0.5 * x + np.array([30.0, -30.0, 7.5]))) / float(x @ x)
    rest = 0.5 * x + np.array([30.0, -30.0, 7.5]) - slope * x
    assert off.misfit == pytest.approx(float(np.sum(rest**2 / own)) / 2)
    assert off.gain.standard_error > 3 * exact.gain.standard_error


@pytest.mark.parametrize("shared", [False, True])
def test_one_dark_for_all_levels_moves_them_together(shared: bool) -> None:
    """Of independent darks Var(K) = Σ x²(v + d)/(Σ x²)²; of one dark, (Σ x² v + d (Σ x)²)/(Σ x²)²."""
    x, level = np.array([100.0, 200.0, 400.0]), np.array([1.0, 2.0, 4.0])
    dark = np.full(3, 1.5)
    found = emva_gain(Curve(x / 1e4, x, 0.5 * x + 9.0, level, np.full(3, 9.0), dark, np.zeros(3), shared))
    of_levels = float(x**2 @ level**2)
    of_dark = 1.5**2 * float(x.sum()) ** 2 if shared else 1.5**2 * float(x @ x)
    assert found.gain.standard_error == pytest.approx(math.sqrt(of_levels + of_dark) / float(x @ x))
    assert found.covariance[1, 1] == pytest.approx(1.5**2 if shared else 1.5**2 / 3)
    # What they have in common is in the scatter that χ² allows.
    off = np.array([3.0, -3.0, 0.75])
    bent = emva_gain(Curve(x / 1e4, x, 0.5 * x + off + 9.0, level, np.full(3, 9.0), dark, np.zeros(3), shared))
    assert bent.misfit == pytest.approx(float(np.sum(bent.residuals**2 / (level**2 + 1.5**2))) / 2)
