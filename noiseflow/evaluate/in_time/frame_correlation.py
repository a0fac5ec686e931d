"""Correlation of the noise in two frames, by their distance in time."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["LAGS", "FrameCorrelation", "correlation_at", "frame_correlation"]

LAGS = (1, 2, 5, 10, 20, 50)
"""Distances in frames."""


@dataclass(frozen=True)
class FrameCorrelation(Score):
    """Correlation of a pixel's noise in two frames.

    Parameters
    ----------
    lags : tuple of int
        Distances in frames.
    values : mapping of str to tuple of float
        Correlation at each lag, in the data and in each model's samples.
    """

    lags: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]


def frame_correlation(measured: MeasuredSequences) -> FrameCorrelation:
    """Compute the correlations at all of `LAGS` that are shorter than the sequence."""
    lags = tuple(lag for lag in LAGS if lag < measured.frames)
    values = {name: tuple(correlation_at(noise, lag) for lag in lags) for name, noise in measured.noise.items()}
    return FrameCorrelation(lags, values)


def correlation_at(noise: Tensor, lag: int) -> float:
    """Return Σ n_t·n_{t+lag} / ½ Σ (n_t² + n_{t+lag}²), as the mean of the noise is known to be 0.

    Parameters
    ----------
    noise : Tensor, shape (B, T, C, h, w)
        Noise of T frames.
    lag : int
        Distance in frames, less than T.
    """
    early, late = noise[:, :-lag].double(), noise[:, lag:].double()
    return float((early * late).sum() / (0.5 * (early.square().sum() + late.square().sum())))
