"""How many patches a frame will give, told before it is cut, so that those of the next ones find their place."""

import numpy as np

from noiseflow.patches.ingestion.cut import Grid, corners_of
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import Pair

__all__ = ["foreseen"]

BAND = 64
"""Rows of the sensor that are looked at together: they stay in the processor's cache."""

MOST = 1 << 16
"""Pixels at code 0 or the white level; with more of them cutting the patches tells it as soon."""


def foreseen(pair: Pair, options: IngestOptions, draw: int, grid: Grid | None = None) -> int | None:
    """As many patches as `cut` will take of a frame.

    Parameters
    ----------
    pair : Pair
    options : IngestOptions
    draw : int
        As for `cut`.
    grid : callable, optional
        As for `cut`.

    Returns
    -------
    int or None
        None where it takes as long to find out as cutting: of frames with masked pixels or many clipped ones.
    """
    if pair.valid is not None or grid is not None:
        return None
    image, size = pair.noisy, options.patch_size
    corners = corners_of(image, options, draw)
    levels, white = image.levels()
    rows, columns = (length // 2 // size for length in image.mosaic.shape)
    clipped = np.zeros((rows + 1, columns + 1), np.intp)
    found = 0
    for top in range(0, image.mosaic.shape[0], BAND):
        band = image.mosaic[top : top + BAND]
        if band.min() > 0 and band.max() < white:
            continue
        # Few are: their columns are told by the extremes of each.
        some = np.flatnonzero((band.min(0) == 0) | (band.max(0) >= white))
        y, place = np.nonzero((band[:, some] == 0) | (band[:, some] >= white))
        found += len(y)
        if found > MOST:
            return None
        # What lies beside the last whole patch is counted in a row and a column of its own.
        np.add.at(clipped, (np.minimum((y + top) // 2 // size, rows), np.minimum(some[place] // 2 // size, columns)), 1)
    of_patches = clipped[corners[:, 0] // size, corners[:, 1] // size]
    return int((of_patches / (len(levels) * size**2) <= options.max_clipped).sum())
