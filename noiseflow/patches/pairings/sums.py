"""One pass over the frames of a scene: their sum, their temporal variance, their block means."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import RawError
from noiseflow.patches.blocks import Blocks
from noiseflow.patches.pairings.pairing import same_setting, without_pixels
from noiseflow.patches.pairings.shift import Shift, frame_shift
from noiseflow.patches.sources.scene import Scene
from noiseflow.raw.image import RawImage

__all__ = ["FrameSums", "sum_frames"]

MOST_FRAMES = 2**16
"""A sum of so many 16-bit frames is still exact in 32 bits."""


SATURATED = 0.9
"""Part of the white level above which noise and flicker may reach it."""


class FrameSums:
    """Adds frames one at a time; holds a sum and a sum of squares, and no frame.

    Parameters
    ----------
    first : RawImage
        What the others must be like; it is not added.

    Attributes
    ----------
    total : ndarray of uint32, shape (C, h, w)
        Exact sum of the codes.
    levels : list of ndarray, shape (C,)
        Mean of each frame's planes, DN.
    middles : list of ndarray of float32, shape (C, *grid)
        Block means (`Blocks.middles`) of each frame less those of the first, DN.
    flows : list of list of Shift
        Of each frame's planes against the mean of the frames before it; none for the first.
    """

    def __init__(self, first: RawImage) -> None:
        self.black, self.white = first.levels()
        self._first = without_pixels(first)
        height, width = (length // 2 for length in first.mosaic.shape)
        self.blocks = Blocks((height, width))
        shape = (4, height, width)
        self.total = np.zeros(shape, np.uint32)
        self._squares = np.zeros(shape, np.float32)
        self.levels: list[NDArray[np.float64]] = []
        self.middles: list[NDArray[np.float32]] = []
        self.flows: list[list[Shift]] = []

    @property
    def count(self) -> int:
        """Frames added."""
        return len(self.levels)

    def add(self, image: RawImage) -> None:
        """Add one frame.

        Raises
        ------
        RawError
            A frame of another setting, codes that are no integers, or too many frames.
        """
        same_setting(self._first, image)
        if not np.issubdtype(image.mosaic.dtype, np.integer):
            raise RawError(f"{image.source}: codes of type {image.mosaic.dtype}; a burst needs integers")
        if self.count == MOST_FRAMES:
            raise RawError(f"{image.source}: more than {MOST_FRAMES} frames in one scene; split the folder")
        planes, n = image.planes(), self.count
        level = planes.mean((1, 2))
        shift = level - self.levels[0] if n else np.zeros(len(planes))
        middles = np.zeros((len(planes), *self.blocks.grid), np.float32)
        flows: list[Shift] = []
        if n:
            # Welford's update, each frame brought to the first one's level: float32 would lose a
            # sum of squares of the codes themselves.
            shifts = np.sum(self.levels, 0) - n * self.levels[0]
            before = np.mean(
                [each - moved[:, None, None] for each, moved in zip(self.middles, self._shifts(), strict=True)], 0
            )
            for index, plane in enumerate(planes):
                mean = self.total[index] * np.float32(1 / n)
                step = plane - mean
                step -= np.float32(shift[index] - shifts[index] / n)
                flows.append(frame_shift(step, mean))
                del mean
                middles[index] = self.blocks.middles(step) + before[index] + shift[index]
                step *= step
                step *= np.float32(n / (n + 1))
                self._squares[index] += step
        self.total += planes
        self.levels.append(level)
        self.middles.append(middles)
        self.flows.append(flows)

    def _shifts(self) -> list[NDArray[np.float64]]:
        return [level - self.levels[0] for level in self.levels]

    def mean(self, plane: int) -> NDArray[np.float32]:
        """Temporal mean of a plane, DN, shape (h, w)."""
        mean: NDArray[np.float32] = (self.total[plane] / np.float64(self.count)).astype(np.float32)
        return mean

    def variance(self, plane: int) -> NDArray[np.float32]:
        """Temporal variance of a plane's pixels about the frames' means, DN², shape (h, w)."""
        variance: NDArray[np.float32] = self._squares[plane] / np.float32(max(self.count - 1, 1))
        return variance

    def drift_variance(self) -> NDArray[np.float64]:
        """Variance of the frames' means, DN², shape (C,)."""
        return np.asarray(np.var(self.levels, axis=0, ddof=1) if self.count > 1 else np.zeros(len(self.total)))

    def block_signal(self) -> NDArray[np.float64]:
        """Mean signal above black of each block, DN, shape (C, *grid)."""
        signal = np.stack([self.blocks.means(plane) for plane in self.total]) / self.count
        return np.asarray(signal - self.black)

    def block_contrast(self) -> NDArray[np.float64]:
        """Standard deviation of the signal over each block's quarters, DN, shape (C, *grid)."""
        return np.stack([self.blocks.quarters(plane).std(2) for plane in self.total]) / self.count

    def block_saturated(self) -> NDArray[np.bool_]:
        """Blocks with a pixel whose mean is within 10 % of the white level, shape (C, *grid)."""
        highest = np.stack([self.blocks.maxima(plane) for plane in self.total]) / self.count
        return np.asarray(highest > SATURATED * self.white)

    def block_variance(self) -> NDArray[np.float64]:
        """Mean temporal variance of each block's pixels, at least that of rounding; DN², shape (C, *grid)."""
        means = np.stack([self.blocks.means(self.variance(index)) for index in range(len(self.total))])
        variance: NDArray[np.float64] = np.maximum(means, 1 / 12)
        return variance


def sum_frames(scene: Scene) -> FrameSums:
    """Sum all frames of a scene, reading each once.

    Raises
    ------
    RawError
        A frame that cannot be read, or frames of two settings.
    """
    sums: FrameSums | None = None
    for frame in scene.frames:
        image: Any = frame.read()
        if sums is None:
            sums = FrameSums(image)
        sums.add(image)
        del image
    if sums is None:
        raise RawError(f"{scene.name}: no frame")
    return sums
