"""Exceptions to the tests of a frame: row noise, codes too coarse to show noise, and an empty border."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "WRAPPED",
    "WRAPPED_FROM",
    "empty_side",
    "noise_below",
    "said_of_bits",
    "said_of_curves",
    "said_of_spaced",
    "spaced_codes",
    "without_excused",
    "wraps",
]

WRAPPED_FROM, LEAST_WRAPPED = 65_536 - 2048, 1e-4
"""Lowest code that may be a small negative number, and the least part of a frame that such codes make up."""

WRAPPED = (
    "it has codes close to 0 and close to 65535, and none between: a level was subtracted in unsigned numbers, so that "
    "what lay below it became large; subtract it in signed numbers and add a pedestal, or give the codes as they were "
    "with --black"
)
"""Reason to refuse a frame that `wraps`."""

COARSE = 1.0
"""Codes are coarse at a level if noise changes them by at most this many codes; also the largest distance, in codes,
between the level of a segment and such a level."""

LEAST_SPACING, FEWEST_CODES, OFTEN, STRAY, LINEAR = 3.5, 5, 2, 0.05, 1.25
"""Codes are spaced if all of at least `FEWEST_CODES` frequent ones lie so far apart.  Frequent are those with more than
`STRAY` times the count of a pixel's typical code, which must be at least `OFTEN`; a factor spaces them alike, and a
curve by more than `LINEAR` times as much at one end as at the other."""

FEWEST_ABOVE = 16
"""Fewest values of the bits above one that tell whether it changes: a chart of so many patches has it in none of them
by chance once in 30,000."""

SIDE_CAR = "noiseflow.toml"
"""Name of the settings of a folder."""

BORDER_PART = 0.0625
"""Largest fraction of the rows, or of the columns, that an empty border occupies on one side."""


def noise_below(plane: NDArray[Any], black: float, pixels: int) -> float:
    """Noise standard deviation in DN of the pixels below black, including row noise.

    Computed from differences between neighbours in a row and in a column; the larger value is returned, since
    banding appears in only one of them.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
        Codes at one position of the cell, DN.
    black : float
        Its black level in DN.
    pixels : int
        Approximate number of pixels to sample.
    """
    step = max(2 * plane.size // pixels, 2)
    here, beside = (plane[first : len(plane) // 2 * 2 : step].astype(np.int32) for first in (0, 1))
    here = here[: len(beside)]
    sigmas = []
    for one, other in ((here[:, :-1], here[:, 1:]), (here, beside)):
        dark = (one < black) & (other < black)
        sigmas.append(float((other - one)[dark].std()) / 2**0.5 if dark.any() else 0.0)
    return max(sigmas)


def without_excused(
    found: NDArray[np.bool_], zero: NDArray[np.bool_], segments: NDArray[Any], mosaic: NDArray[Any]
) -> NDArray[np.bool_]:
    """Remove segments that coarse codes or an empty border explain from the segments of one code.

    Parameters
    ----------
    found, zero : ndarray of bool, shape (n, m)
        Which segments have one code; and which have code 0, which coarse codes do not explain.
    segments : ndarray, shape (n, side, m, segment)
        Codes of all segments, DN.
    mosaic : ndarray, shape (H, W)
        The frame, DN.

    Returns
    -------
    ndarray of bool, shape (n, m)
    """
    left: NDArray[np.bool_] = found & (zero | ~_coarse(segments))
    return left & ~_empty_border(left, mosaic)


def wraps(counts: Sequence[NDArray[np.intp]], lowest: int) -> bool:
    """Whether codes go on from 0 to 65535, as unsigned numbers below zero do: a histogram with a gap, and both ends.

    Hot pixels that saturate lie far above the others too, but few, or all at one code, or not beside dark pixels.

    Parameters
    ----------
    counts : sequence of ndarray
        Histogram of each plane, from code 0.
    lowest : int
        Lowest code that may have wrapped.
    """
    total = np.zeros(max(len(each) for each in counts), np.intp)
    for each in counts:
        total[: len(each)] += each
    high = total[lowest:]
    return bool(
        total[:3].all()
        and high[-3:].all()
        and len(total) == 1 << 16
        and not total[lowest // 2 : lowest].any()
        and high.sum() > LEAST_WRAPPED * total.sum()
        and high[len(high) // 2 :].sum() > high[: len(high) // 2].sum()
    )


def spaced_codes(counts: NDArray[np.intp], name: str, spaced: dict[str, tuple[float, float]]) -> bool:
    """Whether codes between frequent ones are all empty, so that they were multiplied, or a table replaced them.

    Noise reaches every code between two frequent ones of a converter.

    Parameters
    ----------
    counts : ndarray
        Histogram of a plane with noise, from code 0.
    name : str
        The plane.
    spaced : dict of str to (float, float)
        Receives the smallest and the largest distance between codes in use, under the name of the plane.
    """
    order = np.sort(counts[counts > 0])
    typical = order[np.searchsorted(order.cumsum(), order.sum() / 2)]
    frequent = np.flatnonzero(counts > STRAY * typical)
    if typical < OFTEN or len(frequent) < FEWEST_CODES:
        return False
    steps = np.diff(frequent)
    least = float(np.quantile(steps, 0.1))
    if least < LEAST_SPACING:
        return False
    spaced[name] = least, float(np.quantile(steps, 0.9))
    if np.mean(np.abs(steps / least - np.rint(steps / least)) * least < 1.5) > 0.9:
        # A distance is a multiple where codes between are not in use.
        factor = float(steps.sum() / np.rint(steps / np.median(steps[steps < LINEAR * least + 1])).sum())
        spaced[name] = factor, factor
    return True


def said_of_spaced(spaced: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """Yield a caution about planes with `spaced_codes`, if there are any.

    Parameters
    ----------
    spaced : mapping of str to (float, float)
        Name of a plane → smallest and largest distance, codes.
    """
    if not spaced:
        return
    least, most = min(low for low, _ in spaced.values()), max(high for _, high in spaced.values())
    if all(low == high for low, high in spaced.values()):
        each = ", ".join(f"{name} by about {low:.4g}" for name, (low, _) in spaced.items())
        how = f"they were multiplied after the converter, {each}, as when 8 to 14 bits are stretched to 16"
    else:
        how = f"a curve or a table was applied after the converter (distances {least:.3g} to {most:.3g})"
    yield (
        f"the codes in use lie {least:.4g} or more apart, with none between: {how}; gain and noise are in units of the "
        "codes in the file, not of the converter's"
    )


def said_of_bits(counts: Sequence[NDArray[np.intp]]) -> Iterator[str]:
    """Yield a caution about each bit that never changes although lower and higher ones do.

    Parameters
    ----------
    counts : sequence of ndarray
        Histogram of each plane, from code 0.
    """
    codes = np.unique(np.concatenate([np.flatnonzero(each) for each in counts]))
    for bit in range(1, int(codes[-1]).bit_length()):
        own, lower = (codes >> bit) & 1, (codes >> (bit - 1)) & 1
        if not np.ptp(own) and np.ptp(lower) and len(np.unique(codes >> (bit + 1))) >= FEWEST_ABOVE:
            yield (
                f"bit {bit} (value {1 << bit}) is {int(own[0])} in every code, although lower and higher bits change: "
                "a line of the converter, the cable or the unpacking is stuck, and gain and noise are wrong"
            )


def said_of_curves(curves: Sequence[int]) -> Iterator[str]:
    """Yield a caution about each kind of curve that planes show.

    Parameters
    ----------
    curves : sequence of int
        For each plane, the code in DN from which more and more are missing, or minus that up to which they are.
    """
    bright, dark = [code for code in curves if code >= 0], [-code for code in curves if code < 0]
    if bright:
        yield (
            f"from about {min(bright)} DN on more and more codes are missing: a curve compressed them, as in "
            "lossy raw formats, and its rounding counts as noise"
        )
    if dark:
        yield (
            f"up to about {max(dark)} DN codes are missing, and more of the dark ones: a curve (gamma) stretched them. "
            "The codes are not linear in the light, so gain and noise are not those of the sensor"
        )


def empty_side(mosaic: NDArray[Any], side: int, black: float) -> str:
    """What to do about rows or columns of one code up to black along the sides of a frame; empty if there are none.

    Parameters
    ----------
    mosaic : ndarray, shape (H, W)
        The frame.
    side : int
        Rows and columns of the cell of colours.
    black : float
        Black level, DN.
    """
    height, width = mosaic.shape
    bands: list[str] = []
    codes: list[int] = []
    kept = []
    for lines, length, what in ((mosaic, height, "rows"), (mosaic.T, width, "columns")):
        first, last = (_bands_of_one_code(each) for each in (lines, lines[::-1]))
        if first + last >= length:
            return ""
        for count, begin, code in ((first, 0, lines[0, 0]), (last, length - last, lines[-1, 0])):
            if count > 1:
                bands.append(f"{what} {begin} to {begin + count - 1} are {code}")
                codes.append(int(code))
        begin = -(-first // side) * side if first > 1 else 0
        end = (length - last if last > 1 else length) // side * side
        kept.append((begin, end - begin))
    (top, rows), (left, columns) = kept
    if not bands or min(rows, columns) < side or max(codes) > black:
        return ""
    return (
        f"{' and '.join(bands)} throughout: copy the file again, or, if all frames of this camera have this "
        f"border, leave it out by crop = [{top}, {left}, {rows}, {columns}] in {SIDE_CAR} beside the frames"
    )


def _bands_of_one_code(lines: NDArray[Any]) -> int:
    """Number of first lines that all hold the code of the first pixel."""
    same = lines[:, ::8].min(1) == lines[:, ::8].max(1)
    same &= lines[:, 0] == lines[0, 0]
    count = (*same.tolist(), False).index(False)
    # Every eighth pixel may be of one code by chance.
    while count and (lines[:count] != lines[0, 0]).any():
        count -= 1
    return count


def _coarse(segments: NDArray[Any]) -> NDArray[np.bool_]:
    """Which segments have a level at which noise changes others by at most one code, so that one code is normal."""
    side = segments.shape[1]
    places = segments.reshape(*segments.shape[:3], -1, side)
    changes = (places.max(3).astype(np.float64) - places.min(3)).max((1, 3))
    levels = segments.mean((1, 3))
    coarse = np.sort(levels[(changes > 0) & (changes <= COARSE)])
    if not coarse.size:
        return np.zeros(levels.shape, np.bool_)
    at = np.searchsorted(coarse, levels)
    away = np.minimum(np.abs(coarse[(at - 1).clip(0)] - levels), np.abs(coarse[at.clip(0, coarse.size - 1)] - levels))
    return np.asarray(away <= COARSE)


def _empty_border(found: NDArray[np.bool_], mosaic: NDArray[Any]) -> NDArray[np.bool_]:
    """Which segments lie in bands of one code along two opposite sides of the frame.

    A truncated file leaves one side empty, not two opposite ones.
    """
    border = np.zeros(found.shape, np.bool_)
    for bands, edges, full in ((border, mosaic[[0, -1]], found), (border.T, mosaic[:, [0, -1]], found.T)):
        across = [bool(row.all()) for row in full]
        first, last = ((*line, False).index(False) for line in (across, across[::-1]))
        if np.ptp(edges) == 0 and max(first, last) <= max(1, BORDER_PART * len(across)):
            bands[:first] = True
            bands[len(across) - last :] = True
    return border
