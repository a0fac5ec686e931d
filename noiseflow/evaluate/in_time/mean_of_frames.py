"""Variance of the mean of n frames, which shows where averaging more frames stops helping."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import Score

__all__ = ["COUNTS", "MeanOfFrames", "mean_of_frames", "variance_of_mean"]

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of frames averaged."""


@dataclass(frozen=True)
class MeanOfFrames(Score):
    """Mean square of the mean of n successive frames, relative to that of one frame of the data.

    Parameters
    ----------
    counts : tuple of int
        Numbers of frames n.
    values : mapping of str to tuple of float
        Relative variance for each n, of the data and of each model's samples; 1/n for independent frames.
    """

    counts: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]


def mean_of_frames(measured: MeasuredSequences) -> MeanOfFrames:
    """Compute the variances for all of `COUNTS` up to the length of the sequence."""
    counts = tuple(count for count in COUNTS if count <= measured.frames)
    one = variance_of_mean(next(iter(measured.noise.values())), 1)
    values = {
        name: tuple(variance_of_mean(noise, count) / one for count in counts) for name, noise in measured.noise.items()
    }
    return MeanOfFrames(counts, values)


def variance_of_mean(noise: Tensor, count: int) -> float:
    """Return the mean square of means of successive frames, as the mean of the noise is known to be 0.

    Parameters
    ----------
    noise : Tensor, shape (B, T, C, h, w)
        Noise of T frames.
    count : int
        Number of frames averaged, at most T.
    """
    groups = noise.shape[1] // count
    means = noise[:, : groups * count].double().reshape(len(noise), groups, count, -1).mean(2)
    return float(means.square().mean())
