"""Row noise from one picture: the common offset of separate flat blocks in the same rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.calibrate.measurement import Measurement, root
from noiseflow.calibrate.single_frame.blocks import SIDE, Blocks, coefficients_at
from noiseflow.calibrate.single_frame.cells import Chosen
from noiseflow.calibrate.single_frame.variance_line import VarianceLine

__all__ = ["row_noise_of"]

Array = NDArray[np.float64]

VERTICAL = slice(4, SIDE)
"""Vertical frequencies used: the upper half, where scenes have little energy."""

LEAST_ROWS = 8
"""Fewest rows of blocks needed for a measurement."""

GROUPS = 12
"""Groups of rows of blocks, for the jackknife."""


def row_noise_of(
    planes: Sequence[NDArray[Any]], blocks: Sequence[Blocks], chosen: Sequence[Chosen], line: VarianceLine
) -> Measurement | None:
    """Measure σ of the offset shared by the pixels of a row.

    In a block's cosine transform, the coefficient of vertical frequency i and horizontal frequency 0 is √8 times that
    of the row offsets, plus independent noise.  The product of two different blocks in the same rows therefore has the
    mean 8·σ_row².  The same product of planes in *different* rows of the mosaic contains no row noise, only
    texture of the scene.  It is subtracted, and added to the error.

    Parameters
    ----------
    planes : sequence of ndarray, shape (H, W)
        Codes of each plane, DN.
    blocks : sequence of Blocks
        Blocks of each plane.
    chosen : sequence of Chosen
        Flat blocks of each plane.
    line : VarianceLine
        Noise of all planes.

    Returns
    -------
    Measurement or None
        σ_row, DN; None where fewer than `LEAST_ROWS` rows of blocks have three flat blocks.
    """
    own, scene, weights, groups = [], [], [], []
    sums = [_by_row(*each, line) for each in zip(planes, blocks, chosen, strict=True)]
    for number, mine in enumerate(sums):
        others = [sums[k] for k in (range(2, 4) if number < 2 else range(2))] if len(sums) == 4 else []
        pairs = mine.weight**2 - mine.squares
        enough = mine.count >= 3
        for row in np.flatnonzero(enough):
            products = (mine.total[row] ** 2 - mine.total_squares[row]) / pairs[row]
            across = [
                mine.total[row] * each.total[row] / (mine.weight[row] * each.weight[row])
                for each in others
                if each.count[row] >= 3
            ]
            own.append(float(products.mean()) / SIDE)
            scene.append(float(np.mean(across)) / SIDE if across else 0.0)
            weights.append(pairs[row])
            groups.append(row)
    if len(set(groups)) < LEAST_ROWS:
        return None
    value, texture, error = _jackknife(*(np.array(each) for each in (own, scene, weights, groups)))
    extra = max(texture, 0.0)
    return root(value - extra, float(np.hypot(error, extra)), "DN", GROUPS - 1)


class _Sums:
    """Weighted sums over the flat blocks in each row of blocks; `total` has shape (rows, frequencies)."""

    def __init__(self, rows: int) -> None:
        self.count = np.zeros(rows)
        self.weight = np.zeros(rows)
        self.squares = np.zeros(rows)
        self.total = np.zeros((rows, SIDE // 2))
        self.total_squares = np.zeros((rows, SIDE // 2))


def _by_row(plane: NDArray[Any], blocks: Blocks, chosen: Chosen, line: VarianceLine) -> _Sums:
    """Sum the vertical coefficients of a plane's flat blocks by row of blocks, with weights 1/variance."""
    step = SIDE // blocks.stride
    row, column = np.divmod(chosen.index, blocks.grid[1])
    # Overlapping blocks share pixels, and therefore noise.
    apart = (row % step == 0) & (column % step == 0)
    index, row = chosen.index[apart], row[apart] // step
    sums = _Sums(-(-blocks.grid[0] // step))
    vertical = coefficients_at(plane, blocks, index)[:, VERTICAL, 0].astype(np.float64)
    weight = 1 / line.at(blocks.mean[index])
    np.add.at(sums.count, row, 1)
    np.add.at(sums.weight, row, weight)
    np.add.at(sums.squares, row, weight**2)
    np.add.at(sums.total, row, weight[:, None] * vertical)
    np.add.at(sums.total_squares, row, (weight[:, None] * vertical) ** 2)
    return sums


def _jackknife(own: Array, scene: Array, pairs: Array, rows: NDArray[np.intp]) -> tuple[float, float, float]:
    """Return the weighted means of the products within and across planes, and the standard error of the first."""
    # Where row noise exceeds the blocks' own noise, every row carries the same weight.
    first = max(float(np.average(own, weights=pairs)), 0.0)
    weight = 1 / (1 / np.maximum(pairs, 1e-12) + 2 * first**2)
    order = np.unique(rows)
    group = np.searchsorted(order, rows) * GROUPS // len(order)
    left = [float(np.average(own[group != k], weights=weight[group != k])) for k in np.unique(group)]
    error = np.sqrt((len(left) - 1) * np.var(left))
    return float(np.average(own, weights=weight)), float(np.average(scene, weights=weight)), float(error)
