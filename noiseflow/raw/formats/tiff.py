"""Read mosaics from plain TIFF files: one sample per pixel, 8 to 32 bit, either byte order; each page is a frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.raw.formats.tags.combined import said_of_texts
from noiseflow.raw.formats.tags.dng_levels import levels_of
from noiseflow.raw.formats.tags.metadata import of_tiff
from noiseflow.raw.formats.tags.tiff_facts import data_end
from noiseflow.raw.formats.tags.tiff_pages import cfa_of, is_dng, pattern_of
from noiseflow.raw.guards import HOW_PLANES, check_size, decoding, refuse_planes_last, refuse_truncated
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import MONO
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.stacks import refuse_hidden_frames

__all__ = ["SUFFIXES", "count", "read", "recognises"]

SUFFIXES = frozenset((".tif", ".tiff"))

MIN_IS_BLACK, CFA_PHOTOMETRIC = 1, 32803
DESCRIPTION, MICRO_MANAGER = 270, 51123

MAX_FRAMES = 100_000
"""Pages of a file that are read at most."""


def recognises(path: Path) -> bool:
    """Whether a TIFF file is not a DNG; DNGs are read by `noiseflow.raw.formats.libraw`."""
    return not is_dng(path)


def count(path: Path) -> int:
    """Number of frames in a file: its mosaics with the shape and type of the largest."""
    with _opened(path) as (_, pages, _others):
        return len(pages)


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read a page of a TIFF file as a mosaic, with levels and metadata from its tags.

    Parameters
    ----------
    path : Path
        The TIFF file.
    settings : RawSettings
        The user's settings; they override the tags.
    frame : int
        Index of the frame, from 0.

    Raises
    ------
    RawError
        If the file is damaged, truncated or an ordinary colour picture, or lacks the frame.
    """
    with _opened(path) as (tiff, pages, others):
        refuse_truncated(path, data_end(tiff))
        if not 0 <= frame < len(pages):
            raise RawError(
                f"{path}: contains {counted(len(pages), 'frame')}, numbered from 0; there is no frame {frame}"
            )
        page = pages[frame]
        pixels = np.asarray(page.asarray())
        said = _said(path, tiff, page, known=settings.cfa is not None)
        if others:
            size = f"{page.imagelength}×{page.imagewidth}"
            words = (
                f"its frames are {counted(len(pages), 'page')} of {size}; pages of {', '.join(others)} were left out"
            )
            said["cautions"] = (*said["cautions"], f"{path}: {words}")
    return settings.image(pixels, str(path) if len(pages) == 1 else f"{path}[{frame}]", **said)


def _said(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage, *, known: bool) -> dict[str, Any]:
    """Read the tags into arguments of `RawSettings.image`; `known` if the user gave the colour filter array."""
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
        # `MONO` means that the tag is missing, not that the sensor is monochrome.
        "cfa": None if cfa == MONO else cfa,
        "black": levels.black,
        "white": levels.white,
        "iso": metadata.iso,
        "exposure_s": metadata.exposure_s,
        "make": metadata.make,
        "model": metadata.model,
        "where": where,
        "cautions": tuple(
            f"{path}: {words}"
            for words in (
                *levels.cautions,
                *metadata.cautions,
                *metadata.composite,
                *said_of_texts(path.name, _texts(first, page)),
            )
        ),
    }


def _texts(first: Any, page: tifffile.TiffPage) -> Iterator[str]:
    """Yield the descriptions of a file and of a page: ImageDescription and Micro-Manager's metadata."""
    for each in dict.fromkeys((first, page)):
        if isinstance(each, tifffile.TiffPage):
            yield from (str(each.tags.valueof(code) or "") for code in (DESCRIPTION, MICRO_MANAGER))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, list[tifffile.TiffPage], list[str]]]:
    """Open a file; yield it, the pages that are frames, and descriptions of other pages except thumbnails."""
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
        # The first page may be a thumbnail.
        main = max(mosaics, key=lambda page: int(page.imagelength) * int(page.imagewidth))
        _refuse_pictures(path, main)
        pages = [page for page in mosaics if (page.shape, page.dtype) == (main.shape, main.dtype)]
        if tiff.is_shaped or tiff.is_imagej:
            shape = tiff.series[0].shape
            refuse_hidden_frames(path, len(found), shape, int(main.imagelength), int(main.imagewidth))
        # Rows of an array (H, W, C), each written as a page.
        refuse_planes_last(path, (len(pages), int(main.imagelength), int(main.imagewidth)))
        # Pages of the same size but another type are not thumbnails: report them.
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
            f"{path}: an ordinary picture ({kind}, {counted(page.samplesperpixel, 'sample')} per pixel); expected the "
            "mosaic of a sensor, one sample per pixel" + (f"; {HOW_PLANES}" if page.samplesperpixel == 4 else "")
        )
