"""Truncated files: LibRaw decodes what is there and fills the rest with anything."""

from collections.abc import Iterator
from pathlib import Path

import tifffile

from noiseflow.errors import RawError

__all__ = ["refuse_truncated"]


def refuse_truncated(path: Path) -> None:
    """Refuse a TIFF-based raw file (ARW, NEF, DNG, CR2, …) whose pixel data ends after the file does.

    Files of another container are let through.

    Raises
    ------
    RawError
        If a strip or tile lies beyond the end of the file.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            end = max(_ends(tiff.pages), default=0)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError):
        # Not TIFF, or TIFF in a maker's own dialect: LibRaw judges it.
        return
    size = path.stat().st_size
    if end > size:
        raise RawError(f"{path}: truncated: its pixel data ends at byte {end:,}, the file at {size:,}; copy it again")


def _ends(pages: tifffile.TiffPages) -> Iterator[int]:
    for index in range(len(pages)):
        page = pages[index]
        if not isinstance(page, tifffile.TiffPage):
            continue
        yield from (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if page.subifds and page.pages is not None:
            yield from _ends(page.pages)
