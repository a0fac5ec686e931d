"""Truncated files: LibRaw decodes what is there and fills the rest with anything."""

from pathlib import Path

import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.decoding import decoding
from noiseflow.raw.formats.tiff_pages import all_pages

__all__ = ["refuse_truncated"]


def refuse_truncated(path: Path) -> None:
    """Refuse a TIFF-based raw file (ARW, NEF, DNG, CR2, …) whose pixel data ends after the file does.

    Files of another container are let through.

    Raises
    ------
    RawError
        If a strip or tile lies beyond the end of the file.
    """
    end = 0
    try:
        with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
            for page in all_pages(tiff.pages):
                spans = zip(page.dataoffsets, page.databytecounts, strict=False)
                end = max(end, max((offset + count for offset, count in spans), default=0))
    except RawError:
        # Not TIFF, or TIFF in a maker's own dialect: LibRaw judges it.
        return
    size = path.stat().st_size
    if end > size:
        raise RawError(f"{path}: truncated: its pixel data ends at byte {end:,}, the file at {size:,}; copy it again")
