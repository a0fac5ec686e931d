"""Read mosaics from PNG files: greyscale, 8 or 16 bit."""

import struct
from pathlib import Path

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.guards import check_size, decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset((".png",))

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">4xIIBB")
"""The IHDR chunk from its type on: width, height, bits per sample, colour type."""

COLOUR_TYPES = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a greyscale PNG file as a mosaic.

    Parameters
    ----------
    path : Path
        The PNG file.
    settings : RawSettings
        The user's settings; the file itself gives no array and no levels.

    Raises
    ------
    RawError
        If the file is damaged, or an ordinary picture in colour, with a palette, or of fewer than 8 bits.

    References
    ----------
    ISO/IEC 15948:2004, 11.2.2 (IHDR).
    """
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(12 + HEADER.size)
    if len(head) < 12 + HEADER.size or not head.startswith(SIGNATURE) or head[12:16] != b"IHDR":
        raise RawError(f"{path}: is no PNG file, whatever its name says")
    width, height, bits, colours = HEADER.unpack(head[12:])
    check_size(path, height, width)
    if colours != 0 or bits not in (8, 16):
        kind = COLOUR_TYPES.get(colours, f"colour type {colours}")
        raise RawError(
            f"{path}: an ordinary picture ({kind}, {bits} bit); expected the mosaic of a "
            "sensor, greyscale with 8 or 16 bit"
        )
    with decoding(path, "a PNG file"), Image.open(path, formats=("PNG",)) as picture:
        pixels = np.asarray(picture)
    return settings.image(pixels.astype(np.uint8 if bits == 8 else np.uint16), str(path))
