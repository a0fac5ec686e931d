"""Mean, temporal variance and block means over the frames of a scene, computed strip by strip."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.pairings.frames.blocks import SIDE, Blocks, median
from noiseflow.patches.pairings.frames.defects import Defects, find_defects, joined
from noiseflow.patches.pairings.frames.packed_frames import PackedFrames
from noiseflow.raw.inspection import (
    COMPARED,
    NoiseInCommon,
    equal_steps,
    in_time,
    shares_of_noise,
    structure_of,
    unlike_words,
)

__all__ = ["MOST_FRAMES", "NoiseShares", "Strip", "Sums", "noise_follows_light", "noise_shares", "strips", "sum_strip"]

MOST_FRAMES = 2**16
"""Largest number of 16-bit frames whose sum is exact in 32 bits."""

SATURATED = 0.9
"""A block whose highest value exceeds this fraction of the clip level counts as saturated."""

HALO = 2
"""Rows on either side of a strip that are used too: a defect is compared with its neighbours, and these with theirs."""

ROWS_COMPARED, VALUES_COMPARED = 32, 1 << 24
"""Largest number of rows of a plane, and of values in all, used to compare the noise of frames."""

LIT_DN, MOST_LIGHT = 16.0, 2.0
"""Rows brighter than the first value, in DN above black, are scaled to the same light, by up to the second factor."""

UNLIKE_DN, LEAST_UNLIKE_DN = 0.8, 0.25
"""Dim rows of two frames are not compared if their light differs by more than the first value, 5 % of `LIT_DN`; small
differences of noise are not looked for from the second on."""

BRIGHT_PART, FEWEST_BRIGHT = 0.1, 1500
"""Two frames are compared for equal values in this part of the pixels, the brightest; and the fewest of these."""

SURE_SIGMAS, MOST_ZEROS = 5.0, 0.01
"""Standard errors by which the noise must grow with the light; largest part of pixels at code 0, which have none."""

BYTES_AT_ONCE = 1 << 20
"""Bytes of a row of blocks, over several frames, processed at a time; this much fits into the processor's cache."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Statistics of a strip of rows over all frames, by plane and by block.

    Parameters
    ----------
    mean : ndarray of float32, shape (C, rows, w)
        Temporal mean, DN.
    defects : Defects
        Defective pixels in the strip.
    middles : ndarray of float32, shape (n, C, *grid)
        Block means (as `Blocks.middles`) of each frame minus the mean over the frames, DN.
    signal, contrast, highest : ndarray, shape (C, *grid)
        Statistics of the temporal mean in DN: mean of each block, standard deviation over its quarters,
        and largest value.
    variance : ndarray, shape (C, *grid)
        Mean temporal variance of the pixels of each block, DN².
    """

    mean: NDArray[np.float32]
    defects: Defects
    middles: NDArray[np.float32]
    signal: NDArray[np.float64]
    contrast: NDArray[np.float64]
    highest: NDArray[np.float64]
    variance: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The block statistics, by name."""
        names = ("middles", "signal", "contrast", "highest", "variance")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class NoiseShares:
    """Noise variance of each frame of a scene, relative to the variance expected for its light.

    A frame with r times the light of the others has a variance between that of the others (read noise) and r times
    it (shot noise).

    Parameters
    ----------
    of_least, of_most : ndarray, shape (n,)
        Ratio to the least expected variance, min(1, r) times that of the median frame, and to the most, max(1, r)
        times it; NaN if unknown.
    in_common : NoiseInCommon
        Noise that frames share.
    unlike : str
        Caution that the noise of some frames differs, from `unlike_words`; empty if there is none.
    """

    of_least: NDArray[np.float64]
    of_most: NDArray[np.float64]
    in_common: NoiseInCommon
    unlike: str


def strips(shape: tuple[int, int]) -> list[Blocks]:
    """Strips of blocks in which planes of a shape (h, w) are processed."""
    return list(Blocks(shape).strips())


