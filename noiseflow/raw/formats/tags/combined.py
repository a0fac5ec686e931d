"""What the metadata of a file say of frames that were combined into one, and of pixels that were binned."""

import re
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "FITS_BINNING",
    "FITS_COUNTS",
    "binned",
    "binning_of_fits",
    "combined",
    "said_of_composite",
    "said_of_fits",
    "said_of_texts",
]

FITS_COUNTS = (
    "STACKCNT",  # Siril, Seestar
    "NCOMBINE",  # IRAF, ccdproc, ESO
    "SNAPSHOT",  # MaxIm DL
    "LIGH_CNT",  # ASTAP
    "NSTACK",
    "COADDS",  # Keck
    "NCOADDS",
    "NUMACC",  # Andor Solis
    "ESO DET NDIT",
    "ESO PRO DATANCOM",
)
"""Keywords for the number of frames that a FITS image was combined from."""

FITS_BINNING = (("XBINNING", "YBINNING"), ("CCDXBIN", "CCDYBIN"), ("XBIN", "YBIN"), ("HBIN", "VBIN"))
"""Keywords for the columns and rows that make a pixel; CCDSUM and BINNING state both in one text."""

BOTH = ("CCDSUM", "BINNING")

HISTORY = re.compile(r"Integration\.numberOfImages:\s*(\d{1,9})")
"""Of PixInsight's ImageIntegration and FastIntegration."""

COMPOSITES = (2.0, 3.0)
"""Values of Exif's CompositeImage for a picture made from several exposures."""

OME_BINNING = re.compile(r"Binning(?:=|\"\s*:\s*|'\s*:\s*)[\"']?(\d{1,3})(?:x(\d{1,3}))?")
"""Attribute of OME-XML's DetectorSettings, and entry of Micro-Manager's metadata."""
OME_INTEGRATION = re.compile(r"<DetectorSettings[^>]*\bIntegration=\"(\d{1,9})\"")

PROJECTION = re.compile(r"(?:AVG|SUM|MED)_")
"""First letters of the name that ImageJ gives to a projection of a stack."""

MOST_LETTERS = 1 << 20
"""Letters of a text that are searched."""


def combined(where: str, count: int | None = None) -> str:
    """Caution that a frame was combined from several.

    Parameters
    ----------
    where : str
        What says so, with its value.
    count : int, optional
        Number of frames, if it is known.
    """
    n = f"{count}" if count else "n"
    return (
        f"{where}: {n if count else 'several'} frames were combined into one, and gain and noise are those of the "
        f"result: a mean has 1/{n} of the camera's gain and noise variance; a sum has the camera's gain, and {n} times "
        "its black level and read noise variance. To measure the camera, take single frames"
    )


def binned(where: str, across: int, down: int) -> str:
    """Caution that pixels were binned.

    Parameters
    ----------
    where : str
        What says so, with its value.
    across, down : int
        Columns and rows that make a pixel.
    """
    return (
        f"{where}: pixels were binned {across}×{down}, and gain and noise are those of the binned pixel: if values "
        f"were averaged, the gain is 1/{across * down} of a single pixel's, and if they were added, the same. To "
        "measure single pixels, take frames without binning"
    )


def said_of_fits(header: Any) -> Iterator[str]:
    """Yield cautions from the keywords of a FITS header about frames that were combined.

    Parameters
    ----------
    header : Header
        The header.
    """
    counts = ((f"{keyword} {count}", count) for keyword in FITS_COUNTS if (count := _whole(header.get(keyword))) > 1)
    history = HISTORY.findall(_lines(header, "HISTORY") + _lines(header, "COMMENT"))
    counts_of_history = ((f"HISTORY of an integration of {count} images", int(count)) for count in history)
    found = next(iter((*counts, *counts_of_history)), None)
    kind = str(header.get("IMAGETYP", "")).strip()
    if found is not None and found[1] > 1:
        yield combined(*found)
    elif kind.lower().startswith("master"):
        yield combined(f"IMAGETYP {kind!r}")


def binning_of_fits(header: Any) -> tuple[str, int, int]:
    """Keywords, and the columns and rows that make a pixel, from a FITS header; ("", 1, 1) without binning.

    Parameters
    ----------
    header : Header
        The header.
    """
    for names in FITS_BINNING:
        across, down = (max(_whole(header.get(name)), 1) for name in names)
        if max(across, down) > 1:
            return f"{names[0]} {across}, {names[1]} {down}", across, down
    for name in BOTH:
        numbers = [int(each) for each in re.findall(r"\d{1,3}", str(header.get(name, "")))[:2]]
        across, down = (*numbers, *numbers, 1, 1)[:2]
        if max(across, down) > 1 and min(across, down) > 0:
            return f"{name} {header[name]!r}", across, down
    return "", 1, 1


def said_of_texts(name: str, texts: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    """Yield cautions from the texts of a TIFF file: OME-XML, Micro-Manager's metadata, and ImageJ's name.

    Parameters
    ----------
    name : str
        Name of the file.
    texts : iterable of str
        Its descriptions.
    """
    tests: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
        (OME_BINNING, lambda found: _of_binning(int(found[1]), int(found[2] or found[1]))),
        (OME_INTEGRATION, lambda found: combined(f"Integration {found[1]}", int(found[1])) if found[1] > "1" else ""),
    )
    whole = "\n".join(text[:MOST_LETTERS] for text in texts)
    for pattern, words in tests:
        if (found := pattern.search(whole)) and (said := words(found)):
            yield said
    if "ImageJ=" in whole and (found := PROJECTION.match(name)):
        yield combined(f"the name {name}, which ImageJ gives to a projection of a stack")


def said_of_composite(kind: float | None, counts: list[float]) -> tuple[str, ...]:
    """Caution from Exif's CompositeImage and SourceImageNumberOfCompositeImage; empty if the frame is a single one.

    Parameters
    ----------
    kind : float or None
        CompositeImage: 1 for a single exposure, 2 and 3 for several.
    counts : list of float
        SourceImageNumberOfCompositeImage: exposures taken, and exposures used.

    References
    ----------
    CIPA: Exif 2.32 (DC-008), 4.6.5, tags 0xA460 and 0xA461.
    """
    used = next((int(count) for count in reversed(counts[:2]) if 1 < count < 65536), None)
    if kind not in COMPOSITES and not (kind is None and used):
        return ()
    value = f"CompositeImage {kind:g}" if kind is not None else f"SourceImageNumberOfCompositeImage {used}"
    return (combined(value, used),)


def _of_binning(across: int, down: int) -> str:
    return binned(f"Binning {across}x{down}", across, down) if max(across, down) > 1 and min(across, down) > 0 else ""


def _lines(header: Any, keyword: str) -> str:
    lines = header.get(keyword, "")
    return "\n".join(map(str, lines)) if not isinstance(lines, str) else lines


def _whole(value: Any) -> int:
    """Value of a keyword as a whole number; 0 if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0
    return int(number) if 0 <= number < 1e9 and number == int(number) else 0
