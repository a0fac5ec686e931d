"""Whether codes at 0 stand for so many values below that a density of the integers is wrong."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.fit.discretised_objective import codes_of
from noiseflow.flows.conditions import Conditions
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["CENSORED", "away_from_the_clip", "censored_values"]

CENSORED = 3e-3
"""Part of the darkest values at code 0 from which these are censored: noise cut off at −2.7 σ loses 0.7 % of its
variance."""

DARKEST = 0.05
"""Part of the values of a camera at an ISO that are the darkest."""

CLIPPING = 0.999
"""Part of the values at code 0 that are as dark as those which are called clipped."""

FEWEST = 20_000
"""Values of a camera at an ISO that must be left away from the clip."""

PATCHES = 64
"""Patches of each camera and ISO that are looked at."""


def censored_values(store: Patches, rows: NDArray[np.int64], seed: int) -> str:
    """Name the camera and ISO whose dark values are clipped at code 0 most, as a clause; empty where none are.

    Parameters
    ----------
    store : Patches
        Patches that are fitted to.
    rows : ndarray of int
        Row numbers.
    seed : int
        Seed of the draw of patches.
    """
    table, rng = store.table[rows], np.random.default_rng(seed)
    worst, where = 0.0, ""
    for camera in np.unique(table["camera"]):
        of_camera = table["camera"] == camera
        for iso in np.unique(table["iso"][of_camera]):
            some = rows[of_camera & (table["iso"] == iso)]
            part = _darkest_at_zero(store, rng.permutation(some)[:PATCHES])
            if part > worst:
                worst, where = part, f"{store.cameras[camera]} at ISO {iso:g}"
    if worst < CENSORED:
        return ""
    return f"{100 * worst:.2g} % of the darkest values of {where} are at code 0, which stands for all values below it"


def away_from_the_clip(batch: PatchBatch, cond: Conditions) -> Conditions:
    """Conditions of patches in which values as dark as those at code 0 are masked.

    Clipped noise has a mean above 0, which the moments of rows take for an offset that rows share.  Nothing is
    masked where fewer than `FEWEST` values of a camera at an ISO would be left.

    Parameters
    ----------
    batch : PatchBatch
        Patches with codes that are clipped at 0.
    cond : Conditions
        Their conditions.
    """
    codes = codes_of(batch)[0]
    black, white = (torch.from_numpy(batch.table[name].astype(np.float64)) for name in ("black", "white"))
    level = black[:, :, None, None] + batch.clean * (white[:, None] - black)[:, :, None, None]
    at_zero = level[codes == 0] if cond.observed is None else level[(codes == 0) & cond.observed]
    if not len(at_zero):
        return cond
    light = level > float(np.quantile(at_zero.numpy(), CLIPPING))
    observed = light if cond.observed is None else light & cond.observed
    left = observed.sum((1, 2, 3))
    for camera, iso in {*zip(batch.camera.tolist(), batch.iso.tolist(), strict=True)}:
        if int(left[(batch.camera == camera) & (batch.iso == iso)].sum()) < FEWEST:
            return cond
    return replace(cond, observed=observed)


def _darkest_at_zero(store: Patches, rows: NDArray[np.int64]) -> float:
    """Part of the observed values of least clean signal whose code is 0."""
    batch = store.read(rows)
    codes, clean = codes_of(batch)[0].numpy().ravel(), batch.clean.numpy().ravel()
    if batch.observed is not None:
        seen = batch.observed.numpy().ravel()
        codes, clean = codes[seen], clean[seen]
    limit = np.quantile(clean, DARKEST)
    return float((codes[clean <= limit] == 0).mean())
