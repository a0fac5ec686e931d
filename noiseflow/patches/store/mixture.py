"""Several stores read as one."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError, StoreError
from noiseflow.patches.schema import LABELS, SPLITS, agreed_truth, fields
from noiseflow.patches.store.store import PatchBatch, PatchStore

__all__ = ["Patches", "StoreMix"]


class Patches(Protocol):
    """What a fit reads: a store, or several of them."""

    path: Path
    layout: str
    pairing: str
    fingerprint: str
    truth: dict[str, Any]
    cameras: tuple[str, ...]
    scenes: tuple[str, ...]
    table: NDArray[Any]
    patch_shape: tuple[int, int, int]

    def __len__(self) -> int:
        """Patches."""

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs, rising."""

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """How often rows are to be drawn; None if each once."""

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Patches by row number."""

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """All patches of a split."""


class StoreMix:
    """Stores of one layout and patch size, one after the other, as if they were one.

    Cameras of the same name are the same camera.

    Parameters
    ----------
    stores : sequence of PatchStore
    weights : sequence of float, optional
        How much of what is drawn comes from each store, whatever their sizes; without them
        each patch comes once.

    Raises
    ------
    StoreError
        Stores of different layouts or patch sizes, or not one weight each.
    """

    def __init__(self, stores: Sequence[PatchStore], weights: Sequence[float] | None = None) -> None:
        first = stores[0]
        for store in stores:
            if (store.layout, store.patch_shape) != (first.layout, first.patch_shape):
                raise StoreError(
                    f"{store.path}: {store.layout} patches of {store.patch_shape}; {first.path} has {first.layout} of "
                    f"{first.patch_shape}: ingest them alike to mix them"
                )
        if weights is not None and (len(weights) != len(stores) or min(weights) < 0 or not sum(weights)):
            raise StoreError(
                f"weights {tuple(weights)}: expected one of 0 or more for each of {len(stores)} stores, not all 0"
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
        told = [store.fingerprint for store in stores] + [str(weight) for weight in weights or ()]
        self.fingerprint = hashlib.sha256("\n".join(told).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def isos(self) -> tuple[float, ...]:
        """The ISOs in the stores, rising."""
        return tuple(float(iso) for iso in np.unique(self.table["iso"]))

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the patches of a split; a store may have none, but not all of them.

        Raises
        ------
        StoreError
        """
        found, start = [], 0
        for store in self.stores:
            if split in SPLITS and (store.table["split"] == SPLITS.index(split)).any():
                found.append(store.indices(split) + start)
            start += len(store)
        if not found:
            return self.stores[0].indices(split)
        return np.concatenate(found)

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """Weights of rows, such that each store has its own share of them."""
        if self._weights is None:
            return None
        which = self._store_of(rows)
        counts = np.bincount(which, minlength=len(self.stores))
        weights = (self._weights / np.maximum(counts, 1))[which]
        if not weights.sum():
            raise DataError(f"{self.path}: every store that has patches in this split has the weight 0")
        return np.asarray(weights, np.float64)

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Read patches by row number, in the order given; see `PatchStore.read`."""
        rows = np.asarray(rows)
        which = self._store_of(rows)
        table = self.table[rows]
        batch = PatchBatch(
            noise=torch.empty((len(rows), *self.patch_shape), dtype=dtype),
            clean=torch.empty((len(rows), *self.patch_shape), dtype=dtype),
            iso=torch.from_numpy(table["iso"].astype(np.float64)).to(dtype),
            camera=torch.from_numpy(table["camera"].astype(np.int64)),
            table=table,
        )
        for index in np.unique(which):
            places = np.flatnonzero(which == index)
            start = self._ends[index] - len(self.stores[index])
            part = self.stores[index].read(rows[places] - start, dtype, pairs=pairs)
            batch.noise[places], batch.clean[places] = part.noise, part.clean
        return batch

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """All patches of a split in stored order, `size` at a time."""
        rows = self.indices(split)
        for start in range(0, len(rows), size):
            yield self.read(rows[start : start + size], dtype)

    def _store_of(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.searchsorted(self._ends, rows, side="right"))


def _renamed(store: PatchStore, names: Sequence[tuple[str, ...]]) -> NDArray[Any]:
    """A store's table with indices into the lists of all stores."""
    # A burst's store has columns of its own, which say nothing of its patches once they are read.
    table: NDArray[Any] = np.empty(len(store.table), fields(store.table["black"].shape[1]))
    for name in table.dtype.names or ():
        table[name] = store.table[name]
    for column, label, known in zip(("camera", "scene", "source"), LABELS, names, strict=True):
        place = {name: index for index, name in enumerate(known)}
        own = np.array([place[name] for name in getattr(store, label)], np.int64)
        table[column] = own[table[column]]
    return table
