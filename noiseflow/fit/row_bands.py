"""Which patches lie side by side on the sensor, where they share the noise of their rows."""

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.store.mixture import Patches

__all__ = ["bands_of", "whole_bands"]

PLACE = ("scene", "source", "frame", "y")
"""Columns of a store's table that patches of one band have in common."""


def bands_of(store: Patches, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each patch, the same where patches lie in the same sensor rows of the same frame."""
    columns = np.stack([store.table[name][rows].astype(np.int64) for name in PLACE])
    return np.asarray(np.unique(columns, axis=1, return_inverse=True)[1], np.int64).ravel()


def whole_bands(store: Patches, rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """About `most` of some rows, drawn band by band and none of a band left out.

    Parameters
    ----------
    store : PatchStore or StoreMix
    rows : ndarray of int
        To draw from.
    most : int
        Bands are drawn until there are as many patches, or all are taken.
    seed : int

    Returns
    -------
    ndarray of int
        Row numbers, band after band.
    """
    bands = bands_of(store, rows)
    drawn = np.random.default_rng(seed).permutation(bands.max() + 1)
    counts = np.bincount(bands)[drawn]
    chosen = drawn[: int(np.searchsorted(counts.cumsum(), most)) + 1]
    place = np.full(len(drawn), -1)
    place[chosen] = np.arange(len(chosen))
    order = np.argsort(place[bands], kind="stable")
    return np.asarray(rows[order[np.count_nonzero(place[bands] < 0) :]], np.int64)
