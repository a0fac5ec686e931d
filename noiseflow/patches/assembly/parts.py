"""Parts of an unfinished store, each with the patches of one frame.

A part exists once its JSON file does.  That file is written last and renamed atomically, so a
killed process leaves only complete parts.  Parts are named by the number of their frame in the
plan, so two processes that make the same part write the same files.

If the number of patches in all earlier parts is known (`noiseflow.patches.assembly.unfinished`), a part
writes its noisy patches directly to their place in the store.  Otherwise it writes a file of its
own, which is copied when the store is assembled; copying all parts would take a third more
processor time.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.assembly.unfinished import store_file
from noiseflow.patches.checksums import patch_crcs
from noiseflow.patches.schema import CLEAN_TYPE, NOISY_TYPE, fields, mask_bytes
from noiseflow.raw.bayer import plane_names

__all__ = [
    "PIXELS",
    "PartNote",
    "PartWriter",
    "copy_part",
    "damaged",
    "intact",
    "part_file",
    "read_note",
    "read_table",
    "recolumned",
    "write_fully",
    "write_whole",
]

PIXELS = 4096
"""Byte offset of the noisy patches in a store: one memory page, so that patches of the default size fill pages."""

COPY_BYTES = 1 << 20
"""Bytes copied at a time; this much fits into the processor's cache, which is five times as fast as larger blocks."""


@dataclass(frozen=True)
class PartNote:
    """Description of a part.

    Parameters
    ----------
    patches : int
        Number of patches.
    cameras, scenes, sources : sequence of str
        Names to which the indices in the part's table refer.
    source_blake3 : sequence of str
        BLAKE3 checksum of each source.
    split : int
        Index in `SPLITS`.
    layout : str
        Plane layout of the frame.
    clipped, masked : int
        Number of patches left out because too many pixels are clipped, or masked.
    values, masked_values, bright_values, zero_values : int
        Number of values in the kept patches; of these, masked ones; masked ones whose clean signal is one at which
        the frame clips; and values at code 0, which are not masked.
    cautions : sequence of str
        Cautions about the frame.
    believed : mapping of str to sequence of str
        Fact → its value and its source.
    pixels : str
        `pixel_checksum` of the frame.
    noise : str
        Noise at some pixels, from `FramePair.noise_sample`; empty if it is not needed.
    before : int or None
        Number of patches in all earlier parts, if this part's noisy patches are already in the store after those;
        None if they are in a file of their own.
    """

    patches: int
    cameras: Sequence[str] = ()
    scenes: Sequence[str] = ()
    sources: Sequence[str] = ()
    source_blake3: Sequence[str] = ()
    split: int = 0
    layout: str = ""
    clipped: int = 0
    masked: int = 0
    values: int = 0
    masked_values: int = 0
    bright_values: int = 0
    zero_values: int = 0
    cautions: Sequence[str] = ()
    believed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pixels: str = ""
    noise: str = ""
    before: int | None = None


def part_file(folder: Path, number: int, kind: str) -> Path:
    """Path of a part's file of the kind ``noisy``, ``clean``, ``mask``, ``table`` or ``json``."""
    return folder / f"part-{number:06d}.{kind}"


class PartWriter:
    """Writes a part piece by piece; the part exists only after `finish` has returned.

    Use it as a context manager.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    number : int
        Number of the part.
    before : int, optional
        Number of patches in all earlier parts; if given, the noisy patches are written directly into the store.
    """

    def __init__(self, folder: Path, number: int, before: int | None = None) -> None:
        self._folder, self._number, self._before = folder, number, before
        self._files: dict[str, IO[bytes]] = {}
        self._crcs: list[NDArray[np.uint32]] = []
        self._masked: list[NDArray[np.bool_]] = []
        self._masked_values = 0

    def append(self, noisy: NDArray[Any], clean: NDArray[Any] | None, masked: NDArray[np.bool_] | None = None) -> None:
        """Add patches.

        Parameters
        ----------
        noisy : ndarray of uint16, shape (n, C, h, w)
            Codes, DN.
        clean : ndarray of float32, shape (n, C, h, w), or None
            Clean signal, DN; None if it is unknown or shared by several frames.
        masked : ndarray of bool, shape (n, C, h, w), or None
            True where a pixel is masked; None if no pixel is.
        """
        noisy = np.ascontiguousarray(noisy, NOISY_TYPE)
        clean = None if clean is None else np.ascontiguousarray(clean, CLEAN_TYPE)
        any_masked = np.zeros(len(noisy), bool) if masked is None else np.asarray(masked.any((1, 2, 3)))
        bits = None
        if masked is not None and any_masked.any():
            bits = np.packbits(masked[any_masked].reshape(int(any_masked.sum()), -1), axis=1)
        self._masked.append(any_masked)
        self._masked_values += 0 if masked is None else int(masked.sum())
        self._crcs.append(patch_crcs(noisy, clean, bits, np.flatnonzero(any_masked)))
        for kind, values in (("noisy", noisy), ("clean", clean), ("mask", bits)):
            if values is not None and values.size:
                if kind not in self._files:
                    self._files[kind] = self._opened(kind, values[0].nbytes)
                write_fully(self._files[kind], values)

    def _opened(self, kind: str, patch_bytes: int) -> IO[bytes]:
        if kind != "noisy" or self._before is None:
            return part_file(self._folder, self._number, kind).open("wb", buffering=0)
        store = store_file(self._folder)
        store.touch()
        file = store.open("r+b", buffering=0)
        file.seek(PIXELS + self._before * patch_bytes)
        return file

    def finish(self, note: PartNote, table: NDArray[Any]) -> None:
        """Write the part's table and its description.

        Parameters
        ----------
        note : PartNote
            Description; `before` is filled in here.
        table : structured ndarray of `noiseflow.patches.schema.fields`, shape (n,)
            One row per patch; ``crc32`` and ``mask`` are filled in here.
        """
        self.close()
        if note.patches:
            table = recolumned(table, _columns(table))
            table["crc32"] = np.concatenate(self._crcs)
            masked = np.concatenate(self._masked)
            table["mask"] = np.cumsum(masked) * masked
            with part_file(self._folder, self._number, "table").open("wb", buffering=0) as file:
                write_fully(file, table)
        content = json.dumps(asdict(replace(note, before=self._before))).encode()
        write_whole(part_file(self._folder, self._number, "json"), content)

    @property
    def masked_values(self) -> int:
        """Number of masked values written so far."""
        return self._masked_values

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_note(folder: Path, number: int) -> PartNote | None:
    """Read the description of a part; None if the part does not exist.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = part_file(folder, number, "json")
    if not path.exists():
        return None
    try:
        return PartNote(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(path, str(error)) from error


def _columns(table: NDArray[Any]) -> np.dtype[Any]:
    """Columns of a part's table, with ``mask`` added if the table lacks it."""
    return fields(table["black"].shape[1], "mean" in (table.dtype.names or ()), masked=True)


