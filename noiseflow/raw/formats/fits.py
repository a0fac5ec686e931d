"""FITS images of astronomical and machine-vision cameras, read with astropy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.core.extras import install
from noiseflow.core.text import counted
from noiseflow.raw.formats.tags.combined import binned, binning_of_fits, said_of_fits
from noiseflow.raw.guards import check_size, decoding, refuse_planes_last
from noiseflow.raw.image import RawImage
from noiseflow.raw.patterns import BAYER_PHASES, MONO, shifted
from noiseflow.raw.settings import RawSettings
from noiseflow.raw.stacks import SAMPLED, stack_words

__all__ = ["SUFFIXES", "count", "glance", "read"]

SUFFIXES = frozenset((".fits", ".fit", ".fts", ".fz"))

PATTERNS = ("BAYERPAT", "COLORTYP", "CFAPAT", "CFATYPE", "CFA", "BAYERTYP", "FILTPAT")
"""Keywords for the Bayer phase, which differ between writers; searched in this order."""

MONO_WORDS = {"", "MONO", "MONOCHROME", "NONE", "BW", "GRAY", "GREY", "0"}
COLOURS = 3
"""Length of a third axis that may be the colours of a picture instead of frames."""
COLOUR_WORDS = {"RGB", "COLOR", "COLOUR"}


def count(path: Path) -> int:
    """Number of frames in a file: the length of its image's third axis."""
    with _image(path) as (_, header):
        return _frames(path, header)


def glance(path: Path) -> tuple[float | None, float | None]:
    """ISO and exposure time in seconds from the keywords; None for each that is missing."""
    with _image(path) as (_, header), decoding(path, "a FITS file"):
        said = _said(header, path)
    return said["iso"], said["exposure_s"]


def read(path: Path, settings: RawSettings, frame: int = 0) -> RawImage:
    """Read one frame of the only image in a FITS file, rows in file order.

    BSCALE and BZERO are applied.  Keywords are read from the image's header, then from the
    primary header:

    - the phase from BAYERPAT or another of `PATTERNS`, shifted by XBAYROFF and YBAYROFF, and
      counted from the last row if ROWORDER is BOTTOM-UP; without it the sensor is monochrome;
    - the white level from SATURATE or SATLEVEL (not DATAMAX, which is the array's maximum);
    - the exposure time from EXPTIME, the model from INSTRUME;
    - binning and the number of combined frames from the keywords in `combined`, for cautions;
    - the ISO from ISOSPEED or ISO, otherwise from GAIN, the camera's setting, which orders
      gains as an ISO does; a GAIN in dB (by its comment) becomes 100·10^(dB/20).

    Parameters
    ----------
    path : Path
        The FITS file.
    settings : RawSettings
        The user's settings; they override the keywords.
    frame : int
        Index along the third axis.

    Raises
    ------
    RawError
        If astropy is not installed, the file is damaged, has no image or several, lacks the frame, or names
        a phase that is not 2×2 Bayer.
    """
    with _image(path) as (unit, header):
        frames = _frames(path, header)
        if not 0 <= frame < frames:
            raise RawError(f"{path}: contains {counted(frames, 'frame')}, numbered from 0; there is no frame {frame}")
        with decoding(path, "a FITS file"):
            if frames == COLOURS and settings.cfa is None and _phase(header, {}) == MONO:
                raise RawError(
                    f"{path}: contains three images of {header['NAXIS2']}×{header['NAXIS1']}, probably interpolated "
                    "colours, which are not a raw frame; if they are a stack of three frames, give --cfa"
                )
            pixels = np.asarray(unit.data if header["NAXIS"] == 2 else unit.section[frame])
            said = _said(header, path)
            if header["NAXIS"] == 3 and frame == 0:
                shape = (frames, *pixels.shape)
                said["cautions"] += tuple(stack_words(path, shape, unit.section[:SAMPLED, :SAMPLED, :SAMPLED]))
    if pixels.ndim != 2:
        raise RawError(f"{path}: its image contains no pixels")
    return settings.image(pixels, str(path) if frames == 1 else f"{path}[{frame}]", **said)


def _frames(path: Path, header: Any) -> int:
    """Number of frames of an image, once its size is checked."""
    with decoding(path, "a FITS file"):
        width, height, frames = (int(header[f"NAXIS{axis}"]) if axis <= header["NAXIS"] else 1 for axis in (1, 2, 3))
    if header["NAXIS"] == 3:
        refuse_planes_last(path, (frames, height, width))
    check_size(path, height, width)
    return frames


