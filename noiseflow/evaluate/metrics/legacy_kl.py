"""The KL estimators of the Noise Flow papers as published, for comparison with their tables only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup, seed_for

__all__ = ["LegacyKl", "LegacyKlMetric", "gaussian_floor", "patch_edges", "published_kl", "unit_edges"]

MOST_PATCHES = 512
"""Largest number of patches scored."""

FLOOR_SIGMA, FLOOR_VALUES, FLOOR_REPEATS = 0.02, 4096, 200
"""σ, number of values, and number of pairs of the Gaussian samples that show the estimator's floor."""


def patch_edges() -> NDArray[np.float64]:
    """Return the bin edges of the published figure: 64 bins of width 0.2/64 from −0.1 to 0.1, and two to ±1000."""
    inner = np.arange(-0.1, 0.1 + 1e-9, 0.2 / 64)
    return np.concatenate(([-1000.0], inner, [1000.0]))


def unit_edges() -> NDArray[np.float64]:
    """Return the bin edges of the other published script: bins of width 0.001 from 0 to 1, which ignore negative noise.

    Returns
    -------
    ndarray, shape (B + 1,)
        Edges, normalised.
    """
    return np.arange(0.0, 1.0 + 0.001, 0.001)


def published_kl(real: NDArray[np.float64], sampled: NDArray[np.float64], *, edges: NDArray[np.float64]) -> float:
    """Compute the forward KL as published: Σ p log(p/q) over the bins in which neither histogram is empty.

    p and q are counts divided by the number of *all* values, including those outside the edges.  Bins
    where either is 0 are dropped, although they differ most, and nothing is smoothed.

    Parameters
    ----------
    real, sampled : ndarray, any shape
        Normalised values of p and q.
    edges : ndarray, shape (B + 1,)
        Edges of the bins: `patch_edges` or `unit_edges`.

    Returns
    -------
    float
        KL, nats.  It can be negative; 0.0 if no bin is left.

    Raises
    ------
    DataError
        No values, or NaN among them.

    References
    ----------
    Abdelhamed, Brubaker, Brown: Noise Flow, ICCV 2019, section 5; the authors' code.
    """
    for values in (real, sampled):
        if not values.size or not np.isfinite(values).all():
            raise DataError(
                f"published KL: expected at least one value, all finite; got {values.size} values, "
                f"{int(np.isfinite(values).sum())} of them finite"
            )
    return _without_empty_bins(*(np.histogram(values, edges)[0] / values.size for values in (real, sampled)))


def _without_empty_bins(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Return Σ p log(p/q) over the bins in which neither is 0, nats."""
    both = (p > 0) & (q > 0)
    return float(np.sum(p[both] * np.log(p[both] / q[both])))


def gaussian_floor(*, sigma: float, values: int, repeats: int, seed: int) -> NDArray[np.float64]:
    """Compute the published KL between pairs of samples from the *same* Gaussian.

    Parameters
    ----------
    sigma : float
        Standard deviation, normalised.
    values : int
        Number of values in each sample.
    repeats : int
        Number of pairs.
    seed : int
        Seed of the samples.

    Returns
    -------
    ndarray, shape (repeats,)
        KL of each pair, nats.
    """
    rng, edges = np.random.default_rng(seed), patch_edges()
    pairs = sigma * rng.normal(size=(repeats, 2, values))
    return np.array([published_kl(real, sampled, edges=edges) for real, sampled in pairs])


@dataclass(frozen=True)
class LegacyKl(Score):
    """Published KL estimators, with their floors.

    Parameters
    ----------
    patches : int
        Number of patches.
    floor : float
        Mean published KL of two samples from one Gaussian of σ = 0.02, with 4,096 values each, nats.
    floor_range : tuple of (float, float)
        Range that contains 95 % of such pairs, nats.
    floor_here : float
        The mean with σ and number of values per patch of this data, nats.
    per_patch, unit : mapping of str to float
        Mean over patches of the estimator with `patch_edges`, and the estimator with `unit_edges` over all values
        together, nats, per model.
    """

    patches: int
    floor: float
    floor_range: tuple[float, float]
    floor_here: float
    per_patch: Mapping[str, float]
    unit: Mapping[str, float]


class LegacyKlMetric(Metric):
    """Published KL of each patch, and histograms over [0, 1]."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        close = np.flatnonzero(setup.survey.close)
        most = min(MOST_PATCHES, len(close))
        self.chosen = close[np.linspace(0, len(close) - 1, most).round().astype(np.int64)]
        self.per_patch: dict[str, list[float]] = {name: [] for name in setup.models}
        self.counts = {name: np.zeros(len(unit_edges()) - 1) for name in setup.sources}
        self.values = 0

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        wanted, edges = np.flatnonzero(np.isin(batch.number, self.chosen)), patch_edges()
        if not len(wanted):
            return
        noise = {name: values[torch.from_numpy(wanted)].double().numpy() for name, values in batch.noise.items()}
        self.values += noise[DATA].size
        for name, values in noise.items():
            self.counts[name] += np.histogram(values, unit_edges())[0]
            if name != DATA:
                self.per_patch[name] += [
                    published_kl(real, sampled, edges=edges) for real, sampled in zip(noise[DATA], values, strict=True)
                ]

    def score(self) -> LegacyKl:
        """Return means over patches, and the KL over [0, 1]."""
        whole = self.setup.survey.whole
        size = math.prod(self.setup.survey.patch_shape)
        seed = seed_for(self.setup.seed, "legacy floor", DATA)
        floor = gaussian_floor(sigma=FLOOR_SIGMA, values=FLOOR_VALUES, repeats=FLOOR_REPEATS, seed=0)
        here = gaussian_floor(sigma=whole.noise_deviation, values=size, repeats=FLOOR_REPEATS, seed=seed)
        low, high = np.quantile(floor, [0.025, 0.975])
        return LegacyKl(
            patches=len(self.chosen),
            floor=float(floor.mean()),
            floor_range=(float(low), float(high)),
            floor_here=float(here.mean()),
            per_patch={name: float(np.mean(values)) for name, values in self.per_patch.items()},
            unit={name: self._over_unit(name) for name in self.setup.models},
        )

    def _over_unit(self, name: str) -> float:
        return _without_empty_bins(*(self.counts[source] / self.values for source in (DATA, name)))
