"""DNG pixels as stored: floats, deflated mosaics and masked pixels, which LibRaw does not give, and plain ones.

LibRaw scales floats to integers, fails on deflated integers, lets the masked pixels
overrule the black level that the file says, and takes ten times as long as the disk for
pixels that only need be read.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import MONO, offsets
from noiseflow.raw.decoding import decoding
from noiseflow.raw.formats.dng import SMALLEST
from noiseflow.raw.formats.tiff_pages import CFA_PATTERN, RAW_PHOTOMETRICS, all_pages, cfa_of, is_dng, numbers, raw_page
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings

__all__ = ["PageFacts", "page_facts", "read"]

ACTIVE_AREA, MASKED_AREAS, BLACK_REPEAT, BLACK, WHITE, NEUTRAL = 50829, 50830, 50713, 50714, 50717, 50728
USUAL = {50710: [0.0, 1.0, 2.0], 50711: [1.0]}
"""CFAPlaneColor and CFALayout of red, green and blue in a rectangle; without them it is the same."""

CHANGING = (MASKED_AREAS, 50712, 50715, 50716, 50727)
"""Tags by which what LibRaw tells differs from what is stored: masked pixels, a table of codes, black levels by
column and by row, gains of the white balance."""

UNCOMPRESSED, DEFLATE = 1, (8, 32946)
UNSIGNED, IEEE_FLOAT = 1, 3

Spans = tuple[tuple[int, int, int, int], ...]
"""Areas as DNG lists them: top, left, bottom, right."""


@dataclass(frozen=True)
class PageFacts:
    """What the directory of a DNG's raw image says.

    Parameters
    ----------
    beyond_libraw : bool
        Whether its pixels are floats or deflated.
    plain : bool
        Whether its pixels and levels, read as they stand, are all that LibRaw would tell.
    neutral : tuple of float
        AsShotNeutral as listed; empty if the tag is absent.
    black : tuple of float
        As listed, in DN; empty if the tag is absent.
    black_repeat : tuple of int
        Rows and columns of the cell that `black` fills.
    masked : tuple
        Areas of masked pixels: top, left, bottom, right, from the first stored pixel.
    """

    beyond_libraw: bool
    plain: bool
    neutral: tuple[float, ...]
    black: tuple[float, ...]
    black_repeat: tuple[int, int]
    masked: Spans

    def black_of(self, pixels: NDArray[Any], cfa: str, top: int, left: int) -> tuple[float, ...] | None:
        """Black level of each plane: the tag's, or else the mean over the masked pixels; None if neither tells.

        Parameters
        ----------
        pixels : ndarray, shape (H, W)
            All pixels, masked ones included.
        cfa : str
            Phase at the active area's first pixel, which is at row `top`, column `left`.
        """
        where = offsets(cfa)[: 1 if cfa == MONO else 4]
        if self.black:
            rows, columns = self.black_repeat
            cell = np.resize(np.asarray(self.black), (rows, columns))
            return tuple(float(cell[row % rows, column % columns]) for row, column in where)
        side = 1 if cfa == MONO else 2
        levels = []
        for row, column in where:
            values = [
                pixels[y0:y1, x0:x1][(row + top - y0) % side :: side, (column + left - x0) % side :: side]
                for y0, x0, y1, x1 in self.masked
            ]
            count = sum(each.size for each in values)
            if not count:
                return None
            with np.errstate(invalid="ignore", over="ignore"):
                levels.append(float(sum(each.sum(dtype=np.float64) for each in values) / count))
        return tuple(levels)


def page_facts(path: Path) -> PageFacts | None:
    """What a DNG says of its raw image; None if the file is no DNG."""
    if not is_dng(path):
        return None
    with decoding(path, "a DNG file"), tifffile.TiffFile(path) as tiff:
        page = raw_page(tiff)
        if page is None:
            return None
        facts = _facts(page)
        alone = sum(each.photometric in RAW_PHOTOMETRICS for each in all_pages(tiff.pages)) == 1
        return facts if alone else replace(facts, plain=False)


def _facts(page: tifffile.TiffPage) -> PageFacts:
    repeat = [int(value) for value in numbers(page, BLACK_REPEAT)] or [1, 1]
    areas = [int(value) for value in numbers(page, MASKED_AREAS)]
    return PageFacts(
        beyond_libraw=page.sampleformat == IEEE_FLOAT or page.compression in DEFLATE,
        plain=_plain(page),
        neutral=tuple(numbers(page, NEUTRAL)),
        black=tuple(numbers(page, BLACK)),
        black_repeat=(max(repeat[0], 1), max(repeat[-1], 1)),
        masked=tuple(zip(areas[::4], areas[1::4], areas[2::4], areas[3::4], strict=False)),
    )


def _plain(page: tifffile.TiffPage) -> bool:
    """Whether the strips are the mosaic, 16 bits a pixel, one after the other, and no tag changes what they say."""
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
    """Read a DNG of floats, of deflated or of plain pixels through tifffile; floats stay floats.

    Raises
    ------
    RawError
        A compression that is not supported, or no mosaic of one sample a pixel.
    """
    with decoding(path, "a DNG file"), tifffile.TiffFile(path) as tiff:
        page = raw_page(tiff)
        if page is None or page.samplesperpixel != 1:
            raise RawError(f"{path}: holds linear colour, no mosaic; expected one sample a pixel")
        check_size(path, page.imagelength, page.imagewidth)
        if page.is_tiled:
            check_size(path, page.tilelength, page.tilewidth)
        facts = _facts(page)
        pixels = np.asarray(page.asarray())
        if pixels.ndim != 2:
            raise RawError(f"{path}: its raw image has the shape {pixels.shape}; expected (H, W)")
        top, left, bottom, right = (int(value) for value in numbers(page, ACTIVE_AREA) or (0, 0, *pixels.shape))
        tag = page.tags.get(CFA_PATTERN)
        cfa = cfa_of(tag.value) if tag else MONO
        white = (numbers(page, WHITE) or [1.0 if pixels.dtype.kind == "f" else 2.0**page.bitspersample - 1])[0]
    if cfa is None:
        raise RawError(f"{path}: its colour filter array is not 2×2 Bayer, which alone is supported")
    black = facts.black_of(pixels, cfa, top, left) or (0.0,)
    active = pixels[top:bottom, left:right]
    if not active.size:
        raise RawError(f"{path}: its active area {top, left, bottom, right} is not within {pixels.shape}")
    return settings.image(active, str(path), cfa=cfa, black=black, white=white, **said)
