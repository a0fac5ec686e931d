"""Add the fixed pattern of a camera body to the clean signal of a pair, so that it does not count as noise."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.body.body_file import read_body
from noiseflow.calibrate.body.body_maps import BodyMaps
from noiseflow.patches.pairings.pairing import FramePair
from noiseflow.raw.bayer import pack

__all__ = ["with_body"]

_read: Callable[[str], BodyMaps] = lru_cache(maxsize=1)(read_body)


def with_body(pair: FramePair, path: str, *, pattern: bool) -> FramePair:
    """Add the body's fixed pattern to a pair's clean signal, and mask the body's defective pixels.

    The noisy frame keeps the camera's integer codes.  Subtracting a clean signal with the pattern gives the same
    noise as removing the pattern from the noisy frame, except for a factor 1 + PRNU.

    Parameters
    ----------
    pair : FramePair
        A noisy frame with its clean signal.
    path : str
        File with the maps of the body.
    pattern : bool
        Whether the clean signal lacks the pattern.  The mean of a burst, of flats or of darks has it already; then
        pixels are only masked.

    Returns
    -------
    FramePair
        The pair, with cautions about what the maps do not cover.

    Raises
    ------
    DataError
        If the maps cannot be read, are for another sensor size or array, have no darks at the frame's ISO, or need
        an exposure time that the frame lacks.
    """
    body, image = _read(path), pair.noisy
    side = image.side
    body.check_size((image.cube[1] * side, image.cube[2] * side), image.cfa, image.source)
    good = ~pack(body.defect_mask, image.cfa)
    valid = good if pair.valid is None else pair.valid & good
    if not pattern or pair.clean is None:
        return replace(pair, valid=valid)
    black = image.levels()[0].astype(np.float32)
    clean: NDArray[np.float32] = pair.clean
    if body.gain is not None:
        clean = black + (clean - black) * pack(body.gain.gain, image.cfa)
    if body.darks:
        clean = clean + pack(body.dark_at(image.iso, image.exposure_s), image.cfa)
    gaps = (f"{image.source}: {gap}" for gap in body.gaps(image.iso, image.exposure_s))
    noted = replace(image, cautions=(*image.cautions, *gaps))
    return replace(pair, noisy=noted, clean=np.asarray(clean, np.float32), valid=valid)
