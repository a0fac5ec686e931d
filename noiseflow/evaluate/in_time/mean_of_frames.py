"""Variance of the mean of n frames: whether averaging stops helping where it does for the camera."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["COUNTS", "MeanOfFrames", "mean_of_frames", "variance_of_mean"]

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class MeanOfFrames(Score):
    """Mean square of the mean of n successive frames, over that of one frame of the data.

    Parameters
    ----------
    counts : tuple of int
        n.
    values : mapping of str to tuple of float
        Variance in the data and in each model's samples, for each n; 1/n where nothing is remembered.
    """

    counts: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]


def mean_of_frames(measured: MeasuredSequences) -> MeanOfFrames:
    """Variances up to the length of the sequence."""
    counts = tuple(count for count in COUNTS if count <= measured.frames)
    one = variance_of_mean(next(iter(measured.noise.values())), 1)
    values = {
        name: tuple(variance_of_mean(noise, count) / one for count in counts) for name, noise in measured.noise.items()
    }
    return MeanOfFrames(counts, values)


def variance_of_mean(noise: Tensor, count: int) -> float:
    """Mean square of means of `count` successive frames, of noise (B, T, C, h, w); the mean is known to be 0."""
    groups = noise.shape[1] // count
    means = noise[:, : groups * count].double().reshape(len(noise), groups, count, -1).mean(2)
    return float(means.square().mean())
