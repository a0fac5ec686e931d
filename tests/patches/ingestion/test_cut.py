"""Patches against plain slices of the mosaic, however its pixels lie in memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import frame

from noiseflow.patches import IngestOptions
from noiseflow.patches.ingestion.cut import cut
from noiseflow.patches.pairings import Pair
from noiseflow.patches.sources import Frame
from noiseflow.raw.bayer import BAYER_PHASES, offsets


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
    pair = Pair(Frame(Path("frame"), lambda: image), 0, image, None, 0.0)
    found = cut(pair, options, 0, 0, sink=lambda noisy, _: taken.append(noisy.copy()))
    patches = np.concatenate(taken)
    assert len(patches) == len(found.table) == (drawn or (shape[0] // 2 // size) * (shape[1] // 2 // size))
    assert len(set(zip(found.table["y"].tolist(), found.table["x"].tolist(), strict=True))) == len(patches)
    for patch, place in zip(patches, found.table, strict=True):
        for plane, (row, column) in zip(patch, offsets(cfa), strict=True):
            every = codes[row::2, column::2]
            expected = every[place["y"] : place["y"] + size, place["x"] : place["x"] + size]
            np.testing.assert_array_equal(plane, expected)
