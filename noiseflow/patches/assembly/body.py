"""The pattern of a body in the clean signal of a pair: what stays from frame to frame is no noise."""

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
    """The pair with the body's fixed pattern added to its clean signal, and its hot pixels masked.

    The codes of the noisy frame stay the camera's integers: noisy − (clean with the pattern) is what (noisy without
    the pattern) − clean would be, but for a factor 1 + PRNU on the noise.

    Parameters
    ----------
    pair : FramePair
        A noisy frame with its clean signal.
    path : str
        File of the maps.
    pattern : bool
        Whether the clean signal lacks the pattern; that of a burst, of flats or of darks is a mean and has it.

    Raises
    ------
    DataError
        No maps, maps of another sensor size, no darks of the frame's ISO, or no exposure time where they grow with it.
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
