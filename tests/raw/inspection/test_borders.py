"""Segments that lie in an empty border of a frame, and those that do not."""

import numpy as np
import pytest

from noiseflow.raw.inspection.second_looks import BORDER_PART, _empty_border


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("count", "first", "last", "border"),
    [
        (8, 1, 1, True),
        (8, 1, 0, True),
        (8, 2, 1, False),
        # A sixteenth of 48 segments is 3.
        (48, 3, 3, True),
        (48, 3, 4, False),
        (48, 4, 0, False),
    ],
)
def test_one_segment_or_a_sixteenth_at_either_side_is_a_border(
    count: int, first: int, last: int, border: bool, turned: bool
) -> None:
    assert BORDER_PART == 1 / 16
    found = np.zeros((count, 5), bool)
    found[:first], found[count - last :] = True, True
    found[count // 2, 2] = True
    mosaic = np.arange(40.0).reshape(8, 5)
    mosaic[[0, -1]] = 7.0
    if turned:
        found, mosaic = found.T, mosaic.T
    expected = found.copy()
    expected[np.nonzero(found)] = border
    middle = (2, count // 2) if turned else (count // 2, 2)
    expected[middle] = False
    assert _empty_border(found, mosaic).tolist() == expected.tolist()


def test_sides_of_two_codes_are_no_border() -> None:
    found = np.zeros((8, 5), bool)
    found[[0, -1]] = True
    mosaic = np.zeros((8, 5))
    mosaic[-1] = 1.0
    assert not _empty_border(found, mosaic).any()
