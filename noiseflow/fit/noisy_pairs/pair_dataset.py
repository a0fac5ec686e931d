"""Stores of noisy pairs as a fit reads them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.core.progress import Progress, silent
from noiseflow.fit.gather_statistics import Values, summed
from noiseflow.fit.noisy_pairs.noise_target import Denoised
from noiseflow.flows.conditions import Conditions
from noiseflow.models.closed_form.nlf import NoiseLevelFunction
from noiseflow.models.denoiser import Denoiser, local_mean
from noiseflow.models.noise_statistics import NoiseStatistics
from noiseflow.patches.store.patches import Patches

__all__ = ["NOISY_PAIR", "NoisyPairs", "PairBatch", "denoised", "pair_statistics", "smoothest"]

NOISY_PAIR = "noisy-pair"
BATCH = 256


class PairBatch(NamedTuple):
    """Pairs of noisy patches, (B, C, h, w) and normalised; ISO and camera, (B,)."""

    first: Tensor
    second: Tensor
    iso: Tensor
    camera: Tensor


class NoisyPairs:
    """Pairs of a store, both frames of each brought to their common mean, plane by plane.

    Light and black level drift from one frame to the next; a difference of means is no noise
    of a pixel.  It is found over all of a frame's patches that are given.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Of the pairing ``noisy-pair``.
    rows : ndarray of int
        All rows that will be read.

    Raises
    ------
    DataError
        The store holds other than noisy pairs.
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
        # Half of x₁ − x₂ goes to each; what is read is (x₁ − x₂)/√2.
        self._half = np.zeros((len(store), planes))
        self._half[rows] = (sums / counts[:, None])[frame] / np.sqrt(2)

    def read(
        self, rows: NDArray[np.int64], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> PairBatch:
        """Pairs by row number."""
        batch = self.store.read(rows, dtype, pairs=True)
        half = torch.from_numpy(self._half[rows]).to(dtype)[:, :, None, None]
        first = batch.clean + batch.noise * math.sqrt(2) - half
        tensors = first, batch.clean + half, batch.iso, batch.camera
        return PairBatch(*(each.to(device, non_blocking=True) for each in tensors))


def denoised(denoiser: Denoiser, batch: PairBatch) -> Denoised:
    """Both frames of each pair denoised, and the noise's variance at their mean."""
    first, second, iso, camera = batch
    with torch.no_grad():
        variance = denoiser.level.variance(Conditions(local_mean(0.5 * (first + second)), iso, camera))
    return Denoised(first, second, denoiser(first, iso, camera), denoiser(second, iso, camera), variance)


def smoothest(pairs: NoisyPairs, rows: NDArray[np.int64], level: NoiseLevelFunction, part: float) -> PairBatch:
    """The pairs, a part of each camera's at each ISO, whose scene varies least against the noise.

    Where a scene has edges its local mean is not its signal, and noise over the σ of another
    signal looks heavy-tailed.  It is sought in x₁ + x₂, of which x₁ − x₂ knows nothing.
    """
    batch = pairs.read(rows)
    mean = 0.5 * (batch.first + batch.second)
    signal = local_mean(mean, hollow=True)
    with torch.no_grad():
        variance = level.variance(Conditions(signal, batch.iso, batch.camera))
    rough = ((mean - signal).square() / variance).mean((1, 2, 3)).numpy()
    table = pairs.store.table[rows]
    kept = []
    for key in np.unique(np.stack([table["camera"], table["iso"]], 1), axis=0):
        own = np.flatnonzero((table["camera"] == key[0]) & (table["iso"] == key[1]))
        kept.append(own[np.argsort(rough[own], kind="stable")[: max(1, round(part * len(own)))]])
    chosen = torch.from_numpy(np.sort(np.concatenate(kept)))
    return PairBatch(*(each[chosen] for each in batch))


def pair_statistics(pairs: NoisyPairs, rows: NDArray[np.int64], progress: Progress = silent) -> NoiseStatistics:
    """Statistics of the noise by signal, from noisy pairs alone.

    Noise is (x₁ − x₂)/√2, signal ½(x₁ + x₂).  A cell is chosen by the signal of a pixel's
    neighbours, which tell nothing of its own noise: so a cell's mean signal has no
    selection in it, and a variance that is linear in the signal is so in the cells' means,
    however rough the scene.
    """

    def batches() -> Iterator[Values]:
        for start in range(0, len(rows), BATCH):
            first, second, iso, camera = pairs.read(rows[start : start + BATCH], dtype=torch.float64)
            mean = 0.5 * (first + second)
            yield Values(camera, iso, local_mean(mean, hollow=True), mean, (first - second) / math.sqrt(2))

    return summed(pairs.store, batches(), len(rows), progress)
