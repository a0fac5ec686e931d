"""SER films whose header says too little."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.raw.formats.ser import HEADER, SIGNATURE, read
from noiseflow.raw.settings import RawSettings


@pytest.mark.parametrize(("level", "said"), [(20000.0, True), (2000.0, False)])
def test_pixels_of_the_other_order_are_read_and_said_where_the_depth_does_not_tell(
    tmp_path: Path, level: float, said: bool
) -> None:
    """Codes above the depth of 12 bits in either order: what was guessed by neighbours was not said."""
    codes = np.rint(np.random.default_rng(0).normal(level, 100, (48, 64))).astype(np.uint16)
    text = b"".ljust(40)
    path = tmp_path / "a.ser"
    path.write_bytes(
        HEADER.pack(SIGNATURE, 0, 8, 0, 64, 48, 12, 1, text, text, text, 0, 0) + codes.astype(">u2").tobytes()
    )
    image = read(path, RawSettings(black=(64.0,) * 4, iso=100.0))
    assert np.array_equal(image.mosaic, codes)
    assert any("big-endian" in words for words in image.cautions) == said


@pytest.mark.parametrize("depth", [1, 8, 9, 12, 16])
def test_up_to_8_bits_are_a_byte_and_more_are_two(tmp_path: Path, depth: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**depth, (48, 64)).astype("<u2" if depth > 8 else "u1")
    text = b"".ljust(40)
    path = tmp_path / "a.ser"
    path.write_bytes(HEADER.pack(SIGNATURE, 0, 9, 0, 64, 48, depth, 1, text, text, text, 0, 0) + codes.tobytes())
    image = read(path, RawSettings(black=(0.0,) * 4, iso=100.0))
    assert np.array_equal(image.mosaic, codes)
    assert (image.cfa, image.white, image.cautions) == ("GRBG", 2**depth - 1, ())
