"""Parts: the patches of one frame, in files of their own until the store is put together.

A part is there when its JSON file is, which is written last and takes its name at once: a
process may be killed at any moment and leaves whole parts only.  Parts are named by the
number of their frame in the plan, so that two processes that make the same part make the
same files.
"""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.errors import StoreError
from noiseflow.patches.schema import CLEAN_TYPE, NOISY_TYPE

__all__ = ["PartNote", "checksums", "part_file", "read_note", "read_table", "write_part", "write_whole"]


@dataclass(frozen=True)
class PartNote:
    """What a part says of itself.

    Parameters
    ----------
    patches : int
    cameras, scenes, sources : sequence of str
        Names that the part's own table points into.
    source_sha256 : sequence of str
        Of each source.
    split : int
    clipped, masked : int
        Patches left out.
    """

    patches: int
    cameras: Sequence[str] = ()
    scenes: Sequence[str] = ()
    sources: Sequence[str] = ()
    source_sha256: Sequence[str] = ()
    split: int = 0
    clipped: int = 0
    masked: int = 0


def part_file(folder: Path, number: int, kind: str) -> Path:
    """One of a part's files: ``noisy``, ``clean``, ``table`` or ``json``."""
    return folder / f"part-{number:06d}.{kind}"


def write_part(
    folder: Path,
    number: int,
    note: PartNote,
    noisy: NDArray[Any] | None = None,
    clean: NDArray[Any] | None = None,
    table: NDArray[Any] | None = None,
) -> None:
    """Write a part, checksums and all; it is there when this returns, or not at all.

    Parameters
    ----------
    folder : Path
    number : int
    note : PartNote
    noisy : ndarray of uint16, shape (n, C, h, w)
    clean : ndarray of float32, shape (n, C, h, w), or None
        None where no clean signal is known.
    table : structured ndarray of `noiseflow.patches.schema.fields`, shape (n,)
        ``crc32`` is filled in here.
    """
    if noisy is not None and table is not None and note.patches:
        noisy = np.ascontiguousarray(noisy, NOISY_TYPE)
        clean = None if clean is None else np.ascontiguousarray(clean, CLEAN_TYPE)
        table["crc32"] = checksums(noisy, clean)
        for kind, values in (("noisy", noisy), ("clean", clean), ("table", table)):
            if values is not None:
                with part_file(folder, number, kind).open("wb") as file:
                    file.write(values.reshape(-1).view(np.uint8).data)
    write_whole(part_file(folder, number, "json"), json.dumps(asdict(note)).encode())


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
    found = [zlib.crc32(patch.data) for patch in noisy]
    if clean is not None:
        found = [zlib.crc32(patch.data, start) for patch, start in zip(clean, found, strict=True)]
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
