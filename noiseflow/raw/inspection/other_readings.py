"""Whether bytes make a better picture when they are read in another way: byte order, packing, width.

A picture, a flat and a dark frame have this in common: pixels beside each other differ by
little.  Bits in a wrong place make large steps, and rows in a wrong place are no longer alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import RawError

__all__ = ["mean_step", "other_order_is_smoother", "refuse_exchanged_sides", "smoother_packing"]

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

SHIFTS = (5, 8, 11, 17)
"""Parts of a row by which it is shifted sideways."""


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


def refuse_exchanged_sides(path: Path, codes: NDArray[Any], side: int = 2) -> None:
    """Refuse a frame whose rows are alike only if its width and its height are exchanged.

    The width that is given is doubted only if rows `side` apart are no more alike than when shifted sideways, while
    with the sides exchanged they are, by 6 standard errors: a dark or flat frame without structure passes either way.

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
        The rows fit with the sides exchanged.
    """
    height, width = codes.shape
    if height == width:
        return
    line = codes.reshape(-1)
    low, high = np.percentile(line[:: max(1, line.size // SAMPLED)], (1, 99))
    line = np.clip(line, low, high)
    # A pattern that repeats by one shift does not by the others, and one of fine stripes is most unlike itself.
    own, other = (np.array(_alike(line, length, side)) for length in (width, height))
    if other.min() > SIGMAS and (own < OWN_SHARE * other).all() and (-own < UNLIKE * other).all():
        raise RawError(
            f"{path}: rows of {width} pixels are not alike, but rows of {height} are: width and height are exchanged; "
            f"give --size {height}x{width}"
        )


def _alike(line: NDArray[Any], width: int, side: int) -> list[float]:
    """By how many standard errors rows `side` apart are more alike than with one shifted sideways, shift by shift."""
    lag, shifts = side * width, [side * max(1, width // (part * side)) for part in SHIFTS]
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
