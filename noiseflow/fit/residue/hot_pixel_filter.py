"""Find a filter against hot pixels: peaks of the noise are cut to the highest of their neighbours."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["hot_pixel_filter"]

Array = NDArray[np.float32]

LEAST, TIMES, COARSE, FEWEST = 0.02, 1.5, 0.08, 20_000
"""Peaks are cut if so many more pixels (as a fraction) equal the highest of their neighbours than the lowest, and so
many times as many.  The third is the largest fraction of the latter: of coarse codes, many are equal and peaks and dips
are unlike.  The last is the fewest pixels."""


def hot_pixel_filter(codes: Array, white: float) -> Iterator[str]:
    """Yield a sentence if more pixels equal the highest of their eight neighbours than the lowest.

    Noise has peaks and dips that are alike, and its codes equal those of neighbours by chance.  Clipped codes are left
    out.

    Parameters
    ----------
    codes : ndarray of float32, shape (B, C, h, w)
        Codes of some patches, DN.
    white : float
        White level, DN.
    """
    height, width = codes.shape[2:]
    if min(height, width) < 3:
        return
    inner = codes[:, :, 1:-1, 1:-1]
    high, low = inner - np.inf, inner + np.inf
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                beside = codes[:, :, row : row + height - 2, column : column + width - 2]
                high, low = np.maximum(high, beside), np.minimum(low, beside)
    within = (low > 0) & (high < white) & (low < high)
    if np.count_nonzero(within) < FEWEST:
        return
    peaks, dips = (float((inner[within] == end[within]).mean()) for end in (high, low))
    for more, less, what, where in ((peaks, dips, "peaks", "highest"), (dips, peaks, "dips", "lowest")):
        if more > less + LEAST and more > TIMES * less and less < COARSE:
            yield (
                f"{100 * more:.2g} % of the pixels equal the {where} of their neighbours, and {100 * less:.2g} % the "
                f"other end: a filter against hot or dead pixels cut the {what} of the noise. Gain and read noise come "
                "out too small. Use frames without it"
            )