def recolumned(table: NDArray[Any], columns: np.dtype[Any]) -> NDArray[Any]:
    """Copy a table to other columns; columns that it lacks are 0.

    Parameters
    ----------
    table : structured ndarray, shape (n,)
        A table with columns of `noiseflow.patches.schema.fields`.
    columns : dtype
        Columns of the result.
    """
    found: NDArray[Any] = np.zeros(len(table), columns)
    for name in set(columns.names or ()) & set(table.dtype.names or ()):
        found[name] = table[name]
    return found


def read_table(folder: Path, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a part's table, with the columns `dtype`."""
    return np.fromfile(part_file(folder, number, "table"), dtype)


def intact(folder: Path, number: int, note: PartNote, patch_size: int, *, shared: bool) -> bool:
    """Whether the patches that a part wrote into the store match their checksums.

    They do after a process was killed, but may not after a power failure.

    Parameters
    ----------
    folder : Path
        Folder of the unfinished store.
    number : int
        Number of the part.
    note : PartNote
        Its description.
    patch_size : int
        Height and width of a patch in pixels of a plane.
    shared : bool
        Whether frames share their clean signal.
    """
    if note.before is None or not note.patches:
        return True
    shape = (note.patches, len(plane_names(note.layout)), patch_size, patch_size)
    first = PIXELS + note.before * int(np.prod(shape[1:])) * NOISY_TYPE.itemsize
    own = part_file(folder, number, "clean")
    try:
        noisy = np.memmap(store_file(folder), NOISY_TYPE, "r", first, shape)
        clean = np.memmap(own, CLEAN_TYPE, "r", shape=shape) if own.exists() else None
        table = read_table(folder, number, fields(shape[1], shared=shared, masked=True))
        masked = np.flatnonzero(table["mask"])
        masks = np.fromfile(part_file(folder, number, "mask"), np.uint8) if masked.size else np.empty(0, np.uint8)
        masks = masks.reshape(masked.size, mask_bytes(shape[1:]))
    except (OSError, ValueError):
        return False
    return np.array_equal(patch_crcs(noisy, clean, masks, masked), table["crc32"])


def damaged(path: Path, why: str) -> StoreError:
    """Make the error for a damaged file in the folder of an unfinished store.

    Parameters
    ----------
    path : Path
        The file.
    why : str
        What is wrong with it.
    """
    return StoreError(f"{path}: damaged: {why}; delete the folder {path.parent.name} and ingest again")


def copy_part(store: Path, part: Path, offset: int, size: int) -> None:
    """Copy a part's file into the store.

    Parameters
    ----------
    store : Path
        The store.
    part : Path
        The part's file.
    offset : int
        Byte offset of its place in the store.
    size : int
        Expected size of the file in bytes.

    Raises
    ------
    StoreError
        If the file has another size.
    """
    with part.open("rb", buffering=0) as source, store.open("r+b", buffering=0) as target:
        found = os.fstat(source.fileno()).st_size
        if found != size:
            raise damaged(part, f"{found:,} bytes; expected {size:,}")
        target.seek(offset)
        block = np.empty(min(COPY_BYTES, size), np.uint8)
        while count := source.readinto(block.data):
            write_fully(target, block[:count])


def write_fully(file: IO[bytes], values: NDArray[Any]) -> None:
    """Write all bytes of an array to an unbuffered file, in as many calls as it needs."""
    content = values.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: it exists either with all of its content or not at all."""
    # The name contains the process, since two workers may write the same part after one seemed lost.
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
