"""Find frames that lie beside their clean signal by a part of a pixel: noise that follows the slope of the signal."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from noiseflow.fit.residue.relative_noise import RelativeNoise

__all__ = ["small_shifts"]

Floats = NDArray[np.float32]

FALSE_ALARM = 1e-6
"""Chance of a word about frames that do not move."""

LEAST = 0.01
"""Smallest share of the noise variance for a report; a shift of fine texture adds about twice as much as is found."""


def small_shifts(noise: RelativeNoise) -> Iterator[str]:
    """Yield a sentence if noise follows the difference of a pixel's neighbours on both sides.

    Of a frame that lies beside its clean signal by a part of a pixel, the noise has the slope of the signal, with one
    factor for the frame and direction.  The slope is that between the neighbours of a mosaic, whose errors are
    independent of the pixel's own, and which are of one colour.  The factors of all frames are tested together.
    Texture that is finer than the blocks in which motion is looked for, and without contrast between them, moves
    unseen otherwise.

    Parameters
    ----------
    noise : RelativeNoise
        Noise of a camera.
    """
    inner = np.s_[:, :, 1:-1, 1:-1]
    if min(noise.value.shape[2:]) < 3:
        return
    value, statistic, factors, share = noise.value[inner], 0.0, 0, 0.0
    for slope in _slopes(noise.light):
        # A masked pixel's own value is 0, and its neighbours are left out with it.
        slope = np.where(_seen_around(noise.seen), slope[inner], 0)
        along, own, error = (
            np.bincount(noise.frame, np.einsum("bcij,bcij->b", first, second).astype(np.float64))
            for first, second in ((value, slope), (slope, slope), ((value * slope), (value * slope)))
        )
        known = error > 0
        statistic += float((along[known] ** 2 / error[known]).sum())
        share += float((along[known] ** 2 / own[known]).sum()) / max(float(np.square(value).sum()), 1e-30)
        factors += int(known.sum())
    if factors and chdtrc(factors, statistic) < FALSE_ALARM and share > LEAST:
        yield (
            f"the noise follows the slope of the signal ({math.ceil(100 * share)} % of its variance or more): the "
            "scene, fine texture in it, or the camera moves by parts of a pixel, or the clean signal lies beside the "
            "frames. "
            "Gain or read noise come out too large. Use a tripod and a still scene, or one without texture"
        )


def _slopes(light: Floats) -> Iterator[Floats]:
    """Half the difference of the neighbours to the right and to the left, and of those below and above."""
    back, fore = -1, 1
    if light.shape[1] != 4:
        for axis in (3, 2):
            yield _half(np.roll(light, back, axis), np.roll(light, fore, axis))
        return
    # Planes R, G1, G2, B: on the sides of R is G1, and below and above it G2.
    for axis, partner in ((3, [1, 0, 3, 2]), (2, [2, 3, 0, 1])):
        beside = light[:, partner]
        first = np.array([plane < other for plane, other in enumerate(partner)])[:, None, None]
        after, before = (
            np.where(first, beside, np.roll(beside, back, axis)),
            np.where(first, np.roll(beside, fore, axis), beside),
        )
        yield _half(after, before)


def _half(after: Floats, before: Floats) -> Floats:
    found: Floats = (after - before) / np.float32(2)
    return found


def _seen_around(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all planes at a pixel of the inner part, and at those beside it, are seen."""
    whole: NDArray[np.bool_] = np.asarray(seen.all(1, keepdims=True))
    rows = whole[:, :, 1:-1] & whole[:, :, 2:] & whole[:, :, :-2]
    return rows[..., 1:-1] & whole[:, :, 1:-1, 2:] & whole[:, :, 1:-1, :-2]
