"""Write a mosaic as an uncompressed DNG that LibRaw reads back to the same codes.

This module writes the TIFF structure itself because LibRaw reads the ISO only from the Exif
directory, which tifffile does not write.
"""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.ends import ENDS, sealed_end
from noiseflow.core.output.marks import MARK
from noiseflow.core.output.whole import write_bytes
from noiseflow.core.text import tag_text
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import MONO, offsets

if TYPE_CHECKING:
    from noiseflow.raw.formats.tags.carried import Carried

__all__ = ["SMALLEST", "dng_bytes", "dng_parts", "write_dng"]

SMALLEST = 22
"""Smallest height and width in pixels: LibRaw takes a smaller image for a thumbnail."""

CROP = 4
"""Pixels at each edge outside the default crop; demosaicing needs them as neighbours."""

SHORT_MAX, LONG_MAX = 2**16 - 1, 2**32 - 1

Entry = tuple[int, str, Any]
"""A TIFF directory entry: tag, type name, values."""

TYPES = {
    "byte": (1, "B"),
    "ascii": (2, "s"),
    "short": (3, "H"),
    "long": (4, "I"),
    "rational": (5, "II"),
    "undefined": (7, "B"),
    "srational": (10, "ii"),
    "double": (12, "d"),
}
"""Type name → TIFF type code and `struct` format of one value."""

XYZ_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
"""Matrix from CIE XYZ (D65) to linear sRGB, IEC 61966-2-1."""


