"""Integer codes of some training patches, from which models start."""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.fit.batches import Values, summed
from noiseflow.fit.discretised_objective import codes_of
from noiseflow.fit.objective_choice import away_from_the_clip
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["start_codes", "statistics_of_codes"]

START_CODES = 2**20
"""Number of values in a closed-form fit to integer codes, which determine σ to 0.1 %."""


def start_codes(store: Patches, rows: NDArray[np.int64], seed: int) -> tuple[Tensor, Resolved, Levels, PatchBatch]:
    """Codes to which a start is fitted, with their conditions, levels and patches.

    Parameters
    ----------
    store : Patches
        The patches.
    rows : ndarray of int
        Rows of its table to choose from.
    seed : int
        Seed of the choice.
    """
    most = max(1, START_CODES // math.prod(store.patch_shape))
    some = np.random.default_rng(seed).permutation(rows)[:most]
    batch = store.read(some)
    codes, cond, levels = codes_of(batch)
    if (batch.table["clean_variance"] > 0).any():
        # The mean of other frames lies above a signal at which they clip: neither mean nor variance is known there.
        cond = away_from_the_clip(batch, cond)
    return codes, cond, levels, batch


def statistics_of_codes(store: Patches, rows: NDArray[np.int64], seed: int) -> NoiseStatistics:
    """Statistics of the codes to which a line is fitted, for its errors.

    A code of 0 says on which side of it a value is, and of its variance next to nothing.
    """
    codes, cond, _, batch = start_codes(store, rows, seed)
    seen = codes > 0 if cond.observed is None else (codes > 0) & cond.observed
    light, clean, noise = (each.double() for each in (cond.clean, batch.clean, batch.noise))
    return summed(store, [Values(batch.camera, batch.iso.double(), light, clean, noise, seen)], len(batch.camera))
