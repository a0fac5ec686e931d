"""Sums over frames and what is made of them, against plain loops over the same frames."""

import itertools

import numpy as np
import pytest

from noiseflow.calibrate.estimators.variance import negative, root_of
from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.measurements.dark_frames import dark_shading, hot_pixels
from noiseflow.calibrate.measurements.nonuniformity import nonuniformity, percent, photo_response
from noiseflow.calibrate.stack import (
    SAMPLE,
    StackSums,
    components,
    effective_fraction,
    excess_kurtosis,
    mean_error,
    stack_frames,
)
from noiseflow.core.errors import DataError

RNG = np.random.default_rng(11)
FRAMES = [
    np.rint(900 + RNG.normal(0, 20, (9, 14)) + RNG.normal(0, 9, (9, 1)) + 3 * k).astype(np.uint16) for k in range(5)
]
FRAMES[0][0, :3], FRAMES[1][2, 2] = 0, 1000


def test_a_stack_is_the_means_and_squares_of_its_frames() -> None:
    cube = np.stack(FRAMES).astype(float)
    found = stack_frames(FRAMES, 950)
    assert found.mean == pytest.approx(cube.mean(0), rel=1e-6)
    assert found.frame_means == pytest.approx(cube.mean((1, 2)))
    assert found.row_means == pytest.approx(cube.mean(2))
    assert found.column_means == pytest.approx(cube.mean(1))
    assert found.sum_of_squares == pytest.approx(((cube - cube.mean(0)) ** 2).sum())
    assert found.sample.tolist() == cube.reshape(5, -1)[:, found.sample_index].tolist()
    assert found.sample_index.tolist() == list(range(9 * 14))
    assert (found.highest, found.frames) == (cube.max(), 5)
    assert (found.clipped, found.at_black) == pytest.approx(((cube >= 950).mean(), (cube == 0).mean()))
    assert found.level == pytest.approx(cube.mean())
    assert stack_frames(FRAMES).clipped == 0
    # A code at white counts, one below does not.
    top = float(cube.max())
    assert stack_frames(FRAMES, top).clipped == pytest.approx((cube == top).mean())
    assert stack_frames(FRAMES, top + 1).clipped == 0


