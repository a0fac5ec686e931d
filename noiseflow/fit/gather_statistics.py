"""Sufficient statistics of a store, in one pass."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.progress import Progress, silent
from noiseflow.models.noise_statistics import NoiseStatistics, signal_bins
from noiseflow.patches.store.patches import Patches

__all__ = ["BINS", "Values", "gather", "summed"]

BATCH = 256
BINS = 512
"""Signal bins per camera and ISO, evenly spaced in the square root of the signal: with white 16383 DN above
black, the first bin above black ends at 0.06 DN."""


def gather(store: Patches, rows: NDArray[Any] | None = None, progress: Progress = silent) -> NoiseStatistics:
    """Sum noise and signal over patches.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    rows : ndarray of int, optional
        Row numbers of the patches; the split ``train`` if None.
    progress : Progress
        Called after each batch, with patches done.

    Returns
    -------
    NoiseStatistics
        One cell for each camera, ISO and signal bin that holds a value.
    """
    rows = store.indices("train") if rows is None else rows

    def batches() -> Iterator[Values]:
        for start in range(0, len(rows), BATCH):
            batch = store.read(rows[start : start + BATCH], torch.float64)
            yield Values(batch.camera, batch.iso, batch.clean, batch.clean, batch.noise)

    return summed(store, batches(), len(rows), progress)


class Values(NamedTuple):
    """Values of a batch of patches, float64: camera and ISO (B,), the others (B, C, h, w).

    `by` is the signal that decides the bin of a value; `clean` itself if that is known.
    """

    camera: Tensor
    iso: Tensor
    by: Tensor
    clean: Tensor
    noise: Tensor


def summed(store: Patches, batches: Iterable[Values], total: int, progress: Progress = silent) -> NoiseStatistics:
    """Sum batches into cells of camera, ISO and signal bin; `total` is the number of patches, for `progress`."""
    isos = torch.tensor(store.isos, dtype=torch.float64)
    cells = len(store.cameras) * len(isos) * BINS
    sums = torch.zeros(4, cells, dtype=torch.float64)
    done = 0
    for batch in batches:
        iso_index = torch.searchsorted(isos, batch.iso)
        group = (batch.camera * len(isos) + iso_index)[:, None, None, None]
        cell = (group * BINS + signal_bins(batch.by, BINS)).flatten()
        noise, clean = batch.noise.flatten(), batch.clean.flatten()
        for row, values in zip(sums, (torch.ones_like(noise), clean, noise, noise.square()), strict=True):
            row.index_add_(0, cell, values)
        done += len(batch.camera)
        progress(done, total, "statistics")
    index = torch.nonzero(sums[0])[:, 0]
    count = sums[0, index]
    camera, rest = index // (len(isos) * BINS), index % (len(isos) * BINS)
    clean, mean, square = (row[index] / count for row in sums[1:])
    return NoiseStatistics(camera, rest // BINS, count, clean, mean, square, store.cameras, store.isos)
