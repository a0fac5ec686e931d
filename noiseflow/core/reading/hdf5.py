"""Check HDF5 files before the library reads what it would hang on, or allocate gigabytes for."""

import mmap
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py

__all__ = ["TEXT_BYTES", "check_texts", "own_dataset"]

HEAPS = re.compile(rb"GCOL\x01\0\0\0")
"""Signature and version at the start of a global heap, which stores texts of variable length.  Two megabytes of pixels
are searched in half the time that `bytes.find` takes."""

OF_TEXTS = re.compile(
    rb"\x10\x00\x00\x00(?<=[\x19\x29\x39\x49\x59][\x00\x01\x10\x11\x20\x21][\x00\x01]\x00\x10\x00\x00\x00)"
)
"""A datatype of variable length, of any version and padding.  Its last bytes come first: they are searched fastest."""

BETWEEN = 160
"""Most bytes from such a datatype to the first value of an attribute: its base type, and the sizes of a few axes."""

HEAD, TEXT_BYTES = 1 << 16, 1 << 21
"""Numbers of bytes at the start and at the end of a file of ours that hold its texts; pixels are between them."""

STRING_BYTES = 16
"""Size in bytes of a string's entry in a dataset, without its characters."""


def own_dataset(file: "h5py.File", name: str, *, written: bool = True) -> "h5py.Dataset":
    """Get a dataset after checking that its bytes are in the file itself, contiguous and without filters.

    Noiseflow writes all datasets like this.  A link could lead to another file, and a virtual, external,
    compressed or unwritten dataset can claim any size.

    Parameters
    ----------
    file : h5py.File
        The open file.
    name : str
        Name of the dataset at the top of the file.
    written : bool
        Whether its values must have been written; otherwise HDF5 returns any number of zeros.

    Raises
    ------
    ValueError
        If the dataset is missing or fails a check.
    """
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} is a link or missing; expected a dataset in the file itself")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name!r} is a {type(dataset).__name__}; expected a dataset")
    creation = dataset.id.get_create_plist()
    if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_nfilters() or creation.get_external_count():
        raise ValueError(f"{name!r} is chunked, filtered, virtual or external; expected a contiguous dataset")
    # h5py asks the library again each time.
    kind, size = dataset.dtype, int(dataset.size)
    entry = STRING_BYTES if kind.kind == "O" else kind.itemsize
    stored, room = dataset.id.get_storage_size(), int(file.id.get_filesize())
    if stored and (stored != size * entry or stored > room):
        raise ValueError(f"{name!r} has {stored:,} bytes of {size:,} values in a file of {room:,}")
    if written and size and not stored:
        raise ValueError(f"{name!r} has {size:,} values that were never written; expected their bytes")
    if kind.kind == "O" and stored:
        _check_lengths(name, Path(file.filename), dataset.id.get_offset(), size, room)
    return dataset


def _check_lengths(name: str, path: Path, offset: int, count: int, room: int) -> None:
    """Check that no text of a dataset claims to be longer than the file: the library would allocate that much."""
    entries = np.fromfile(path, "<u4", count * STRING_BYTES // 4, offset=offset)
    longest = int(entries[:: STRING_BYTES // 4].max(initial=0))
    if longest > room:
        raise ValueError(f"{name!r} has a text of {longest:,} bytes in a file of {room:,}")


def check_texts(path: Path, last: int | None = None) -> None:
    """Check the texts of a file, before any of them is read.

    Texts are stored in global heaps.  The library reads a heap entry of size 0 again and again.  It also
    allocates the length that a text's owner claims before it looks the entry up, even if that exceeds the file.

    Parameters
    ----------
    path : Path
        An HDF5 file that is not empty.
    last : int, optional
        Number of bytes at the end of the file that are searched beside the first `HEAD`: `TEXT_BYTES` for files of
        ours.  All by default.

    Raises
    ------
    ValueError
        If a heap or the length of a text is damaged.

    References
    ----------
    HDF5 File Format Specification 3.0, III.E: a heap entry is index, reference count, four reserved bytes
    and size; the entry of index 0 is the free space, including its header.  IV.A.2.d: a datatype of class 9 is of
    variable length; a value is its length (4 bytes), the address of its heap (8) and its index (4).
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        parts: dict[int, mmap.mmap | bytes] = {0: content}
        if last is not None and len(content) > HEAD + last:
            parts = {0: content[:HEAD], len(content) - last: content[-last:]}
        heaps: dict[bytes, int] = {}
        for first, part in parts.items():
            for found in HEAPS.finditer(part):
                heaps[struct.pack("<Q", first + found.start())] = _entries(part, found.start())
        for part in parts.values() if heaps else ():
            _check_attributes(part, heaps, len(content))


def _check_attributes(part: mmap.mmap | bytes, heaps: Mapping[bytes, int], room: int) -> None:
    """Check that no attribute claims a text longer than the file of `room` bytes; `heaps` has their highest indices."""
    for attribute in OF_TEXTS.finditer(part):
        at = attribute.end()
        end = at + BETWEEN
        while at < end:
            highest = heaps.get(part[at + 4 : at + 12])
            if highest is None:
                at += 1
                continue
            length, index = struct.unpack("<I8xI", part[at : at + STRING_BYTES].ljust(STRING_BYTES, b"\0"))
            if length > room and 0 < index <= highest:
                raise ValueError("a text longer than the file")
            # The next text of an array stands right behind.
            at += STRING_BYTES
            end = max(end, at + 1)


def _entries(content: mmap.mmap | bytes, heap: int) -> int:
    """Highest index in a heap of texts; raise ValueError if an entry has size 0."""
    at, highest = heap + 16, 0
    end = min(heap + int.from_bytes(content[heap + 8 : at], "little"), len(content))
    while at + 16 <= end:
        index, size = struct.unpack_from("<H6xQ", content, at)
        highest = max(highest, index)
        # Wraps at 64 bits, as in the library.
        step = (size if index == 0 else 16 + (size + 7) // 8 * 8) % 2**64
        if not step:
            raise ValueError("a damaged heap of texts")
        at += step
    return highest
