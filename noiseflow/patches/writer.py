"""Put a store together from its parts."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import StoreError
from noiseflow.patches.parts import PartNote, part_file, read_note, read_table, write_part
from noiseflow.patches.schema import CLEAN_TYPE, LABELS, NOISY_TYPE, PARTIAL, SCHEMA, fields
from noiseflow.raw.bayer import plane_names
from noiseflow.units import SIGNAL_UNIT

__all__ = ["StoreHeader", "StoreWriter", "assemble", "clear", "may_write", "on_disk", "partial_folder"]

COPY_BYTES = 1 << 26

OURS = re.compile(r"(plan\.json|store\.h5|part-\d{6}\.\w+|scene-\d{6}\.[\w.]+)(\.\d+)?")
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


def assemble(
    folder: Path,
    parts: int,
    path: Path,
    header: StoreHeader,
    scene_facts: Mapping[str, Mapping[str, Any]] | None = None,
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

    Returns
    -------
    int
        Patches stored.

    Raises
    ------
    StoreError
        A part is missing or damaged, there is no patch, or no room to write.
    """
    notes = [_note(folder, number) for number in range(parts)]
    count = sum(note.patches for note in notes)
    if not count:
        raise StoreError(f"{path}: not one patch to store; are the frames smaller than a patch, or all clipped?")
    labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    table = np.concatenate(
        [_labelled(folder, number, note, labels, header) for number, note in enumerate(notes) if note.patches]
    )
    sources = {name: sha for note in notes for name, sha in zip(note.sources, note.source_sha256, strict=True)}
    whole = folder / "store.h5"
    facts = {name: dict((scene_facts or {}).get(name, {})) for name in labels["scenes"]}
    known_clean = part_file(folder, _first(notes), "clean").exists()
    with on_disk(path):
        try:
            offsets = _reserve_all(whole, header, labels, table, sources, facts, known_clean)
        except RuntimeError as error:
            # What h5py raises where closing a file fails.
            raise OSError(str(error)) from error
        with whole.open("r+b", buffering=0) as target:
            for name, offset in offsets.items():
                target.seek(offset)
                for number, note in enumerate(notes):
                    if note.patches:
                        expected = note.patches * int(np.prod(header.patch_shape))
                        _append(target, part_file(folder, number, name), expected * _size(name))
            os.fsync(target.fileno())
        os.replace(whole, path)
    return count


def _reserve_all(
    whole: Path,
    header: StoreHeader,
    labels: Mapping[str, Mapping[str, int]],
    table: NDArray[Any],
    sources: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    known_clean: bool,
) -> dict[str, int]:
    """Write all but the patches; where in the file those of each dataset begin."""
    shape = (len(table), *header.patch_shape)
    with h5py.File(whole, "w", libver="v110") as file:
        _describe(file, header, labels, table, sources, facts)
        offsets = {"noisy": _reserve(file, "noisy", NOISY_TYPE, shape)}
        if known_clean:
            offsets["clean"] = _reserve(file, "clean", CLEAN_TYPE, shape)
        else:
            # Never allocated: it takes no room, and HDF5 reads the fill value.
            file.create_dataset("clean", shape, CLEAN_TYPE, fillvalue=np.nan)
    return offsets


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
    folder: Path, number: int, note: PartNote, labels: dict[str, dict[str, int]], header: StoreHeader
) -> NDArray[Any]:
    table = read_table(folder, number, fields(header.patch_shape[0]))
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
) -> None:
    for label, names in labels.items():
        file[label] = np.array(list(names), dtype=h5py.string_dtype())
    checksums = [sources[name] for name in labels["sources"]]
    file["source_sha256"] = np.array(checksums, dtype=h5py.string_dtype())
    file["scene_facts"] = np.array([json.dumps(each) for each in facts.values()], dtype=h5py.string_dtype())
    file["table"] = table
    # Every patch is in it by its CRC.
    digest = hashlib.sha256(table.tobytes())
    for names in labels.values():
        digest.update("\n".join(names).encode())
    file.attrs.update(
        schema=SCHEMA,
        layout=header.layout,
        pairing=header.pairing,
        unit=SIGNAL_UNIT,
        provenance=json.dumps(dict(header.provenance)),
        truth=json.dumps(dict(header.truth)),
        fingerprint=digest.hexdigest(),
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


def _append(target: IO[bytes], source: Path, expected: int) -> None:
    with source.open("rb") as part:
        size = os.fstat(part.fileno()).st_size
        if size != expected:
            raise StoreError(
                f"{source}: {size:,} bytes; expected {expected:,}: damaged, delete the folder "
                f"{source.parent.name} and ingest again"
            )
        shutil.copyfileobj(part, target, COPY_BYTES)


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
        checksums = [self._checksums.get(name, "") for name in sources]
        note = PartNote(len(table), cameras, scenes, sources, checksums)
        write_part(self._folder, self._parts, note, noisy, clean, table.copy())
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
