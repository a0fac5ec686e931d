"""Power spectra of patches, such that independent pixels have power 1."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["frequencies_of", "normalised", "power_of", "radial"]


def power_of(centred: Tensor) -> NDArray[np.float64]:
    """|FFT|² summed over patches and planes: (B, C, H, W) to (H, W // 2 + 1)."""
    total: NDArray[np.float64] = torch.fft.rfft2(centred).abs().square_().sum((0, 1)).double().numpy()
    return total


def normalised(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Power such that the mean over all frequencies but 0 is 1."""
    whole = np.full(power.shape[1], 2.0)
    whole[0] = 1
    if width % 2 == 0:
        whole[-1] = 1
    weights = np.broadcast_to(whole, power.shape).copy()
    weights[0, 0] = 0
    mean = float((power * weights).sum() / weights.sum())
    return power / mean if mean > 0 else np.zeros_like(power)


def radial(power: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean power by distance from frequency 0, the axes left out: they are the rows and columns."""
    height = power.shape[0]
    vertical, horizontal = np.abs(np.fft.fftfreq(height))[1:, None], np.fft.rfftfreq(width)[None, 1:]
    distance, inner = np.hypot(vertical, horizontal), power[1:, 1:]
    steps = max(min(height, width) // 2, 1)
    index = np.minimum((distance / 0.5 * steps).round().astype(np.int64), steps).ravel()
    counts = np.bincount(index, minlength=steps + 1)[1:]
    sums = np.bincount(index, inner.ravel(), minlength=steps + 1)[1:]
    mean: NDArray[np.float64] = sums / np.maximum(counts, 1)
    return mean


def frequencies_of(count: int) -> NDArray[np.float64]:
    """Frequencies of so many bins up to ½, cycles/pixel of a plane."""
    return np.linspace(0.5 / count, 0.5, count)
