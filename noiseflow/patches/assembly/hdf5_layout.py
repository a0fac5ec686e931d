"""The HDF5 file around the patches of a store: what describes them, and where they stand."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from noiseflow.core.errors import StoreError
from noiseflow.core.units import SIGNAL_UNIT
from noiseflow.patches.assembly.parts import PIXELS, write_fully
from noiseflow.patches.header import StoreHeader
from noiseflow.patches.schema import CHECKSUMS, CLEAN_TYPE, CRC_TYPE, NOISY_TYPE, SCHEMA, SHARED

__all__ = ["conclude", "describe", "put_around"]

SLACK_BYTES = 1 << 16
"""Of what HDF5 writes beside the table and the names."""


def describe(
    whole: Path,
    header: StoreHeader,
    labels: Mapping[str, Mapping[str, int]],
    table: NDArray[Any],
    sources: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
) -> dict[str, int]:
    """Write all but the patches; where in the file those of each dataset begin.

    The noisy ones, the first of `counts`, begin at `PIXELS` if they fill a page.

    Raises
    ------
    OSError
        There is no room for that, or a file may not be so large as the store.
    """
    kinds = {name: NOISY_TYPE if name == "noisy" else CLEAN_TYPE for name in counts}
    pixels = int(np.prod(header.patch_shape)) * sum(count * kinds[name].itemsize for name, count in counts.items())
    described = table.nbytes + counts.get("mean", 0) * CRC_TYPE.itemsize
    described += len(json.dumps([dict(facts), dict(sources), dict(header.provenance), dict(header.truth)]))
    _has_room(whole, described + SLACK_BYTES, pixels)
    with h5py.File(whole, "w", libver="v110", alignment_threshold=PIXELS, alignment_interval=PIXELS) as file:
        offsets = {
            name: _reserve(file, name, kinds[name], (count, *header.patch_shape)) for name, count in counts.items()
        }
        _describe(file, header, labels, table, sources, facts, SHARED if "mean" in counts else SCHEMA)
        if "mean" in counts:
            file["mean_crc"] = np.zeros(counts["mean"], CRC_TYPE)
        elif "clean" not in counts:
            # Never allocated: it takes no room, and HDF5 reads the fill value.
            file.create_dataset("clean", (len(table), *header.patch_shape), CLEAN_TYPE, fillvalue=np.nan)
    return offsets


def _has_room(path: Path, described: int, pixels: int) -> None:
    """Refuse what HDF5 would fail to write: it does not come back from that, and crashes when the process ends."""
    with path.open("wb") as file:
        file.truncate(described + pixels)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, described)


def put_around(described: Path, store: Path, reserved: Sequence[tuple[int, int]]) -> None:
    """Give a store that holds patches already all that `describe` has written for it elsewhere.

    Parameters
    ----------
    described : Path
        A file without patches: no byte of theirs was written, and it takes no room for them.
    store : Path
    reserved : sequence of (int, int)
        First byte of the patches of each dataset, and the byte after the last.
    """
    with described.open("rb") as source, store.open("r+b", buffering=0) as target:
        size = os.fstat(source.fileno()).st_size
        target.truncate(size)
        at = 0
        for start, stop in (*sorted(reserved), (size, size)):
            source.seek(at)
            target.seek(at)
            write_fully(target, np.frombuffer(source.read(start - at), np.uint8))
            at = stop


def conclude(
    whole: Path, table: NDArray[Any], labels: Mapping[str, Mapping[str, int]], crcs: Sequence[NDArray[np.uint32]]
) -> None:
    """Write what is known when all patches are: the means' checksums and the fingerprint."""
    # Every patch is in it by its CRC.
    digest = hashlib.sha256(table.tobytes())
    for names in labels.values():
        digest.update("\n".join(names).encode())
    with h5py.File(whole, "r+", libver="v110") as file:
        if crcs:
            file["mean_crc"][:] = np.concatenate(crcs)
            digest.update(np.concatenate(crcs).astype(CRC_TYPE).tobytes())
        file.attrs["fingerprint"] = digest.hexdigest()


def _describe(
    file: h5py.File,
    header: StoreHeader,
    labels: Mapping[str, Mapping[str, int]],
    table: NDArray[Any],
    sources: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    schema: int,
) -> None:
    for label, names in labels.items():
        file[label] = np.array(list(names), dtype=h5py.string_dtype())
    known = [sources[name] for name in labels["sources"]]
    file[CHECKSUMS] = np.array(known, dtype=h5py.string_dtype())
    file["scene_facts"] = np.array([json.dumps(each) for each in facts.values()], dtype=h5py.string_dtype())
    file["table"] = table
    file.attrs.update(
        schema=schema,
        layout=header.layout,
        pairing=header.pairing,
        unit=SIGNAL_UNIT,
        provenance=json.dumps(dict(header.provenance)),
        truth=json.dumps(dict(header.truth)),
        fingerprint="0" * 64,
    )


def _reserve(file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Make a contiguous dataset that is not yet filled; the byte of the file at which it begins."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # The same patches make the same bytes, whenever it is.
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, dcpl=creation)
    offset = dataset.get_offset()
    if offset is None:
        raise StoreError(f"{file.filename}: HDF5 reserved no room for {name!r}; is the disk full?")
    return int(offset)