def sum_strip(stack: PackedFrames, blocks: Blocks, *, structured: bool) -> Strip:
    """Compute the statistics of a strip of rows over all frames, and find defects in it.

    The temporal variance is taken relative to the means of the frames, so that drift of a whole frame
    does not count as noise of its pixels.

    Parameters
    ----------
    stack : PackedFrames
        Frames of one scene.
    blocks : Blocks
        Blocks of the strip.
    structured : bool
        Whether the frames show a scene; darks do not.

    Raises
    ------
    RawError
        If there are more than `MOST_FRAMES` frames.
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
    """Compare the noise of the frames of a scene, in some rows of each plane.

    Differences of neighbours in a row are used, which removes row noise.  Rows are scaled to the same light first,
    since a lamp on alternating current changes it; this removes the structure of the scene.

    Parameters
    ----------
    stack : PackedFrames
        Frames of one scene.
    """
    count, (planes, height, width) = len(stack.frames), stack.cube
    pairs = width // 2
    most = max(1, min(ROWS_COMPARED, VALUES_COMPARED // max(1, count * planes * pairs)))
    rows = np.unique(np.linspace(0, height - 1, most).astype(int))
    steps = np.empty((count, planes, len(rows), pairs), np.float32)
    light = np.empty((count, planes, len(rows), 1), np.float32)
    # Skip pixels that clip in any frame: they have no noise there.
    seen = np.ones((planes, len(rows), pairs), np.bool_)
    zeros = 0
    for step, lit, frame in zip(steps, light, stack.frames, strict=True):
        pixels = frame.planes[:, rows, : 2 * pairs].astype(np.float32)
        clipped = (pixels >= frame.image.clip_levels()) | (pixels <= 0)
        zeros += np.count_nonzero(pixels <= 0)
        seen &= ~(clipped[..., 1::2] | clipped[..., ::2])
        np.subtract(pixels[..., 1::2], pixels[..., ::2], out=step)
        lit[:] = pixels.mean(-1, keepdims=True) - frame.image.levels()[0]
    usual = np.median(light, 0)
    ratio = light / np.maximum(usual, LIT_DN)
    bright = usual > LIT_DN
    # Skip rows that cannot be scaled to the same light, since the scene's structure would look like noise.
    seen &= ~(bright & ((ratio < 1 / MOST_LIGHT) | (ratio > MOST_LIGHT)).any(0))
    dim_change = abs(float(np.diff(light, axis=0)[0][~bright].mean())) if count == 2 and not bright.all() else 0.0
    if dim_change > UNLIKE_DN:
        seen &= bright
    ratio = np.where(bright & (ratio > 1 / MOST_LIGHT) & (ratio < MOST_LIGHT), ratio, 1.0)
    compared = seen
    if count == 2:
        # No third frame says how often values are equal by chance, as in the dark where noise is below a code.
        both = pixels[..., 1::2] + pixels[..., ::2]
        some = max(BRIGHT_PART, min(FEWEST_BRIGHT / max(int(seen.sum()), 1), 1.0))
        compared = seen & (both >= np.quantile(both[seen], 1 - some)) if seen.any() else seen
    places = np.flatnonzero(compared)
    equal = equal_steps(steps.reshape(count, -1)[:, places[:: max(1, len(places) // COMPARED)]])
    steps /= ratio
    r = np.asarray(ratio.mean((1, 2, 3)), np.float64)
    values = steps[:, seen]
    # Large; what follows makes a copy of the values.
    del steps, step
    common = NoiseInCommon(equal, in_time(values))
    unlike = ""
    # Of two frames, dim structure under more light looks like noise of one of them.
    if zeros <= MOST_ZEROS * pixels.size * count and dim_change < LEAST_UNLIKE_DN:
        # Dim rows are not brought to the same light, which black that drifts may only seem to change.
        dim = (np.maximum(light, 0) + 1) / (np.maximum(usual, 0) + 1)
        photons, others = np.where(bright, 1 / ratio, dim), np.where(bright, ratio**-2, 1.0)
        ends = [each.mean((1, 2, 3), np.float64) for each in (photons, others)]
        # Black that drifts is taken for light, and structure is scaled by it.
        wrong = np.square(ratio - 1).mean((1, 2, 3), np.float64)
        expected = np.array([np.minimum(*ends), np.maximum(*ends) + wrong * structure_of(values)])
        names = [Path(frame.image.source).name for frame in stack.frames]
        unlike = unlike_words(names, values, np.array(np.nonzero(seen)[1:]), expected)
    raw = shares_of_noise(values) * r**2
    return NoiseShares(raw / np.minimum(r, 1), raw / np.maximum(r, 1), common, unlike)


def noise_follows_light(stack: PackedFrames, light: NDArray[np.float64]) -> bool:
    """Whether frames with more light also have more noise, as photon noise; drift of the black level adds none.

    Differences d of neighbours in a row are Δs + n in each frame, if only the black level drifts, and the mean of
    Σ(light − mean light)·d² is 0; with light it grows as the variance of n, and as Δs.

    Parameters
    ----------
    stack : PackedFrames
        Frames of one scene.
    light : ndarray, shape (n, C)
        Light of each frame, DN.
    """
    planes, height, width = stack.cube
    rows = np.linspace(0, height - 1, min(ROWS_COMPARED, height)).astype(int)
    rising = light - light.mean(0)
    total = np.zeros((planes, len(rows), width // 2))
    seen = np.ones(total.shape, np.bool_)
    zeros = 0
    for frame, weight in zip(stack.frames, rising, strict=True):
        pixels = frame.planes[:, rows, : width // 2 * 2].astype(np.float32)
        out = (pixels >= frame.image.clip_levels()) | (pixels <= 0)
        seen &= ~(out[..., 1::2] | out[..., ::2])
        zeros += np.count_nonzero(pixels <= 0)
        total += weight[:, None, None] * np.square(pixels[..., 1::2] - pixels[..., ::2])
    if zeros > MOST_ZEROS * 2 * total.size * len(stack.frames) or not seen.any():
        return False
    values = total[seen]
    return bool(values.mean() > SURE_SIGMAS * values.std() / len(values) ** 0.5)


def _summed(
    stack: PackedFrames, blocks: Blocks, around: slice, inner: slice, shifts: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Temporal mean and variance of some rows, (C, rows, w), and each frame's block quarters, (n, C, *grid, 4).

    `shifts` are the frames' means minus the mean of all frames in DN, shape (n, C).
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
                # Relative to the first frame, to keep sums and squares small.
                steps = np.empty((group.stop - group.start, *total.shape), np.float32)
                for step, each in zip(steps, pixels[group], strict=True):
                    np.subtract(each, first, out=step)
                steps -= shifts[group, plane, None, None]
                if part is not None:
                    quarters[group, plane, place] = part.quarters(steps)[:, 0]
                total += np.add.reduce(steps, 0)
                square += np.einsum("nij,nij->ij", steps, steps)
            place += part is not None
            # Codes are integers, so the mean is exact as long as their sum fits into a float32.
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
    """Yield each row of blocks with its rows of pixels, and the halo rows with None."""
    if inner.start:
        yield None, slice(0, inner.start)
    for part in blocks.strips(1):
        start = part.rows.start - blocks.rows.start + inner.start
        yield part, slice(start, start + part.rows.stop - part.rows.start)
    if inner.stop < rows:
        yield None, slice(inner.stop, rows)


def drift_variance(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance in DN² of the frames' means `levels`, shape (n, C) to (C,)."""
    return np.asarray(np.var(levels, axis=0, ddof=1) if len(levels) > 1 else np.zeros(levels.shape[1]))


