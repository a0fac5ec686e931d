"""Sampling speed of a model, and its loss of likelihood at an ISO that it was not fitted to."""

import time
from typing import Any

import numpy as np
import torch

from noiseflow.core.errors import ModelError, StoreError
from noiseflow.evaluate.statistics.intervals import LEVEL, Interval, bootstrap_ratio
from noiseflow.fit.batches import conditions_of
from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel
from noiseflow.patches import PatchStore

__all__ = ["iso_cost", "measured"]

SIDE = 512
"""Height and width of each plane of the frame that is timed, pixels."""

BATCH = 256
"""Patches scored at a time."""


def measured(model: NoiseModel, seed: int, repeats: int = 3) -> dict[str, float | None]:
    """Measure the sampling speed: the best time for one of several frames.

    Parameters
    ----------
    model : NoiseModel
        The model.
    seed : int
        Seed of the samples.
    repeats : int
        Number of frames.

    Returns
    -------
    dict
        Millions of mosaic pixels per second under ``mpix_per_s``; None if the model cannot sample a frame of this size.
    """
    clean = torch.linspace(0, 0.5, SIDE).expand(1, model.planes, SIDE, SIDE)
    cond = Conditions(clean, float(np.sqrt(np.prod(model.iso_range))), 0)
    generator = torch.Generator().manual_seed(seed)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        try:
            model.sample(cond, generator)
        except ModelError:
            return {"mpix_per_s": None}
        best = min(best, time.perf_counter() - began)
    return {"mpix_per_s": clean.numel() / best / 1e6}


@torch.no_grad()
def iso_cost(store: PatchStore, model: NoiseModel, without: NoiseModel, iso: float, split: str) -> dict[str, Any]:
    """Measure the loss of a model at an ISO that it was not fitted to.

    The loss is the NLL of the fit without that ISO minus the NLL of the full fit.

    Parameters
    ----------
    store : PatchStore
        Patches to score.
    model, without : NoiseModel
        The model fitted to all ISOs, and the one fitted to all but one.
    iso : float
        The ISO that was left out.
    split : str
        Split to score.

    Returns
    -------
    dict
        The ISO under ``iso``, and the mean difference under ``nats_per_dim``, as an `Interval` over scenes (frames
        if there is only one scene).

    Raises
    ------
    StoreError
        The split has no patch of that ISO.
    """
    rows = store.indices(split)
    rows = rows[store.table["iso"][rows] == iso]
    if not rows.size:
        raise StoreError(
            f"{store.path}: split {split!r} has no patch of ISO {iso:g}, which is to be left out; choose an ISO of the "
            "data"
        )
    costs = []
    for start in range(0, len(rows), BATCH):
        batch = store.read(rows[start : start + BATCH])
        cond = conditions_of(batch)
        costs.append((model.log_prob(batch.noise, cond) - without.log_prob(batch.noise, cond)).double().numpy())
    table = store.table[rows]
    column = "scene" if len(np.unique(table["scene"])) > 1 else "frame"
    _, group = np.unique(table[column], return_inverse=True)
    count = np.bincount(group).astype(np.float64) * float(np.prod(store.patch_shape))
    total = np.bincount(group, np.concatenate(costs)).astype(np.float64)
    cost: Interval = bootstrap_ratio(numerator=total, denominator=count, level=LEVEL)
    return {"iso": iso, "nats_per_dim": cost}
