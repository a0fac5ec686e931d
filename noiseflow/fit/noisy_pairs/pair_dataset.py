"""Read noisy pairs from a store, and compute their statistics."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.batches import Values, summed
from noiseflow.fit.noisy_pairs.noise_target import Denoised
from noiseflow.flows.conditions import Resolved
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.denoiser import Denoiser
from noiseflow.models.noise_statistics import NoiseStatistics, local_mean
from noiseflow.patches.store.patches import Patches

__all__ = ["NOISY_PAIR", "NoisyPairs", "PairBatch", "denoised", "pair_statistics", "smoothest"]

NOISY_PAIR = "noisy-pair"
"""Name of the pairing of noisy pairs."""
BATCH = 256
"""Number of pairs read at a time."""


class PairBatch(NamedTuple):
    """Pairs of normalised noisy patches (B, C, h, w), with ISO and camera index (B,)."""

    first: Tensor
    second: Tensor
    iso: Tensor
    camera: Tensor


class NoisyPairs:
    """Noisy pairs of a store, with both frames of a pair shifted to their common mean in each plane.

    Light and black level drift between frames; the resulting difference of means is not noise of pixels.  The
    means are computed over all given patches of a frame.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches of the pairing ``noisy-pair``.
    rows : ndarray of int
        Row numbers of all patches that will be read.

    Raises
    ------
    DataError
        If the store has another pairing.
    """

    def __init__(self, store: Patches, rows: NDArray[np.int64]) -> None:
        if store.pairing != NOISY_PAIR:
            raise DataError(f"{store.path}: paired by {store.pairing}; expected {NOISY_PAIR}: ingest with that pairing")
        self.store = store
        keys = np.stack([store.table["scene"][rows], store.table["frame"][rows]], 1)
        frames, frame = np.unique(keys, axis=0, return_inverse=True)
        frame = frame.reshape(-1)
        planes = store.patch_shape[0]
        sums, counts = np.zeros((len(frames), planes)), np.bincount(frame, minlength=len(frames))
        for start in range(0, len(rows), BATCH):
            batch = store.read(rows[start : start + BATCH], torch.float64, pairs=True)
            np.add.at(sums, frame[start : start + BATCH], batch.noise.mean((2, 3)).numpy())
        # Each frame is shifted by half of x₁ − x₂; the store returns (x₁ − x₂)/√2.
        self._half = np.zeros((len(store), planes))
        self._half[rows] = (sums / counts[:, None])[frame] / np.sqrt(2)

    def read(
        self, rows: NDArray[np.int64], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> PairBatch:
        """Read pairs by row number, in the given order, on a device."""
        batch = self.store.read(rows, dtype, pairs=True)
        half = torch.from_numpy(self._half[rows]).to(dtype)[:, :, None, None]
        first = batch.clean + batch.noise * math.sqrt(2) - half
        tensors = first, batch.clean + half, batch.iso, batch.camera
        return PairBatch(*(each.to(device, non_blocking=True) for each in tensors))


def denoised(denoiser: Denoiser, batch: PairBatch) -> Denoised:
    """Denoise both frames of each pair, and compute the noise variance at their local mean."""
    first, second, iso, camera = batch
    with torch.no_grad():
        variance = denoiser.level.variance(Resolved(local_mean(0.5 * (first + second)), iso, camera))
    return Denoised(first, second, denoiser(first, iso, camera), denoiser(second, iso, camera), variance)


def smoothest(pairs: NoisyPairs, rows: NDArray[np.int64], level: NoiseLevelFunction, part: float) -> PairBatch:
    """Read the pairs that are smoothest relative to their noise, for each camera and ISO.

    At edges the local mean differs from the signal, and noise divided by the σ of a wrong signal looks heavy-tailed.
    Smoothness is measured on x₁ + x₂, which is independent of x₁ − x₂.

    Parameters
    ----------
    pairs : NoisyPairs
        The pairs.
    rows : ndarray of int
        Row numbers to choose from.
    level : NoiseLevelFunction
        Noise variance by signal.
    part : float
        Fraction of the pairs to keep.
    """
    batch = pairs.read(rows)
    mean = 0.5 * (batch.first + batch.second)
    signal = local_mean(mean, hollow=True)
    with torch.no_grad():
        variance = level.variance(Resolved(signal, batch.iso, batch.camera))
    rough = ((mean - signal).square() / variance).mean((1, 2, 3)).numpy()
    table = pairs.store.table[rows]
    kept = []
    for key in np.unique(np.stack([table["camera"], table["iso"]], 1), axis=0):
        own = np.flatnonzero((table["camera"] == key[0]) & (table["iso"] == key[1]))
        kept.append(own[np.argsort(rough[own], kind="stable")[: max(1, round(part * len(own)))]])
    chosen = torch.from_numpy(np.sort(np.concatenate(kept)))
    return PairBatch(*(each[chosen] for each in batch))


def pair_statistics(pairs: NoisyPairs, rows: NDArray[np.int64], progress: Progress = silent) -> NoiseStatistics:
    """Compute noise statistics by signal from noisy pairs alone.

    The noise is (x₁ − x₂)/√2, the signal ½(x₁ + x₂).  A pixel is binned by its neighbours, which are independent
    of its own noise, so the mean signal of a cell has no selection bias.  A variance that is linear in the signal is
    therefore linear in the cell means, for any scene.

    Parameters
    ----------
    pairs : NoisyPairs
        The pairs.
    rows : ndarray of int
        Row numbers.
    progress : Progress
        Called after each batch.
    """

    def batches() -> Iterator[Values]:
        for start in range(0, len(rows), BATCH):
            first, second, iso, camera = pairs.read(rows[start : start + BATCH], dtype=torch.float64)
            mean = 0.5 * (first + second)
            yield Values(camera, iso, local_mean(mean, hollow=True), mean, (first - second) / math.sqrt(2))

    return summed(pairs.store, batches(), len(rows), progress)
