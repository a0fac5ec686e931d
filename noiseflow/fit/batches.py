"""Batches of a store's patches by their place in a training."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.fit.training.objective import Place
from noiseflow.flows.conditions import Conditions
from noiseflow.patches.store.mixture import Patches
from noiseflow.patches.store.sampling_order import epoch_order
from noiseflow.patches.store.store import PatchBatch

__all__ = ["PatchBatches", "conditions_of"]


def conditions_of(batch: PatchBatch, device: torch.device | str = "cpu") -> Conditions:
    """The conditions of a batch whose camera indices are the model's."""
    clean, iso, camera = (each.to(device, non_blocking=True) for each in (batch.clean, batch.iso, batch.camera))
    return Conditions(clean, iso, camera)


class PatchBatches:
    """Shuffled batches: which patches a step takes is a function of seed and place alone.

    Parameters
    ----------
    store : PatchStore or StoreMix
    rows : ndarray of int
        To draw from.
    size : int
        Patches of all ranks together; the last batch of a pass over the data may be smaller.
    seed : int
    """

    def __init__(self, store: Patches, rows: NDArray[np.int64], size: int, seed: int) -> None:
        self.store, self.rows, self.size, self.seed = store, rows, size, seed
        self._weights = store.weights(rows)
        self._order: tuple[int, NDArray[Any]] | None = None

    @property
    def steps(self) -> int:
        """Steps of a pass over the data."""
        return math.ceil(len(self.rows) / self.size)

    def chosen(self, place: Place) -> NDArray[np.int64]:
        """Row numbers of a step's batch; with several ranks this one's share."""
        batch = self._batch(place)
        return np.asarray(batch[place.share(len(batch))], np.int64)

    def count(self, place: Place) -> int:
        """Patches of a step, those of all ranks together."""
        return len(self._batch(place))

    def _batch(self, place: Place) -> NDArray[Any]:
        order = self._order
        if order is None or order[0] != place.epoch:
            order = self._order = place.epoch, epoch_order(self.rows, self.seed, place.epoch, self._weights)
        return order[1][place.index * self.size : (place.index + 1) * self.size]

    def read(self, place: Place, dtype: torch.dtype = torch.float32) -> PatchBatch:
        """The patches of a step."""
        return self.store.read(self.chosen(place), dtype)
