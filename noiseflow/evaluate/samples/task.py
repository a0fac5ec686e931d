"""The clean patches of a split, for a program that draws noise for them."""

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
"""What makes a folder one of samples for such a task."""

VALUES_AT_A_TIME = 2**22


def write_clean_patches(
    store: PatchStore, out: str | Path, *, split: str = "test", overwrite: bool = False, progress: Progress = silent
) -> Path:
    """Write what a sampler needs to be scored on a store: clean patches, their conditions, and their checksum.

    ``clean.npy`` holds the normalised clean signal, float32 (N, C, h, w); ``conditions.csv`` one line for each patch:
    camera, ISO, scene, frame, position, black level of each plane and white level in DN; ``task.json`` the SHA-256 of
    the clean signal's bytes, which goes with the samples.

    Parameters
    ----------
    store : PatchStore
        Patches that samples will be scored on.
    out : path
        Folder to make.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    overwrite : bool
        Whether an earlier output of ours may be replaced.
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
        `out` exists, or holds what is not ours.
    """
    rows = store.indices(split)
    with (
        writing(out, folder=True, inputs=[store.path], overwrite=overwrite) as out,
        whole_folder(out, "clean patches", overwrite=overwrite) as partial,
    ):
        shape = (len(rows), *store.patch_shape)
        digest, done = hashlib.sha256(), 0
        # Not as pages of memory: on a full disk they end the process by a signal.
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
    """The clean signal of rows of a store, float32 (B, C, h, w), batch by batch."""
    size = max(VALUES_AT_A_TIME // math.prod(store.patch_shape), 1)
    for start in range(0, len(rows), size):
        yield store.read(rows[start : start + size]).clean.float()


def clean_digest(store: PatchStore, rows: NDArray[np.int64]) -> str:
    """SHA-256 of the clean signal of rows of a store, as little-endian float32 in C order."""
    digest = hashlib.sha256()
    for batch in clean_patches(store, rows):
        digest.update(_bytes_of(batch))
    return digest.hexdigest()


def _bytes_of(batch: Tensor) -> bytes:
    return np.ascontiguousarray(batch.numpy(), "<f4").tobytes()


def _conditions(store: PatchStore, rows: NDArray[np.int64]) -> str:
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
