"""Assemble a store from its parts: an HDF5 file written around the patches that the parts put there."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.core.output.ends import END, ENDED
from noiseflow.core.units import SIGNAL_UNIT
from noiseflow.patches.assembly.parts import (
    PIXELS,
    PartNote,
    copy_part,
    damaged,
    part_file,
    read_note,
    read_table,
    recolumned,
    write_fully,
)
from noiseflow.patches.assembly.scene_files import SceneMean, place_mean
from noiseflow.patches.assembly.unfinished import on_disk, store_file
from noiseflow.patches.checksums import content_checksum
from noiseflow.patches.schema import (
    CHECKSUMS,
    CLEAN_TYPE,
    CONTENT,
    CRC_TYPE,
    LABELS,
    MASK_TYPE,
    MASKED,
    NOISY_TYPE,
    PIXELS_OF,
    SCHEMA,
    SHARED,
    SHARED_MASKED,
    StoreHeader,
    fields,
    mask_bytes,
)

__all__ = ["assemble"]

TYPES: dict[str, np.dtype[Any]] = {"noisy": NOISY_TYPE, "clean": CLEAN_TYPE, "mean": CLEAN_TYPE, "mask": MASK_TYPE}
"""Type of the pixels of each dataset."""

SLACK_BYTES = 1 << 16
"""Bytes reserved for what HDF5 writes in addition to the table and the names."""


@dataclass(frozen=True, eq=False)
class Contents:
    """Contents of a store except the pixels.

    Parameters
    ----------
    header : StoreHeader
        Facts that apply to all patches.
    labels : mapping of str to mapping
        Each list of `LABELS`, as name → index.
    table : structured ndarray of `fields`, shape (N,)
        One row per patch.
    sources : mapping of str to str
        Source file → BLAKE3 checksum.
    facts : mapping of str to mapping
        Scene → JSON-able facts.
    counts : mapping of str to int
        Dataset with pixels → number of items.
    masks : ndarray of int, shape (parts + 1,)
        Number of masks before each part; last, the number of all.
    """

    header: StoreHeader
    labels: Mapping[str, Mapping[str, int]]
    table: NDArray[Any]
    sources: Mapping[str, str]
    facts: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int]
    masks: NDArray[np.int64]

    def item(self, name: str) -> tuple[int, ...]:
        """Shape of one item of a dataset: a patch, or the packed bits of a mask."""
        return (mask_bytes(self.header.patch_shape),) if name == "mask" else self.header.patch_shape

    def patch_bytes(self, name: str) -> int:
        """Size in bytes of one item of a dataset."""
        return int(np.prod(self.item(name))) * TYPES[name].itemsize

    @property
    def schema(self) -> int:
        """Schema version of a store with these datasets."""
        if "mask" in self.counts:
            return SHARED_MASKED if "mean" in self.counts else MASKED
        return SHARED if "mean" in self.counts else SCHEMA


def assemble(
    folder: Path,
    parts: int,
    path: Path,
    header: StoreHeader,
    scene_facts: Mapping[str, Mapping[str, Any]] | None = None,
    means: Sequence[SceneMean] | None = None,
    executor: Executor | None = None,
) -> Path:
    """Assemble the parts in a folder into a store; the caller moves it to its final name.

    Parameters
    ----------
    folder : Path
        Folder with the parts 0 … `parts` − 1; patches are stored in the order of the parts.
    parts : int
        Number of parts.
    path : Path
        Final name of the store, for messages.
    header : StoreHeader
        Facts that apply to all patches.
    scene_facts : mapping, optional
        Scene → JSON-able facts.
    means : sequence of SceneMean, optional
        Means of the scenes, if the frames' clean signals are computed from them.
    executor : Executor, optional
        Runs the copying of patches; by default this process does.

    Returns
    -------
    Path
        The complete store, a file in the folder.

    Raises
    ------
    StoreError
        If a part is missing or damaged, there are no patches, or the disk is full.
    """
    notes = [_note(folder, number) for number in range(parts)]
    starts = np.cumsum([0, *(note.patches for note in notes)])
    if not starts[-1]:
        raise StoreError(f"{path}: there are no patches to store; are the frames smaller than a patch, or all clipped?")
    contents, corners = _contents(folder, notes, header, scene_facts or {}, means, starts)
    with on_disk(path):
        whole = folder / "around.h5"
        offsets = _describe(whole, contents)
        if any(note.before is not None for note in notes):
            whole = _put_around(whole, store_file(folder), contents, offsets)
        run = map if executor is None else executor.map
        copies = list(_copies(folder, notes, starts, contents, offsets))
        list(run(copy_part, *zip(*((whole, *each) for each in copies), strict=True)) if copies else ())
        crcs = _place_means(run, whole, contents, means or (), corners, offsets.get("mean", 0))
        _conclude(whole, contents, crcs)
        with whole.open("ab") as file:
            file.write(END)
            file.flush()
            os.fsync(file.fileno())
    return whole


def _contents(
    folder: Path,
    notes: Sequence[PartNote],
    header: StoreHeader,
    scene_facts: Mapping[str, Mapping[str, Any]],
    means: Sequence[SceneMean] | None,
    starts: NDArray[Any],
) -> tuple[Contents, list[NDArray[np.int64]]]:
    """Collect the contents of the store except the pixels, and the corners (y, x) of each scene's mean patches."""
    wrong = [number for number, note in enumerate(notes) if note.before not in (None, starts[number])]
    if wrong:
        raise damaged(part_file(folder, wrong[0], "json"), "its patches do not follow those of the earlier parts")
    labels, table, masks = _joined(folder, notes, header, shared=means is not None)
    corners = _number_means(table, starts, means or ())
    counts = {"noisy": len(table)}
    if means is not None:
        counts["mean"] = sum(map(len, corners))
    elif part_file(folder, int(np.flatnonzero(np.diff(starts))[0]), "clean").exists():
        counts["clean"] = len(table)
    if masks[-1]:
        counts["mask"] = int(masks[-1])
    sources = {name: known for note in notes for name, known in zip(note.sources, note.source_blake3, strict=True)}
    facts = {name: dict(scene_facts.get(name, {})) for name in labels["scenes"]}
    return Contents(header, labels, table, sources, facts, counts, masks), corners


