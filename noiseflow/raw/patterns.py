"""Colour filter arrays: the cell that repeats, its phases, and how they are spelled.

An array is spelled by the colours of its cell in raster order, from the mosaic's first
pixel: 4 letters for Bayer, 16 for Quad Bayer, 36 for X-Trans; or ``"MONO"``.
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
"""Plane layout → the cell of colours whose planes it has in raster order.

Mirrored or transposed each of them is itself at another phase: no camera needs more.
"""

LEVEL_COUNTS = (1, 4, 16, 36)
"""Black levels that can be given: one, or one for each plane of Bayer, Quad Bayer or X-Trans."""

TITLES = {"quad": "Quad Bayer", "xtrans": "X-Trans"}


def cell_side(cfa: str) -> int:
    """Rows, and columns, of the cell that repeats.

    >>> cell_side("GBRG")
    2
    """
    return 2 if cfa == MONO else math.isqrt(len(cfa))


def shifted(cfa: str, rows: int, columns: int) -> str:
    """The phase that is left at the first pixel when `rows` and `columns` are cut off before it.

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
"""Every array that is supported.  A store keeps indices of this list: append only."""


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
"""Short names of a cell in `CELLS` and of its phase, the rows and columns cut off before it: ``"XTRANS+1+0"``."""


def known_cfa(text: str) -> str | None:
    """An array by its colours or by its short name, in any case; None if it is not supported.

    >>> known_cfa("quad") == CELLS["quad"], known_cfa("rggb"), known_cfa("RYYB")
    (True, 'RGGB', None)
    """
    text = text.strip().upper().replace("/", "")
    text = NAMED_CFAS.get(text, text)
    return text if text in CFAS else None


def layout_of(cfa: str) -> str:
    """The plane layout an array packs to by default.

    >>> layout_of("GRBG"), layout_of(CELLS["xtrans"]), layout_of("MONO")
    ('bayer', 'xtrans', 'mono2x2')
    """
    return {2: "bayer", 4: "quad", 6: "xtrans"}[cell_side(cfa)] if cfa != MONO else "mono2x2"


def cfa_name(cfa: str) -> str:
    """An array for people to read.

    >>> cfa_name("RGGB"), cfa_name(CELLS["quad"])
    ('RGGB', 'Quad Bayer RRGG/RRGG/GGBB/GGBB')
    """
    if cfa == MONO or len(cfa) <= 4:
        return cfa
    side = cell_side(cfa)
    rows = "/".join(cfa[start : start + side] for start in range(0, len(cfa), side))
    return f"{TITLES[layout_of(cfa)]} {rows}" if cfa in CFAS else rows


def cfa_of_colours(rows: Sequence[str]) -> str | None:
    """The array of a cell given row by row; None if it is not supported.

    The cell may hold its pattern several times: a Bayer sensor may be written as 4×4.

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
    """(row, column) of each plane's pixel within the cell of an array.

    Parameters
    ----------
    cfa : str
        One of `CFAS`; the four pixels of ``"MONO"`` are taken in raster order.

    Raises
    ------
    RawError
        For any other pattern.

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
