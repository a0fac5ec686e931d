"""Find light that changes from row to row: a lamp that flickers, under a rolling shutter."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noiseflow.fit.residue.relative_noise import RelativeNoise

__all__ = ["light_of_rows"]

Array = NDArray[np.float64]

GROUP = 8
"""Number of successive rows of a plane that may have the same light, and are one of the units for errors."""

UNITS = 16
"""Fewest units of two patches or more."""

SURE, SCATTER = 6.0, 4.0
"""A change of light is reported if its variance is so many errors by chance, and by its scatter between units."""

LEAST = 0.03
"""Smallest share of the noise variance for a report."""


def light_of_rows(noise: RelativeNoise) -> Iterator[str]:
    """Yield a sentence if rows have noise in proportion to their light.

    Noise of a row is f·light + o, with a factor f of the light and an offset o.  Of two patches on the same row, the
    means m of noise over σ have products with the mean f²·q·q' + o²·s·s', where q is light over σ and s is 1/σ: what
    moves, or is noise of pixels, is not in both.  Weighted sums of these products give the variances of f and of o.
    The light of a whole frame is subtracted before.

    Parameters
    ----------
    noise : RelativeNoise
        Noise of a camera.
    """
    count = noise.seen.sum((1, 3)).clip(1)
    mean, light = (each.sum((1, 3), dtype=np.float64) / count for each in (noise.value, noise.light))
    # 1/σ, in units of that of the read noise.
    inverse = np.where(noise.seen, np.sqrt(1 - noise.shot), 0).sum((1, 3)) / count
    over, power = (np.bincount(noise.frame, each.sum(1)) for each in (mean * light, light**2))
    mean -= (over / power.clip(1e-300))[noise.frame, None] * light
    bands = np.unique(np.stack([noise.frame, noise.place[:, 1]], 1), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(bands, kind="stable")
    patches = np.bincount(bands)
    starts = patches.cumsum() - patches

    def products(values: Array) -> Array:
        """Sum over pairs of patches in one band, and over the rows of a unit; shape (units,)."""
        sums, squares = (np.add.reduceat(each[order], starts) for each in (values, values**2))
        pairs = (sums**2 - squares)[patches > 1]
        return np.add.reduceat(pairs, range(0, pairs.shape[1], GROUP), 1).ravel()

    found = np.stack([products(mean * light), products(mean * inverse)], 1)
    if len(found) < UNITS:
        return

    def matrices(weight: Array | float) -> Array:
        both = products(weight * light * inverse)
        return np.stack([products(weight * light**2), both, both, products(weight * inverse**2)], 1).reshape(-1, 2, 2)

    normal, chance = matrices(1.0), 2 * matrices(1 / count).sum(0)
    inverted = np.linalg.pinv(normal.sum(0))
    whole = inverted @ found.sum(0)
    # Without each unit in turn: the jackknife needs no law of the rows.
    each = (np.linalg.pinv(normal.sum(0) - normal) @ (found.sum(0) - found)[..., None])[:, 0, 0]
    scatter = math.sqrt((len(each) - 1) * float(each.var()))
    error = math.sqrt(max(float(inverted[0] @ chance @ inverted[0]), 0.0))
    share = float(whole[0]) * float(np.square(noise.light).sum() / noise.seen.sum())
    if whole[0] > max(SURE * error, SCATTER * scatter) and share > LEAST:
        yield (
            f"the light of rows changes by {100 * math.sqrt(whole[0]):.2g} % from row to row and frame to frame, "
            f"{100 * share:.2g} % of the noise variance: a lamp that flickers, under a rolling shutter. The gain comes "
            "out too large. Expose for whole periods of the lamp, use steady light, or fit `physics_flow`, which has "
            "rows that follow the light"
        )
