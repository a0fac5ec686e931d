"""The contract of what a fit reads: a store, several of them, or a part of one."""

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
    """Patches as models take them.

    Parameters
    ----------
    noise : Tensor, shape (B, C, h, w)
        Normalised noise, scaled by 1/√(1 + clean_variance), so that its variance is the
        noise's own where the clean signal is itself an estimate.
    clean : Tensor, shape (B, C, h, w)
        Normalised clean signal.
    iso : Tensor, shape (B,)
        ISO of each patch.
    camera : Tensor of long, shape (B,)
        Index into the store's cameras.
    table : structured ndarray, shape (B,)
        The store's rows of these patches.
    observed : Tensor of bool, shape (B, C, h, w), or None
        False where a pixel is masked: defective, moved, or of a signal at which the sensor clips.  None where no
        pixel of the batch is.
    """

    noise: Tensor
    clean: Tensor
    iso: Tensor
    camera: Tensor
    table: NDArray[Any]
    observed: Tensor | None = None


class Patches(ABC):
    """Patches with a clean signal, read by row number.

    A subclass sets the attributes and defines `read`; all else follows from the table.

    Attributes
    ----------
    path : Path
        Where they come from, for messages.
    layout : str
        Plane layout.
    patch_shape : tuple of int
        (C, h, w).
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    fingerprint : str
        Checksum that identifies the data.
    truth : dict
        Parameters of the simulated cameras, by name; empty for real ones.
    cameras, scenes : tuple of str
        Names that the table points into.
    table : structured ndarray of `noiseflow.patches.schema.fields`, shape (N,)
        One row for each patch.
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
        """The ISOs of the patches, rising."""
        return tuple(float(iso) for iso in np.unique(self.table["iso"]))

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the patches of a split, rising.

        Raises
        ------
        StoreError
            The split's name is unknown or it holds no patch.
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
        """Read patches by row number, in the order given.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row numbers.
        dtype : torch.dtype
            Type of the batch, and of the arithmetic.
        pairs : bool
            Whether the second of two noisy frames may stand as `clean`, and (x₁ − x₂)/√2 as `noise`.

        Raises
        ------
        DataError
            The store has no clean signal, or holds NaN there.
        StoreError
            A patch is damaged.
        """

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """All patches of a split in stored order, `size` at a time."""
        rows = self.indices(split)
        for start in range(0, len(rows), size):
            yield self.read(rows[start : start + size], dtype)
