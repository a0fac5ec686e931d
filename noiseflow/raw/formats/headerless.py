"""Bare pixels without a header: what they are stands in the settings."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError
from noiseflow.raw.guards import check_size
from noiseflow.raw.image import RawImage
from noiseflow.raw.inspection.other_readings import doubt_of_sides, other_order_is_smoother, smoother_packing
from noiseflow.raw.packed_bits import PACKINGS, Packing
from noiseflow.raw.patterns import MONO, cell_side, known_cfa
from noiseflow.raw.settings import RawSettings

__all__ = ["SUFFIXES", "read"]

SUFFIXES = frozenset((".raw", ".bin"))

DTYPE = "<u2"
"""Little-endian 16 bit, unless the settings say otherwise."""

PACKED_ROWS = 64
"""Rows whose bytes are read in other packings too."""

GIGE, STRAY, FEWEST_BYTES = ("Mono10Packed", "Mono12Packed"), 0.01, 100
"""Packings of the same pixels in the same bytes but for empty bits; more bits than this part are no strays; and the
fewest bytes in which bits that are never set are empty."""


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a file of nothing but pixels, row by row; rows may be padded, pixels packed.

    Raises
    ------
    RawError
        The settings do not say the size, or it is not that of the file; or the bytes make a far smoother picture in
        another order or packing, or with the sides exchanged.
    """
    if settings.size is None:
        raise RawError(
            f"{path}: has no header that says its size; give --size WIDTHxHEIGHT (and --dtype, --cfa, "
            f"--black, --white), or these lines in {path.with_suffix('.toml').name}"
        )
    width, height = settings.size
    check_size(path, height, width)
    name, start = settings.dtype or DTYPE, settings.header_bytes or 0
    packing = PACKINGS.get(name)
    own = packing.row_bytes(width) if packing else width * np.dtype(name).itemsize
    stride = _stride(path, settings, own)
    with path.open("rb") as file:
        file.seek(start)
        content = np.frombuffer(file.read(stride * (height - 1) + own), np.uint8)
    if len(content) != stride * (height - 1) + own:
        raise RawError(f"{path}: ends after {len(content):,} bytes of pixels; did it change while it was read?")
    rows = np.lib.stride_tricks.as_strided(content, (height, own), (stride, 1), writeable=False)
    pixels: NDArray[Any] = (
        packing.rows(rows, width) if packing else np.ascontiguousarray(rows).view(np.dtype(name)).copy()
    )
    side = cell_side(known_cfa(settings.cfa or "") or MONO)
    if packing:
        _refuse_other_packing(path, name, rows, width, side)
    elif pixels.dtype.itemsize == 2 and other_order_is_smoother(pixels, side):
        raise RawError(
            f"{path}: neighbouring pixels differ far less with the two bytes of each exchanged; give --dtype "
            f"'{pixels.dtype.newbyteorder('S').str}'"
        )
    doubt = doubt_of_sides(path, pixels, side) if stride == own else ""
    white = float(2**packing.bits - 1) if packing else None
    return settings.image(pixels, str(path), white=white, cautions=(doubt,) if doubt else ())


def _refuse_other_packing(path: Path, name: str, rows: NDArray[np.uint8], width: int, side: int) -> None:
    """Refuse packed pixels whose bytes make a far smoother picture in another packing of the same size."""
    few = rows[:: max(1, len(rows) // PACKED_ROWS)]
    if name in GIGE and (best := _other_gige(name, few)):
        raise RawError(f"{path}: the bytes between its pixels are those of {best}, not of {name}; give --dtype {best}")
    alike = {each: other for each, other in PACKINGS.items() if other.row_bytes(width) == rows.shape[1]}
    readings = {each: other.rows(few, width) for each, other in alike.items()}
    if not int(np.bitwise_or.reduce(readings[name], axis=None)) & 3:
        # Left-aligned codes of fewer bits: in a wrong packing the lowest bits are not empty.
        return
    best = smoother_packing(name, readings, {each: other.bits for each, other in alike.items()}, side)
    if best:
        raise RawError(
            f"{path}: neighbouring pixels differ far less if its bytes are {best} and not {name}; give --dtype {best}"
        )


def _other_gige(name: str, rows: NDArray[np.uint8]) -> str:
    """The other GigE packing if the low bits, in every third byte, are its; empty if they are right or do not say.

    Of 10 bits the two upper ones of each half are empty; of 12 they are not, but for left-aligned codes of 8 or 10,
    whose lower ones are empty.
    """
    between = rows[:, 1::3]
    upper = float((between & 0xCC != 0).mean())
    lower = float((between & 0x33 != 0).mean())
    if name == "Mono10Packed":
        return "Mono12Packed" if upper > STRAY else ""
    return "Mono10Packed" if not upper and lower > STRAY and between.size >= FEWEST_BYTES else ""


def _stride(path: Path, settings: RawSettings, own: int) -> int:
    """Bytes from row to row: the setting, or what the file's size says if it is whole rows.

    Raises
    ------
    RawError
        The file has another size.
    """
    assert settings.size is not None
    (width, height), name = settings.size, settings.dtype or DTYPE
    start, found = settings.header_bytes or 0, path.stat().st_size
    stride = settings.stride or own
    # The last row may come without its padding.
    if stride >= own and found - start in (stride * height, stride * (height - 1) + own):
        return stride
    rest = found - start
    hint = ""
    if settings.stride is None and rest > own * height and rest % height == 0:
        hint = f"; rows of {rest // height:,} bytes would fit: give --stride {rest // height}"
    fitting = [other for other, packing in PACKINGS.items() if other != name and _fits(packing, width, height, rest)]
    if fitting and not hint:
        hint = f"; packed pixels would fit: give --dtype {' or '.join(fitting[:3])}, and --stride for padded rows"
    raise RawError(
        f"{path}: {width}×{height} pixels of {name} after {start} bytes of header are "
        f"{stride * height:,} bytes in rows of {stride:,}; the file has {found:,}{hint}"
    )


def _fits(packing: Packing, width: int, height: int, found: int) -> bool:
    """Whether a file of this size may hold packed rows, padded or not."""
    own = packing.row_bytes(width) * height
    return found == own or (own < found < 2 * width * height and found % height == 0)