def _note(folder: Path, number: int) -> PartNote:
    note = read_note(folder, number)
    if note is None:
        raise StoreError(f"{part_file(folder, number, 'json')}: missing; give the same command again to make it")
    return note


def _joined(
    folder: Path, notes: Sequence[PartNote], header: StoreHeader, *, shared: bool
) -> tuple[dict[str, dict[str, int]], NDArray[Any], NDArray[np.int64]]:
    """Join the names and tables of all parts; return names, table and the number of masks before each part."""
    labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    columns = fields(header.patch_shape[0], shared=shared, masked=True)
    tables, masks = [], [0]
    for number, note in enumerate(notes):
        if not note.patches:
            masks.append(masks[-1])
            continue
        table = read_table(folder, number, columns)
        if len(table) != note.patches:
            raise damaged(part_file(folder, number, "table"), f"{len(table)} rows; expected {note.patches}")
        for column, label in zip(("camera", "scene", "source"), LABELS, strict=True):
            own = [labels[label].setdefault(name, len(labels[label])) for name in getattr(note, label)] or [0]
            table[column] = np.array(own)[table[column]]
        count = int(table["mask"].max())
        table["mask"] += np.where(table["mask"] > 0, masks[-1], 0).astype(table["mask"].dtype)
        masks.append(masks[-1] + count)
        tables.append(table)
    whole = np.concatenate(tables)
    if not masks[-1]:
        whole = recolumned(whole, fields(header.patch_shape[0], shared=shared))
    return labels, whole, np.array(masks, np.int64)


