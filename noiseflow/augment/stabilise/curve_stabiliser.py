"""`CurveStabiliser`: a variance-stabilising transform for noise whose variance is not linear in the signal."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseflow.augment.noise_level import NoiseLevelMap, flat_of
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions, Resolved
from noiseflow.models.model import NoiseModel, checked_conditions

__all__ = ["CurveStabiliser", "stabiliser_of_curve", "stabiliser_of_points"]

Array = NDArray[np.float64]
Transform = Callable[[Array], Array]

ANSCOMBE = 3 / 8

TABLE = 4096
"""Number of entries of a table."""

TAILS = 8.0
"""Noise is stabilised up to this many standard deviations beyond the range."""

MEANS = 33
"""Number of signals at which the mean of the stabilised noise is computed, evenly spaced in their square root."""

NODES = 129
"""Number of signals at which a model's variance is evaluated, evenly spaced in their square root."""

ROUNDS, MOST_CORRECTED = 3, 1.5
"""Number of corrections of the transform by the remaining variance, and the largest factor of a correction."""

SMOOTH = 41
"""Number of Gauss–Hermite points for means over normal noise."""


@dataclass(frozen=True)
class _Plane:
    """Tables of one plane: the transform f at even steps of √(x − low), and the signal at even steps of E f."""

    low: float
    step: float
    stable: Array
    first: float
    mean_step: float
    signal: Array


class CurveStabiliser(nn.Module):
    """Transform noise of any variance v(s) to noise of variance 1, with an unbiased inverse.

    f(x) = ∫ dx/√(v + ⅜·v′²), which is the generalised Anscombe transform where v is linear.  Then f′ is divided by
    the remaining standard deviation at each signal, three times.  The inverse solves E f(x) = D for the expected
    signal, so it must be applied to a *denoised* signal D.

    Parameters
    ----------
    planes : list of tables
        Tables made by `stabiliser_of_curve` or `stabiliser_of_points`.

    References
    ----------
    Foi: Clipped noisy images: heteroskedastic modeling and practical denoising, Signal Processing 89, 2009, eq. 24.
    """

    low: Tensor
    step: Tensor
    stable: Tensor
    first: Tensor
    mean_step: Tensor
    signal: Tensor

    def __init__(self, planes: list[_Plane]) -> None:
        super().__init__()
        for name in ("low", "step", "first", "mean_step"):
            values = [getattr(plane, name) for plane in planes]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None, None])
        for name in ("stable", "signal"):
            tables = np.array([getattr(plane, name) for plane in planes])
            self.register_buffer(name, torch.as_tensor(tables, dtype=torch.float32))

    @property
    def planes(self) -> int:
        """Number of planes of a frame."""
        return len(self.stable)

    def forward(self, noisy: Tensor) -> Tensor:
        """Stabilise a normalised signal, (..., C, H, W), to noise of variance 1."""
        place = (noisy - self.low).clamp(min=0).sqrt() / self.step
        return _read(self.stable, place)

    def inverse(self, denoised: Tensor) -> Tensor:
        """Expected signal, normalised and not below 0, whose stabilised mean is `denoised`, (..., C, H, W)."""
        return _read(self.signal, (denoised - self.first) / self.mean_step).clamp(min=0)


def _read(table: Tensor, place: Tensor) -> Tensor:
    """Interpolate each plane's table linearly at fractional indices; extrapolate above its last entry."""
    last = table.shape[1] - 2
    low = place.floor().clamp(min=0.0).clamp(max=float(last))
    planes = torch.arange(len(table), device=place.device)[:, None, None]
    at = low.long() + planes * table.shape[1]
    flat = table.reshape(-1)
    return flat[at] + (place.clamp(min=0.0) - low) * (flat[at + 1] - flat[at])


def stabiliser_of_points(signal: Array, variance: Array) -> CurveStabiliser:
    """Make the transform for a measured photon-transfer curve, one for all planes or one per plane.

    The variance is interpolated linearly between points and constant outside.  The inverse assumes normal noise.

    Parameters
    ----------
    signal : ndarray, shape (P,)
        Normalised signals, rising.
    variance : ndarray, shape (P,) or (C, P)
        Temporal variance of the normalised signal, including quantisation.

    Returns
    -------
    CurveStabiliser
        The transform.

    Raises
    ------
    DataError
        Fewer than two points, signals that do not rise, or a variance that is not positive.
    """
    signal, variance = np.asarray(signal, np.float64), np.atleast_2d(np.asarray(variance, np.float64))
    if signal.ndim != 1 or len(signal) < 2 or not (np.diff(signal) > 0).all():
        raise DataError(f"signals {signal.tolist()[:5]}…: expected two or more rising values")
    if variance.shape[1] != len(signal) or not (variance > 0).all():
        raise DataError("variances of a photon-transfer curve: expected one positive value per signal")
    return CurveStabiliser(
        [_tables(signal, each, partial(_normal_moments, points=signal, curve=each)) for each in variance]
    )


