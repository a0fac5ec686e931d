"""Opcode lists of a DNG: corrections for a raw converter to apply, which the stored codes do not include."""

import struct
from collections.abc import Iterator

import tifffile

__all__ = ["OPCODE_LISTS", "opcode_words"]

OPCODE_LISTS = {51008: "OpcodeList1", 51009: "OpcodeList2"}
"""Tags of the opcode lists that apply to raw codes; OpcodeList3 applies after demosaicing."""

BENDING = {7: "MapTable", 8: "MapPolynomial", 10: "DeltaPerRow", 11: "DeltaPerColumn"}
"""Opcodes that change codes by more than a factor."""

MOST = 1000
"""Opcodes of a list that are checked at most."""


def opcode_words(page: tifffile.TiffPage) -> tuple[str, ...]:
    """Cautions for opcode lists that change linearity or black level; the opcodes are not applied.

    Parameters
    ----------
    page : TiffPage
        Page of the raw image.

    References
    ----------
    Adobe: Digital Negative (DNG) Specification 1.4, chapter 7: lists are big-endian in every file.
    """
    words = []
    for tag, name in OPCODE_LISTS.items():
        entry = page.tags.get(tag)
        if entry is not None and isinstance(entry.value, bytes):
            found = [BENDING[code] for code in dict.fromkeys(_codes(entry.value)) if code in BENDING]
            if found:
                words.append(
                    f"{name} has {', '.join(found)}, which a raw converter applies to the codes; noiseflow reads the "
                    "codes without it: check that they are linear and that the black level refers to them"
                )
    return tuple(words)


def _codes(content: bytes) -> Iterator[int]:
    """Yield the opcodes of a list, up to its end or to where it is cut off."""
    at, end = 4, len(content)
    count = struct.unpack_from(">I", content)[0] if end >= at else 0
    for _ in range(min(count, MOST)):
        if at + 16 > end:
            return
        code, _, _, size = struct.unpack_from(">4I", content, at)
        yield code
        at += 16 + size
