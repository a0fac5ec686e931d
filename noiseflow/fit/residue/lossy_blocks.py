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

MOST_DETAILS = 200_000
"""Approximate number of details that are examined."""

FLAT = 4.0
"""Largest variance of a patch's codes, over that of its noise, for it to be without edges."""

DEPARTS, SURE = 0.015, 8.0
"""Least departure of the ratio (E|c|)²/E c² at one phase from the median over phases, and in robust deviations."""


@dataclass(frozen=True)
class _Grid:
    """Blocks of a side, in planes or in the mosaic, and how much the ratio departs at one phase."""

    side: int
    mosaic: bool
    departure: float
    sureness: float


def lossy_blocks(codes: Array, corners: NDArray[np.int64], noise: Array) -> Iterator[str]:
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
    noise : ndarray of float32, shape (B, C, h, w)
        Their noise, DN; details of a wavelet are looked at where the codes show nothing else.
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
    if not found and _wavelets(codes, corners, noise) > DEPARTS:
        yield (
            "the codes were compressed with loss: every second value of their finest details is quantised, as by a "
            "wavelet transform (JPEG 2000, or a camera's lossy raw). Gain and read noise are those of what the "
            "compression left. Use raw files without compression, or with a lossless one"
        )
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


def _details(values: Array) -> Array:
    """Second differences along rows and columns, halved."""
    half = np.float32(2)
    rows = values[:, :, 1:-1] - (values[:, :, 2:] + values[:, :, :-2]) / half
    found: Array = np.asarray(rows[..., 1:-1] - (rows[..., 2:] + rows[..., :-2]) / half, np.float32)
    return found


def _wavelets(codes: Array, corners: NDArray[np.int64], noise: Array) -> float:
    """Departure of the ratio (E|d|)²/E d² of the finest diagonal details d at one of the four phases from the others.

    d is the second difference along rows and columns: the diagonal detail of the 5/3 wavelet, if a phase is its own.
    """
    count, planes, height, width = codes.shape
    size = count * planes * (height - 2) * (width - 2)
    if min(height, width) < 4 or size < 4 * FEWEST:
        return 0.0
    some = slice(None, None, max(1, size // MOST_DETAILS))
    # Edges of a scene may lie at every second pixel, and have unlike noise on their sides.
    flat = (codes[some].var((2, 3)) < FLAT * np.square(noise[some]).mean((2, 3))).all(1)
    detail, corners = _details(codes[some][flat]), corners[some][flat]
    detail /= np.sqrt(np.square(detail).mean((2, 3), keepdims=True)) + np.float32(1e-6)
    if detail.size < 4 * FEWEST:
        return 0.0
    sums = np.zeros((3, 2, 2))
    for first in np.unique(corners % 2, axis=0):
        part = detail[(corners % 2 == first).all(1)]
        for row, column in np.ndindex(2, 2):
            values = part[:, :, row::2, column::2]
            at = (first[0] + row) % 2, (first[1] + column) % 2
            for kind, value in enumerate((np.abs(values).sum(), np.square(values).sum(), values.size)):
                sums[kind][at] += value
    ratio = sums[0] ** 2 / np.maximum(sums[1] * sums[2], 1e-9)
    return float(np.abs(ratio - np.median(ratio)).max())


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
