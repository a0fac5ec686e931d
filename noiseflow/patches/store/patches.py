"""`Patches`: the contract of everything a fit can read, such as a store, several stores, or a part of one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import StoreError
from noiseflow.patches.schema import SPLITS

__all__ = ["PatchBatch", "Patches"]


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """A batch of patches, in the form that models take.

    Parameters
    ----------
    noise : Tensor, shape (B, C, h, w)
        Normalised noise, scaled by 1/√(1 + clean_variance), which removes the contribution of an
        estimated clean signal to its variance.
    clean : Tensor, shape (B, C, h, w)
        Normalised clean signal.
    iso : Tensor, shape (B,)
        ISO of each patch.
    camera : Tensor of long, shape (B,)
        Index into the store's cameras.
    table : structured ndarray, shape (B,)
        Rows of the store's table for these patches.
    observed : Tensor of bool, shape (B, C, h, w), or None
        False where a pixel is masked: defective, moving, or with a signal at which the sensor clips.  None if no
        pixel of the batch is masked.
    """

    noise: Tensor
    clean: Tensor
    iso: Tensor
    camera: Tensor
    table: NDArray[Any]
    observed: Tensor | None = None


class Patches(ABC):
    """Base class of collections of patches that are read by row number.

    A subclass sets the attributes and defines `read`; everything else follows from the table.

    Attributes
    ----------
    path : Path
        The file or files, for messages.
    layout : str
        Plane layout.
    patch_shape : tuple of int
        (C, h, w).
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    fingerprint : str
        Checksum that identifies the data.
    truth : dict
        Parameters of simulated cameras, by name; empty for real cameras.
    cameras, scenes : tuple of str
        Names to which the indices in the table refer.
    table : structured ndarray of `noiseflow.patches.schema.fields`, shape (N,)
        One row per patch.
    """

    path: Path
    layout: str
    patch_shape: tuple[int, int, int]
    pairing: str
    fingerprint: str
    truth: dict[str, Any]
    cameras: tuple[str, ...]
    scenes: tuple[str, ...]
    table: NDArray[Any]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs of the patches, in ascending order."""
        return tuple(float(iso) for iso in np.unique(self.table["iso"]))

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the patches of a split, in ascending order.

        Parameters
        ----------
        split : str
            ``"train"``, ``"val"`` or ``"test"``.

        Raises
        ------
        StoreError
            If the split is unknown or empty.
        """
        if split not in SPLITS:
            raise StoreError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
        rows = np.flatnonzero(self.table["split"] == SPLITS.index(split))
        if not rows.size:
            raise StoreError(
                f"{self.path}: no patch in the split {split!r}; ingest more scenes or frames, or change the split"
            )
        return rows

    @property
    def has_masks(self) -> bool:
        """Whether any pixel is masked."""
        return False

    def weights(self, rows: NDArray[Any]) -> NDArray[np.float64] | None:
        """Sampling weights of rows, shape (n,); None if each is drawn once per epoch."""
        return None

    @abstractmethod
    def read(
        self, rows: NDArray[np.integer[Any]], dtype: torch.dtype = torch.float32, *, pairs: bool = False
    ) -> PatchBatch:
        """Read patches by row number, in the given order.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row numbers.
        dtype : torch.dtype
            Type of the tensors.
        pairs : bool
            Allow pairs of noisy frames: `clean` is then the second frame, and `noise` is (x₁ − x₂)/√2.

        Raises
        ------
        DataError
            If there is no clean signal, or it has NaN or infinite values.
        StoreError
            If a patch is damaged.
        """

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """Yield all patches of a split in stored order, `size` at a time; errors as in `indices` and `read`."""
        rows = self.indices(split)
        for start in range(0, len(rows), size):
            yield self.read(rows[start : start + size], dtype)
