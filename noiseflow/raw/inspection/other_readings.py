"""Check whether bytes make a smoother image in another byte order, packing or width.

In pictures, flats and darks alike, neighbouring pixels differ by little.  Bits in the wrong
position make large steps, and with a wrong width adjacent rows no longer resemble each other.
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
    "why_above_white",
]

SMOOTHER = 3.0
"""Another byte order is right if it makes the steps between neighbours this many times smaller.  Both orders contain
the same noise and edges, but a wrong one moves low bits to higher positions, which enlarges their steps."""

PACKED_SMOOTHER = 1.4
"""The same factor for packings: a wrong packing makes steps 1.5 to 300 times as large as the right one."""

SAMPLED = 1 << 17
"""Approximate number of pixels sampled."""

SIGMAS, OWN_SHARE, UNLIKE, FEWEST = 6.0, 0.25, 0.6, 1000
"""Rows match at the exchanged width if the score of `_alike` exceeds `SIGMAS` standard errors.  The given width is
wrong if its scores are below `OWN_SHARE` of that and not below −`UNLIKE` of it, as they are for stripes.  Fewer
pixels than `FEWEST` decide nothing."""

SURE_DIFFERENCE, MORE, MOST_ROWS, SURELY_ALIKE = 8.0, 1.1, 8, 4.0
"""Another width explains more if it does so by this many standard deviations and by this factor.  The given width is
not doubted if rows up to `MOST_ROWS` apart match with scores above `SURELY_ALIKE` standard errors."""

SHIFTS = (5, 8, 11, 17)
"""Rows are compared with copies shifted sideways by the width divided by these numbers."""

LESS, REPEATS = (0.37, 0.61, 0.83), 1.5
"""Fractions of a shift: an image is periodic with the shift if its mean square difference is this many times larger
at one of these fractions."""

LOW_BYTES, UNEVEN = 4096, 2.0
"""Bytes are taken for low bytes of pixels if there are at least `LOW_BYTES`, and each sixteenth of 0 … 255 occurs
`UNEVEN` times less or more often than on average at most."""

HOW_BYTES = {
    0: "bytes were read as pixels, or the levels belong to other data: check --dtype, --black, --white",
    2: "16-bit pixels were read as two 8-bit pixels each: save it as 16 bits, for example by array.view('<u2')",
    3: "bytes of packed 12-bit pixels were read as pixels: give --dtype RAW12 or Mono12p, and the true --size",
    5: "bytes of packed 10-bit pixels were read as pixels: give --dtype RAW10 or Mono10p, and the true --size",
}
"""Remedy by the period in columns at which low bytes occur; 0 if none was found."""


def mean_step(codes: NDArray[Any], side: int = 2) -> float:
    """Mean absolute difference in DN between neighbouring pixels of one colour.

    Parameters
    ----------
    codes : ndarray, shape (rows, W)
        Codes in DN.
    side : int
        Distance in columns between pixels of one colour.
    """
    step = max(1, codes.size // SAMPLED)
    wide = codes[::step].astype(np.float64)
    return float(np.abs(wide[:, side:] - wide[:, :-side]).mean()) if wide.shape[1] > side else 0.0


def other_order_is_smoother(codes: NDArray[Any], side: int = 2) -> bool:
    """Whether 16-bit pixels make a much smoother image with their two bytes exchanged.

    Codes whose eight low bits are all 0 are left-aligned 8-bit codes in the right order.

    Parameters
    ----------
    codes : ndarray, shape (rows, W)
        Codes in DN.
    side : int
        Rows and columns of the cell of colours.
    """
    codes = codes[:: max(1, codes.size // SAMPLED)].astype(np.uint16)
    if codes.size < FEWEST or not int(np.bitwise_or.reduce(codes, axis=None)) & 0xFF:
        return False
    return mean_step(codes.byteswap(), side) * SMOOTHER < mean_step(codes, side)


def smoother_packing(given: str, readings: Mapping[str, NDArray[Any]], bits: Mapping[str, int], side: int = 2) -> str:
    """Name of a packing that makes a much smoother image than the given one; empty if there is none.

    Parameters
    ----------
    given : str
        The packing that the user gave.
    readings : mapping of str to ndarray
        Packing → the same rows decoded with it, codes in DN; includes `given`.
    bits : mapping of str to int
        Packing → bits per code.
    side : int
        Rows and columns of the cell of colours.
    """
    if readings[given].size < FEWEST:
        return ""
    steps = {name: mean_step(codes, side) / 2.0 ** bits[name] for name, codes in readings.items()}
    best = min(steps, key=lambda name: steps[name])
    return best if steps[best] * PACKED_SMOOTHER < steps[given] else ""


def doubt_of_sides(path: Path, codes: NDArray[Any], side: int = 2) -> str:
    """Caution for the user if width and height of a frame seem exchanged; empty otherwise.

    Row and column means explain part of the variance of any picture, flat or dark, and more of it at the right
    width, whatever its banding.  If both widths explain the same, there is no caution.  Nor is there one if
    neighbouring rows match at the given width, or if one side is a multiple of the other.

    Parameters
    ----------
    path : Path
        The file, for messages.
    codes : ndarray, shape (H, W)
        Codes in file order.
    side : int
        Rows and columns of the cell of colours.

    Raises
    ------
    RawError
        If neighbouring rows match only with width and height exchanged.
    """
    height, width = codes.shape
    if height == width:
        return ""
    line = codes.reshape(-1)
    low, high = np.percentile(line[:: max(1, line.size // SAMPLED)], (1, 99))
    line = np.clip(line, low, high)
    if not _explained_better(line, height, width, side):
        return ""
    # A periodic pattern may match one shift but not all; fine stripes score far below 0 at the right width.
    own, other = (np.array(_alike(line, side * length, length, side)) for length in (width, height))
    if other.min() > SIGMAS and (own < OWN_SHARE * other).all() and (-own < UNLIKE * other).all():
        raise RawError(
            f"{path}: neighbouring rows match at a width of {height} pixels, but not at {width}: width and height are "
            f"exchanged; give --size {height}x{width}"
        )
    lags = [width * rows for rows in range(1, MOST_ROWS + 1) if not _near_multiple(width * rows, height)]
    telling = _telling(line, width, side)
    if not lags or not telling or any(min(_alike(line, lag, width, side, telling)) > SURELY_ALIKE for lag in lags):
        return ""
    return (
        f"{path}: row and column means explain more of the frame with width and height exchanged; if they are, "
        f"give --size {height}x{width}"
    )


def _explained_better(line: NDArray[Any], width: int, than: int, side: int) -> bool:
    """Whether row and column means explain significantly more of a frame at one width than at another."""
    found = [_explained(line, each, side) for each in (width, than)]
    left = min(residual for *_, residual in found)
    if not left > 0:
        return False
    better, worse = ((part / left - count) / size for part, count, size, _ in found)
    # In pure noise each mean explains one variance, with a standard deviation of √2.
    doubt = float(np.sqrt(sum(2 * count / size**2 for _, count, size, _ in found)))
    return better - worse > SURE_DIFFERENCE * doubt and better > MORE * worse


def _explained(line: NDArray[Any], width: int, side: int) -> tuple[float, int, int, float]:
    """Sum of squares explained by row and column means, number of means and of pixels, and residual variance.

    The means are taken for each position of the cell of colours, over rows from the middle of the frame.
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
    """Whether a distance in pixels is a multiple of the width to within 2 %."""
    rest = lag % width
    return lag > width / 2 and min(rest, width - rest) < 0.02 * width


