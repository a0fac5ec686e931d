"""Compare the noise of the frames of a scene, and merge similar cautions of many frames."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.text import counted

__all__ = [
    "COMPARED",
    "QUIET",
    "NoiseInCommon",
    "equal_steps",
    "gathered",
    "in_time",
    "loud_words",
    "quiet_words",
    "shares_of_noise",
]

LOUD = 1.4
"""A frame is reported if its noise variance is more than this multiple of the other frames'."""

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")

LEAST_NOISE = 1.0
"""Noise variance in DN² below which frames are not compared: there the variance after rounding depends on the
fractional part of the level."""

SURE_SIGMAS = 5.0
"""Standard errors by which the noise of two frames must differ."""

QUIET, STILL, FEWEST_VALUES = 0.4, 0.9, 1000
"""A frame is reported below this fraction of the other frames' noise variance; the fraction of values compared, without
those that change most, which may show motion; and the fewest values for a comparison."""

ALL_PAIRS, COMPARED = 16, 4096
"""Largest number of frames of which all pairs are compared, of more only neighbours; and largest number of values."""

COPIED, LEAST_STEP = 0.2, 2.0
"""Two frames are copies if this fraction of their values are equal beyond chance.  Chance is the normal density at 0
of the differences, or the share of equal values in the middle pair; differences below the second value, in codes, are
not judged: coarse codes are equal often."""

FRAMES_IN_TIME, IN_TIME, SURE_IN_TIME = 5, 0.15, 6.0
"""Fewest frames that show noise reduction in time; the correlation of successive frames that is reported, beyond that
of other frames, and by how many standard errors."""


@dataclass(frozen=True)
class NoiseInCommon:
    """Noise that frames of a scene share.

    Parameters
    ----------
    copies : tuple of int
        Two frames with equal pixels in a large part; empty if there are none.
    in_time : float
        Correlation of the noise of successive frames, beyond that of others; 0 if it is not significant.
    """

    copies: tuple[int, ...]
    in_time: float

    def refusal(self, names: Sequence[str]) -> str:
        """Reason to refuse the frames, with their names; empty if there is none."""
        if not self.copies:
            return ""
        first, other = (names[number] for number in self.copies)
        return (
            f"{other} has the same noise as {first} in a large part of its pixels: is it the same exposure, saved "
            "again or retouched, or a mix of two? It would be part of its own clean signal; take it out"
        )

    def caution(self) -> str:
        """Caution about noise in time; empty if there is none."""
        if not self.in_time:
            return ""
        return (
            f"the noise of successive frames is correlated ({100 * self.in_time:.0f} % more than that of others): did "
            "the camera reduce noise in time, or are these running means? Gain and read noise come out too small; "
            "turn it off"
        )


