"""Which patches a fit trains on, and which it holds out to know when to stop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.patches.schema import SPLITS
from noiseflow.patches.store.mixture import Patches

__all__ = ["train_and_held_out"]

PART = 0.1
"""Of the groups of a store without a split ``val``."""


def train_and_held_out(store: Patches, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to judge by.

    The splits ``train`` and ``val``.  Of a data set that publishes no ``val`` a tenth of the
    scenes of ``train`` are held out, or of its frames if it is one scene.

    Parameters
    ----------
    store : PatchStore or StoreMix
    most : int
        Patches to hold out at the most, drawn from what there is.
    seed : int

    Returns
    -------
    train, held_out : ndarray of int
        Rising row numbers.

    Raises
    ------
    StoreError
        There is no patch to train on, or none to hold out.
    """
    train = store.indices("train")
    if (store.table["split"] == SPLITS.index("val")).any():
        rows = store.indices("val")
    else:
        groups = _groups(store.table[train])
        if len(np.unique(groups)) < 2:
            store.indices("val")
        names = np.unique(groups)
        chosen = np.random.default_rng(seed).choice(names, max(1, round(PART * len(names))), replace=False)
        out = np.isin(groups, chosen)
        train, rows = train[~out], train[out]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return train, rows


def _groups(table: NDArray[Any]) -> NDArray[Any]:
    """A number of each row's scene, or of its frame where there is one scene."""
    column = "scene" if len(np.unique(table["scene"])) > 1 else "frame"
    return np.asarray(table[column])
