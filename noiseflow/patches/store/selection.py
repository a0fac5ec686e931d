"""`WithoutIsos`: a store without some of its ISOs, which are held out from a fit."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["WithoutIsos"]


class WithoutIsos(Patches):
    """A view of patches that leaves out some ISOs; row numbers do not change.

    Parameters
    ----------
    store : Patches
        The store, or a mixture of stores.
    isos : sequence of float
        ISOs to leave out.

    Raises
    ------
    StoreError
        If the store lacks one of these ISOs, or has no others.
    """

    def __init__(self, store: Patches, isos: Sequence[float]) -> None:
        known = store.isos
        for iso in isos:
            if iso not in known:
                raise StoreError(f"{store.path}: has no ISO {iso:g} to leave out; it has {_words(known)}")
        self.store, self.left = store, tuple(iso for iso in known if iso not in isos)
        if not self.left:
            raise StoreError(
                f"{store.path}: leaving out ISO {_words(isos)} leaves no patch; keep one of {_words(known)}"
            )
        for name in Patches.__annotations__:
            setattr(self, name, getattr(store, name))
        lines = [store.fingerprint, *(f"without {iso:g}" for iso in sorted(isos))]
        self.fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._kept(self.table).sum())

    @property
    def isos(self) -> tuple[float, ...]:
        """Remaining ISOs, in ascending order."""
        return self.left

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split's patches with the remaining ISOs, in ascending order.

        Raises
        ------
        StoreError
            If there are none, or the split is unknown.
        """
        rows = self.store.indices(split)
        rows = rows[self._kept(self.table[rows])]
        if not rows.size:
            raise StoreError(f"{self.path}: no patch of ISO {_words(self.left)} in the split {split!r}")
        return rows

    @property
    def has_masks(self) -> bool:
        """Whether any pixel of the store is masked."""
        return self.store.has_masks

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """Sampling weights of rows, as in the store."""
        return self.store.weights(rows)

    def read(self, rows: NDArray[Any], dtype: torch.dtype = torch.float32, *, pairs: bool = False) -> PatchBatch:
        """Read patches by row number, from the store."""
        return self.store.read(rows, dtype, pairs=pairs)

    def _kept(self, table: NDArray[Any]) -> NDArray[np.bool_]:
        return np.isin(table["iso"], np.array(self.left, table["iso"].dtype))


def _words(isos: Sequence[float]) -> str:
    return ", ".join(f"{iso:g}" for iso in isos)
