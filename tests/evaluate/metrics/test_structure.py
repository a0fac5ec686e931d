"""Sums behind the correlations and spectra of a report, against loops and numpy's whole transform."""

import math

import numpy as np
import pytest
import torch

from noiseflow.evaluate.metrics.structure import (
    StructureMetric,
    frequencies_of,
    lags_within,
    normalised,
    power_of,
    radial,
)

SIZES = [(8, 8), (9, 12), (12, 7)]


def metric(height: int, width: int) -> StructureMetric:
    """The sums' geometry alone."""
    made = object.__new__(StructureMetric)
    made.height, made.width = height, width
    made.reach = min(6, height - 1, width - 1)
    made.lags = lags_within(height, width)
    return made


def noise(height: int, width: int, count: int = 3) -> torch.Tensor:
    made = torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = made + 0.5 * made.roll(1, 3)
    return made - made.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("height", "width", "lags"),
    [
        (1, 9, []),
        (2, 2, []),
        (2, 3, [(0, 1)]),
        (3, 2, [(1, 0)]),
        (2, 4, [(0, 1), (0, 2)]),
        (3, 3, [(0, 1), (1, 0), (1, 1), (1, -1)]),
        (4, 3, [(0, 1), (1, 0), (1, 1), (1, -1), (2, 0)]),
        (9, 9, [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]),
    ],
)
def test_lags_leave_two_pairs_of_rows_and_columns(height: int, width: int, lags: list[tuple[int, int]]) -> None:
    assert lags_within(height, width) == lags


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_products_at_lags_are_means_over_pairs_of_pixels(height: int, width: int) -> None:
    made, centred = metric(height, width), noise(height, width)
    inner = (centred - centred.mean(3, keepdim=True) - centred.mean(2, keepdim=True)).numpy()
    found = made._products(centred)
    assert found[0] == pytest.approx((inner**2).mean((1, 2, 3)))
    for (dy, dx), values in zip(made.lags, found[1:], strict=True):
        white = (1.0 if dx == 0 else -1 / (width - 1)) * (1.0 if dy == 0 else -1 / (height - 1))
        pairs = [
            inner[:, :, y, x] * inner[:, :, y + dy, x + dx]
            for y in range(height - dy)
            for x in range(width)
            if 0 <= x + dx < width
        ]
        assert values == pytest.approx(np.mean(pairs, 0).mean(1) - white * found[0])


def test_white_noise_has_no_correlation_at_any_lag_on_average() -> None:
    made = metric(8, 8)
    white = torch.randn(40_000, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    products = made._products(white - white.mean((2, 3), keepdim=True))
    for values in products[1:]:
        assert abs(float(values.mean())) < 5 * float(values.std()) / math.sqrt(40_000)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_map_is_the_mean_product_at_each_lag(height: int, width: int) -> None:
    made, centred = metric(height, width), noise(height, width)
    found, values = made._autocovariance(centred), centred.numpy()
    for dy in range(-made.reach, made.reach + 1):
        for dx in range(-made.reach, made.reach + 1):
            one = values[:, :, max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
            other = values[:, :, max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)]
            expected = (one * other).sum() / ((height - abs(dy)) * (width - abs(dx)))
            assert found[dy + made.reach, dx + made.reach] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_power_is_1_on_average_over_the_whole_transform(height: int, width: int) -> None:
    centred = noise(height, width)
    whole = (np.abs(np.fft.fft2(centred.numpy())) ** 2).sum((0, 1))
    half = power_of(centred)
    assert half == pytest.approx(whole[:, : width // 2 + 1])
    mean = (whole.sum() - whole[0, 0]) / (height * width - 1)
    assert normalised(half, width) == pytest.approx(half / mean)
    assert not normalised(np.zeros_like(half), width).any()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_rings_are_means_over_frequencies_of_a_distance_without_the_axes(height: int, width: int) -> None:
    power = power_of(noise(height, width))
    steps = min(height, width) // 2
    rings: list[list[float]] = [[] for _ in range(steps + 1)]
    for y in range(1, height):
        for x in range(1, width // 2 + 1):
            distance = math.hypot(min(y, height - y) / height, x / width)
            rings[min(round(distance / 0.5 * steps), steps)].append(power[y, x])
    expected = [np.mean(ring) if ring else 0.0 for ring in rings[1:]]
    assert radial(power, width) == pytest.approx(expected)
    assert radial(np.ones((height, width // 2 + 1)), width)[-1] == 1.0


@pytest.mark.parametrize(("height", "width"), [(1, 8), (8, 1), (2, 2), (3, 9)])
def test_rings_of_the_smallest_patches_are_as_many_as_half_of_the_shorter_side(height: int, width: int) -> None:
    """A patch of one row or column has no frequency off the axes, and no power there."""
    found = radial(np.ones((height, width // 2 + 1)), width)
    assert found.shape == (max(min(height, width) // 2, 1),)
    assert found.tolist() == [float(min(height, width) > 1)] * len(found)


def test_frequencies_end_at_a_half() -> None:
    assert frequencies_of(4).tolist() == [0.125, 0.25, 0.375, 0.5]
