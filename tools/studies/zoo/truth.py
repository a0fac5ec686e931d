"""How far a model's density is from that of a camera whose covariance is known."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, toeplitz

from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel
from noiseflow.raw.bayer import pack
from tools.studies.zoo.cameras import BLACK, GAIN, READ, ROWS, WHITE, Array, bend_slope, plane_factors, taps_of
from tools.studies.zoo.frames import Frames

__all__ = ["COVARIANCES", "Behind", "Covariance", "behind_truth"]

SIDE, MARGIN = 32, 16
"""Pixels of a crop of the mosaic, and around it, so that a filter of neighbours has no edge."""

CROPS = 96
"""Crops of each light."""

Covariance = Callable[[Array], Array]


class Behind(NamedTuple):
    """Mean of a difference, nats/dim, and its standard error over crops."""

    value: float
    error: float


def _pixels(variance: Array) -> Array:
    return np.diag(variance.ravel() + READ**2 + 1 / 12)


def _over_rows(covariance: Array, signal: Array) -> Array:
    return np.kron(covariance, np.ones((signal.shape[1], signal.shape[1])))


def _rows(signal: Array) -> Array:
    return _over_rows(ROWS**2 * np.eye(len(signal)), signal)


def _shared(relative: Array, signal: Array) -> Array:
    """Light that changes with this covariance over rows."""
    found: Array = np.outer(signal.ravel(), signal.ravel()) * _over_rows(relative, signal)
    return found


def _plain(signal: Array) -> Array:
    found: Array = _pixels(GAIN * signal) + _rows(signal)
    return found


def _lags(signal: Array) -> Array:
    return np.arange(len(signal))


def _columns(signal: Array) -> Array:
    found: Array = _plain(signal) + ROWS**2 * np.kron(np.ones((len(signal),) * 2), np.eye(signal.shape[1]))
    return found


def _memory(signal: Array) -> Array:
    found: Array = _pixels(GAIN * signal) + _over_rows(ROWS**2 * toeplitz(0.9 ** _lags(signal)), signal)
    return found


def _banding(signal: Array) -> Array:
    lags = _lags(signal)
    wave = ROWS**2 * toeplitz(0.99**lags * np.cos(2 * np.pi * lags / 7))
    found: Array = _plain(signal) + _over_rows(wave, signal)
    return found


def _flicker(signal: Array) -> Array:
    found: Array = _plain(signal) + _shared(0.004**2 * np.eye(len(signal)), signal)
    return found


def _lamp(signal: Array) -> Array:
    found: Array = _plain(signal) + _shared(0.004**2 * toeplitz(0.98 ** _lags(signal)), signal)
    return found


def _black(signal: Array) -> Array:
    found: Array = _plain(signal) + ROWS**2
    return found


def _neighbours(step: int, correlation: float) -> Covariance:
    def covariance(signal: Array) -> Array:
        height, width = signal.shape
        along = [_filter(length, step, correlation) for length in (height, width)]
        through = np.kron(*along)
        own = (GAIN * signal + READ**2).ravel()
        # Signals are smooth: a pixel's neighbours outside of the crop have its variance.
        found: Array = np.sqrt(np.outer(own, own)) * (through @ through.T) + np.eye(own.size) / 12 + _rows(signal)
        return found

    return covariance


def _filter(length: int, step: int, correlation: float) -> Array:
    """The filter along one axis, (length, length + 2 step)."""
    a, norm = taps_of(correlation)
    wide = np.eye(length, length + 2 * step, step) + a * (
        np.eye(length, length + 2 * step, 0) + np.eye(length, length + 2 * step, 2 * step)
    )
    found: Array = wide * np.sqrt(norm)
    return found


def _planes(signal: Array) -> Array:
    factor = plane_factors(signal)
    own = factor**2 * (GAIN * signal + READ**2)
    found: Array = np.diag(own.ravel() + 1 / 12) + _rows(signal)
    return found


def _bend(signal: Array) -> Array:
    found: Array = _pixels(bend_slope(signal) ** 2 * GAIN * signal) + _rows(signal)
    return found


COVARIANCES: Mapping[str, Covariance] = {
    "plain": _plain,
    "columns": _columns,
    "rows that remember": _memory,
    "banding": _banding,
    "flicker": _flicker,
    "drifting lamp": _lamp,
    "black level that drifts": _black,
    "neighbours of the mosaic": _neighbours(1, 0.2),
    "neighbours of a plane": _neighbours(2, 0.25),
    "gains by plane": _planes,
    "bend": _bend,
}
"""Camera → covariance of the noise of a crop of the mosaic, DN², given its signal, DN."""


@torch.no_grad()
def behind_truth(frames: Frames, covariance: Covariance, model: NoiseModel, seed: int) -> Behind:
    """NLL of a model less that of normal noise of the true covariance, nats/dim, over fresh crops of all lights.

    Below 0 where the skewness of shot noise counts, which the model has and normal noise has not.
    """
    rng = np.random.default_rng(seed)
    gaps = []
    for light in range(len(frames.lights)):
        wide = frames.signal(sum(frames.each), light)[: SIDE + 2 * MARGIN, : SIDE + 2 * MARGIN]
        crop = slice(MARGIN, MARGIN + SIDE)
        signal = wide[crop, crop]
        noise = np.stack([frames.shot(rng, "zoo", 100.0, wide)[crop, crop] - signal for _ in range(CROPS)])
        factor = cho_factor(covariance(signal), lower=True)
        flat = noise.reshape(CROPS, -1).T
        square = (flat * cho_solve(factor, flat)).sum(0)
        truth = 0.5 * square + np.log(np.diag(factor[0])).sum() + 0.5 * len(flat) * np.log(2 * np.pi)
        span = WHITE - BLACK
        packed, clean = (
            torch.from_numpy(np.ascontiguousarray(pack(each / span, frames.cfa))).float() for each in (noise, signal)
        )
        cond = Conditions(clean.expand_as(packed).contiguous(), torch.full((CROPS,), 100.0), "zoo")
        own = -model.log_prob(packed, cond).double().numpy() + len(flat) * np.log(span)
        gaps.append((own - truth) / len(flat))
    found = np.stack(gaps)
    return Behind(float(found.mean()), float(np.sqrt((found.var(1, ddof=1) / CROPS).mean() / len(found))))
