"""Blocks of a plane against loops over their pixels."""

from itertools import pairwise, product

import numpy as np
import pytest

from noiseflow.patches.pairings.frames.blocks import MIDDLE, SIDE, STRIP, Blocks, median

SHAPES = [(33, 50), (16, 16), (31, 17), (1, 40), (40, 1), (5, 7), (64, 96), (70, 15), (47, 300)]


def parts_of(length: int, count: int) -> list[slice]:
    edges = [index * length // count for index in range(count + 1)]
    return [slice(*each) for each in pairwise(edges)]


def blocks_of(shape: tuple[int, int], parts: int = 1) -> list[list[tuple[slice, slice]]]:
    """Pixels of each block, or of each part of one."""
    down, across = (max(1, length // SIDE) * min(parts, length) for length in shape)
    return [[(y, x) for x in parts_of(shape[1], across)] for y in parts_of(shape[0], down)]


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_are_those_of_the_loops(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).normal(0, 10, shape)
    blocks, places = Blocks(shape), blocks_of(shape)
    assert blocks.grid == (max(1, shape[0] // SIDE), max(1, shape[1] // SIDE)) == (len(places), len(places[0]))
    assert blocks.pixels.tolist() == [[plane[each].size for each in row] for row in places]
    for name, function in (("means", np.mean), ("maxima", np.max)):
        expected = [[function(plane[each]) for each in row] for row in places]
        assert getattr(blocks, name)(plane) == pytest.approx(np.array(expected))
    limits = np.random.default_rng(1).normal(8, 4, blocks.grid)
    above = [
        (y, x)
        for (row, column) in np.ndindex(*blocks.grid)
        for y, x in product(
            *(range(*each.indices(length)) for each, length in zip(places[row][column], shape, strict=True))
        )
        if plane[y, x] > limits[row, column]
    ]
    assert sorted(map(tuple, blocks.beyond(plane, limits).tolist())) == sorted(above)
    values = np.arange(limits.size).reshape(limits.shape)
    spread = blocks.spread(values)
    for row, column in np.ndindex(*blocks.grid):
        assert (spread[places[row][column]] == values[row, column]).all()
    at = np.array(above or [(0, 0)])
    assert np.array_equal(blocks.of_pixels(values, at), spread[at[:, 0], at[:, 1]])
    assert np.array_equal(blocks.spread(values, slice(0, 3)), spread[:3])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint16])
def test_quarters_are_those_of_the_loops(shape: tuple[int, int], dtype: type) -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (2, *shape)).astype(dtype)
    blocks = Blocks(shape)
    high, wide = blocks.halves
    assert (high, wide) == (min(2, shape[0]), min(2, shape[1]))
    quarters, places = blocks.quarters(planes), blocks_of(shape, 2)
    down, across = blocks.grid
    assert quarters.shape == (2, down, across, high * wide)
    for plane, row, column in np.ndindex(2, down * high, across * wide):
        found = quarters[plane, row // high, column // wide, wide * (row % high) + column % wide]
        assert found == pytest.approx(planes[plane][places[row][column]].mean(dtype=np.float64), rel=1e-6)
    whole = blocks.of_quarters(quarters)
    assert whole[1] == pytest.approx(blocks.means(planes[1].astype(np.float64)), rel=1e-6)
    assert blocks.middles(planes) == pytest.approx(np.median(quarters, -1))


@pytest.mark.parametrize("shape", SHAPES)
def test_medians_are_of_every_second_row_of_as_many_pixels(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).normal(0, 10, shape)
    places = blocks_of(shape)
    height = min(each[0].stop - each[0].start for row in places for each in row)
    width = min(each[1].stop - each[1].start for row in places for each in row)
    expected = [
        [np.median(plane[y.start : y.start + height : 2, x.start : x.start + width]) for y, x in row] for row in places
    ]
    assert Blocks(shape).medians(plane) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("most", [None, 1, 3])
def test_strips_are_the_rows_of_blocks_in_turn(most: int | None) -> None:
    shape = (16 * 19 + 5, 40)
    plane, whole = np.random.default_rng(0).normal(0, 1, shape), Blocks(shape)
    parts = list(whole.strips(most))
    assert [part.grid[0] for part in parts[:-1]] == [most or STRIP] * (len(parts) - 1)
    assert sum(part.grid[0] for part in parts) == whole.grid[0]
    assert [part.rows.start for part in parts[1:]] == [part.rows.stop for part in parts[:-1]]
    assert np.concatenate([part.means(plane[part.rows]) for part in parts]) == pytest.approx(whole.means(plane))
    assert np.concatenate([part.pixels for part in parts]).tolist() == whole.pixels.tolist()
    found = np.concatenate([part.quarters(plane[part.rows][None])[0] for part in parts])
    assert found == pytest.approx(whole.quarters(plane[None])[0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_the_median_is_numpy_s(count: int) -> None:
    values = np.random.default_rng(count).normal(0, 1, (50, count))
    assert median(values) == pytest.approx(np.median(values, -1))


def test_the_median_of_four_means_has_the_stated_variance() -> None:
    values = np.random.default_rng(0).normal(0, 1, (400_000, 4))
    assert 4 * float(np.median(values, -1).var()) == pytest.approx(MIDDLE, rel=0.01)
