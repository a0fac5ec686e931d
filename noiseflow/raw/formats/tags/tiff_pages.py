"""Find the pages of a TIFF or DNG file and read their numeric tags, with tifffile."""

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
"""PhotometricInterpretation of a mosaic (CFA) and of LinearRaw."""

MAX_PAGES = 64
"""Directories per level that are read at most; a camera's file has fewer than ten."""

RATIONALS = (5, 10)
"""TIFF types that store a value as two integers."""


def all_pages(pages: tifffile.TiffPages) -> Iterator[tifffile.TiffPage]:
    """Yield pages and their sub-directories, depth first, at most `MAX_PAGES` per level."""
    for index, page in enumerate(pages):
        if index == MAX_PAGES:
            return
        if not isinstance(page, tifffile.TiffPage):
            continue
        yield page
        if page.subifds and page.pages is not None:
            yield from all_pages(page.pages)


def is_dng(path: Path) -> bool:
    """Whether a file is a TIFF with the tag DNGVersion."""
    try:
        with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            return isinstance(page, tifffile.TiffPage) and DNG_VERSION in page.tags
    except RawError:  # Damaged: the reader of the format reports how.
        return False


def raw_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """Page of a DNG with the full-size raw image; None if there is none."""
    for page in all_pages(tiff.pages):
        kind = page.tags.get(NEW_SUBFILE_TYPE)
        if page.photometric in RAW_PHOTOMETRICS and (kind is None or kind.value == 0):
            return page
    return None


def pattern_of(page: tifffile.TiffPage) -> str:
    """Rows of a page's CFAPattern as text, for messages; empty without the tag, or if it has one value."""
    layout = numbers(page, CFA_LAYOUT)
    staggered = f" with the staggered CFALayout {layout[0]:g}" if layout not in ([], [1.0]) else ""
    return "/".join(_pattern(page)) + staggered


def cfa_of(page: tifffile.TiffPage) -> str | None:
    """Colour filter array from a page's CFAPattern; `MONO` without the tag, None if it is not supported."""
    rows = _pattern(page)
    if not rows:
        return MONO
    return cfa_of_colours(rows) if numbers(page, CFA_LAYOUT) in ([], [1.0]) else None


def _pattern(page: tifffile.TiffPage) -> list[str]:
    """Colours of CFAPattern row by row: R, G, B, C, M, Y, W for the TIFF/EP codes 0 to 6, ``?`` for others."""
    codes = [int(value) for value in numbers(page, CFA_PATTERN)]
    if len(codes) < 2:
        return []
    letters = "".join("RGBCMYW"[code] if 0 <= code < 7 else "?" for code in codes)
    repeat = [int(value) for value in numbers(page, CFA_REPEAT)]
    columns = repeat[1] if len(repeat) == 2 and repeat[0] * repeat[1] == len(codes) else math.isqrt(len(codes))
    return [letters[start : start + columns] for start in range(0, len(letters), columns)]


def numbers(page: tifffile.TiffPage, tag: int) -> list[float]:
    """Values of a numeric tag; empty if the page lacks it.

    Rationals are divided; a ratio with denominator 0 is NaN.

    Parameters
    ----------
    page : TiffPage
        The page.
    tag : int
        Code of the tag.
    """
    entry = page.tags.get(tag)
    if entry is None:
        return []
    value = list(entry.value) if isinstance(entry.value, bytes) else entry.value
    values: list[float] = np.ravel(np.asarray(value, np.float64)).tolist()
    if entry.dtype in RATIONALS:
        return [top / bottom if bottom else math.nan for top, bottom in zip(values[::2], values[1::2], strict=True)]
    return values
