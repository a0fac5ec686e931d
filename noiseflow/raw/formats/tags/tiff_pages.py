"""What the directories of a TIFF or DNG file say, by tifffile."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.guards import decoding
from noiseflow.raw.patterns import MONO, cfa_of_colours

__all__ = [
    "CFA_PATTERN",
    "DNG_VERSION",
    "RAW_PHOTOMETRICS",
    "all_pages",
    "cfa_of",
    "is_dng",
    "numbers",
    "pattern_of",
    "raw_page",
]

CFA_REPEAT, CFA_PATTERN, CFA_LAYOUT, DNG_VERSION, NEW_SUBFILE_TYPE = 33421, 33422, 50711, 50706, 254
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
    except RawError:  # Damaged: its reader says how.
        return False


def raw_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """The page of a DNG that holds the full raw image, or None."""
    for page in all_pages(tiff.pages):
        kind = page.tags.get(NEW_SUBFILE_TYPE)
        if page.photometric in RAW_PHOTOMETRICS and (kind is None or kind.value == 0):
            return page
    return None


def pattern_of(page: tifffile.TiffPage) -> str:
    """The rows of a page's CFAPattern as text, for messages; empty without the tag, or for one value."""
    layout = numbers(page, CFA_LAYOUT)
    staggered = f" of CFALayout {layout[0]:g}, no rectangle," if layout not in ([], [1.0]) else ""
    return "/".join(_pattern(page)) + staggered


def cfa_of(page: tifffile.TiffPage) -> str | None:
    """The array of a page's CFAPattern; `MONO` without the tag, None if it is not supported."""
    rows = _pattern(page)
    if not rows:
        return MONO
    return cfa_of_colours(rows) if numbers(page, CFA_LAYOUT) in ([], [1.0]) else None


def _pattern(page: tifffile.TiffPage) -> list[str]:
    """Colours of CFAPattern row by row: R, G, B, and C, M, Y, W by TIFF/EP's numbers 3 to 6."""
    codes = [int(value) for value in numbers(page, CFA_PATTERN)]
    if len(codes) < 2:
        return []
    letters = "".join("RGBCMYW"[code] if 0 <= code < 7 else "?" for code in codes)
    repeat = [int(value) for value in numbers(page, CFA_REPEAT)]
    columns = repeat[1] if len(repeat) == 2 and repeat[0] * repeat[1] == len(codes) else math.isqrt(len(codes))
    return [letters[start : start + columns] for start in range(0, len(letters), columns)]


def numbers(page: tifffile.TiffPage, tag: int) -> list[float]:
    """Values of a numeric tag, rationals divided out, a ratio to 0 being NaN; empty if the page has none."""
    entry = page.tags.get(tag)
    if entry is None:
        return []
    value = list(entry.value) if isinstance(entry.value, bytes) else entry.value
    values: list[float] = np.ravel(np.asarray(value, np.float64)).tolist()
    if entry.dtype in RATIONALS:
        return [top / bottom if bottom else math.nan for top, bottom in zip(values[::2], values[1::2], strict=True)]
    return values