@contextmanager
def _image(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open the unit with the mosaic; yield it and its header, completed by the primary header."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise RawError(f"{path}: a FITS file needs astropy; install it with: {install('fits')}") from error
    with decoding(path, "a FITS file"):
        units = fits.open(path, memmap=False, lazy_load_hdus=False)
    with units:
        with decoding(path, "a FITS file"):
            images = [unit for unit in units if unit.is_image and unit.header.get("NAXIS") in (2, 3)]
            unit = _chosen(path, images)
            header = unit.header.copy()
            header.extend(units[0].header, unique=True, update=False)
        yield unit, header


def _chosen(path: Path, images: list[Any]) -> Any:
    """Choose the only image, the only one named SCI, IMAGE or DATA, or the only one that is not 8-bit (a mask)."""
    if not images:
        raise RawError(f"{path}: contains no image with two or three axes; expected the mosaic of a sensor")
    for group in (
        images,
        [unit for unit in images if unit.name in ("SCI", "IMAGE", "DATA")],
        [unit for unit in images if unit.header["BITPIX"] != 8],
    ):
        if len(group) == 1:
            return group[0]
    names = ", ".join(unit.name or f"number {number}" for number, unit in enumerate(images))
    raise RawError(f"{path}: contains {len(images)} images ({names}); expected one: split the file, or name one SCI")


def _said(header: Any, path: Path) -> dict[str, Any]:
    """Read the keywords into arguments of `RawSettings.image`."""
    where: dict[str, str] = {}
    cautions: list[str] = []
    try:
        said: dict[str, Any] = {"cfa": _phase(header, where)}
    except RawError as error:
        raise RawError(f"{path}: {error}") from error
    for name, keywords, least in (
        ("white", ("SATURATE", "SATLEVEL"), 1e-30),
        ("exposure_s", ("EXPTIME", "EXPOSURE", "EXPOSURETIME"), 0.0),
        ("iso", ("ISOSPEED", "ISO"), 1e-30),
    ):
        said[name], where_from = _number(header, keywords, least)
        if where_from:
            where[name] = where_from
    if said["iso"] is None:
        said["iso"] = _gain(header, where, cautions)
    named, across, down = binning_of_fits(header)
    if said["cfa"] != MONO and named:
        cautions.append(
            f"a {said['cfa']} mosaic binned {across}×{down}: unless the camera bins pixels of one colour, "
            "its pixels mix colours; then give --cfa MONO"
        )
    cautions += [binned(named, across, down)] if named else []
    cautions += said_of_fits(header)
    if where["cfa"].startswith("no ") and "DATAMAX" in header and said["white"] is None:
        cautions.append("DATAMAX is the largest value of the array, not a white level; it was ignored")
    said["model"] = str(header.get("INSTRUME", "")).strip()
    return {**said, "where": where, "cautions": tuple(f"{path}: {words}" for words in cautions)}


def _phase(header: Any, where: dict[str, str]) -> str:
    """Bayer phase at the first stored pixel, or MONO; notes the keyword in `where`.

    Raises
    ------
    RawError
        If the pattern is not 2×2 Bayer.
    """
    for keyword in PATTERNS:
        pattern = str(header.get(keyword, "")).strip().upper()
        if pattern in MONO_WORDS or (pattern in COLOUR_WORDS and keyword != "BAYERPAT"):
            continue
        if pattern not in BAYER_PHASES:
            if keyword != "BAYERPAT" and not set(pattern) <= set("RGB"):
                continue
            raise RawError(f"{keyword} {pattern!r} is not supported; expected {', '.join(BAYER_PHASES)}")
        rows, columns = (int(header.get(name, 0)) for name in ("YBAYROFF", "XBAYROFF"))
        where["cfa"] = keyword
        if str(header.get("ROWORDER", "")).strip().upper().startswith("BOTTOM"):
            # The pattern counts from the top row, which is stored last.
            rows += int(header["NAXIS2"]) - 1
            where["cfa"] = f"{keyword} and ROWORDER"
        return shifted(pattern, rows, columns)
    where["cfa"] = "no BAYERPAT: monochrome"
    return MONO


def _gain(header: Any, where: dict[str, str], cautions: list[str]) -> float | None:
    """GAIN, the camera's setting, as an ISO; None without it or if it is negative and not in dB."""
    gain, keyword = _number(header, ("GAIN",), -np.inf)
    if gain is None:
        return None
    comment = str(header.comments["GAIN"]).lower()
    if "db" in comment:
        tenths = "0.1" in comment or "1/10" in comment or "tenth" in comment
        decibel = gain / 10 if tenths else gain
        where["iso"] = f"{keyword} of {decibel:g} dB, as 100·10^(dB/20)"
        return float(100 * 10 ** (decibel / 20))
    where["iso"] = f"{keyword} {gain:g}, the camera's setting"
    return gain if gain >= 0 else None


def _number(header: Any, keywords: tuple[str, ...], least: float) -> tuple[float | None, str]:
    """First value among the keywords that is finite and at least `least`, and its keyword; (None, "") if none is."""
    for keyword in keywords:
        value = header.get(keyword)
        if isinstance(value, str):
            # Some writers put numbers into quotes.
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value < np.inf:
            return float(value), keyword
    return None, ""
