"""Torch data sets over stores, the same under any number of workers and ranks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from noiseflow.core.errors import DataError
from noiseflow.patches.schema import CFAS
from noiseflow.patches.store.augmentation import turned
from noiseflow.patches.store.patches import Patches
from noiseflow.patches.store.sampling_order import balanced, epoch_order

__all__ = ["PatchDataset", "PatchStream", "View"]

Item = dict[str, Tensor]


@dataclass(frozen=True)
class View:
    """How a patch is shown: cropped and turned by chance, or as it is.

    Parameters
    ----------
    crop : int or None
        Rows and columns of a plane to keep, at a place drawn by chance; all if None.
    turns : sequence of str
        Drawn from these, see `noiseflow.patches.store.augmentation.TURNS`; every turn but ``"none"``
        needs a crop smaller than the patch where the sensor has colours.
    """

    crop: int | None = None
    turns: Sequence[str] = ("none",)

    def __call__(self, store: Patches, rows: NDArray[Any], seed: int, epoch: int) -> Item:
        """Read rows and show each in its own way, which hangs on seed, epoch and row alone."""
        batch = store.read(rows)
        observed = batch.observed
        if observed is None and store.has_masks:
            # Every batch of a store has the same keys, which loaders put together.
            observed = torch.ones(batch.noise.shape, dtype=torch.bool)
        whole = {"iso": batch.iso, "camera": batch.camera, "row": torch.from_numpy(np.asarray(rows, np.int64))}
        height, width = store.patch_shape[1:]
        crop = self.crop or min(height, width)
        if self.crop is None and tuple(self.turns) == ("none",):
            mask = {} if observed is None else {"observed": observed}
            return {"noise": batch.noise, "clean": batch.clean, **mask, **whole}
        if crop > min(height, width):
            raise DataError(f"crop {crop}: patches are {height}×{width} pixels of a plane; ask for less")
        layers = (
            [batch.noise, batch.clean] if observed is None else [batch.noise, batch.clean, observed.to(batch.noise)]
        )
        both = torch.stack(layers, 1).numpy()
        shown = np.empty((len(rows), len(layers), store.patch_shape[0], crop, crop), both.dtype)
        for place, row in enumerate(np.asarray(rows).tolist()):
            rng = np.random.default_rng((seed, epoch, row))
            turn = self.turns[int(rng.integers(len(self.turns)))]
            # A turn may cost a row and a column of cells: leave room for it.
            room = 1 if turn != "none" and not store.layout.startswith("mono") else 0
            if crop + room > min(height, width):
                room = 0
            y, x = (int(rng.integers(length - crop - room + 1)) for length in (height, width))
            window = both[place, ..., y : y + crop + room, x : x + crop + room]
            shown[place] = turned(window, turn, CFAS[batch.table["cfa"][place]], (crop, crop))
        noise, clean, *known = torch.from_numpy(shown).unbind(1)
        if known:
            whole["observed"] = known[0].contiguous().bool()
        return {"noise": noise.contiguous(), "clean": clean.contiguous(), **whole}


class PatchDataset(Dataset[Item]):
    """Patches of a split by number, for a `DataLoader` with any sampler.

    Items are dictionaries of ``noise`` and ``clean`` (C, h, w), ``iso``, ``camera`` and
    ``row``; of a store with masked pixels also ``observed`` (C, h, w), false where the noise does not
    count.  A `DataLoader` fetches a batch of them in one read.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    view : View
        Crop, turns and dtype of each patch.
    seed : int
        Seed of the view.

    Notes
    -----
    With a view that draws by chance call `set_epoch` before each epoch, and leave
    ``persistent_workers`` off: workers take the epoch when they start.
    """

    def __init__(self, store: Patches, split: str = "train", view: View | None = None, seed: int = 0) -> None:
        self.store, self.rows = store, store.indices(split)
        self.view, self.seed, self.epoch = view or View(), seed, 0

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Draw other views than in the last epoch."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Item:
        """One patch."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Patches by number, read at once."""
        batch = self.view(self.store, self.rows[np.asarray(indices)], self.seed, self.epoch)
        return [{name: values[place] for name, values in batch.items()} for place in range(len(indices))]


class PatchStream(IterableDataset[Item]):
    """Shuffled batches of a split, without end or for some epochs.

    Use it with ``DataLoader(stream, batch_size=None, num_workers=…)``.  Batch k of an epoch
    holds the same patches in the same order for any number of workers; with several ranks
    each takes its own part of it, so that the ranks' batches together are the batch of one.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    batch : int
        Patches of all ranks together; a multiple of `world`.  What is left at the end of an
        epoch is left out.
    view : View
        Crop, turns and dtype of each patch.
    balance : str or None
        ``"iso"`` or ``"camera"``: each comes equally often.  Weights of a `StoreMix` hold
        as well.
    seed : int
        Seed of the order and of the views.
    epochs : range or None
        Which epochs; without end if None.
    rank, world : int
        Of this process and how many; one alone by default.

    Raises
    ------
    DataError
        The batch cannot be shared by the ranks, or the split has less than one batch.
    """

    def __init__(
        self,
        store: Patches,
        split: str = "train",
        batch: int = 128,
        view: View | None = None,
        balance: str | None = None,
        seed: int = 0,
        epochs: range | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.store, self.rows, self.batch = store, store.indices(split), batch
        self.view, self.seed, self.epochs, self.rank, self.world = view or View(), seed, epochs, rank, world
        if batch % world or not 0 <= rank < world:
            raise DataError(f"batch {batch}, rank {rank} of {world}: expected a multiple of the ranks, one of them")
        if len(self.rows) < batch:
            raise DataError(f"{store.path}: {len(self.rows)} patches in {split!r} make no batch of {batch}")
        self.weights = store.weights(self.rows)
        if balance is not None:
            even = balanced(store.table[self.rows], balance)
            self.weights = even if self.weights is None else even * self.weights

    def __iter__(self) -> Iterator[Item]:
        """Batches: of ``noise`` and ``clean`` (B, C, h, w), ``iso``, ``camera`` and ``row`` (B,).

        Of a store with masked pixels also ``observed``, as of `PatchDataset`.
        """
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = self.batch // self.world
        number = 0
        for epoch in self.epochs if self.epochs is not None else count():
            order = epoch_order(self.rows, self.seed, epoch, self.weights)
            for start in range(0, len(order) - self.batch + 1, self.batch):
                # A loader takes from its workers in turn.
                if number % workers == worker:
                    own = order[start + self.rank * share : start + (self.rank + 1) * share]
                    yield self.view(self.store, own, self.seed, epoch)
                number += 1
