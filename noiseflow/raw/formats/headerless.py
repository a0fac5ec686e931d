"""Read headerless files: the settings give their size, type and layout."""

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
"""Default type of the pixels: little-endian 16 bit."""

PACKED_ROWS = 64
"""About how many rows are decoded in the other packings too, for comparison."""

GIGE, STRAY, FEWEST_BYTES = ("Mono10Packed", "Mono12Packed"), 0.01, 100
"""The two GigE packings, which differ only in which low bits are empty; the fraction of bytes with a bit set above
which that bit counts as used; and the fewest bytes from which a bit that is never set counts as empty."""


def read(path: Path, settings: RawSettings) -> RawImage:
    """Read a file of bare pixels, row by row; rows may be padded and pixels packed.

    Parameters
    ----------
    path : Path
        The file.
    settings : RawSettings
        Must give the size; may give ``dtype``, ``stride`` and ``header_bytes``.

    Returns
    -------
    RawImage
        The frame, with a caution if its pixels are smoother with width and height exchanged.

    Raises
    ------
    RawError
        If the settings give no size or one that does not fit the file, or the bytes make a much smoother
        image in another byte order or packing.
    """
    if settings.size is None:
        raise RawError(
            f"{path}: has no header that gives its size; give --size WIDTHxHEIGHT (and --dtype, --cfa, "
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
            f"{path}: neighbouring pixels differ far less with the two bytes of each pixel exchanged; give --dtype "
            f"'{pixels.dtype.newbyteorder('S').str}'"
        )
    doubt = doubt_of_sides(path, pixels, side) if stride == own else ""
    white = float(2**packing.bits - 1) if packing else None
    return settings.image(pixels, str(path), white=white, cautions=(doubt,) if doubt else ())


def _refuse_other_packing(path: Path, name: str, rows: NDArray[np.uint8], width: int, side: int) -> None:
    """Refuse packed pixels whose bytes make a much smoother image in another packing of the same size."""
    few = rows[:: max(1, len(rows) // PACKED_ROWS)]
    if name in GIGE and (best := _other_gige(name, few)):
        raise RawError(f"{path}: the bytes between its pixels are those of {best}, not of {name}; give --dtype {best}")
    alike = {each: other for each, other in PACKINGS.items() if other.row_bytes(width) == rows.shape[1]}
    readings = {each: other.rows(few, width) for each, other in alike.items()}
    if not int(np.bitwise_or.reduce(readings[name], axis=None)) & 3:
        # The two lowest bits are empty: left-aligned codes of fewer bits, hence the right packing.
        return
    best = smoother_packing(name, readings, {each: other.bits for each, other in alike.items()}, side)
    if best:
        raise RawError(
            f"{path}: neighbouring pixels differ far less if its bytes are {best} and not {name}; give --dtype {best}"
        )


def _other_gige(name: str, rows: NDArray[np.uint8]) -> str:
    """Name of the other GigE packing if the bits are in its positions; empty if `name` fits or the bits cannot tell.

    The middle byte of three has the low bits of two pixels, one in each half.  With 10 bits per pixel the
    two upper bits of each half are empty.  With 12 bits all four are used, except that left-aligned codes of 8
    or 10 bits leave the lower two empty.
    """
    between = rows[:, 1::3]
    upper = float((between & 0xCC != 0).mean())
    lower = float((between & 0x33 != 0).mean())
    if name == "Mono10Packed":
        return "Mono12Packed" if upper > STRAY else ""
    return "Mono10Packed" if not upper and lower > STRAY and between.size >= FEWEST_BYTES else ""


def _stride(path: Path, settings: RawSettings, own: int) -> int:
    """Bytes from one row to the next: the setting, or rows without padding.

    Raises
    ------
    RawError
        If the file's size does not fit; the message names what would.
    """
    assert settings.size is not None
    (width, height), name = settings.size, settings.dtype or DTYPE
    start, found = settings.header_bytes or 0, path.stat().st_size
    stride = settings.stride or own
    # The last row may lack its padding.
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
    """Whether `found` bytes of pixels could be rows in this packing, padded or not."""
    own = packing.row_bytes(width) * height
    return found == own or (own < found < 2 * width * height and found % height == 0)
