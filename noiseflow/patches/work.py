"""The two kinds of work of an ingest, run in this process, in others or on a cluster.

Both write whole files into the folder that the store is made in, named by what they are of:
done twice they do no harm.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noiseflow.errors import RawError
from noiseflow.patches.cut import cut
from noiseflow.patches.duplicates import file_checksum
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, Reference
from noiseflow.patches.parts import PartNote, write_part, write_whole
from noiseflow.patches.plan import Task, stamp
from noiseflow.patches.sources import Scene

__all__ = ["cut_frames", "prepare_scene", "read_facts"]


def prepare_scene(folder: Path, index: int, scene: Scene, pairing: str) -> dict[str, Any]:
    """Read a scene's frames once, and keep what its pairs need.

    Returns
    -------
    dict
        Facts and cautions of the scene.
    """
    known = read_facts(folder, index)
    if known is not None:
        return known
    reference = PAIRINGS[pairing].prepare(scene)
    for name, values in reference.arrays.items():
        content = io.BytesIO()
        np.save(content, values, allow_pickle=False)
        write_whole(_array_file(folder, index, name), content.getbuffer())
    told = {
        "facts": dict(reference.facts),
        "cautions": list(reference.cautions),
        "arrays": list(reference.arrays),
    }
    write_whole(_facts_file(folder, index), json.dumps(told).encode())
    return told


def read_facts(folder: Path, index: int) -> dict[str, Any] | None:
    """What `prepare_scene` found, or None if it has not been there."""
    file = _facts_file(folder, index)
    if not file.exists():
        return None
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told


def cut_frames(
    folder: Path, scene: Scene, tasks: Sequence[Task], pairing: str, layout: str, options: IngestOptions
) -> list[tuple[int, int]]:
    """Write the parts of some frames of one scene.

    Returns
    -------
    list of (int, int)
        Part and patches kept.

    Raises
    ------
    RawError
        A file is damaged, of another kind than the rest, or changed while it was read.
    """
    told = read_facts(folder, tasks[0].scene)
    assert told is not None
    arrays = {
        name: np.load(_array_file(folder, tasks[0].scene, name), mmap_mode="r", allow_pickle=False)
        for name in told["arrays"]
    }
    reference = Reference(arrays, told["facts"], tuple(told["cautions"]))
    done = []
    for task in tasks:
        path = scene.frames[task.frame].path
        before = stamp(path)
        pair = PAIRINGS[pairing].pair(scene, task.frame, reference)
        if pair.noisy.layout != layout:
            raise RawError(f"{path}: {pair.noisy.cfa} cannot go into one store with {layout!r} frames")
        found = cut(pair, options, task.split, task.part, scene.grid)
        note = PartNote(
            patches=len(found.table),
            cameras=[pair.noisy.camera],
            scenes=[scene.name],
            sources=[str(path)],
            source_sha256=[file_checksum(path)],
            split=task.split,
            clipped=found.clipped,
            masked=found.masked,
        )
        if stamp(path) != before:
            raise RawError(f"{path}: changed while it was read; ingest again when it is whole")
        write_part(folder, task.part, note, found.noisy, found.clean, found.table)
        done.append((task.part, note.patches))
    return done


def _facts_file(folder: Path, index: int) -> Path:
    return folder / f"scene-{index:06d}.json"


def _array_file(folder: Path, index: int, name: str) -> Path:
    return folder / f"scene-{index:06d}.{name}.npy"
