"""Gather a store's sufficient statistics in one pass."""

import torch
from torch import Tensor

from noiseflow.models.statistics import NoiseStatistics, signal_bins
from noiseflow.patches.mix import Patches
from noiseflow.progress import Progress, silent

__all__ = ["BINS", "gather"]

BINS = 512
"""Signal cells per camera and ISO, even in the root of the signal: with white at 16383 DN
above black the first above black ends at 0.06 DN."""


def gather(store: Patches, split: str = "train", progress: Progress = silent) -> NoiseStatistics:
    """Sum noise and signal over all patches of a split.

    Parameters
    ----------
    store : PatchStore or StoreMix
    split : str
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
    total, done = len(store.indices(split)), 0
    for batch in store.batches(split, dtype=torch.float64):
        iso_index = torch.searchsorted(isos, batch.iso)
        group = (batch.camera * len(isos) + iso_index)[:, None, None, None]
        cell = (group * BINS + signal_bins(batch.clean, BINS)).flatten()
        noise, clean = batch.noise.flatten(), batch.clean.flatten()
        for row, values in zip(sums, _moments(noise, clean), strict=True):
            row.index_add_(0, cell, values)
        done += len(batch.camera)
        progress(done, total, "statistics")
    index = torch.nonzero(sums[0])[:, 0]
    count = sums[0, index]
    camera, rest = index // (len(isos) * BINS), index % (len(isos) * BINS)
    clean, mean, square = (row[index] / count for row in sums[1:])
    return NoiseStatistics(camera, rest // BINS, count, clean, mean, square, store.cameras, store.isos)


def _moments(noise: Tensor, clean: Tensor) -> tuple[Tensor, ...]:
    return torch.ones_like(noise), clean, noise, noise.square()
