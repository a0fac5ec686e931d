"""Find planes that differ in noise at the same light: each has a gain of its own, which one line does not describe."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from noiseflow.models.noise_statistics import local_mean
from noiseflow.patches.store.patches import PatchBatch

__all__ = ["unlike_planes"]

BINS, FEWEST = 64, 300
"""Number of bins of light, with equal numbers of values; fewest values of a plane in a bin."""

COMPARABLE = 0.1
"""A plane counts in a bin from this fraction of the values of the plane with most: the stars of a plane, which tremble,
are no match for the sky of another."""

UNLIKE, SURE = 1.15, 6.0
"""Ratio of variances at the same light from which planes are reported, and its standard errors from 1."""

MOST_VALUES = 1 << 21
"""Largest number of values that are compared; in 64 bins of four planes they know each ratio to 2 %."""

RARE = 16.0
"""Squares count up to this multiple of the mean square of their bin: particles, and pixels that jump."""

SHOWN = 4
"""Number of planes of which all are shown; of more, those with the least and the most noise."""

Array = NDArray[np.float64]


def unlike_planes(batch: PatchBatch, cameras: Sequence[str], planes: Sequence[str]) -> dict[str, list[str]]:
    """Say which cameras have planes that differ in noise variance at the same light.

    In bins b of light, log v(plane, b) = a_b + c_plane by weighted least squares; planes that share no light,
    directly or by others, are not compared.  A response that bends is the same for all planes.

    Parameters
    ----------
    batch : PatchBatch
        Training patches.
    cameras, planes : sequence of str
        Names.

    Returns
    -------
    dict of str to list of str
        Camera → one sentence for each ISO.
    """
    found: dict[str, list[str]] = {}
    if len(planes) < 2:
        return found
    some = slice(None, None, -(-batch.noise.numel() // MOST_VALUES))
    clean, of_camera, of_iso = batch.clean[some], batch.camera[some], batch.iso[some]
    estimated = torch.from_numpy(batch.table["clean_variance"][some] > 0)[:, None, None, None]
    light = torch.where(estimated, local_mean(clean, hollow=True), clean).double().numpy()
    square = batch.noise[some].double().square().numpy()
    seen = np.ones(light.shape, bool) if batch.observed is None else batch.observed[some].numpy()
    for camera, iso in sorted({(int(c), float(i)) for c, i in zip(of_camera, of_iso, strict=True)}):
        own = ((of_camera == camera) & (of_iso == iso)).numpy()
        if (words := _of_group(light[own], square[own], seen[own], planes)) is not None:
            found.setdefault(cameras[camera], []).append(f"camera {cameras[camera]!r}, ISO {iso:g}: {words}")
    return found


def _of_group(light: Array, square: Array, seen: NDArray[np.bool_], planes: Sequence[str]) -> str | None:
    edges = np.unique(np.quantile(light[seen], np.linspace(0, 1, BINS + 1)[1:-1]))
    plane = np.broadcast_to(np.arange(len(planes))[:, None, None], light.shape)[seen]
    place = np.searchsorted(edges, light[seen], side="right")
    values = square[seen]
    size = len(edges) + 1
    mean = np.bincount(place, values, size) / np.bincount(place, minlength=size).clip(1)
    values = np.minimum(values, RARE * mean[place])
    cell = plane * size + place
    weights = np.ones_like(values), values
    count, total = (np.bincount(cell, each, len(planes) * size).reshape(-1, size) for each in weights)
    kept = (count >= np.maximum(FEWEST, COMPARABLE * count.max(0))) & (total > 0)
    kept &= kept.sum(0) > 1
    # Planes that share no light, directly or by others, have no ratio.
    number, group = connected_components(kept.astype(np.int64) @ kept.T.astype(np.int64))
    sentences = (_of_planes(count, total, kept & (group == each)[:, None], planes) for each in range(number))
    return next((each for each in sentences if each is not None), None)


def _of_planes(count: NDArray[Any], total: NDArray[Any], kept: NDArray[np.bool_], planes: Sequence[str]) -> str | None:
    """Sentence about planes that share light, by the bins that are kept."""
    known = np.flatnonzero(kept.any(1))
    if len(known) < 2:
        return None
    ratio, covariance = _factors(count, total, kept, known)
    least, most = int(ratio.argmin()), int(ratio.argmax())
    step = ratio[most] - ratio[least]
    error = np.sqrt(covariance[most, most] + covariance[least, least] - 2 * covariance[most, least])
    if not step > max(np.log(UNLIKE), SURE * error):
        return None
    shown = range(len(known)) if len(known) <= SHOWN else (least, most)
    each = ", ".join(f"{planes[known[number]]} {np.exp(ratio[number] - ratio[least]):.3g}" for number in shown)
    return (
        f"planes differ in noise at the same light (variance, relative to the least: {each}): each has a gain of its "
        "own, as after a white balance of the codes, or with several converters. One line for all, as that of `nlf`, "
        "is the line of none, and K is no plane's; only `physics_flow` fits each plane"
    )


def _factors(
    count: NDArray[Any], total: NDArray[Any], kept: NDArray[np.bool_], known: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Log factor of each known plane and their covariance, (P,) and (P, P), by weighted least squares."""
    at, bins = np.nonzero(kept)
    rows = np.arange(len(at))
    design = np.zeros((len(at), len(known) + kept.shape[1]))
    design[rows, np.searchsorted(known, at)] = 1
    design[rows, len(known) + bins] = 1
    weight = np.sqrt(count[kept] / 2)
    inverse = np.linalg.pinv(design * weight[:, None])
    value = np.log(total[kept] / count[kept])
    solution = inverse @ (value * weight)
    free = max(len(at) - np.linalg.matrix_rank(design), 1)
    # Light differs within a bin, and tails scatter more than normal noise.
    chi2 = max(float(np.square((value - design @ solution) * weight).sum()) / free, 1.0)
    covariance = chi2 * inverse @ inverse.T
    return solution[: len(known)], covariance[: len(known), : len(known)]
