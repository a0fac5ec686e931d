"""Frames with fractional values, which no converter gives: means of frames, and processed frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["divisor_of", "said_of_fractions", "what_to_do"]

SAMPLED, FEWEST = 4096, 64
"""Number of values that are tested, and the fewest that decide."""

MOST_FRAMES, ROUNDED = 256, 0.05
"""Largest number of frames that is tried; departure of a mean, times the number of frames, from a whole number."""

NORMALISED = 2.0
"""Values up to this are taken for a normalised signal, whose steps do not count frames."""


def divisor_of(values: NDArray[np.floating[Any]]) -> int:
    """Smallest n for which all values are multiples of 1/n, as those of a mean of n frames; 0 if there is none.

    Values that are not on such multiples pass for n with a chance of 0.1 each.

    Parameters
    ----------
    values : ndarray
        Values in DN, some of which are fractional.
    """
    flat = values.ravel()
    some = flat[:: max(1, flat.size // SAMPLED)].astype(np.float64)
    some = some[some != np.rint(some)]
    if some.size < FEWEST:
        return 0
    largest = float(np.abs(some).max())
    precision = float(np.finfo(values.dtype).eps) * largest
    if largest <= NORMALISED:
        return 0
    for n in range(2, MOST_FRAMES + 1):
        if n * precision > ROUNDED:
            return 0
        if (np.abs(some * n - np.rint(some * n)) <= ROUNDED).all():
            return n
    return 0


def said_of_fractions(values: NDArray[np.floating[Any]]) -> str:
    """Say what fractional values of a noisy frame mean.

    Parameters
    ----------
    values : ndarray
        Values in DN.
    """
    n = divisor_of(values)
    if n:
        return (
            f"its values are multiples of 1/{n} DN: it is a mean or median of {n} frames, or was divided by {n}; of a "
            f"mean the gain and the noise variance are 1/{n} of the camera's"
        )
    return (
        "its values are fractions of a DN, so they are not codes of a converter: of a mean of n frames the gain and "
        "the noise variance are 1/n of the camera's, and a frame that was corrected by darks or flats has their noise "
        "too"
    )


def what_to_do(values: NDArray[Any]) -> str:
    """Remedy where whole codes are needed.

    Parameters
    ----------
    values : ndarray
        Values in DN.
    """
    if values.dtype.kind != "f":
        return ""
    n = divisor_of(values)
    if not n:
        return "; give the frames as the camera wrote them, not corrected or averaged"
    return (
        f"; its values are multiples of 1/{n}: it is a mean or median of {n} frames, or was divided by {n}. Give the "
        f"single frames; or multiply values, black and white level by {n}: a sum of {n} frames has the gain of one"
    )
