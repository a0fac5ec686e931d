"""Mosaics in plain TIFF files: one sample a pixel, 8 to 32 bit, either byte order; a page is a frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.tags.dng_levels import levels_of
from noiseflow.raw.formats.tags.metadata import of_tiff
from noiseflow.raw.formats.tags.tiff_facts import data_end
from noiseflow.raw.formats.tags.tiff_pages import cfa_of, is_dng, pattern_of
from noiseflow.raw.guards import HOW_PLANES, check_size, decoding, refuse_planes_last, refuse_truncated
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import MONO
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "count", "read", "recognises"]

SUFFIXES = frozenset((".tif", ".tiff"))

MIN_IS_BLACK, CFA_PHOTOMETRIC = 1, 32803

MAX_FRAMES = 100_000


def recognises(path: Path) -> bool:
    """Whether a TIFF file is no DNG, which LibRaw reads."""
    return not is_dng(path)


def count(path: Path) -> int:
    """Frames in a file: its mosaics of the largest size."""
    with _opened(path) as (_, pages, _others):
        return len(pages)


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read a page of a TIFF file as a mosaic, with the levels and metadata that its tags say.

    Raises
    ------
    RawError
        The file is damaged, or an ordinary colour picture.
    """
    with _opened(path) as (tiff, pages, others):
        refuse_truncated(path, data_end(tiff))
        if not 0 <= frame < len(pages):
            raise RawError(f"{path}: holds {len(pages)} frames; there is no frame {frame}")
        page = pages[frame]
        pixels = np.asarray(page.asarray())
        said = _said(path, tiff, page, known=settings.cfa is not None)
        if others:
            size = f"{page.imagelength}×{page.imagewidth}"
            words = f"{path}: {len(pages)} page(s) of {size} are its frames; {', '.join(others)} left out"
            said["cautions"] = (*said["cautions"], words)
    return settings.image(pixels, str(path) if len(pages) == 1 else f"{path}[{frame}]", **said)


def _said(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage, *, known: bool) -> dict[str, Any]:
    """What the tags say, as `RawSettings.image` takes it; `known` if the user says the array."""
    first = tiff.pages[0]
    levels = levels_of(page, first if isinstance(first, tifffile.TiffPage) else None)
    metadata = of_tiff(tiff)
    cfa = cfa_of(page)
    if cfa is None and not known:
        raise RawError(
            f"{path}: its colour filter array {pattern_of(page)} is not supported; expected Bayer, Quad Bayer or "
            "X-Trans"
        )
    where = {**metadata.where, "cfa": "CFAPattern", "white": "WhiteLevel", "black": levels.said_by}
    return {
        # One byte of zeros is no pattern.
        "cfa": None if cfa == MONO else cfa,
        "black": levels.black,
        "white": levels.white,
        "iso": metadata.iso,
        "exposure_s": metadata.exposure_s,
        "make": metadata.make,
        "model": metadata.model,
        "where": where,
        "cautions": tuple(f"{path}: {words}" for words in (*levels.cautions, *metadata.cautions)),
    }


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, list[tifffile.TiffPage], list[str]]]:
    """An open file, its pages that are frames, and sizes of pages that are not, but for small copies of a frame."""
    with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0]
        if not isinstance(first, tifffile.TiffPage):
            raise RawError(f"{path}: its first page is no image")
        found = [first]
        for number in range(1, min(len(tiff.pages), MAX_FRAMES)):
            page = tiff.pages[number]
            found.append(page.aspage() if isinstance(page, tifffile.TiffFrame) else page)
        mosaics = [page for page in found if _is_mosaic(page)]
        if not mosaics:
            _refuse_pictures(path, first)
        # A thumbnail may come first.
        main = max(mosaics, key=lambda page: int(page.imagelength) * int(page.imagewidth))
        _refuse_pictures(path, main)
        pages = [page for page in mosaics if (page.shape, page.dtype) == (main.shape, main.dtype)]
        # Rows of an array (H, W, C), each written as a page.
        refuse_planes_last(path, (len(pages), int(main.imagelength), int(main.imagewidth)))
        # Pages of another type of the same size are another exposure, not a copy of one.
        others = [
            f"{page.imagelength}×{page.imagewidth} of {page.dtype}"
            for page in found
            if (page.shape, page.dtype) != (main.shape, main.dtype) and not page.is_reduced
        ]
        yield tiff, pages, list(dict.fromkeys(others))


def _is_mosaic(page: tifffile.TiffPage) -> bool:
    return page.samplesperpixel == 1 and page.photometric in (MIN_IS_BLACK, CFA_PHOTOMETRIC)


def _refuse_pictures(path: Path, page: tifffile.TiffPage) -> None:
    check_size(path, page.imagelength, page.imagewidth)
    if page.is_tiled:
        check_size(path, page.tilelength, page.tilewidth)
    if not _is_mosaic(page):
        kind = getattr(page.photometric, "name", page.photometric)
        raise RawError(
            f"{path}: an ordinary picture ({kind}, {page.samplesperpixel} sample(s) a pixel); expected the mosaic "
            "of a sensor, one sample a pixel" + (f"; {HOW_PLANES}" if page.samplesperpixel == 4 else "")
        )
