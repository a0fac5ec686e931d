"""Colour filter arrays: the repeating cell, its phases, and their names.

An array is written as the colours of its cell in raster order, starting at the mosaic's
first pixel: 4 letters for Bayer, 16 for Quad Bayer, 36 for X-Trans; or ``"MONO"``.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache

from noiseflow.core.errors import RawError

__all__ = [
    "BAYER_PHASES",
    "CELLS",
    "CFAS",
    "LEVEL_COUNTS",
    "MONO",
    "NAMED_CFAS",
    "cell_side",
    "cfa_name",
    "cfa_of_colours",
    "known_cfa",
    "layout_of",
    "offsets",
    "shifted",
]

MONO = "MONO"
BAYER_PHASES = ("RGGB", "GRBG", "GBRG", "BGGR")

CELLS = {
    "bayer": "RGGB",
    "quad": "RRGGRRGGGGBBGGBB",
    "xtrans": "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG",
}
"""Plane layout → colours of its cell in raster order, which is the order of its planes.

Mirroring or transposing a cell gives the same cell at another phase, so no camera needs further cells.
"""

LEVEL_COUNTS = (1, 4, 16, 36)
"""Accepted numbers of black levels: one, or one for each plane of Bayer, Quad Bayer or X-Trans."""

TITLES = {"quad": "Quad Bayer", "xtrans": "X-Trans"}
"""Plane layout → name of the array for messages, for cells larger than Bayer."""


def cell_side(cfa: str) -> int:
    """Rows, and columns, of the repeating cell of an array; 2 for ``"MONO"``.

    >>> cell_side("GBRG")
    2
    """
    return 2 if cfa == MONO else math.isqrt(len(cfa))


def shifted(cfa: str, rows: int, columns: int) -> str:
    """Colour filter array after cropping rows at the top and columns at the left.

    Parameters
    ----------
    cfa : str
        Array at the first pixel before cropping.
    rows, columns : int
        Number of rows and columns removed; may be negative.

    Examples
    --------
    >>> shifted("RGGB", 1, 0)
    'GBRG'
    """
    if cfa == MONO:
        return MONO
    side = cell_side(cfa)
    return "".join(
        cfa[side * ((row + rows) % side) + (column + columns) % side] for row in range(side) for column in range(side)
    )


def _phases(cell: str) -> tuple[str, ...]:
    side = cell_side(cell)
    every = (shifted(cell, rows, columns) for rows in range(side) for columns in range(side))
    return tuple(dict.fromkeys(every))


CFAS = (*BAYER_PHASES, MONO, *_phases(CELLS["quad"]), *_phases(CELLS["xtrans"]))
"""All supported arrays.  Stores contain indices into this list: only append to it."""


def _named() -> Iterator[tuple[str, str]]:
    yield from ((phase, phase) for phase in BAYER_PHASES)
    for name in TITLES:
        side = cell_side(CELLS[name])
        for rows in range(side):
            for columns in range(side):
                yield (
                    name.upper() + (f"+{rows}+{columns}" if rows or columns else ""),
                    shifted(CELLS[name], rows, columns),
                )


NAMED_CFAS = dict(_named())
"""Short name → array: ``"XTRANS+1+0"`` is the cell in `CELLS` after cropping 1 row and 0 columns."""


def known_cfa(text: str) -> str | None:
    """Look up an array by its colours or short name, in upper or lower case; None if it is not supported.

    Parameters
    ----------
    text : str
        Colours in raster order, slashes allowed between rows, or a name in `NAMED_CFAS`.

    Examples
    --------
    >>> known_cfa("quad") == CELLS["quad"], known_cfa("rggb"), known_cfa("RYYB")
    (True, 'RGGB', None)
    """
    text = text.strip().upper().replace("/", "")
    text = NAMED_CFAS.get(text, text)
    return text if text in CFAS else None


def layout_of(cfa: str) -> str:
    """Default plane layout of an array.

    >>> layout_of("GRBG"), layout_of(CELLS["xtrans"]), layout_of("MONO")
    ('bayer', 'xtrans', 'mono2x2')
    """
    return {2: "bayer", 4: "quad", 6: "xtrans"}[cell_side(cfa)] if cfa != MONO else "mono2x2"


def cfa_name(cfa: str) -> str:
    """Name of an array for messages.

    >>> cfa_name("RGGB"), cfa_name(CELLS["quad"])
    ('RGGB', 'Quad Bayer RRGG/RRGG/GGBB/GGBB')
    """
    if cfa == MONO or len(cfa) <= 4:
        return cfa
    side = cell_side(cfa)
    rows = "/".join(cfa[start : start + side] for start in range(0, len(cfa), side))
    return f"{TITLES[layout_of(cfa)]} {rows}" if cfa in CFAS else rows


def cfa_of_colours(rows: Sequence[str]) -> str | None:
    """Find the array of a cell given row by row; None if it is not supported.

    The given cell may repeat the array's cell: a Bayer sensor may be written as 4×4.

    Parameters
    ----------
    rows : sequence of str
        Colours of each row.

    Examples
    --------
    >>> cfa_of_colours(["RGRG", "GBGB"])
    'RGGB'
    """
    height, width = len(rows), len(rows[0]) if rows else 0
    if not height or not width or {len(row) for row in rows} != {width}:
        return None
    for cfa in CFAS:
        if cfa == MONO:
            continue
        side = cell_side(cfa)
        if height % side == 0 and width % side == 0:
            expected = [
                "".join(cfa[side * (row % side) + column % side] for column in range(width)) for row in range(height)
            ]
            if list(rows) == expected:
                return cfa
    return None


@cache
def offsets(cfa: str) -> tuple[tuple[int, int], ...]:
    """Position (row, column) of each plane's pixel in the cell of an array.

    Parameters
    ----------
    cfa : str
        One of `CFAS`; the four pixels of ``"MONO"`` are in raster order.

    Raises
    ------
    RawError
        If the array is not supported.

    Examples
    --------
    >>> offsets("GRBG")
    ((0, 1), (0, 0), (1, 1), (1, 0))
    """
    if cfa == MONO:
        return ((0, 0), (0, 1), (1, 0), (1, 1))
    if cfa not in CFAS:
        raise RawError(
            f"colour filter array {cfa_name(cfa)!r} is not supported; expected {', '.join(BAYER_PHASES)}, "
            f"Quad Bayer, X-Trans or {MONO}"
        )
    side, cell = cell_side(cfa), CELLS[layout_of(cfa)]
    rows, columns = next(
        (rows, columns) for rows in range(side) for columns in range(side) if shifted(cell, rows, columns) == cfa
    )
    return tuple(((row - rows) % side, (column - columns) % side) for row in range(side) for column in range(side))
