"""Correlation of frames by their distance in time."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["LAGS", "FrameCorrelation", "correlation_at", "frame_correlation"]

LAGS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class FrameCorrelation(Score):
    """Correlation of the noise of a pixel in two frames.

    Parameters
    ----------
    lags : tuple of int
        Distances in frames.
    values : mapping of str to tuple of float
        Correlation in the data and in each model's samples, for each lag.
    """

    lags: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]


def frame_correlation(measured: MeasuredSequences) -> FrameCorrelation:
    """Correlation at the lags that the sequence has."""
    lags = tuple(lag for lag in LAGS if lag < measured.frames)
    values = {name: tuple(correlation_at(noise, lag) for lag in lags) for name, noise in measured.noise.items()}
    return FrameCorrelation(lags, values)


def correlation_at(noise: Tensor, lag: int) -> float:
    """Σ n_t·n_{t+lag} over ½ Σ (n_t² + n_{t+lag}²), of noise (B, T, C, h, w); the mean is known to be 0."""
    early, late = noise[:, :-lag].double(), noise[:, lag:].double()
    return float((early * late).sum() / (0.5 * (early.square().sum() + late.square().sum())))
