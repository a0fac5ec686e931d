"""Over the frames of a scene: their mean, their temporal variance, their block means, a strip of rows at a time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.frames.blocks import SIDE, Blocks, median
from noiseflow.patches.pairings.frames.defects import Defects, find_defects, joined
from noiseflow.patches.pairings.frames.packed_frames import PackedFrames
from noiseflow.raw.inspection import shares_of_noise

__all__ = ["MOST_FRAMES", "NoiseShares", "Strip", "Sums", "noise_shares", "strips", "sum_strip"]

MOST_FRAMES = 2**16
"""Number of 16-bit frames whose sum is still exact in 32 bits."""

SATURATED = 0.9
"""Part of the white level above which noise and flicker may reach it."""

HALO = 2
"""Rows beside a strip that are looked at with it: a defect is told from its neighbours, and they from theirs."""

ROWS_COMPARED, VALUES_COMPARED = 32, 1 << 24
"""Most rows of a plane, and values in all, by which frames' noise is compared."""

LIT_DN, MOST_LIGHT = 16.0, 2.0
"""Light above black from which on, and factor up to which, rows are brought to one light."""

UNLIKE_DN = 0.8
"""Difference of the light of two frames' dim rows from which these are not compared: 5 % of `LIT_DN`."""

BYTES_AT_ONCE = 1 << 20
"""So much of the frames' one row of blocks is worked on at a time: what stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Strip:
    """What some rows of all frames show, by plane and by block.

    Parameters
    ----------
    mean : ndarray of float32, shape (4, rows, w)
        Temporal mean, DN.
    defects : Defects
        Defective pixels in the strip.
    middles : ndarray of float32, shape (n, 4, *grid)
        Block means (`Blocks.middles`) of each frame less the frames' mean, DN.
    signal, contrast, highest, variance : ndarray, shape (4, *grid)
        Of the temporal mean: mean of each block; standard deviation over its quarters; its largest
        value; and the mean temporal variance of its pixels.  DN, DN².
    """

    mean: NDArray[np.float32]
    defects: Defects
    middles: NDArray[np.float32]
    signal: NDArray[np.float64]
    contrast: NDArray[np.float64]
    highest: NDArray[np.float64]
    variance: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the pixels, by name."""
        names = ("middles", "signal", "contrast", "highest", "variance")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class NoiseShares:
    """Noise variance of each frame of a scene over what frames of its light have; NaN where it cannot be told.

    With r times the others' light the variance grows with a power of r from 0, read noise, to 1, shot noise.

    Parameters
    ----------
    of_least, of_most : ndarray, shape (n,)
        Over the least, min(1, r), and over the most, max(1, r), times that of the middle frame.
    """

    of_least: NDArray[np.float64]
    of_most: NDArray[np.float64]


def strips(shape: tuple[int, int]) -> list[Blocks]:
    """The rows of blocks of planes that are worked on together."""
    return list(Blocks(shape).strips())


def sum_strip(stack: PackedFrames, blocks: Blocks, *, structured: bool) -> Strip:
    """Sum some rows of all frames, and look for defects in them.

    The temporal variance is about the frames' means, so that drift of the whole frame is none
    of a pixel's.

    Parameters
    ----------
    stack : PackedFrames
        Frames of one scene.
    blocks : Blocks
        The rows.
    structured : bool
        Whether the frames show a scene; darks do not.
    """
    count, rows = len(stack.frames), blocks.rows
    if count > MOST_FRAMES:
        raise RawError(f"{stack.setting.source}: more than {MOST_FRAMES} frames in one scene; split the folder")
    around = slice(max(rows.start - HALO, 0), min(rows.stop + HALO, stack.shape[0]))
    inner = slice(rows.start - around.start, rows.stop - around.start)
    levels = stack.levels
    shifts = (levels - levels.mean(0)).astype(np.float32)
    mean, variance, quarters = _summed(stack, blocks, around, inner, shifts)
    quarters -= quarters.mean(0)
    own, spread = mean[:, inner], variance[:, inner]
    means = blocks.quarters(own)
    signal = blocks.of_quarters(means)
    black, white = stack.setting.levels()
    found = find_defects(
        mean,
        variance,
        count,
        levels=(black, white),
        drift_variance=drift_variance(levels),
        structured=structured,
        cfa=stack.setting.cfa,
        signal=signal,
        blocks=blocks,
        inner=inner,
    )
    return Strip(
        mean=own,
        defects=found,
        middles=median(quarters).astype(np.float32) + shifts[:, :, None, None],
        signal=signal,
        contrast=means.std(-1),
        highest=np.stack([blocks.maxima(each) for each in own]).astype(np.float64),
        variance=np.stack([blocks.means(each) for each in spread]),
    )


