"""Temporal spectrum of row means."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["RowSpectrum", "row_spectrum"]


@dataclass(frozen=True)
class RowSpectrum(Score):
    """Power of row means over temporal frequency.

    Parameters
    ----------
    frequencies : tuple of float
        Cycles per frame, from 0 (fixed pattern) to ½.
    power : mapping of str to tuple of float
        Relative power in the data and in each model's samples; 1 at all frequencies for independent pixels and frames.
    """

    frequencies: tuple[float, ...]
    power: Mapping[str, tuple[float, ...]]


def row_spectrum(measured: MeasuredSequences) -> RowSpectrum:
    """Compute the periodogram over the frames, averaged over the rows of all tiles."""
    frequencies = tuple(torch.fft.rfftfreq(measured.frames).tolist())
    return RowSpectrum(frequencies, {name: _power(noise) for name, noise in measured.noise.items()})


def _power(noise: Tensor) -> tuple[float, ...]:
    noise = noise.double()
    rows = noise.mean(-1)
    waves = torch.fft.rfft(rows, dim=1).abs().square().transpose(0, 1).flatten(1).mean(1)
    white = noise.square().mean() / noise.shape[-1] * noise.shape[1]
    return tuple((waves / white).tolist())
