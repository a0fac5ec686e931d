"""Checksums of patches (CRC-32) and of files (BLAKE3, SHA-256), and the search for duplicate files."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.patches.schema import CONTENT

try:
    # Ten times as fast as zlib's CRC-32, with the same result; wheels exist for x86-64 and ARM only.
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

__all__ = [
    "content_checksum",
    "crc32",
    "file_checksum",
    "file_sha256",
    "patch_crcs",
    "pixel_checksum",
    "repeated_files",
]

BLOCK_BYTES = 1 << 20
"""Bytes hashed at a time; this many fit into the processor's cache."""

ROWS_HASHED = 64
"""Rows of a mosaic that are hashed, evenly spread: noise makes every row unique, and a whole frame would take 15 ms."""

ONE_CODE = 0.999
"""A frame with more than this fraction of its pixels at the lowest or highest code cannot be told from others."""

END_BYTES = 1 << 16
"""Bytes at either end of a file that are compared before its whole content."""


class Digest(Protocol):
    """A checksum computed block by block."""

    def update(self, data: memoryview, /) -> object:
        """Add bytes to the checksum."""

    def hexdigest(self) -> str:
        """Checksum of all bytes added so far, in hexadecimal."""


def patch_crcs(
    noisy: NDArray[Any],
    clean: NDArray[Any] | None = None,
    masks: NDArray[np.uint8] | None = None,
    masked: NDArray[Any] | None = None,
) -> NDArray[np.uint32]:
    """CRC-32 of the bytes of each patch: noisy, then clean, then mask.

    Parameters
    ----------
    noisy : ndarray, shape (n, C, h, w)
        Noisy patches, C-contiguous.
    clean : ndarray, shape (n, C, h, w), optional
        Clean patches, C-contiguous.
    masks : ndarray of uint8, shape (k, bytes), optional
        Packed bits of the masks.
    masked : ndarray of int, shape (k,), optional
        Index of the patch of each mask.

    Returns
    -------
    ndarray of uint32, shape (n,)
    """
    found = [crc32(patch.data) for patch in noisy]
    if clean is not None:
        found = [crc32(patch.data, start) for patch, start in zip(clean, found, strict=True)]
    if masks is not None and masked is not None:
        for bits, patch in zip(masks, masked.tolist(), strict=True):
            found[patch] = crc32(bits.data, found[patch])
    return np.array(found, np.uint32)


def pixel_checksum(mosaic: NDArray[Any]) -> str:
    """BLAKE3 of the values in at least 64 rows of a mosaic, which recognises one exposure in files of any format.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        Codes in DN, of any type.

    Returns
    -------
    str
        Checksum in hexadecimal; empty if 99.9 % of the pixels are at the lowest or at the highest code, since
        different exposures can then be equal.
    """
    kind = np.float64 if mosaic.dtype.kind == "f" else np.int32
    digest = blake3(f"{mosaic.shape}".encode())
    rows = mosaic[:: max(1, len(mosaic) // ROWS_HASHED)]
    if any(np.count_nonzero(rows == end) >= ONE_CODE * rows.size for end in (rows.min(), rows.max())):
        return ""
    for row in rows:
        digest.update(np.ascontiguousarray(row, kind).view(np.uint8).data)
    return digest.hexdigest()


def content_checksum(
    attributes: Mapping[str, Any], arrays: Mapping[str, Any], pixels: Mapping[str, tuple[Any, tuple[int, ...]]]
) -> str:
    """BLAKE3 of a store's contents except its pixels, which are protected by the CRC-32 of each patch.

    Parameters
    ----------
    attributes : mapping
        Attributes of the file; `CONTENT`, which stores the result, is ignored.
    arrays : mapping of str to ndarray or sequence of str
        Table, names and checksums.
    pixels : mapping of str to (dtype, shape)
        Types and shapes of the datasets with pixels.
    """
    digest = blake3()
    for name in sorted(set(attributes) - {CONTENT}):
        digest.update(f"{name}={attributes[name]}\n".encode())
    for name, (dtype, shape) in sorted(pixels.items()):
        digest.update(f"{name} {dtype} {tuple(map(int, shape))}\n".encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"{name} {len(values)}\n".encode())
        if isinstance(values, np.ndarray):
            # CRC-32 is ten times as fast, which matters for tables with millions of rows.
            digest.update(f"{values.dtype} {crc32(np.ascontiguousarray(values).view(np.uint8).data)}\n".encode())
        else:
            for text in values:
                digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """BLAKE3 of a file: cryptographic like SHA-256, in less than half the time.

    Raises
    ------
    RawError
        If the file cannot be read.
    """
    return _digest(path, blake3())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, for checksum lists that people compare with their system's tools.

    Raises
    ------
    RawError
        If the file cannot be read.
    """
    return _digest(path, hashlib.sha256())


def _digest(path: Path, digest: Digest) -> str:
    block = memoryview(bytearray(BLOCK_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(block[:count])
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def repeated_files(files: Iterable[Path]) -> dict[Path, Path]:
    """Find files with the same content as an earlier file.

    A duplicate frame would be part of its own clean signal, or appear in two splits.  Only files
    with the same size and the same first and last 64 KiB are read completely.

    Parameters
    ----------
    files : iterable of Path
        Files to compare; the first of several equal ones counts as the original.

    Returns
    -------
    dict
        Duplicate file → original.

    Raises
    ------
    RawError
        If a file cannot be read.
    """
    alike: dict[tuple[int, str], list[Path]] = defaultdict(list)
    for file in dict.fromkeys(files):
        alike[_size_and_ends(file)].append(file)
    first: dict[str, Path] = {}
    repeats: dict[Path, Path] = {}
    for group in alike.values():
        for file in group if len(group) > 1 else ():
            original = first.setdefault(file_checksum(file), file)
            if original != file:
                repeats[file] = original
    return repeats


def _size_and_ends(path: Path) -> tuple[int, str]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(END_BYTES)
            file.seek(max(0, size - END_BYTES))
            return size, blake3(head + file.read(END_BYTES)).hexdigest()
    except OSError as error:
        raise RawError(f"{path}: cannot be read ({error.strerror})") from error