def equal_steps(values: NDArray[Any]) -> tuple[int, ...]:
    """Find two frames with far more equal values than chance gives: copies of one exposure, whole or in part.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Differences of neighbours in DN at the same k positions in n frames, integers.

    Returns
    -------
    tuple of int
        Numbers of the two frames that are equal most often; empty if there are none.
    """
    count, places = values.shape
    if count < 2 or places < FEWEST_VALUES:
        return ()
    some = values[:, :: -(-places // COMPARED)]
    # Left-aligned codes are multiples of a number, and as coarse as if they were divided by it.
    some = some / max(int(np.gcd.reduce(np.abs(some).astype(np.int64), axis=None)), 1)
    pairs = (
        [(i, j) for i in range(count) for j in range(i + 1, count)]
        if count <= ALL_PAIRS
        else [(i, i + 1) for i in range(count - 1)]
    )
    shares, chances = [], []
    for i, j in pairs:
        step = some[i] - some[j]
        shares.append(np.count_nonzero(step == 0) / step.size)
        # Of steps that are all equal, what counts is that the values differ.
        spread = float(step[step != 0].std()) if shares[-1] < 1 else float(some[i].std())
        chances.append(1 / (np.sqrt(2 * np.pi) * spread) if spread > LEAST_STEP else 1.0)
    excess = np.array(shares) - np.maximum(chances, np.median(shares) if count > 2 else 0.0)
    most = int(excess.argmax())
    return pairs[most] if excess[most] > COPIED else ()


def in_time(values: NDArray[Any]) -> float:
    """Correlation of the noise of successive frames, beyond that of frames further apart; 0 if not significant.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Values in DN at the same k positions in n frames, in the order in which they were taken.
    """
    count, places = values.shape
    if count < FRAMES_IN_TIME or places < FEWEST_VALUES:
        return 0.0
    some = values[:ALL_PAIRS, :: -(-places // COMPARED)].astype(np.float32)
    some -= some.mean(0)
    together = np.square(some).sum(0)
    # Without what moves.
    some = some[:, together <= np.quantile(together, STILL)]
    some /= np.maximum(np.sqrt(np.square(some).mean(1, keepdims=True)), 1e-9)
    frames = len(some)
    near = float(np.mean([(some[i] * some[i + 1]).mean() for i in range(frames - 1)]))
    far = float(np.mean([(some[i] * some[j]).mean() for i in range(frames) for j in range(i + 3, frames)]))
    error = (some.shape[1] * (frames - 1)) ** -0.5
    return near - far if near - far > max(IN_TIME, SURE_IN_TIME * error) else 0.0


def shares_of_noise(values: NDArray[Any]) -> NDArray[np.float64]:
    """Noise variance of each frame of a scene relative to the other frames.

    With two frames, relative to the noisier one; see `_of_two`.  With n ≥ 3 frames of noise variances v_i, the mean
    square difference from the mean frame is m_i = v_i·(1 − 2/n) + Σv/n², hence
    v_i = (m_i − Σm/(n·(n − 1)))/(1 − 2/n); the result is v_i over the median of all v.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Values in DN at the same k positions in n frames, drift removed; overwritten.

    Returns
    -------
    ndarray, shape (n,)
        Ratios of variances; NaN if there are too few values or too little noise.
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
    """Noise variance of each of two frames relative to the larger; 1 for both unless they differ significantly.

    Both frames x = s + n show the same scene s, so x₁² − x₂² has the mean v₁ − v₂ and (x₁ − x₂)² the mean v₁ + v₂.
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
    """Caution about the first frame with far less noise than the others; empty if there is none.

    Parameters
    ----------
    names : sequence of str
        Names of the frames.
    shares : ndarray, shape (n,)
        Their `shares_of_noise`.
    """
    for name, share in zip(names, shares.tolist(), strict=True):
        if share < QUIET:
            return (
                f"{name} has {max(share, 0.0):.2g} times the noise variance of the other frames: is it a mean, a clean "
                "twin, or denoised, or do the others move? Take it out"
            )
    return ""


def loud_words(names: Sequence[str], shares: NDArray[np.float64]) -> str:
    """Caution about the frame with far more noise than at least four others; empty if there is none.

    Parameters
    ----------
    names : sequence of str
        Names of the frames.
    shares : ndarray, shape (n,)
        Their `shares_of_noise`.
    """
    if len(names) < 5 or not shares.max() > LOUD:
        return ""
    return (
        f"{names[int(shares.argmax())]} has {shares.max():.3g} times the noise variance of the other frames: was it "
        "taken with another setting, or disturbed? It makes the read noise too large"
    )


def gathered(cautions: Iterable[str]) -> list[str]:
    """Merge cautions of the same kind into one line: the first, and the number of other frames with it.

    Two cautions are of the same kind if they differ only in the file, before the first colon, and in numbers.

    Parameters
    ----------
    cautions : iterable of str
        Cautions of many frames, each starting with ``FILE: ``.

    Examples
    --------
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
        lines.append(caution + (f" (and so {counted(others, 'other frame')})" if others else ""))
    return lines
