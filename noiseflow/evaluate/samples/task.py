"""Export of the clean patches of a split, for another program to draw noise for them."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.output.whole import write_text
from noiseflow.core.progress import Progress, silent
from noiseflow.core.text import csv_cell
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.bayer import plane_names

__all__ = ["CLEAN", "CONDITIONS", "SAMPLES", "TASK", "clean_digest", "clean_patches", "write_clean_patches"]

CLEAN, CONDITIONS, TASK = "clean.npy", "conditions.csv", "task.json"
SAMPLES = "samples.json"
"""File that marks a folder of samples."""

VALUES_AT_A_TIME = 2**22
"""Number of values read at a time."""


def write_clean_patches(
    store: PatchStore, out: str | Path, *, split: str = "test", overwrite: bool = False, progress: Progress = silent
) -> Path:
    """Write the clean patches of a split with their conditions, for a sampler that is to be scored on them.

    ``clean.npy`` contains the normalised clean signal, float32 (N, C, h, w).  ``conditions.csv`` has one line per
    patch: camera, ISO, scene, frame, position, black level of each plane and white level in DN.  ``task.json``
    contains the SHA-256 of the clean signal's bytes, which the samples must state.

    Parameters
    ----------
    store : PatchStore
        Store on which the samples will be scored.
    out : path
        Folder to write.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    overwrite : bool
        Whether to replace an earlier output of this function.
    progress : Progress
        Called with the number of patches written.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StoreError
        The split is empty or unknown.
    OutputError
        `out` exists and may not be replaced, or cannot be written.
    """
    rows = store.indices(split)
    with (
        writing(out, folder=True, inputs=[store.path], overwrite=overwrite) as out,
        whole_folder(out, "clean patches", overwrite=overwrite) as partial,
    ):
        shape = (len(rows), *store.patch_shape)
        digest, done = hashlib.sha256(), 0
        # Write instead of memory-mapping: on a full disk, a memory map would end the process by a signal.
        with (partial / CLEAN).open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for batch in clean_patches(store, rows):
                content = _bytes_of(batch)
                file.write(content)
                digest.update(content)
                done += len(batch)
                progress(done, len(rows), "patches")
        write_text(partial / CONDITIONS, _conditions(store, rows))
        task = {
            "clean_sha256": digest.hexdigest(),
            "fingerprint": store.fingerprint,
            "layout": store.layout,
            "planes": plane_names(store.layout),
            "split": split,
            "shape": shape,
        }
        write_text(partial / TASK, json.dumps(task, indent=1) + "\n")
    return out


def clean_patches(store: PatchStore, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """Yield the normalised clean signal of rows of a store in batches, float32, shape (B, C, h, w)."""
    size = max(VALUES_AT_A_TIME // math.prod(store.patch_shape), 1)
    for start in range(0, len(rows), size):
        yield store.read(rows[start : start + size]).clean.float()


def clean_digest(store: PatchStore, rows: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the clean signal of rows of a store, as little-endian float32 in C order."""
    digest = hashlib.sha256()
    for batch in clean_patches(store, rows):
        digest.update(_bytes_of(batch))
    return digest.hexdigest()


def _bytes_of(batch: Tensor) -> bytes:
    return np.ascontiguousarray(batch.numpy(), "<f4").tobytes()


def _conditions(store: PatchStore, rows: NDArray[np.int64]) -> str:
    """Return the conditions of rows of a store as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    planes = plane_names(store.layout)
    writer.writerow(["camera", "iso", "scene", "frame", "y", "x", *(f"black_{name}_dn" for name in planes), "white_dn"])
    for row in store.table[rows]:
        black = [f"{level:g}" for level in row["black"]]
        place = [int(row["frame"]), int(row["y"]), int(row["x"])]
        names = [csv_cell(store.cameras[row["camera"]]), f"{row['iso']:g}", csv_cell(store.scenes[row["scene"]])]
        writer.writerow([*names, *place, *black, f"{row['white']:g}"])
    return text.getvalue()
