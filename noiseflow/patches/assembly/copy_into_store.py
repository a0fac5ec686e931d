"""Patches at their place in a store: copied there, or there already."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.patches.assembly.parts import PIXELS, PartNote, checksums, part_file, read_table, store_file, write_fully
from noiseflow.patches.ingestion.cut import patches_at
from noiseflow.patches.schema import CLEAN_TYPE, NOISY_TYPE, fields
from noiseflow.raw.bayer import plane_names

__all__ = ["SceneMean", "intact", "number_means", "place_means", "place_part"]

COPY_BYTES = 1 << 20
"""Copied at a time: what stays in the processor's cache is five times as fast as what does not."""


@dataclass(frozen=True)
class SceneMean:
    """Where the mean of a scene's frames is.

    Parameters
    ----------
    path : Path
        A file of float32, (C, h, w).
    shape : tuple of int
        (h, w).
    parts : sequence of int
        Of the frames whose clean signals come from it.
    """

    path: Path
    shape: tuple[int, int]
    parts: Sequence[int]


def number_means(table: NDArray[Any], starts: NDArray[Any], means: Sequence[SceneMean]) -> list[NDArray[np.int64]]:
    """Say in the table which mean each patch has; the corners (y, x) of those of each scene."""
    places, before = [], 0
    for mean in means:
        rows = np.concatenate([np.arange(starts[part], starts[part + 1]) for part in mean.parts])
        keys = table["y"][rows].astype(np.int64) << 32 | table["x"][rows]
        found, which = np.unique(keys, return_inverse=True)
        table["mean"][rows] = before + which
        places.append(np.stack([found >> 32, found & 0xFFFFFFFF], 1))
        before += len(found)
    return places


def place_part(part: Path, first: int, store: Path, offset: int, size: int) -> None:
    """Copy some bytes of a file, those of a part, to their place in the store.

    Raises
    ------
    StoreError
        There are not as many behind the first.
    """
    with part.open("rb", buffering=0) as source, store.open("r+b", buffering=0) as target:
        found = os.fstat(source.fileno()).st_size - first
        if found < size or (found > size and not first):
            raise StoreError(
                f"{part}: {found:,} bytes; expected {size:,}: damaged, delete the folder {part.parent.name} and "
                "ingest again"
            )
        source.seek(first)
        target.seek(offset)
        block = np.empty(min(COPY_BYTES, size), np.uint8)
        while size and (count := source.readinto(block[:size].data)):
            write_fully(target, block[:count])
            size -= count


def intact(folder: Path, number: int, note: PartNote, patch_size: int, *, shared: bool) -> bool:
    """Whether the patches of a part that are in the store already are those that it wrote.

    A process that is killed leaves them so; a machine that loses its power may not.

    Parameters
    ----------
    folder : Path
    number : int
    note : PartNote
    patch_size : int
    shared : bool
        Whether frames share their clean signal.
    """
    if not note.placed or not note.patches:
        return True
    shape = (note.patches, len(plane_names(note.layout)), patch_size, patch_size)
    first = PIXELS + (note.before or 0) * int(np.prod(shape[1:])) * NOISY_TYPE.itemsize
    own = part_file(folder, number, "clean")
    try:
        noisy = np.memmap(store_file(folder), NOISY_TYPE, "r", first, shape)
        clean = np.memmap(own, CLEAN_TYPE, "r", shape=shape) if own.exists() else None
        expected = read_table(folder, number, fields(shape[1], shared=shared))["crc32"]
    except (OSError, ValueError):
        return False
    return np.array_equal(checksums(noisy, clean), expected)


def place_means(mean: SceneMean, corners: NDArray[np.int64], size: int, store: Path, offset: int) -> NDArray[np.uint32]:
    """Cut a scene's mean into patches at their place in the store; their CRC-32."""
    if not len(corners):
        return np.empty(0, np.uint32)
    pages = np.memmap(mean.path, CLEAN_TYPE, "r", shape=(4, *mean.shape))
    crcs = []
    with store.open("r+b", buffering=0) as target:
        target.seek(offset)
        for _, patches in patches_at(lambda plane, rows: pages[plane, rows], len(pages), corners, size, CLEAN_TYPE):
            crcs.append(checksums(patches, None))
            write_fully(target, patches)
    return np.concatenate(crcs)
