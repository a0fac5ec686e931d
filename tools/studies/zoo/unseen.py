"""Cameras with several properties, of strengths that the zoo does not have, shot in ways that it is not."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter

from tools.studies.zoo.cameras import (
    GAIN,
    READ,
    ROWS,
    Array,
    bend,
    decaying,
    filtered,
    flicker,
    plain,
    shot_and_read,
)
from tools.studies.zoo.frames import LIGHTS, QUAD, Frames

__all__ = ["UNSEEN"]


def columns_memory_tails(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Columns, rows that remember with φ = 0.8, and read noise with an excess kurtosis of about 3."""
    noisy = GAIN * rng.poisson(signal / GAIN) + READ * np.sqrt(4 / 6) * rng.standard_t(6, signal.shape)
    lines = ROWS * decaying(rng, len(signal), 0.8)[:, None] + 0.4 * rng.standard_normal((1, signal.shape[1]))
    return noisy + lines


def strong_rows(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Rows of three times the read noise."""
    return shot_and_read(rng, signal) + 3 * READ * rng.standard_normal((len(signal), 1))


def columns_at_high_iso(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """A gain of ISO/100, columns only above ISO 800."""
    gain = iso / 100
    noisy = gain * rng.poisson(signal / gain) + (2 + gain) * rng.standard_normal(signal.shape)
    noisy = noisy + 0.1 * (2 + gain) * rng.standard_normal((len(signal), 1))
    return noisy + (0.15 * (2 + gain) * rng.standard_normal((1, signal.shape[1])) if iso > 800 else 0.0)


def planes_and_bend(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Gains of the planes 10 % apart, and a bend."""
    factor = np.tile([[1.05, 1.0], [1.0, 0.95]], (len(signal) // 2, signal.shape[1] // 2))
    return signal + factor * (bend(rng, signal) - signal)


def one_plane_of_neighbours(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Neighbours of the red plane alone that correlate by 0.08."""
    noise = shot_and_read(rng, signal) - signal
    noise[::2, ::2] = filtered(noise, 2, 0.08)[::2, ::2]
    return signal + noise + ROWS * rng.standard_normal((len(signal), 1))


def two_bands(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Banding of about 5 and 23 rows."""
    found = plain(rng, signal)
    for period in (5, 23):
        drive = rng.standard_normal(600 + len(signal)) * np.sqrt(2 * (1 - 0.98**2))
        found = found + 0.5 * lfilter([1.0], [1.0, -0.98 * np.exp(2j * np.pi / period)], drive).real[600:, None]
    return found


def weak_flicker(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Rows whose light changes by a tenth of the shot noise of 3000 e⁻."""
    return plain(rng, signal * (1 + 0.1 / np.sqrt(3000) * rng.standard_normal((len(signal), 1))))


def telegraph(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """One pixel in fifty jumps by ±12 DN."""
    return plain(rng, signal) + 12.0 * (rng.random(signal.shape) < 0.02) * rng.choice([-1.0, 1.0], signal.shape)


def eight_bits(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """K 0.03 DN/e⁻, σ 0.4 DN, rows 0.06 DN."""
    noisy = 0.03 * rng.poisson(signal / 0.03) + 0.4 * rng.standard_normal(signal.shape)
    return noisy + 0.06 * rng.standard_normal((len(signal), 1))


def dual_gain(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """K = ISO/400, read noise 6 e⁻ below ISO 800 and 1.5 e⁻ from there on, over 1 DN behind the amplifier."""
    gain = iso / 400
    read = np.hypot(gain * (6.0 if iso < 800 else 1.5), 1.0)
    noisy = gain * rng.poisson(signal / gain) + read * rng.standard_normal(signal.shape)
    return noisy + 0.2 * read * rng.standard_normal((len(signal), 1))


def drifting_black(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """A black level that changes by a read noise from frame to frame, and rows."""
    return plain(rng, signal) + READ * rng.standard_normal()


def flicker_and_neighbours(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Rows that follow the light, and neighbours of the mosaic that correlate by 0.15."""
    light = signal * (1 + 0.004 * rng.standard_normal((len(signal), 1)))
    noise = filtered(shot_and_read(rng, signal) - signal, 1, 0.15)
    return light + noise + ROWS * rng.standard_normal((len(signal), 1))


def memory_and_neighbours(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Rows that remember, columns, and neighbours of the mosaic that correlate by 0.15."""
    noise = filtered(shot_and_read(rng, signal) - signal, 1, 0.15)
    lines = ROWS * decaying(rng, len(signal), 0.9)[:, None] + ROWS * rng.standard_normal((1, signal.shape[1]))
    return signal + noise + lines


def ordinary(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Shot, read and row noise."""
    return plain(rng, signal)


def without_rows(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Shot and read noise."""
    return shot_and_read(rng, signal)


def flickering(rng: np.random.Generator, signal: Array, iso: float) -> Array:
    """Rows whose light changes by 0.4 % from one to the next."""
    return flicker(rng, signal)


def _one(draw: object) -> Frames:
    return Frames({"zoo": draw})  # type: ignore[dict-item]


UNSEEN: Mapping[str, tuple[Frames, str]] = {
    "columns, memory, tails": (_one(columns_memory_tails), "row_memory, column_noise, telegraph"),
    "rows of 3 σ": (_one(strong_rows), "nothing"),
    "columns at high ISO": (replace(_one(columns_at_high_iso), isos=(100.0, 400.0, 1600.0)), "column_noise"),
    "planes and bend": (_one(planes_and_bend), "bend"),
    "neighbours of one plane": (_one(one_plane_of_neighbours), "neighbours"),
    "two bands": (_one(two_bands), "row_memory"),
    "weak flicker": (_one(weak_flicker), "row_flicker"),
    "telegraph pixels": (_one(telegraph), "telegraph"),
    "8 bits": (replace(_one(eight_bits), black=8.0, white=255.0), "nothing"),
    "black at code 0": (replace(_one(ordinary), black=0.0), "nothing"),
    "dual gain": (replace(_one(dual_gain), isos=(100.0, 400.0, 800.0, 1600.0)), "nothing"),
    "three frames": (replace(_one(ordinary), lights=(0.0, 0.1, 0.5), each=(1, 0, 0)), "nothing"),
    "bright only": (replace(_one(ordinary), lights=tuple(0.6 + 0.05 * place for place in range(LIGHTS))), "nothing"),
    "dark only": (replace(_one(ordinary), lights=(0.0,), each=(24, 8, 8)), "nothing"),
    "mono": (replace(_one(flickering), cfa="MONO"), "row_flicker"),
    "quad": (replace(_one(ordinary), cfa=QUAD), "nothing"),
    "rows of one camera": (Frames({"rows": ordinary, "none": without_rows}), "nothing"),
    "black that drifts by σ": (_one(drifting_black), "row_memory"),
    "one scene": (replace(_one(ordinary), one_scene=True), "nothing"),
    "flicker and neighbours": (_one(flicker_and_neighbours), "row_flicker, neighbours"),
    "memory, columns and neighbours": (_one(memory_and_neighbours), "row_memory, column_noise, neighbours"),
}
"""Name → how the cameras are shot, and the options of the spec that a fit should set."""