def write_dng(
    path: str | Path,
    image: RawImage,
    *,
    noise_profile: Sequence[tuple[float, float]] | None = None,
    neutral: tuple[float, float, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Write one raw frame as a 16-bit DNG.

    Parameters
    ----------
    path : path
        File to write.  It appears under this name only once it is complete.
    image : RawImage
        Frame with any supported colour filter array; codes and white level must fit into 16 bits.
        The ISO is rounded to a whole number.
    noise_profile : sequence of (float, float), optional
        (S, O), once for all colours or once each for R, G, B: the variance of the normalised
        signal is S·signal + O.  By default the profile of the image.
    neutral : tuple of float, optional
        Response to a white surface in R, G, B, at most 1, written as AsShotNeutral.  By default that of
        the image, or (1, 1, 1) if it has none.
    overwrite : bool
        Replace an existing file of this name.

    Raises
    ------
    RawError
        If the file exists or cannot be written, or the image does not fit into a DNG.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapters 2, 4, 5; Exif 2.3, 4.6.5.
    """
    path = Path(path)
    with writing(path, overwrite=overwrite):
        content = dng_bytes(path, image, noise_profile=noise_profile, neutral=neutral)
        try:
            write_bytes(path, content, replace=overwrite)
        except OSError as error:
            raise RawError(f"{path}: cannot be written ({error.strerror})") from error


def dng_bytes(
    path: Path,
    image: RawImage,
    *,
    noise_profile: Sequence[tuple[float, float]] | None = None,
    neutral: tuple[float, float, float] | None = None,
    carried: "Carried | None" = None,
) -> bytes:
    """Content of a DNG file.

    Parameters
    ----------
    path : Path
        Name of the file, for messages; nothing is written.
    image, noise_profile, neutral
        As in `write_dng`.
    carried : Carried, optional
        Tags copied from another file; they replace the tags that this module generates.

    Raises
    ------
    RawError
        If the image does not fit into a DNG.
    """
    profile = image.noise_profile if noise_profile is None else tuple(noise_profile)
    return b"".join(_parts(path, image, profile, neutral or image.neutral or (1.0, 1.0, 1.0), carried))


def dng_parts(path: Path, image: RawImage, *, carried: "Carried | None" = None) -> tuple["bytes | memoryview", ...]:
    """Content of a DNG as in `dng_bytes`, in several parts so that the pixels need not be copied."""
    return _parts(path, image, image.noise_profile, image.neutral or (1.0, 1.0, 1.0), carried)


def _parts(
    path: Path,
    image: RawImage,
    profile: tuple[tuple[float, float], ...],
    neutral: tuple[float, float, float],
    carried: "Carried | None",
) -> tuple["bytes | memoryview", ...]:
    pixels = _pixels(path, image)
    exif = _exif_entries(path, image)
    entries = [
        *_image_entries(image, pixels),
        *_level_entries(path, image),
        *_camera_entries(image, neutral),
        *_noise_entries(path, profile),
    ]
    if carried is not None:
        entries, exif = _with(entries, carried.first), _with(exif, carried.exif)
    # The directories come before the pixels; their sizes do not depend on the offsets they contain.
    strip, exif_at = (0x0111, "long", [0]), (0x8769, "long", [0])
    first = len(_directory([*entries, strip, exif_at], 8))
    second = len(_directory(exif, 8 + first))
    strip, exif_at = (0x0111, "long", [8 + first + second]), (0x8769, "long", [8 + first])
    content = (
        struct.pack("<2sHI", b"II", 42, 8),
        _directory([*entries, strip, exif_at], 8),
        _directory(exif, 8 + first),
        np.ascontiguousarray(pixels).data.cast("B"),
    )
    return (*content, sealed_end(content))


def _with(entries: Sequence[Entry], others: Sequence[Entry]) -> list[Entry]:
    """Merge two lists of entries; `others` replace entries with the same tag."""
    return list({entry[0]: entry for entry in (*entries, *others)}.values())


def _pixels(path: Path, image: RawImage) -> NDArray[np.uint16]:
    mosaic = image.mosaic
    if min(mosaic.shape) < SMALLEST:
        raise RawError(
            f"{path}: {mosaic.shape[0]}×{mosaic.shape[1]} pixels; LibRaw needs at least {SMALLEST} a side in a DNG"
        )
    if not np.issubdtype(mosaic.dtype, np.integer) or mosaic.min() < 0 or mosaic.max() > SHORT_MAX:
        raise RawError(f"{path}: a DNG holds integers 0…{SHORT_MAX}; got {mosaic.dtype} {mosaic.min()}…{mosaic.max()}")
    return mosaic.astype("<u2")


def _image_entries(image: RawImage, pixels: NDArray[np.uint16]) -> list[Entry]:
    height, width = pixels.shape
    mono = image.cfa == MONO
    entries: list[Entry] = [
        (0x00FE, "long", [0]),
        (0x0100, "long", [width]),
        (0x0101, "long", [height]),
        (0x0102, "short", [16]),
        (0x0103, "short", [1]),
        (0x0106, "short", [34892 if mono else 32803]),
        (0x0112, "short", [1]),
        (0x0115, "short", [1]),
        (0x0116, "long", [height]),
        (0x0117, "long", [pixels.nbytes]),
        (0x011C, "short", [1]),
    ]
    if not mono:
        entries += [
            (0x828D, "short", [image.side, image.side]),
            (0x828E, "byte", ["RGB".index(colour) for colour in image.cfa]),
            (0xC616, "byte", [0, 1, 2]),
            (0xC617, "short", [1]),
            (0xC61F, "long", [CROP, CROP]),
            (0xC620, "long", [width - 2 * CROP, height - 2 * CROP]),
        ]
    return entries


def _level_entries(path: Path, image: RawImage) -> list[Entry]:
    if image.white != int(image.white) or image.white > SHORT_MAX:
        raise RawError(f"{path}: a DNG's white level is a whole number up to {SHORT_MAX}; got {image.white:g}")
    if min(image.black) < 0:
        raise RawError(f"{path}: a DNG's black levels are not negative; got {image.black}")
    # The tag lists the cell in raster order; equal levels of a large cell are written once.
    side = 1 if image.cfa == MONO else image.side
    if side > 2 and len(set(image.black)) == 1:
        side = 1
    where = offsets(image.cfa)[: side * side]
    raster = [level for _, level in sorted(zip(where, image.black, strict=False))]
    return [
        (0xC619, "short", [side, side]),
        (0xC61A, "rational", [_ratio(level) for level in raster]),
        (0xC61D, "long", [int(image.white)]),
    ]


def _camera_entries(image: RawImage, neutral: tuple[float, float, float]) -> list[Entry]:
    entries: list[Entry] = [
        (0x0131, "ascii", MARK),
        (ENDS[0], "byte", list(ENDS[1])),
        (0xC612, "byte", [1, 4, 0, 0]),
        (0xC613, "byte", [1, 1, 0, 0]),
        (0xC614, "ascii", image.camera),
    ]
    entries += [(tag, "ascii", text) for tag, text in ((0x010F, image.make), (0x0110, image.model)) if text]
    if image.cfa != MONO:
        # The sensor's true colours are unknown: sRGB primaries scaled by the neutral point are assumed.
        matrix = np.diag(neutral) @ XYZ_TO_SRGB
        entries += [
            (0xC621, "srational", [(round(10_000 * value), 10_000) for value in matrix.ravel()]),
            (0xC628, "rational", [_ratio(value) for value in neutral]),
            (0xC65A, "short", [21]),
        ]
    return entries


def _noise_entries(path: Path, profile: tuple[tuple[float, float], ...]) -> list[Entry]:
    if not profile:
        return []
    if len(profile) not in (1, 3):
        raise RawError(
            f"{path}: a DNG NoiseProfile has one (S, O) for all colours or one each for R, G, B; got {profile}"
        )
    return [(0xC761, "double", [value for pair in profile for value in pair])]


def _exif_entries(path: Path, image: RawImage) -> list[Entry]:
    entries: list[Entry] = [(0x9000, "undefined", b"0230")]
    if image.iso is not None:
        iso = round(image.iso)
        if not 1 <= iso <= LONG_MAX:
            raise RawError(f"{path}: ISO {image.iso:g} cannot be stored; expected 1…{LONG_MAX}")
        # Exif 2.3, 4.6.5: the 16-bit tag saturates; the 32-bit tag then carries the ISO.
        entries += [(0x8827, "short", [min(iso, SHORT_MAX)]), (0x8830, "short", [2]), (0x8832, "long", [iso])]
    if image.exposure_s is not None:
        if not 0 <= image.exposure_s <= LONG_MAX:
            raise RawError(f"{path}: {image.exposure_s:g} s cannot be stored; expected 0…{LONG_MAX} s")
        entries.append((0x829A, "rational", [_ratio(image.exposure_s)]))
    return entries


def _ratio(value: float) -> tuple[int, int]:
    fraction = Fraction(value).limit_denominator(int(LONG_MAX / max(1.0, value)))
    return fraction.numerator, fraction.denominator


def _directory(entries: list[Entry], start: int) -> bytes:
    """Bytes of a TIFF directory at offset `start`, followed by the values that do not fit into its entries."""
    values_at = start + 2 + 12 * len(entries) + 4
    table, values = [struct.pack("<H", len(entries))], b""
    for tag, kind, content in sorted(entries, key=lambda entry: entry[0]):
        code, form = TYPES[kind]
        if kind == "ascii":
            data = tag_text(content).encode() + b"\0"
            count = len(data)
        else:
            data = np.asarray(content if kind != "undefined" else list(content)).ravel().tolist()
            data = struct.pack("<" + form[0] * len(data), *data)
            count = len(data) // struct.calcsize("<" + form)
        if len(data) <= 4:
            table.append(struct.pack("<HHI4s", tag, code, count, data))
        else:
            table.append(struct.pack("<HHII", tag, code, count, values_at + len(values)))
            values += data + b"\0" * (len(data) % 2)
    return b"".join((*table, struct.pack("<I", 0), values))