class Sums:
    """Block statistics of whole frames, joined from their strips.

    Parameters
    ----------
    stack : PackedFrames
        The frames.
    found : sequence of mapping
        `Strip.arrays` of each strip, from top to bottom.
    defects : sequence of Defects
        Defective pixels of each strip.

    Attributes
    ----------
    stack, count : PackedFrames and int
        The frames, and their number.
    levels : ndarray, shape (n, C)
        Mean of each frame's planes, DN.
    black, white : ndarray and float
        Levels as from `RawImage.levels`, DN.
    blocks : Blocks
        Blocks of a whole plane.
    middles, signal, contrast, variance : ndarray
        As in `Strip`; `signal` is above black, and `variance` at least 1/12 DN².
    saturated : ndarray of bool, shape (C, *grid)
        Blocks that reach the clip level.
    constant : bool
        Whether no pixel changes, although not all are clipped.
    defects : Defects
        Defective pixels, without their mask.
    """

    def __init__(
        self, stack: PackedFrames, found: Sequence[dict[str, NDArray[Any]]], defects: Sequence[Defects]
    ) -> None:
        self.stack, self.count = stack, len(stack.frames)
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
        # At least the variance of rounding.
        self.variance = np.maximum(whole["variance"], 1 / 12)
        tops = [blocks.rows.start for blocks in strips(stack.shape)]
        self.defects = joined(defects, tops)
