"""Which PNG files are mosaics, and what is said of the others."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.png import read
from noiseflow.raw.settings import RawSettings

SETTINGS = RawSettings(cfa="MONO", black=(0.0,), white=255.0)


@pytest.mark.parametrize(
    ("colours", "bits", "said"),
    [
        (0, 4, "greyscale, 4 bit"),
        (2, 16, "RGB, 16 bit"),
        (3, 8, "palette, 8 bit"),
        (4, 8, "greyscale with alpha, 8 bit"),
        (6, 8, "RGB with alpha, 8 bit"),
        (5, 8, "colour type 5, 8 bit"),
    ],
)
def test_ordinary_pictures_are_called_by_their_kind(tmp_path: Path, colours: int, bits: int, said: str) -> None:
    """The IHDR chunk: its length, its name, width, height, bits and colour type (ISO/IEC 15948, 11.2.2)."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2, 2, bits, colours, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(head + bytes(1000))
    with pytest.raises(RawError, match=rf"a\.png: an ordinary picture \({said}\)"):
        read(tmp_path / "a.png", SETTINGS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_codes_are_those_of_the_file(tmp_path: Path, dtype: type) -> None:
    pixels = np.arange(24).reshape(4, 6).astype(dtype) * 9
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", SETTINGS).mosaic
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)
