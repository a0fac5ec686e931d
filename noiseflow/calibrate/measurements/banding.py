"""Spectrum of row and column noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.stats import chi2

__all__ = ["Spectrum", "banding_spectrum"]


MOST_LINES = 5
"""Lines that are listed."""

WIDTH = 2
"""Bins on either side of a peak that belong to it."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean periodogram of row (or column) offsets over the frames.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Cycles per pixel of the plane, above 0 to 0.5.
    power : ndarray, shape (F,)
        DN²; its mean is the variance of the offsets.
    floor : float
        DN²; what white pixel noise alone would give.
    lines : tuple of float
        Frequencies of narrow lines, the strongest first, `MOST_LINES` at the most: peaks above their
        neighbours by more than chance allows (one in a thousand for the whole spectrum).
    peaks : int
        Peaks in all.  Where they are more than `MOST_LINES` the spectrum is coloured as a whole.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    floor: float
    lines: tuple[float, ...]
    peaks: int = 0


def banding_spectrum(profiles: NDArray[np.float64], pixel_variance: float, across: int) -> Spectrum:
    """Spectrum of the temporal part of line means.

    Parameters
    ----------
    profiles : ndarray, shape (n, L)
        Row means of n frames (for row noise), or column means, DN.
    pixel_variance : float
        DN², of the white part.
    across : int
        Pixels in one line.
    """
    n, length = profiles.shape
    centred = profiles - profiles.mean(0)
    centred = centred - centred.mean(1, keepdims=True)
    power: NDArray[np.float64] = (np.abs(np.fft.rfft(centred, axis=1)) ** 2).sum(0)[1:] / (length * max(n - 1, 1))
    frequency: NDArray[np.float64] = np.fft.rfftfreq(length)[1:].astype(np.float64)
    found: NDArray[np.intp] = np.zeros(0, np.intp)
    if len(power) >= 32:
        half = 12
        padded = np.pad(power, half, mode="reflect")
        around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
        degrees = 2 * max(n - 1, 1)
        limit = chi2.isf(1e-3 / len(power), degrees) / chi2.median(degrees)
        # Bins side by side are one line, at its highest bin.
        found = np.flatnonzero((power > 1.3 * limit * around) & (power >= maximum_filter1d(power, 2 * WIDTH + 1)))
        # Around a line of no noise there may be nothing.
        height = power[found] / np.maximum(around[found], 1e-300)
        found = found[np.argsort(-height, kind="stable")]
    lines = tuple(float(frequency[index]) for index in found[:MOST_LINES])
    return Spectrum(frequency, power, pixel_variance / across, lines, len(found))
