"""σ of the real noise as a function of the clean signal."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["KNOTS", "LOOKUP", "NoiseCurve", "add_to_knots", "curve_through"]

KNOTS = 64
"""Knots of signal between black and white, equally spaced in its square root."""

LOOKUP = 2048
"""Entries of the table of σ, equally spaced in the square root of the signal."""

FEWEST_AT_A_KNOT = 1000
"""Fewest values for the variance at one knot, if the cell has that many."""


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """σ of the real noise over the clean signal, per camera and ISO; residuals are noise divided by it.

    Parameters
    ----------
    sigma : Tensor of float32, shape (cells, LOOKUP)
        Normalised σ at normalised signals from 0 to 1, equally spaced in the square root of the signal.
    """

    sigma: Tensor

    def at(self, signal: Tensor, cell: NDArray[np.int64]) -> Tensor:
        """Return σ at some signals.

        Parameters
        ----------
        signal : Tensor, shape (B, C, h, w)
            Normalised signal.
        cell : ndarray of int, shape (B,)
            Index of each patch's camera and ISO.

        Returns
        -------
        Tensor, shape (B, C, h, w)
            Normalised σ.
        """
        place = signal.clamp(0.0, 1.0).sqrt().mul_(LOOKUP - 1).add_(0.5).to(torch.int32)
        place += torch.from_numpy(cell * LOOKUP).to(torch.int32)[:, None, None, None]
        return self.sigma.flatten()[place]


def add_to_knots(knots: NDArray[np.float64], noise: Tensor, signal: Tensor, cell: NDArray[np.int64]) -> None:
    """Add a batch to the sums at each knot of each cell.

    Parameters
    ----------
    knots : ndarray, shape (3, cells · KNOTS)
        Count, sum of squares of the noise, and sum of the signal; changed in place.
    noise, signal : Tensor, shape (B, C, h, w)
        Normalised noise and signal.
    cell : ndarray of int, shape (B,)
        Index of each patch's camera and ISO.
    """
    signal = signal.float().expand_as(noise)
    place = signal.clamp(min=0.0).sqrt().mul_(KNOTS).to(torch.int64).clamp_(max=KNOTS - 1)
    place = (place + torch.from_numpy(cell * KNOTS)[:, None, None, None]).flatten()
    size = knots.shape[1]
    knots[0] += torch.bincount(place, minlength=size).double().numpy()
    knots[1] += torch.bincount(place, noise.square().flatten(), minlength=size).double().numpy()
    knots[2] += torch.bincount(place, signal.flatten(), minlength=size).double().numpy()


def curve_through(knots: NDArray[np.float64]) -> NoiseCurve:
    """Interpolate σ from the sums at the knots; the variance is linear in the signal between them, as for shot noise.

    Parameters
    ----------
    knots : ndarray, shape (3, cells, KNOTS)
        Sums from `add_to_knots`.

    Returns
    -------
    NoiseCurve
        σ of each cell.
    """
    signal = np.linspace(0.0, 1.0, LOOKUP) ** 2
    curves = []
    for count, square, sum_of_signal in zip(*knots, strict=True):
        where, variance = _merged(count, square, sum_of_signal)
        curves.append(np.interp(signal, where, variance))
    # A small positive variance keeps residuals finite (0) where the noise is 0, as in clipped frames.
    variance = np.maximum(np.array(curves), 1e-20)
    return NoiseCurve(torch.from_numpy(np.sqrt(variance)).float())


def _merged(
    count: NDArray[np.float64], square: NDArray[np.float64], sum_of_signal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean signal and variance at the knots, after merging neighbours until each has enough values."""
    held = np.cumsum(count)
    enough = min(float(FEWEST_AT_A_KNOT), float(held[-1]))
    part, start = np.zeros(len(count), np.int64), 0.0
    for index in range(1, len(count)):
        full = held[index - 1] - start >= enough and held[-1] - held[index - 1] >= enough
        part[index] = part[index - 1] + full
        start = held[index - 1] if full else start
    n, squares, signals = (np.bincount(part, values) for values in (count, square, sum_of_signal))
    return signals / n, squares / n
