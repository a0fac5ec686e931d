"""How a fit reads the patches of a store: training and held-out rows, whole sensor rows, batches, statistics."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.progress import Progress, silent
from noiseflow.fit.signal_of_few_frames import signal_of
from noiseflow.fit.training.objective import StepPosition
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.noise_statistics import NoiseStatistics, local_mean, signal_bins
from noiseflow.patches.schema import SPLITS
from noiseflow.patches.store.patches import PatchBatch, Patches
from noiseflow.patches.store.sampling_order import epoch_order

__all__ = [
    "BINS",
    "PatchBatches",
    "Values",
    "bands_of",
    "conditions_of",
    "gather",
    "integer_codes",
    "places_of",
    "summed",
    "train_and_held_out",
    "whole_bands",
]

HELD_OUT_PART = 0.1
"""Fraction of the scenes that is held out if a store has no split ``val``."""

BAND = ("scene", "source", "frame", "y")
"""Columns of a store's table that are equal for patches of one band."""

BATCH = 256
"""Number of patches read at a time for statistics."""
BINS = 512
"""Number of signal bins per camera and ISO, evenly spaced in the square root of the signal; if white is 16383 DN
above black, the first bin above black ends at 0.06 DN."""


def integer_codes(batch: PatchBatch) -> tuple[Tensor, Levels]:
    """Integer codes of a batch in DN, (B, C, H, W), float64, and their levels."""
    levels = Levels.of(batch.table)
    return levels.codes(batch.noise, batch.clean), levels


def conditions_of(batch: PatchBatch, device: torch.device | str = "cpu") -> Resolved:
    """Conditions of a batch of patches on a device; the store's camera indices must be the model's.

    Where the clean signal is a mean of few frames, it is that of `signal_of_few_frames`, which is hardly correlated
    with the noise.
    """
    clean, iso, camera = (each.to(device, non_blocking=True) for each in (signal_of(batch), batch.iso, batch.camera))
    observed = None if batch.observed is None else batch.observed.to(device, non_blocking=True)
    return Resolved(clean, iso, camera, observed)


