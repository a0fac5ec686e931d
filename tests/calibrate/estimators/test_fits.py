"""K by likelihood and levels of censored darks against normal equations and Fisher's information."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t as student

from noiseflow.calibrate.estimators.censored import censored_dark
from noiseflow.calibrate.estimators.likelihood import likelihood_gain, line_gain
from noiseflow.calibrate.measurement import root
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.core.errors import DataError

K, READ = 0.5, 16.0


def weighted_line(x: np.ndarray, y: np.ndarray, relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept with deviations relative to the fit itself, and their covariance."""
    design, fitted = np.stack([x, np.ones_like(x)], 1), y
    for _ in range(60):
        weight = 1 / (relative * fitted) ** 2
        covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
        at = covariance @ design.T @ (weight * y)
        fitted = design @ at
    return at, covariance


@pytest.mark.parametrize("shared", [False, True])
def test_k_by_likelihood_is_the_line_with_deviations_of_itself(shared: bool) -> None:
    x = np.array([100.0, 300.0, 700.0, 1200.0])
    y = K * x + READ + np.array([1.0, -1.5, 2.0, -3.0])
    errors, dark = 0.02 * y, np.array([15.9, 16.2, 16.0, 16.1])
    dark_error = np.full(4, 0.3)
    curve = Curve(x, x, y, errors, dark, dark_error, np.zeros(4), shared)
    found = likelihood_gain(curve)
    kept = 1 if shared else 4
    both_x, both_y = np.append(x, np.zeros(kept)), np.append(y, dark[:kept])
    both = np.append(errors, dark_error[:kept])
    at, covariance = weighted_line(both_x, both_y, both / both_y)
    assert (found.gain.value, found.read_variance) == pytest.approx(at)
    assert found.covariance == pytest.approx(covariance, rel=1e-4)
    assert found.gain.interval[1] - at[0] == pytest.approx(norm.ppf(0.975) * covariance[0, 0] ** 0.5, rel=1e-4)
    assert found.residuals == pytest.approx(both_y - at[0] * both_x - at[1])
    fitted = at[0] * both_x + at[1]
    chi = (((both_y - fitted) / (both / both_y * fitted)) ** 2).sum()
    assert found.misfit == pytest.approx(chi / (len(both_x) - 2), rel=1e-4)
    assert found.gain_at_zero is None
    assert found.read_noise == root(found.read_variance, found.covariance[1, 1] ** 0.5, "DN")
    # Without darks, two levels or more; without counting statistics, three.
    alone = line_gain(curve)
    assert alone.gain.value == pytest.approx(weighted_line(x, y, errors / y)[0][0])
    assert math.isnan(line_gain(curve.select(np.arange(4) < 2)).misfit)
    with pytest.raises(DataError, match="only one level of light"):
        line_gain(curve.select(np.arange(4) < 1))
    unknown = Curve(x, x, y, np.full(4, np.nan), dark, dark_error, np.zeros(4))
    of_scatter = line_gain(unknown)
    at, covariance = weighted_line(x, y, np.ones(4))
    scatter = (((y - at[0] * x - at[1]) / (at[0] * x + at[1])) ** 2).sum() / 2
    assert of_scatter.covariance == pytest.approx(covariance * scatter, rel=1e-4)
    assert of_scatter.gain.interval[1] - at[0] == pytest.approx(
        student.ppf(0.975, 2) * (covariance[0, 0] * scatter) ** 0.5, rel=1e-4
    )
    assert math.isnan(of_scatter.misfit)
    with pytest.raises(DataError, match="two levels of light without counting statistics"):
        line_gain(unknown.select(np.arange(4) < 2))


@pytest.mark.parametrize(("levels", "degree"), [(6, 4), (5, 0), (12, 4)])
def test_an_exact_bend_is_found_with_its_mean_slope_and_its_slope_at_no_signal(levels: int, degree: int) -> None:
    """v = K₀ x + c₂ x² + c₃ x³ + c₄ x⁴ + σ²; the gain is Σ x v / Σ x²."""
    x = np.linspace(100, 2000, levels)
    bend = np.array([0.5, -1e-4, 2e-8, -1e-11])
    excess = sum(c * x ** (k + 1) for k, c in enumerate(bend))
    y = excess + READ
    curve = Curve(x, x, y, 1e-3 * y, np.full(levels, READ), np.full(levels, 1e-3 * READ), np.zeros(levels))
    found = likelihood_gain(curve)
    if not degree:
        assert found.bend == ()
        return
    assert found.bend == pytest.approx(bend, rel=1e-3)
    assert found.gain_at_zero is not None
    assert found.gain_at_zero.value == pytest.approx(0.5, rel=1e-6)
    assert found.gain.value == pytest.approx(float(x @ excess) / float(x @ x), rel=1e-6)
    assert found.read_variance == pytest.approx(READ)
    assert found.scatter == 0.0
    assert found.residuals == pytest.approx(np.zeros(2 * levels), abs=1e-4)
    # Errors of the whole fit by its normal equations.
    design = np.column_stack([np.append(x, np.zeros(levels)) ** k for k in (1, 2, 3, 4, 0)])
    size = np.abs(design).max(0)
    weight = 1e6 / np.append(y, np.full(levels, READ)) ** 2
    covariance = np.linalg.inv((design / size).T @ (design / size * weight[:, None])) / np.outer(size, size)
    mean = np.append([(x ** (k + 1)).sum() / (x**2).sum() for k in (1, 2, 3, 4)], 0.0)
    last = np.array([0, 0, 0, 0, 1.0])
    expected = np.array([[mean @ covariance @ mean, mean @ covariance @ last], [0, last @ covariance @ last]])
    expected[1, 0] = expected[0, 1]
    assert found.covariance == pytest.approx(expected, rel=1e-3)
    assert found.gain_at_zero.standard_error == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-3)


def test_errors_of_a_censored_dark_are_those_of_its_information() -> None:
    """Cells of the normal distribution: I = n Σ (∂p)(∂p)ᵀ/p, by differences of Φ."""
    level, sigma, count = 0.7, 2.0, 200_000
    edges = np.append(-np.inf, np.arange(0.5, 40))

    def cells(at: np.ndarray) -> np.ndarray:
        return np.diff(norm.cdf((edges - at[0]) / math.sqrt(at[1])))

    at, step = np.array([level, sigma**2]), 1e-4
    p = cells(at)
    slopes = np.stack([(cells(at + step * unit) - cells(at - step * unit)) / (2 * step) for unit in np.eye(2)])
    information = count * (slopes / np.maximum(p, 1e-300)) @ slopes.T
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    counts = np.rint(count * p).astype(int)
    found = censored_dark(np.repeat(np.arange(len(p)), counts))
    assert (found.level, found.variance) == pytest.approx((level, sigma**2), abs=2e-3)
    assert (found.level_error, found.variance_error) == pytest.approx(errors, rel=0.01)


@pytest.mark.parametrize(
    ("codes", "can"), [([0, 1, 2], True), ([0, 1], False), ([0, 2], False), ([0, 1, 1, 2, 2, 3], True)]
)
def test_a_censored_dark_needs_three_codes(codes: list[int], can: bool) -> None:
    if can:
        assert censored_dark(np.array(codes * 40)).variance > 0
    else:
        with pytest.raises(DataError, match=f"{len(set(codes))} code"):
            censored_dark(np.array(codes * 40))
