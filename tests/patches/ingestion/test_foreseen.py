"""What is foreseen of a frame against what cutting it gives."""

from pathlib import Path

import numpy as np
import pytest
from builders import WHITE, frame
from hypothesis import given, settings, strategies as st

from noiseflow.patches import IngestOptions
from noiseflow.patches.foreseen import MOST, foreseen
from noiseflow.patches.ingestion.cut import cut
from noiseflow.patches.pairings import Pair
from noiseflow.patches.sources import Frame


def pair_of(codes: np.ndarray, cfa: str, valid: np.ndarray | None = None) -> Pair:
    image = frame(codes, cfa)
    return Pair(Frame(Path("frame"), lambda: image), 0, image, None, 0.0, valid)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cfa=st.sampled_from(("RGGB", "GBRG", "MONO")),
    height=st.integers(20, 150),
    width=st.integers(20, 90),
    size=st.integers(2, 10),
    drawn=st.sampled_from((None, 3)),
    most=st.sampled_from((0.0, 0.01, 0.05)),
    clipped=st.integers(0, 60),
    seed=st.integers(0, 100),
)
def test_as_many_patches_are_foreseen_as_cutting_gives(
    cfa: str, height: int, width: int, size: int, drawn: int | None, most: float, clipped: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(1, int(WHITE), (height, width)).astype(np.uint16)
    codes[rng.integers(0, height, clipped), rng.integers(0, width, clipped)] = rng.choice(
        [0, int(WHITE), int(WHITE) + 9], clipped
    )
    pair = pair_of(codes, cfa)
    options = IngestOptions(patch_size=size, patches_per_frame=drawn, max_clipped=most)
    assert foreseen(pair, options, 0) == len(cut(pair, options, 0, 0).table)


def test_where_it_would_take_as_long_as_cutting_nothing_is_said() -> None:
    codes = np.full((300, 300), 500, np.uint16)
    options = IngestOptions(patch_size=8)
    assert foreseen(pair_of(codes, "RGGB"), options, 0) == 18 * 18
    assert foreseen(pair_of(codes, "RGGB", np.ones((4, 150, 150), bool)), options, 0) is None
    assert foreseen(pair_of(codes, "RGGB"), options, 0, lambda shape, size: np.zeros((1, 2), int)) is None
    codes.flat[: MOST + 1] = int(WHITE)
    assert foreseen(pair_of(codes, "RGGB"), options, 0) is None


@pytest.mark.parametrize("place", [(0, 0), (299, 299), (63, 64), (64, 63), (255, 255)])
def test_one_clipped_pixel_takes_one_patch(place: tuple[int, int]) -> None:
    codes = np.full((300, 300), 500, np.uint16)
    codes[place] = int(WHITE)
    whole = max(place) < 2 * 8 * 18
    assert foreseen(pair_of(codes, "RGGB"), IngestOptions(patch_size=8), 0) == 18 * 18 - whole
