"""Spectrum of row and column noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.stats import chi2

__all__ = ["Spectrum", "banding_spectrum"]


MOST_LINES = 5
"""Largest number of spectral lines listed."""

WIDTH = 2
"""Frequency bins on either side of a peak that count as part of it."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean periodogram of row (or column) offsets over the frames.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequency of each bin in cycles per pixel of the plane, above 0 and up to 0.5.
    power : ndarray, shape (F,)
        Power, DN²; its mean is the variance of the offsets.
    floor : float
        Power that white pixel noise alone would give, DN².
    lines : tuple of float
        Frequencies of narrow lines in cycles per pixel, the strongest first, at most `MOST_LINES`.  A line is a
        peak above its neighbours by more than chance allows (false alarm: one spectrum in a thousand).
    peaks : int
        Number of all such peaks.  More than `MOST_LINES` mean that the whole spectrum is coloured.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    floor: float
    lines: tuple[float, ...]
    peaks: int = 0


def banding_spectrum(profiles: NDArray[np.float64], pixel_variance: float, across: int) -> Spectrum:
    """Compute the spectrum of row or column noise from the line means of several frames.

    Each line's mean over the frames (fixed pattern) and each frame's mean are subtracted first.  Lines are
    searched for only in spectra of 32 bins or more.

    Parameters
    ----------
    profiles : ndarray, shape (n, L)
        Row means of n frames (for row noise) or column means, DN.
    pixel_variance : float
        Temporal variance of single pixels, DN²; it gives the white floor.
    across : int
        Number of pixels averaged in one line.

    Returns
    -------
    Spectrum
        Mean periodogram and its narrow lines.
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
        # Adjacent high bins are one line, located at the highest.
        found = np.flatnonzero((power > 1.3 * limit * around) & (power >= maximum_filter1d(power, 2 * WIDTH + 1)))
        # Around a line of no noise there may be nothing.
        height = power[found] / np.maximum(around[found], 1e-300)
        found = found[np.argsort(-height, kind="stable")]
    lines = tuple(float(frequency[index]) for index in found[:MOST_LINES])
    return Spectrum(frequency, power, pixel_variance / across, lines, len(found))
