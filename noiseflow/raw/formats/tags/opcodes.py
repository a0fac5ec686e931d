"""Opcode lists of a DNG: corrections that a converter applies, and the stored codes do not have."""

import struct
from collections.abc import Iterator

import tifffile

__all__ = ["OPCODE_LISTS", "opcode_words"]

OPCODE_LISTS = {51008: "OpcodeList1", 51009: "OpcodeList2"}
"""Tags of the lists that work on codes; the third works on the picture."""

BENDING = {7: "MapTable", 8: "MapPolynomial", 10: "DeltaPerRow", 11: "DeltaPerColumn"}
"""Those that change codes other than by a factor."""

MOST = 1000
"""Opcodes of a list that are looked at."""


def opcode_words(page: tifffile.TiffPage) -> tuple[str, ...]:
    """A sentence for each list whose opcodes would bend the codes or move the black level; they are not applied.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapter 7: big-endian, whatever the file is.
    """
    words = []
    for tag, name in OPCODE_LISTS.items():
        entry = page.tags.get(tag)
        if entry is not None and isinstance(entry.value, bytes):
            found = [BENDING[code] for code in dict.fromkeys(_codes(entry.value)) if code in BENDING]
            if found:
                words.append(
                    f"{name} has {', '.join(found)}, which a converter applies to the codes; they are taken as stored: "
                    "is the response linear in them, and the black level theirs?"
                )
    return tuple(words)


def _codes(content: bytes) -> Iterator[int]:
    """The opcodes of a list, as far as it goes."""
    at, end = 4, len(content)
    count = struct.unpack_from(">I", content)[0] if end >= at else 0
    for _ in range(min(count, MOST)):
        if at + 16 > end:
            return
        code, _, _, size = struct.unpack_from(">4I", content, at)
        yield code
        at += 16 + size
