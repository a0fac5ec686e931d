"""The parts of a store that is being made: the patches of one frame each.

A part is there when its JSON file is, which is written last and takes its name at once: a
process may be killed at any moment and leaves whole parts only.  Parts are named by the
number of their frame in the plan, so that two processes that make the same part make the
same files.

A part that knows the counts of all earlier ones (`noiseflow.patches.assembly.unfinished`) writes its
noisy patches straight to their place in the store; others write a file of their own, which is
copied when the store is put together.  Copying all of them would cost a third more processor time.
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
"""Byte of a store at which its noisy patches begin: a whole page, so that the default patches fill pages."""

COPY_BYTES = 1 << 20
"""Bytes copied at a time, so that they stay in the processor's cache: five times as fast as more."""


@dataclass(frozen=True)
class PartNote:
    """Description of a part.

    Parameters
    ----------
    patches : int
        Number of patches.
    cameras, scenes, sources : sequence of str
        Names that the part's own table points into.
    source_blake3 : sequence of str
        Checksum of each source.
    split : int
        Index in `SPLITS`.
    layout : str
        Plane layout of the frame.
    clipped, masked : int
        Patches left out.
    values, masked_values, bright_values, zero_values : int
        Values of the patches that are kept; those that are masked; those of them whose clean signal is one at which
        the frame clips; and those at code 0, which are kept.
    cautions : sequence of str
        What the frame's reader warned of.
    believed : mapping of str to sequence of str
        Fact → its value and where it was taken from.
    pixels : str
        `pixel_checksum` of the frame.
    noise : str
        Noise at some pixels of the frame: `FramePair.noise_sample`; empty where nothing is asked of them.
    before : int or None
        Number of patches of all earlier parts, if the noisy patches are in the store already, after those.
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
    """One of a part's files: ``noisy``, ``clean``, ``mask``, ``table`` or ``json``."""
    return folder / f"part-{number:06d}.{kind}"


class PartWriter:
    """Writes a part piece by piece; it is there when `finish` returns, or not at all.

    Use it as a context manager.

    Parameters
    ----------
    folder : Path
        Folder of the ingest.
    number : int
        Number of the part.
    before : int, optional
        Number of patches of all earlier parts: the noisy patches then go to their place in the store.
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
            Clean signal, DN; None where it is not known, or frames share it.
        masked : ndarray of bool, shape (n, C, h, w), or None
            True where a pixel is masked; None where none is.
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
            Without `before`.
        table : structured ndarray of `noiseflow.patches.schema.fields`, shape (n,)
            ``crc32`` and ``mask`` are filled in here.
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
        """Number of values that are masked, so far."""
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
    """Description of a part; None if it is not there."""
    path = part_file(folder, number, "json")
    if not path.exists():
        return None
    try:
        return PartNote(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(path, str(error)) from error


def _columns(table: NDArray[Any]) -> np.dtype[Any]:
    """The columns of a part's table, for one that may lack ``mask``."""
    return fields(table["black"].shape[1], "mean" in (table.dtype.names or ()), masked=True)


def recolumned(table: NDArray[Any], columns: np.dtype[Any]) -> NDArray[Any]:
    """A table with other columns; new ones are 0.

    Parameters
    ----------
    table : structured ndarray, shape (n,)
        Any table of `noiseflow.patches.schema.fields`.
    columns : dtype
        The columns wanted.
    """
    found: NDArray[Any] = np.zeros(len(table), columns)
    for name in set(columns.names or ()) & set(table.dtype.names or ()):
        found[name] = table[name]
    return found


def read_table(folder: Path, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A part's table."""
    return np.fromfile(part_file(folder, number, "table"), dtype)


def intact(folder: Path, number: int, note: PartNote, patch_size: int, *, shared: bool) -> bool:
    """Whether a part's patches that are in the store already are those that it wrote.

    They are after a process was killed; after a power failure they may not be.

    Parameters
    ----------
    folder : Path
        Folder of the ingest.
    number : int
        Number of the part.
    note : PartNote
        Its description.
    patch_size : int
        Height and width of a patch, in pixels of a plane.
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
    """The error for a file that an ingest left damaged."""
    return StoreError(f"{path}: damaged: {why}; delete the folder {path.parent.name} and ingest again")


def copy_part(store: Path, part: Path, offset: int, size: int) -> None:
    """Copy a part's file to its place in the store.

    Raises
    ------
    StoreError
        The file does not have that size.
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
    """Write all bytes of an array to an unbuffered file, which may take fewer at a time."""
    content = values.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is either there with all its content or not there."""
    # Named by the process: two workers may write the same part after one was thought lost.
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
