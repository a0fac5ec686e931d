"""What the directories of a TIFF or DNG file say, by tifffile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from noiseflow.raw.bayer import BAYER_PHASES, MONO
from noiseflow.raw.decoding import decoding

__all__ = ["CFA_PATTERN", "DNG_VERSION", "RAW_PHOTOMETRICS", "all_pages", "cfa_of", "is_dng", "numbers", "raw_page"]

CFA_PATTERN, DNG_VERSION, NEW_SUBFILE_TYPE = 33422, 50706, 254
RAW_PHOTOMETRICS = (32803, 34892)
"""CFA and LinearRaw."""

MAX_PAGES = 64
"""Directories that are looked at; a camera's file has fewer than ten."""

RATIONALS = (5, 10)
"""TIFF types of two integers each."""


def all_pages(pages: tifffile.TiffPages) -> Iterator[tifffile.TiffPage]:
    """Pages and their sub-directories, depth first, at most `MAX_PAGES` of each."""
    for index, page in enumerate(pages):
        if index == MAX_PAGES:
            return
        if not isinstance(page, tifffile.TiffPage):
            continue
        yield page
        if page.subifds and page.pages is not None:
            yield from all_pages(page.pages)


def is_dng(path: Path) -> bool:
    """Whether a file is TIFF and says that it is a DNG."""
    try:
        with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            return isinstance(page, tifffile.TiffPage) and DNG_VERSION in page.tags
    except Exception:  # Damaged: its reader says how.
        return False


def raw_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """The page of a DNG that holds the full raw image, or None."""
    for page in all_pages(tiff.pages):
        kind = page.tags.get(NEW_SUBFILE_TYPE)
        if page.photometric in RAW_PHOTOMETRICS and (kind is None or kind.value == 0):
            return page
    return None


def cfa_of(pattern: Any) -> str | None:
    """The phase that a CFAPattern tag of 0, 1, 2 for R, G, B says; None if it is no 2×2 Bayer."""
    letters = "".join("RGB"[index] if index < 3 else "?" for index in np.ravel(list(pattern)).astype(int))
    return letters if letters in (*BAYER_PHASES, MONO) else None


def numbers(page: tifffile.TiffPage, tag: int) -> list[float]:
    """Values of a numeric tag, rationals divided out; empty if the page has none."""
    entry = page.tags.get(tag)
    if entry is None:
        return []
    value = list(entry.value) if isinstance(entry.value, bytes) else entry.value
    values: list[float] = np.ravel(np.asarray(value, np.float64)).tolist()
    if entry.dtype in RATIONALS:
        return [top / bottom if bottom else 0.0 for top, bottom in zip(values[::2], values[1::2], strict=True)]
    return values
