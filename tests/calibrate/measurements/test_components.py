"""Pixels, rows and columns of a stack: their variances and the error of their sum, over many small stacks."""

import numpy as np
import pytest

from noiseflow.calibrate.stack import components, stack_frames
from noiseflow.core.errors import DataError

HEIGHT, WIDTH, FRAMES, DRAWS = 4, 6, 8, 1500
PIXEL, ROW, COLUMN = 1600.0, 400.0, 200.0
"""In DN²: rounding to whole codes adds a twelfth of one."""


def stacks(row: float, column: float) -> np.ndarray:
    rng = np.random.default_rng(7)
    shape = (DRAWS, FRAMES)
    noise = np.sqrt(PIXEL) * rng.normal(size=(*shape, HEIGHT, WIDTH))
    noise += np.sqrt(row) * rng.normal(size=(*shape, HEIGHT, 1)) + np.sqrt(column) * rng.normal(size=(*shape, 1, WIDTH))
    # What stays, and a drift of whole frames, are no temporal noise.
    noise += 500 * rng.normal(size=(DRAWS, 1, HEIGHT, WIDTH)) + 60 * rng.normal(size=(*shape, 1, 1))
    return np.rint(noise + 20_000).astype(np.uint16)


@pytest.mark.parametrize(("row", "column"), [(0.0, 0.0), (ROW, COLUMN)])
def test_variances_are_unbiased_and_the_error_of_their_sum_is_its_scatter(row: float, column: float) -> None:
    found = [components(stack_frames(list(frames)), temporal_correlation=False) for frames in stacks(row, column)]
    for name, truth in (("pixel", PIXEL), ("row", row), ("column", column), ("total", PIXEL + row + column)):
        values = np.array([getattr(each, name) for each in found])
        assert abs(values.mean() - truth) < 4.5 * values.std() / np.sqrt(DRAWS), name
    # A standard deviation of 1,500 draws is known to 1.9 %.  The pixels count with all their degrees, also those that
    # rows and columns have: of 24 pixels that makes the error up to 9 % too small, of a whole plane nothing.
    scatter = np.std([each.total for each in found])
    assert 0.87 < np.sqrt(np.mean([each.total_error**2 for each in found])) / scatter < 1.06


def test_one_frame_or_one_row_tells_nothing() -> None:
    rng = np.random.default_rng(0)

    def frames(*shape: int) -> list[np.ndarray]:
        return list(rng.integers(100, 200, shape).astype(np.uint16))

    with pytest.raises(DataError, match="at least two frames"):
        components(stack_frames(frames(1, 4, 6)))
    for shape in ((1, 6), (4, 1)):
        with pytest.raises(DataError, match="at least 2×2 pixels"):
            components(stack_frames(frames(3, *shape)))
    assert components(stack_frames(frames(2, 2, 2))).pixel >= 0
