"""`StoreMix`: several stores read as one."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError, StoreError
from noiseflow.patches.schema import LABELS, agreed_truth, fields
from noiseflow.patches.store.patches import PatchBatch, Patches
from noiseflow.patches.store.store import PatchStore

__all__ = ["StoreMix"]


class StoreMix(Patches):
    """Several stores with one layout and patch size, read as one.

    Cameras with the same name count as the same camera.

    Parameters
    ----------
    stores : sequence of PatchStore
        At least one store.
    weights : sequence of float, optional
        Sampling weight of each store, regardless of its size; by default each patch is drawn once
        per epoch.

    Raises
    ------
    StoreError
        If the stores have different layouts or patch sizes, or the weights are not one of at least 0 per store.
    """

    def __init__(self, stores: Sequence[PatchStore], weights: Sequence[float] | None = None) -> None:
        first = stores[0]
        for store in stores:
            if (store.layout, store.patch_shape) != (first.layout, first.patch_shape):
                raise StoreError(
                    f"{store.path}: contains {store.layout} patches of {store.patch_shape}, but {first.path} has "
                    f"{first.layout} patches of {first.patch_shape}: ingest both with the same options to mix them"
                )
        if weights is not None and (len(weights) != len(stores) or min(weights) < 0 or not sum(weights)):
            raise StoreError(
                f"weights {tuple(weights)}: expected one number of at least 0 for each of {len(stores)} stores, and a "
                "sum above 0"
            )
        self.stores = tuple(stores)
        self.path = Path(" + ".join(str(store.path) for store in stores))
        self.layout, self.patch_shape = first.layout, first.patch_shape
        self.pairing = "+".join(dict.fromkeys(store.pairing for store in stores))
        self.truth = agreed_truth([store.truth for store in stores])
        names = [tuple(dict.fromkeys(name for store in stores for name in getattr(store, label))) for label in LABELS]
        self.cameras, self.scenes, self.sources = names
        self.table = np.concatenate([_renamed(store, names) for store in stores])
        self._ends = np.cumsum([len(store) for store in stores])
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        lines = [store.fingerprint for store in stores] + [str(weight) for weight in weights or ()]
        self.fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def has_masks(self) -> bool:
        """Whether any pixel of any store is masked."""
        return any(store.has_masks for store in self.stores)

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """Sampling weights of rows, shape (n,); those of each store sum to the store's weight.

        Raises
        ------
        DataError
            If all stores with such rows have the weight 0.
        """
        if self._weights is None:
            return None
        which = self._store_of(rows)
        counts = np.bincount(which, minlength=len(self.stores))
        weights = (self._weights / np.maximum(counts, 1))[which]
        if not weights.sum():
            raise DataError(f"{self.path}: all stores with patches in this split have the weight 0; change --weight")
        return np.asarray(weights, np.float64)

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Read patches by row number, in the given order; arguments and errors as in `PatchStore.read`."""
        rows = np.asarray(rows)
        which = self._store_of(rows)
        table = self.table[rows]
        observed = torch.ones((len(rows), *self.patch_shape), dtype=torch.bool)
        batch = PatchBatch(
            noise=torch.empty((len(rows), *self.patch_shape), dtype=dtype),
            clean=torch.empty((len(rows), *self.patch_shape), dtype=dtype),
            iso=torch.from_numpy(table["iso"].astype(np.float64)).to(dtype),
            camera=torch.from_numpy(table["camera"].astype(np.int64)),
            table=table,
        )
        masked = False
        for index in np.unique(which):
            places = np.flatnonzero(which == index)
            start = self._ends[index] - len(self.stores[index])
            part = self.stores[index].read(rows[places] - start, dtype, pairs=pairs)
            batch.noise[places], batch.clean[places] = part.noise, part.clean
            if part.observed is not None:
                observed[places], masked = part.observed, True
        return replace(batch, observed=observed) if masked else batch

    def _store_of(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.searchsorted(self._ends, rows, side="right"))


def _renamed(store: PatchStore, names: Sequence[tuple[str, ...]]) -> NDArray[Any]:
    """Convert a store's table to indices into the joint lists of names."""
    # Columns for shared means and masks are dropped: only the store itself needs them.
    table: NDArray[Any] = np.empty(len(store.table), fields(store.table["black"].shape[1]))
    for name in table.dtype.names or ():
        table[name] = store.table[name]
    for column, label, known in zip(("camera", "scene", "source"), LABELS, names, strict=True):
        place = {name: index for index, name in enumerate(known)}
        own = np.array([place[name] for name in getattr(store, label)], np.int64)
        table[column] = own[table[column]]
    return table
