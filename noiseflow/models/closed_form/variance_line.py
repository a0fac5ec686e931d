"""Maximum-likelihood shot and read variance: a line fitted to mean squares of zero-mean Gaussian noise."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["FLOOR", "LEAST", "fit_line", "line_errors", "line_nll"]

Array = NDArray[np.float64]

FLOOR = 0.1
"""Smallest variance as a fraction of β₂, for clean estimates below black."""

LEAST = 1e-12
"""Smallest β₁ and β₂: the variance of noise with σ = 10⁻⁶ of full scale, 0.07 DN at 16 bits."""

STEP = 0.1
"""Grid step in ln(β₁/β₂) of the candidates from which the refinement starts."""

LEAST_LEFT = 1e-12
"""Least share of the information about β₁ that must be left without β₂ for errors to be given."""

REFINED = 3
"""Number of local minima of the grid that are refined; the best is kept."""


def fit_line(cells: NoiseStatistics) -> Tensor:
    """Maximum-likelihood β₁, β₂ of zero-mean Gaussian noise with variance β₁·clean + β₂.

    With κ = β₁/β₂ and uᵢ = max(κyᵢ + 1, `FLOOR`) the variance of cell i is β₂uᵢ.  The best β₂ for a given κ is
    the mean of qᵢ/uᵢ, with qᵢ the cell's mean squared noise, or the lower bound if that is larger.  So the
    likelihood is a function of κ alone.  A grid in ln κ covers its whole range, including the limits of no shot
    noise and no read noise.  Its best local minima are refined by Brent's method, and the result is never worse
    than the best grid point.

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
        There are no cells, or their sums are not finite.
    """
    # Imported here because drawing samples needs none, and this takes as long as half of PyTorch.
    from scipy.optimize import minimize_scalar

    weight, signal, square = (part.double().numpy() for part in (cells.count, cells.clean, cells.square))
    if not len(weight) or not all(np.isfinite(part).all() for part in (weight, signal, square)):
        raise DataError("noise statistics: expected finite sums of at least one value; got NaN, infinity or no cell")
    weight = weight / weight.sum()
    grid = _ratios(signal, square)
    values = _profile_nll(grid, weight, signal, square)
    best, lowest = float(grid[np.argmin(values)]), float(values.min())
    inner = np.r_[values[0] < values[1], (values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]), False]
    for at in np.flatnonzero(inner)[np.argsort(values[inner])][:REFINED]:
        # Refine each side separately, because a grid point may be a kink.
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


def line_errors(betas: Tensor, cells: NoiseStatistics) -> Tensor:
    """Standard errors of β₁ and β₂, from the Fisher information of Gaussian noise in the cells.

    That of β₁ is infinite if all cells have the same signal, and that of β₂ too unless the signal is 0.

    Parameters
    ----------
    betas : Tensor, shape (2,)
        β₁ and β₂.
    cells : NoiseStatistics
        Cells of one camera at one ISO.
    """
    signal = cells.clean.double()
    variance = torch.maximum(betas[0] * signal + betas[1], FLOOR * betas[1])
    design = torch.stack([signal, torch.ones_like(signal)])
    information = (design * (cells.count / (2 * variance.square()))) @ design.T
    precision = information.diagonal().sqrt()
    # Share of the information about one β that is left if the other is not known.
    left = 1 - (information[0, 1] / precision.prod()) ** 2
    if not left > LEAST_LEFT:
        dark = not precision[0] > 0
        return torch.tensor([math.inf, 1 / float(precision[1]) if dark else math.inf], dtype=torch.float64)
    errors: Tensor = 1 / (precision * left.sqrt())
    return errors


def line_nll(betas: Tensor, cells: NoiseStatistics) -> float:
    """Mean NLL per value of the cells' noise under β₁ and β₂, nats, without the constant ½ ln 2π."""
    variance = torch.maximum(betas[0] * cells.clean + betas[1], FLOOR * betas[1])
    each = 0.5 * (variance.log() + cells.square / variance)
    return float((cells.count * each).sum() / cells.count.sum())


def _ratios(signal: Array, square: Array) -> Array:
    """Grid of ln κ from no shot noise to no read noise, plus the κ at which each cell below black reaches the floor."""
    largest = max(float(square.max()), LEAST)
    lit = np.abs(signal[signal != 0])
    low = math.log(LEAST * FLOOR / largest)
    # Without light κ has no effect except through the bound on β₁ = κβ₂, which must not restrict β₂.
    dark = math.log(LEAST / max(float(square.min()), LEAST))
    high = math.log(largest / float(lit.min()) / LEAST) if len(lit) else dark
    even = np.linspace(low, max(high, low + STEP), 2 + round(max(high - low, STEP) / STEP))
    kinks = np.log((FLOOR - 1) / signal[signal < 0])
    return np.unique(np.r_[even, kinks[(kinks > even[0]) & (kinks < even[-1])]])


def _units(log_ratio: Array, signal: Array) -> Array:
    return np.maximum(np.exp(log_ratio)[:, None] * signal + 1, FLOOR)


def _read_variance(log_ratio: Array, weight: Array, signal: Array, square: Array) -> Array:
    """The best β₂ at each ln κ, subject to β₁ = κβ₂ ≥ `LEAST` and β₂ ≥ `LEAST`."""
    least = LEAST * np.maximum(1.0, np.exp(-log_ratio))
    best: Array = np.maximum((square / _units(log_ratio, signal)) @ weight, least)
    return best


def _profile_nll(log_ratio: Array, weight: Array, signal: Array, square: Array) -> Array:
    """Mean NLL at each ln κ, with the best β₂ there, nats without a constant."""
    unit = _units(log_ratio, signal)
    read = _read_variance(log_ratio, weight, signal, square)
    nll: Array = 0.5 * (np.log(unit) @ weight + np.log(read) + ((square / unit) @ weight) / read)
    return nll
