"""The rational-quadratic spline against nflows."""

import pytest
import torch
from transform_table import generator

from noiseflow.ops.masked_affine import soft_clamp
from noiseflow.ops.rational_quadratic import (
    SLOPE_BOUND,
    knots_from,
    odd_knots_from,
    rational_quadratic,
    rational_quadratic_inverse,
)

BINS, BOX = 6, 3.0


def test_spline_equals_nflows() -> None:
    splines = pytest.importorskip("nflows.transforms.splines.rational_quadratic")
    raw = torch.randn(200, 3 * BINS - 1, generator=generator(1), dtype=torch.float64)
    x = 2 * torch.randn(200, generator=generator(2), dtype=torch.float64)
    knots = knots_from(raw, BINS, BOX)
    slopes = knots[2][:, 1:-1]
    theirs, log_slope = splines.unconstrained_rational_quadratic_spline(
        x,
        knots[0].diff(dim=-1).log(),
        knots[1].diff(dim=-1).log(),
        slopes.expm1().log(),
        tails="linear",
        tail_bound=BOX,
        min_bin_width=0.0,
        min_bin_height=0.0,
        min_derivative=0.0,
    )
    # nflows pads the end slopes so that softplus gives 1 only up to its own least derivative.
    ours, ours_log_slope = rational_quadratic(x, knots)
    inner = (x > knots[0][:, 1]) & (x < knots[0][:, -2])
    assert inner.sum() > 80
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours_log_slope[inner], log_slope[inner], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(rational_quadratic_inverse(ours, knots), x, rtol=1e-9, atol=1e-9)


def test_an_odd_spline_is_odd_rising_and_the_one_that_mirrored_numbers_give() -> None:
    half = torch.randn(300, 3 * 3, generator=generator(3), dtype=torch.float64)
    x = 2 * torch.randn(300, generator=generator(4), dtype=torch.float64)
    widths, heights, slopes = half.split(3, -1)
    mirrored = torch.cat([widths.flip(-1), widths, heights.flip(-1), heights, slopes[:, 1:].flip(-1), slopes], -1)
    found, log_slope = rational_quadratic(x, odd_knots_from(half, 3, BOX))
    expected, expected_log_slope = rational_quadratic(x, knots_from(mirrored, 6, BOX))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope, expected_log_slope, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rational_quadratic(-x, odd_knots_from(half, 3, BOX))[0], -found, rtol=1e-12, atol=1e-12)
    zero, at_zero = rational_quadratic(torch.zeros(300, dtype=torch.float64), odd_knots_from(half, 3, BOX))
    assert not zero.any()
    torch.testing.assert_close(at_zero, soft_clamp(slopes[:, 0], SLOPE_BOUND))