def train_and_held_out(store: Patches, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the rows to train on and the rows to validate on.

    These are the splits ``train`` and ``val``.  Without a split ``val``, a tenth of the scenes of ``train``
    is held out, or a tenth of the frames if there is only one scene.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches with the split ``train``.
    most : int
        Largest number of patches to hold out; if there are more, they are drawn at random.
    seed : int
        Seed of the draws.

    Returns
    -------
    train, held_out : ndarray of int
        Row numbers in ascending order.

    Raises
    ------
    StoreError
        If there is no patch to train on, or none to hold out.
    """
    train = store.indices("train")
    if (store.table["split"] == SPLITS.index("val")).any():
        held_out = store.indices("val")
    else:
        table = store.table[train]
        groups = table["scene" if len(np.unique(table["scene"])) > 1 else "frame"]
        names = np.unique(groups)
        if len(names) < 2:
            store.indices("val")
        count = max(1, round(HELD_OUT_PART * len(names)))
        out = np.isin(groups, np.random.default_rng(seed).choice(names, count, replace=False))
        train, held_out = train[~out], train[out]
    if len(held_out) > most:
        held_out = np.sort(np.random.default_rng(seed).choice(held_out, most, replace=False))
    return train, held_out


def bands_of(store: Patches, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Band number of each patch, shape (N,); a band is the patches on the same sensor rows of one frame.

    Patches of one band share row noise.

    Parameters
    ----------
    store : Patches
        The patches.
    rows : ndarray of int, shape (N,)
        Row numbers.
    """
    columns = np.stack([store.table[name][rows].astype(np.int64) for name in BAND])
    return np.asarray(np.unique(columns, axis=1, return_inverse=True)[1], np.int64).ravel()


def places_of(store: Patches, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frame number and topmost row (in pixels of a plane) of each patch, shape (N, 2); equal pairs form a band.

    Parameters
    ----------
    store : Patches
        The patches.
    rows : ndarray of int, shape (N,)
        Row numbers.
    """
    columns = np.stack([store.table[name][rows].astype(np.int64) for name in BAND])
    frame = np.unique(columns[:-1], axis=1, return_inverse=True)[1]
    return np.stack([np.asarray(frame, np.int64).ravel(), columns[-1]], 1)


def whole_bands(store: Patches, rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Draw about `most` patches in whole bands.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to draw from.
    rows : ndarray of int
        Row numbers to draw from.
    most : int
        Stop drawing bands when this number of patches is reached.
    seed : int
        Seed of the draws.

    Returns
    -------
    ndarray of int
        Row numbers, ordered by band.
    """
    bands = bands_of(store, rows)
    drawn = np.random.default_rng(seed).permutation(bands.max() + 1)
    counts = np.bincount(bands)[drawn]
    chosen = drawn[: int(np.searchsorted(counts.cumsum(), most)) + 1]
    rank = np.full(len(drawn), -1)
    rank[chosen] = np.arange(len(chosen))
    order = np.argsort(rank[bands], kind="stable")
    return np.asarray(rows[order[np.count_nonzero(rank[bands] < 0) :]], np.int64)


class PatchBatches:
    """Shuffled batches that depend only on the seed and the position in the training.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    rows : ndarray of int
        Row numbers to draw from.
    size : int
        Patches per batch, over all ranks; the last batch of a pass over the data may be smaller.
    seed : int
        Seed of the order.
    """

    def __init__(self, store: Patches, rows: NDArray[np.int64], size: int, seed: int) -> None:
        self.store, self.rows, self.size, self.seed = store, rows, size, seed
        self._weights = store.weights(rows)
        self._order: tuple[int, NDArray[Any]] | None = None

    @property
    def steps(self) -> int:
        """Number of steps in a pass over the data."""
        return math.ceil(len(self.rows) / self.size)

    def chosen(self, position: StepPosition) -> NDArray[np.int64]:
        """Row numbers of this rank's share of a batch."""
        batch = self._batch(position)
        return np.asarray(batch[position.share(len(batch))], np.int64)

    def count(self, position: StepPosition) -> int:
        """Number of patches in a batch, over all ranks."""
        return len(self._batch(position))

    def read(self, position: StepPosition, dtype: torch.dtype = torch.float32) -> PatchBatch:
        """Read this rank's share of a batch."""
        return self.store.read(self.chosen(position), dtype)

    def _batch(self, position: StepPosition) -> NDArray[Any]:
        order = self._order
        if order is None or order[0] != position.epoch:
            order = self._order = position.epoch, epoch_order(self.rows, self.seed, position.epoch, self._weights)
        return order[1][position.index * self.size : (position.index + 1) * self.size]


def gather(store: Patches, rows: NDArray[Any] | None = None, progress: Progress = silent) -> NoiseStatistics:
    """Compute noise statistics of patches by camera, ISO and signal.

    A clean signal estimated from the other frames of a burst is noisy.  If pixels were binned by it, their
    mean signal would differ from the bin's, and a line through the variances would give a gain that is too small
    and a read noise that is too large (by 0.5 and 4 % for four frames).  Such pixels are therefore binned by the
    mean of their neighbours, whose noise is independent.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    rows : ndarray of int, optional
        Row numbers of the patches; by default the split ``train``.
    progress : Progress
        Called after each batch, with the number of patches done.

    Returns
    -------
    NoiseStatistics
        One cell for each camera, ISO and signal bin with at least one value.
    """
    rows = store.indices("train") if rows is None else rows

    def batches() -> Iterator[Values]:
        for start in range(0, len(rows), BATCH):
            batch = store.read(rows[start : start + BATCH], torch.float64)
            estimated = torch.from_numpy(batch.table["clean_variance"] > 0)
            by = batch.clean
            if estimated.any() and batch.clean[0, 0].numel() > 1:
                by = torch.where(estimated[:, None, None, None], local_mean(batch.clean, hollow=True), batch.clean)
            yield Values(batch.camera, batch.iso, by, batch.clean, batch.noise, batch.observed)

    return summed(store, batches(), len(rows), progress)


class Values(NamedTuple):
    """Values of a batch of patches for statistics, in float64: camera and ISO (B,), the others (B, C, h, w).

    `by` is the signal by which values are binned: `clean` itself, or an independent estimate if `clean` is noisy.
    Values that are not `observed` are ignored.
    """

    camera: Tensor
    iso: Tensor
    by: Tensor
    clean: Tensor
    noise: Tensor
    observed: Tensor | None = None


def summed(store: Patches, batches: Iterable[Values], total: int, progress: Progress = silent) -> NoiseStatistics:
    """Compute noise statistics of batches of values, in cells of camera, ISO and signal bin.

    Parameters
    ----------
    store : Patches
        Gives the names of the cameras, and the ISOs.
    batches : iterable of Values
        The values.
    total : int
        Number of patches, for `progress`.
    progress : Progress
        Called after each batch.
    """
    isos = torch.tensor(store.isos, dtype=torch.float64)
    cells = len(store.cameras) * len(isos) * BINS
    sums = torch.zeros(4, cells, dtype=torch.float64)
    done = 0
    for batch in batches:
        iso_index = torch.searchsorted(isos, batch.iso)
        group = (batch.camera * len(isos) + iso_index)[:, None, None, None]
        cell = (group * BINS + signal_bins(batch.by, BINS)).flatten()
        noise, clean = batch.noise.flatten(), batch.clean.flatten()
        if batch.observed is not None:
            kept = batch.observed.flatten()
            cell, noise, clean = cell[kept], noise[kept], clean[kept]
        for row, values in zip(sums, (torch.ones_like(noise), clean, noise, noise.square()), strict=True):
            row.index_add_(0, cell, values)
        done += len(batch.camera)
        progress(done, total, "statistics")
    index = torch.nonzero(sums[0])[:, 0]
    count = sums[0, index]
    camera, rest = index // (len(isos) * BINS), index % (len(isos) * BINS)
    clean, mean, square = (row[index] / count for row in sums[1:])
    return NoiseStatistics(camera, rest // BINS, count, clean, mean, square, store.cameras, store.isos)
