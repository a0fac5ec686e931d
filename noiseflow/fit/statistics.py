"""Gather a store's sufficient statistics in one pass."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.models.statistics import NoiseStatistics, signal_bins
from noiseflow.patches.mix import Patches
from noiseflow.progress import Progress, silent

__all__ = ["BINS", "gather"]

BATCH = 256
BINS = 512
"""Signal cells per camera and ISO, even in the root of the signal: with white at 16383 DN
above black the first above black ends at 0.06 DN."""


def gather(store: Patches, rows: NDArray[Any] | None = None, progress: Progress = silent) -> NoiseStatistics:
    """Sum noise and signal over patches.

    Parameters
    ----------
    store : PatchStore or StoreMix
    rows : ndarray of int, optional
        Which patches; those of the split ``train`` if None.
    progress : Progress
        Told of patches done.

    Returns
    -------
    NoiseStatistics
        One cell for each camera, ISO and signal bin that holds a value.
    """
    isos = torch.tensor(store.isos, dtype=torch.float64)
    cells = len(store.cameras) * len(isos) * BINS
    sums = torch.zeros(4, cells, dtype=torch.float64)
    rows, done = store.indices("train") if rows is None else rows, 0
    for start in range(0, len(rows), BATCH):
        batch = store.read(rows[start : start + BATCH], torch.float64)
        iso_index = torch.searchsorted(isos, batch.iso)
        group = (batch.camera * len(isos) + iso_index)[:, None, None, None]
        cell = (group * BINS + signal_bins(batch.clean, BINS)).flatten()
        noise, clean = batch.noise.flatten(), batch.clean.flatten()
        for row, values in zip(sums, _moments(noise, clean), strict=True):
            row.index_add_(0, cell, values)
        done += len(batch.camera)
        progress(done, len(rows), "statistics")
    index = torch.nonzero(sums[0])[:, 0]
    count = sums[0, index]
    camera, rest = index // (len(isos) * BINS), index % (len(isos) * BINS)
    clean, mean, square = (row[index] / count for row in sums[1:])
    return NoiseStatistics(camera, rest // BINS, count, clean, mean, square, store.cameras, store.isos)


def _moments(noise: Tensor, clean: Tensor) -> tuple[Tensor, ...]:
    return torch.ones_like(noise), clean, noise, noise.square()
