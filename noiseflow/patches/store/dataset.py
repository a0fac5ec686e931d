"""PyTorch data sets that read stores and do not depend on the number of workers and ranks."""

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
    """Augmentation of patches: random crops and turns.

    Parameters
    ----------
    crop : int or None
        Rows and columns of a plane to keep, at a random position; None keeps all.
    turns : sequence of str
        Turns to choose from at random, see `noiseflow.patches.store.augmentation.TURNS`; for colour
        sensors every turn except ``"none"`` needs a crop smaller than the patch.
    """

    crop: int | None = None
    turns: Sequence[str] = ("none",)

    def __call__(self, store: Patches, rows: NDArray[Any], seed: int, epoch: int) -> Item:
        """Read patches and augment each; the augmentation depends only on seed, epoch and row.

        Parameters
        ----------
        store : Patches
            Patches to read.
        rows : ndarray of int, shape (n,)
            Row numbers.
        seed, epoch : int
            Seed, and number of the epoch.

        Raises
        ------
        DataError
            If the crop is larger than the patches, or too large for a turn.
        """
        batch = store.read(rows)
        observed = batch.observed
        if observed is None and store.has_masks:
            # All batches of a store must have the same keys for loaders to collate them.
            observed = torch.ones(batch.noise.shape, dtype=torch.bool)
        whole = {"iso": batch.iso, "camera": batch.camera, "row": torch.from_numpy(np.asarray(rows, np.int64))}
        height, width = store.patch_shape[1:]
        crop = self.crop or min(height, width)
        if self.crop is None and tuple(self.turns) == ("none",):
            mask = {} if observed is None else {"observed": observed}
            return {"noise": batch.noise, "clean": batch.clean, **mask, **whole}
        if crop > min(height, width):
            raise DataError(f"crop {crop}: patches have only {height}×{width} pixels of a plane; choose a smaller crop")
        layers = (
            [batch.noise, batch.clean] if observed is None else [batch.noise, batch.clean, observed.to(batch.noise)]
        )
        both = torch.stack(layers, 1).numpy()
        shown = np.empty((len(rows), len(layers), store.patch_shape[0], crop, crop), both.dtype)
        for place, row in enumerate(np.asarray(rows).tolist()):
            rng = np.random.default_rng((seed, epoch, row))
            turn = self.turns[int(rng.integers(len(self.turns)))]
            # A turn may remove a row and a column of cells: leave room for it.
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
    """Map-style data set of the patches of a split, for a `DataLoader` with any sampler.

    Items are dictionaries of ``noise`` and ``clean`` (C, h, w), both normalised, ``iso``, ``camera`` and
    ``row``; if the store has masked pixels also ``observed`` (C, h, w), false where a pixel is
    masked.  A `DataLoader` fetches each batch in one read.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    view : View, optional
        Random crops and turns; by default patches are not changed.
    seed : int
        Seed of the view.

    Raises
    ------
    StoreError
        If the split is unknown or empty.

    Notes
    -----
    With a random view, call `set_epoch` before each epoch and leave ``persistent_workers`` off,
    since workers read the epoch when they start.
    """

    def __init__(self, store: Patches, split: str = "train", view: View | None = None, seed: int = 0) -> None:
        self.store, self.rows = store, store.indices(split)
        self.view, self.seed, self.epoch = view or View(), seed, 0

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, so that crops and turns differ from those of other epochs."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Item:
        """Read one patch by its number in the split."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Read patches by their numbers in the split, in one read."""
        batch = self.view(self.store, self.rows[np.asarray(indices)], self.seed, self.epoch)
        return [{name: values[place] for name, values in batch.items()} for place in range(len(indices))]


class PatchStream(IterableDataset[Item]):
    """Iterable data set of shuffled batches of a split, endless or for some epochs.

    Use it with ``DataLoader(stream, batch_size=None, num_workers=…)``.  Batch k of an epoch
    has the same patches in the same order for any number of workers.  With several ranks,
    each takes its own part, so that all parts together are the batch of a single process.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches to read.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    batch : int
        Patches per batch over all ranks; a multiple of `world`.  An incomplete batch at the end of
        an epoch is dropped.
    view : View, optional
        Random crops and turns; by default patches are not changed.
    balance : str or None
        ``"iso"`` or ``"camera"``: draw each ISO, or each camera, equally often.  Weights of a
        `StoreMix` apply in addition.
    seed : int
        Seed of the order and of the view.
    epochs : range or None
        Numbers of the epochs; endless if None.
    rank, world : int
        Rank of this process, and number of ranks; by default a single process.

    Raises
    ------
    DataError
        If the batch cannot be divided among the ranks, or the split has less than one batch.
    StoreError
        If the split is unknown or empty.
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
            raise DataError(
                f"batch {batch}, rank {rank} of {world}: expected a batch that is a multiple of {world}, and a rank "
                f"from 0 to {world - 1}"
            )
        if len(self.rows) < batch:
            raise DataError(
                f"{store.path}: the split {split!r} has {len(self.rows)} patches, less than one batch of {batch}; "
                "choose a smaller batch"
            )
        self.weights = store.weights(self.rows)
        if balance is not None:
            even = balanced(store.table[self.rows], balance)
            self.weights = even if self.weights is None else even * self.weights

    def __iter__(self) -> Iterator[Item]:
        """Yield batches: ``noise`` and ``clean`` (B, C, h, w), ``iso``, ``camera`` and ``row`` (B,).

        If the store has masked pixels, also ``observed``, as in `PatchDataset`.
        """
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = self.batch // self.world
        number = 0
        for epoch in self.epochs if self.epochs is not None else count():
            order = epoch_order(self.rows, self.seed, epoch, self.weights)
            for start in range(0, len(order) - self.batch + 1, self.batch):
                # A loader takes batches from its workers in turn.
                if number % workers == worker:
                    own = order[start + self.rank * share : start + (self.rank + 1) * share]
                    yield self.view(self.store, own, self.seed, epoch)
                number += 1