def _number_means(table: NDArray[Any], starts: NDArray[Any], means: Sequence[SceneMean]) -> list[NDArray[np.int64]]:
    """Set the index of each patch's mean in the table; return the corners (y, x) of each scene's mean patches."""
    corners, before = [], 0
    for mean in means:
        rows = np.concatenate([np.arange(starts[part], starts[part + 1]) for part in mean.parts])
        keys = table["y"][rows].astype(np.int64) << 32 | table["x"][rows]
        found, which = np.unique(keys, return_inverse=True)
        table["mean"][rows] = before + which
        corners.append(np.stack([found >> 32, found & 0xFFFFFFFF], 1))
        before += len(found)
    return corners


def _describe(whole: Path, contents: Contents) -> dict[str, int]:
    """Write an HDF5 file without the pixels; return the byte offset of each dataset's pixels.

    The noisy patches, which come first, begin at `PIXELS` if they fill a page.

    Raises
    ------
    OSError
        If the disk is full, or files may not be as large as the store.
    """
    header, table, counts = contents.header, contents.table, contents.counts
    described = table.nbytes + counts.get("mean", 0) * CRC_TYPE.itemsize
    texts = [dict(contents.facts), dict(contents.sources), dict(header.provenance), dict(header.truth)]
    described += len(json.dumps(texts)) + SLACK_BYTES
    _has_room(whole, described, sum(count * contents.patch_bytes(name) for name, count in counts.items()))
    creation, access = (h5py.h5p.create(each) for each in (h5py.h5p.FILE_CREATE, h5py.h5p.FILE_ACCESS))
    # Without times, as in `_reserve`; h5py.File has no flag for it, and HDF5 before 2.0 writes them.
    creation.set_obj_track_times(False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_alignment(PIXELS, PIXELS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    with _hdf5_errors(), h5py.File(h5py.h5f.create(os.fsencode(whole), h5py.h5f.ACC_TRUNC, creation, access)) as file:
        offsets = {
            name: _reserve(file, name, TYPES[name], (count, *contents.item(name))) for name, count in counts.items()
        }
        strings = h5py.string_dtype()
        for label, names in contents.labels.items():
            file[label] = np.array(list(names), dtype=strings)
        file[CHECKSUMS] = np.array([contents.sources[name] for name in contents.labels["sources"]], dtype=strings)
        file["scene_facts"] = np.array([json.dumps(each) for each in contents.facts.values()], dtype=strings)
        file["table"] = table
        file.attrs.update(
            schema=contents.schema,
            layout=header.layout,
            pairing=header.pairing,
            unit=SIGNAL_UNIT,
            provenance=json.dumps(dict(header.provenance)),
            truth=json.dumps(dict(header.truth)),
            believed=json.dumps(list(header.believed)),
            fingerprint="0" * 64,
            **{CONTENT: "0" * 64, ENDED: True},
        )
        if "mean" in counts:
            file["mean_crc"] = np.zeros(counts["mean"], CRC_TYPE)
        elif "clean" not in counts:
            # Never allocated: it takes no space, and HDF5 returns the fill value.
            file.create_dataset("clean", (len(table), *header.patch_shape), CLEAN_TYPE, fillvalue=np.nan)
    return offsets


@contextmanager
def _hdf5_errors() -> Iterator[None]:
    """Convert the `RuntimeError` that h5py raises if it cannot close a file to an `OSError`."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _has_room(path: Path, described: int, pixels: int) -> None:
    """Raise `OSError` if the disk lacks space, since HDF5 does not recover from a failed write and crashes at exit."""
    with path.open("wb") as file:
        file.truncate(described + pixels)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, described)


def _reserve(file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Create a contiguous dataset without writing it; return its byte offset in the file."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # Without times the same patches always give the same bytes.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, dcpl=creation)
    offset = dataset.get_offset()
    if offset is None:
        raise StoreError(f"{file.filename}: HDF5 reserved no space for {name!r}; is the disk full?")
    return int(offset)


def _put_around(described: Path, store: Path, contents: Contents, offsets: Mapping[str, int]) -> Path:
    """Copy what `_describe` wrote into the store, around the patches that are already there; return the store.

    In `described` the patches are holes that take no disk space.
    """
    if offsets["noisy"] != PIXELS:
        raise StoreError(f"{described}: HDF5 put the patches at byte {offsets['noisy']}; expected {PIXELS}")
    reserved = [(at, at + contents.counts[name] * contents.patch_bytes(name)) for name, at in offsets.items()]
    with described.open("rb") as source, store.open("r+b", buffering=0) as target:
        size = os.fstat(source.fileno()).st_size
        target.truncate(size)
        at = 0
        for start, stop in (*sorted(reserved), (size, size)):
            source.seek(at)
            target.seek(at)
            write_fully(target, np.frombuffer(source.read(start - at), np.uint8))
            at = stop
    return store


def _copies(
    folder: Path, notes: Sequence[PartNote], starts: NDArray[Any], contents: Contents, offsets: Mapping[str, int]
) -> Iterator[tuple[Path, int, int]]:
    """Yield files of parts that still have to be copied into the store, their byte offset in it, and size in bytes."""
    for name in ("noisy", "clean"):
        for number, note in enumerate(notes):
            if name in offsets and note.patches and (name == "clean" or note.before is None):
                size = contents.patch_bytes(name)
                yield (
                    part_file(folder, number, name),
                    offsets[name] + int(starts[number]) * size,
                    note.patches * size,
                )
    for number, (before, count) in enumerate(zip(contents.masks, np.diff(contents.masks), strict=False)):
        if count:
            size = contents.patch_bytes("mask")
            yield part_file(folder, number, "mask"), offsets["mask"] + int(before) * size, int(count) * size


def _place_means(
    run: Callable[..., Iterable[NDArray[np.uint32]]],
    store: Path,
    contents: Contents,
    means: Sequence[SceneMean],
    corners: Sequence[NDArray[np.int64]],
    first: int,
) -> list[NDArray[np.uint32]]:
    """Cut the scenes' means into patches and write them to the store from byte `first` on; return their CRC-32."""
    size, patch_bytes = contents.header.patch_size, contents.patch_bytes("mean")
    before = np.cumsum([0, *map(len, corners)]).tolist()
    calls = [
        (store, mean, places, size, first + start * patch_bytes)
        for mean, places, start in zip(means, corners, before, strict=False)
    ]
    return list(run(place_mean, *zip(*calls, strict=True))) if calls else []


def _conclude(whole: Path, contents: Contents, crcs: Sequence[NDArray[np.uint32]]) -> None:
    """Write the checksums of the mean patches, the fingerprint and the checksum of the contents."""
    # The table has the CRC of every patch, so the digest covers the pixels too.
    digest = hashlib.sha256(contents.table.tobytes())
    for names in contents.labels.values():
        digest.update("\n".join(names).encode())
    arrays: dict[str, Any] = {"table": contents.table, **{name: list(each) for name, each in contents.labels.items()}}
    arrays[CHECKSUMS] = [contents.sources[name] for name in contents.labels["sources"]]
    arrays["scene_facts"] = [json.dumps(each) for each in contents.facts.values()]
    with _hdf5_errors(), h5py.File(whole, "r+", libver="v110") as file:
        if crcs:
            arrays["mean_crc"] = np.concatenate(crcs).astype(CRC_TYPE)
            file["mean_crc"][:] = arrays["mean_crc"]
            digest.update(arrays["mean_crc"].tobytes())
        file.attrs["fingerprint"] = digest.hexdigest()
        pixels = {name: (file[name].dtype, file[name].shape) for name in PIXELS_OF if name in file}
        file.attrs[CONTENT] = content_checksum(dict(file.attrs), arrays, pixels)
