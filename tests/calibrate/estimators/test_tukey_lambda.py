"""The read noise's shape against the formulas of its docstring, written out once more."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import tukeylambda

from noiseflow.calibrate.estimators.tukey_lambda import (
    _grouped,
    fit_tukey_lambda,
    read_noise_shape,
    tukey_quantile,
)
from noiseflow.core.errors import DataError

P = np.array([1e-6, 0.02, 0.3, 0.5, 0.9, 0.9999])


@pytest.mark.parametrize("shape", [-0.4, -0.1, 9e-7, 0.0, 0.14, 0.8])
def test_quantiles_are_scipy_s(shape: float) -> None:
    assert tukey_quantile(P, shape) == pytest.approx(tukeylambda.ppf(P, shape), rel=2e-5, abs=1e-9)


def ranks(n: int) -> np.ndarray:
    """Median ranks, both ends by 0.5^(1/n)."""
    p = (np.arange(1, n + 1) - 0.3175) / (n + 0.365)
    p[-1] = 0.5 ** (1 / n)
    p[0] = 1 - p[-1]
    return p


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.14, 0.6])
@pytest.mark.parametrize("count", [100, 401])
def test_exact_quantiles_give_their_shape_scale_and_correlation_one(shape: float, count: int) -> None:
    values = 3.0 * tukey_quantile(ranks(count), shape)
    found = fit_tukey_lambda(np.random.default_rng(0).permutation(values) + 7.0)
    assert found == pytest.approx((shape, 3.0, 1.0), abs=2e-3)


@pytest.mark.parametrize("shape", [-0.15, 0.14])
def test_quantiles_of_a_sum_with_a_little_noise_are_those_to_first_order(shape: float) -> None:
    """Q + (b / 2s²) Q''/Q'², the derivatives by differences."""
    scale, blur, step = 2.0, 0.05, 1e-5
    p = ranks(1000)
    below, at, above = (tukey_quantile(each, shape) for each in (p - step * p, p, p + step * p))
    width = step * p
    first, second = (above - below) / (2 * width), (above - 2 * at + below) / width**2
    values = scale * (at + blur / (2 * scale**2) * second / first**2)
    found = fit_tukey_lambda(values, blur)
    assert found == pytest.approx((shape, scale, 1.0), abs=2e-3)
    # Without the blur it is another shape or scale: the comparison could fail.
    assert fit_tukey_lambda(values) != pytest.approx((shape, scale, 1.0), abs=2e-3)


def test_too_few_values_or_equal_ones_have_no_shape() -> None:
    for values in (np.arange(99.0), np.ones(1000)):
        with pytest.raises(DataError, match="100 varying values"):
            fit_tukey_lambda(values)


def test_the_middle_is_grouped_and_tails_stay_single() -> None:
    values, p = np.arange(38.0), np.arange(38.0) / 38
    grouped, places, weights = _grouped(values, p, tail=4, groups=10)
    assert grouped.tolist() == [0, 1, 2, 3, *(4 + 3 * k + 1.0 for k in range(10)), 34, 35, 36, 37]
    assert places == pytest.approx(grouped / 38)
    assert weights.tolist() == [1] * 4 + [3] * 10 + [1] * 4
    # 19 in the middle would be groups of one.
    for each in _grouped(values[:27], p[:27], tail=4, groups=10)[:2]:
        assert len(each) == 27
    assert len(_grouped(values[:28], p[:28], tail=4, groups=10)[0]) == 18
    uneven = _grouped(values[:31], p[:31], tail=4, groups=10)
    assert uneven[0].tolist()[14:] == [24, 25, 26, 27, 28, 29, 30]
    assert uneven[2].sum() == 31


def naive_shape(codes: np.ndarray, lines: float, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Noise and blur as the docstring says, for a pattern that stands out or does not."""
    n, m = codes.shape
    variance = codes.var(0, ddof=1).mean()
    fixed = max(codes.mean(0).var() - variance / n, 0)
    stands_out = fixed > 2 * np.sqrt(2 / m) * variance / n
    w = fixed / (fixed + variance / n) if stands_out else 0.0
    part = lines * (1 - 1 / n)
    own = (1 - w / n) * (1 - part)
    noise = (codes - (w * codes.mean(0) + (1 - w) * codes.mean())) / own
    others = (n - 1) * (w / n / own) ** 2 * variance
    blur = others + 1 / 6 + (1 - w) ** 2 * fixed + part * variance
    return noise + generator.uniform(-0.5, 0.5, noise.shape), blur


@pytest.mark.parametrize(("pattern", "lines"), [(0.0, 0.0), (0.0, 0.05), (0.6, 0.0), (9.0, 0.02)])
def test_a_sample_s_shape_is_of_its_noise_with_pattern_and_lines_taken_off(pattern: float, lines: float) -> None:
    rng = np.random.default_rng(3)
    n, m = 6, 600
    offsets, line_offsets = rng.normal(0, 5, n), rng.normal(0, 1, (n, m))
    codes = 2.0 * rng.logistic(size=(n, m)) + pattern * rng.normal(size=m)
    found = read_noise_shape(
        codes + offsets[:, None] + line_offsets, offsets, line_offsets, np.random.default_rng(5), lines
    )
    noise, blur = naive_shape(codes, lines, np.random.default_rng(5))
    shape, scale, correlation = fit_tukey_lambda(noise, blur)
    assert (found.shape.value, found.scale.value, found.correlation) == pytest.approx((shape, scale, correlation))
    parts = [fit_tukey_lambda(noise[:, 60 * k : 60 * (k + 1)], blur) for k in range(10)]
    errors = [np.std([each[j] for each in parts], ddof=1) / np.sqrt(10) for j in (0, 1)]
    assert (found.shape.standard_error, found.scale.standard_error) == pytest.approx(errors)
    # Student's t of nine degrees.
    assert found.scale.interval[1] - scale == pytest.approx(2.262157 * errors[1], rel=1e-5)
    z = (noise - noise.mean()) / noise.std()
    assert found.excess_kurtosis == pytest.approx((z**4).mean() - 3)
    assert found.beyond_4_sigma == pytest.approx((abs(z) > 4).mean())
    normal = ndtri((np.arange(1, n * m + 1) - 0.3175) / (n * m + 0.365))
    assert found.correlation_gaussian == pytest.approx(np.corrcoef(np.sort(noise.ravel()), normal)[0, 1])


def test_two_frames_are_enough_and_one_is_not() -> None:
    rng = np.random.default_rng(1)
    sample = rng.normal(0, 3, (2, 600))
    none = np.zeros((2, 600))
    assert np.isfinite(read_noise_shape(sample, np.zeros(2), none, rng).shape.value)
    with pytest.raises(DataError, match="two dark frames"):
        read_noise_shape(sample[:1], np.zeros(1), none[:1], rng)
