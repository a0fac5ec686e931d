"""Put a store together from its parts."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import StoreError
from noiseflow.patches.cut import patches_at
from noiseflow.patches.executors import InThisProcess, Pool
from noiseflow.patches.parts import PartNote, PartWriter, checksums, part_file, read_note, read_table, write_fully
from noiseflow.patches.schema import CLEAN_TYPE, CRC_TYPE, LABELS, NOISY_TYPE, PARTIAL, SCHEMA, SHARED, fields
from noiseflow.raw.bayer import plane_names
from noiseflow.units import SIGNAL_UNIT

__all__ = ["SceneMean", "StoreHeader", "StoreWriter", "assemble", "clear", "may_write", "on_disk", "partial_folder"]

COPY_BYTES = 1 << 20
"""Copied at a time: what stays in the processor's cache is five times as fast as what does not."""

OURS = re.compile(r"(plan\.json|store\.h5|part-\d{6}\.\w+|scene-\d{6}\.[\w.-]+)(\.\d+)?")
"""Files in the folder that a store is made in, and what a killed process leaves of them."""


@dataclass(frozen=True)
class StoreHeader:
    """What is true of all patches of a store.

    Parameters
    ----------
    layout : str
        Plane layout.
    patch_size : int
        Height and width of a patch, in pixels of a plane.
    pairing : str
        A name in `noiseflow.patches.pairings.PAIRINGS`.
    provenance : mapping
        JSON-able: tool version, arguments, checksums.
    truth : mapping
        Parameters of the simulated cameras, by name.
    """

    layout: str
    patch_size: int
    pairing: str
    provenance: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        return len(plane_names(self.layout)), self.patch_size, self.patch_size


def partial_folder(path: Path) -> Path:
    """The folder in which the store of that name is made."""
    return path.with_name(path.name + PARTIAL)


def clear(folder: Path) -> None:
    """Remove what an ingest left in a folder, and the folder; nothing if it is not there.

    Raises
    ------
    StoreError
        It holds something that no ingest makes, which is left as it is.
    """
    if not folder.exists():
        return
    entries = list(folder.iterdir()) if folder.is_dir() else [folder]
    other = [entry for entry in entries if not OURS.fullmatch(entry.name) or not entry.is_file()]
    if other:
        raise StoreError(f"{other[0]}: was not left by an ingest; move it away, or choose another name for the store")
    for entry in entries:
        entry.unlink()
    folder.rmdir()


@dataclass(frozen=True)
class SceneMean:
    """Where the mean of a scene's frames is.

    Parameters
    ----------
    path : Path
        A file of float32, (C, h, w).
    shape : tuple of int
        (h, w).
    parts : sequence of int
        Of the frames whose clean signals come from it.
    """

    path: Path
    shape: tuple[int, int]
    parts: Sequence[int]


def assemble(
    folder: Path,
    parts: int,
    path: Path,
    header: StoreHeader,
    scene_facts: Mapping[str, Mapping[str, Any]] | None = None,
    means: Sequence[SceneMean] | None = None,
    pool: Pool | None = None,
) -> int:
    """Make a store of the parts in a folder, and give it its name.

    Parameters
    ----------
    folder : Path
        With the parts 0 … `parts` − 1, in whose order the patches will stand.  It is left as it is.
    parts : int
    path : Path
        The store; replaced if it is there.
    header : StoreHeader
    scene_facts : mapping, optional
        JSON-able facts of each scene, by name.
    means : sequence of SceneMean, optional
        If the frames' clean signals come from these.
    pool : Pool, optional
        Who copies the patches; this process if it is not given.

    Returns
    -------
    int
        Patches stored.

    Raises
    ------
    StoreError
        A part is missing or damaged, there is no patch, or no room to write.
    """
    pool = pool or Pool(InThisProcess(), 1)
    notes = [_note(folder, number) for number in range(parts)]
    count = sum(note.patches for note in notes)
    if not count:
        raise StoreError(f"{path}: not one patch to store; are the frames smaller than a patch, or all clipped?")
    labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    columns = fields(header.patch_shape[0], shared=means is not None)
    tables = [_labelled(folder, number, note, labels, columns) for number, note in enumerate(notes) if note.patches]
    table = np.concatenate(tables)
    del tables
    starts = np.cumsum([0, *(note.patches for note in notes)])
    places = _number_means(table, starts, means or ())
    sources = {name: sha for note in notes for name, sha in zip(note.sources, note.source_sha256, strict=True)}
    whole = folder / "store.h5"
    facts = {name: dict((scene_facts or {}).get(name, {})) for name in labels["scenes"]}
    patch = int(np.prod(header.patch_shape))
    with on_disk(path):
        try:
            known_clean = part_file(folder, _first(notes), "clean").exists()
            shapes = {"noisy": count, "mean": sum(map(len, places))} if means is not None else {"noisy": count}
            if means is None and known_clean:
                shapes["clean"] = count
            offsets = _reserve_all(whole, header, labels, table, sources, facts, shapes)
        except RuntimeError as error:
            # What h5py raises where closing a file fails.
            raise OSError(str(error)) from error
        copies = []
        for name in ("noisy", "clean"):
            for number, note in enumerate(notes):
                if name in offsets and note.patches:
                    at = offsets[name] + int(starts[number]) * patch * _size(name)
                    copies.append((part_file(folder, number, name), whole, at, note.patches * patch * _size(name)))
        waiting = [pool.submit(place_part, *each) for each in copies]
        crcs, at = [], offsets.get("mean", 0)
        for mean, corners in zip(means or (), places, strict=True):
            crcs.append(pool.submit(place_means, mean, corners, header.patch_size, whole, at))
            at += len(corners) * patch * CLEAN_TYPE.itemsize
        for future in waiting:
            future.result()
        try:
            _close(whole, table, labels, [crc.result() for crc in crcs])
        except RuntimeError as error:
            raise OSError(str(error)) from error
        with whole.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(whole, path)
    return count


