"""Find codes that were compressed with loss: their blocks were quantised in spatial frequency."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["lossy_blocks"]

Array = NDArray[np.float32]

SIDES = (4, 8, 16)
"""Sides of the blocks that are looked for, in pixels of a plane or of the mosaic."""

PIXELS, FEWEST = 32_768, 6_400
"""Approximate number of pixels that are examined at each phase, and the fewest."""

DEPARTS, SURE = 0.015, 8.0
"""Least departure of the ratio (E|c|)²/E c² at one phase from the median over phases, and in robust deviations."""


@dataclass(frozen=True)
class _Grid:
    """Blocks of a side, in planes or in the mosaic, and how much the ratio departs at one phase."""

    side: int
    mosaic: bool
    departure: float
    sureness: float


def lossy_blocks(codes: Array, corners: NDArray[np.int64]) -> Iterator[str]:
    """Yield a sentence if blocks of the codes were quantised in frequency.

    Coefficients that a compression quantised lose their normal shape, but only at the phase of its own blocks.  The
    ratio (E|c|)²/E c² of high cosine coefficients, 2/π for normal noise, is therefore compared between the phases of a
    grid: what texture, tails and rows change in it they change at all phases.  In the mosaic, coefficients that
    colours reach are left out.

    Parameters
    ----------
    codes : ndarray of float32, shape (B, C, h, w)
        Codes of some patches, DN.
    corners : ndarray of int, shape (B, 2)
        Row and column of their corners in pixels of a plane.
    """
    kinds = [(codes, corners, False)]
    if codes.shape[1] == 4:
        kinds.append((_mosaic(codes), 2 * corners, True))
    found = [
        grid
        for values, at, mosaic in kinds
        for side in SIDES
        if (grid := _departure(values, at, side, mosaic)) is not None
        and grid.departure > DEPARTS
        and grid.sureness > SURE
    ]
    if found:
        best = max(found, key=lambda each: each.departure)
        where = "the mosaic" if best.mosaic else "the colour planes" if codes.shape[1] == 4 else "the picture"
        yield (
            f"the codes were compressed with loss: {best.side}×{best.side} blocks of {where} are quantised in "
            "frequency, as by JPEG or a lossy DNG. Gain and read noise are those of what the compression left. Use raw "
            "files without compression, or with a lossless one"
        )


def _mosaic(codes: Array) -> Array:
    count, _, height, width = codes.shape
    whole = codes.reshape(count, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(whole.reshape(count, 1, 2 * height, 2 * width))


def _departure(values: Array, corners: NDArray[np.int64], side: int, mosaic: bool) -> _Grid | None:
    """Largest departure of the ratio at one of side² phases; None if there are too few pixels."""
    count, planes, height, width = values.shape
    many = ((height + 1) // side - 1, (width + 1) // side - 1)
    pixels = planes * many[0] * many[1] * side**2
    if min(many) <= 0 or count * pixels < FEWEST:
        return None
    some = slice(None, None, max(1, count * pixels // PIXELS))
    values, phases = values[some], corners[some] % side
    high = _high(side, mosaic)
    transform = _cosines(side)
    sums = np.zeros((2, side, side, int(high.sum())))
    # The corners of nearly all patches have one phase.
    for first in np.unique(phases, axis=0):
        part = values[(phases == first).all(1)].reshape(-1, height, width)
        for row in range(side):
            rows = part[:, row : row + many[0] * side].reshape(-1, many[0], side, width)
            # All windows of these rows, transformed along the columns once.
            along = (transform @ rows).reshape(-1, side, width)
            for column in range(side):
                across = along[..., column : column + many[1] * side].reshape(-1, side, many[1], side) @ transform.T
                block = across.transpose(0, 2, 1, 3)[..., high].reshape(-1, sums.shape[-1])
                block /= np.sqrt(np.square(block).mean(-1, keepdims=True)) + 1e-6
                at = (first[0] + row) % side, (first[1] + column) % side
                sums[0][at] += np.abs(block).sum(0)
                sums[1][at] += np.square(block).sum(0)
    ratio = np.mean(sums[0] ** 2 / np.maximum(sums[1], 1e-9), -1) / (len(values) * pixels / side**2)
    step = np.abs(ratio - np.median(ratio))
    return _Grid(side, mosaic, float(step.max()), float(step.max() / max(1.4826 * np.median(step), 1e-9)))


def _cosines(side: int) -> Array:
    """Orthonormal cosine transform (DCT-II), one frequency a row."""
    frequency, at = np.meshgrid(np.arange(side), np.arange(side) + 0.5, indexing="ij")
    cosines = np.cos(np.pi / side * frequency * at) * np.sqrt(np.where(frequency > 0, 2, 1) / side)
    found: Array = cosines.astype(np.float32)
    return found


def _high(side: int, mosaic: bool) -> NDArray[np.bool_]:
    """High coefficients; of a mosaic none that differences of flat colours reach, which are odd in both directions."""
    row, column = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    high: NDArray[np.bool_] = (row >= 1) & (column >= 1) & (row + column >= side - 1)
    return high & ~((row % 2 == 1) & (column % 2 == 1)) if mosaic else high
