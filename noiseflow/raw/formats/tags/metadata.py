"""Read ISO, exposure time, make, model and noise profile from any directory of a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import exifread
import numpy as np
import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.tags.combined import said_of_composite
from noiseflow.raw.formats.tags.tiff_pages import all_pages
from noiseflow.raw.guards import decoding

__all__ = ["Metadata", "of_exif", "of_tiff"]

EXIF, NOISE_PROFILE = 34665, 51041

ISO_SATURATED = 65535
"""Value of the 16-bit ISO tag for every ISO that does not fit into it."""

SAME_ISO = 0.05
"""Part by which two tags of one ISO may differ: one is rounded to a third of a step, 100 or 102."""

SENSITIVITIES = {1: "StandardOutputSensitivity", 2: "RecommendedExposureIndex", 3: "ISOSpeed"}
"""SensitivityType (Exif 2.3, table 7) → the 32-bit ISO tag that it refers to."""

NAMED = {
    "iso": {34855: "ISOSpeedRatings"},
    "exposure_s": {33434: "ExposureTime"},
    "type": {34864: "SensitivityType"},
    "StandardOutputSensitivity": {34865: "StandardOutputSensitivity"},
    "RecommendedExposureIndex": {34866: "RecommendedExposureIndex"},
    "ISOSpeed": {34867: "ISOSpeed"},
    "composite": {42080: "CompositeImage"},
    "exposures": {42081: "SourceImageNumberCompositeImage"},
}
"""Field → code and name of the tag that gives it."""

RATIOS = frozenset(("ExposureTime",))
"""Tags stored as a ratio of two integers."""

Values = Mapping[str, list[float]]
"""Name of a tag → its numbers."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of a frame from the directories of its file.

    Parameters
    ----------
    iso : float or None
        ISO, if the file states it.
    exposure_s : float or None
        Exposure time in seconds, if the file states it; may be 0, as for bias frames.
    make, model : str
        Maker and model of the camera; empty if the file does not state them.
    noise_profile : tuple of (float, float)
        (S, O) as in `RawImage`.
    where : mapping
        Field → directory and tag that it was taken from.
    cautions : tuple of str
        Doubts about the ISO, as sentences for the user.
    composite : tuple of str
        Caution that several exposures were combined into the frame.
    """

    iso: float | None = None
    exposure_s: float | None = None
    make: str = ""
    model: str = ""
    noise_profile: tuple[tuple[float, float], ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    composite: tuple[str, ...] = ()


def of_tiff(tiff: tifffile.TiffFile) -> Metadata:
    """Read metadata from the Exif directory, the first directory and all sub-directories of a TIFF file, in that order.

    Parameters
    ----------
    tiff : TiffFile
        The open file.
    """
    pages = list(all_pages(tiff.pages))
    if not pages:
        return Metadata()
    places = [*_exif_directories(pages), *_directories(pages)]
    profile = next((_numbers(page.tags[NOISE_PROFILE].value) for page in pages if NOISE_PROFILE in page.tags), [])
    texts = {name: str(pages[0].tags.valueof(tag) or "").strip("\0 ") for name, tag in (("make", 271), ("model", 272))}
    return _metadata(places, profile, texts["make"], texts["model"])


def of_exif(path: Path) -> Metadata:
    """Read metadata from the Exif data of a file in any container, with exifread; empty if there are none.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        with decoding(path, "Exif"), path.open("rb") as file:
            tags: dict[str, Any] = dict(exifread.process_file(file, details=False))
    except RawError:
        # A file with damaged Exif data may still be complete: LibRaw decides.
        return Metadata()
    places: list[tuple[str, Values]] = []
    for prefix, name in (("EXIF", "Exif"), ("Image", "IFD0")):
        values = {tag: _numbers(getattr(tags.get(f"{prefix} {tag}"), "values", [])) for tag in _tag_names()}
        # exifread knows no names for these.
        for code, tag in (NAMED["composite"] | NAMED["exposures"]).items():
            values[tag] = _numbers(getattr(tags.get(f"{prefix} Tag 0x{code:04X}"), "values", []))
        places.append((name, values))
    profile = tags.get("Image NoiseProfile") or tags.get(f"Image Tag 0x{NOISE_PROFILE:04X}")
    make, model = (str(tags.get(f"Image {name}", "")).strip() for name in ("Make", "Model"))
    return _metadata(places, _numbers(getattr(profile, "values", [])), make, model)