def _number_means(table: NDArray[Any], starts: NDArray[Any], means: Sequence[SceneMean]) -> list[NDArray[np.int64]]:
    """Say in the table which mean each patch has; the corners (y, x) of those of each scene."""
    places, before = [], 0
    for mean in means:
        rows = np.concatenate([np.arange(starts[part], starts[part + 1]) for part in mean.parts])
        keys = table["y"][rows].astype(np.int64) << 32 | table["x"][rows]
        found, which = np.unique(keys, return_inverse=True)
        table["mean"][rows] = before + which
        places.append(np.stack([found >> 32, found & 0xFFFFFFFF], 1))
        before += len(found)
    return places


def place_part(part: Path, store: Path, offset: int, size: int) -> None:
    """Copy one file of a part to its place in the store.

    Raises
    ------
    StoreError
        It is not of that size.
    """
    with part.open("rb", buffering=0) as source, store.open("r+b", buffering=0) as target:
        found = os.fstat(source.fileno()).st_size
        if found != size:
            raise StoreError(
                f"{part}: {found:,} bytes; expected {size:,}: damaged, delete the folder {part.parent.name} and "
                "ingest again"
            )
        target.seek(offset)
        block = np.empty(COPY_BYTES, np.uint8)
        while count := source.readinto(block.data):
            write_fully(target, block[:count])


def place_means(mean: SceneMean, corners: NDArray[np.int64], size: int, store: Path, offset: int) -> NDArray[np.uint32]:
    """Cut a scene's mean into patches at their place in the store; their CRC-32."""
    if not len(corners):
        return np.empty(0, np.uint32)
    pages = np.memmap(mean.path, CLEAN_TYPE, "r", shape=(4, *mean.shape))
    crcs = []
    with store.open("r+b", buffering=0) as target:
        target.seek(offset)
        for _, patches in patches_at(lambda plane, rows: pages[plane, rows], len(pages), corners, size, CLEAN_TYPE):
            crcs.append(checksums(patches, None))
            write_fully(target, patches)
    return np.concatenate(crcs)


def _reserve_all(
    whole: Path,
    header: StoreHeader,
    labels: Mapping[str, Mapping[str, int]],
    table: NDArray[Any],
    sources: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
) -> dict[str, int]:
    """Write all but the patches; where in the file those of each dataset begin."""
    with h5py.File(whole, "w", libver="v110") as file:
        _describe(file, header, labels, table, sources, facts, SHARED if "mean" in counts else SCHEMA)
        offsets = {
            name: _reserve(file, name, NOISY_TYPE if name == "noisy" else CLEAN_TYPE, (count, *header.patch_shape))
            for name, count in counts.items()
        }
        if "mean" in counts:
            file.create_dataset("mean_crc", (counts["mean"],), CRC_TYPE)
        elif "clean" not in counts:
            # Never allocated: it takes no room, and HDF5 reads the fill value.
            file.create_dataset("clean", (len(table), *header.patch_shape), CLEAN_TYPE, fillvalue=np.nan)
    return offsets


def _close(
    whole: Path, table: NDArray[Any], labels: Mapping[str, Mapping[str, int]], crcs: Sequence[NDArray[np.uint32]]
) -> None:
    """Write what is known when all patches are: the means' checksums and the fingerprint."""
    # Every patch is in it by its CRC.
    digest = hashlib.sha256(table.tobytes())
    for names in labels.values():
        digest.update("\n".join(names).encode())
    with h5py.File(whole, "r+", libver="v110") as file:
        if crcs:
            file["mean_crc"][:] = np.concatenate(crcs)
            digest.update(np.concatenate(crcs).astype(CRC_TYPE).tobytes())
        file.attrs["fingerprint"] = digest.hexdigest()