@pytest.mark.parametrize(
    ("shape", "step"), [((256, 256), 1), ((512, 257), 2), ((512, 384), 5), ((640, 510), 7), ((300, 400), 1)]
)
def test_the_sample_s_step_shares_no_factor_with_the_width(shape: tuple[int, int], step: int) -> None:
    found = StackSums(shape).index
    least = max(1, shape[0] * shape[1] // SAMPLE)
    assert step == next(each for each in range(least, 99) if each == 1 or np.gcd(each, shape[1]) == 1)
    assert found.tolist() == list(range(0, shape[0] * shape[1], step))


def anova(cube: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of pixels, rows and columns: two ways, the frames' own means left out, by loops."""
    cube = cube - cube.mean(0) - (cube - cube.mean(0)).mean((1, 2), keepdims=True)
    n, height, width = cube.shape
    rows = columns = pixels = 0.0
    for frame in cube:
        rows += sum(width * row.mean() ** 2 for row in frame)
        columns += sum(height * column.mean() ** 2 for column in frame.T)
        pixels += ((frame - frame.mean(1, keepdims=True) - frame.mean(0, keepdims=True)) ** 2).sum()
    free = n - 1
    return pixels / free / (height - 1) / (width - 1), rows / free / (height - 1), columns / free / (width - 1)


def test_components_are_the_analysis_of_variance() -> None:
    cube = np.stack(FRAMES).astype(float)
    n, height, width = cube.shape
    stack = stack_frames(FRAMES)
    found = components(stack, temporal_correlation=False)
    pixel, rows, columns = anova(cube)
    assert found.pixel == pytest.approx(pixel)
    assert found.row == pytest.approx((rows - pixel) / width)
    assert found.column == pytest.approx((columns - pixel) / height)
    assert found.total == pytest.approx(found.pixel + found.row + found.column)
    freedom = 2 * (n - 1) * height * width / (2 + excess_kurtosis(stack.sample))
    assert found.pixel_parts == (pytest.approx((pixel, freedom)),)
    assert found.row_parts == (
        pytest.approx((rows / width, (n - 1) * (height - 1))),
        pytest.approx((-pixel / width, freedom)),
    )
    assert found.column_parts == (
        pytest.approx((columns / height, (n - 1) * (width - 1))),
        pytest.approx((-pixel / height, freedom)),
    )
    parts = [
        (pixel * (1 - 1 / height - 1 / width), freedom),
        (rows / width, (n - 1) * (height - 1)),
        (columns / height, (n - 1) * (width - 1)),
    ]
    assert found.total_error == pytest.approx(sum(2 * v**2 / f for v, f in parts) ** 0.5)
    assert found.row_error == pytest.approx(sum(2 * v**2 / f for v, f in found.row_parts) ** 0.5)
    error = (max(found.pixel, 0) / height / width + max(found.row, 0) / height + max(found.column, 0) / width) / n
    assert mean_error(stack, found) == pytest.approx(error**0.5)
    # By default rows that go together have fewer degrees.
    left = cube - cube.mean(0)
    lines = left.mean(2) - left.mean((1, 2))[:, None]
    counted = components(stack).row_parts[0][1]
    assert counted == pytest.approx((n - 1) * (height - 1) * effective_fraction(lines))


def test_excess_kurtosis_is_twice_that_of_steps_and_no_less_than_minus_one() -> None:
    sample = RNG.laplace(size=(7, 50)) + 3 * np.arange(50) + RNG.normal(0, 9, (7, 1))
    steps = np.array([b - a - (b - a).mean() for a, b in itertools.pairwise(sample)])
    expected = 2 * ((steps**4).mean() / (steps**2).mean() ** 2 - 3)
    assert excess_kurtosis(sample) == pytest.approx(expected)
    assert excess_kurtosis(np.array([[0.0, 0.0], [1.0, -1.0]])) == -1.0
    assert excess_kurtosis(np.ones((3, 4))) == 0.0


@pytest.mark.parametrize(("length", "lags"), [(40, 10), (8, 2), (200, 32)])
def test_the_part_of_the_degrees_left_is_bartlett_s(length: int, lags: int) -> None:
    white = RNG.normal(size=(3, length + 4))
    smooth = np.stack([white[:, k : k + length] for k in range(5)]).sum(0)
    smooth -= smooth.mean(1, keepdims=True)
    total = 0.0
    for lag in range(1, lags + 1):
        products = [row[i] * row[i + lag] for row in smooth for i in range(length - lag)]
        total += (np.mean(products) / np.mean(smooth**2)) ** 2 - 1 / len(products)
    assert effective_fraction(smooth) == pytest.approx(1 / (1 + 2 * max(total, 0)))
    assert effective_fraction(smooth) < 0.8 or length == 8


def test_few_or_equal_lines_keep_their_degrees() -> None:
    assert effective_fraction(np.tile([1.0, 1, -1, -1], 2)[None, :7]) == 1.0
    assert effective_fraction(np.zeros((2, 40))) == 1.0
    # A product of 1 at each lag of eight values that are alike in sign: 1/(1 + 2·(1 − 1/7 + 1 − 1/6)).
    assert effective_fraction(np.ones((1, 8))) == pytest.approx(1 / (1 + 2 * (2 - 1 / 7 - 1 / 6)))


def spatial(cube: np.ndarray) -> list[list[tuple[float, float]]]:
    """Mean squares of total, pixel, row and column of the mean frame less the temporal ones over n."""
    n, height, width = cube.shape
    mean = cube.mean(0) - cube.mean()
    rows, columns = mean.mean(1), mean.mean(0)
    rest = mean - rows[:, None] - columns[None]
    pixel = (rest**2).sum() / (height - 1) / (width - 1)
    fourth = (rest**4).mean() / (rest**2).mean() ** 2
    free = 2 * (height - 1) * (width - 1) / max(fourth - 1, 1)
    own = [
        ((lines**2).sum() / (len(lines) - 1), (len(lines) - 1) * effective_fraction(lines[None]))
        for lines in (rows, columns)
    ]
    temporal = components(stack_frames(list(cube.astype(np.uint16))))
    both = 1 - 1 / height - 1 / width

    def less(*parts: tuple[float, float]) -> list[tuple[float, float]]:
        return [(-value / n, f) for value, f in parts]

    of_noise = (temporal.pixel * both, temporal.pixel_parts[0][1])
    return [
        [(pixel * both, free), *own, *less(of_noise, temporal.row_parts[0], temporal.column_parts[0])],
        [(pixel, free), *less(*temporal.pixel_parts)],
        [own[0], (-pixel / width, free), *less(*temporal.row_parts)],
        [own[1], (-pixel / height, free), *less(*temporal.column_parts)],
    ]


PATTERN = np.random.default_rng(5).laplace(0, 40, (9, 14)) + 30 * np.random.default_rng(6).normal(size=(9, 1))
DARK = np.stack([np.rint(each * 0.2 + 500 + 0.2 * PATTERN) for each in FRAMES])
BRIGHT = np.stack([np.rint(each + 3000 + PATTERN) for each in FRAMES])


def test_fixed_pattern_is_the_spatial_variance_less_the_temporal_one() -> None:
    stacks = [stack_frames(list(cube.astype(np.uint16))) for cube in (BRIGHT, DARK)]
    bright, dark = spatial(BRIGHT), spatial(DARK)
    found = nonuniformity(stacks[1])
    # The mean is kept in float32.
    for each, parts in zip((found.total, found.pixel, found.row, found.column), dark, strict=True):
        expected = root_of(parts, "DN")
        assert each.value == pytest.approx(expected.value, rel=1e-4)
        assert each.interval == pytest.approx(expected.interval, rel=1e-4)
    assert list(found.named("dsnu").items()) == [
        ("dsnu_dn", found.total),
        ("dsnu_row_dn", found.row),
        ("dsnu_column_dn", found.column),
        ("dsnu_pixel_dn", found.pixel),
    ]
    response = photo_response(*stacks)
    for name, b, d in zip(("total", "pixel", "row", "column"), bright, dark, strict=True):
        expected = root_of([*b, *negative(d)], "DN")
        assert getattr(response, name).value == pytest.approx(expected.value, rel=1e-4)
        assert getattr(response, name).interval == pytest.approx(expected.interval, rel=1e-4)
    for two in ((stacks[1], stacks[0]), (stacks[0], stacks[0])):
        with pytest.raises(DataError, match="expected flats brighter"):
            photo_response(*two)
    assert percent(from_error(3.0, 0.5, "DN"), 200.0) == from_error(1.5, 0.25, "%")


def test_degrees_of_a_pattern_of_two_values_are_those_of_a_normal_one() -> None:
    """A fourth moment below 2 is not used: the degrees would be infinite."""
    board = 100 + 40 * ((np.arange(8)[:, None] + np.arange(10)) % 2)
    noise = np.random.default_rng(0).integers(0, 3, (4, 8, 10))
    cube = (board + noise).astype(float)
    (pixel, *_) = spatial(cube)[1:2]
    assert pixel[0][1] == pytest.approx(2 * 7 * 9)
    stack = stack_frames(list(cube.astype(np.uint16)))
    assert nonuniformity(stack).pixel.interval == pytest.approx(root_of(pixel, "DN").interval, rel=1e-4)


def test_hot_pixels_are_listed_hottest_first_across_bands() -> None:
    """Bands of 512 rows see two more on either side: a pixel at a seam is judged by all its neighbours."""
    frame = np.random.default_rng(2).integers(100, 104, (1030, 6)).astype(np.uint16)
    places = [(0, 0), (511, 2), (512, 4), (513, 1), (1023, 3), (1029, 5)]
    for order, (row, column) in enumerate(places):
        frame[row, column] = 400 + 50 * order
    found = hot_pixels(stack_frames([frame]))
    assert found.positions.tolist() == [list(each) for each in reversed(places)]
    assert (found.count, found.per_million) == (6, pytest.approx(1e6 * 6 / frame.size))
    # Deviations of −2 to 2 from a median of 101 or 102 have a median absolute deviation of 1.
    assert found.threshold_dn == pytest.approx(8 * 1.4826)
    assert hot_pixels(stack_frames([frame]), 4.0).threshold_dn == pytest.approx(4 * 1.4826)


def test_a_dark_without_noise_has_a_threshold_of_four_tenths_of_a_dn() -> None:
    frames = [np.full((20, 20), 100, np.uint16) for _ in range(8)]
    frames[0][5, 5] += 3
    for frame in frames[:4]:
        frame[9, 9] += 1
    found = hot_pixels(stack_frames(frames))
    assert found.threshold_dn == pytest.approx(0.4)
    # 0.5 is above it, 0.375 is not.
    assert found.positions.tolist() == [[9, 9]]


def test_shading_is_the_mean_of_the_middle_half_of_square_tiles_less_their_median() -> None:
    mean = np.random.default_rng(4).normal(500, 9, (13, 21)).round()
    found = dark_shading(stack_frames([mean.astype(np.uint16)]), blocks=5)
    expected = np.zeros((3, 5))
    for i in range(3):
        for j in range(5):
            tile = mean[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            low, high = np.quantile(tile, [0.25, 0.75])
            expected[i, j] = tile[(tile >= low) & (tile <= high)].mean()
    assert found == pytest.approx(expected - np.median(expected))
    # A plane lower than a tile is one row of tiles; one narrower than the blocks has tiles of a pixel.
    assert dark_shading(stack_frames([mean[:3].astype(np.uint16)]), blocks=4).shape == (1, 4)
    assert dark_shading(stack_frames([mean[:3].astype(np.uint16)])).shape == (3, 21)
    wide = np.zeros((4, 128), np.uint16)
    assert dark_shading(stack_frames([wide])).shape == (1, 32)
