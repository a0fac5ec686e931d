"""Copy metadata from a raw file to a DNG made from it: date, lens, orientation, colour matrices."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from noiseflow.core.errors import RawError
from noiseflow.raw.formats.tags.tiff_pages import all_pages, numbers
from noiseflow.raw.guards import decoding

__all__ = ["NOISE_REDUCTION", "Carried", "carried_from", "noise_reduction"]

NOISE_REDUCTION = 0xC6F7
"""DNG tag NoiseReductionApplied: 0 for none, 1 for the maximum."""

FIRST = {
    0x0112: "Orientation",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x8298: "Copyright",
    0xC621: "ColorMatrix1",
    0xC622: "ColorMatrix2",
    0xC623: "CameraCalibration1",
    0xC624: "CameraCalibration2",
    0xC627: "AnalogBalance",
    0xC62A: "BaselineExposure",
    0xC65A: "CalibrationIlluminant1",
    0xC65B: "CalibrationIlluminant2",
    0xC714: "ForwardMatrix1",
    0xC715: "ForwardMatrix2",
}
"""Tags copied from the first directory."""

EXIF = {
    0x829D: "FNumber",
    0x8822: "ExposureProgram",
    0x9003: "DateTimeOriginal",
    0x9004: "DateTimeDigitized",
    0x9010: "OffsetTime",
    0x9011: "OffsetTimeOriginal",
    0x9012: "OffsetTimeDigitized",
    0x9202: "ApertureValue",
    0x9203: "BrightnessValue",
    0x9204: "ExposureBiasValue",
    0x9205: "MaxApertureValue",
    0x9207: "MeteringMode",
    0x9208: "LightSource",
    0x9209: "Flash",
    0x920A: "FocalLength",
    0x9291: "SubSecTimeOriginal",
    0xA402: "ExposureMode",
    0xA403: "WhiteBalance",
    0xA405: "FocalLengthIn35mmFilm",
    0xA432: "LensSpecification",
    0xA433: "LensMake",
    0xA434: "LensModel",
}
"""Tags copied from the Exif directory; maker notes, serial numbers and GPS positions are not copied."""

COLOUR_MATRIX, ILLUMINANT, D65 = 0xC621, 0xC65A, 21

KINDS = {2: "ascii", 3: "short", 4: "long", 5: "rational", 10: "srational"}
"""TIFF type codes that are copied, and their names."""

MOST = 1000
"""Tags with more values, or characters, than this are not copied."""

Entry = tuple[int, str, Any]
"""Tag, type name, values, as `noiseflow.raw.formats.dng` writes them."""


@dataclass(frozen=True)
class Carried:
    """Entries for the first and the Exif directory of a DNG to be written.

    Parameters
    ----------
    first, exif : tuple of (int, str, values)
        Tag, type name and values of each entry.
    """

    first: tuple[Entry, ...] = ()
    exif: tuple[Entry, ...] = ()

    def with_noise_reduction(self, strength: float) -> "Carried":
        """Add the tag NoiseReductionApplied.

        Parameters
        ----------
        strength : float
            How much noise was removed, 0 to 1.
        """
        return Carried((*self.first, (NOISE_REDUCTION, "rational", [(round(1000 * strength), 1000)])), self.exif)


def carried_from(path: str | Path) -> Carried:
    """Read the tags of a raw file that can be copied to a DNG; no entries if it has no readable tags.

    If the file has no colour matrix, LibRaw's matrix of its camera is used.

    Parameters
    ----------
    path : path
        The raw file.
    """
    import exifread

    path = Path(path)
    try:
        with decoding(path, "Exif"), path.open("rb") as file:
            tags: dict[str, Any] = dict(exifread.process_file(file, details=False))
    except RawError:
        return Carried()
    first = tuple(_entries(tags, "Image", FIRST))
    if all(code != COLOUR_MATRIX for code, _, _ in first):
        first = (*first, *_matrix_of_libraw(path))
    return Carried(first, tuple(_entries(tags, "EXIF", EXIF)))


def noise_reduction(path: str | Path) -> float:
    """Value of NoiseReductionApplied in a DNG, 0 to 1; 0 without the tag."""
    path = Path(path)
    try:
        with decoding(path, "a TIFF file"), tifffile.TiffFile(path) as tiff:
            said = [numbers(page, NOISE_REDUCTION) for page in all_pages(tiff.pages)]
    except RawError:
        return 0.0
    return max((each[0] for each in said if each), default=0.0)


def _entries(tags: dict[str, Any], directory: str, wanted: dict[int, str]) -> Iterator[Entry]:
    for name, tag in tags.items():
        kind = KINDS.get(getattr(tag, "field_type", 0))
        code, values = getattr(tag, "tag", None), getattr(tag, "values", None)
        if not name.startswith(f"{directory} ") or code not in wanted or kind is None or not values:
            continue
        if len(values) > MOST:
            continue
        if kind == "ascii":
            text = str(values).strip("\0 ")
            if text:
                yield code, kind, text
        elif kind.endswith("rational"):
            pairs = [(int(value.numerator), int(value.denominator)) for value in values]
            if all(bottom for _, bottom in pairs):
                yield code, kind, pairs
        else:
            yield code, kind, [int(value) for value in values]


def _matrix_of_libraw(path: Path) -> tuple[Entry, ...]:
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            matrix = raw.rgb_xyz_matrix[:3]
    except (rawpy.LibRawError, NotImplementedError, OSError):
        return ()
    if not matrix.any():
        return ()
    values = [(round(10_000 * float(value)), 10_000) for value in matrix.ravel()]
    return (COLOUR_MATRIX, "srational", values), (ILLUMINANT, "short", [D65])
