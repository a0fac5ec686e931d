"""End a single file with a mark and a checksum, by which a change made in place is seen later.

DNG, TIFF, NPY and HDF5 readers ignore what follows their content.  A program that edits such a file leaves the
checksum wrong, or, like the HDF5 library, cuts the end off.  So the content itself says that an end follows it: the
tag `ENDS` of a TIFF or DNG, the attribute `ENDED` of an HDF5 file.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "END",
    "ENDED",
    "ENDS",
    "ends_well",
    "png_is_as_written",
    "sealed_end",
    "sealed_png",
    "without_end",
    "write_end",
]

END = b"\nwritten by noiseflow\n"
"""Last bytes of an NPY, HDF5, DNG or TIFF file."""

SEAL = b"\nblake3 "
"""Stands before the checksum of all that precedes it; HDF5 files, and NPY files of earlier versions, have none."""

DIGITS = 64

ENDED = "sealed"
"""Attribute of an HDF5 file that ends with `END`; the library cuts it off when it opens the file for writing."""

ENDS = (0xC634, b"noiseflow\0sealed\0")
"""TIFF tag DNGPrivateData and its value in a file that ends with a checksum and `END`."""

PNG_SEAL = b"noiseflow\0blake3 "
"""Keyword and start of the text in the chunk that ends a PNG file, before the checksum of all before the chunk."""

PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))

BLOCK = 1 << 20
"""Bytes read at a time."""


def sealed_end(parts: Iterable[bytes | memoryview]) -> bytes:
    """Checksum and mark to be written after the content of a file.

    Parameters
    ----------
    parts : iterable of bytes
        The content.
    """
    return SEAL + _checksum(parts) + END


def write_end(path: Path) -> None:
    """Append the checksum of a file's content, and the mark."""
    end = sealed_end(_blocks(path, path.stat().st_size))
    with path.open("ab") as file:
        file.write(end)


def without_end(tail: bytes) -> bytes | None:
    """Last bytes of a file without its checksum and mark; None if it has no mark."""
    if not tail.endswith(END):
        return None
    before = tail.removesuffix(END)
    seal = before[-DIGITS - len(SEAL) :]
    return before[: -len(seal)] if seal.startswith(SEAL) else before


def ends_well(path: Path) -> bool:
    """Whether a file ends with the mark, and a checksum before it fits."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-min(size, len(SEAL) + DIGITS + len(END)), os.SEEK_END)
        tail = file.read()
    before = without_end(tail)
    if before is None:
        return False
    sealed = size - len(tail) + len(before)
    return sealed == size - len(END) or sealed_end(_blocks(path, sealed)) == tail


def sealed_png(content: bytes) -> bytes:
    """PNG file whose last chunk is a checksum: its readers would complain of bytes that follow the end."""
    before = content.removesuffix(PNG_END)
    return before + _png_chunk(_checksum([before])) + PNG_END


def png_is_as_written(content: bytes) -> bool:
    """Whether the checksum in a PNG file fits; files of earlier versions have none."""
    size = len(_png_chunk(b"0" * DIGITS)) + len(PNG_END)
    before, last = content[:-size], content[-size:]
    return PNG_SEAL not in content or last == _png_chunk(_checksum([before])) + PNG_END


def _png_chunk(checksum: bytes) -> bytes:
    text = b"tEXt" + PNG_SEAL + checksum
    return struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))


def _checksum(parts: Iterable[bytes | memoryview]) -> bytes:
    # Imported here because most commands write no such file.
    from blake3 import blake3

    digest = blake3()
    for part in parts:
        digest.update(part)
    return digest.hexdigest().encode()


def _blocks(path: Path, size: int) -> Iterable[bytes]:
    """The first `size` bytes of a file, in blocks."""
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(BLOCK, size))):
            size -= len(block)
            yield block
