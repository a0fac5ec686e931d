"""TIFF and DNG files with any tags in any directory, in both byte orders, without a TIFF library."""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_dng_tags"]

TYPES = {
    "byte": (1, "B"),
    "ascii": (2, "s"),
    "short": (3, "H"),
    "long": (4, "I"),
    "rational": (5, "II"),
    "undefined": (7, "B"),
    "srational": (10, "ii"),
    "double": (12, "d"),
}

Tags = Mapping[int, tuple[str, Any]]


def _values(order: str, kind: str, values: Any) -> tuple[int, int, bytes]:
    code, form = TYPES[kind]
    if kind == "ascii":
        return code, len(values) + 1, values.encode() + b"\0"
    if kind in ("rational", "srational"):
        pairs = [value if isinstance(value, tuple) else _ratio(value) for value in values]
        return code, len(pairs), struct.pack(order + form * len(pairs), *(part for pair in pairs for part in pair))
    return code, len(values), struct.pack(order + form * len(values), *values)


def _ratio(value: float) -> tuple[int, int]:
    fraction = Fraction(value).limit_denominator(100_000)
    return fraction.numerator, fraction.denominator


class _File:
    def __init__(self, order: str) -> None:
        self.order, self.content = (
            order,
            bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0)),
        )

    def put(self, data: bytes) -> int:
        self.content += b"\0" * (len(self.content) % 2)
        self.content += data
        return len(self.content) - len(data)

    def directory(self, tags: Mapping[int, tuple[str, Any]]) -> int:
        rows = []
        for tag in sorted(tags):
            kind, values = tags[tag]
            if kind == "directories":
                kind, values = "long", [self.directory(each) for each in values]
            code, count, data = _values(self.order, kind, values)
            place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(self.order + "I", self.put(data))
            rows.append(struct.pack(self.order + "HHI", tag, code, count) + place)
        return self.put(struct.pack(self.order + "H", len(rows)) + b"".join(rows) + bytes(4))


def write_dng_tags(
    path: Path,
    mosaic: np.ndarray,
    cfa: str,
    tags: Tags | None = None,
    *,
    order: str = "<",
    raw_in: str = "ifd0",
    camera: Tags | None = None,
    exif: Tags | None = None,
) -> Path:
    """Write a 16-bit DNG; `tags` go into the raw image's directory, `camera` into the first, `exif` into Exif."""
    file = _File(order)
    height, width = mosaic.shape
    at = file.put(mosaic.astype(order + "u2").tobytes())
    raw: dict[int, tuple[str, Any]] = {
        254: ("long", [0]),
        256: ("long", [width]),
        257: ("long", [height]),
        258: ("short", [16]),
        259: ("short", [1]),
        262: ("short", [34892 if cfa == "MONO" else 32803]),
        273: ("long", [at]),
        277: ("short", [1]),
        278: ("long", [height]),
        279: ("long", [2 * mosaic.size]),
    }
    if cfa != "MONO":
        raw |= {33421: ("short", [2, 2]), 33422: ("byte", ["RGB".index(colour) for colour in cfa])}
    raw |= dict(tags or {})
    first: dict[int, tuple[str, Any]] = {
        271: ("ascii", "Maker"),
        272: ("ascii", "Maker One"),
        50706: ("byte", [1, 4, 0, 0]),
        50708: ("ascii", "Maker One"),
        50721: ("srational", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        **dict(camera or {}),
    }
    if exif is not None:
        first[34665] = ("directories", [{36864: ("undefined", list(b"0230")), **exif}])
    if raw_in == "ifd0":
        first = {**first, **raw}
    else:
        thumbnail = file.put(bytes(16 * 16 * 3))
        first |= {
            254: ("long", [1]),
            256: ("long", [16]),
            257: ("long", [16]),
            258: ("short", [8, 8, 8]),
            259: ("short", [1]),
            262: ("short", [2]),
            273: ("long", [thumbnail]),
            277: ("short", [3]),
            278: ("long", [16]),
            279: ("long", [768]),
            330: ("directories", [raw]),
        }
    struct.pack_into(order + "I", file.content, 4, file.directory(first))
    path.write_bytes(bytes(file.content))
    return path
