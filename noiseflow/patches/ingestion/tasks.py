"""The kinds of work of an ingest, run in this process, in others or on a cluster.

All write whole files into the folder that the store is made in, named by what they are of:
done twice they do no harm.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseflow.core.errors import RawError
from noiseflow.patches.assembly.parts import PATIENCE_S, PartNote, PartWriter, announce, patches_before, read_note
from noiseflow.patches.assembly.scene_files import SceneFiles
from noiseflow.patches.checksums import file_checksum
from noiseflow.patches.foreseen import foreseen
from noiseflow.patches.ingestion.cut import Rows, cut
from noiseflow.patches.ingestion.plan import Task, stamp
from noiseflow.patches.options import IngestOptions
from noiseflow.patches.pairings import PAIRINGS, Pair, Reference
from noiseflow.patches.pairings.shift import frame_shifts
from noiseflow.patches.pairings.stacked import mask_moving
from noiseflow.patches.pairings.sums import Sums, strips, sum_strip
from noiseflow.patches.shared_mean import Share
from noiseflow.patches.sources import Scene

__all__ = ["cut_frames", "find_shifts", "pack_frames", "prepare_scene", "sum_strips"]


PLACED_PIXELS = 1 << 15
"""Frames of fewer are many at a time: others wait for them, and their copies cost little."""


def pack_frames(folder: Path, index: int, scene: Scene, numbers: Sequence[int]) -> None:
    """Decode some frames of a scene, once, and keep their planes.

    Raises
    ------
    RawError
        A file is damaged, of no whole numbers, or changed while it was read.
    """
    files = SceneFiles(folder, index)
    for number in numbers:
        if files.packed(number) is None:
            frame = scene.frames[number]
            before = stamp(frame.path)
            image, checksum = frame.read(), file_checksum(frame.path)
            _unchanged(frame.path, before)
            files.pack(number, image, checksum)


def sum_strips(folder: Path, index: int, scene: Scene, pairing: str, numbers: Sequence[int]) -> None:
    """Sum some strips of all frames of a scene, and look for defects in them."""
    files, stacking = SceneFiles(folder, index), PAIRINGS[pairing].stacking
    assert stacking is not None
    stack = files.stack(len(scene.frames))
    known = strips(stack.shape)
    for number in numbers:
        files.write_strip(number, known[number], sum_strip(stack, known[number], structured=stacking.structured))


def find_shifts(folder: Path, index: int, scene: Scene, numbers: Sequence[int]) -> None:
    """Find out by how much some frames of a scene are shifted."""
    files = SceneFiles(folder, index)
    stack = files.stack(len(scene.frames))
    files.write_shifts(numbers[0], frame_shifts(stack, files.mean_of(stack.shape), numbers))


def prepare_scene(folder: Path, index: int, scene: Scene, pairing: str, shifts: Sequence[int] = ()) -> dict[str, Any]:
    """Keep what the pairs of a scene need: from its strips, if there are any, or else by reading its frames.

    Parameters
    ----------
    folder : Path
    index : int
    scene : Scene
    pairing : str
    shifts : sequence of int
        First frames of the pieces of `find_shifts`.

    Returns
    -------
    dict
        Facts and cautions of the scene.
    """
    files = SceneFiles(folder, index)
    known = files.facts()
    if known is not None:
        return known
    if PAIRINGS[pairing].stacking is None:
        reference = PAIRINGS[pairing].prepare(scene)
        for name, values in reference.arrays.items():
            files.write_array(name, values)
        told = {
            "facts": dict(reference.facts),
            "cautions": list(reference.cautions),
            "arrays": list(reference.arrays),
        }
    else:
        told = _conclude(files, scene, pairing, shifts)
    files.write_facts(told)
    return told


def _conclude(files: SceneFiles, scene: Scene, pairing: str, shifts: Sequence[int]) -> dict[str, Any]:
    stacking = PAIRINGS[pairing].stacking
    assert stacking is not None
    stack = files.stack(len(scene.frames))
    found = [files.strip(number) for number in range(len(strips(stack.shape)))]
    sums = Sums(stack, [arrays for arrays, _ in found], [defects for _, defects in found])
    conclusion = stacking.conclude(scene, sums, [shift for first in shifts for shift in files.shifts(first)])
    valid = files.valid_of(stack.shape, "r+")
    mask_moving(valid, sums, conclusion)
    return {
        "facts": {**conclusion.facts, "masked_pixels": int(valid.size - valid.sum())},
        "cautions": list(conclusion.cautions),
        "shape": list(stack.shape),
    }


def cut_frames(
    folder: Path, scene: Scene, tasks: Sequence[Task], pairing: str, options: IngestOptions
) -> list[PartNote]:
    """Write the parts of some frames of one scene.

    Returns
    -------
    list of PartNote
        What each part says of itself.

    Raises
    ------
    RawError
        A file is damaged, or changed while it was read.
    """
    files = SceneFiles(folder, tasks[0].scene)
    done = []
    for task in tasks:
        note = read_note(folder, task.part)
        if note is None:
            note = _cut_frame(folder, files, scene, task, pairing, options)
        files.forget(task.frame)
        done.append(note)
    return done


def _cut_frame(
    folder: Path, files: SceneFiles, scene: Scene, task: Task, pairing: str, options: IngestOptions
) -> PartNote:
    """Write one part: with the frame's own clean signal, or with what makes it of the scene's mean."""
    told, how = files.facts(), PAIRINGS[pairing]
    assert told is not None
    frame = scene.frames[task.frame]
    before = stamp(frame.path)
    share: Share | None = None
    codes: Rows | None = None
    if how.stacking is None:
        arrays = {name: files.array(name) for name in told["arrays"]}
        pair = how.pair(scene, task.frame, Reference(arrays, told["facts"], tuple(told["cautions"])))
        checksum = file_checksum(frame.path)
        _unchanged(frame.path, before)
    else:
        packed = files.packed(task.frame)
        assert packed is not None
        share = how.stacking.share(told["facts"], task.frame, packed.image)
        pair = Pair(frame, task.frame, packed.image, None, share.clean_variance, files.valid_of(told["shape"]))
        codes, checksum = packed.rows, packed.source_blake3
    place = None
    if pair.noisy.mosaic.size >= PLACED_PIXELS:
        expected = foreseen(pair, options, task.part, scene.grid)
        if expected is not None:
            announce(folder, task.part, expected)
        place = patches_before(folder, task.part, patience_s=PATIENCE_S)
    with PartWriter(folder, task.part, place) as part:
        shared = share is not None
        found = cut(pair, options, task.split, task.part, scene.grid, sink=part.append, codes=codes, shared=shared)
        if share is not None:
            for name in ("own", "gain", "offset"):
                found.table[name] = getattr(share, name)
        note = PartNote(
            patches=len(found.table),
            cameras=[pair.noisy.camera],
            scenes=[scene.name],
            sources=[str(frame.path)],
            source_blake3=[checksum],
            split=task.split,
            layout=pair.noisy.layout,
            clipped=found.clipped,
            masked=found.masked,
        )
        part.finish(note, found.table)
    return note


def _unchanged(path: Path, before: tuple[int, int]) -> None:
    if stamp(path) != before:
        raise RawError(f"{path}: changed while it was read; ingest again when it is whole")
