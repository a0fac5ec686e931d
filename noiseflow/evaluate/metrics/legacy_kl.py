"""The KL estimators of the Noise Flow papers, as published: to compare with their tables, not to trust."""

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
FLOOR_SIGMA, FLOOR_VALUES, FLOOR_REPEATS = 0.02, 4096, 200


def patch_edges() -> NDArray[np.float64]:
    """Bin edges of the published figure: 64 of width 0.2/64 from −0.1 to 0.1, two open ones to ±1000."""
    inner = np.arange(-0.1, 0.1 + 1e-9, 0.2 / 64)
    return np.concatenate(([-1000.0], inner, [1000.0]))


def unit_edges() -> NDArray[np.float64]:
    """Bin edges of the other published script: 1,000 of width 0.001 from 0 to 1; no noise below 0 is seen."""
    return np.arange(0.0, 1.0 + 0.001, 0.001)


def published_kl(real: NDArray[np.float64], sampled: NDArray[np.float64], *, edges: NDArray[np.float64]) -> float:
    """Forward KL as published: Σ p log(p/q) over the bins that neither histogram leaves empty.

    p and q are counts over the number of *all* values, those outside the edges too.  Bins
    where either is 0 are dropped, and with them what differs most; nothing is smoothed.

    Parameters
    ----------
    real, sampled : ndarray
        Values of p and q, of any shape.
    edges : ndarray, shape (B + 1,)
        `patch_edges` or `unit_edges`.

    Returns
    -------
    float
        Nats.  It can be negative, and 0.0 if no bin is left.

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
            raise DataError("published KL: expected finite values, at least one; got none, or NaN")
    return _without_empty_bins(*(np.histogram(values, edges)[0] / values.size for values in (real, sampled)))


def _without_empty_bins(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    both = (p > 0) & (q > 0)
    return float(np.sum(p[both] * np.log(p[both] / q[both])))


def gaussian_floor(*, sigma: float, values: int, repeats: int, seed: int) -> NDArray[np.float64]:
    """Published KL between two samples of the *same* Gaussian, for each of so many pairs."""
    rng, edges = np.random.default_rng(seed), patch_edges()
    pairs = sigma * rng.normal(size=(repeats, 2, values))
    return np.array([published_kl(real, sampled, edges=edges) for real, sampled in pairs])


@dataclass(frozen=True)
class LegacyKl(Score):
    """Published estimators, beside their floors.

    Parameters
    ----------
    patches : int
        Number of patches.
    floor : float
        Published KL of two samples of one Gaussian, 4,096 values each, σ = 0.02; on average.
    floor_range : tuple of float
        Range that holds 95 % of such pairs.
    floor_here : float
        The same with this data's σ and number of values in a patch.
    per_patch, unit : mapping of str to float
        Mean over patches of the one estimator; the other over all values together.
    """

    patches: int
    floor: float
    floor_range: tuple[float, float]
    floor_here: float
    per_patch: Mapping[str, float]
    unit: Mapping[str, float]


class LegacyKlMetric(Metric):
    """Patches' published KL, and histograms over [0, 1]."""

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
        """Means over patches, and the KL over [0, 1]."""
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
