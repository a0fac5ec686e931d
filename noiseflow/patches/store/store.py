"""`PatchStore`: a patch store opened for reading."""

import os
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError, StoreError
from noiseflow.core.notebook import facts
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import LONGEST_LINE, plain_text
from noiseflow.patches.checksums import crc32
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.schema import CLEAN_TYPE, LABELS, NOISY_TYPE
from noiseflow.patches.shared_mean import mean_of_others
from noiseflow.patches.store.content import read_content
from noiseflow.patches.store.patches import PatchBatch, Patches
from noiseflow.patches.store.summary import summary

__all__ = ["PatchStore"]

SCRATCH = (NOISY_TYPE, CLEAN_TYPE, CLEAN_TYPE)
"""Types of the working arrays: noisy patches, clean patches, and shared means."""

SCRATCH_BYTES = 1 << 19
"""Size of one working array in bytes; this much fits into the processor's cache."""


class PatchStore(Patches):
    """A patch store opened for reading.

    Patches are memory-mapped and read on demand, so a store may be larger than memory.  The
    checksum of a patch is compared when it is read for the first time.

    Parameters
    ----------
    path : path
        An HDF5 file in the format of `noiseflow.patches.schema`.

    Attributes
    ----------
    protected : bool
        Whether a checksum also covers the table, names and attributes; older schemas lack it.

    Raises
    ------
    StoreError
        If the file does not exist, is no patch store or an unfinished one, has an unknown schema, or is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        content = read_content(self.path)
        self.layout, self.pairing, self.fingerprint = content.layout, content.pairing, content.fingerprint
        self.provenance, self.truth, self.believed = content.provenance, content.truth, content.believed
        self.cameras, self.scenes, self.sources = (content.names[label] for label in LABELS)
        self.source_checksums, self.scene_facts = content.source_checksums, content.scene_facts
        self.protected, self.table = content.protected, content.table
        self._noisy, self._shared = content.noisy, content.mean_crc is not None
        self._clean: Any = content.clean
        # Reading mapped pages of a truncated file would crash, so the size is checked before each batch.
        self._descriptor = os.open(self.path, os.O_RDONLY)
        self._let_go = weakref.finalize(self, os.close, self._descriptor)
        self._bytes = os.fstat(self._descriptor).st_size
        self.patch_shape: tuple[int, int, int] = tuple(self._noisy.shape[1:])
        # Per patch and plane: black and range to normalise DN, and the factor that clean_variance adds to the noise.
        self._black = self.table["black"][:, :, None, None]
        self._range = self.table["white"][:, None, None, None].astype(np.float64) - self._black
        self._spread = np.sqrt(1.0 + self.table["clean_variance"].astype(np.float64))[:, None, None, None]
        self._checked = np.zeros(len(self.table), bool)
        self._mask = content.mask
        self._local = threading.local()
        if content.mean_crc is not None:
            self._mean_crc = content.mean_crc
            self._mean_checked = np.zeros(len(self._mean_crc), bool)
            self._row = self.table["mean"].astype(np.int64)
            self._own = self.table["own"][:, None, None, None]
            self._gain, self._offset = (self.table[name][:, :, None, None] for name in ("gain", "offset"))

    def __repr__(self) -> str:
        text = f"<PatchStore {self.path}: {summary(self)['patches']}, {', '.join(self.cameras[:3])}>"
        return plain_text(text, LONGEST_LINE)

    def _repr_html_(self) -> str:
        """Summary for a notebook."""
        return facts(f"Patch store {self.path}", summary(self))

    def __enter__(self) -> "PatchStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle only the path; another process opens the file itself."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again."""
        self.__init__(state["path"])  # type: ignore[misc]

    def close(self) -> None:
        """Close the file."""
        self._noisy = np.empty((0, *self.patch_shape), NOISY_TYPE)
        self._clean = np.empty((0, *self.patch_shape), CLEAN_TYPE)
        self._mask = None
        self._let_go()

    def codes(self, rows: NDArray[np.integer[Any]]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        """Read noisy and clean patches in DN, in the order of the row numbers.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row numbers.

        Returns
        -------
        noisy, clean : ndarray, shape (n, C, h, w)
            `clean` is NaN if it is unknown, and the second noisy frame for the pairing
            ``"noisy-pair"``.

        Raises
        ------
        StoreError
            If a patch is damaged, the file has become shorter, or the store is closed.
        """
        rows = np.asarray(rows)
        return self._codes(rows, *(np.empty((len(rows), *self.patch_shape), kind) for kind in SCRATCH))

    def _codes(
        self,
        rows: NDArray[np.integer[Any]],
        noisy: NDArray[np.uint16],
        clean: NDArray[np.float32],
        mean: NDArray[np.float32],
    ) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        """Read as `codes` does, into given arrays; `mean` receives shared means."""
        self._not_shorter()
        # An index beyond the end raises here, so that the faster mode "wrap" below is safe.
        checked = self._checked[rows]
        np.take(self._noisy, rows, 0, out=noisy, mode="wrap")
        if self._shared:
            self._check(rows, checked, noisy, None)
            at = self._row[rows]
            np.take(self._clean, at, 0, out=mean, mode="wrap")
            self._check_means(at, mean)
            return noisy, mean_of_others(noisy, mean, self._own[rows], self._gain[rows], self._offset[rows], out=clean)
        if self._clean is None:
            clean.fill(np.nan)
        else:
            np.take(self._clean, rows, 0, out=clean, mode="wrap")
        self._check(rows, checked, noisy, None if self._clean is None else clean)
        return noisy, clean

    def _scratch(self) -> tuple[NDArray[Any], ...]:
        """Working arrays of `read`, reused for each piece, since allocating new ones costs more than reading."""
        if not hasattr(self._local, "scratch"):
            count = max(1, SCRATCH_BYTES // max(1, int(np.prod(self.patch_shape)) * CLEAN_TYPE.itemsize))
            self._local.scratch = tuple(np.empty((count, *self.patch_shape), kind) for kind in SCRATCH)
        scratch: tuple[NDArray[Any], ...] = self._local.scratch
        return scratch

    def read(
        self, rows: NDArray[np.integer[Any]], dtype: torch.dtype = torch.float32, *, pairs: bool = False
    ) -> PatchBatch:
        """Read patches by row number, in the given order.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row numbers.
        dtype : torch.dtype
            Type of the tensors; the computation is in float64 for float64, otherwise in float32.
        pairs : bool
            Allow pairs of noisy frames: `clean` is then the second frame, and `noise` is (x₁ − x₂)/√2.

        Raises
        ------
        DataError
            If the store has no clean signal, or it has NaN or infinite values.
        StoreError
            If a patch is damaged, the file has become shorter, or the store is closed.
        """
        kind = PAIRINGS[self.pairing].clean if self.pairing in PAIRINGS else "signal"
        if kind == "none":
            raise DataError(
                f"{self.path}: contains single frames without a clean signal; ingest a clean twin or a burst of each "
                "scene"
            )
        if kind == "noisy" and not pairs:
            raise DataError(
                f"{self.path}: contains pairs of noisy frames without a clean signal, on which only `noiseflow fit` "
                "can work; for anything else ingest with --pairing burst or gt"
            )
        rows = np.asarray(rows)
        # A difference of codes is exact in float32.
        work = np.float64 if dtype == torch.float64 else np.float32
        scale, black = self._range[rows], self._black[rows]
        of_noise, of_signal = (1 / (scale * self._spread[rows])).astype(work), (1 / scale).astype(work)
        # One allocation for both, so that the system can use huge pages.
        noise, signal = np.empty((2, len(rows), *self.patch_shape), work)
        sums = np.empty(len(rows), work)
        scratch = self._scratch()
        for start in range(0, len(rows), len(scratch[0])):
            piece = slice(start, min(start + len(scratch[0]), len(rows)))
            codes, clean = self._codes(rows[piece], *(each[: piece.stop - start] for each in scratch))
            np.subtract(codes, clean, out=noise[piece], dtype=work)
            noise[piece] *= of_noise[piece]
            np.subtract(clean, black[piece], out=signal[piece], dtype=work)
            signal[piece] *= of_signal[piece]
            # A sum is NaN or infinite if one of its terms is.
            noise[piece].sum((1, 2, 3), out=sums[piece])
        if not np.isfinite(sums).all():
            bad = rows[~np.isfinite(sums)]
            raise DataError(
                f"{self.path}: NaN or infinite values in the clean signal of patches {bad[:5].tolist()}; ingest again"
            )
        table = self.table[rows]
        masked = self.masked(rows)
        return PatchBatch(
            noise=torch.from_numpy(noise).to(dtype),
            clean=torch.from_numpy(signal).to(dtype),
            iso=torch.from_numpy(table["iso"].astype(work)).to(dtype),
            camera=torch.from_numpy(table["camera"].astype(np.int64)),
            table=table,
            observed=None if masked is None else torch.from_numpy(np.logical_not(masked, out=masked)),
        )

    @property
    def has_masks(self) -> bool:
        """Whether any pixel is masked."""
        return self._mask is not None

    def masked(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.bool_] | None:
        """Masks of patches, True where a pixel is masked, shape (n, C, h, w); None if no pixel is masked.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Row numbers.
        """
        if self._mask is None:
            return None
        at = self.table["mask"][rows].astype(np.int64)
        some = np.flatnonzero(at)
        if not some.size:
            return None
        found = np.zeros((len(at), *self.patch_shape), bool)
        count = int(np.prod(self.patch_shape))
        bits = np.unpackbits(self._mask[at[some] - 1], axis=1, count=count)
        found[some] = bits.reshape(-1, *self.patch_shape).view(bool)
        return found

    def verify(self, progress: Progress = silent, size: int = 1024) -> None:
        """Compare every patch with its checksum; the other contents were checked when the store was opened.

        Parameters
        ----------
        progress : Progress
            Called with the number of patches checked and the total.
        size : int
            Number of patches read at a time.

        Raises
        ------
        StoreError
            If a patch differs from its checksum; names the first.
        """
        for start in range(0, len(self), size):
            rows = np.arange(start, min(start + size, len(self)))
            self._checked[rows] = False
            if self._shared:
                self._mean_checked[self._row[rows]] = False
            self.codes(rows)
            progress(int(rows[-1]) + 1, len(self), "checksums")

    def _not_shorter(self) -> None:
        if not self._let_go.alive:
            raise StoreError(f"{self.path}: is closed; open it again")
        found = os.fstat(self._descriptor).st_size
        if found < self._bytes:
            raise StoreError(
                f"{self.path}: became shorter while it was open ({found:,} of {self._bytes:,} bytes); ingest again"
            )

    def _check(
        self, rows: NDArray[Any], checked: NDArray[np.bool_], noisy: NDArray[Any], clean: NDArray[Any] | None
    ) -> None:
        new = np.flatnonzero(~checked)
        if not new.size:
            return
        expected = self.table["crc32"][rows].tolist()
        for index in new.tolist():
            found = crc32(noisy[index].data)
            if clean is not None:
                found = crc32(clean[index].data, found)
            if self._mask is not None and (at := int(self.table["mask"][rows[index]])):
                found = crc32(self._mask[at - 1].data, found)
            if found != expected[index]:
                raise StoreError(
                    f"{self.path}: cannot read patch {int(rows[index])}: its checksum differs; the file is damaged, "
                    "ingest again"
                )
        self._checked[rows[new]] = True

    def _check_means(self, at: NDArray[Any], means: NDArray[Any]) -> None:
        new = np.flatnonzero(~self._mean_checked[at])
        bad = [index for index in new.tolist() if crc32(means[index].data) != self._mean_crc[at[index]]]
        if bad:
            raise StoreError(
                f"{self.path}: cannot read mean {int(at[bad[0]])}: its checksum differs; the file is damaged, "
                "ingest again"
            )
        self._mean_checked[at[new]] = True
