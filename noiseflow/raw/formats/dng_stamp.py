"""Write a NoiseProfile into a copy of an existing DNG without moving or changing any other data.

An existing profile of the same length is overwritten in place.  Otherwise a copy of the raw image's directory with
the new entry is appended to the file, and the four-byte pointer to the directory is set to the copy.

References
----------
Adobe: TIFF 6.0, section 2; Digital Negative (DNG) Specification 1.4, NoiseProfile.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from noiseflow.core.errors import RawError

__all__ = ["stamped"]

NOISE_PROFILE, SUB_DIRECTORIES, SUBFILE, PHOTOMETRIC, DNG_VERSION = 0xC761, 0x014A, 0x00FE, 0x0106, 0xC612
RAW_KINDS = (32803, 34892)
"""PhotometricInterpretation of a mosaic and of linear raw."""

SHORT, DOUBLE = 3, 12
"""TIFF type codes."""

MOST_DIRECTORIES, LARGEST = 64, 2**32 - 1
"""Directories followed at most, and the largest file offset of an ordinary TIFF in bytes."""


@dataclass(frozen=True)
class Directory:
    """A TIFF directory and where it is in the file; all offsets in bytes.

    Parameters
    ----------
    pointer : int
        Offset of the four bytes that point to the directory.
    at : int
        Offset of the directory.
    entries : tuple of (tag, type, count, offset of the value field)
        Entries in file order.
    """

    pointer: int
    at: int
    entries: tuple[tuple[int, int, int, int], ...]


def stamped(content: bytes, pairs: Sequence[tuple[float, float]], source: str) -> bytes:
    """Content of a DNG with its NoiseProfile added or replaced.

    Parameters
    ----------
    content : bytes
        The DNG.
    pairs : sequence of (float, float)
        (S, O), once for all colours or once each for R, G, B: the variance of the normalised signal is
        S·signal + O.
    source : str
        Name of the file, for messages.

    Returns
    -------
    bytes
        A changed copy of `content`.

    Raises
    ------
    RawError
        If the content is no DNG, is damaged, has no raw image, or would exceed 4 GB.
    """
    if content[:2] not in (b"II", b"MM") or len(content) < 8:
        raise RawError(f"{source}: is no DNG; expected one to write a NoiseProfile into")
    order = "<" if content[:2] == b"II" else ">"
    try:
        if struct.unpack_from(f"{order}H", content, 2) != (42,):
            raise RawError(f"{source}: is a BigTIFF or no TIFF; a NoiseProfile can be written into ordinary DNGs only")
        directories = list(_directories(content, order))
        if not any(tag == DNG_VERSION for tag, *_ in directories[0].entries):
            raise RawError(f"{source}: is a TIFF, but no DNG; expected one to write a NoiseProfile into")
        raw = [each for each in directories if _is_raw(content, order, each)]
        if not raw:
            raise RawError(f"{source}: contains no raw image; expected the DNG of a camera")
        return _with_profile(content, order, raw[0], directories, pairs, source)
    except (struct.error, IndexError) as error:
        raise RawError(f"{source}: its directories are damaged ({error})") from error


def _with_profile(
    content: bytes,
    order: str,
    raw: Directory,
    directories: Sequence[Directory],
    pairs: Sequence[tuple[float, float]],
    source: str,
) -> bytes:
    values = struct.pack(f"{order}{2 * len(pairs)}d", *(value for pair in pairs for value in pair))
    holder = next((each for each in directories if _entry(each, NOISE_PROFILE)), raw)
    known = _entry(holder, NOISE_PROFILE)
    changed = bytearray(content)
    if known is not None and known[1:3] == (DOUBLE, 2 * len(pairs)):
        (at,) = struct.unpack_from(f"{order}I", content, known[3])
        if at + len(values) > len(content):
            raise RawError(f"{source}: its NoiseProfile lies beyond the end of the file")
        changed[at : at + len(values)] = values
        return bytes(changed)
    changed += bytes(len(changed) % 2)
    at = len(changed)
    copied = len(changed) + len(values)
    if copied > LARGEST:
        raise RawError(f"{source}: has no room for another directory; a DNG can be at most 4 GB")
    new = struct.pack(f"{order}HHII", NOISE_PROFILE, DOUBLE, 2 * len(pairs), at)
    others = [content[place - 8 : place + 4] for tag, _, _, place in holder.entries if tag != NOISE_PROFILE]
    # TIFF requires entries in ascending order of tag.
    rows = sorted([*others, new], key=lambda row: struct.unpack_from(f"{order}H", row)[0])
    after = holder.at + 2 + 12 * len(holder.entries)
    changed += values
    changed += struct.pack(f"{order}H", len(rows)) + b"".join(rows) + content[after : after + 4]
    struct.pack_into(f"{order}I", changed, holder.pointer, copied)
    return bytes(changed)


def _directories(content: bytes, order: str) -> Iterator[Directory]:
    """Yield each directory of the chain and its sub-directories, each once."""
    waiting, seen = [4], set[int]()
    while waiting and len(seen) < MOST_DIRECTORIES:
        pointer = waiting.pop(0)
        (at,) = struct.unpack_from(f"{order}I", content, pointer)
        if not at or at in seen:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", content, at)
        entries = tuple(
            (*struct.unpack_from(f"{order}HHI", content, at + 2 + 12 * row), at + 2 + 12 * row + 8)
            for row in range(count)
        )
        yield (directory := Directory(pointer, at, entries))
        sub = _entry(directory, SUB_DIRECTORIES)
        if sub is not None:
            first = sub[3] if sub[2] == 1 else struct.unpack_from(f"{order}I", content, sub[3])[0]
            waiting += [first + 4 * number for number in range(sub[2])]
        waiting.append(at + 2 + 12 * count)


def _entry(directory: Directory, tag: int) -> tuple[int, int, int, int] | None:
    return next((entry for entry in directory.entries if entry[0] == tag), None)


def _is_raw(content: bytes, order: str, directory: Directory) -> bool:
    """Whether a directory describes the full-size raw image."""
    values = {}
    for tag in (SUBFILE, PHOTOMETRIC):
        entry = _entry(directory, tag)
        if entry is not None:
            values[tag] = struct.unpack_from(f"{order}{'H' if entry[1] == SHORT else 'I'}", content, entry[3])[0]
    return values.get(PHOTOMETRIC) in RAW_KINDS and not values.get(SUBFILE, 0)
