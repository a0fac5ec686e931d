"""Differences of a pixel from one frame to the next, as by telegraph noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import DATA, Score

__all__ = ["EDGES", "Jumps", "jumps"]

EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
"""Lower edges of the bins, in σ of the data's differences."""


@dataclass(frozen=True)
class Jumps(Score):
    """Histogram of |n_t − n_{t−1}|.

    Parameters
    ----------
    sigma : float
        RMS of the data's differences n_t − n_{t−1}, normalised.
    edges : tuple of float
        Lower edges of the bins, in units of `sigma`; the last bin has no upper edge.
    parts : mapping of str to tuple of float
        Fraction of the differences in each bin, for the data and each model's samples.
    """

    sigma: float
    edges: tuple[float, ...]
    parts: Mapping[str, tuple[float, ...]]


def jumps(measured: MeasuredSequences) -> Jumps:
    """Compute the histogram over all pixels."""
    steps = {name: noise.diff(dim=1).abs() for name, noise in measured.noise.items()}
    sigma = float(steps[DATA].double().square().mean().sqrt())
    parts = {}
    for name, each in steps.items():
        above = [float((each >= edge * sigma).double().mean()) for edge in EDGES] + [0.0]
        parts[name] = tuple(low - high for low, high in pairwise(above))
    return Jumps(sigma, EDGES, parts)
