"""Sides of a frame whose codes never change."""

import numpy as np
import pytest
from simulated_scenes import image

from noiseflow.patches.pairings.frames.packed_frames import PackedFrame, PackedFrames
from noiseflow.patches.pairings.pairing import without_pixels

SHAPE = (24, 36)


def burst(change: np.ndarray, level: np.ndarray | float = 200.0, frames: int = 3) -> PackedFrames:
    """Frames of one level whose pixels change by one code from frame to frame where `change` says so."""
    made = []
    for number in range(frames):
        plane = (level + number * change).astype(np.uint16)
        mosaic = plane.repeat(2, 0).repeat(2, 1)
        planes = np.array(image(mosaic).planes())
        made.append(PackedFrame(without_pixels(image(mosaic)), planes.mean((1, 2)), planes))
    return PackedFrames(made)


def masked(*sides: slice | tuple[slice, ...]) -> np.ndarray:
    found = np.zeros(SHAPE, bool)
    for side in sides:
        found[side] = True
    return found


SIDES = {
    "top": [np.s_[:3]],
    "bottom": [np.s_[-2:]],
    "left": [np.s_[:, :1]],
    "right": [np.s_[:, -5:]],
    "all": [np.s_[:3], np.s_[-2:], np.s_[:, :1], np.s_[:, -5:]],
    "none": [],
}


@pytest.mark.parametrize("name", SIDES)
def test_lines_along_the_sides_that_never_change_are_a_border(name: str) -> None:
    still = masked(*SIDES[name])
    border, words = burst(~still).still_border("scene")
    assert np.array_equal(border, still)
    assert [f"scene: {100 * still.mean():.2g} % of the frame" in each for each in words] == [True] * bool(still.any())


def test_a_line_with_a_code_of_zero_is_none() -> None:
    """Zeros are clipped noise, which does not change either; the lines outside of it are a border."""
    level = np.full(SHAPE, 200.0)
    level[2, 7] = 0
    border, _ = burst(~masked(np.s_[:5]), level).still_border("scene")
    assert not border.any()
    border, _ = burst(~masked(np.s_[:2]) & (level > 0), level).still_border("scene")
    assert np.array_equal(border, masked(np.s_[:2]))


@pytest.mark.parametrize(("part", "found"), [(17 / 36, False), (19 / 36, True)])
def test_beside_a_border_more_than_half_of_the_pixels_change(part: float, found: bool) -> None:
    change = ~masked(np.s_[:4])
    change[4, round(part * SHAPE[1]) :] = False
    border, _ = burst(change).still_border("scene")
    assert border.any() == found


@pytest.mark.parametrize(("row", "found"), [(11, False), (13, True)])
def test_lines_that_never_change_in_the_nearer_half_are_no_border(row: int, found: bool) -> None:
    """A dark part in codes too coarse for its noise has such lines in its middle too."""
    border, _ = burst(~masked(np.s_[:4], np.s_[row])).still_border("scene")
    assert border.any() == found