def noise_shares(stack: PackedFrames) -> NoiseShares:
    """`shares_of_noise` of the frames, by some rows of each plane, over what frames of their light have.

    Neighbours in a row are subtracted, so that rows have no part in it.  The scene's structure has none either: rows
    are brought to one light, as a lamp on alternating current changes it.
    """
    count, (planes, height, width) = len(stack.frames), stack.cube
    pairs = width // 2
    most = max(1, min(ROWS_COMPARED, VALUES_COMPARED // max(1, count * planes * pairs)))
    rows = np.unique(np.linspace(0, height - 1, most).astype(int))
    steps = np.empty((count, planes, len(rows), pairs), np.float32)
    light = np.empty((count, planes, len(rows), 1), np.float32)
    # What is clipped in one frame has no noise there, and nothing is wrong with it.
    seen = np.ones((planes, len(rows), pairs), np.bool_)
    for step, lit, frame in zip(steps, light, stack.frames, strict=True):
        pixels = frame.planes[:, rows, : 2 * pairs].astype(np.float32)
        clipped = (pixels >= frame.image.clip_levels()) | (pixels <= 0)
        seen &= ~(clipped[..., 1::2] | clipped[..., ::2])
        np.subtract(pixels[..., 1::2], pixels[..., ::2], out=step)
        lit[:] = pixels.mean(-1, keepdims=True) - frame.image.levels()[0]
    usual = np.median(light, 0)
    ratio = light / np.maximum(usual, LIT_DN)
    bright = usual > LIT_DN
    # Rows that cannot be brought to one light show the scene's structure as noise that differs.
    seen &= ~(bright & ((ratio < 1 / MOST_LIGHT) | (ratio > MOST_LIGHT)).any(0))
    if count == 2 and not bright.all() and abs(float(np.diff(light, axis=0)[0][~bright].mean())) > UNLIKE_DN:
        seen &= bright
    ratio = np.where(bright & (ratio > 1 / MOST_LIGHT) & (ratio < MOST_LIGHT), ratio, 1.0)
    steps /= ratio
    r = np.asarray(ratio.mean((1, 2, 3)), np.float64)
    raw = shares_of_noise(steps[:, seen]) * r**2
    return NoiseShares(raw / np.minimum(r, 1), raw / np.maximum(r, 1))


def _summed(
    stack: PackedFrames, blocks: Blocks, around: slice, inner: slice, shifts: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Temporal mean and variance of some rows, (4, rows, w), and each frame's block quarters, (n, 4, *grid, 4).

    `shifts` are the frames' means less the mean of all, DN, shape (n, 4).
    """
    count, (planes, _, width) = len(stack.frames), stack.cube
    mean = np.empty((planes, around.stop - around.start, width), np.float32)
    variance = np.empty_like(mean)
    at_once = max(1, BYTES_AT_ONCE // (SIDE * width * mean.itemsize))
    groups = [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]
    pieces = list(_pieces(blocks, inner, around.stop - around.start))
    quarters = np.empty((count, planes, *blocks.grid, math.prod(blocks.halves)))
    for plane in range(planes):
        place = 0
        for part, piece in pieces:
            rows_read = slice(around.start + piece.start, around.start + piece.stop)
            pixels = [frame.planes[plane, rows_read] for frame in stack.frames]
            first = pixels[0].astype(np.float32)
            total = np.zeros_like(first)
            square = np.zeros_like(total)
            for group in groups:
                # From the first frame, so that neither sums nor squares are of large numbers.
                steps = np.empty((group.stop - group.start, *total.shape), np.float32)
                for step, each in zip(steps, pixels[group], strict=True):
                    np.subtract(each, first, out=step)
                steps -= shifts[group, plane, None, None]
                if part is not None:
                    quarters[group, plane, place] = part.quarters(steps)[:, 0]
                total += np.add.reduce(steps, 0)
                square += np.einsum("nij,nij->ij", steps, steps)
            place += part is not None
            # The codes are whole: as long as their sum fits into a float32 the mean is exact.
            np.multiply(first, np.float32(count), out=mean[plane, piece])
            mean[plane, piece] += np.rint(total)
            mean[plane, piece] /= np.float32(count)
            total *= total
            total /= np.float32(count)
            np.subtract(square, total, out=variance[plane, piece])
        np.maximum(variance[plane], 0, out=variance[plane])
        variance[plane] /= np.float32(max(count - 1, 1))
    return mean, variance, quarters


def _pieces(blocks: Blocks, inner: slice, rows: int) -> Iterable[tuple[Blocks | None, slice]]:
    """Each row of blocks with its pixels' rows, and the rows beside them."""
    if inner.start:
        yield None, slice(0, inner.start)
    for part in blocks.strips(1):
        start = part.rows.start - blocks.rows.start + inner.start
        yield part, slice(start, start + part.rows.stop - part.rows.start)
    if inner.stop < rows:
        yield None, slice(inner.stop, rows)


def drift_variance(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the frames' means, DN², shape (4,)."""
    return np.asarray(np.var(levels, axis=0, ddof=1) if len(levels) > 1 else np.zeros(levels.shape[1]))


class Sums:
    """What all rows show: the strips put together, without their pixels.

    Parameters
    ----------
    stack : PackedFrames
        Frames that were summed.
    found : sequence of mapping
        `Strip.arrays`, from the top down.
    defects : sequence of Defects
        Defective pixels, strip by strip.
    """

    def __init__(
        self, stack: PackedFrames, found: Sequence[dict[str, NDArray[Any]]], defects: Sequence[Defects]
    ) -> None:
        self.count = len(stack.frames)
        self.levels = stack.levels
        self.black, self.white = stack.setting.levels()
        self.blocks = Blocks(stack.shape)
        whole = {name: np.concatenate([each[name] for each in found], -2) for name in found[0]}
        self.middles = whole["middles"]
        self.signal = whole["signal"] - self.black
        self.contrast = whole["contrast"]
        clips_at = np.min([frame.image.clip_levels() for frame in stack.frames], 0)
        self.saturated = whole["highest"] > SATURATED * clips_at
        clipped = bool(self.saturated.all()) or not whole["highest"].any()
        self.constant = not whole["variance"].any() and not clipped
        # At least that of rounding.
        self.variance = np.maximum(whole["variance"], 1 / 12)
        tops = [blocks.rows.start for blocks in strips(stack.shape)]
        self.defects = joined(defects, tops)
