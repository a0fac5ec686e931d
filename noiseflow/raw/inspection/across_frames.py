"""What is said of many frames: those without the others' noise, and warnings put into few lines."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUIET", "gathered", "loud_words", "quiet_words", "shares_of_noise"]

LOUD = 1.4
"""Times the others' noise variance from which on a frame is worth a word."""

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")

LEAST_NOISE = 1.0
"""Variance in DN² below which noise is no more than rounding makes of it: it changes with the fraction of the level."""

SURE_SIGMAS = 5.0
"""Standard errors by which two frames' noise must differ."""

QUIET, STILL, FEWEST_VALUES = 0.4, 0.9, 1000
"""A frame with less than this fraction of the others' noise variance is of other exposures; fraction of the values that
are compared, since those that change most may move; and the fewest values that decide."""


def shares_of_noise(values: NDArray[Any]) -> NDArray[np.float64]:
    """Noise variance of each frame of one scene over that of the middle one; NaN where it cannot be told.

    Of two frames, over that of the noisier one; see `_of_two`.  Of three and more, with noise of variances v,
    the differences from their mean have m_i = v_i·(1 − 2/n) + Σv/n², so that v_i = (m_i − Σm/(n·(n − 1)))/(1 − 2/n).

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Values of the same k places in n frames, drift taken off; changed.
    """
    count, places = values.shape
    if count == 2 and places >= FEWEST_VALUES:
        return _of_two(*values)
    if count < 3 or places < FEWEST_VALUES:
        return np.full(count, np.nan)
    values -= values.mean(0)
    values *= values
    together = values.sum(0)
    found = values[:, together <= np.quantile(together, STILL)].mean(1, dtype=np.float64)
    variances = (found - found.sum() / (count * (count - 1))) / (1 - 2 / count)
    middle = float(np.median(variances))
    return variances / middle if middle > LEAST_NOISE else np.full(count, np.nan)


def _of_two(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Noise variance of each of two frames over the larger one; 1 for both if they do not differ beyond doubt.

    What both show, the scene s, is the same, so that of x = s + n the difference x₁² − x₂² has the mean v₁ − v₂, and
    (x₁ − x₂)² has v₁ + v₂.
    """
    difference = (first - second).astype(np.float64)
    still = np.abs(difference) <= np.quantile(np.abs(difference), STILL)
    difference = difference[still]
    unlike = difference * (first + second)[still]
    both = float(np.square(difference).mean())
    if not both > 2 * LEAST_NOISE * STILL:
        return np.full(2, np.nan)
    ratio = float(unlike.mean()) / both
    doubt = SURE_SIGMAS * float(unlike.std()) / len(unlike) ** 0.5 / both
    sure = min(max(abs(ratio) - doubt, 0.0), 1.0)
    if (1 - sure) / (1 + sure) >= QUIET:
        return np.ones(2)
    size = min(abs(ratio), 1.0)
    share = (1 - size) / (1 + size)
    return np.array([1.0, share] if ratio > 0 else [share, 1.0])


def quiet_words(names: Sequence[str], shares: NDArray[np.float64]) -> str:
    """What is said of the first frame that lacks the others' noise; empty if none does."""
    for name, share in zip(names, shares.tolist(), strict=True):
        if share < QUIET:
            return (
                f"{name} has {max(share, 0.0):.2g} of the noise variance of the other frames: is it a mean, a clean "
                "twin, or denoised? Take it out"
            )
    return ""


def loud_words(names: Sequence[str], shares: NDArray[np.float64]) -> str:
    """What is said of the frame with far more noise than four or more others; empty if there is none."""
    if len(names) < 5 or not shares.max() > LOUD:
        return ""
    return (
        f"{names[int(shares.argmax())]} has {shares.max():.3g} times the noise variance of the other frames: is it of "
        "another setting, or disturbed? Read noise comes out too large by it"
    )


def gathered(cautions: Iterable[str]) -> list[str]:
    """One line for each kind of caution: the first of it, and how many other frames say the same.

    Two cautions are of one kind if they differ by the file, before the first colon, and by numbers only.

    >>> gathered(["a.dng: clips at 99 DN", "b.dng: clips at 98 DN", "b.dng: is odd"])
    ['a.dng: clips at 99 DN (and so 1 other frame)', 'b.dng: is odd']
    """
    first: dict[str, str] = {}
    files: dict[str, set[str]] = {}
    for caution in cautions:
        file, _, words = caution.partition(": ")
        kind = NUMBER.sub("#", words)
        first.setdefault(kind, caution)
        files.setdefault(kind, set()).add(file)
    lines = []
    for kind, caution in first.items():
        others = len(files[kind]) - 1
        lines.append(caution + (f" (and so {others} other frame{'s' if others > 1 else ''})" if others else ""))
    return lines
