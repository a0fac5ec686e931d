"""Read the pixels of a DNG as stored, without LibRaw: floats, deflated mosaics and plain 16-bit strips.

LibRaw scales floats to integers, fails on deflated integers, and lets the masked pixels
override the file's black level.  For plain strips it takes ten times as long as the disk read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.dng import SMALLEST
from noiseflow.raw.formats.tags.dng_levels import (
    BLACK,
    BLACK_REPEAT,
    LINEARIZATION,
    MASKED_AREAS,
    WHITE,
    Levels,
    levels_of,
)
from noiseflow.raw.formats.tags.tiff_pages import (
    DNG_VERSION,
    RAW_PHOTOMETRICS,
    all_pages,
    cfa_of,
    is_dng,
    numbers,
    pattern_of,
    raw_page,
)
from noiseflow.raw.guards import check_size, decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.settings import RawSettings

__all__ = ["PageFacts", "facts_of", "page_facts", "read", "read_stored", "unsupported"]

NEUTRAL = 50728
USUAL = {50710: [0.0, 1.0, 2.0], 50711: [1.0]}
"""CFAPlaneColor and CFALayout of an ordinary mosaic: red, green and blue on a rectangular grid.  These are the
defaults where the tags are absent."""

CHANGING = (MASKED_AREAS, LINEARIZATION, 50715, 50716, 50727)
"""Tags that make LibRaw's image or levels differ from the stored ones: masked pixels, a linearization table, black
levels by column and by row, white-balance gains."""

UNCOMPRESSED, LOSSLESS_JPEG, DEFLATE = 1, 7, (8, 32946)
COMPRESSIONS = {52546: "JPEG XL, as of DNG 1.7", 34892: "lossy JPEG"}
"""TIFF code → name of compressions that a build of LibRaw may lack."""

UNSIGNED, IEEE_FLOAT = 1, 3

FROM_LOW_BITS = 2
"""FillOrder of pixels whose first bit is a byte's lowest."""


@dataclass(frozen=True)
class PageFacts:
    """Facts from the directory of a DNG's raw image.

    Parameters
    ----------
    beyond_libraw : bool
        Whether the pixels are floats or deflated, which LibRaw cannot read.
    plain : bool
        Whether the stored pixels are exactly what LibRaw would return.
    neutral : tuple of float
        AsShotNeutral as listed; empty if the tag is absent.
    levels : Levels
        Black and white levels from the tags.
    cfa : str or None
        Colour filter array at the active area's first pixel; `MONO` without the tag, None if it is not
        supported.
    pattern : str
        The array as the tag lists it, row by row; empty without the tag.
    compression : str
        Name of the compression; empty for uncompressed pixels and lossless JPEG.
    stored : tuple of (int, int, int, str) or None
        Offset in bytes, height and width in pixels, and NumPy type of `plain` pixels that follow one another.
    """

    beyond_libraw: bool
    plain: bool
    neutral: tuple[float, ...]
    levels: Levels
    cfa: str | None
    pattern: str
    compression: str = ""
    stored: tuple[int, int, int, str] | None = None


def facts_of(tiff: tifffile.TiffFile) -> PageFacts | None:
    """Read the facts of an open DNG's raw image; None if the file is no DNG or has no raw image.

    Raises
    ------
    RawError
        If its levels contradict each other, or its pixels are packed as no reader expects.
    """
    if not tiff.pages or DNG_VERSION not in getattr(tiff.pages[0], "tags", ()):
        return None
    page = raw_page(tiff)
    if page is None:
        return None
    if page.fillorder == FROM_LOW_BITS and page.compression == UNCOMPRESSED and page.bitspersample % 8:
        raise RawError(
            f"holds pixels of {page.bitspersample} bits packed from the low bits (FillOrder 2), which LibRaw reads as "
            "packed from the high bits; convert it to 16-bit pixels, or to FillOrder 1"
        )
    alone = sum(each.photometric in RAW_PHOTOMETRICS for each in all_pages(tiff.pages)) == 1
    plain, shape = alone and _plain(page), (page.imagelength, page.imagewidth)
    bare = plain and page.is_contiguous and page.is_final and page.shape == shape
    return PageFacts(
        beyond_libraw=page.sampleformat == IEEE_FLOAT or page.compression in DEFLATE,
        plain=plain,
        neutral=tuple(numbers(page, NEUTRAL)),
        levels=levels_of(page, _first(tiff)),
        cfa=cfa_of(page),
        pattern=pattern_of(page),
        compression=_compression(page),
        stored=(page.dataoffsets[0], *shape, f"{tiff.byteorder}u2") if bare else None,
    )


def _compression(page: tifffile.TiffPage) -> str:
    """Name of a page's compression; tifffile has no name for some codes."""
    code = int(page.compression)
    if code in (UNCOMPRESSED, LOSSLESS_JPEG):
        return ""
    return COMPRESSIONS.get(code) or f"{getattr(page.compression, 'name', 'number')} ({code})"


def page_facts(path: Path) -> PageFacts | None:
    """Read the facts of a DNG's raw image from its path; None if the file is no DNG or has no raw image."""
    if not is_dng(path):
        return None
    with decoding(path, "a DNG file"), tifffile.TiffFile(path) as tiff:
        return facts_of(tiff)


def _first(tiff: tifffile.TiffFile) -> tifffile.TiffPage | None:
    page = tiff.pages[0]
    return page if isinstance(page, tifffile.TiffPage) else None


