"""Row and column offsets of a photo, which are subtracted before the network is applied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noiseflow.augment.denoise.lines.differences import PixelNoise, row_differences
from noiseflow.augment.denoise.lines.posterior import offset_posterior
from noiseflow.augment.denoise.noise_line import NoiseLine
from noiseflow.raw.bayer import offsets
from noiseflow.raw.image import RawImage

__all__ = ["LineOffsets", "find_line_offsets"]

Array = NDArray[np.float32]

STRIP = 1 << 21
"""Pixels of a frame processed at a time."""

MATTERS = 0.05
"""Line offsets are estimated if their σ is at least this fraction of the pixel noise σ in the darkest tenth."""

SPARSE = 16
"""Step in pixels of the subsample on which the darkest tenth is found."""

LEAST = 8
"""Fewest cells of a frame in each direction for estimating offsets."""

DARKEST = 0.1
"""Fraction of the pixels that counts as the darkest."""

LEAST_LEFT = 0.1
"""Fraction of the dark variance that is never subtracted, because stated noise levels have errors."""


@dataclass(frozen=True, eq=False)
class LineOffsets:
    """Offsets of sensor rows and columns, normalised, and the noise of the frame after subtracting them.

    Parameters
    ----------
    rows, columns : ndarray, shape (H,) and (W,)
        Offset of each sensor row and column that belongs to whole cells.
    noise : NoiseLine
        Noise that remains.
    places : tuple of (int, int)
        Row and column of R, G1, G2 and B in a cell.
    """

    rows: Array
    columns: Array
    noise: NoiseLine
    places: Sequence[tuple[int, int]]

    def of(self, rows: slice, columns: slice) -> Array:
        """Offset of each pixel in a window of the planes, (4, h, w)."""
        return np.stack(
            [self.rows[row::2][rows, None] + self.columns[column::2][None, columns] for row, column in self.places]
        )


def find_line_offsets(image: RawImage, noise: NoiseLine) -> LineOffsets | None:
    """Posterior mean of the row and column offsets of a Bayer frame; None where they would not matter.

    Parameters
    ----------
    image : RawImage
        Frame with one black level per plane.
    noise : NoiseLine
        Noise of the frame; its `row` and `column` are the σ of the prior.

    Returns
    -------
    LineOffsets or None
        None if the σ of lines is unknown, or less than `MATTERS` times the pixel noise σ in the darkest tenth.
    """
    _, height, width = image.cube
    dark = _darkest_sigma(image, noise) if min(height, width) >= LEAST else np.inf
    if max(noise.row, noise.column) < MATTERS * dark:
        return None
    found = [_Offsets(np.zeros(2 * count, np.float32), 0.0) for count in (height, width)]
    for turned, sigma in enumerate((noise.row, noise.column)):
        if sigma >= MATTERS * dark:
            found[turned] = _offsets(image, noise, sigma, turned=bool(turned))
    rows, columns = found
    left = np.maximum(noise.offset - rows.variance - columns.variance, LEAST_LEFT * noise.offset)
    return LineOffsets(rows.values, columns.values, replace(noise, offset=left), offsets(image.cfa))


class _Offsets(NamedTuple):
    """Offsets of sensor lines, and their mean square."""

    values: Array
    variance: float


def _offsets(image: RawImage, noise: NoiseLine, sigma: float, *, turned: bool) -> _Offsets:
    _, height, width = image.cube
    count = 2 * (width if turned else height)
    order = _raster(image.cfa, turned=turned)
    greens = tuple(sorted(order.index(plane) for plane in (1, 2)))
    black, white = image.levels()
    slope, offset = (each[:, None, None] for each in (noise.slope, noise.offset))
    pixel = np.maximum(offset - noise.row**2 - noise.column**2, LEAST_LEFT * offset)
    clip = (image.clip_levels() - black) / (white - black)
    known = PixelNoise(slope[order], pixel[order], clip[order], (greens[0], greens[1]))
    differences = row_differences(_strips(image, order, turned=turned), known)
    if not differences:
        return _Offsets(np.zeros(count, np.float32), 0.0)
    mean = offset_posterior(count, differences, sigma**2).mean
    return _Offsets(mean.astype(np.float32), float(np.square(mean).mean()))


def _raster(cfa: str, *, turned: bool) -> list[int]:
    """Planes in raster order of a cell, or of the transposed cell."""
    places = offsets(cfa)
    return sorted(range(4), key=lambda plane: places[plane][::-1] if turned else places[plane])


def _strips(image: RawImage, order: list[int], *, turned: bool) -> Iterator[tuple[int, Array]]:
    """Strips of cell rows (if `turned`, of transposed cell columns) that overlap by one; planes in raster order."""
    _, height, width = image.cube
    count, across = (width, height) if turned else (height, width)
    step = max(STRIP // (4 * across), 2)
    for first in range(0, count - 1, step):
        part = slice(2 * first, 2 * min(first + step + 1, count))
        cut = image.mosaic[: 2 * height, part] if turned else image.mosaic[part, : 2 * width]
        planes = replace(image, mosaic=cut).normalised().astype(np.float32)[order]
        yield first, planes.transpose(0, 2, 1) if turned else planes


def _darkest_sigma(image: RawImage, noise: NoiseLine) -> float:
    """Pixel noise σ at the signal of the darkest tenth of a frame, normalised."""
    rows, columns = (np.flatnonzero(np.arange(size // 2 * 2) // 2 % SPARSE == 0) for size in image.mosaic.shape)
    sparse = replace(image, mosaic=image.mosaic[np.ix_(rows, columns)]).normalised()
    level = np.quantile(sparse, DARKEST, axis=(1, 2)).clip(0)
    return float(np.sqrt((noise.slope * level + noise.offset).mean()))
