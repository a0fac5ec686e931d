"""Reading shuffled batches from a patch store."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from tools.bench_data import measure_read, twins

__all__ = ["SIZES", "Loading", "loading"]

PIXELS = 2**24
"""Raw pixels in the store: more than the processor's caches hold."""

SIZES = ((8, 32), (138, 32), (1024, 32), (138, 16), (138, 64))
"""Batch and side."""


@dataclass(frozen=True)
class Loading:
    """Patches a second of one batch size and one side of patches.

    Parameters
    ----------
    batch, side : int
        Patches in a batch; pixels along the side of a patch.
    ours : float
        By `PatchStore`, checked, in float32.
    plain : float
        Of the same bytes, gathered from memory as they are.
    """

    batch: int
    side: int
    ours: float
    plain: float


def loading(sizes: Sequence[tuple[int, int]] = SIZES, pixels: int = PIXELS) -> list[Loading]:
    """Read stores of clean twins from the page cache, by one thread."""
    found = []
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        stores = {side: twins(Path(folder), pixels // (4 * side**2), side) for side in {side for _, side in sizes}}
        for batch, side in sizes:
            read = measure_read(stores[side], batch, time.process_time)
            found.append(Loading(batch, side, read["patches_s"], read["memmap_patches_s"]))
    return found
