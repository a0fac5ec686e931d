"""Bare pixels without a header: what they are stands in the settings."""

from pathlib import Path

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset((".raw", ".bin"))

DTYPE = "<u2"
"""Little-endian 16 bit, unless the settings say otherwise."""


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a file of nothing but pixels, row by row.

    Raises
    ------
    RawError
        The settings do not say the size, or it is not that of the file.
    """
    if settings.size is None:
        raise RawError(
            f"{path}: has no header that says its size; give --size WIDTHxHEIGHT (and --dtype, --cfa, "
            f"--black, --white), or these lines in {path.with_suffix('.toml').name}"
        )
    width, height = settings.size
    check_size(path, height, width)
    dtype = np.dtype(settings.dtype or DTYPE)
    start = settings.header_bytes or 0
    expected, found = start + height * width * dtype.itemsize, path.stat().st_size
    if expected != found:
        raise RawError(
            f"{path}: {width}×{height} pixels of {dtype.str} after {start} bytes of header are {expected:,} bytes; "
            f"the file has {found:,}"
        )
    pixels = np.fromfile(path, dtype, height * width, offset=start)
    if len(pixels) != height * width:
        raise RawError(f"{path}: ends after {len(pixels):,} of {height * width:,} pixels; did it change while read?")
    return settings.image(pixels.reshape(height, width), str(path))
