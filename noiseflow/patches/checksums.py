"""Checksums: of patches (CRC-32), of whole files (BLAKE3, SHA-256), and files that repeat another."""

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
    # The same CRC-32 at ten times the speed of zlib's; its wheels are for x86-64 and ARM only.
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
"""Bytes hashed at a time, so that they stay in the processor's cache."""

ROWS_HASHED = 64
"""Rows of a mosaic that are hashed, evenly spread: noise makes every row unique, and a whole frame takes 15 ms."""

ONE_CODE = 0.999
"""Share of pixels at the lowest or the highest code from which a frame says nothing of its exposure."""

END_BYTES = 1 << 16
"""Bytes at either end of a file that are compared before the whole is."""


class Digest(Protocol):
    """A checksum that is computed block by block."""

    def update(self, data: memoryview, /) -> object:
        """Add these bytes."""

    def hexdigest(self) -> str:
        """The checksum of all bytes so far, in hexadecimal."""


def patch_crcs(
    noisy: NDArray[Any],
    clean: NDArray[Any] | None = None,
    masks: NDArray[np.uint8] | None = None,
    masked: NDArray[Any] | None = None,
) -> NDArray[np.uint32]:
    """CRC-32 of each patch's bytes, noisy then clean then its mask.

    Parameters
    ----------
    noisy : ndarray, shape (n, C, h, w)
        C-contiguous.
    clean : ndarray, shape (n, C, h, w), optional
        C-contiguous.
    masks : ndarray of uint8, shape (k, bytes), optional
        Bits of the masks.
    masked : ndarray of int, shape (k,), optional
        The patch of each mask.

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
    """BLAKE3 of the values in 64 rows or more of a mosaic: the same for one exposure in two files of any format.

    It is empty where all but 1 pixel in 1000 are clipped to one code: two such exposures are alike.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        Codes, DN, of any type.
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
    """BLAKE3 of all that a store holds but its pixels, which each patch's CRC-32 protects.

    Parameters
    ----------
    attributes : mapping
        Attributes of the file; `CONTENT` is left out.
    arrays : mapping of str to ndarray or sequence of str
        Table, names and checksums.
    pixels : mapping of str to (dtype, shape)
        Datasets of patches.
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
            # A table of millions of rows takes a tenth of the time to open it this way.
            digest.update(f"{values.dtype} {crc32(np.ascontiguousarray(values).view(np.uint8).data)}\n".encode())
        else:
            for text in values:
                digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """BLAKE3 of a file's bytes: cryptographic like SHA-256, in less than half of its time.

    Raises
    ------
    RawError
        The file cannot be read.
    """
    return _digest(path, blake3())


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, which any system's own tools compute, for lists that people compare.

    Raises
    ------
    RawError
        The file cannot be read.
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
    """Files whose content is that of an earlier one.

    A repeated frame would be part of its own clean signal, or stand in two splits.  Only files
    of one size with the same first and last 64 KiB are read whole.

    Parameters
    ----------
    files : iterable of Path
        In the order in which the first of several is the original.

    Returns
    -------
    dict
        Repeated file → the first of that content.

    Raises
    ------
    RawError
        A file cannot be read.
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
