"""Put a store together from its parts."""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.assembly.copy_into_store import SceneMean, number_means, place_means, place_part
from noiseflow.patches.assembly.parts import PIXELS, PartNote, PartWriter, part_file, read_note, read_table, store_file
from noiseflow.patches.header import StoreHeader
from noiseflow.patches.ingestion.executors import InThisProcess, Pool
from noiseflow.patches.schema import CLEAN_TYPE, LABELS, NOISY_TYPE, PARTIAL, fields

__all__ = ["StoreHeader", "StoreWriter", "assemble", "clear", "may_write", "on_disk", "partial_folder"]

TYPES: dict[str, np.dtype[Any]] = {"noisy": NOISY_TYPE, "clean": CLEAN_TYPE, "mean": CLEAN_TYPE}
"""Of the pixels of each dataset."""

OURS = re.compile(r"(plan\.json|(store|around)\.h5|part-\d{6}\.\w+|scene-\d{6}\.[\w.-]+)(\.\d+)?")
"""Files in the folder that a store is made in, and what a killed process leaves of them."""


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
    # It takes HDF5, which nothing before the end needs.
    from noiseflow.patches.assembly.hdf5_layout import conclude, describe, put_around

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
    wrong = [number for number, note in enumerate(notes) if note.placed and note.before != starts[number]]
    if wrong:
        known = part_file(folder, wrong[0], "json")
        raise StoreError(f"{known}: damaged; delete the folder {folder.name} and ingest again")
    places = number_means(table, starts, means or ())
    sources = {name: known for note in notes for name, known in zip(note.sources, note.source_blake3, strict=True)}
    facts = {name: dict((scene_facts or {}).get(name, {})) for name in labels["scenes"]}
    lengths = {name: int(np.prod(header.patch_shape)) * kind.itemsize for name, kind in TYPES.items()}
    with on_disk(path):
        whole = around = folder / "around.h5"
        try:
            known_clean = part_file(folder, _first(notes), "clean").exists()
            shapes = {"noisy": count, "mean": sum(map(len, places))} if means is not None else {"noisy": count}
            if means is None and known_clean:
                shapes["clean"] = count
            offsets = describe(around, header, labels, table, sources, facts, shapes)
        except RuntimeError as error:
            # What h5py raises where closing a file fails.
            raise OSError(str(error)) from error
        if offsets["noisy"] == PIXELS and any(note.placed for note in notes):
            whole = store_file(folder)
            put_around(around, whole, [(at, at + shapes[name] * lengths[name]) for name, at in offsets.items()])
        copies = []
        for name in ("noisy", "clean"):
            for number, note in enumerate(notes):
                if name in offsets and note.patches:
                    source = part_file(folder, number, name), 0
                    if name == "noisy" and note.placed:
                        source = store_file(folder), PIXELS + int(starts[number]) * lengths[name]
                    at = offsets[name] + int(starts[number]) * lengths[name]
                    copies.append((*source, whole, at, note.patches * lengths[name]))
        waiting = [pool.submit(place_part, *each) for each in copies if each[:2] != each[2:4]]
        crcs, at = [], offsets.get("mean", 0)
        for mean, corners in zip(means or (), places, strict=True):
            crcs.append(pool.submit(place_means, mean, corners, header.patch_size, whole, at))
            at += len(corners) * lengths["mean"]
        for future in waiting:
            future.result()
        try:
            conclude(whole, table, labels, [crc.result() for crc in crcs])
        except RuntimeError as error:
            raise OSError(str(error)) from error
        with whole.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(whole, path)
    return count


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
        """Index of a source file; its BLAKE3 is stored beside its name."""
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
