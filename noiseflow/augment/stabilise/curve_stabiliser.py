"""`CurveStabiliser`: a variance-stabilising transform of noise whose variance is no straight line in the signal."""

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
"""Entries of a table."""

TAILS = 8.0
"""Standard deviations beyond the range up to which noise is stabilised."""

MEANS = 33
"""Signals at which the mean of the stabilised noise is taken, evenly spaced in their square root."""

NODES = 129
"""Signals at which a model's variance is sampled, likewise."""

ROUNDS, MOST_CORRECTED = 3, 1.5
"""Corrections of the transform by the variance that it left, and the largest factor of one."""

SMOOTH = 41
"""Gauss–Hermite points of a normal mean."""


@dataclass(frozen=True)
class _Plane:
    """One plane's transform f at even steps of √(x − low), and the signal at even steps of its mean."""

    low: float
    step: float
    stable: Array
    first: float
    mean_step: float
    signal: Array


class CurveStabiliser(nn.Module):
    """Make noise of any variance v(s) one of variance 1, and come back without bias.

    f(x) = ∫ dx/√(v + ⅜·v′²), which is the generalised Anscombe transform where v is a line; then f′ is divided by
    the standard deviation that is left at each signal, three times.  The inverse solves E f(x) = D for the expected
    signal; it is for the *denoised* D.

    Parameters
    ----------
    planes : sequence of tables
        Made by `stabiliser_of_curve` or `stabiliser_of_points`.

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
        """Planes of a frame."""
        return len(self.stable)

    def forward(self, noisy: Tensor) -> Tensor:
        """Stabilise a normalised signal, (..., C, H, W), to noise of variance 1."""
        place = (noisy - self.low).clamp(min=0).sqrt() / self.step
        return _read(self.stable, place)

    def inverse(self, denoised: Tensor) -> Tensor:
        """Expected signal, normalised, whose stabilised frame has the mean `denoised`, (..., C, H, W); not below 0."""
        return _read(self.signal, (denoised - self.first) / self.mean_step).clamp(min=0)


def _read(table: Tensor, place: Tensor) -> Tensor:
    """Values of each plane's table at fractional places, linear between and beyond its entries."""
    last = table.shape[1] - 2
    low = place.floor().clamp(min=0.0).clamp(max=float(last))
    planes = torch.arange(len(table), device=place.device)[:, None, None]
    at = low.long() + planes * table.shape[1]
    flat = table.reshape(-1)
    return flat[at] + (place.clamp(min=0.0) - low) * (flat[at + 1] - flat[at])


def stabiliser_of_points(signal: Array, variance: Array) -> CurveStabiliser:
    """The transform of a measured photon-transfer curve, of one plane or of each.

    Between points the variance is interpolated; below the first and beyond the last it is theirs.  Noise is taken
    as normal for the inverse.

    Parameters
    ----------
    signal : ndarray, shape (P,)
        Normalised signals, rising.
    variance : ndarray, shape (P,) or (C, P)
        Temporal variance of the normalised signal, quantisation included.

    Raises
    ------
    DataError
        Fewer than two points, signals that do not rise, or a variance that is not above 0.
    """
    signal, variance = np.asarray(signal, np.float64), np.atleast_2d(np.asarray(variance, np.float64))
    if signal.ndim != 1 or len(signal) < 2 or not (np.diff(signal) > 0).all():
        raise DataError(f"signals {signal.tolist()[:5]}…: expected two or more that rise")
    if variance.shape[1] != len(signal) or not (variance > 0).all():
        raise DataError("variances of a photon-transfer curve: expected one above 0 for each signal")
    return CurveStabiliser(
        [_tables(signal, each, partial(_normal_moments, points=signal, curve=each)) for each in variance]
    )


def stabiliser_of_curve(model: NoiseModel, iso: float, camera: str) -> CurveStabiliser:
    """The transform of a model's own curve, its variance and its mean after the transform taken from the model."""
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
    """The transform of a curve, corrected until its noise has variance 1, and its inverse by the mean."""
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
            # Clipping takes variance away that no transform brings back.
            density = density / np.sqrt(np.interp(x, at, np.clip(spread, 1 / MOST_CORRECTED, MOST_CORRECTED)))
    bias = mean - transform(at)
    dense = signal[0] + (signal[-1] - signal[0]) * np.linspace(0, 1, TABLE) ** 2
    # Rising: clipping at white bends the mean back where it no longer determines the signal.
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
    """Mean and variance of the transformed normal noise, of the variance that a curve has at `points`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(SMOOTH)
    sigma = np.sqrt(np.interp(signal, points, curve))
    values, weights = stable(signal[:, None] + sigma[:, None] * nodes), weights / weights.sum()
    mean = values @ weights
    return mean, np.square(values - mean[:, None]) @ weights