def _size(name: str) -> int:
    return (NOISY_TYPE if name == "noisy" else CLEAN_TYPE).itemsize


def _first(notes: list[PartNote]) -> int:
    return next(number for number, note in enumerate(notes) if note.patches)


def _note(folder: Path, number: int) -> PartNote:
    note = read_note(folder, number)
    if note is None:
        raise StoreError(f"{part_file(folder, number, 'json')}: no such part; ingest again to make it")
    return note


def _labelled(
    folder: Path, number: int, note: PartNote, labels: dict[str, dict[str, int]], columns: np.dtype[Any]
) -> NDArray[Any]:
    table = read_table(folder, number, columns)
    if len(table) != note.patches:
        raise StoreError(
            f"{part_file(folder, number, 'table')}: {len(table)} rows; expected {note.patches}: damaged, "
            f"delete the folder {folder.name} and ingest again"
        )
    for column, label in zip(("camera", "scene", "source"), LABELS, strict=True):
        own = [labels[label].setdefault(name, len(labels[label])) for name in getattr(note, label)] or [0]
        table[column] = np.array(own)[table[column]]
    return table


def _describe(
    file: h5py.File,
    header: StoreHeader,
    labels: Mapping[str, Mapping[str, int]],
    table: NDArray[Any],
    sources: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    schema: int,
) -> None:
    for label, names in labels.items():
        file[label] = np.array(list(names), dtype=h5py.string_dtype())
    known = [sources[name] for name in labels["sources"]]
    file["source_sha256"] = np.array(known, dtype=h5py.string_dtype())
    file["scene_facts"] = np.array([json.dumps(each) for each in facts.values()], dtype=h5py.string_dtype())
    file["table"] = table
    file.attrs.update(
        schema=schema,
        layout=header.layout,
        pairing=header.pairing,
        unit=SIGNAL_UNIT,
        provenance=json.dumps(dict(header.provenance)),
        truth=json.dumps(dict(header.truth)),
        fingerprint="0" * 64,
    )


def _reserve(file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Make a contiguous dataset that is not yet filled; the byte of the file at which it begins."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # The same patches make the same bytes, whenever it is.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, dcpl=creation)
    offset = dataset.get_offset()
    if offset is None:
        raise StoreError(f"{file.filename}: HDF5 reserved no room for {name!r}; is the disk full?")
    return int(offset)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line that says what is kept.

    Parameters
    ----------
    path : Path
        The store that is being made.

    Raises
    ------
    StoreError
        For any `OSError` of the block that does not name another file.
    """
    try:
        yield
    except OSError as error:
        if error.filename and not str(error.filename).startswith((str(path), str(path.absolute()))):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "no space left" if full else (error.strerror or str(error))
        raise StoreError(
            f"{path}: cannot be written ({reason}); what is done is kept in {partial_folder(path).name}: "
            "mend that and give the same command again to go on"
        ) from error


class StoreWriter:
    """Writes a patch store, patch by patch, in flat memory.

    Use it as a context manager: leaving the block whole gives the store its name,
    leaving it by an exception removes what was written.

    Parameters
    ----------
    path : path
        Final name.
    layout, patch_size, pairing, provenance, truth
        See `StoreHeader`.
    overwrite : bool
        Whether an existing file of that name may be replaced.

    Raises
    ------
    StoreError
        The file exists, its folder does not, or nothing was appended.
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
        self.header = StoreHeader(layout, patch_size, pairing, provenance, truth or {})
        may_write(self.path, overwrite=overwrite)
        self._labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
        self._checksums: dict[str, str] = {}
        self._parts = self._count = 0
        self._folder = partial_folder(self.path)
        clear(self._folder)
        self._folder.mkdir()

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
        cameras, scenes, sources = (list(self._labels[label]) for label in LABELS)
        known = [self._checksums.get(name, "") for name in sources]
        with PartWriter(self._folder, self._parts) as part:
            part.append(noisy, clean)
            part.finish(PartNote(len(table), cameras, scenes, sources, known), table.copy())
        self._parts += 1
        self._count += len(table)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                assemble(self._folder, self._parts, self.path, self.header)
        finally:
            clear(self._folder)


def may_write(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that is taken or whose folder is not there.

    Raises
    ------
    StoreError
    """
    if path.exists() and not overwrite:
        raise StoreError(f"{path}: exists; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such folder to write {path.name} into")
