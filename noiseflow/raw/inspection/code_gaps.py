"""Codes that a frame's noise should reach and that never occur: spaced codes, stuck bits and curves."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaps_of", "said_of_bits", "said_of_curves", "said_of_factors", "said_of_spaced", "spaced_codes"]

LEAST_SPACING, FEWEST_CODES, OFTEN, STRAY, LINEAR = 3.5, 5, 2, 0.05, 1.25
"""Codes are spaced if all of at least `FEWEST_CODES` frequent ones lie so far apart.  Frequent are those with more than
`STRAY` times the count of a pixel's typical code, which must be at least `OFTEN`; a factor spaces them alike, and a
curve by more than `LINEAR` times as much at one end as at the other."""

GAP, OFTEN_BESIDE, RARE = 4, 20, 0.05
"""A code is missing if its count is at most `RARE` times the largest count within `GAP` codes on either side, and
that count is at least `OFTEN_BESIDE` on both sides."""

FEWEST_GAPS, LEAST_GAPS, ALIKE, EVEN = 8, 0.03, 1.5, 0.9
"""Gaps are reported from this number on.  They come from a factor if this fraction of the low codes is missing, less
than `ALIKE` times as many of the high codes, and this fraction of the distances between gaps are equal to within 1."""

FEWEST_ABOVE = 16
"""Fewest values of the bits above one that tell whether it changes: a chart of so many patches has it in none of them
by chance once in 30,000."""


def gaps_of(counts: NDArray[np.intp]) -> tuple[float, int]:
    """Find codes that are missing between frequent ones, at equal distances or ever more of them.

    Parameters
    ----------
    counts : ndarray, shape (n,)
        Histogram of a plane with noise, from code 0.

    Returns
    -------
    factor : float
        By which the codes were multiplied, if their gaps lie at equal distances; else 0.
    curve : int
        Code in DN from which more and more are missing, or minus that up to which they are; 0 if neither.
    """
    rare, frequent = _rare_and_frequent(counts)
    missing = np.flatnonzero(frequent & rare)
    if len(missing) < FEWEST_GAPS:
        return 0.0, 0
    within = np.flatnonzero(frequent)
    low, *_, high = (float(rare[part].mean()) for part in np.array_split(within, 4))
    steps = np.sort(np.diff(missing))
    usual = steps[len(steps) // 4 : -(len(steps) // 4)].mean()
    even = (np.abs(steps - usual) < 1.5).mean()
    if low > LEAST_GAPS and high < ALIKE * low and even > EVEN:
        return len(within) / max(len(within) - len(missing), 1), 0
    return 0.0, int(missing[0] if high > low else -missing[-1]) if abs(high - low) > 0.2 else 0


def _rare_and_frequent(counts: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which codes hardly occur compared with those beside them, and which lie between frequent codes.

    Parameters
    ----------
    counts : ndarray, shape (n,)
        Histogram of a plane, from code 0.

    Returns
    -------
    tuple of ndarray of bool, shape (n,)
        A code is missing where both are true.
    """
    size = len(counts)
    padded = np.zeros(size + 2 * GAP, counts.dtype)
    padded[GAP:-GAP] = counts
    beside, reach = padded, 1
    while reach < GAP:
        # The largest of twice as many codes, from overlapping halves.
        further = min(reach, GAP - reach)
        beside, reach = np.maximum(beside[:-further], beside[further:]), reach + further
    around = np.minimum(beside[:size], beside[-size:])
    return counts <= RARE * around, around >= OFTEN_BESIDE


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
    steps = frequent[1:] - frequent[:-1]
    # A quantile takes ten times as long as this count, which decides for nearly every frame.
    if np.count_nonzero(steps < LEAST_SPACING) > 0.1 * len(steps) + 1:
        return False
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


def said_of_factors(factors: Mapping[str, float]) -> Iterator[str]:
    """Yield a caution about planes that were multiplied, if there are any.

    Parameters
    ----------
    factors : mapping of str to float
        Name of a plane → factor, from `gaps_of`.
    """
    if factors:
        each = ", ".join(f"{name} by about {factor:.3g}" for name, factor in factors.items())
        yield (
            f"codes are missing at equal distances: they were multiplied after the converter, {each}, or the converter "
            "skips codes; gain and noise are in units of the codes in the file"
        )


def said_of_bits(used: Sequence[NDArray[np.intp]]) -> Iterator[str]:
    """Yield a caution about each bit that never changes although lower and higher ones do.

    Parameters
    ----------
    used : sequence of ndarray
        Codes in use in each plane.
    """
    codes = np.concatenate(used)
    always, ever = int(np.bitwise_and.reduce(codes)), int(np.bitwise_or.reduce(codes))
    changes = always ^ ever
    for bit in range(1, ever.bit_length()):
        stuck = not changes >> bit & 1 and changes >> (bit - 1) & 1
        if stuck and len(np.unique(codes >> (bit + 1))) >= FEWEST_ABOVE:
            yield (
                f"bit {bit} (value {1 << bit}) is {always >> bit & 1} in every code, although lower and higher bits "
                "change: a line of the converter, the cable or the unpacking is stuck, and gain and noise are wrong"
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
