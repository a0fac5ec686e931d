"""Any file that LibRaw decodes, through rawpy; make and model from exifread."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import exifread
import numpy as np
import rawpy

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import MONO, offsets
from noiseflow.raw.decoding import decoding
from noiseflow.raw.formats import dng_pixels
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.truncation import refuse_truncated

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .rwl "
    ".sr2 .srf .srw .x3f".split()
)

NOISE_PROFILE_TAG = 0xC761
ISO_SATURATED = 65535


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read the visible area of a raw file.

    Parameters
    ----------
    path : Path
        Any raw file that LibRaw knows.
    settings : RawSettings
        Their areas count from the visible area's first pixel.

    Returns
    -------
    RawImage
        Mosaic as stored; the CFA phase is that of the visible area's first pixel.  The
        black level is the file's, or else the mean of each plane over its masked pixels.

    Raises
    ------
    RawError
        The file is damaged, truncated or no raw file, or its pattern is not 2×2 Bayer or monochrome.
    """
    refuse_truncated(path)
    tags = _exif(path)
    page = dng_pixels.page_facts(path)
    if page is not None and page.beyond_libraw:
        return dng_pixels.read(path, settings, **_said(tags))
    if page is not None and page.plain and (plain := _plain(path, settings, page, tags)) is not None:
        return plain
    try:
        # Not closed: the mosaic is LibRaw's own memory, and keeps what it belongs to.
        raw = rawpy.imread(str(path))
        check_size(path, raw.sizes.raw_height, raw.sizes.raw_width)
        mosaic = raw.raw_image_visible
        if mosaic.ndim != 2:
            raise RawError(f"{path}: holds {mosaic.ndim}-D pixels (linear or sensor-stacked colour); expected a mosaic")
        cfa = _cfa(raw, path)
        black = _black_levels(raw, cfa)
        if page is not None and page.masked:
            black = page.black_of(raw.raw_image, cfa, raw.sizes.top_margin, raw.sizes.left_margin) or black
        white = float(raw.white_level)
        said = _said(tags, raw.other.iso_speed, raw.other.shutter_speed)
        said["neutral"] = None if cfa == MONO else _neutral([float(gain) for gain in raw.camera_whitebalance])
    # rawpy refuses patterns that it cannot describe by NotImplementedError.
    except (rawpy.LibRawError, NotImplementedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        raise RawError(f"{path}: LibRaw cannot decode it ({reason}); is the file whole and a raw file?") from error
    return settings.image(mosaic, str(path), cfa=cfa, black=_with_fractions(black, tags, cfa), white=white, **said)


def _plain(path: Path, settings: RawSettings, page: dng_pixels.PageFacts, tags: dict[str, Any]) -> RawImage | None:
    """A DNG whose pixels need no decoding; None if its tags do not tell what LibRaw may know from elsewhere."""
    iso, exposure_s = (_number(tags.get(f"EXIF {name}")) for name in ("ISOSpeedRatings", "ExposureTime"))
    if not (0 < iso < np.inf and 0 < exposure_s < np.inf):
        return None
    # LibRaw holds these as float32.
    gains = [float(1 / np.float32(value)) for value in page.neutral if value > 0]
    image = dng_pixels.read(path, settings, **_said(tags, np.float32(iso), np.float32(exposure_s)))
    return image if image.cfa == MONO else replace(image, neutral=_neutral(gains))


def _said(tags: dict[str, Any], iso: float = 0.0, exposure_s: float = 0.0) -> dict[str, Any]:
    """What the Exif tags say, after LibRaw where it says something."""
    iso = iso or _number(tags.get("EXIF ISOSpeedRatings"))
    if iso == ISO_SATURATED:
        # Exif 2.3: the 32-bit tag tells an ISO that 16 bits cannot; LibRaw follows it for some makes only.
        iso = _number(tags.get("EXIF RecommendedExposureIndex")) or iso
    return {
        "iso": float(iso) or None,
        "exposure_s": float(exposure_s) or _number(tags.get("EXIF ExposureTime")) or None,
        "make": str(tags.get("Image Make", "")).strip(),
        "model": str(tags.get("Image Model", "")).strip(),
        "noise_profile": _noise_profile(tags),
    }


def _number(tag: Any) -> float:
    return (_numbers(tag) or [0.0])[0]


def _numbers(tag: Any) -> list[float]:
    """Values of a tag; none if it is absent or damaged, such as a ratio to 0."""
    try:
        return [float(value) for value in np.ravel(np.asarray(getattr(tag, "values", []), dtype=object))]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return []


def _cfa(raw: Any, path: Path) -> str:
    pattern = raw.raw_pattern
    if pattern is None or raw.num_colors == 1:
        return MONO
    letters = raw.color_desc.decode()
    colours = np.array([[letters[index] for index in row] for row in pattern])
    if colours.shape != (2, 2):
        kind = "X-Trans" if colours.shape == (6, 6) else "colour filter array"
        rows = "/".join("".join(row) for row in colours)
        raise RawError(
            f"{path}: {colours.shape[0]}×{colours.shape[1]} {kind} pattern {rows} is not supported; expected 2×2 Bayer"
        )
    return "".join(colours.ravel())


def _neutral(gains: Sequence[float]) -> tuple[float, float, float] | None:
    """The inverse of the white balance as shot; None where the file does not say it, or all colours are equal."""
    if len(gains) < 3 or not all(0 < gain < np.inf for gain in gains[:3]) or gains[0] == gains[1] == gains[2]:
        return None
    red, green, blue = gains[:3]
    least = min(red, green, blue)
    return least / red, least / green, least / blue


def _black_levels(raw: Any, cfa: str) -> tuple[float, ...]:
    levels = [float(level) for level in raw.black_level_per_channel]
    if cfa == MONO:
        return (levels[0],)
    # LibRaw lists levels by its colour index (R, G, B, G2), and which green is "G2"
    # depends on the phase: look each plane's index up in the pattern.
    by_offset = {(row, column): levels[raw.raw_pattern[row, column]] for row in (0, 1) for column in (0, 1)}
    return tuple(by_offset[offset] for offset in offsets(cfa))


def _with_fractions(black: tuple[float, ...], tags: dict[str, Any], cfa: str) -> tuple[float, ...]:
    # A DNG's black levels may be fractions, which LibRaw cuts off.
    tag = tags.get("Image BlackLevel")
    raster = _numbers(tag)
    if len(raster) == 4 and len(black) == 4:
        raster = [raster[2 * row + column] for row, column in offsets(cfa)]
    exact = tuple(raster) * (len(black) if len(raster) == 1 else 1)
    return exact if tuple(float(int(level)) for level in exact) == black else black


def _exif(path: Path) -> dict[str, Any]:
    try:
        with decoding(path, "Exif"), path.open("rb") as file:
            return dict(exifread.process_file(file, details=False))
    except RawError:
        # Without its Exif a file may still be whole: LibRaw judges it.
        return {}


def _noise_profile(tags: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    tag = tags.get("Image NoiseProfile") or tags.get(f"Image Tag 0x{NOISE_PROFILE_TAG:04X}")
    values = _numbers(tag)
    return tuple(zip(values[::2], values[1::2], strict=False))
