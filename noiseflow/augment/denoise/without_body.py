"""Removal of a camera body's measured fixed pattern from a frame."""

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
"""Largest distance, in pixels of a plane, at which good neighbours of a hot pixel are searched."""

NAMELESS = "unknown"
"""Camera name of files that contain none."""


def without_body(noisy: RawImage, body: BodyMaps, *, iso: float | None = None, camera: str | None = None) -> RawImage:
    """Remove the dark shading, photo response and hot pixels of a body from a frame.

    Each pixel becomes black + (code − black − dark)/gain, not rounded.  A hot pixel becomes the mean of the nearest
    good pixels of its plane.  Clipped pixels keep their codes, because their true value is unknown.  Rows and columns
    beyond whole cells, which the maps do not cover, keep theirs too.

    Parameters
    ----------
    noisy : RawImage
        Frame taken with the body.
    body : BodyMaps
        Maps of the body.
    iso : float, optional
        ISO of the frame; if None, that of the file.
    camera : str, optional
        Camera of the frame; if None, that of the file.

    Returns
    -------
    RawImage
        The frame with a floating-point mosaic, DN.

    Raises
    ------
    DataError
        A frame of another camera, size or phase, an ISO without a dark map, or no exposure time although the pattern
        depends on it.
    """
    name = camera or noisy.camera
    if NAMELESS not in (name, body.camera) and name != body.camera:
        raise DataError(
            f"{noisy.source}: is from {name}, but the body maps are from {body.camera}; use the maps of that camera, "
            "or give --camera if both are the same"
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
    """Replace hot pixels by the mean of the nearest good pixels of their plane, if there are any."""
    good = ~(hot | clipped)
    filled: Planes = planes.copy()
    for plane, row, column in np.argwhere(hot):
        for reach in range(1, FARTHEST + 1):
            near = plane, *(slice(max(place - reach, 0), place + reach + 1) for place in (row, column))
            if good[near].any():
                filled[plane, row, column] = planes[near][good[near]].mean()
                break
    return filled
