"""Pixels of a clean signal at which a frame clips: what they show is not their noise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.pairings.pairing import FramePair
from noiseflow.raw.bayer import offsets, one_plane

__all__ = ["clipping_signals"]

LEVELS = 256
"""Steps of the signal between black and the level where a plane clips."""

PART = 1e-3
"""Fraction of the pixels of one step that clip, from which on the step and all above it are masked."""

FEWEST = 3
"""Clipped pixels of a step that count: one or two may be defects."""

SAMPLED = 1 << 18
"""Pixels of a plane that are looked at, or a few more."""


def clipping_signals(pair: FramePair, signal: NDArray[Any]) -> NDArray[np.float64]:
    """Lowest clean signal of each plane at which a frame clips above, DN, shape (C,); infinite if it does not.

    A pixel is left out by its clean signal, never by its own noise: to leave out the pixels that clip, and keep
    their neighbours of the same signal, would cut the upper tail off.  Below this signal fewer than 1 in 1000
    pixels clip, which takes less than 3.1 σ.

    Parameters
    ----------
    pair : FramePair
        The frame.
    signal : ndarray, shape (C, h, w)
        Its clean signal, or what differs little from it, DN.
    """
    black, clip = pair.noisy.levels()[0].ravel(), pair.noisy.clip_levels().ravel()
    found = np.full(len(black), np.inf)
    for plane, each in enumerate(signal):
        codes = (
            one_plane(pair.noisy.mosaic, offsets(pair.noisy.cfa)[plane]) if pair.codes is None else pair.codes[plane]
        )
        step = max(1, int((each.size / SAMPLED) ** 0.5))
        codes, values = codes[::step, ::step][: each.shape[0]], each[::step, ::step]
        over = codes[: values.shape[0], : values.shape[1]] >= clip[plane]
        if not over.any():
            continue
        # A mean of pixels that all clip is no signal, however few they are.
        found[plane] = clip[plane] - 0.5
        width = (clip[plane] - black[plane]) / LEVELS
        level = np.clip((values - black[plane]) / width, 0, LEVELS - 1).astype(np.intp).ravel()
        hits = np.bincount(level[over.ravel()], minlength=LEVELS)
        clips = (hits >= FEWEST) & (hits >= PART * np.bincount(level, minlength=LEVELS))
        if clips.any():
            found[plane] = min(found[plane], black[plane] + width * int(clips.argmax()))
    return found


def _plane(pair: FramePair, plane: int) -> NDArray[Any]:
    return one_plane(pair.noisy.mosaic, offsets(pair.noisy.cfa)[plane], pair.noisy.side)
