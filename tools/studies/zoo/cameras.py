"""Cameras with one property each beyond shot, read and row noise."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = [
    "BLACK",
    "BRIGHTEST",
    "CAMERAS",
    "GAIN",
    "READ",
    "ROWS",
    "WHITE",
    "Array",
    "Camera",
    "bend_slope",
    "decaying",
    "filtered",
    "plane_factors",
    "taps_of",
]

Array = NDArray[np.float64]
Camera = Callable[[np.random.Generator, Array], Array]

BLACK, WHITE = 256.0, 4095.0
GAIN, READ, ROWS = 1.0, 3.0, 0.6
"""DN/e⁻, DN and DN."""

BRIGHTEST = 0.95
"""Largest signal, as a part of full scale."""


def shot_and_read(rng: np.random.Generator, signal: Array) -> Array:
    """Signal and the noise of photons and amplifier, DN."""
    return GAIN * rng.poisson(signal / GAIN) + READ * rng.standard_normal(signal.shape)


def rows(rng: np.random.Generator, signal: Array) -> Array:
    """Independent offsets of the rows, DN."""
    return ROWS * rng.standard_normal((len(signal), 1))


def plain(rng: np.random.Generator, signal: Array) -> Array:
    """Shot, read and row noise."""
    return shot_and_read(rng, signal) + rows(rng, signal)


def columns(rng: np.random.Generator, signal: Array) -> Array:
    """Columns as strong as the rows."""
    return plain(rng, signal) + ROWS * rng.standard_normal((1, signal.shape[1]))


def memory(rng: np.random.Generator, signal: Array) -> Array:
    """Rows that are an autoregression with φ = 0.9."""
    return shot_and_read(rng, signal) + ROWS * decaying(rng, len(signal), 0.9)[:, None]


def banding(rng: np.random.Generator, signal: Array) -> Array:
    """Rows, and an oscillation of about 7 rows of another phase in every frame."""
    rest = 0.99 * np.exp(2j * np.pi / 7)
    drive = rng.standard_normal(600 + len(signal)) * np.sqrt(2 * (1 - 0.99**2))
    wave = lfilter([1.0], [1.0, -rest], drive).real[600:]
    return plain(rng, signal) + ROWS * wave[:, None]


def flicker(rng: np.random.Generator, signal: Array) -> Array:
    """Rows whose light changes by 0.4 % from one to the next."""
    return plain(rng, signal * (1 + 0.004 * rng.standard_normal((len(signal), 1))))


def lamp(rng: np.random.Generator, signal: Array) -> Array:
    """Light that drifts by 0.4 % down the frame."""
    return plain(rng, signal * (1 + 0.004 * decaying(rng, len(signal), 0.98)[:, None]))


def black(rng: np.random.Generator, signal: Array) -> Array:
    """A black level that changes by 0.6 DN from frame to frame."""
    return plain(rng, signal) + ROWS * rng.standard_normal()


def neighbours(rng: np.random.Generator, signal: Array) -> Array:
    """Neighbours of the mosaic that correlate by 0.2."""
    return signal + filtered(shot_and_read(rng, signal) - signal, 1, 0.2) + rows(rng, signal)


def plane_neighbours(rng: np.random.Generator, signal: Array) -> Array:
    """Neighbours of a plane that correlate by 0.25."""
    return signal + filtered(shot_and_read(rng, signal) - signal, 2, 0.25) + rows(rng, signal)


def planes(rng: np.random.Generator, signal: Array) -> Array:
    """A gain and a read noise for each plane."""
    return signal + plane_factors(signal) * (shot_and_read(rng, signal) - signal) + rows(rng, signal)


def telegraph(rng: np.random.Generator, signal: Array) -> Array:
    """One pixel in a hundred jumps by ±15 DN."""
    jumps = 15.0 * (rng.random(signal.shape) < 0.01) * rng.choice([-1.0, 1.0], signal.shape)
    return plain(rng, signal) + jumps


def coarse(rng: np.random.Generator, signal: Array) -> Array:
    """Codes of twice the read noise: K 0.1 DN/e⁻, σ 0.5 DN, rows 0.1 DN."""
    offsets = 0.1 * rng.standard_normal((len(signal), 1))
    return 0.1 * rng.poisson(signal / 0.1) + 0.5 * rng.standard_normal(signal.shape) + offsets


def bend(rng: np.random.Generator, signal: Array) -> Array:
    """A response that bends: its slope falls by a half towards 95 % of full scale, and the shot noise with it."""
    slope = bend_slope(signal)
    return (
        signal
        + slope * (GAIN * rng.poisson(signal / GAIN) - signal)
        + READ * rng.standard_normal(signal.shape)
        + rows(rng, signal)
    )


def decaying(rng: np.random.Generator, count: int, decay: float) -> Array:
    """An autoregression of unit variance."""
    drive = np.sqrt(1 - decay**2) * rng.standard_normal(300 + count)
    found: Array = lfilter([1.0], [1.0, -decay], drive)[300:]
    return found


def filtered(noise: Array, step: int, correlation: float) -> Array:
    """Noise of the same variance at one light whose neighbours `step` apart correlate, by three taps each way."""
    a, norm = taps_of(correlation)
    for axis in (0, 1):
        noise = noise + a * (np.roll(noise, step, axis) + np.roll(noise, -step, axis))
    return noise * norm


def taps_of(correlation: float) -> tuple[float, float]:
    """The a of taps a, 1, a whose noise correlates so with the nearest, and the square of their norm's inverse."""
    # ρ = 2a/(1 + 2a²).
    a = (1 - np.sqrt(1 - 2 * correlation**2)) / (2 * correlation)
    return float(a), float(1 / (1 + 2 * a**2))


def plane_factors(signal: Array) -> Array:
    """σ of each pixel's plane over that of the camera."""
    return np.tile([[1.3, 0.8], [1.0, 1.2]], (len(signal) // 2, signal.shape[1] // 2))


def bend_slope(signal: Array) -> Array:
    """Slope of the response that bends."""
    found: Array = 1 - 0.5 * np.clip(signal / (BRIGHTEST * (WHITE - BLACK)), 0, 1) ** 2
    return found


CAMERAS: Mapping[str, tuple[Camera, str]] = {
    "plain": (plain, "nothing"),
    "columns": (columns, "column_noise"),
    "rows that remember": (memory, "row_memory"),
    "banding": (banding, "row_memory"),
    "flicker": (flicker, "row_flicker"),
    "drifting lamp": (lamp, "row_memory"),
    "black level that drifts": (black, "row_memory"),
    "neighbours of the mosaic": (neighbours, "neighbours"),
    "neighbours of a plane": (plane_neighbours, "neighbours"),
    "gains by plane": (planes, "nothing"),
    "telegraph pixels": (telegraph, "telegraph"),
    "coarse codes": (coarse, "nothing"),
    "bend": (bend, "bend"),
}
"""Name → camera, and the option of the spec that a fit should set."""