def _tag_names() -> Iterator[str]:
    for tags in NAMED.values():
        yield from tags.values()


def _exif_directories(pages: list[tifffile.TiffPage]) -> Iterator[tuple[str, Values]]:
    for page in pages:
        tag = page.tags.get(EXIF)
        if tag is not None and isinstance(tag.value, dict):
            yield "Exif", {name: _tag_numbers(name, tag.value[name]) for name in _tag_names() if name in tag.value}


def _directories(pages: list[tifffile.TiffPage]) -> Iterator[tuple[str, Values]]:
    for number, page in enumerate(pages):
        codes = {code: name for tags in NAMED.values() for code, name in tags.items()}
        found = {name: _tag_numbers(name, page.tags[code].value) for code, name in codes.items() if code in page.tags}
        yield f"IFD{number}" if number == 0 else f"directory {number}", found


def _tag_numbers(name: str, value: Any) -> list[float]:
    """Values of a tag from tifffile, which returns a pair of integers both for a ratio and for two ISO values."""
    if name in RATIOS and isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return [value[0] / value[1]] if value[1] else []
    return _numbers(value)


def _numbers(value: Any) -> list[float]:
    """Values of a tag; empty if it is absent or damaged, such as a ratio with denominator 0."""
    try:
        return [float(each) for each in np.ravel(np.asarray(value, dtype=object))]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return []


def _metadata(places: list[tuple[str, Values]], profile: list[float], make: str, model: str) -> Metadata:
    where: dict[str, str] = {}
    exposure_s, place = _first(places, "ExposureTime", least=0.0)
    if exposure_s is not None:
        where["exposure_s"] = f"ExposureTime of {place}"
    iso, iso_place, cautions = _iso(places)
    if iso is not None:
        where["iso"] = iso_place
    pairs = tuple(zip(profile[::2], profile[1::2], strict=False))
    counts = next((values[tag] for tag in NAMED["exposures"].values() for _, values in places if tag in values), [])
    kind = _first(places, "CompositeImage", least=0.0)[0]
    composite = () if kind is None and not counts else said_of_composite(kind, counts)
    return Metadata(iso, exposure_s, make, model, pairs, where, cautions, composite)


def _first(places: list[tuple[str, Values]], tag: str, *, least: float) -> tuple[float | None, str]:
    """First value of a tag that is finite and at least `least`, and its directory; (None, "") if there is none."""
    for place, values in places:
        for value in values.get(tag, []):
            if least <= value < np.inf:
                return value, place
    return None, ""


def _iso(places: list[tuple[str, Values]]) -> tuple[float | None, str, tuple[str, ...]]:
    """ISO, the tag it came from, and cautions.

    Uses the 16-bit tag unless it is saturated, then the 32-bit tag that SensitivityType refers to, then
    any other 32-bit ISO tag.

    References
    ----------
    CIPA: Exif 2.3 (DC-008), 4.6.5, tags 0x8827 and 0x8830 to 0x8833.
    """
    iso, place = _first(places, "ISOSpeedRatings", least=1.0)
    kind, _ = _first(places, "SensitivityType", least=0.0)
    # Types 4 to 7 refer to two or three tags, which then have equal values.
    order = [SENSITIVITIES[int(kind)]] if kind in SENSITIVITIES else []
    if iso is not None and iso != ISO_SATURATED:
        named = _first(places, order[0], least=1.0)[0] if order else None
        words: tuple[str, ...] = ()
        if named is not None and abs(named - iso) > SAME_ISO * iso:
            words = (
                f"PhotographicSensitivity gives ISO {iso:g} but {order[0]}, which SensitivityType says is the same "
                f"quantity, gives {named:g}; the first is used; set another with --iso",
            )
        return iso, f"PhotographicSensitivity of {place}", words
    order += ["RecommendedExposureIndex", "StandardOutputSensitivity", "ISOSpeed"]
    for tag in order:
        value, there = _first(places, tag, least=1.0)
        if value is not None:
            return value, f"{tag} of {there}", ()
    if iso is None:
        return None, "", ()
    limit = f"the 16-bit ISO tag is at its limit of {ISO_SATURATED} and no other tag gives the ISO; give it with --iso"
    return iso, f"PhotographicSensitivity of {place}", (limit,)
