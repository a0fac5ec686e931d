"""Splits by scene or by frame, never by patch."""

from collections.abc import Mapping, Sequence

import numpy as np

from noiseflow.core.errors import DataError
from noiseflow.patches.schema import SPLITS

__all__ = ["assign_splits"]


def assign_splits(
    groups: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
    published: Mapping[str, str | None] | None = None,
) -> dict[str, int]:
    """Assign each group to a split.

    Parameters
    ----------
    groups : sequence of str
        Names; the same name is the same group.
    fractions : tuple of float
        Of train, val and test; they add up to 1.
    seed : int
        Of the shuffle.
    published : mapping, optional
        Group → the split that its data set publishes, or None; such groups are not drawn.

    Returns
    -------
    dict
        Group → index in `SPLITS`.  With three groups or more no split of a positive
        fraction is empty; with two, one is for training and one for testing; a single
        one is for training.

    Examples
    --------
    >>> sorted(assign_splits(["a", "b", "c"], (0.8, 0.1, 0.1), seed=0).values())
    [0, 1, 2]
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"split fractions {fractions}: expected {len(SPLITS)} numbers of 0 or more that add up to 1")
    fixed = {name: split for name, split in (published or {}).items() if split is not None}
    wrong = sorted(set(fixed.values()) - set(SPLITS))
    if wrong:
        raise DataError(f"split {wrong[0]!r} is not known; expected one of {', '.join(SPLITS)}")
    given = {name: SPLITS.index(fixed[name]) for name in groups if name in fixed}
    names = sorted(set(groups) - given.keys())
    return {**given, **_drawn(names, fractions, seed)}


def _drawn(names: Sequence[str], fractions: tuple[float, float, float], seed: int) -> dict[str, int]:
    """Names → index in `SPLITS`, drawn."""
    if not names:
        return {}
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    if len(order) == 2:
        return {order[0]: 0, order[1]: 2}
    held_out = [0, *(max(1, round(part * len(order))) if part else 0 for part in fractions[1:])]
    if len(order) == 1:
        held_out = [0, 0, 0]
    held_out[0] = len(order) - sum(held_out)
    return dict(zip(order, np.repeat(range(len(SPLITS)), held_out).tolist(), strict=True))
