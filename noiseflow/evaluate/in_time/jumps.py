"""How far pixels jump from one frame to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from noiseflow.evaluate.in_time.measured import MeasuredSequences
from noiseflow.evaluate.metric import DATA, Score

__all__ = ["EDGES", "Jumps", "jumps"]

EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
"""In σ of the data's jumps."""


@dataclass(frozen=True)
class Jumps(Score):
    """Histogram of |n_t − n_{t−1}|.

    Parameters
    ----------
    sigma : float
        σ of the data's jumps, normalised.
    edges : tuple of float
        Lower edges of the bins, in σ; the last bin has no upper edge.
    parts : mapping of str to tuple of float
        Part of the jumps in each bin, of the data and of each model.
    """

    sigma: float
    edges: tuple[float, ...]
    parts: Mapping[str, tuple[float, ...]]


def jumps(measured: MeasuredSequences) -> Jumps:
    """Histogram of the jumps of all pixels."""
    steps = {name: noise.diff(dim=1).abs() for name, noise in measured.noise.items()}
    sigma = float(steps[DATA].double().square().mean().sqrt())
    parts = {}
    for name, each in steps.items():
        above = [float((each >= edge * sigma).double().mean()) for edge in EDGES] + [0.0]
        parts[name] = tuple(low - high for low, high in pairwise(above))
    return Jumps(sigma, EDGES, parts)
