"""Maximum-likelihood shot and read variance: a line through mean squares of zero-mean Gaussian noise."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["FLOOR", "LEAST", "fit_line", "line_nll"]

Array = NDArray[np.float64]

FLOOR = 0.1
"""Least variance as a fraction of β₂, for clean estimates below black."""

LEAST = 1e-12
"""Least β₁ and β₂, about a hundredth of a 16-bit step squared."""

STEP = 0.1
"""Grid step in ln(β₁/β₂) between the candidates that the refinement starts from."""

REFINED = 3
"""Local minima of the grid that are refined; the best of them is kept."""


def fit_line(cells: NoiseStatistics) -> Tensor:
    """Maximum-likelihood β₁, β₂ of zero-mean Gaussian noise with variance β₁·clean + β₂.

    With κ = β₁/β₂ and uᵢ = max(κyᵢ + 1, `FLOOR`) the variance of cell i is β₂uᵢ, and the best β₂ at
    a given κ is known: the mean of qᵢ/uᵢ, with qᵢ the cell's mean squared noise, or the bound where
    that is below it.  What is left is a function of κ alone.  A grid in ln κ covers all of it, both
    boundaries (no shot noise, no read noise) included; its best local minima are refined by
    Brent's method, so the result is never worse than the best point of the grid.

    Parameters
    ----------
    cells : NoiseStatistics
        Cells of one camera at one ISO.

    Returns
    -------
    Tensor, shape (2,), float64
        β₁ and β₂, each at least `LEAST`.

    Raises
    ------
    DataError
        No cell, or sums that are not finite.
    """
    weight, signal, square = (part.double().numpy() for part in (cells.count, cells.clean, cells.square))
    if not len(weight) or not all(np.isfinite(part).all() for part in (weight, signal, square)):
        raise DataError("noise statistics: expected finite sums of at least one value; got NaN, infinity or no cell")
    weight = weight / weight.sum()
    grid = _ratios(signal, square)
    values = _profile_nll(grid, weight, signal, square)
    best, lowest = float(grid[np.argmin(values)]), float(values.min())
    inner = np.r_[values[0] < values[1], (values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]), False]
    for at in np.flatnonzero(inner)[np.argsort(values[inner])][:REFINED]:
        # Each side by itself: a point of the grid may be a kink.
        for bounds in {(grid[max(at - 1, 0)], grid[max(at, 1)]), (grid[at], grid[at + 1])}:
            found = minimize_scalar(
                lambda ratio: float(_profile_nll(np.array([ratio]), weight, signal, square)[0]),
                bounds=bounds,
                method="bounded",
                options={"xatol": 1e-9},
            )
            if found.fun < lowest:
                best, lowest = float(found.x), float(found.fun)
    read = float(_read_variance(np.array([best]), weight, signal, square)[0])
    return torch.tensor([math.exp(best) * read, read], dtype=torch.float64).clamp(min=LEAST)


def line_nll(betas: Tensor, cells: NoiseStatistics) -> float:
    """Mean NLL of a value of the cells' noise under β₁, β₂, nats, without the constant ½ ln 2π."""
    variance = torch.maximum(betas[0] * cells.clean + betas[1], FLOOR * betas[1])
    each = 0.5 * (variance.log() + cells.square / variance)
    return float((cells.count * each).sum() / cells.count.sum())


def _ratios(signal: Array, square: Array) -> Array:
    """Grid of ln κ from no shot noise to no read noise, with the κ at which a cell below black meets the floor."""
    largest = max(float(square.max()), LEAST)
    lit = np.abs(signal[signal != 0])
    low = math.log(LEAST * FLOOR / largest)
    # Without any light κ means nothing, but for the bound on β₁ = κβ₂, which must leave β₂ free.
    dark = math.log(LEAST / max(float(square.min()), LEAST))
    high = math.log(largest / float(lit.min()) / LEAST) if len(lit) else dark
    even = np.linspace(low, max(high, low + STEP), 2 + round(max(high - low, STEP) / STEP))
    kinks = np.log((FLOOR - 1) / signal[signal < 0])
    return np.unique(np.r_[even, kinks[(kinks > even[0]) & (kinks < even[-1])]])


def _units(log_ratio: Array, signal: Array) -> Array:
    return np.maximum(np.exp(log_ratio)[:, None] * signal + 1, FLOOR)


def _read_variance(log_ratio: Array, weight: Array, signal: Array, square: Array) -> Array:
    """Best β₂ at each ln κ that keeps β₁ = κβ₂ and β₂ within their bounds."""
    least = LEAST * np.maximum(1.0, np.exp(-log_ratio))
    best: Array = np.maximum((square / _units(log_ratio, signal)) @ weight, least)
    return best


def _profile_nll(log_ratio: Array, weight: Array, signal: Array, square: Array) -> Array:
    """Mean NLL at each ln κ and its best β₂."""
    unit = _units(log_ratio, signal)
    read = _read_variance(log_ratio, weight, signal, square)
    nll: Array = 0.5 * (np.log(unit) @ weight + np.log(read) + ((square / unit) @ weight) / read)
    return nll
