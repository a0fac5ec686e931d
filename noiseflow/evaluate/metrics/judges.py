"""Stronger two-sample tests: whether any of several classifiers can distinguish real from sampled patches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.judges.judge import JUDGES, Judge
from noiseflow.evaluate.metric import DATA, Metric, Score, ScoredBatch, Setup
from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums

__all__ = ["FEWEST", "LEVEL", "Judges", "JudgesMetric", "accuracy_of"]

FEWEST = 100
"""Fewest patches for the judges."""

LEVEL = 1 - (1 - VERDICT) / len(JUDGES)
"""Confidence level of a judge's interval: all judges together flag the right model as often as one other check."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judges(Score):
    """Held-out accuracy of each judge.

    Parameters
    ----------
    patches : int
        Number of real patches, and of sampled ones.
    accuracy : mapping of str to mapping of str to Interval
        Per judge and per model, fraction of patches classified correctly; ½ is chance.  Empty if there are fewer than
        `FEWEST` patches.
    """

    patches: int
    accuracy: Mapping[str, Mapping[str, Interval]]


class JudgesMetric(Metric):
    """Features of the close patches for each judge, of the data and of the model under test only, to save time."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.seen: dict[str, dict[str, list[NDArray[np.float32]]]] = {
            judge: {source: [] for source in (DATA, setup.models[0])} for judge in JUDGES
        }
        self.group: list[NDArray[np.int64]] = []

    def update(self, batch: ScoredBatch) -> None:
        """Add the close patches of a batch."""
        chosen = np.flatnonzero(batch.close)
        if not len(chosen):
            return
        brightness = batch.clean[chosen].mean((1, 2, 3))
        for judge, seen in self.seen.items():
            for source, rows in seen.items():
                rows.append(JUDGES[judge].seen(batch.residual[source][chosen], brightness).float().numpy())
        self.group.append(batch.group[chosen])

    def score(self) -> Judges:
        """Return the held-out accuracy of each judge."""
        group = np.concatenate(self.group) if self.group else np.zeros(0, np.int64)
        accuracy: dict[str, dict[str, Interval]] = {}
        for judge, seen in self.seen.items():
            if len(group) < FEWEST:
                break
            rows = {source: np.concatenate(parts) for source, parts in seen.items()}
            valid = np.logical_and.reduce([np.isfinite(each).reshape(len(group), -1).all(1) for each in rows.values()])
            accuracy[judge] = {
                name: accuracy_of(JUDGES[judge], rows[DATA][valid], rows[name][valid], group[valid])
                for name in self.setup.models[:1]
            }
        return Judges(len(group), accuracy)


def accuracy_of(
    judge: Judge, real: NDArray[np.float32], sampled: NDArray[np.float32], group: NDArray[np.int64]
) -> Interval:
    """Compute the held-out accuracy of a judge, with an interval over groups.

    Parameters
    ----------
    judge : Judge
        The classifier.
    real, sampled : ndarray, shape (n, …)
        Its features of n pairs of patches at the same places.
    group : ndarray of int, shape (n,)
        Scene or frame of each pair.

    Returns
    -------
    Interval
        Fraction of patches classified correctly.
    """
    hits = judge.hits(real.astype(np.float64), sampled.astype(np.float64), group)
    count = np.bincount(group).astype(np.float64)
    return ratio_of_sums(numerator=np.bincount(group, hits).astype(np.float64), denominator=2 * count, level=LEVEL)
