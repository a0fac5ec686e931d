"""Whether bytes make a better picture when they are read in another way: byte order, packing, width.

A picture, a flat and a dark frame have this in common: pixels beside each other differ by
little.  Bits in a wrong place make large steps, and rows in a wrong place are no longer alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError

__all__ = [
    "HOW_BYTES",
    "doubt_of_sides",
    "mean_step",
    "other_order_is_smoother",
    "period_of_low_bytes",
    "smoother_packing",
]

SMOOTHER = 3.0
"""A reading whose steps between neighbours are so many times smaller is the right one: noise and edges are the same
in both, but for bits that stand too high, each of which at least doubles its part."""

PACKED_SMOOTHER = 1.4
"""The same of packings: bits in a wrong place make no smaller steps than those in the right one, but 1.5 to 300 times
as large ones."""

SAMPLED = 1 << 17
"""Pixels that are looked at, about."""

SIGMAS, OWN_SHARE, UNLIKE, FEWEST = 6.0, 0.25, 0.6, 1000
"""Rows are alike at a width if the mean square difference at that distance is below those a bit before and behind it
by so many standard errors; ours are not if theirs is less than this part of the other width's, and they are
not unlike each other by more than that part of it, as stripes are.  Fewer pixels decide nothing."""

SURE_DIFFERENCE, MORE, MOST_ROWS, SURELY_ALIKE = 8.0, 1.1, 8, 4.0
"""Means explain more at another width if by so many standard deviations and by that factor, and the width that is given
is not doubted if its rows are alike, by so many standard errors, at a distance of up to so many."""

SHIFTS = (5, 8, 11, 17)
"""Parts of a row by which it is shifted sideways."""

LESS, REPEATS = (0.37, 0.61, 0.83), 1.5
"""Parts of a shift; a picture repeats by one if its mean square difference is so many times larger at one of these."""

LOW_BYTES, UNEVEN = 4096, 2.0
"""Low bytes of pixels: so many are looked at or more, and no sixteenth of their range is so many times rarer or
more frequent than the others."""

HOW_BYTES = {
    0: "bytes were taken for pixels, or the levels are of other data: check --dtype, --black, --white",
    2: "two bytes were taken for two pixels: save it as 16 bits, as by array.view('<u2')",
    3: "bytes of packed 12-bit pixels were taken for pixels: give --dtype RAW12 or Mono12p, and the true --size",
    5: "bytes of packed 10-bit pixels were taken for pixels: give --dtype RAW10 or Mono10p, and the true --size",
}
"""What to do, by the period at which low bytes stand."""


def mean_step(codes: NDArray[Any], side: int = 2) -> float:
    """Mean difference in DN between pixels of one colour beside each other, shape (rows, W)."""
    step = max(1, codes.size // SAMPLED)
    wide = codes[::step].astype(np.float64)
    return float(np.abs(wide[:, side:] - wide[:, :-side]).mean()) if wide.shape[1] > side else 0.0


def other_order_is_smoother(codes: NDArray[Any], side: int = 2) -> bool:
    """Whether pixels of 16 bits, shape (rows, W), make smaller steps with their two bytes exchanged.

    Codes whose eight low bits are all 0 are left-aligned ones of 8 bits, and right as they are.
    """
    codes = codes[:: max(1, codes.size // SAMPLED)].astype(np.uint16)
    if codes.size < FEWEST or not int(np.bitwise_or.reduce(codes, axis=None)) & 0xFF:
        return False
    return mean_step(codes.byteswap(), side) * SMOOTHER < mean_step(codes, side)


def smoother_packing(given: str, readings: Mapping[str, NDArray[Any]], bits: Mapping[str, int], side: int = 2) -> str:
    """The packing in which some rows of bytes make far smaller steps than in the given one; empty if none does.

    Parameters
    ----------
    given : str
        The packing that the user says.
    readings : mapping of str to ndarray
        Codes of the same rows by packing, that one included.
    bits : mapping of str to int
        Bits of a code by packing.
    side : int
        Rows and columns of the cell of colours.
    """
    if readings[given].size < FEWEST:
        return ""
    steps = {name: mean_step(codes, side) / 2.0 ** bits[name] for name, codes in readings.items()}
    best = min(steps, key=lambda name: steps[name])
    return best if steps[best] * PACKED_SMOOTHER < steps[given] else ""


def doubt_of_sides(path: Path, codes: NDArray[Any], side: int = 2) -> str:
    """A doubt about the width and the height of a frame, for the user; empty if there is none.

    Means of rows and of columns explain a part of any picture, flat or dark frame, and more of it at the right width,
    whatever the rows' banding; two readings that explain the same are not told apart.  A width at which rows are alike
    is never doubted, nor are sides of which one is a multiple of the other.

    Parameters
    ----------
    path : Path
        For messages.
    codes : ndarray, shape (H, W)
        As they follow each other in the file.
    side : int
        Rows and columns of the cell of colours.

    Raises
    ------
    RawError
        The frame is a picture whose rows are alike only with the sides exchanged.
    """
    height, width = codes.shape
    if height == width:
        return ""
    line = codes.reshape(-1)
    low, high = np.percentile(line[:: max(1, line.size // SAMPLED)], (1, 99))
    line = np.clip(line, low, high)
    if not _explained_better(line, height, width, side):
        return ""
    # A pattern that repeats by one shift does not by the others, and one of fine stripes is most unlike itself.
    own, other = (np.array(_alike(line, side * length, length, side)) for length in (width, height))
    if other.min() > SIGMAS and (own < OWN_SHARE * other).all() and (-own < UNLIKE * other).all():
        raise RawError(
            f"{path}: rows of {width} pixels are not alike, but rows of {height} are: width and height are exchanged; "
            f"give --size {height}x{width}"
        )
    lags = [width * rows for rows in range(1, MOST_ROWS + 1) if not _near_multiple(width * rows, height)]
    telling = _telling(line, width, side)
    if not lags or not telling or any(min(_alike(line, lag, width, side, telling)) > SURELY_ALIKE for lag in lags):
        return ""
    return (
        f"{path}: means of rows and columns explain more of the frame with width and height exchanged; if they are, "
        f"give --size {height}x{width}"
    )


def _explained_better(line: NDArray[Any], width: int, than: int, side: int) -> bool:
    """Whether means of rows and columns explain clearly more of a frame of that width than of another one."""
    found = [_explained(line, each, side) for each in (width, than)]
    left = min(residual for *_, residual in found)
    if not left > 0:
        return False
    better, worse = ((part / left - count) / size for part, count, size, _ in found)
    # Of noise alone each mean explains its variance once, give or take √2.
    doubt = float(np.sqrt(sum(2 * count / size**2 for _, count, size, _ in found)))
    return better - worse > SURE_DIFFERENCE * doubt and better > MORE * worse


def _explained(line: NDArray[Any], width: int, side: int) -> tuple[float, int, int, float]:
    """Sum of squares that means explain, their number, that of the pixels, and the variance that is left.

    Means of rows and of columns of each place of the cell of colours, in rows from the middle of the frame.
    """
    rows = min(line.size // width, max(SAMPLED // width, 2 * side)) // side * side
    columns = width // side * side
    if rows < 2 * side or columns < 2 * side:
        return 0.0, 0, 1, np.inf
    start = (line.size // width - rows) // 2 // side * side * width
    part = line[start : start + rows * width].reshape(rows, width)[:, :columns].astype(np.float32)
    cells = part.reshape(rows // side, side, columns // side, side)
    mean = cells.mean((0, 2), keepdims=True)
    of_rows, of_columns = cells.mean(2, keepdims=True) - mean, cells.mean(0, keepdims=True) - mean
    squares = [float(np.square(each, dtype=np.float64).mean()) for each in (of_rows, of_columns, mean - mean.mean())]
    explained, means = part.size * sum(squares), side * (rows + columns) - side**2 - 1
    total = float(np.square(part - part.mean(), dtype=np.float64).sum())
    return explained, means, part.size, (total - explained) / max(part.size - means, 1)


def _near_multiple(lag: int, width: int) -> bool:
    """Whether a distance is one or more rows of that width, give or take 2 %."""
    rest = lag % width
    return lag > width / 2 and min(rest, width - rest) < 0.02 * width


def _telling(line: NDArray[Any], width: int, side: int) -> tuple[int, ...]:
    """Those of `SHIFTS` by which the picture does not repeat: of a chessboard a shift of whole periods tells nothing.

    A picture that repeats differs more from one that is shifted by less.
    """
    telling = []
    for part in SHIFTS:
        whole, *less = (side * max(1, round(share * width / (part * side))) for share in (1.0, *LESS))
        at = np.arange(0, line.size - whole, max(2 * side + 1, line.size // SAMPLED))
        here = line[at].astype(np.float64)
        far, *near = (float(np.square(line[at + by] - here).mean()) for by in (whole, *less))
        if max(near) < REPEATS * far:
            telling.append(part)
    return tuple(telling)


def _alike(line: NDArray[Any], lag: int, width: int, side: int, parts: Sequence[int] = SHIFTS) -> list[float]:
    """By how many standard errors pixels at a distance are more alike than with one shifted in its row, by shifts."""
    shifts = [side * max(1, width // (part * side)) for part in parts]
    count = line.size - lag - max(shifts)
    # Every part of a row counts, and no two pixels stand side by side.
    at = np.arange(max(shifts), count, max(2 * side + 1, count // SAMPLED))
    if len(at) < FEWEST:
        return [0.0]
    here = line[at].astype(np.float64)
    there = np.square(line[at + lag] - here)
    found = []
    for shift in shifts:
        before, behind = (np.square(line[at + lag + by] - here) for by in (-shift, shift))
        gain = (before + behind) / 2 - there
        spread = float(gain.std())
        # Pixels of one edge are not independent: twice the standard error.
        found.append(float(gain.mean()) / (2 * spread / len(at) ** 0.5) if spread else 0.0)
    return found


def period_of_low_bytes(rows: NDArray[np.uint8]) -> int:
    """The period of columns at which low bytes, which are spread evenly over 0 … 255, stand; 0 if none do.

    Parameters
    ----------
    rows : ndarray of uint8, shape (..., W)
        Bytes as they follow each other in a row.
    """
    for period in (2, 5, 3):
        even = [_spread_evenly(rows[..., start::period]) for start in range(period)]
        if any(even) and not all(even):
            return period
    return 0


def _spread_evenly(values: NDArray[np.uint8]) -> bool:
    """Whether bytes are spread evenly over 0 … 255 and beside each other unlike, as low bytes are and no picture is."""
    if values.size < LOW_BYTES or values.shape[-1] < 2:
        return False
    shares = 16 * np.bincount(values.ravel() >> 4, minlength=16) / values.size
    if shares.min() < 1 / UNEVEN or shares.max() > UNEVEN:
        return False
    here, beside = (each.ravel().astype(np.float64) for each in (values[..., :-1], values[..., 1:]))
    return abs(float(np.corrcoef(here, beside)[0, 1])) < 0.2
