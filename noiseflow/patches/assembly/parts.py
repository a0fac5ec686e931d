"""Parts: the patches of one frame, in files of their own until the store is put together.

A part is there when its JSON file is, which is written last and takes its name at once: a
process may be killed at any moment and leaves whole parts only.  Parts are named by the
number of their frame in the plan, so that two processes that make the same part make the
same files.

Where a part's patches will stand in the store hangs on how many the earlier parts hold.  If
that is known when they are written, they are written there at once; else into a file that is
copied when the store is put together.  A part may announce how many it will hold, so that
others need not wait until it is written.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.crc import crc32
from noiseflow.patches.schema import CLEAN_TYPE, NOISY_TYPE

__all__ = [
    "PIXELS",
    "PartNote",
    "PartWriter",
    "announce",
    "checksums",
    "part_file",
    "patches_before",
    "read_note",
    "read_table",
    "store_file",
    "write_fully",
    "write_whole",
]

PIXELS = 4096
"""The byte of a store at which its noisy patches begin; a whole page, so that the default patches fill pages."""

PATIENCE_S = 0.5
"""So long a part is waited for that has not announced itself: cutting a frame takes less, even where memory is slow.
It is begun before the part that waits, and those after it then follow each other by that time; a part that is not
waited for is written twice."""

NOTES_READ = 16
"""So many earlier parts are looked at, at most."""


@dataclass(frozen=True)
class PartNote:
    """What a part says of itself.

    Parameters
    ----------
    patches : int
    cameras, scenes, sources : sequence of str
        Names that the part's own table points into.
    source_blake3 : sequence of str
        Of each source.
    split : int
    layout : str
        Of the frame's planes.
    clipped, masked : int
        Patches left out.
    before : int or None
        Patches of all earlier parts, if it is known.
    placed : bool
        Whether the noisy patches are in the store already, behind those.
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
    before: int | None = None
    placed: bool = False


def part_file(folder: Path, number: int, kind: str) -> Path:
    """One of a part's files: ``noisy``, ``clean``, ``table``, ``count`` or ``json``."""
    return folder / f"part-{number:06d}.{kind}"


def store_file(folder: Path) -> Path:
    """The store that is being made."""
    return folder / "store.h5"


def announce(folder: Path, number: int, patches: int) -> None:
    """Say how many patches a part will hold."""
    write_whole(part_file(folder, number, "count"), str(patches).encode())


def _patches(folder: Path, number: int) -> tuple[int, int | None] | None:
    """Patches of a part and of all before it, as far as they are known."""
    note = read_note(folder, number)
    if note is not None:
        return note.patches, note.before
    told = part_file(folder, number, "count")
    # Empty after a crash of the machine, it says nothing.
    text = told.read_text(encoding="ascii") if told.exists() else ""
    return (int(text), None) if text.isdecimal() else None


def patches_before(folder: Path, number: int, *, patience_s: float = 0.0) -> int | None:
    """How many patches the parts before one hold; None if it is not known.

    Parameters
    ----------
    folder : Path
    number : int
    patience_s : float
        How long to wait for the part just before, if it is the only one that is missing.
    """
    patient = number < 2 or _patches(folder, number - 2) is not None
    patches, last = 0, time.monotonic() + patience_s * patient
    for earlier in range(number - 1, max(number - 1 - NOTES_READ, -1), -1):
        known = _patches(folder, earlier)
        while known is None and earlier == number - 1 and time.monotonic() < last:
            time.sleep(0.002)
            known = _patches(folder, earlier)
        if known is None:
            return None
        patches += known[0]
        if known[1] is not None:
            return known[1] + patches
    return patches if number <= NOTES_READ else None


class PartWriter:
    """Writes a part piece by piece; it is there when `finish` returns, or not at all.

    Use it as a context manager.

    Parameters
    ----------
    folder : Path
    number : int
    before : int, optional
        Patches of all earlier parts: the noisy ones are then written to their place in the store.
    """

    def __init__(self, folder: Path, number: int, before: int | None = None) -> None:
        self._folder, self._number, self._before = folder, number, before
        self._files: dict[str, IO[bytes]] = {}
        self._checksums: list[NDArray[np.uint32]] = []

    def append(self, noisy: NDArray[Any], clean: NDArray[Any] | None) -> None:
        """Add patches.

        Parameters
        ----------
        noisy : ndarray of uint16, shape (n, C, h, w)
        clean : ndarray of float32, shape (n, C, h, w), or None
            None where no clean signal is known, or frames share it.
        """
        noisy = np.ascontiguousarray(noisy, NOISY_TYPE)
        clean = None if clean is None else np.ascontiguousarray(clean, CLEAN_TYPE)
        self._checksums.append(checksums(noisy, clean))
        for kind, values in (("noisy", noisy), ("clean", clean)):
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
        """Say what the part holds.

        Parameters
        ----------
        note : PartNote
            Without what is known of its place.
        table : structured ndarray of `noiseflow.patches.schema.fields`, shape (n,)
            ``crc32`` is filled in here.
        """
        self.close()
        if note.patches:
            table["crc32"] = np.concatenate(self._checksums)
            with part_file(self._folder, self._number, "table").open("wb", buffering=0) as file:
                write_fully(file, table)
        known = self._before if self._before is not None else patches_before(self._folder, self._number)
        note = replace(note, before=known, placed=self._before is not None)
        write_whole(part_file(self._folder, self._number, "json"), json.dumps(asdict(note)).encode())

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_fully(file: IO[bytes], values: NDArray[Any]) -> None:
    """Write all bytes of an array to a file without a buffer, which may take fewer at a time."""
    content = values.reshape(-1).view(np.uint8).data
    while content:
        content = content[file.write(content) :]


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is either there with all its content or not there."""
    # By the process: two workers may write the same part after one was thought lost.
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def checksums(noisy: NDArray[Any], clean: NDArray[Any] | None) -> NDArray[np.uint32]:
    """CRC-32 of each patch's bytes, noisy then clean.

    Parameters
    ----------
    noisy : ndarray, shape (n, C, h, w)
        C-contiguous.
    clean : ndarray, shape (n, C, h, w), or None
        C-contiguous.
    """
    found = [crc32(patch.data) for patch in noisy]
    if clean is not None:
        found = [crc32(patch.data, start) for patch, start in zip(clean, found, strict=True)]
    return np.array(found, np.uint32)


def read_note(folder: Path, number: int) -> PartNote | None:
    """What a part says of itself; None if it is not there."""
    path = part_file(folder, number, "json")
    if not path.exists():
        return None
    try:
        return PartNote(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete the folder {folder.name} and ingest again") from error


def read_table(folder: Path, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A part's table."""
    return np.fromfile(part_file(folder, number, "table"), dtype)
