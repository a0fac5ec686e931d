"""Choose the likelihood of a fit if the user has not: the probability of the integer codes, or their density."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.fit.batches import integer_codes
from noiseflow.fit.contradictions import Levels
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec
from noiseflow.models.noise_statistics import NoiseStatistics, local_mean
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["ObjectiveChoice", "away_from_the_clip", "censored_values", "choose_objective"]

ROUNDING = 1 / 12
"""Variance of rounding, DN²."""

COARSE = 0.02
"""Codes are coarse if rounding is more than this fraction of the variance, which means σ below 2.04 DN.

A density fitted to integers includes the rounding as noise.  Samples are rounded once more, so their variance is too
large by this fraction.
"""

ENOUGH = 0.05
"""σ in the dark is measured over the darkest cells with this fraction of a camera's values at an ISO."""

CENSORED = 3e-3
"""Dark values count as censored if this fraction of them is at code 0: cut off at −2.7 σ, noise loses 0.7 % of its
variance."""

DARKEST = 0.05
"""Fraction of the values of a camera at an ISO that count as the darkest."""

CLIPPING = 0.999
"""Values up to this quantile of the clean signal of values at code 0 are masked in the start."""

FEWEST = 20_000
"""Smallest number of values of a camera at an ISO that must remain after masking."""

PATCHES = 64
"""Number of patches of each camera and ISO that are checked for clipping."""


@dataclass(frozen=True)
class ObjectiveChoice:
    """An objective, and why it was chosen.

    Parameters
    ----------
    name : str
        ``"continuous"`` or ``"discretised"``.
    reason : str
        The reason, as a clause for the user.
    """

    name: str
    reason: str


def choose_objective(
    wanted: str,
    statistics: NoiseStatistics,
    levels: list[Levels],
    store: Patches,
    rows: NDArray[np.int64],
    *,
    seed: int,
    start: ModelSpec | None,
) -> tuple[ObjectiveChoice, str]:
    """Choose the objective of a fit; return it and a caution, which may be empty.

    ``"auto"`` uses the objective of the start.  Without a start it is the probability of the integers if codes are
    coarse or dark values are clipped at code 0, otherwise the density.

    Parameters
    ----------
    wanted : str
        ``"auto"``, ``"continuous"`` or ``"discretised"``.
    statistics : NoiseStatistics
        Statistics of the training data.
    levels : list of Levels
        One for each camera of the statistics.
    store : Patches
        Patches to fit.
    rows : ndarray of int
        Row numbers of the training data.
    seed : int
        Seed of the choice of patches to check.
    start : ModelSpec, optional
        Spec of the model from which the fit starts.
    """
    censored = "" if wanted == "discretised" else censored_values(store, rows, seed)
    if wanted != "auto":
        choice = ObjectiveChoice(wanted, "as set")
    elif start is not None:
        choice = ObjectiveChoice("discretised" if start.before_rounding else "continuous", "as that of the start")
    elif censored:
        choice = ObjectiveChoice("discretised", censored)
    else:
        choice = _by_coarseness(statistics, levels)
    if not censored or choice.name == "discretised":
        return choice, ""
    return choice, f"{censored}: a density fitted to them is biased; fit with the objective 'discretised'"


def _by_coarseness(statistics: NoiseStatistics, levels: list[Levels]) -> ObjectiveChoice:
    """Choose the probability of the integers if codes are coarse for any camera and ISO, otherwise the density.

    Codes are coarse if rounding is more than the fraction `COARSE` of the variance of the darkest values.

    Parameters
    ----------
    statistics : NoiseStatistics
        Statistics of the training data.
    levels : list of Levels
        One for each camera of the statistics.
    """
    finest: tuple[float, str] | None = None
    for camera, name in enumerate(statistics.cameras):
        span = levels[camera].white - levels[camera].black
        for index, iso in enumerate(statistics.isos):
            cells = statistics.of(camera, index)
            if not len(cells.count):
                continue
            order = cells.clean.argsort()
            count, square = cells.count[order], cells.square[order]
            darkest = int((count.cumsum(0) < ENOUGH * count.sum()).sum()) + 1
            variance = float((count * square)[:darkest].sum() / count[:darkest].sum()) * span**2
            if finest is None or variance < finest[0]:
                finest = variance, f"{name} at ISO {iso:g}"
    if finest is None:
        return ObjectiveChoice("continuous", "no values")
    variance, where = finest
    coarse = COARSE * variance < ROUNDING
    share = f"rounding is {ROUNDING / variance:.1%} of the variance" if variance > 0 else "the noise is below one code"
    return ObjectiveChoice(
        "discretised" if coarse else "continuous", f"σ is {variance**0.5:.2f} DN in the dark of {where}, {share}"
    )


def censored_values(store: Patches, rows: NDArray[np.int64], seed: int) -> str:
    """Describe the camera and ISO whose dark values are clipped most at code 0, as a clause; empty if none are.

    Parameters
    ----------
    store : Patches
        Patches to fit.
    rows : ndarray of int
        Row numbers.
    seed : int
        Seed of the choice of patches to check.
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
    return f"{100 * worst:.2g} % of the darkest values of {where} are clipped at code 0"


def away_from_the_clip(batch: PatchBatch, cond: Resolved) -> Resolved:
    """Mask values that are as dark as those at code 0.

    Clipped noise has a mean above 0, which looks like row noise in the moments of rows.  Nothing is masked if fewer
    than `FEWEST` values of a camera at an ISO would remain.

    Parameters
    ----------
    batch : PatchBatch
        Patches, of which some values are clipped at code 0.
    cond : Resolved
        Their conditions.

    Returns
    -------
    Resolved
        The conditions with a mask, or unchanged.
    """
    codes = integer_codes(batch)[0]
    black, white = (torch.from_numpy(batch.table[name].astype(np.float64)) for name in ("black", "white"))
    clean, estimated = batch.clean, torch.from_numpy(batch.table["clean_variance"] > 0)
    if estimated.any() and clean[0, 0].numel() > 1:
        # Chosen by its own noisy light, a value would be chosen by its noise.
        clean = torch.where(estimated[:, None, None, None], local_mean(clean, hollow=True), clean)
    level = black[:, :, None, None] + clean * (white[:, None] - black)[:, :, None, None]
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
    """Fraction of the darkest observed values whose code is 0."""
    batch = store.read(rows)
    codes, clean = integer_codes(batch)[0].numpy().ravel(), batch.clean.numpy().ravel()
    if batch.observed is not None:
        seen = batch.observed.numpy().ravel()
        codes, clean = codes[seen], clean[seen]
    limit = np.quantile(clean, DARKEST)
    return float((codes[clean <= limit] == 0).mean())
