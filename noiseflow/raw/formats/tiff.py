"""Mosaics in plain TIFF files: one sample a pixel, 8 to 32 bit, either byte order."""

from pathlib import Path

import numpy as np
import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import MONO
from noiseflow.raw.decoding import decoding
from noiseflow.raw.formats.tiff_pages import CFA_PATTERN, cfa_of, is_dng
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.truncation import refuse_truncated

__all__ = ["SUFFIXES", "read", "recognises"]

SUFFIXES = frozenset((".tif", ".tiff"))

MIN_IS_BLACK, CFA_PHOTOMETRIC = 1, 32803


def recognises(path: Path) -> bool:
    """Whether a TIFF file is no DNG, which LibRaw reads."""
    return not is_dng(path)


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read the first page of a TIFF file as a mosaic.

    Raises
    ------
    RawError
        The file is damaged, or an ordinary colour picture.
    """
    refuse_truncated(path)
    with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        if not isinstance(page, tifffile.TiffPage):
            raise RawError(f"{path}: its first page is no image")
        check_size(path, page.imagelength, page.imagewidth)
        if page.is_tiled:
            check_size(path, page.tilelength, page.tilewidth)
        if page.samplesperpixel != 1 or page.photometric not in (MIN_IS_BLACK, CFA_PHOTOMETRIC):
            kind = getattr(page.photometric, "name", page.photometric)
            raise RawError(
                f"{path}: an ordinary picture ({kind}, {page.samplesperpixel} sample(s) a pixel); expected the mosaic "
                "of a sensor, one sample a pixel"
            )
        pixels = np.asarray(page.asarray())
        pattern = page.tags.get(CFA_PATTERN)
        cfa = cfa_of(pattern.value) if pattern else None
    if cfa == MONO:
        cfa = None
    return settings.image(pixels, str(path), cfa=cfa)
