"""A store without some of its ISOs: what a fit may not see of it."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.store.mixture import Patches
from noiseflow.patches.store.store import PatchBatch

__all__ = ["WithoutIsos"]


class WithoutIsos:
    """The patches of other ISOs, as if the store had no others; rows keep their numbers.

    Parameters
    ----------
    store : PatchStore or StoreMix
    isos : sequence of float
        To leave out.

    Raises
    ------
    StoreError
        The store has no patch of one of them, or none of any other ISO.
    """

    def __init__(self, store: Patches, isos: Sequence[float]) -> None:
        known = store.isos
        for iso in isos:
            if iso not in known:
                raise StoreError(f"{store.path}: has no ISO {iso:g} to leave out; it has {_words(known)}")
        self.left = tuple(iso for iso in known if iso not in isos)
        if not self.left:
            raise StoreError(
                f"{store.path}: leaving out ISO {_words(isos)} leaves no patch; keep one of {_words(known)}"
            )
        self.store = store
        self.path: Path = store.path
        self.layout, self.pairing, self.truth = store.layout, store.pairing, store.truth
        self.cameras, self.scenes, self.table = store.cameras, store.scenes, store.table
        self.patch_shape = store.patch_shape
        told = "\n".join([store.fingerprint, *(f"without {iso:g}" for iso in sorted(isos))])
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._kept(self.table).sum())

    @property
    def isos(self) -> tuple[float, ...]:
        """The ISOs that are left, rising."""
        return self.left

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split's patches of these ISOs.

        Raises
        ------
        StoreError
            There is none.
        """
        rows = self.store.indices(split)
        rows = rows[self._kept(self.table[rows])]
        if not rows.size:
            raise StoreError(f"{self.path}: no patch of ISO {_words(self.left)} in the split {split!r}")
        return rows

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """As the store has them."""
        return self.store.weights(rows)

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Patches by row number."""
        return self.store.read(rows, dtype, pairs=pairs)

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """All patches of a split, `size` at a time."""
        rows = self.indices(split)
        for start in range(0, len(rows), size):
            yield self.read(rows[start : start + size], dtype)

    def _kept(self, table: NDArray[Any]) -> NDArray[np.bool_]:
        return np.isin(table["iso"], np.array(self.left, table["iso"].dtype))


def _words(isos: Sequence[float]) -> str:
    return ", ".join(f"{iso:g}" for iso in isos)
