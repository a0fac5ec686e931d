"""Read all directories of a TIFF-based raw file at once: metadata, raw image, end of the pixel data."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.dng_pixels import PageFacts, facts_of
from noiseflow.raw.formats.tags.metadata import Metadata, of_tiff
from noiseflow.raw.formats.tags.tiff_pages import all_pages
from noiseflow.raw.guards import decoding

__all__ = ["TiffFacts", "data_end", "tiff_facts"]

PANASONIC_NOWHERE, PANASONIC_DATA = 0xFFFFFFFF, 280
"""An RW2 file has this StripOffsets value; the tag RawDataOffset (0x118) gives the start of its pixels instead."""


@dataclass(frozen=True)
class TiffFacts:
    """Contents of the directories of a TIFF-based file.

    Parameters
    ----------
    metadata : Metadata
        Camera, ISO and exposure time from the tags.
    page : PageFacts or None
        Facts of the raw image, if the file is a DNG.
    data_end : int
        Offset in bytes just after the last pixel data.
    """

    metadata: Metadata
    page: PageFacts | None
    data_end: int


def tiff_facts(path: Path) -> TiffFacts | None:
    """Read the directories of a file; None if tifffile cannot read it, which includes some makers' variants of TIFF.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    RawError
        If the file is a DNG whose level tags contradict each other.
    """
    status = os.stat(path)
    return _facts(path, status.st_size, status.st_mtime_ns)


# An ingest looks at each file up to three times.
@lru_cache(maxsize=256)
def _facts(path: Path, size: int, modified_ns: int) -> TiffFacts | None:
    try:
        with decoding(path, "a TIFF file"):
            tiff = tifffile.TiffFile(path)
    except RawError:
        return None
    with tiff:
        try:
            with decoding(path, "a TIFF file"):
                metadata, end = of_tiff(tiff), data_end(tiff)
        except RawError:
            return None
        try:
            with decoding(path, "a DNG file"):
                page = facts_of(tiff)
        except RawError as error:
            words = str(error)
            raise RawError(words if words.startswith(str(path)) else f"{path}: {words}") from error
    return TiffFacts(metadata, page, end)


def data_end(tiff: tifffile.TiffFile) -> int:
    """Offset in bytes just after the last strip or tile of all directories."""
    end = 0
    for page in all_pages(tiff.pages):
        offsets = page.dataoffsets
        if tuple(offsets) == (PANASONIC_NOWHERE,):
            begin = page.tags.valueof(PANASONIC_DATA)
            offsets = (begin,) if isinstance(begin, int) else ()
        spans = zip(offsets, page.databytecounts, strict=False)
        end = max(end, max((offset + count for offset, count in spans), default=0))
    return end