def _telling(line: NDArray[Any], width: int, side: int) -> tuple[int, ...]:
    """Select the `SHIFTS` with which the image is not periodic; a shift by whole periods of a pattern is useless.

    A periodic image differs more from a copy shifted by a fraction of the shift.
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
    """Score of how well pixels `lag` apart match, for each shift, in standard errors.

    The score compares their mean square difference with that of pixels shifted sideways; above 0 they match better.
    """
    shifts = [side * max(1, width // (part * side)) for part in parts]
    count = line.size - lag - max(shifts)
    # The step visits all parts of a row and never takes neighbouring pixels.
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
        # Twice the standard error, since pixels on one edge are not independent.
        found.append(float(gain.mean()) / (2 * spread / len(at) ** 0.5) if spread else 0.0)
    return found


def why_above_white(codes: NDArray[Any], top: int, white: float, free_bits: int) -> str:
    """Explain why codes exceed the white level: left-aligned, bytes exchanged, or unknown; with a remedy.

    Parameters
    ----------
    codes : ndarray
        Sampled codes, DN.
    top : int
        Highest code of the frame, DN.
    white : float
        White level, DN.
    free_bits : int
        Number of low bits that are 0 in every code.
    """
    if free_bits and top >> free_bits <= white:
        return f"all codes are multiples of {1 << free_bits}, so they are left-aligned: give --shift {free_bits}"
    if np.percentile(codes.astype(np.uint16).byteswap(), 99) <= white:
        return "their bytes are in the other order: give --dtype with > for <, or < for >"
    return "check the white level, the type and the packing of the pixels"


def period_of_low_bytes(rows: NDArray[np.uint8]) -> int:
    """Period in columns at which low bytes of pixels occur, recognised by their even spread over 0 … 255; 0 if none.

    Parameters
    ----------
    rows : ndarray of uint8, shape (..., W)
        Rows of bytes in file order.
    """
    for period in (2, 5, 3):
        even = [_spread_evenly(rows[..., start::period]) for start in range(period)]
        if any(even) and not all(even):
            return period
    return 0


def _spread_evenly(values: NDArray[np.uint8]) -> bool:
    """Whether bytes are spread evenly over 0 … 255 and neighbours are uncorrelated, unlike in a picture."""
    if values.size < LOW_BYTES or values.shape[-1] < 2:
        return False
    shares = 16 * np.bincount(values.ravel() >> 4, minlength=16) / values.size
    if shares.min() < 1 / UNEVEN or shares.max() > UNEVEN:
        return False
    here, beside = (each.ravel().astype(np.float64) for each in (values[..., :-1], values[..., 1:]))
    return abs(float(np.corrcoef(here, beside)[0, 1])) < 0.2
