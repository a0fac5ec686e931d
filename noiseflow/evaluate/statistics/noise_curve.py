"""σ of the real noise against the clean signal."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["KNOTS", "LOOKUP", "NoiseCurve", "add_to_knots", "curve_through"]

KNOTS = 64
"""Knots of signal between black and white, even in its square root."""

LOOKUP = 2048
"""Entries of the table that σ is read from, likewise."""

FEWEST_AT_A_KNOT = 1000
"""Values that the variance at one knot rests on, if there are so many in a cell."""


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """σ of the real noise against the clean signal, per camera and ISO: what residuals are divided by.

    Parameters
    ----------
    sigma : Tensor of float32, shape (cells, LOOKUP)
        Normalised, even in the square root of the normalised signal from 0 to 1.
    """

    sigma: Tensor

    def at(self, signal: Tensor, cell: NDArray[np.int64]) -> Tensor:
        """σ at a normalised signal (B, C, h, w), each patch of its own cell."""
        place = signal.clamp(0.0, 1.0).sqrt().mul_(LOOKUP - 1).add_(0.5).to(torch.int32)
        place += torch.from_numpy(cell * LOOKUP).to(torch.int32)[:, None, None, None]
        return self.sigma.flatten()[place]


def add_to_knots(knots: NDArray[np.float64], noise: Tensor, signal: Tensor, cell: NDArray[np.int64]) -> None:
    """Count, sum of squares of the noise, and sum of the signal, at each knot of each cell."""
    signal = signal.float().expand_as(noise)
    place = signal.clamp(min=0.0).sqrt().mul_(KNOTS).to(torch.int64).clamp_(max=KNOTS - 1)
    place = (place + torch.from_numpy(cell * KNOTS)[:, None, None, None]).flatten()
    size = knots.shape[1]
    knots[0] += torch.bincount(place, minlength=size).double().numpy()
    knots[1] += torch.bincount(place, noise.square().flatten(), minlength=size).double().numpy()
    knots[2] += torch.bincount(place, signal.flatten(), minlength=size).double().numpy()


def curve_through(knots: NDArray[np.float64]) -> NoiseCurve:
    """σ against signal: variance between knots linear in the signal, as photons make it."""
    signal = np.linspace(0.0, 1.0, LOOKUP) ** 2
    curves = []
    for count, square, sum_of_signal in zip(*knots, strict=True):
        where, variance = _merged(count, square, sum_of_signal)
        curves.append(np.interp(signal, where, variance))
    # Where nothing varies, as in frames that are clipped throughout, a residual is 0.
    variance = np.maximum(np.array(curves), 1e-20)
    return NoiseCurve(torch.from_numpy(np.sqrt(variance)).float())


def _merged(
    count: NDArray[np.float64], square: NDArray[np.float64], sum_of_signal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean signal and variance at knots, neighbours put together until each has enough values."""
    held = np.cumsum(count)
    enough = min(float(FEWEST_AT_A_KNOT), float(held[-1]))
    part, start = np.zeros(len(count), np.int64), 0.0
    for index in range(1, len(count)):
        full = held[index - 1] - start >= enough and held[-1] - held[index - 1] >= enough
        part[index] = part[index - 1] + full
        start = held[index - 1] if full else start
    n, squares, signals = (np.bincount(part, values) for values in (count, square, sum_of_signal))
    return signals / n, squares / n
