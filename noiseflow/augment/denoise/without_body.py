"""A frame without the pattern of its body: what stays from frame to frame is measured, and need not be guessed."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.body.body_maps import BodyMaps
from noiseflow.core.errors import DataError
from noiseflow.raw.bayer import pack, unpack
from noiseflow.raw.image import RawImage

__all__ = ["without_body"]

Planes = NDArray[np.float64]

FARTHEST = 3
"""Pixels of a plane that good neighbours of a hot pixel are looked for in each direction."""

NAMELESS = "unknown"
"""Name of a camera whose files say none."""


def without_body(noisy: RawImage, body: BodyMaps, *, iso: float | None = None, camera: str | None = None) -> RawImage:
    """Take the dark shading, the photo response and the hot pixels of a body out of a frame.

    Each pixel becomes black + (code − black − dark)/gain, in fractions of DN.  A hot pixel is the mean of the nearest
    good ones of its plane.  Clipped pixels keep their codes, since nothing is known of what they were; so do rows
    and columns beyond whole cells, which no map covers.

    Parameters
    ----------
    noisy : RawImage
        Frame of the body.
    body : BodyMaps
        Its maps.
    iso : float, optional
        ISO of the frame; the file's own if None.
    camera : str, optional
        Camera of the frame; the file's own if None.

    Raises
    ------
    DataError
        A frame of another camera, size or phase, an ISO without a dark map, or no exposure time where the pattern
        grows with it.
    """
    name = camera or noisy.camera
    if NAMELESS not in (name, body.camera) and name != body.camera:
        raise DataError(
            f"{noisy.source}: of {name}; the body maps are of {body.camera}: take its own, or give its name with "
            "--camera if it is the same"
        )
    height, width = (length // noisy.side * noisy.side for length in noisy.mosaic.shape)
    body.check_size((height, width), noisy.cfa, noisy.source)
    dark = pack(body.dark_at(iso or noisy.iso, noisy.exposure_s), noisy.cfa)
    frame = noisy.levelled()
    codes, black = frame.planes(), frame.levels()[0]
    clipped = (codes >= frame.clip_levels()) | (codes <= 0)
    above = codes - black - dark
    if body.gain is not None:
        above /= pack(body.gain.gain, noisy.cfa)
    planes = _filled(np.where(clipped, codes, above + black), pack(body.defect_mask, noisy.cfa), clipped)
    mosaic = frame.mosaic.astype(np.float32)
    mosaic[:height, :width] = unpack(planes, noisy.cfa)
    return replace(frame, mosaic=mosaic)


def _filled(planes: Planes, hot: NDArray[np.bool_], clipped: NDArray[np.bool_]) -> Planes:
    """Planes whose hot pixels are the mean of the nearest good ones of their plane, where there are any."""
    good = ~(hot | clipped)
    filled: Planes = planes.copy()
    for plane, row, column in np.argwhere(hot):
        for reach in range(1, FARTHEST + 1):
            near = plane, *(slice(max(place - reach, 0), place + reach + 1) for place in (row, column))
            if good[near].any():
                filled[plane, row, column] = planes[near][good[near]].mean()
                break
    return filled
