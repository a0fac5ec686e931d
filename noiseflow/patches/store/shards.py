"""Export patches as WebDataset shards: tar files that WebDataset, Hugging Face ``datasets`` and others can stream."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.folder import whole_folder
from noiseflow.core.progress import Progress, silent
from noiseflow.patches.schema import SPLITS
from noiseflow.patches.store.patches import PatchBatch, Patches

__all__ = ["DESCRIPTION", "PER_SHARD", "export_shards"]

DESCRIPTION = "dataset.json"
"""File next to the shards that describes them."""

PER_SHARD = 2048
"""Default number of patches per shard: 64 MB for patches of four planes of 32 × 32 pixels."""

AT_ONCE = 256
"""Number of patches read at a time."""


def export_shards(
    store: Patches,
    folder: str | Path,
    *,
    per_shard: int = PER_SHARD,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, int]:
    """Write the patches of a store to shards ``SPLIT-000000.tar``, shuffled within each split.

    A sample has the fields ``noise.npy`` and ``clean.npy``, (C, h, w) in float32, normalised and scaled as in
    `PatchBatch`; ``observed.npy`` if the store has masked pixels; and ``json`` with its ISO, camera and scene.  The
    same store and seed give the same bytes.

    Parameters
    ----------
    store : PatchStore or StoreMix
        Patches with a clean signal.
    folder : path
        Folder to create.
    per_shard : int
        Largest number of patches per shard.
    seed : int
        Seed of the order.
    overwrite : bool
        Replace an earlier folder of shards.
    progress : callable
        Called with the number of patches written and the total.

    Returns
    -------
    dict of int
        Split → number of patches; splits without patches are left out.

    Raises
    ------
    DataError
        If the store has no clean signal.
    StoreError
        If `per_shard` is below 1, or a patch is damaged.
    OutputError
        If `folder` exists and may not be replaced, or was not made by noiseflow.
    """
    if per_shard < 1:
        raise StoreError(f"per_shard: expected 1 or more; got {per_shard}")
    folder, order = Path(folder), np.random.default_rng(seed)
    rows = {split: order.permutation(store.indices(split)) for split in SPLITS if _holds(store, split)}
    counts = {split: len(each) for split, each in rows.items()}
    done = 0
    with (
        writing(folder, folder=True, inputs=[store.path], overwrite=overwrite),
        whole_folder(folder, "shards", overwrite=overwrite) as made,
    ):
        for split, of_split in rows.items():
            for number, first in enumerate(range(0, len(of_split), per_shard)):
                with tarfile.open(made / f"{split}-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
                    for name, content in _members(store, of_split[first : first + per_shard]):
                        _add(shard, name, content)
                done += len(of_split[first : first + per_shard])
                progress(done, sum(counts.values()))
        about = {
            "cameras": list(store.cameras),
            "isos": list(store.isos),
            "layout": store.layout,
            "pairing": store.pairing,
            "patch_shape": list(store.patch_shape),
            "patches": counts,
            "store": store.fingerprint,
        }
        (made / DESCRIPTION).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return counts


def _holds(store: Patches, split: str) -> bool:
    return bool((store.table["split"] == SPLITS.index(split)).any())


def _members(store: Patches, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the files of patches; WebDataset groups them by name up to the first dot."""
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE]
        batch = store.read(some)
        for place, row in enumerate(some.tolist()):
            for field, content in _fields(store, batch, place).items():
                yield f"{row:09d}.{field}", content


def _fields(store: Patches, batch: PatchBatch, place: int) -> Mapping[str, bytes]:
    arrays = {"noise": batch.noise[place].numpy(), "clean": batch.clean[place].numpy()}
    if store.has_masks:
        everywhere = np.ones(store.patch_shape, bool)
        arrays["observed"] = everywhere if batch.observed is None else batch.observed[place].numpy()
    entry = batch.table[place]
    about = {
        "iso": float(entry["iso"]),
        "camera": store.cameras[int(batch.camera[place])],
        "scene": store.scenes[int(entry["scene"])],
    }
    return {**{f"{name}.npy": _npy(array) for name, array in arrays.items()}, "json": json.dumps(about).encode()}


def _npy(array: NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a shard without date and owner, so that equal content gives equal bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))
