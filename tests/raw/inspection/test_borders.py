"""Segments that lie in an empty border of a frame, and those that do not."""

import numpy as np
import pytest

from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection import frame, inspected
from noiseflow.raw.inspection.frame import BELOW_DN
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


@pytest.mark.parametrize(("below", "said"), [(6 * 5 + BELOW_DN, False), (6 * 5 + BELOW_DN + 1, True)])
def test_dark_parts_are_below_black_by_more_than_six_sigma_of_their_noise(
    below: float, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A twentieth of the frame in the dark, of noise of 5 DN; the rest far above."""
    monkeypatch.setattr(frame, "noise_below", lambda plane, black, most: 5.0)
    rng, black = np.random.default_rng(0), 600
    codes = rng.integers(2000, 9000, (128, 160))
    codes[:8] = black - below
    image = RawImage(codes.astype(np.uint16), "RGGB", (float(black),) * 4, 16383.0, 100.0, source="a.dng")
    words = [each for each in inspected(image).cautions if "dark parts lie" in each]
    assert bool(words) == said
