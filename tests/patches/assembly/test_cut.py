"""Patches against plain slices of the mosaic, however its pixels lie in memory, and which of them are kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import WHITE, frame
from hypothesis import given, settings, strategies as st

from noiseflow.patches import IngestOptions
from noiseflow.patches.assembly.cut import Selection, cut_patches, select_patches
from noiseflow.patches.pairings import FramePair
from noiseflow.patches.sources import Frame
from noiseflow.raw import RawImage
from noiseflow.raw.bayer import BAYER_PHASES, offsets
from noiseflow.raw.patterns import CELLS, cell_side


def beside(codes: np.ndarray) -> np.ndarray:
    """With a margin around it, as LibRaw's memory has."""
    wide = np.full((codes.shape[0] + 3, codes.shape[1] + 5), 9, np.uint16)
    wide[1:-2, 3:-2] = codes
    return wide[1:-2, 3:-2]


LYING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "by words of two pixels": lambda codes: codes,
    "by words within a margin": beside,
    "column by column": np.asfortranarray,
    "every second number": lambda codes: np.repeat(codes, 2, axis=1)[:, ::2],
    "other byte order": lambda codes: codes.astype(">u2"),
    "32 bits": lambda codes: codes.astype(np.int32),
}


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("cfa", [*BAYER_PHASES, "MONO"])
@pytest.mark.parametrize(("shape", "size", "drawn"), [((66, 101), 8, None), ((67, 90), 5, None), ((66, 101), 8, 9)])
def test_patches_are_slices_of_every_second_pixel(
    lying: str, cfa: str, shape: tuple[int, int], size: int, drawn: int | None
) -> None:
    codes = np.random.default_rng(0).integers(1, 1000, shape).astype(np.uint16)
    image = frame(LYING[lying](codes), cfa)
    taken: list[np.ndarray] = []
    options = IngestOptions(patch_size=size, patches_per_frame=drawn)
    pair = FramePair(Frame(Path("frame"), lambda: image), 0, image, None, 0.0)
    corners = select_patches(pair, options, 0).corners
    table = cut_patches(pair, corners, size, 0, sink=lambda noisy, *_: taken.append(noisy.copy()))
    patches = np.concatenate(taken)
    assert len(patches) == len(table) == (drawn or (shape[0] // 2 // size) * (shape[1] // 2 // size))
    assert len(set(zip(table["y"].tolist(), table["x"].tolist(), strict=True))) == len(patches)
    for patch, place in zip(patches, table, strict=True):
        for plane, (row, column) in zip(patch, offsets(cfa), strict=True):
            every = codes[row::2, column::2]
            expected = every[place["y"] : place["y"] + size, place["x"] : place["x"] + size]
            np.testing.assert_array_equal(plane, expected)


def pair_of(codes: np.ndarray, cfa: str, valid: np.ndarray | None = None) -> FramePair:
    image = frame(codes, cfa)
    return FramePair(Frame(Path("frame"), lambda: image), 0, image, None, 0.0, valid)


def packed(pair: FramePair) -> FramePair:
    """The same frame as a burst has it: its codes beside an image without pixels."""
    empty = np.broadcast_to(np.uint16(0), pair.noisy.mosaic.shape)
    return replace(pair, noisy=replace(pair.noisy, mosaic=empty), codes=pair.noisy.planes())


def expected(pair: FramePair, options: IngestOptions) -> tuple[list[tuple[int, int]], int, int]:
    """Corners kept, and the number of patches clipped and masked, patch by patch in plain NumPy."""
    planes, size, kept, clipped, masked = pair.noisy.planes(), options.patch_size, [], 0, 0
    for y in range(0, planes.shape[1] - size + 1, size):
        for x in range(0, planes.shape[2] - size + 1, size):
            patch = planes[:, y : y + size, x : x + size]
            valid = np.ones(1) if pair.valid is None else pair.valid[:, y : y + size, x : x + size]
            if ((patch == 0) | (patch >= WHITE)).mean() > options.max_clipped:
                clipped += 1
            elif (~valid.astype(bool)).mean() > options.max_masked:
                masked += 1
            else:
                kept.append((y, x))
    return kept, clipped, masked


def told(chosen: Selection) -> tuple[list[tuple[int, int]], int, int]:
    return list(map(tuple, chosen.corners.tolist())), chosen.clipped, chosen.masked


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    cfa=st.sampled_from(("RGGB", "GBRG", "MONO")),
    height=st.integers(20, 150),
    width=st.integers(20, 90),
    size=st.integers(2, 10),
    most=st.sampled_from((0.0, 0.01, 0.05)),
    clipped=st.integers(0, 60),
    masked=st.integers(0, 60),
    seed=st.integers(0, 100),
)
def test_clipped_and_masked_patches_are_left_out(
    cfa: str, height: int, width: int, size: int, most: float, clipped: int, masked: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, int(WHITE), (height, width)).astype(np.uint16)
    codes[rng.integers(0, height, clipped), rng.integers(0, width, clipped)] = rng.choice(
        [0, int(WHITE), int(WHITE) + 9], clipped
    )
    valid = np.ones((4, height // 2, width // 2), bool)
    valid[rng.integers(0, 4, masked), rng.integers(0, height // 2, masked), rng.integers(0, width // 2, masked)] = False
    options = IngestOptions(patch_size=size, max_clipped=most, max_masked=most)
    for pair in (pair_of(codes, cfa), pair_of(codes, cfa, valid)):
        assert told(select_patches(pair, options, 0)) == expected(pair, options)
        assert told(select_patches(packed(pair), options, 0)) == expected(pair, options)


@pytest.mark.parametrize("place", [(0, 0), (299, 299), (63, 64), (64, 63), (255, 255)])
def test_one_clipped_pixel_takes_one_patch(place: tuple[int, int]) -> None:
    codes = np.full((300, 300), 500, np.uint16)
    codes[place] = int(WHITE)
    whole = max(place) < 2 * 8 * 18
    chosen = select_patches(pair_of(codes, "RGGB"), IngestOptions(patch_size=8), 0)
    assert (len(chosen.corners), chosen.clipped) == (18 * 18 - whole, whole)


def test_a_published_grid_is_kept_to() -> None:
    codes = np.full((100, 100), 500, np.uint16)
    codes[27, 31] = 0
    grid = np.array([[3, 4], [3, 13], [10, 11], [10, 30]])
    chosen = select_patches(pair_of(codes, "RGGB"), IngestOptions(patch_size=8), 0, lambda shape, size: grid)
    assert told(chosen) == ([(3, 4), (3, 13), (10, 30)], 1, 0)


@pytest.mark.parametrize("cfa", ["RGGB", CELLS["quad"], CELLS["xtrans"]])
def test_pixels_clip_at_their_own_place_in_any_cell(cfa: str) -> None:
    """The bright lower right corner clips: it is masked, and nothing else, whatever the side of the cell."""
    codes = np.full((144, 144), 100, np.uint16)
    codes[72:, 72:] = WHITE
    image = RawImage(codes, cfa, (64.0,) * cell_side(cfa) ** 2, WHITE, iso=100.0)
    clean = image.planes().astype(np.float32)
    pair = FramePair(Frame(Path("frame"), lambda: image), 0, image, clean, 0.0)
    chosen = select_patches(pair, IngestOptions(patch_size=8), 0, signal=clean)
    assert chosen.valid is not None
    np.testing.assert_array_equal(chosen.valid, clean < WHITE)
