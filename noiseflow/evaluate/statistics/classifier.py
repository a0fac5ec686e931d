"""A small classifier of real against sampled: linear, or with hinge functions where they pay."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "UNITS", "held_out_hits"]

Array = NDArray[np.float64]

FOLDS = 4
INNER = 2
"""Folds of the training groups, by which it is decided whether hinge functions pay."""

UNITS = 512
"""Hinge functions."""

RIDGES = {False: 1e-3, True: 0.1}
"""Added to the diagonal of the pooled correlation matrix, without and with hinge functions."""


def held_out_hits(real: Array, sampled: Array, group: NDArray[np.int64], *, hinges: bool | None = None) -> Array:
    """Of each pair, how many of the two a discriminant trained on other groups classifies correctly.

    Parameters
    ----------
    real, sampled : ndarray, shape (n, features)
        Pairs, of the same place.
    group : ndarray of int, shape (n,)
        Scene or frame of each row; a group is held out as a whole.
    hinges : bool, optional
        Whether it sees hinge functions of the features too.  None: as within the training
        groups it does better, so that what it is tried on has no say in it.

    Returns
    -------
    ndarray, shape (n,)
        0, 1 or 2; a value on the boundary counts ½.
    """
    hits = np.zeros(len(group))
    for train, test in _folds(group, FOLDS):
        pay = hinges
        if pay is None:
            linear, bent = (_inner(real[train], sampled[train], group[train], each) for each in (False, True))
            pay = bent > linear
        hits[test] = _hits(real, sampled, train, test, pay)
    return hits


def _inner(real: Array, sampled: Array, group: NDArray[np.int64], hinges: bool) -> float:
    return sum(float(_hits(real, sampled, *fold, hinges).sum()) for fold in _folds(group, INNER))


def _folds(group: NDArray[np.int64], folds: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Which rows to train on, and which to try, one fold after the other."""
    distinct = np.unique(group)
    if len(distinct) >= 2 * folds:
        fold = np.searchsorted(distinct, group) % folds
    else:
        # Blocks in stored order, since neighbours share their scene.
        fold = np.arange(len(group)) * folds // len(group)
    for number in range(folds):
        test = fold == number
        if test.any() and not test.all():
            yield ~test, test


def _hits(real: Array, sampled: Array, train: NDArray[np.bool_], test: NDArray[np.bool_], hinges: bool) -> Array:
    sides = real[train], sampled[train]
    middle = (sides[0].mean(0) + sides[1].mean(0)) / 2
    scale = np.maximum(np.sqrt((sides[0].var(0) + sides[1].var(0)) / 2), 1e-150)

    def seen(rows: Array) -> Array:
        rows = (rows - middle) / scale
        return np.concatenate([rows, _bent(rows)], 1) if hinges else rows

    direction, boundary = _discriminant(seen(sides[0]), seen(sides[1]), RIDGES[hinges])
    found = np.heaviside(seen(real[test]) @ direction - boundary, 0.5)
    return found + np.heaviside(boundary - seen(sampled[test]) @ direction, 0.5)


def _bent(rows: Array) -> Array:
    """max(0, a·xᵢ + b·xⱼ − t) for random pairs of features, of all half are of one feature; shape (n, UNITS)."""
    rng = np.random.default_rng(0)
    width = rows.shape[1]
    first, second = rng.integers(width, size=(2, UNITS))
    angle = rng.uniform(0, 2 * np.pi, UNITS)
    one = np.arange(UNITS) < UNITS // 2
    # One feature each, in turn, from both sides.
    first[one], angle[one] = np.arange(UNITS // 2) // 2 % width, np.arange(UNITS // 2) % 2 * np.pi
    threshold = rng.uniform(-1, 2, UNITS)
    bent: Array = np.maximum(rows[:, first] * np.cos(angle) + rows[:, second] * np.sin(angle) - threshold, 0)
    return bent


def _discriminant(real: Array, sampled: Array, ridge: float) -> tuple[Array, float]:
    """Fisher's direction, positive towards real, and the point half-way between the means."""
    means = real.mean(0), sampled.mean(0)
    within = (np.cov(real.T) + np.cov(sampled.T)) / 2
    deviation = np.sqrt(np.maximum(np.diag(within), 1e-300))
    correlation = within / np.outer(deviation, deviation) + ridge * np.eye(len(deviation))
    direction: Array = np.linalg.solve(correlation, (means[0] - means[1]) / deviation) / deviation
    return direction, float((means[0] + means[1]) @ direction / 2)
