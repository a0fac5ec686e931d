"""What all rows of a frame share, found from rows that lie far apart."""

import math

import pytest
import torch
from model_table import generator
from torch import Tensor

from noiseflow.flows.camera.row_noise import NO_FLICKER
from noiseflow.models.flow.starts.frame import shared_by_frames

FRAMES, TALL, ROWS, WIDE = 200, 4, 32, 640
NONE = torch.full((2, 1, 1), NO_FLICKER, dtype=torch.float64)


def found(offset: float, light: float, drift: float, seed: int = 1) -> Tensor:
    """Of 200 frames of four bands, every other dark, the others 40 read noises bright, which share these variances.

    A row's own offset has the variance 0.01; `drift` is that of an offset which changes its sign half-way down.
    """
    draws = generator(seed)

    frame = torch.arange(FRAMES).repeat_interleave(TALL)
    top = torch.arange(TALL).repeat(FRAMES) * ROWS
    e = (40.0 * (frame % 2))[:, None, None, None, None].double().expand(-1, 1, 1, ROWS, 1)
    a, b, c = (
        math.sqrt(each) * torch.randn(FRAMES, 1, 1, 1, 1, generator=draws, dtype=torch.float64)[frame]
        for each in (offset, light, drift)
    )
    half = (1 - 2 * (top >= 2 * ROWS).double())[:, None, None, None, None]
    shared = a + e * b + half * c
    rows = shared + 0.1 * torch.randn(e.shape, generator=draws, dtype=torch.float64)
    noise = WIDE**-0.5 * torch.randn(e.shape, generator=draws, dtype=torch.float64)
    dd = torch.full_like(e, WIDE)
    sums = torch.stack([WIDE * (rows + noise), WIDE * e * (rows + noise), dd, WIDE * e, WIDE * e * e])
    index = torch.zeros(len(frame), dtype=torch.long)
    return shared_by_frames(sums, index, index, torch.stack([frame, top], 1), NONE)[:, 0, 0]


def test_an_offset_and_a_light_of_whole_frames_are_found() -> None:
    """100 frames of each light know a variance to 14 % (the offset 200, to 10 %); four of these are allowed."""
    offset, light = found(0.02, 1e-4, 0.0).tolist()
    assert offset == pytest.approx(0.02, rel=4 * 0.14)
    assert light == pytest.approx(1e-4, rel=4 * 0.16)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_where_nothing_is_shared(seed: int) -> None:
    """Rows of their own, and a drift within the frame; by chance one draw in 16,000 would show something."""
    assert found(0.0, 0.0, 0.01, seed).tolist() == [NO_FLICKER, NO_FLICKER]


def test_patches_of_one_height_tell_nothing() -> None:
    sums = torch.ones(5, 6, 1, 1, ROWS, 1, dtype=torch.float64)
    index = torch.zeros(6, dtype=torch.long)
    places = torch.stack([torch.arange(6), torch.zeros(6, dtype=torch.long)], 1)
    assert torch.equal(shared_by_frames(sums, index, index, places, NONE), NONE)