def stabiliser_of_curve(model: NoiseModel, iso: float, camera: str) -> CurveStabiliser:
    """Make the transform for a model, whose variance and stabilised means are measured on its samples."""
    level = NoiseLevelMap(model)
    like = next(iter([*model.parameters(), *model.buffers()]), torch.empty(0))
    real = like.dtype if like.is_floating_point() else torch.float32

    def conditions(signal: Array) -> Resolved:
        clean = torch.as_tensor(signal, dtype=real, device=like.device)
        return checked_conditions(model, Conditions(clean.expand(1, model.planes, 1, -1), iso, camera))

    nodes = np.linspace(0, 1, NODES) ** 2
    with torch.no_grad():
        variance = level.variance(conditions(nodes))[0, :, 0].double().cpu().numpy()
    size, source = flat_of(model)

    def moments(plane: int, stable: Transform, signal: Array) -> tuple[Array, Array]:
        clean = torch.as_tensor(signal, dtype=real, device=like.device)[:, None, None, None]
        flats = clean.expand(-1, model.planes, *size).contiguous()
        with torch.no_grad():
            noise = model.sample(checked_conditions(model, Conditions(flats, iso, camera)), source)[:, plane]
        values = stable((noise + flats[:, plane]).double().cpu().numpy()).reshape(len(signal), -1)
        return values.mean(1), values.var(1)

    return CurveStabiliser([_tables(nodes, each, partial(moments, plane)) for plane, each in enumerate(variance)])


def _tables(signal: Array, variance: Array, moments: Callable[[Transform, Array], tuple[Array, Array]]) -> _Plane:
    """Compute the transform of a curve, corrected so that its noise has variance 1, and its inverse by the mean."""
    low = signal[0] - TAILS * math.sqrt(variance[0])
    high = signal[-1] + TAILS * math.sqrt(variance[-1])
    root = np.linspace(0, math.sqrt(high - low), TABLE)
    x = low + root**2
    v = np.interp(x, signal, variance)
    slope = np.interp(x, (signal[1:] + signal[:-1]) / 2, np.diff(variance) / np.diff(signal))
    slope[x < signal[0]] = 0.0
    density = 1 / np.sqrt(v + ANSCOMBE * np.maximum(slope, 0.0) ** 2)
    at = signal[0] + (signal[-1] - signal[0]) * np.linspace(0, 1, MEANS) ** 2
    for step in range(ROUNDS + 1):
        stable = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
        transform = partial(_interpolated, low=low, root=root, stable=stable)
        mean, spread = moments(transform, at)
        if step < ROUNDS:
            # Clipping removes variance that no transform can restore, so corrections are limited.
            density = density / np.sqrt(np.interp(x, at, np.clip(spread, 1 / MOST_CORRECTED, MOST_CORRECTED)))
    bias = mean - transform(at)
    dense = signal[0] + (signal[-1] - signal[0]) * np.linspace(0, 1, TABLE) ** 2
    # Force the means to rise: with clipping at white the mean falls where it no longer determines the signal.
    means = np.maximum.accumulate(
        transform(dense) + np.interp(np.sqrt(dense - signal[0]), np.sqrt(at - signal[0]), bias)
    )
    even = np.linspace(means[0], means[-1], TABLE)
    keep = np.concatenate([[True], np.diff(means) > 0])
    back = np.interp(even, means[keep], dense[keep])
    return _Plane(low, float(root[1]), stable, float(even[0]), float(even[1] - even[0]), back)


def _interpolated(values: Array, *, low: float, root: Array, stable: Array) -> Array:
    return np.asarray(np.interp(np.sqrt(np.maximum(values - low, 0)), root, stable))


def _normal_moments(stable: Transform, signal: Array, *, points: Array, curve: Array) -> tuple[Array, Array]:
    """Mean and variance of transformed normal noise, whose variance is `curve` interpolated at `points`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(SMOOTH)
    sigma = np.sqrt(np.interp(signal, points, curve))
    values, weights = stable(signal[:, None] + sigma[:, None] * nodes), weights / weights.sum()
    mean = values @ weights
    return mean, np.square(values - mean[:, None]) @ weights
