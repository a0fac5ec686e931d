"""The HDF5 patch store: pairs of noisy and clean patches and where they come from.

A store of schema 1 holds N patches of C planes, h×w pixels:

=============  ====================  ====================================================
``noisy``      (N, C, h, w) uint16   the camera's integers, DN
``clean``      (N, C, h, w) float32  clean signal in the same DN; NaN if none is known
``table``      (N,) compound         `fields`: camera, ISO, levels, split, position …
``cameras``    strings               names that ``table["camera"]`` points into
``scenes``     strings               likewise
``sources``    strings               files, likewise; ``source_sha256`` beside them
attributes                           schema, layout, pairing, unit, provenance, truth
                                     (of simulated data), finished
=============  ====================  ====================================================

It is written under another name, ``NAME.partial``, until it is whole.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.errors import DataError, StoreError
from noiseflow.raw.bayer import plane_names
from noiseflow.units import SIGNAL_UNIT

__all__ = ["SCHEMA", "SPLITS", "PatchBatch", "PatchStore", "StoreWriter", "fields"]

SCHEMA = 1
SPLITS = ("train", "val", "test")
LABELS = ("cameras", "scenes", "sources")
PARTIAL = ".partial"


def fields(planes: int) -> np.dtype[Any]:
    """The columns of a store's table.

    ``camera``, ``scene`` and ``source`` index the lists of names; ``frame`` counts the
    frames of a scene; ``y``, ``x`` are the patch's corner in pixels of a plane; ``split``
    indexes `SPLITS`; ``black`` (per plane) and ``white`` are levels in DN;
    ``clean_variance`` is the variance of the clean estimate as a fraction of the noise
    variance: 0 for a clean twin, 1/(n − 1) for the mean of the n − 1 other frames.
    """
    return np.dtype(
        [
            ("camera", "u2"),
            ("iso", "f4"),
            ("scene", "u4"),
            ("frame", "u4"),
            ("source", "u4"),
            ("y", "u4"),
            ("x", "u4"),
            ("split", "u1"),
            ("black", "f4", (planes,)),
            ("white", "f4"),
            ("clean_variance", "f4"),
        ]
    )


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """Patches as models want them.

    Parameters
    ----------
    noise : Tensor, shape (B, C, h, w)
        Normalised noise, scaled by 1/√(1 + clean_variance), so that its variance is the
        noise's own where the clean signal is itself an estimate.
    clean : Tensor, shape (B, C, h, w)
        Normalised clean signal.
    iso : Tensor, shape (B,)
    camera : Tensor of long, shape (B,)
        Index into the store's cameras.
    table : structured ndarray, shape (B,)
        The store's rows of these patches.
    """

    noise: Tensor
    clean: Tensor
    iso: Tensor
    camera: Tensor
    table: NDArray[Any]


class PatchStore:
    """A patch store opened for reading.

    Parameters
    ----------
    path : path
        An HDF5 file that `StoreWriter` finished.

    Raises
    ------
    StoreError
        No such file, no patch store, one of a killed ingest, or one of another schema.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            attributes = self._file.attrs
            self.layout = str(attributes["layout"])
            self.pairing = str(attributes["pairing"])
            self.provenance: dict[str, Any] = json.loads(attributes["provenance"])
            self.truth: dict[str, Any] = json.loads(attributes["truth"])
            self.cameras, self.scenes, self.sources = (
                tuple(name.decode() for name in self._file[label][:]) for label in LABELS
            )
            self.table: NDArray[Any] = self._file["table"][:]
            self.patch_shape: tuple[int, int, int] = tuple(self._file["noisy"].shape[1:])
        except (KeyError, OSError, ValueError) as error:
            self._file.close()
            raise StoreError(f"{self.path}: damaged patch store ({error}); ingest again") from error

    def __enter__(self) -> "PatchStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.table)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def isos(self) -> tuple[float, ...]:
        """The ISOs in the store, rising."""
        return tuple(float(iso) for iso in np.unique(self.table["iso"]))

    @property
    def source_checksums(self) -> tuple[str, ...]:
        """SHA-256 of each source file when it was read."""
        return tuple(checksum.decode() for checksum in self._file["source_sha256"][:])

    @property
    def fingerprint(self) -> str:
        """Checksum of the content, made when the store was written."""
        return str(self._file.attrs["fingerprint"])

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the patches of a split, rising.

        Raises
        ------
        StoreError
            If the split's name is unknown or it holds no patch.
        """
        if split not in SPLITS:
            raise StoreError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
        rows = np.flatnonzero(self.table["split"] == SPLITS.index(split))
        if not rows.size:
            raise StoreError(
                f"{self.path}: no patch in the split {split!r}; ingest more scenes or frames, or change the split"
            )
        return rows

    def read(self, rows: NDArray[np.integer[Any]], dtype: torch.dtype = torch.float32) -> PatchBatch:
        """Read patches by row number, in the order given.

        Raises
        ------
        DataError
            If the store has no clean signal, or holds NaN there.
        """
        if self.pairing == "none":
            raise DataError(
                f"{self.path}: holds single frames without a clean signal; ingest a clean twin or a burst of each scene"
            )
        rows = np.asarray(rows)
        try:
            # One read a patch: h5py is eight times slower with a list of rows.
            noisy, clean = (
                np.stack([self._file[name][row] for row in rows]).astype(np.float64) for name in ("noisy", "clean")
            )
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot read patches {rows.min()}…{rows.max()} ({error}); ingest again"
            ) from error
        table = self.table[rows]
        black = table["black"][:, :, None, None].astype(np.float64)
        white = table["white"][:, None, None, None].astype(np.float64)
        spread = np.sqrt(1.0 + table["clean_variance"].astype(np.float64))[:, None, None, None]
        noise = (noisy - clean) / ((white - black) * spread)
        if not np.isfinite(noise).all():
            bad = rows[~np.isfinite(noise).all((1, 2, 3))]
            raise DataError(
                f"{self.path}: NaN or infinite values in the clean signal of patches {bad[:5].tolist()}; ingest again"
            )
        return PatchBatch(
            noise=torch.from_numpy(noise).to(dtype),
            clean=torch.from_numpy((clean - black) / (white - black)).to(dtype),
            iso=torch.from_numpy(table["iso"].astype(np.float64)).to(dtype),
            camera=torch.from_numpy(table["camera"].astype(np.int64)),
            table=table,
        )

    def batches(self, split: str, size: int = 256, dtype: torch.dtype = torch.float32) -> Iterator[PatchBatch]:
        """All patches of a split in stored order, `size` at a time."""
        rows = self.indices(split)
        for start in range(0, len(rows), size):
            yield self.read(rows[start : start + size], dtype)


def _open(path: Path) -> h5py.File:
    if not path.exists():
        partial = path.with_name(path.name + PARTIAL)
        hint = f"; {partial.name} is what an ingest that was stopped left: ingest again" if partial.exists() else ""
        raise StoreError(f"{path}: no such file{hint}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        unfinished = path.name.endswith(PARTIAL)
        reason = "left by an ingest that was stopped" if unfinished else f"not a readable HDF5 file ({error})"
        raise StoreError(f"{path}: {reason}; ingest again") from error
    schema = file.attrs.get("schema")
    if schema is None:
        problem = "an HDF5 file but no patch store; make one with `noiseflow ingest`"
    elif not file.attrs.get("finished", False):
        problem = "unfinished, left by an ingest that was stopped; ingest again"
    elif schema != SCHEMA:
        problem = f"a patch store of schema {schema}; expected {SCHEMA}: ingest again with this version"
    elif file.attrs.get("unit") != SIGNAL_UNIT:
        problem = f"its signal is in {file.attrs.get('unit')!r}; expected {SIGNAL_UNIT!r}"
    else:
        return file
    file.close()
    raise StoreError(f"{path}: {problem}")


class StoreWriter:
    """Writes a patch store, patch by patch, in flat memory.

    Use it as a context manager: leaving the block whole gives the store its name,
    leaving it by an exception removes what was written.

    Parameters
    ----------
    path : path
        Final name.
    layout : str
        Plane layout.
    patch_size : int
        Height and width of a patch, in pixels of a plane.
    pairing : str
        ``"gt"``, ``"burst"``, ``"flat"``, ``"dark"``, ``"noisy-pair"`` or ``"none"``.
    provenance : mapping
        JSON-able: tool version, arguments, checksums.
    truth : mapping, optional
        Parameters of the simulated cameras, by name.
    overwrite : bool
        Whether an existing file of that name may be replaced.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        layout: str,
        patch_size: int,
        pairing: str,
        provenance: Mapping[str, Any],
        truth: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise StoreError(f"{self.path}: exists; pass --overwrite to replace it")
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path.parent}: no such folder to write {self.path.name} into")
        self._partial = self.path.with_name(self.path.name + PARTIAL)
        self._planes = len(plane_names(layout))
        shape = (self._planes, patch_size, patch_size)
        self._labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
        self._checksums: dict[str, str] = {}
        self._count = 0
        self._digest = hashlib.sha256()
        self._file = h5py.File(self._partial, "w", libver="latest")
        # One patch a chunk: a shuffled batch touches exactly the patches it wants.
        for name, dtype in (("noisy", "u2"), ("clean", "f4")):
            self._file.create_dataset(
                name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape), fletcher32=True
            )
        self._file.create_dataset("table", (0,), fields(self._planes), maxshape=(None,), chunks=(4096,))
        self._file.attrs.update(
            schema=SCHEMA,
            finished=False,
            layout=layout,
            pairing=pairing,
            unit=SIGNAL_UNIT,
            provenance=json.dumps(dict(provenance)),
            truth=json.dumps(dict(truth or {})),
        )

    def label(self, kind: str, name: str) -> int:
        """Index of a name in one of the lists ``cameras``, ``scenes``, ``sources``."""
        return self._labels[kind].setdefault(name, len(self._labels[kind]))

    def source(self, name: str, checksum: str) -> int:
        """Index of a source file; its SHA-256 is stored beside its name."""
        self._checksums[name] = checksum
        return self.label("sources", name)

    def append(self, noisy: NDArray[Any], clean: NDArray[Any], table: NDArray[Any]) -> None:
        """Add patches.

        Parameters
        ----------
        noisy, clean : ndarray, shape (n, C, h, w)
            DN; `noisy` whole numbers.
        table : structured ndarray of `fields`, shape (n,)
        """
        start, self._count = self._count, self._count + len(table)
        for name, values in (("noisy", noisy), ("clean", clean), ("table", table)):
            self._file[name].resize(self._count, axis=0)
            self._file[name][start:] = values
            self._digest.update(np.ascontiguousarray(values, self._file[name].dtype).data)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._count == 0:
            error = StoreError(
                f"{self.path}: not one patch to store; are the frames smaller than a patch, or all clipped?"
            )
        if error is not None:
            with suppress(OSError, RuntimeError):
                self._file.close()
            self._partial.unlink(missing_ok=True)
            if kind is None:
                raise error
            return
        self._finish()

    def _finish(self) -> None:
        for label, names in self._labels.items():
            self._file[label] = np.array(list(names), dtype=h5py.string_dtype())
        checksums = [self._checksums.get(name, "") for name in self._labels["sources"]]
        self._file["source_sha256"] = np.array(checksums, dtype=h5py.string_dtype())
        self._file.attrs["fingerprint"] = self._digest.hexdigest()
        self._file.attrs["finished"] = True
        self._file.close()
        with self._partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(self._partial, self.path)