def _plain(page: tifffile.TiffPage) -> bool:
    """Whether the page stores one uncompressed 16-bit mosaic in contiguous strips, and no tag changes its codes."""
    height, width = page.imagelength, page.imagewidth
    offsets, counts = page.dataoffsets, page.databytecounts
    stored = (
        page.compression == UNCOMPRESSED
        and page.sampleformat == UNSIGNED
        and (page.bitspersample, page.samplesperpixel, page.fillorder) == (16, 1, 1)
        and not page.is_tiled
        and min(height, width) >= SMALLEST
        and sum(counts) == 2 * height * width
        and all(
            end == after for end, after in zip(map(sum, zip(offsets, counts, strict=True)), offsets[1:], strict=False)
        )
    )
    repeat = numbers(page, BLACK_REPEAT)
    black, white = numbers(page, BLACK), numbers(page, WHITE)
    levels = len(white) == 1 and 0 < white[0] < 2**16 and (repeat, len(black)) in (([1, 1], 1), ([2, 2], 4), ([], 1))
    usual = all(numbers(page, tag) in ([], values) for tag, values in USUAL.items())
    return stored and levels and usual and not any(tag in page.tags for tag in CHANGING)


def read(path: Path, settings: RawSettings, **said: Any) -> RawImage:
    """Read a DNG of float, deflated or plain pixels with tifffile; floats stay floats.

    Parameters
    ----------
    path : Path
        The DNG.
    settings : RawSettings
        The user's settings; they override the tags.
    **said
        Metadata of the frame, passed on to `RawSettings.image`.

    Raises
    ------
    RawError
        If the compression or the colour filter array is not supported, the pixels are not a mosaic of one
        sample per pixel, or the active area is empty.
    """
    with decoding(path, "a DNG file"), tifffile.TiffFile(path) as tiff:
        page = raw_page(tiff)
        if page is None or page.samplesperpixel != 1:
            raise RawError(f"{path}: contains linear colour, not a mosaic; expected one sample per pixel")
        check_size(path, page.imagelength, page.imagewidth)
        if page.is_tiled:
            check_size(path, page.tilelength, page.tilewidth)
        levels = levels_of(page, _first(tiff))
        pixels = np.asarray(page.asarray())
        if pixels.ndim != 2:
            raise RawError(f"{path}: its raw image has the shape {pixels.shape}; expected (H, W)")
        table = numbers(page, LINEARIZATION)
        if table and pixels.dtype.kind in "ui":
            # Codes beyond the table map to its last entry (DNG 1.4, chapter 5, "Linearization").
            pixels = np.asarray(table, np.uint16)[np.minimum(pixels, len(table) - 1)]
        cfa, pattern = cfa_of(page) or settings.cfa, pattern_of(page)
        white = levels.white or (1.0 if pixels.dtype.kind == "f" else 2.0**page.bitspersample - 1)
    return _active(path, settings, pixels, levels, cfa, pattern, white, said)


def read_stored(path: Path, settings: RawSettings, facts: PageFacts, **said: Any) -> RawImage:
    """Read a DNG of plain pixels by what is known of its directories, which takes a fraction of `read`'s time.

    Parameters
    ----------
    path, settings, **said
        As in `read`.
    facts : PageFacts
        Facts of the file, which is no shorter than they say.

    Raises
    ------
    RawError
        As in `read`.
    """
    if facts.stored is None or not facts.levels.white:
        return read(path, settings, **said)
    offset, height, width, kind = facts.stored
    check_size(path, height, width)
    with decoding(path, "a DNG file"):
        pixels = np.fromfile(path, kind, height * width, offset=offset).reshape(height, width)
    native = pixels.astype(np.uint16, copy=False)
    cfa = facts.cfa or settings.cfa
    return _active(path, settings, native, facts.levels, cfa, facts.pattern, facts.levels.white, said)


def _active(
    path: Path,
    settings: RawSettings,
    pixels: NDArray[Any],
    levels: Levels,
    cfa: str | None,
    pattern: str,
    white: float,
    said: dict[str, Any],
) -> RawImage:
    """Make a frame of the active area of stored pixels."""
    if cfa is None:
        raise unsupported(path, pattern)
    top, left, bottom, right = levels.area
    active = pixels[top:bottom, left:right]
    if not active.size:
        raise RawError(
            f"{path}: its active area (top, left, bottom, right) = {top, left, bottom, right} contains none of its "
            f"{pixels.shape[0]}×{pixels.shape[1]} pixels; is the file damaged?"
        )
    black, said_by, cautions = levels.black_at(pixels, cfa, top, left, (active.shape[0], active.shape[1]))
    where = {"black": said_by, "white": "WhiteLevel" if levels.white else "bits per sample", "cfa": "CFAPattern"}
    said["cautions"] = (*said.get("cautions", ()), *(f"{path}: {words}" for words in cautions))
    where.update(said.pop("where", {}))
    return settings.image(active, str(path), cfa=cfa, black=black, white=white, where=where, **said)


def unsupported(path: Path, pattern: str) -> RawError:
    """Make the error for an unsupported colour filter array.

    Parameters
    ----------
    path : Path
        The file.
    pattern : str
        Colours row by row, separated by slashes.
    """
    return RawError(
        f"{path}: its colour filter array {pattern} is not supported; expected red, green and blue in a Bayer, "
        "Quad Bayer or X-Trans pattern"
    )
