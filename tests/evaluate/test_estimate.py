import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats

from noiseflow.evaluate.metrics.denoising import _decibel
from noiseflow.evaluate.metrics.proper_scores import EXCESS_LEVEL
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, bootstrap_ratio, jackknife, ratio_of_sums
from noiseflow.evaluate.statistics.noise_curve import KNOTS, add_to_knots, curve_through

REPEATS = 200


def test_equal_groups_give_the_textbook_interval_of_a_mean() -> None:
    means = np.array([1.0, 2.0, 4.0, 9.0])
    estimate = ratio_of_sums(numerator=means * 10, denominator=np.full(4, 10.0), level=0.95)
    low, high = stats.t.interval(0.95, 3, loc=means.mean(), scale=stats.sem(means))
    assert estimate.value == pytest.approx(4.0)
    assert estimate.standard_error == pytest.approx(stats.sem(means))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


def simulate(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of groups of unequal size, whose members share an offset; the mean is 0."""
    sizes = rng.integers(20, 60, groups)
    sums = np.array([(rng.normal() + rng.normal(size=size)).sum() for size in sizes])
    return sums, sizes.astype(float)


def test_intervals_over_groups_cover_where_those_over_members_do_not() -> None:
    # 200 repeats at 95 %: standard error 1.5 %.  [90 %, 99.5 %] is left by chance once in 500.
    rng = np.random.default_rng(1)
    covered, naive = 0, 0
    for _ in range(REPEATS):
        sums, sizes = simulate(rng, groups=12)
        estimate = ratio_of_sums(numerator=sums, denominator=sizes, level=0.95)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low < 0 < estimate.high
        # As if members were independent: their variance is 2.
        naive += abs(estimate.value) < 1.96 * np.sqrt(2 / sizes.sum())
    assert 0.90 <= covered / REPEATS <= 0.995
    assert naive / REPEATS < 0.6


def test_a_ratio_covers_its_truth() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(REPEATS):
        scale = rng.uniform(0.5, 2.0, 15)
        denominator = scale * rng.chisquare(40, 15)
        numerator = 1.3 * scale * rng.chisquare(40, 15)
        estimate = ratio_of_sums(numerator=numerator, denominator=denominator, level=0.95)
        covered += not (estimate.above(1.3) or estimate.below(1.3))
    assert 0.90 <= covered / REPEATS <= 0.995


def test_one_group_has_a_value_and_no_interval() -> None:
    estimate = ratio_of_sums(numerator=np.array([3.0]), denominator=np.array([2.0]), level=0.95)
    assert estimate == Interval(1.5, None, None, None, 1)
    assert not estimate.above(-9)
    assert not estimate.below(9)
    assert estimate.half_width is None


def test_groups_without_members_do_not_count() -> None:
    full = ratio_of_sums(numerator=np.array([1.0, 2.0]), denominator=np.array([1.0, 1.0]), level=0.95)
    padded = ratio_of_sums(numerator=np.array([1.0, 0.0, 2.0]), denominator=np.array([1.0, 0.0, 1.0]), level=0.95)
    assert padded == full


def test_nothing_at_all_is_not_a_number() -> None:
    assert np.isnan(ratio_of_sums(numerator=np.zeros(3), denominator=np.zeros(3), level=0.95).value)


@given(st.floats(-5, 5), st.floats(0.01, 2), st.floats(0.1, 10))
def test_negation_and_scale_carry_the_interval(value: float, error: float, factor: float) -> None:
    estimate = Interval(value, error, value - 3 * error, value + error, 7)
    mirrored, scaled = -estimate, estimate.scaled(factor)
    assert (mirrored.low, mirrored.high) == (-(value + error), -(value - 3 * error))
    assert (scaled.low, scaled.high) == ((value - 3 * error) * factor, (value + error) * factor)


def test_an_interval_is_cut_to_the_range_of_its_measure() -> None:
    known = Interval(0.5, 0.1, -0.2, 1.3, 7)
    assert known.within(0.0) == Interval(0.5, 0.1, 0.0, 1.3, 7)
    assert known.within(-0.2, 1.2) == Interval(0.5, 0.1, -0.2, 1.2, 7)
    # Where both ends leave the range nothing is known; one end alone is cut, and an end on the limit leaves nothing.
    assert known.within(0.0, 1.0) == Interval(0.5, None, None, None, 7)
    assert known.within(-0.2, 1.0).low == -0.2
    assert known.within(0.0, 1.3).high == 1.3
    assert Interval(0.5, None, None, None, 7).within(0.0, 1.0) == Interval(0.5, None, None, None, 7)
    assert known.half_width == pytest.approx(0.75)
    assert Interval(0.5, None, None, None, 7).half_width is None


def test_whether_an_interval_is_beyond_a_bound() -> None:
    known = Interval(0.5, 0.1, 0.2, 0.9, 7)
    assert [known.above(bound) for bound in (0.1999, 0.2, 0.5)] == [True, False, False]
    assert [known.below(bound) for bound in (0.9001, 0.9, 0.5)] == [True, False, False]
    nothing = Interval(0.5, None, None, None, 7)
    assert not nothing.above(-9.0)
    assert not nothing.below(9.0)


def test_minus_an_interval_is_its_mirror() -> None:
    assert -Interval(0.5, 0.1, 0.2, 0.9, 7) == Interval(-0.5, 0.1, -0.9, -0.2, 7)
    assert Interval(0.5, 0.1, 0.2, 0.9, 7).scaled(2.0) == Interval(1.0, 0.2, 0.4, 1.8, 7)


def test_a_jackknife_of_means_is_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(3).normal(2, 3, 12)
    left_out = (values.sum() - values) / 11
    found = jackknife(value=float(values.mean()), left_out=np.append(left_out, np.nan), level=0.9)
    error = values.std(ddof=1) / np.sqrt(12)
    assert found.standard_error == pytest.approx(error)
    half = float(stats.t.ppf(0.95, 11)) * error
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found.groups == 12
    assert jackknife(value=1.0, left_out=np.array([1.0]), level=0.9) == Interval(1.0, None, None, None, 1)
    assert jackknife(value=float("nan"), left_out=left_out, level=0.9).low is None
    two = jackknife(value=1.5, left_out=np.array([1.0, 2.0]), level=0.9)
    assert two.standard_error == pytest.approx(0.5)


def test_a_bootstrap_of_few_or_many_groups_is_the_plain_interval() -> None:
    rng = np.random.default_rng(4)
    for groups, plain in ((4, True), (5, False), (400, False), (401, True)):
        arrays = {"numerator": rng.exponential(1, groups), "denominator": np.ones(groups)}
        found, usual = bootstrap_ratio(**arrays, level=0.95), ratio_of_sums(**arrays, level=0.95)
        assert found.value == usual.value
        assert (found.low == usual.low) == plain
    skewed = {"numerator": np.array([0.0, 0.1, 0.2, 0.1, 0.0, 4.0]), "denominator": np.ones(6)}
    found = bootstrap_ratio(**skewed, level=0.95)
    assert found.low is not None
    assert found.high is not None
    # Of values with a long tail upwards the mean may lie further up than down.
    assert found.high - found.value > 1.5 * (found.value - found.low)


def test_decibels_have_the_slope_s_error_and_the_ends_of_the_ratio() -> None:
    errors, own = np.array([2.0, 3.0, 2.5, 4.0]), np.array([1.0, 1.2, 0.9, 1.5])
    ratio = ratio_of_sums(numerator=errors, denominator=own, level=VERDICT)
    found = _decibel(errors, own)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.standard_error is not None
    assert [found.value, found.low, found.high] == pytest.approx(
        [10 * math.log10(each) for each in (ratio.value, ratio.low, ratio.high)]
    )
    slope = 10 * (math.log10(ratio.value + 1e-6) - math.log10(ratio.value - 1e-6)) / 2e-6
    assert found.standard_error == pytest.approx(slope * ratio.standard_error, rel=1e-6)
    assert _decibel(np.zeros(4), own).value == -math.inf
    alone = _decibel(np.array([2.0]), np.array([1.0]))
    assert (alone.value, alone.low) == (pytest.approx(10 * math.log10(2)), None)


def test_two_scores_together_have_the_chance_of_one_check() -> None:
    assert pytest.approx(1 - VERDICT) == 2 * (1 - EXCESS_LEVEL)


def test_a_variance_that_is_a_line_over_the_signal_comes_back_at_every_signal() -> None:
    """Of noise of ± σ exactly: between means of knots a line is a line; black and white hold what lies beyond."""
    knots = np.zeros((3, 2 * KNOTS))
    laws = ((1e-4, 2e-3), (5e-4, 1e-4))
    signal = (torch.arange(1, 200_001, dtype=torch.float64) / 200_000).reshape(20, 1, 100, 100)
    for cell, (dark, slope) in enumerate(laws):
        noise = (dark + slope * signal).sqrt() * (1 - 2 * (torch.arange(100) % 2))
        add_to_knots(knots, noise, signal, np.full(20, cell))
    assert knots[0].sum() == 400_000
    # The first and the last of 64 knots, even in the root of the signal; what is beyond the ends is theirs.
    before = knots[0].copy()
    for beyond in (-0.5, 1.7):
        add_to_knots(knots, torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), beyond), np.array([1]))
    assert np.flatnonzero(knots[0] - before).tolist() == [KNOTS, 2 * KNOTS - 1]
    knots[0], knots[2, KNOTS], knots[2, -1] = before, knots[2, KNOTS] + 0.5, knots[2, -1] - 1.7
    curve = curve_through(knots.reshape(3, 2, KNOTS))
    at = torch.tensor([0.003, 0.02, 0.1, 0.3, 0.6, 0.9, 0.98]).reshape(7, 1, 1, 1)
    for cell, (dark, slope) in enumerate(laws):
        found = curve.at(at, np.full(7, cell)).square()
        torch.testing.assert_close(found, (dark + slope * at).float(), rtol=3e-3, atol=0)
        beyond = curve.at(torch.tensor([-1.0, 0.0, 1.0, 3.0]).reshape(4, 1, 1, 1), np.full(4, cell)).flatten().tolist()
        assert beyond[0] == beyond[1] < beyond[2] == beyond[3]
