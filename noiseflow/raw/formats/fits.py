"""FITS images of astronomical and machine-vision cameras, through astropy."""

from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.core.errors import RawError
from noiseflow.raw.bayer import BAYER_PHASES, MONO, shifted
from noiseflow.raw.decoding import decoding
from noiseflow.raw.image import RawImage
from noiseflow.raw.limits import check_size
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset((".fits", ".fit", ".fts"))


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read the first 2-D image of a FITS file, rows in the order of the file.

    BSCALE and BZERO are applied.  BAYERPAT, moved by XBAYROFF and YBAYROFF, is the phase;
    without it the sensor is monochrome.  SATURATE or DATAMAX is the white level, EXPTIME the
    exposure, INSTRUME the model.  ISOSPEED is the ISO, or else GAIN, the camera's setting:
    a number that orders the gains, as an ISO does.

    Raises
    ------
    RawError
        astropy is not installed; the file is damaged or holds no 2-D image.
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise RawError(
            f"{path}: a FITS file needs astropy; install it with: pip install 'camera-noiseflow[fits]'"
        ) from error
    with decoding(path, "a FITS file"), fits.open(path, memmap=False, lazy_load_hdus=True) as units:
        for unit in units:
            if unit.is_image and unit.header.get("NAXIS") == 2:
                break
        else:
            raise RawError(f"{path}: holds no image of two axes; expected the mosaic of a sensor")
        header = unit.header
        check_size(path, header["NAXIS2"], header["NAXIS1"])
        pixels = np.asarray(unit.data)
        said = _said(header)
    if pixels.ndim != 2:
        raise RawError(f"{path}: its image holds no pixels")
    return settings.image(pixels, str(path), **said)


def _said(header: Any) -> dict[str, Any]:
    pattern = str(header.get("BAYERPAT", "")).strip().upper()
    cfa = MONO
    if pattern in BAYER_PHASES:
        cfa = shifted(pattern, int(header.get("YBAYROFF", 0)), int(header.get("XBAYROFF", 0)))
    elif pattern:
        raise RawError(f"BAYERPAT {pattern!r} is not supported; expected {', '.join(BAYER_PHASES)}")
    white = _positive(header, "SATURATE", "DATAMAX")
    return {
        "cfa": cfa,
        "white": white,
        "iso": _positive(header, "ISOSPEED", "GAIN"),
        "exposure_s": _positive(header, "EXPTIME", "EXPOSURE"),
        "model": str(header.get("INSTRUME", "")).strip(),
    }


def _positive(header: Any, *names: str) -> float | None:
    for name in names:
        value = header.get(name)
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
    return None
