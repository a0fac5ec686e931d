"""Find the clean signal from which a frame clips; the difference of brighter pixels is not their noise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.pairing import FramePair
from noiseflow.raw.bayer import offsets, one_plane

__all__ = ["clipping_signals"]

LEVELS = 256
"""Number of signal steps between black and the clip level of a plane."""

PART = 1e-3
"""If at least this fraction of the pixels of a step clip, the step and all brighter ones are masked."""

FEWEST = 3
"""Fewest clipped pixels of a step that count; one or two may be defects."""

SAMPLED = 1 << 18
"""Approximate number of pixels sampled per plane."""


def clipping_signals(pair: FramePair, signal: NDArray[Any]) -> NDArray[np.float64]:
    """Lowest clean signal of each plane at which the frame clips, in DN.

    Pixels must be masked by their clean signal, not by their own noise: masking only the pixels that clip, but not
    others with the same signal, would cut off the upper tail of the noise.  Below the returned signal fewer than
    1 in 1000 pixels clip; for normal noise, these are signals more than 3.1 σ below the clip level.

    Parameters
    ----------
    pair : FramePair
        The frame.
    signal : ndarray, shape (C, h, w)
        Its clean signal, or an estimate such as the mean of its scene, DN.

    Returns
    -------
    ndarray, shape (C,)
        Infinite for planes that do not clip.
    """
    black, clip = pair.noisy.levels()[0].ravel(), pair.noisy.clip_levels().ravel()
    found = np.full(len(black), np.inf)
    for plane, each in enumerate(signal):
        codes = _codes(pair, plane)
        step = max(1, int((each.size / SAMPLED) ** 0.5))
        codes, values = codes[::step, ::step], each[::step, ::step]
        over = codes[: values.shape[0], : values.shape[1]] >= clip[plane]
        if not over.any():
            continue
        # The clean signal of pixels that clip in all frames is the clip level: always mask those.
        found[plane] = clip[plane] - 0.5
        width = (clip[plane] - black[plane]) / LEVELS
        level = np.clip((values - black[plane]) / width, 0, LEVELS - 1).astype(np.intp).ravel()
        hits = np.bincount(level[over.ravel()], minlength=LEVELS)
        clips = (hits >= FEWEST) & (hits >= PART * np.bincount(level, minlength=LEVELS))
        if clips.any():
            found[plane] = min(found[plane], black[plane] + width * int(clips.argmax()))
    return found


def _codes(pair: FramePair, plane: int) -> NDArray[Any]:
    """Codes of one plane of the noisy frame, DN, shape (h, w)."""
    if pair.codes is not None:
        return np.asarray(pair.codes[plane])
    return one_plane(pair.noisy.mosaic, offsets(pair.noisy.cfa)[plane], pair.noisy.side)
