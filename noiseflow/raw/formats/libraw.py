"""Read camera raw files with LibRaw (rawpy); levels of a DNG, and metadata, come from the tags instead."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rawpy

from noiseflow.core.errors import RawError
from noiseflow.raw.black_levels import BlackMap
from noiseflow.raw.formats import dng_pixels
from noiseflow.raw.formats.tags.metadata import ISO_SATURATED, Metadata, of_exif
from noiseflow.raw.formats.tags.tiff_facts import tiff_facts
from noiseflow.raw.guards import check_size, refuse_truncated
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import MONO, cfa_of_colours, offsets, shifted
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "glance", "read"]

SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .rwl "
    ".sr2 .srf .srw .x3f".split()
)


def glance(path: Path) -> tuple[float | None, float | None]:
    """ISO and exposure time in seconds from the tags of a TIFF-based file; None for what they lack."""
    facts = tiff_facts(path)
    return (facts.metadata.iso, facts.metadata.exposure_s) if facts is not None else (None, None)


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read the visible area of a raw file.

    Parameters
    ----------
    path : Path
        Any raw file that LibRaw can decode.
    settings : RawSettings
        The user's settings; they override the file.  Areas count from the first visible pixel.

    Returns
    -------
    RawImage
        Codes as stored; the CFA phase is that of the first visible pixel.  The black level is the
        file's or, for a DNG without one, the mean of each plane over its masked pixels.

    Raises
    ------
    RawError
        If the file is damaged, truncated or no raw file, or its pattern is not supported.
    """
    facts = tiff_facts(path)
    if facts is not None:
        refuse_truncated(path, facts.data_end)
    page = facts.page if facts is not None else None
    metadata = facts.metadata if facts is not None else of_exif(path)
    if page is not None and page.beyond_libraw:
        return dng_pixels.read(path, settings, **_said(path, metadata))
    if page is not None and page.plain and (plain := _plain(path, settings, page, metadata)) is not None:
        return plain
    try:
        # Not closed: the mosaic is a view of LibRaw's memory and keeps the file object alive.
        raw = rawpy.imread(str(path))
        check_size(path, raw.sizes.raw_height, raw.sizes.raw_width)
        mosaic = raw.raw_image_visible
        if mosaic.ndim != 2:
            raise RawError(
                f"{path}: contains {mosaic.ndim}-D pixels (linear or sensor-stacked colour); expected a mosaic"
            )
        cfa = settings.cfa or _cfa(raw, path, page)
        known = _levels(raw, cfa, page)
        said = _said(path, metadata, known.cautions, *_of_libraw(raw, page))
        said["neutral"] = None if cfa == MONO else _neutral([float(gain) for gain in raw.camera_whitebalance])
    # rawpy raises NotImplementedError for patterns that it cannot describe.
    except (rawpy.LibRawError, NotImplementedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        packed = f"; its pixels are compressed as {page.compression}" if page is not None and page.compression else ""
        raise RawError(
            f"{path}: LibRaw cannot decode it ({reason}){packed}; "
            + ("convert it to an uncompressed DNG" if packed else "is the file whole and a raw file?")
        ) from error
    said["where"] = {**known.where, **said["where"]}
    return settings.image(mosaic, str(path), cfa=cfa, black=known.black, white=known.white, **said)


@dataclass(frozen=True)
class _Known:
    """Levels of the visible area in DN, the tag or program that each came from, and cautions."""

    black: tuple[float, ...] | BlackMap
    white: float
    where: Mapping[str, str]
    cautions: tuple[str, ...]


def _levels(raw: Any, cfa: str, page: dng_pixels.PageFacts | None) -> _Known:
    """Levels of a DNG from its own tags; of other files from LibRaw."""
    white = float(raw.white_level)
    if page is None:
        return _Known(_black_levels(raw, cfa), white, dict.fromkeys(("cfa", "black", "white"), "LibRaw"), ())
    levels, stored = page.levels, raw.raw_image
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    shape = (int(raw.sizes.height), int(raw.sizes.width))
    black, said_by, cautions = levels.black_at(stored, cfa, top, left, shape)
    where = {"black": said_by, "white": "WhiteLevel" if levels.white else "bits per sample", "cfa": "CFAPattern"}
    return _Known(black, levels.white or white, where, cautions)


def _of_libraw(raw: Any, page: dng_pixels.PageFacts | None) -> tuple[float, float]:
    """ISO and exposure time in seconds from LibRaw, 0 if unknown; (0, 0) for a DNG, whose tags are more precise."""
    return (0.0, 0.0) if page is not None else (float(raw.other.iso_speed), float(raw.other.shutter_speed))


def _plain(path: Path, settings: RawSettings, page: dng_pixels.PageFacts, metadata: Metadata) -> RawImage | None:
    """Read a DNG whose pixels need no decoding; None if LibRaw would read another area."""
    if page.levels.area[0] % 2 or page.levels.area[1] % 2:
        # LibRaw would start at an even row and column instead.
        return None
    # In float32, as in LibRaw.
    gains = [float(1 / np.float32(value)) for value in page.neutral if value > 0]
    image = dng_pixels.read_stored(path, settings, page, **_said(path, metadata))
    return image if image.cfa == MONO else replace(image, neutral=_neutral(gains))


def _said(
    path: Path, metadata: Metadata, cautions: Sequence[str] = (), iso: float = 0.0, exposure_s: float = 0.0
) -> dict[str, Any]:
    """Metadata for `RawImage`: LibRaw's ISO and exposure time in seconds where above 0, otherwise the tags'."""
    where = {**metadata.where}
    where.update({name: "LibRaw" for name, value in (("iso", iso), ("exposure_s", exposure_s)) if value > 0})
    words = [*cautions, *metadata.composite]
    if iso <= 0 or iso == ISO_SATURATED:
        iso, where["iso"] = metadata.iso or iso, metadata.where.get("iso", "LibRaw")
        words += metadata.cautions
    if exposure_s <= 0:
        exposure_s = metadata.exposure_s if metadata.exposure_s is not None else -1.0
    return {
        "iso": float(np.float32(iso)) or None,
        "exposure_s": float(np.float32(exposure_s)) if exposure_s >= 0 else None,
        "make": metadata.make,
        "model": metadata.model,
        "noise_profile": metadata.noise_profile,
        "where": where,
        "cautions": tuple(f"{path}: {each}" for each in words),
    }


def _cfa(raw: Any, path: Path, page: dng_pixels.PageFacts | None) -> str:
    """Colour filter array at the first visible pixel; of a DNG from its tag, since LibRaw reads a 4×4 cell as 8×2."""
    if page is not None and page.pattern:
        if page.cfa is None:
            raise dng_pixels.unsupported(path, page.pattern)
        top, left = page.levels.area[:2]
        return shifted(page.cfa, raw.sizes.top_margin - top, raw.sizes.left_margin - left)
    pattern = raw.raw_pattern
    if pattern is None or raw.num_colors == 1:
        return MONO
    letters = raw.color_desc.decode()
    rows = ["".join(letters[index] for index in row) for row in pattern]
    cfa = cfa_of_colours(rows)
    if cfa is None:
        raise dng_pixels.unsupported(path, "/".join(rows))
    return cfa


def _neutral(gains: Sequence[float]) -> tuple[float, float, float] | None:
    """Inverse of the as-shot white-balance gains, at most 1; None if they are missing or all equal."""
    if len(gains) < 3 or not all(0 < gain < np.inf for gain in gains[:3]) or gains[0] == gains[1] == gains[2]:
        return None
    red, green, blue = gains[:3]
    least = min(red, green, blue)
    return least / red, least / green, least / blue


def _black_levels(raw: Any, cfa: str) -> tuple[float, ...]:
    levels = [float(level) for level in raw.black_level_per_channel]
    if cfa == MONO:
        return (levels[0],)
    if len(cfa) > 4:
        # LibRaw gives one level per colour, in the order R, G, B.
        return tuple(levels["RGB".index(cfa[row * math.isqrt(len(cfa)) + column])] for row, column in offsets(cfa))
    # LibRaw lists levels by its colour index (R, G, B, G2).  Which green is "G2" depends
    # on the phase, so look up each plane's index in the pattern.
    by_offset = {(row, column): levels[raw.raw_pattern[row, column]] for row in (0, 1) for column in (0, 1)}
    return tuple(by_offset[offset] for offset in offsets(cfa))
